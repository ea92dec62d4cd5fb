"""Doors of libraries whose native code opens files by itself: each tells what is about to be opened.

A door stands before the lowest function of the library that still is Python's, so that whatever leads there is seen. It
is put there when the library is there, or else as it is imported, and stays: while nothing is watched it does nothing.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.fingerprint import kinds
from mltkbuild.user_code.hook import HOOK
from mltkbuild.user_code.library_doors import DOORS, After, Tell

_done: set[str] = set()


@contextmanager
def open_doors() -> Iterator[None]:
    """Let the libraries that are loaded have their doors, and those that are imported meanwhile."""
    for name in DOORS.keys() - _done:
        if name in sys.modules:
            _add(sys.modules[name], name)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def _add(module: ModuleType, name: str) -> None:
    if name not in _done:
        _done.add(name)
        for path, tell in DOORS[name].items():
            owner, _, function = path.rpartition(".")
            door(getattr(module, owner, None) if owner else module, function, tell)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what has doors by the other finders, and adds them once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module that has doors."""
        if fullname not in DOORS or fullname in _done:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, fullname)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, and adds its doors."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader, self._name = loader, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Make the module."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _add(module, self._name)


def door(owner: Any, name: str, tell: Tell | After) -> None:
    """Put a door before a function or a native class, if the library has it.

    Args:
        owner: The module or class.
        name: The function's name.
        tell: Takes what is watched, the frame that calls, and the function's arguments, or else what it has returned.
    """
    real = getattr(owner, name, None)
    if real is None:
        return
    if isinstance(real, type):
        native = _in_place_of(real, tell)
        kinds.stand_in(native, real)
        setattr(owner, name, native)
        return

    after = tell.tell if isinstance(tell, After) else None

    @functools.wraps(real)
    def through(*args: Any, **options: Any) -> Any:
        if after is None:
            _told(tell, sys._getframe(1), *args, **options)
        made = real(*args, **options)
        if after is not None:
            _told(after, sys._getframe(1), made)
        return made

    kinds.stand_in(through, real)
    setattr(owner, name, through)


class _Native(type):
    """The class of a class that stands before a native one, whose objects it makes.

    A function in its place would be none for `isinstance` and `|`; not every native class can be a base of another one.
    """

    real: type
    tell: Tell

    def __new__(cls, name: str, bases: tuple[type, ...], content: dict[str, Any]) -> Any:
        """Make it, or else a class of somebody's that has it as a base: that gets the native one."""
        if not bases:
            return super().__new__(cls, name, bases, content)
        natives = tuple(base.real if isinstance(base, _Native) else base for base in bases)
        return types.new_class(name, natives, exec_body=lambda body: body.update(content))

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Make an object."""
        _told(cls.tell, sys._getframe(1), *args, **options)
        return cls.real(*args, **options)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.real, name)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return subclass is cls or issubclass(subclass, cls.real)


def _in_place_of(real: type, tell: Any) -> type:
    about = {name: getattr(real, name) for name in ("__module__", "__qualname__", "__doc__")}
    stand_in: type = _Native(real.__name__, (), {**about, "real": real, "tell": staticmethod(tell)})
    return stand_in


def _told(tell: Any, frame: FrameType, *args: Any, **options: Any) -> None:
    watched = HOOK.current
    if watched is not None and not OWN_READING.now:
        OWN_READING.now = True
        try:
            tell(watched, frame, *args, **options)
        finally:
            OWN_READING.now = False
