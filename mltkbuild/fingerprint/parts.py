"""What an object is made of, one level deep: the parts by which `reach` describes it."""

from __future__ import annotations

import builtins
import copyreg
import enum
import functools
import operator
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mltkbuild.fingerprint import kinds
from mltkbuild.fingerprint.encoder import LEAVES

Parts = list[tuple[str, object]]

_CONTAINERS: tuple[type, ...] = (list, tuple, deque, dict, set, frozenset, types.MappingProxyType)
_EXACT = frozenset({*_CONTAINERS, OrderedDict, defaultdict, Counter})
_REBUILDERS = (copyreg.__newobj__, copyreg.__newobj_ex__)  # type: ignore[attr-defined]  # typeshed leaves them out
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_WRAPPERS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.cached_property: ("func",),
    property: ("fget", "fset", "fdel"),
}
_ORDER = " (order)"
# A tf.function holds locks and caches of what it traced; these are what a user sets.
_TF_FUNCTION = ("python_function", "input_signature", "_autograph", "_jit_compile", "_reduce_retracing")


class Inexact(Exception):
    """An object has state that can't be read exactly."""


def contained(value: object) -> Parts | None:
    """List the parts of an exactly built-in container, or None for anything else.

    Raises:
        Inexact: The members of a set, or the keys of a dict, have no names.
    """
    return content(value) if type(value) in _EXACT else None


def content(value: Any) -> Parts:
    """List what a container holds, whatever its subclass; nothing for other values.

    Raises:
        Inexact: As `contained`.
    """
    kind = type(value)
    if issubclass(kind, list | tuple | deque):
        return [(f"[{at}]", item) for at, item in enumerate(kind.__iter__(value))]
    if issubclass(kind, dict | types.MappingProxyType):
        pairs = list(value.items())
        ordered = _sorted(pairs, operator.itemgetter(0))
        parts: Parts = [(f"[{_label(key)}]", item) for key, item in ordered]
        parts += [(f"[{_label(key)}] (key)", key) for key, _ in ordered if type(key) not in LEAVES]
        keys = [key for key, _ in pairs]
        if issubclass(kind, OrderedDict) or not kinds.is_sorted(keys):
            parts.append((_ORDER, [_label(key) for key in keys]))
        if issubclass(kind, defaultdict):
            parts.append((".default_factory", value.default_factory))
        return parts
    if issubclass(kind, set | frozenset):
        return [(f"{{{_label(item)}}}", item) for item in _sorted(list(value), lambda item: item)]
    for scalar in (int, float, complex, str, bytes, bytearray):
        if issubclass(kind, scalar):
            return [(" (value)", scalar(value))]
    return []


def _sorted(items: list[Any], key: Callable[[Any], object]) -> list[Any]:
    labels = [_label(key(item)) for item in items]
    if len(set(labels)) < len(labels):
        raise Inexact
    return [items[at] for at in sorted(range(len(items)), key=labels.__getitem__)]


def _label(value: object) -> str:
    """Name a key or member by what stays the same from run to run."""
    if type(value) in LEAVES:
        return repr(value)
    if type(value) is tuple:
        return "(" + ", ".join(map(_label, value)) + ")"
    if kinds.really(value, type) or kinds.really(value, types.FunctionType):
        return kinds.full_name(value)
    if isinstance(value, enum.Enum):
        return f"{kinds.type_name(value)}.{value.name}"
    raise Inexact


def wrapped(value: Any) -> Parts | None:
    """List the parts of the wrappers that Python's own tools put around functions, or None for anything else."""
    for kind, names in _WRAPPERS.items():
        if kinds.really(value, kind):
            more = prefixed(vars(value)) if kind is functools.partial else []
            return [(f".{name}", getattr(value, name)) for name in names] + more
    if kinds.really(value, functools._lru_cache_wrapper):
        return [(".__wrapped__", value.__wrapped__), (".cache_parameters", value.cache_parameters())]
    if hasattr(type(value), "python_function") and kinds.type_name(value).startswith("tensorflow."):
        return [(f".{name.lstrip('_')}", getattr(value, name, None)) for name in _TF_FUNCTION]
    return None


def prefixed(attributes: Mapping[str, object]) -> Parts:
    """List attributes as parts, and their order where it doesn't go without saying."""
    # Docstrings don't count, as in code; functools.wraps puts them here.
    names = [name for name in attributes if name != "__doc__"]
    parts: Parts = [(f".{name}", attributes[name]) for name in sorted(names)]
    return parts if kinds.is_sorted(names) else [*parts, (_ORDER, names)]


def descriptor_owner(value: object) -> type | None:
    """Give the class that a built-in method or slot belongs to, or None for anything else."""
    return value.__objclass__ if isinstance(value, _DESCRIPTORS) else None


def instance(value: object, *, ours: bool) -> Parts:
    """List the state of an instance.

    Args:
        value: An instance of a class that isn't built in.
        ours: Whether workspace code defines the class. Then its attributes are what counts; how it would be pickled
            is asked only for what a base class written in C holds outside of them.

    Raises:
        Inexact: The state can't be read.
    """
    kind = type(value)
    if not ours:
        parts = _reduced(value, state=True)
        return [part for part in parts if part[0] != _ORDER] if kinds.is_declared(kind) else parts
    own_way = kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__
    inner = wrapped(value)
    return attributes(value) + (_reduced(value, state=own_way) if inner is None else inner)


def attributes(value: object) -> Parts:
    """List the attributes of an instance, and what it holds when it's a container."""
    return content(value) + prefixed(kinds.attributes_of(value))


def _reduced(value: object, *, state: bool) -> Parts:
    """List what pickle would take an object apart into, without pickling any of it."""
    try:
        taken = value.__reduce_ex__(4)
        if isinstance(taken, str):
            return [(" (name)", taken), *attributes(value)]
        build, args, kept, items, pairs = (*taken, None, None, None)[:5]
        usual = build in _REBUILDERS and args[0] is type(value)
        parts: Parts = [] if usual else [(" (made by)", build)]
        parts += [(f" (argument {at})", item) for at, item in enumerate(args) if at or not usual]
        if state:
            parts += [*content(list(items or ())), *content(dict(pairs or ()))]
    except Exception as error:
        # Pickling is code of whoever wrote the class, and may raise anything.
        raise Inexact from error
    return [*parts, *_state(kept)] if state else parts


def _state(kept: object) -> Iterator[tuple[str, object]]:
    if isinstance(kept, dict) and all(type(name) is str for name in kept):
        yield from prefixed(kept)
    elif kept is not None:
        yield " (state)", kept


def nowhere(_: object) -> bool:
    """Stop at no object."""
    return False


def inside(
    value: object,
    is_ours: Callable[[object], bool],
    limit: int = 20000,
    stop: Callable[[object], bool] = nowhere,
) -> Iterator[tuple[str, object]]:
    """Find the workspace objects that an object of a library holds, however deep, with their places.

    Args:
        value: The object.
        is_ours: Tells workspace objects.
        limit: How many objects to look through.
        stop: Tells objects that are looked into elsewhere.

    Raises:
        Inexact: There's more to look through than `limit` objects.
    """
    todo: list[tuple[str, object]] = [("", value)]
    seen: dict[int, object] = {}
    while todo:
        place, item = todo.pop()
        if id(item) in seen or type(item) in LEAVES or kinds.really(item, types.ModuleType):
            continue
        seen[id(item)] = item
        if item is not value and stop(item):
            continue
        if len(seen) > limit:
            raise Inexact
        if item is not value and is_ours(item):
            yield place, item
        elif not kinds.really(item, type):
            todo.extend((place + name, part) for name, part in _held(item))


def _held(item: Any) -> Iterable[tuple[str, object]]:
    if kinds.really(item, types.FunctionType):
        cells = zip(item.__code__.co_freevars, item.__closure__ or (), strict=True)
        return [(f".{name}", cell.cell_contents) for name, cell in cells if not is_empty(cell)]
    if kinds.really(item, types.MethodType):
        return [(".__func__", item.__func__), (".__self__", item.__self__)]
    if kinds.is_array(type(item)) or kinds.is_data(type(item)):
        return []
    if kinds.really(item, dict) or kinds.really(item, types.MappingProxyType):
        return [(f"[{key!r}]" if type(key) in LEAVES else "[]", part) for key, part in item.items()]
    if type(item) in _EXACT:
        return [(f"[{at}]", part) for at, part in enumerate(item)]
    return prefixed({str(name): part for name, part in getattr(item, "__dict__", {}).items()})


def is_empty(cell: types.CellType) -> bool:
    """Tell a closure's variable that has no value yet."""
    try:
        return cell.cell_contents is builtins
    except ValueError:
        return True
