"""Digests of values by what they mean, not by how they were made, and their form for people.

Two values that Python calls equal but whose types differ (`1`, `1.0`, `True`) have different digests; so have `0.0`
and `-0.0`. A container that holds itself is told by its shape.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import hashlib
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mltkbuild.fingerprint import kinds
from mltkbuild.fingerprint.encoder import LEAVES, Encoder, Unfingerprintable

__all__ = [
    "Unfingerprintable",
    "digest_file",
    "digest_value",
    "is_plain",
    "order",
    "readable",
    "summary",
]

SHORT = 12
MAX_ITEMS = 20
MAX_TEXT = 200
_SUMMARY = re.compile(r" sha256:[0-9a-f]+\Z")
_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset, deque)
_WORDY = (complex, decimal.Decimal, fractions.Fraction, pathlib.PurePath, uuid.UUID, datetime.date)


def digest_value(value: object, opaque: Callable[[object], object] | None = None) -> str:
    """Digest a value by its content and types.

    Args:
        value: Any supported value: the built-in types, common types of the standard library, dataclass instances,
            NumPy arrays, scalars and dtypes, TensorFlow tensors and dtypes, Keras objects with `get_config()`.
        opaque: Maps a value of any other type to a supported one that stands for it, or returns it unchanged.

    Returns:
        64 hexadecimal digits. Order counts wherever code can see it, so in each container but a `set`.

    Raises:
        Unfingerprintable: A part of the value has no exact digest; it names the part.
    """
    try:
        return Encoder(opaque).encode(value, "value").hex()
    except RecursionError:
        raise Unfingerprintable(kinds.type_name(value), "value", "it's nested too deep") from None


def digest_file(path: str) -> str:
    """Digest a file's content, in chunks: its sha256, as 64 hexadecimal digits.

    Raises:
        OSError: The file can't be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable(value: object) -> object:
    """Give the short form of a value that people compare and YAML can hold.

    `None`, booleans, numbers, strings, and lists and dicts of them (20 items in all, nesting included) are kept as
    they are. Everything else becomes one line that ends in the value's short digest, such as
    `ndarray float32 (1797, 8, 8) sha256:0123456789ab` or `tuple (3, 3) sha256:0123456789ab`. A string that ends like
    such a line is itself shown as one, hence different values have different forms. Compare forms by their text or
    by `digest_value`: in Python `1 == True`. What sorts a form or compares it as a dict needs its `order`, too.

    Raises:
        Unfingerprintable: As `digest_value`.
    """
    try:
        return _Shown(MAX_ITEMS).show(value)
    except _TooMany:
        return summary(value)


def order(form: object) -> list[str]:
    """Tell the order of the dicts in a readable form, which is lost where it is sorted or compared as a dict.

    Returns:
        The places of the keys, such as `['b']['x']`, one after the other, of each dict that isn't in the order that
        goes without saying.
    """
    return list(_listed(form, ""))


def _listed(form: object, place: str) -> Iterator[str]:
    if isinstance(form, dict):
        told = not kinds.is_sorted(form)
        for key, item in form.items():
            if told:
                yield f"{place}[{key!r}]"
            yield from _listed(item, f"{place}[{key!r}]")
    elif isinstance(form, list):
        for at, item in enumerate(form):
            yield from _listed(item, f"{place}[{at}]")


def summary(value: object) -> str:
    """Give the one-line form of `readable`, whatever the value: its kind, a glimpse of it, its short digest.

    Raises:
        Unfingerprintable: As `digest_value`.
    """
    return f"{_glimpse(value)} sha256:{digest_value(value)[:SHORT]}"


def is_plain(value: object) -> bool:
    """Tell whether a value holds nothing but built-in types, the standard library's leaves, and arrays and tensors.

    No code comes with such a value, so its digest says everything about it.
    """
    todo, seen = [value], {id(value)}
    while todo:
        parts = _parts(todo.pop())
        if parts is None:
            return False
        fresh = [part for part in parts if id(part) not in seen]
        seen.update(map(id, fresh))
        todo.extend(fresh)
    return True


def _parts(value: Any) -> Iterable[object] | None:
    """List what a plain value holds; None when it isn't plain."""
    kind = type(value)
    if kind in (list, tuple, deque, set, frozenset):
        parts: Iterable[object] = value
    elif kind in (dict, OrderedDict, Counter):
        parts = [part for pair in value.items() for part in pair]
    elif _is_leaf(value, kind):
        parts = kinds.attributes_of_array(value).values() if kinds.is_array(kind) else ()
    else:
        return None
    return parts


def _is_leaf(value: Any, kind: type) -> bool:
    if kinds.is_array(kind):
        return not value.dtype.hasobject
    return kind in LEAVES or isinstance(value, pathlib.PurePath) or kinds.is_data(kind)


class _TooMany(Exception):
    """A value has more items than a short form may show."""


class _Shown:
    """One value on its way to the short form, and how many more items may come."""

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def show(self, value: Any) -> object:
        kind = type(value)
        if kind is list:
            self._spend(len(value))
            return [self.show(item) for item in value]
        if kind is dict and _has_short_keys(value):
            self._spend(len(value))
            return {key: self.show(item) for key, item in value.items()}
        return value if _is_short(value) else summary(value)

    def _spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            raise _TooMany


def _has_short_keys(value: dict[object, object]) -> bool:
    types = {type(key) for key in value}
    return (types <= {str} or types <= {int}) and all(_is_short(key) for key in value)


def _is_short(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(value.bit_length() <= 256)
    if kind is not str:
        return value is None or kind is bool or kind is float
    if len(value) > MAX_TEXT or _SUMMARY.search(value):
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _glimpse(value: Any) -> str:
    kind = type(value)
    if kinds.is_array(kind) or kinds.is_tensor(kind):
        return f"{kind.__name__} {getattr(value.dtype, 'name', value.dtype)} {tuple(value.shape)}"
    if kind is tuple and len(value) <= MAX_ITEMS and all(_is_short(item) for item in value):
        text = f"tuple {value!r}"
    elif isinstance(value, enum.Enum):
        text = f"{kind.__name__}.{value.name}"
    elif isinstance(value, _SIZED):
        text = f"{kind.__name__} of {len(value)}"
    elif kind is int:
        text = f"int of {value.bit_length()} bits"
    elif isinstance(value, (*_WORDY, range, slice, datetime.timedelta)) or kinds.is_data(kind):
        text = f"{kind.__name__} {value!s}"
    else:
        text = kind.__name__
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT and line.isprintable() else kind.__name__
