"""What names mean while a walk of `reach` looks at them: globals, attributes of modules, imports inside functions."""

from __future__ import annotations

import builtins
import sys
import types
from abc import ABC, abstractmethod
from typing import Any

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint import kinds, names
from mltkbuild.fingerprint.doors import doors, is_door, is_dynamic
from mltkbuild.fingerprint.modules import find_file, is_namespace
from mltkbuild.fingerprint.rows import MISSING, Rows, is_dunder, short


class Lookups(Rows, ABC):
    """The part of a walk that follows names."""

    @abstractmethod
    def describe(self, value: object, place: str) -> None:
        """Write the row of a value found at a place."""

    @abstractmethod
    def class_(self, kind: type) -> str:
        """Give a class its label, and look into it later."""

    def look_up(self, found: names.Reads, namespace: dict[str, Any], label: str) -> None:
        """Describe what a function's names mean right now."""
        for name in sorted(found.globals):
            self.global_(name, found.chains_of(name), namespace, label)
        for local in found.imports:
            self.local_import(local, found, label)
        for name in sorted(found.doors):
            self.inexact(label, name)
        for name, chain in sorted(found.loose):
            owner = namespace.get(name)
            for attribute in chain:
                owner = getattr(owner, "__dict__", {}).get(attribute)
            if kinds.really(owner, types.ModuleType) and self.origins.of_module(owner) is not None:
                self.inexact(label, "getattr() of a module")

    def global_(self, name: str, chains: frozenset[names.Chain], namespace: dict[str, Any], label: str) -> None:
        """Describe one name of a module, as far as chains of attributes lead from it."""
        owner = self.namespace(namespace, label)
        place = f"value {owner}:{name}"
        if name in namespace:
            value = namespace[name]
            if kinds.really(value, types.ModuleType):
                self.rows[place] = self.module(value, whole=False)
                self.chains(value, chains, label)
            elif name == "__file__":
                self.rows[place] = f"<file {self.sources.label(str(value))}>"
            elif self.first("global", owner, name):
                self.describe(value, place)
                if self.rows.get(place) == f"{owner}:{name}":
                    # A function or class under its own name: its code says it all.
                    del self.rows[place]
        elif name not in vars(builtins):
            self.rows[place] = MISSING
        else:
            self.builtin_name(name, vars(builtins)[name], label)

    def builtin_name(self, name: str, value: object, label: str) -> None:
        """Count a name that's built in, unless workspace code was put in its place."""
        self.library("builtins")
        if is_dynamic(value):
            self.inexact(label, f"{name}()")
        elif self.origins.is_ours(value) and self.first("builtin", name):
            self.describe(value, f"value builtins:{name}")

    def local_import(self, local: names.LocalImport, found: names.Reads, label: str) -> None:
        """Describe what an import inside a function brings, without importing anything."""
        chains = frozenset(found.chains.get(local.alias, ()))
        module = sys.modules.get(local.module)
        if local.attribute is not None:
            self.local_attribute(local.module, local.attribute, chains, label)
        elif module is None:
            self.unloaded(local.module)
        else:
            self.module(module, whole=local.whole)
            self.chains(module, chains, label)

    def local_attribute(self, name: str, attribute: str, chains: frozenset[names.Chain], label: str) -> None:
        """Describe what `from name import attribute` inside a function brings."""
        module, inner = sys.modules.get(name), sys.modules.get(f"{name}.{attribute}")
        if module is None:
            self.unloaded(name)
            self.unloaded(f"{name}.{attribute}", optional=True)
        elif kinds.really(vars(module).get(attribute, inner), types.ModuleType):
            self.chains(module, frozenset((attribute, *chain) for chain in chains), label)
        else:
            self.chains(module, frozenset({(attribute,)}), label)

    def module(self, module: types.ModuleType, whole: bool, label: str = "everything") -> str:
        """Name a module; count a library by its version, and a workspace module wholly if asked to."""
        file = self.origins.of_module(module)
        if file is None and not is_namespace(module):
            self.library(module.__name__)
            if whole and is_door(module):
                self.inexact(label, f"the module {module.__name__} itself")
            return f"<module {kinds.recorded_module(module.__name__)}>"
        if whole and self.first("module", id(module)):
            self.later(self.whole, module)
        return f"<module {file or module.__name__}>"

    def whole(self, module: types.ModuleType) -> None:
        """Describe a module that is used in ways that no chain of attributes shows: its code and all its globals."""
        file = getattr(module, "__file__", None)  # the modules that stand for MLTK's have none
        tree = self.locator.tree(str(file)) if file else None
        label = self.namespace(vars(module), module.__name__)
        if tree is not None:
            self.rows[f"module {label}"] = short(self.locator.digest(str(file), tree))
        for name in sorted(vars(module)):
            if not is_dunder(name):
                self.global_(name, names.WHOLE, vars(module), label)

    def chains(self, module: types.ModuleType, chains: frozenset[names.Chain], label: str) -> None:
        """Follow chains of attributes from a module to what they mean."""
        ours = self.origins.of_module(module) is not None or is_namespace(module)
        for chain in sorted(chains):
            if not ours:
                self.library_chain(module, chain, label)
            elif not chain or chain[0] == "__dict__":
                self.module(module, whole=True)
            elif chain[0] in vars(module):
                rest = frozenset({chain[1:]})
                self.global_(chain[0], rest, vars(module), self.origins.of_module(module) or module.__name__)
            else:
                self.absent(module, chain, label)

    def absent(self, module: types.ModuleType, chain: names.Chain, label: str) -> None:
        """Describe an attribute that a module doesn't have yet."""
        name = f"{module.__name__}.{chain[0]}"
        if name in sys.modules:
            self.chains(sys.modules[name], frozenset({chain[1:]}), label)
        elif "__getattr__" in vars(module):
            self.module(module, whole=True)
            self.rows[f"value {self.origins.of_module(module) or module.__name__}:{chain[0]}"] = "<from __getattr__>"
        else:
            self.rows[f"value {self.origins.of_module(module) or module.__name__}:{chain[0]}"] = MISSING
            self.unloaded(name, optional=True)

    def library_chain(self, module: types.ModuleType, chain: names.Chain, label: str) -> None:
        """Count a library by its version, and look for workspace code that was put into it."""
        self.library(module.__name__)
        value: object = module
        at = module.__name__
        for name in chain:
            if not kinds.really(value, types.ModuleType):
                break
            # Not getattr: a lazy module would import what it stands for.
            value, at = vars(value).get(name), f"{at}.{name}"
        if is_dynamic(value):
            self.inexact(label, at)
        elif kinds.really(value, types.ModuleType):
            self.module(value, whole=True, label=label)
        elif kinds.really(value, type):
            self.class_(value)
        elif self.origins.is_ours(value) and self.first("library value", at):
            self.describe(value, f"value {at}")

    def unloaded(self, name: str, optional: bool = False) -> None:
        """Count a module that isn't loaded yet by its whole file and, in turn, what that imports."""
        for end in range(1, name.count(".") + 2):
            self.unloaded_file(".".join(name.split(".")[:end]), optional)

    def unloaded_file(self, name: str, optional: bool) -> None:
        """Count one module that isn't loaded yet, or a package on the way to it."""
        if name in sys.modules:
            self.module(sys.modules[name], whole=True)
            return
        if not self.first("unloaded", name):
            return
        filename, package = find_file(name)
        label = self.sources.label(filename) if filename else None
        if label is None or filename is None:
            if not optional:
                self.library(name)
            return
        tree = self.locator.tree(filename)
        if tree is None:
            self.rows[f"module {label}"] = "<syntax error>"
            return
        self.rows[f"module {label}"] = short(self.locator.digest(filename, tree))
        for door in sorted(doors(tree)):
            self.inexact(label, door)
        for other in sorted(set(codes.imported(tree, package))):
            self.later(self.unloaded, other, "." in other)
