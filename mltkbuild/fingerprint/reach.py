"""What later stages call, with everything that it reaches in workspace code, as rows that people can compare.

A walk in a fixed order: roots by name, then breadth first through globals, closures, defaults, attributes, classes and
modules. A row's label says where something was found, its value what was found there:

    code models/parts.py:augment      the digest of a function's or class's source
    value models/parts.py:SCALE       a global that is read: its value, or the label of the code it's bound to
    default, closure, attribute ...   of a function
    bases, metaclass ...              of a class
    module models/parts.py            a module that counts as a whole
    library scikit-learn              a version
    inexact ...                       the rows don't tell everything: fall back to the digest of the whole spec
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mltkbuild.fingerprint import kinds, names, parts
from mltkbuild.fingerprint.classes import Classes
from mltkbuild.fingerprint.doors import is_dynamic
from mltkbuild.fingerprint.encoder import keras_state
from mltkbuild.fingerprint.origins import Sources, functions_of, library_names, lookup, same_method
from mltkbuild.fingerprint.rows import MISSING, WORKSPACE, short
from mltkbuild.fingerprint.values import Unfingerprintable, digest_value, is_plain, order, readable, summary

__all__ = ["Sources", "reach", "reach_reads"]


def reach(roots: Mapping[str, object], sources: Sources) -> dict[str, object]:
    """Describe what is called or read by later stages, down to the last helper in workspace code.

    Args:
        roots: Functions, classes, instances or plain values, by the names that their rows shall have.
        sources: The workspace's code.

    Returns:
        Rows by label, sorted; each a plain value for YAML. Equal rows (compare them by `digest_value`) mean that
        everything reached is the same, unless a label starts with `inexact`.
    """
    walk = _Walk(sources)
    for name in sorted(roots):
        walk.later(walk.describe, roots[name], f"root {name}")
        walk.run()
    return dict(sorted(walk.rows.items()))


def reach_reads(pieces: Iterable[tuple[str, names.Reads, dict[str, Any]]], sources: Sources) -> dict[str, object]:
    """Describe what pieces of workspace code read by name.

    Args:
        pieces: For each its file, what it reads, and the globals in which it runs.
        sources: The workspace's code.

    Returns:
        Rows as `reach` gives them.
    """
    walk = _Walk(sources)
    for file, found, namespace in pieces:
        walk.look_up(found, namespace, file)
        walk.run()
    return dict(sorted(walk.rows.items()))


class _Walk(Classes):
    """The part of a walk that looks into values and functions."""

    # --- values ----------------------------------------------------------------------------------------------------

    def describe(self, value: object, place: str) -> None:
        """Write the row of a value found at a place, and look into it later."""
        if self.sources.skip(value):
            return
        self.rows[place] = self.tag(value, place)

    def tag(self, value: Any, place: str) -> object:
        """Name a value: as itself when it's plain, else by its label."""
        value = kinds.original(value)
        if is_dynamic(value):
            self.inexact(place, str(getattr(value, "__name__", "sys.modules")))
            return f"<{kinds.type_name(value)}>"
        owner = parts.descriptor_owner(value)
        if owner is not None:
            self.library(owner.__module__)
            return f"<method {kinds.class_name(owner)}.{value.__name__}>"
        for kind, name in self._namers():
            if kinds.really(value, kind):
                return name(value, place)
        try:
            return self.plain(value, place) if is_plain(value) else self.composite(value, place)
        except (parts.Inexact, Unfingerprintable, RecursionError):
            self.inexact(place, kinds.type_name(value))
            return f"<{kinds.type_name(value)}>"

    def _namers(self) -> tuple[tuple[type, Callable[[Any, str], str]], ...]:
        return (
            (types.ModuleType, lambda value, place: self.module(value, whole=True, label=place)),
            (types.FunctionType, self.function),
            (type, lambda value, _: self.class_(value)),
            (types.BuiltinFunctionType, self.builtin),
            (types.MethodWrapperType, self.builtin),
        )

    def plain(self, value: object, place: str) -> object:
        """Give a value without code as it is, or in short."""
        # A string that looks like the label of something else must not be taken for it.
        if isinstance(value, str) and (value.startswith("<") or ".py:" in value or WORKSPACE in value):
            return summary(value)
        return self.shown(self.moved(value), place)

    def shown(self, value: object, place: str) -> object:
        """Give the readable form of a value, and write the order of what is in it where that says something."""
        form = readable(value)
        if told := order(form):
            self.rows[f"{place} (order)"] = told
        return form

    def composite(self, value: Any, place: str) -> object:
        """Name an object that has parts, each described at its own place."""
        if self.origins.is_public(value, value):
            self.library(value.__module__)
            return f"<{kinds.type_name(value)} {kinds.full_name(value)}>"
        known = self.places.get(id(value))
        if known is not None:
            return f"<same as {known[0]}>"
        self.places[id(value)] = place, value
        found = parts.contained(value)
        if found is not None:
            self.parts(place, found)
            return f"<{type(value).__name__} of {len(value)}>"
        found = None if self.origins.is_ours(value) else parts.wrapped(value)
        if found is not None:
            if kinds.really(value, types.MethodType) and self.origins.is_public(value.__func__, value):
                return f"<method {kinds.full_name(value)}>"
            self.library(type(value).__module__)
            self.parts(place, found)
            return f"<{kinds.class_name(type(value))}>"
        return self.instance(value, place)

    def parts(self, place: str, found: Iterable[tuple[str, object]]) -> None:
        for name, part in found:
            self.later(self.describe, part, place + name)

    def instance(self, value: Any, place: str) -> object:
        kind = type(value)
        ours = self.origins.of_class(kind) is not None
        label = self.class_(kind)
        if ours and hasattr(kind, "__members__"):
            return f"<member {label}.{value.name}>"
        if kinds.is_keras(value):
            self.keras(value, place, ours)
        else:
            self.parts(place, parts.instance(value, ours=ours))
        return f"<instance of {str(label).strip('<>').removeprefix('class ')}>"

    def keras(self, value: Any, place: str, ours: bool) -> None:
        """Describe a Keras object by its config, what its workspace methods use, and the workspace code it holds."""
        try:
            config, weights = keras_state(value, place, lambdas=True)
            self.rows[f"{place} (config)"] = self.shown(config, f"{place} (config)")
            if weights:
                self.rows[f"{place} (weights)"] = summary(weights)
        except Unfingerprintable:
            self.parts(place, parts.attributes(value))
            return
        state = kinds.attributes_of(value)
        # Also what no method of its own uses: a function may that gets the object.
        used: set[str] = set()
        if ours:
            used |= self.used_attributes(type(value)) | (state.keys() - library_names(type(value), self.origins))
        self.parts(place, [(f".{name}", item) for name, item in state.items() if name in used])
        held = {name: item for name, item in state.items() if name not in used}
        for name, item in parts.inside(held, self.origins.is_ours):
            if item is not value:
                self.later(self.describe, item, f"{place} (holds){name}")

    def used_attributes(self, kind: type) -> set[str]:
        """List the names that the workspace methods of a class mention."""
        bases = [base for base in kind.__mro__ if self.origins.of_class(base) is not None]
        methods = [method for base in bases for item in vars(base).values() for method in functions_of(item)]
        return {name for method in methods for part in names.nested(method.__code__) for name in part.co_names}

    # --- functions -------------------------------------------------------------------------------------------------

    def function(self, function: types.FunctionType, place: str) -> str:
        file = self.origins.of_function(function)
        if file is None:
            return self.library_function(function, place)
        label, fresh = self.name(f"{file}:{function.__code__.co_qualname}", function)
        if fresh:
            self.later(self.look_into, function, label, False)
        return label

    def look_into(self, function: types.FunctionType, label: str, in_class: bool) -> None:
        """Describe a workspace function: its source unless its class's has it, and what it reads."""
        node = self.locator.function(function.__code__)
        if node is None:
            self.rows[f"code {label}"] = "bytecode " + short(digest_value(_bytecode(function.__code__)))
            if not function.__code__.co_filename.startswith("<"):
                self.inexact(label, "its source wasn't found")
        elif not in_class:
            self.rows[f"code {label}"] = short(self.locator.digest(function.__code__.co_filename, node))
        self.surroundings(function, label)
        self.given_names(function, label)
        package = function.__globals__.get("__package__")
        found = names.reads(function.__code__, node, package if isinstance(package, str) else "")
        self.look_up(found, function.__globals__, label)

    def given_names(self, function: types.FunctionType, label: str) -> None:
        """Describe the names that a function was given by hand; `functools.wraps` gives those of what is wrapped."""
        wrapped = vars(function).get("__wrapped__")
        usual = {
            "__name__": {function.__code__.co_name, getattr(wrapped, "__name__", None)},
            "__qualname__": {function.__code__.co_qualname, getattr(wrapped, "__qualname__", None)},
            "__module__": {function.__globals__.get("__name__"), getattr(wrapped, "__module__", None)},
        }
        for name, known in usual.items():
            if (given := getattr(function, name, None)) not in known:
                self.rows[f"attribute {label}.{name}"] = str(given)

    def surroundings(self, function: types.FunctionType, label: str) -> None:
        """Describe what a function carries with it: defaults, closure and attributes."""
        code = function.__code__
        defaults = function.__defaults__ or ()
        arguments = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
        for name, value in [*zip(arguments, defaults, strict=True), *sorted((function.__kwdefaults__ or {}).items())]:
            self.later(self.describe, value, f"default {label}({name})")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if parts.is_empty(cell):
                self.rows[f"closure {label}.{name}"] = MISSING
            elif name == "__class__" and kinds.really(cell.cell_contents, type):
                # What super() uses: the class that the method is in.
                self.class_(cell.cell_contents)
            else:
                self.later(self.describe, cell.cell_contents, f"closure {label}.{name}")
        for name, value in parts.prefixed(vars(function)):
            self.later(self.describe, value, f"attribute {label}{name}")

    def library_function(self, function: types.FunctionType, place: str) -> str:
        """Name a library's function; one that was made at run time is looked into for what it closes over."""
        module = kinds.recorded_module(str(function.__globals__.get("__name__")))
        name = f"{module}.{function.__code__.co_qualname}"
        self.library(function.__globals__.get("__name__"))
        if self.origins.is_public(function, function):
            self.library(function.__module__)
            return f"<function {kinds.full_name(function)}>"
        label, fresh = self.name(name, function)
        if fresh and hasattr(function, "registry") and hasattr(function, "dispatch"):
            # functools.singledispatch: besides the registry it closes over a cache.
            found = [(".registry", function.registry), (".__wrapped__", getattr(function, "__wrapped__", None))]
            self.parts(f"attribute {label}", found)
        elif fresh:
            self.surroundings(function, label)
        return f"<function {label}>"

    def builtin(self, value: Any, place: str) -> str:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            module = value.__module__ or getattr(owner, "__name__", None)
            self.library(module)
            return f"<function {module}.{value.__qualname__}>"
        if isinstance(owner, type):
            return f"<method {self.class_(owner)}.{value.__name__}>"
        module = type(owner).__module__
        if same_method(lookup(module, value.__name__), value):
            self.library(module)
            return f"<function {module}.{value.__name__}>"
        self.later(self.describe, owner, f"{place}.__self__")
        return f"<method {kinds.type_name(owner)}.{value.__name__}>"


def _bytecode(code: types.CodeType) -> list[object]:
    constants = [_bytecode(part) if isinstance(part, types.CodeType) else part for part in code.co_consts]
    return [code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_exceptiontable]
