"""What a class is made of, for a walk of `reach`: its source, bases and members, and what was put into it."""

from __future__ import annotations

import ast
import dataclasses
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Set
from typing import Any

from mltkbuild.fingerprint import kinds, parts
from mltkbuild.fingerprint.locate import holds_line, written_in
from mltkbuild.fingerprint.lookups import Lookups
from mltkbuild.fingerprint.origins import functions_of, lookup, own_methods, registered_with
from mltkbuild.fingerprint.rows import is_dunder, short

# Classes whose methods were generated from what their source, bases and values say.
_PYTHONS = frozenset(
    {
        *("__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__"),
        *("__dataclass_fields__", "__dict__", "__doc__", "__firstlineno__", "__hash__", "__module__", "__orig_bases__"),
        *("__parameters__", "__qualname__", "__static_attributes__", "__type_params__", "__weakref__", "_abc_impl"),
    }
)
"""What Python itself puts into a class: its source says it."""
_GENERATED = ("__dataclass_fields__", "__attrs_attrs__", "_fields")


class Classes(Lookups, ABC):
    """The part of a walk that looks into classes."""

    @abstractmethod
    def look_into(self, function: types.FunctionType, label: str, in_class: bool) -> None:
        """Describe a workspace function."""

    def class_(self, kind: type) -> str:
        """Give a class its label, and look into it later."""
        file = self.origins.of_class(kind)
        if file is None:
            self.library(kind.__module__)
            if self.first("class", id(kind)):
                self.later(self.patched, kind)
            return f"<class {kinds.class_name(kind)}>"
        label, fresh = self.name(f"{file}:{kind.__qualname__}", kind)
        if fresh:
            self.later(self.look_into_class, kind, label)
        return label

    def patched(self, kind: type) -> None:
        """Describe the workspace functions that were put into a library's class, or what one made at run time holds."""
        made = "<locals>" in kind.__qualname__ or kind.__module__ == "types"
        everything = made and lookup(kind.__module__, kind.__qualname__) is not kind
        if everything:
            self.fields(kind, kinds.class_name(kind))
        for base in kind.__mro__:
            for name, item in sorted(vars(base).items()):
                put_in = any(self.origins.of_function(method) is not None for method in functions_of(item))
                held = everything and base is kind and not is_dunder(name) and not functions_of(item)
                if (put_in or held) and self.first("patched", id(base), name):
                    self.describe(item, f"value {kinds.class_name(base)}.{name}")

    def look_into_class(self, kind: type, label: str) -> None:
        """Describe a workspace class: its source, its bases, its members."""
        codes = [method.__code__ for method in own_methods(kind)]
        named = getattr(sys.modules.get(kind.__module__), "__file__", None)
        filename = named or next((code.co_filename for code in codes if self.sources.label(code.co_filename)), "")
        lines = [code.co_firstlineno for code in codes if code.co_filename == filename]
        nodes = self.locator.classes(filename, kind.__qualname__, lines) if filename else []
        if nodes:
            self.rows[f"code {label}"] = short(self.locator.digest(filename, *nodes))
        bases = [base for base in kind.__bases__ if base is not object and not self.sources.skip(base)]
        if bases:
            self.rows[f"bases {label}"] = [self.class_(base) for base in bases]
        if type(kind) is not type:
            self.rows[f"metaclass {label}"] = self.class_(type(kind))
        written = written_in(nodes)
        self.put_in(kind, label, written)
        for name, item in sorted(vars(kind).items()):
            methods = functions_of(item)
            of_ours = not kinds.really(item, types.FunctionType) and self.origins.is_ours(item)
            if methods and not of_ours and all(_is_inside(method.__code__, filename, nodes) for method in methods):
                self.methods(methods, label)
            elif not self.says_nothing(name, kind, written):
                self.later(self.describe, item, f"value {label}.{name}")
        self.declared(kind, label)
        if not nodes:
            self.fields(kind, label)

    def put_in(self, kind: type, label: str, written: Set[str]) -> None:
        """Describe what a class was given by others than its source: a name, registered classes, the order of more."""
        if kind.__name__ != kind.__qualname__.rpartition(".")[2]:
            self.rows[f"value {label}.__name__"] = kind.__name__
        if registered := registered_with(kind):
            self.rows[f"registered {label}"] = sorted(map(self.class_, registered))
        added = [name for name in vars(kind) if not is_dunder(name) and name not in written]
        if not kinds.is_sorted(added):
            self.rows[f"order {label}"] = added

    def fields(self, kind: type, label: str) -> None:
        """Describe the fields of a dataclass that a call has made: no source tells them."""
        if names := list(vars(kind).get("__dataclass_fields__", {})):
            self.rows[f"fields {label}"] = names

    def methods(self, methods: list[types.FunctionType], label: str) -> None:
        """Look into the methods whose source the class's has."""
        for method in methods:
            name, fresh = self.name(f"{label.partition(':')[0]}:{method.__code__.co_qualname}", method)
            if fresh:
                self.later(self.look_into, method, name, True)

    def says_nothing(self, name: str, kind: type, written: Set[str]) -> bool:
        """Tell an entry of a class that follows from the rest of it."""
        item = vars(kind)[name]
        methods = functions_of(item)
        if methods and any(mark in vars(kind) for mark in _GENERATED):
            return all(method.__code__.co_filename.startswith("<") for method in methods)
        members = getattr(kind, "__members__", None)
        if members is not None and (name.startswith("_") or name in members):
            return True
        if parts.descriptor_owner(item) is not None or name in _PYTHONS:
            return True
        # Python and packages keep what they make of a class under such names, some of it as late as they are asked.
        return is_dunder(name) and not callable(item) and name not in {*written, *_GENERATED}

    def declared(self, kind: type, label: str) -> None:
        """Describe the members of an enum and the factories of a dataclass."""
        for name, value in sorted(getattr(kind, "__members__", {}).items()):
            self.later(self.describe, value._value_, f"value {label}.{name}")
        for name, field in sorted(vars(kind).get("__dataclass_fields__", {}).items()):
            self.later(self.describe, field.default_factory, f"value {label}.{name} (factory)")
            for part, value in _unusual(field, vars(kind).get(name)):
                self.later(self.describe, value, f"value {label}.{name} ({part})")
        if "__dataclass_params__" in vars(kind):
            self.rows[f"value {label} (params)"] = repr(vars(kind)["__dataclass_params__"])


def _unusual(field: Any, default: object) -> Iterator[tuple[str, object]]:
    """List what a field of a dataclass is told beside its factory: its type, and what `field()` was given."""
    if not isinstance(field.type, str):
        # As text it stands in the source.
        yield "type", field.type
    if field.default is not dataclasses.MISSING and field.default is not default:
        yield "default", field.default
    usual = {"init": True, "repr": True, "hash": None, "compare": True, "kw_only": False}
    yield from ((name, getattr(field, name)) for name, value in usual.items() if getattr(field, name) is not value)
    if field.metadata:
        yield "metadata", dict(field.metadata)


def _is_inside(code: types.CodeType, filename: str, nodes: list[ast.ClassDef]) -> bool:
    return code.co_filename == filename and any(holds_line(node, code.co_firstlineno) for node in nodes)
