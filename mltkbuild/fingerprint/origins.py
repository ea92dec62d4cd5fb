"""Where code comes from: the workspace, or a library whose version says everything."""

from __future__ import annotations

import abc
import functools
import sys
import types
from collections.abc import Mapping
from typing import Any, Protocol

from mltkbuild.fingerprint import kinds, names


class Sources(Protocol):
    """What the workspace's code is, as the process that runs it sees it."""

    def label(self, filename: str) -> str | None:
        """Give a file's path in the workspace, or None when it isn't workspace code."""

    def source(self, filename: str) -> str:
        """Give the text that the running code of a workspace file was compiled from."""

    def skip(self, obj: object) -> bool:
        """Tell an object to leave out, such as the model, whose reads are tracked elsewhere."""


def texts_of(sources: Sources) -> list[str]:
    """List the texts of the workspace modules: those that a snapshot took, or else those that are loaded.

    A snapshot has also what a function may still import, and the same in each stage, whatever was loaded before.
    """
    files: Mapping[str, str] | None = getattr(sources, "files", None)
    if files is not None:
        return sorted(files.values())
    # Not getattr: a lazy module would load what it stands for.
    modules = [module for module in list(sys.modules.values()) if kinds.really(module, types.ModuleType)]
    names = {object.__getattribute__(module, "__dict__").get("__file__") for module in modules}
    return [sources.source(name) for name in names if isinstance(name, str) and sources.label(name) is not None]


class Origins:
    """Answers, for modules, functions and classes, which workspace file they are from."""

    def __init__(self, sources: Sources) -> None:
        self._label = sources.label

    def of_module(self, module: object) -> str | None:
        """Give the label of a module's file."""
        filename = getattr(module, "__file__", None)
        return self._label(filename) if isinstance(filename, str) else None

    def of_function(self, function: types.FunctionType) -> str | None:
        """Give the label of a function's file; for one made from a string, that of the module it was made in."""
        filename = function.__code__.co_filename
        label = self._label(filename)
        if label is None and filename.startswith("<"):
            owner = function.__globals__.get("__file__")
            return self._label(owner) if isinstance(owner, str) else None
        return label

    def of_class(self, kind: type) -> str | None:
        """Give the label of the file that defines a class."""
        module = sys.modules.get(str(kind.__module__))
        if module is not None and (self.of_module(module) is not None or not is_disguised(kind)):
            return self.of_module(module)
        # The module was run without being registered, or another's name was given to it: its methods know their file.
        labels = (self._label(method.__code__.co_filename) for method in written_methods(kind))
        return next((label for label in labels if label is not None), None)

    def is_ours(self, value: object) -> bool:
        """Tell a workspace function or class, or an instance of one."""
        if kinds.really(value, types.FunctionType):
            return self.of_function(value) is not None
        return self.of_class(value if kinds.really(value, type) else type(value)) is not None

    def is_public(self, function: object, value: Any) -> bool:
        """Tell whether a value is what its own name means in a library.

        Args:
            function: What carries the name: the value itself, or a bound method's function.
            value: A function, or a method of an object that the library's module holds, such as `random.shuffle`.
        """
        if hasattr(type(function), "__getattr__"):
            # It may answer to any name.
            return False
        module = getattr(function, "__module__", None)
        if not isinstance(module, str) or self.of_module(sys.modules.get(module)) is not None:
            return False
        if lookup(module, getattr(function, "__qualname__", "")) is value:
            return True
        is_method = isinstance(value, types.MethodType | types.BuiltinFunctionType)
        return is_method and same_method(lookup(module, value.__name__), value)


def lookup(module: object, qualname: object) -> object:
    """Give what a dotted name means in a loaded module, or None."""
    found: object = sys.modules.get(str(module))
    for name in str(qualname).split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def same_method(one: object, other: object) -> bool:
    """Compare bound methods, which are made anew at each look."""
    return type(one) is type(other) and bool(one == other)


def functions_of(item: object) -> list[types.FunctionType]:
    """Give the functions behind an entry of a class: a method, or those of a property."""
    behind: tuple[object, ...] = (item,)
    if isinstance(item, staticmethod | classmethod):
        behind = (item.__func__,)
    elif isinstance(item, property):
        behind = (item.fget, item.fset, item.fdel)
    elif isinstance(item, functools.cached_property):
        behind = (item.func,)
    return [part for part in behind if kinds.really(part, types.FunctionType)]


def is_disguised(kind: type) -> bool:
    """Tell a class whose module has nothing by its name: that of the module may have been set by hand."""
    if "<locals>" in kind.__qualname__ or not kinds.really(kind, type):
        return False
    return lookup(kind.__module__, kind.__qualname__) is None


def registered_with(kind: type) -> list[type]:
    """List the classes that were registered with an abstract one, whose instances pass for its own."""
    if "_abc_impl" not in vars(kind):
        return []
    registry = abc._get_dump(kind)[0]  # type: ignore[attr-defined]  # typeshed leaves it out
    return [found for reference in registry if (found := reference()) is not None]


def library_names(kind: type, origins: Origins) -> frozenset[str]:
    """List the names that the code of a class's bases from libraries mentions: attributes beside them are a user's."""
    bases = [base for base in kind.__mro__ if origins.of_class(base) is None]
    return frozenset().union(*map(_mentioned, bases))


@functools.lru_cache(maxsize=4096)
def _mentioned(base: type) -> frozenset[str]:
    codes = [method.__code__ for item in vars(base).values() for method in functions_of(item)]
    # A decorator of a library's own, such as Keras' for what isn't tracked, keeps the function that it wraps.
    codes += [
        wrapped.__code__
        for item in vars(base).values()
        if isinstance(wrapped := getattr(item, "__wrapped__", None), types.FunctionType)
    ]
    return frozenset(name for code in codes for part in names.nested(code) for name in part.co_names)


def written_methods(kind: type) -> list[types.FunctionType]:
    """List the functions of a class."""
    return [method for item in vars(kind).values() for method in functions_of(item)]


def own_methods(kind: type) -> list[types.FunctionType]:
    """List the functions that were written inside a class, by their names; not those put in from elsewhere."""
    return [
        method for method in written_methods(kind) if method.__code__.co_qualname.startswith(f"{kind.__qualname__}.")
    ]
