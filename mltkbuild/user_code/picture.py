"""A picture of what libraries hold: their modules' names and their classes' attributes, to see what a spec changes.

Two pictures are compared by Python's own comparison of dicts, which looks at an object only where it was replaced:
thousands of modules and classes take some hundredths of a second.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from mltkbuild.fingerprint import kinds
from mltkbuild.fingerprint.rows import is_dunder
from mltkbuild.fingerprint.values import is_plain
from mltkbuild.user_code.folders import is_library

_ABSENT = object()
# What Python and libraries write beside the names that mean something.
_NOTES = re.compile(
    r"__(?:abstractmethods|annotations(?:_cache)?|builtins|doc|firstlineno|slotnames|static_attributes|warningregistry)__"
    r"|_abc_impl"
)
_NOT_LIBRARIES = frozenset({"__main__", "__mp_main__", "posix", "nt"})
_OWN = "mltkbuild."
# What Python keeps of the files and modules that it has come by.
_CACHES = frozenset({"sys.modules", "sys.path_importer_cache", "linecache.cache"})
_CONTAINERS = (dict, list, set)
_CODE = (type, types.FunctionType, types.BuiltinFunctionType)
_NUMBERS = (bool, int, float)
_MADE_BY_PYTHON = 1 << 9
"""The flag of classes that aren't fixed parts of Python or of an extension."""


def _no(_: object) -> bool:
    return False


@dataclass(frozen=True)
class Change:
    """One thing that isn't what it was.

    Args:
        place: `module.NAME` or `module.Class.NAME`.
        value: What is there now; None where nothing is.
        is_said: Whether its value says all about it, or is workspace code that can be looked into.
    """

    place: str
    value: object
    is_said: bool


@dataclass(frozen=True)
class _Held:
    """What a module or a class held, and what it holds now.

    Args:
        owner: Its name.
        before: What it held.
        now: What it holds.
        is_class: Whether it is a class.
        is_lazy: Whether it makes what it holds when somebody asks for it.
        is_loading: Whether other libraries have been loaded meanwhile, which may set up this one.
    """

    owner: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    is_class: bool
    is_lazy: bool
    is_loading: bool

    def changes(self, is_ours: Callable[[object], bool]) -> Iterator[Change]:
        """What somebody has changed here."""
        for key in sorted(self.before.keys() | self.now.keys()):
            # What this package stands before the system and libraries with is no change.
            old, new = kinds.original(self.before.get(key, _ABSENT)), kinds.original(self.now.get(key, _ABSENT))
            if old is new or _NOTES.fullmatch(key) or (is_dunder(key) and not self.is_class):
                continue
            if key.startswith("_") and self.owner.startswith(_OWN):
                continue
            if type(old) is type(new) and _same(old, new):
                continue
            ours = is_ours(new)
            if ours or self._is_set(key, old, new):
                value = None if new is _ABSENT else new
                yield Change(f"{self.owner}.{key}", value, ours or is_plain(value))

    def _is_set(self, key: str, old: object, new: object) -> bool:
        """Say whether somebody has set this, and not a library that fills in what it needs as it works."""
        private = key.startswith("_")
        if old is _ABSENT:
            set_here = not (private or self.is_lazy or self.is_loading) and is_plain(new)
        elif new is _ABSENT:
            set_here = old is not None
        elif old is None:
            set_here = not private and not self.is_loading and is_plain(new)
        elif private and type(old) in _NUMBERS and type(new) in _NUMBERS:
            # A counter, a clock, or "it has been done".
            set_here = False
        else:
            # A lazy stand-in gives way to what it stands for: an object, and no code.
            replaced = isinstance(old, _CODE) and isinstance(new, _CODE) and not self.is_loading
            set_here = replaced or is_plain(new)
        return set_here


@dataclass
class Picture:
    """What libraries held when it was last looked.

    Args:
        modules: Each module with a copy of its names.
        classes: Each class with a copy of its attributes.
        seen: Every module that was looked at, by its id.
        containers: Each list, dict or set that a module holds, by its id: where it is, itself, and a copy.
    """

    modules: dict[str, tuple[types.ModuleType, dict[str, Any]]] = field(default_factory=dict)
    classes: dict[type, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    containers: dict[int, tuple[str, Any, Any]] = field(default_factory=dict)

    def look(self, root: str, is_ours: Callable[[object], bool] = _no) -> list[Change]:
        """Take everything for what it is now, what has been loaded since included, and say what was changed.

        Args:
            root: The workspace, whose modules are no libraries.
            is_ours: Says whether a function, a class or an instance comes from the workspace.
        """
        fresh: list[tuple[str, types.ModuleType]] = []
        for name, module in list(sys.modules.items()):
            if self.seen.get(name) != id(module):
                self.seen[name] = id(module)
                if _is_library(module, name, root):
                    fresh.append((name, module))
        found = list(self._changes(is_ours, bool(fresh)))
        for name, module in fresh:
            self._add(name, module)
        if fresh:
            self.classes.update({kind: dict(vars(kind)) for kind in _classes() if kind not in self.classes})
        return found

    def _add(self, name: str, module: types.ModuleType) -> None:
        self.modules[name] = module, vars(module).copy()
        for key, value in vars(module).items():
            # A container has one place, however many modules have imported it.
            if type(value) in _CONTAINERS and not is_dunder(key) and f"{name}.{key}" not in _CACHES:
                self.containers.setdefault(id(value), (f"{name}.{key}", value, value.copy()))

    def _changes(self, is_ours: Callable[[object], bool], is_loading: bool) -> Iterator[Change]:
        """What has been changed in the libraries that it knows, but for what they fill in themselves as they work."""
        for name, (module, before) in self.modules.items():
            if sys.modules.get(name) is module and not _same(vars(module), before):
                self.modules[name] = module, vars(module).copy()
                lazy = "__getattr__" in before
                held = _Held(name, before, vars(module), is_class=False, is_lazy=lazy, is_loading=is_loading)
                yield from held.changes(is_ours)
        for kind, attributes in self.classes.items():
            if not _same(vars(kind), attributes):
                self.classes[kind] = dict(vars(kind))
                name = f"{kind.__module__}.{kind.__qualname__}"
                lazy = type(kind).__getattribute__ is not type.__getattribute__ or hasattr(type(kind), "__getattr__")
                now = self.classes[kind]
                held = _Held(name, attributes, now, is_class=True, is_lazy=lazy, is_loading=is_loading)
                yield from held.changes(is_ours)
        for number, (place, container, copied) in self.containers.items():
            if _same(container, copied):
                continue
            self.containers[number] = place, container, container.copy()
            public = not place.rpartition(".")[2].startswith("_")
            if _has_more(container, copied, is_ours) or (public and _has_other(container, copied)):
                yield Change(place, container, is_said=True)


def _is_library(module: object, name: str, root: str) -> TypeGuard[types.ModuleType]:
    if name in _NOT_LIBRARIES or not isinstance(module, types.ModuleType):
        return False
    return is_library(getattr(module, "__file__", None) or sys.prefix, root)


def _classes() -> Iterator[type]:
    """Every class of a loaded library whose attributes can be set."""
    todo: list[type] = [object]
    seen: set[type] = set()
    while todo:
        below: list[type] = type.__subclasses__(todo.pop())
        for kind in below:
            if kind in seen:
                continue
            seen.add(kind)
            todo.append(kind)
            module = kind.__module__ if kind.__flags__ & _MADE_BY_PYTHON else None
            # Not one of a spec that is gone.
            if isinstance(module, str) and module in sys.modules and module not in _NOT_LIBRARIES:
                yield kind


def _same(now: object, before: object) -> bool:
    try:
        return bool(now == before)
    except Exception:  # noqa: BLE001  # the comparison of whatever lies there may raise anything: arrays do
        return False


def _has_more(container: Any, before: Any, is_ours: Callable[[object], bool]) -> bool:
    """Say whether a container has got something of the workspace's."""
    items = (container.values(), before.values()) if type(container) is dict else (container, before)
    known = set(map(id, items[1]))
    return any(id(item) not in known and is_ours(item) for item in items[0])


def _has_other(container: Any, before: Any) -> bool:
    """Say whether a dict has another plain value in place of one."""
    if type(container) is not dict:
        return False
    changed = (value for key, value in container.items() if key in before and not _same(value, before[key]))
    return any(map(is_plain, changed))
