"""The parameter dictionary that Silicon Labs' MLTK firmware reads: one flatbuffer of typed values.

The layout is that of `dictionary.fbs` in MLTK 0.20, without a file identifier:
`Dictionary{schema_version:ubyte; entries:[Entry]}`, `Entry{key:string; value:Value}`. `Value` is a union, thus two
fields: a tag and a table with one field. The firmware searches the entries from the first to the last.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types as fb

from mltkbuild.errors import SpecError, StageError

SCHEMA_VERSION = 1

_SCALARS: dict[str, Any] = {
    "bool": fb.BoolFlags,
    "int8": fb.Int8Flags,
    "uint8": fb.Uint8Flags,
    "int16": fb.Int16Flags,
    "uint16": fb.Uint16Flags,
    "int32": fb.Int32Flags,
    "uint32": fb.Uint32Flags,
    "int64": fb.Int64Flags,
    "uint64": fb.Uint64Flags,
    "float": fb.Float32Flags,
    "double": fb.Float64Flags,
}
_ELEMENTS = {"str_list": "str", "int32_list": "int32", "float_list": "float"}
# The position, counted from 1, is the union's tag.
TYPES = (*_SCALARS, "str", *_ELEMENTS, "bin")
_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
_F32_NORMAL = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# A string may be shared by several entries; this many times the file's own size is more than any writer needs.
_EXPANSION = 16


@dataclass(frozen=True, slots=True)
class Typed:
    """A parameter with a chosen type, where the smallest one that fits isn't wanted.

    Args:
        value: What to store.
        type: bool, int8 to int64, uint8 to uint64, float, double, str, str_list, int32_list, float_list or bin.
    """

    value: object
    type: str


def encode(parameters: Mapping[str, object]) -> bytes:
    """Serialize parameters; the same parameters in any order give the same bytes.

    Args:
        parameters: Values by key. Types are MLTK's: a bool, the smallest integer type (unsigned from 0 up), f32 (f64
            beyond the range of f32), str, bytes, and flat lists of str, int (int32) or float (f32).

    Returns:
        The flatbuffer, its entries sorted by key.

    Raises:
        SpecError: A key or a value can't be stored; the message names the key.
    """
    # The names come before the sort, since only strings can be sorted.
    names = sorted(_checked_key(key) for key in parameters)
    resolved = [(name, *_resolve(name, parameters[name])) for name in names]
    builder = flatbuffers.Builder(1024)
    # A field that equals its default would be left out, and -0.0 equals 0.0.
    builder.ForceDefaults(True)
    entries = _add_offsets(builder, [_add_entry(builder, *item) for item in resolved])
    builder.StartObject(2)
    builder.PrependUint8Slot(0, SCHEMA_VERSION, 0)
    builder.PrependUOffsetTRelativeSlot(1, entries, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def decode(data: bytes) -> dict[str, object]:
    """Read the parameters out of a flatbuffer, every offset checked.

    Args:
        data: What `encode` or MLTK wrote.

    Returns:
        Plain values by key: bool, int, float, str, bytes, or a list.

    Raises:
        StageError: The bytes are cut, damaged, of another format or of a later version.
    """
    return {key: item.value for key, item in decode_typed(data).items()}


def decode_typed(data: bytes) -> dict[str, Typed]:
    """Read the parameters with the types that they are stored in, so that encoding them gives the same bytes.

    Args:
        data: What `encode` or MLTK wrote.

    Raises:
        StageError: The bytes are cut, damaged, of another format or of a later version.
    """
    reader = _Reader(bytes(data))
    root = reader.follow(0)
    version = reader.scalar(root, fb.Uint8Flags)
    if version != SCHEMA_VERSION:
        raise StageError(
            "the embedded parameters have an unknown schema version",
            found=str(version),
            fix=f"build the model again; this release reads version {SCHEMA_VERSION}.",
        )
    parameters: dict[str, Typed] = {}
    for place in reader.places(reader.required(root, 1), 4):
        entry = reader.follow(place)
        key = reader.text(reader.required(entry, 0))
        if key in parameters:
            raise _damaged(f"the key {key!r} twice")
        tag = reader.number(fb.Uint8Flags, reader.required(entry, 1))
        value = _read_value(reader, tag, reader.follow(reader.required(entry, 2)))
        parameters[key] = Typed(value, TYPES[tag - 1])
    return parameters


def checked_text(label: str, value: str) -> str:
    """Return a text that a C string can hold.

    Raises:
        SpecError: It holds a NUL character, or half of a surrogate pair; `label` says whose it is.
    """
    if "\0" in value:
        raise _refusal(label, "contains a NUL, at which the firmware ends a string", value, "remove it, or give bytes.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(label, "can't be written as UTF-8", value, "remove its surrogates, or give bytes.") from None
    return value


def _refusal(label: str, problem: str, value: object, fix: str) -> SpecError:
    return SpecError(f"{label} {problem}", found=f"{reprlib.repr(value)} ({type(value).__name__})", fix=fix)


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise _refusal(
            "the key of a parameter", "must be a string of one character or more", key, "name the parameter."
        )
    return checked_text(f"the key {key!r}", key)


def _resolve(key: str, value: object) -> tuple[str, Any]:
    """Return the type that a parameter is stored as, and its value as that type."""
    label = f"parameter {key!r}"
    given = value.value if isinstance(value, Typed) else value
    plain = _plain(given)
    name = value.type if isinstance(value, Typed) else _type_of(plain)
    if name is None:
        fix = "give a bool, int, float, str or bytes, or a flat list of only str, only int, or int and float."
        raise _refusal(label, "has no type that firmware can read", given, fix)
    if name not in TYPES:
        raise _refusal(label, "has an unknown type name", name, f"choose one of {', '.join(TYPES)}.")
    return name, _fit(label, name, plain)


def _plain(value: object) -> object:
    """Turn NumPy values, paths and sequences into the plain values of Python, one level deep."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return [_plain_element(element) for element in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain_element(element) for element in value]
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return _plain_element(value)


def _plain_element(value: object) -> object:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return str(value) if isinstance(value, PurePath) else value


def _type_of(value: object) -> str | None:
    match value:
        case bool():
            name = "bool"
        case int():
            names = _UNSIGNED if value >= 0 else _SIGNED
            # The last one doesn't hold it either when none does; the check of its range then says so.
            name = next((n for n in names if _SCALARS[n].min_val <= value <= _SCALARS[n].max_val), names[-1])
        case float():
            low, high = _F32_NORMAL
            name = "float" if not value or not math.isfinite(value) or low <= abs(value) <= high else "double"
        case str():
            name = "str"
        case bytes():
            name = "bin"
        case list():
            return _list_type(value)
        case _:
            return None
    return name


def _list_type(value: list[object]) -> str | None:
    kinds: tuple[tuple[str, Any], ...] = (("str_list", str), ("int32_list", int), ("float_list", int | float))
    return next((name for name, kind in kinds if all(isinstance(element, kind) for element in value)), None)


def _fit(label: str, name: str, value: object) -> object:
    """Return a plain value as the named type; refuse what it can't hold."""
    if name in _ELEMENTS and isinstance(value, list):
        return [_fit(f"{label}, element {i},", _ELEMENTS[name], element) for i, element in enumerate(value)]
    if name in _SCALARS and isinstance(value, int | float):
        return _fit_number(label, name, value)
    if name == "str" and isinstance(value, str):
        return checked_text(label, value)
    if name == "bin" and isinstance(value, bytes):
        return value
    raise _refusal(label, f"can't be stored as {name}", value, "give a value of that type, or choose another type.")


def _fit_number(label: str, name: str, value: int | float) -> int | float:
    flags = _SCALARS[name]
    if name in ("float", "double"):
        try:
            number = float(value)
            flags.packer_type.pack(number)
        except OverflowError:
            fix = "give a number in its range, or store it as a str."
            raise _refusal(label, f"is beyond the range of a {name}", value, fix) from None
        return number
    low, high = int(flags.min_val), int(flags.max_val)
    if (isinstance(value, float) and not value.is_integer()) or not low <= value <= high:
        fix = "give a number in that range, or another type: a float or a str."
        raise _refusal(label, f"must be a whole number from {low} to {high} to be stored as {name}", value, fix)
    whole: int = flags.py_type(value)
    return whole


def _add_entry(builder: flatbuffers.Builder, key: str, name: str, value: Any) -> int:
    name_at = builder.CreateString(key)
    if name in _SCALARS:
        builder.StartObject(1)
        builder.PrependSlot(_SCALARS[name], 0, value, _SCALARS[name].py_type())
    else:
        data = _add_data(builder, name, value)
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
    value_at = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, name_at, 0)
    builder.PrependUint8Slot(1, TYPES.index(name) + 1, 0)
    builder.PrependUOffsetTRelativeSlot(2, value_at, 0)
    entry: int = builder.EndObject()
    return entry


def _add_data(builder: flatbuffers.Builder, name: str, value: Any) -> int:
    data: int
    if name == "str":
        data = builder.CreateString(value)
    elif name == "bin":
        data = builder.CreateByteVector(value)
    elif name == "str_list":
        data = _add_offsets(builder, [builder.CreateString(text) for text in value])
    else:
        flags = _SCALARS[_ELEMENTS[name]]
        builder.StartVector(flags.bytewidth, len(value), flags.bytewidth)
        for element in reversed(value):
            builder.Prepend(flags, element)
        data = builder.EndVector()
    return data


def _add_offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    vector: int = builder.EndVector()
    return vector


def _damaged(found: str) -> StageError:
    fix = "build the model again, so that its parameters are written anew."
    return StageError("the embedded parameters are damaged or of another format", found=found, fix=fix)


def _read_value(reader: _Reader, tag: int, table: int) -> object:
    if not 0 < tag <= len(TYPES):
        raise _damaged(f"the unknown value type {tag}")
    name = TYPES[tag - 1]
    if name in _SCALARS:
        return reader.scalar(table, _SCALARS[name])
    data = reader.required(table, 0)
    if name == "str":
        return reader.text(data)
    if name == "bin":
        return reader.block(data)
    if name == "str_list":
        return [reader.text(place) for place in reader.places(data, 4)]
    flags = _SCALARS[_ELEMENTS[name]]
    return [reader.number(flags, place) for place in reader.places(data, flags.bytewidth)]


class _Reader:
    """Reads of one flatbuffer: none leaves it, and all together have a limit.

    The reader of the flatbuffers package trusts its input: a bad offset gives a cut string or a struct.error.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = _EXPANSION * len(data)

    def number(self, flags: Any, at: int) -> Any:
        if not 0 <= at <= len(self.data) - flags.bytewidth:
            raise _damaged(f"an offset to byte {at} of {len(self.data)}")
        return flags.packer_type.unpack_from(self.data, at)[0]

    def follow(self, at: int) -> int:
        return at + int(self.number(fb.UOffsetTFlags, at))

    def field(self, table: int, index: int) -> int | None:
        vtable = table - self.number(fb.SOffsetTFlags, table)
        slot = 4 + 2 * index
        if slot >= self.number(fb.VOffsetTFlags, vtable):
            return None
        offset = int(self.number(fb.VOffsetTFlags, vtable + slot))
        return table + offset if offset else None

    def required(self, table: int, index: int) -> int:
        at = self.field(table, index)
        if at is None:
            raise _damaged(f"no field {index} in the table at byte {table}")
        return at

    def scalar(self, table: int, flags: Any) -> Any:
        at = self.field(table, 0)
        return flags.py_type() if at is None else self.number(flags, at)

    def places(self, at: int, width: int) -> Iterator[int]:
        start, end = self._extent(at, width)
        return iter(range(start, end, width))

    def block(self, at: int) -> bytes:
        start, end = self._extent(at, 1)
        return self.data[start:end]

    def text(self, at: int) -> str:
        block = self.block(at)
        try:
            return block.decode()
        except UnicodeDecodeError:
            raise _damaged(f"a string that isn't UTF-8: {reprlib.repr(block)}") from None

    def _extent(self, at: int, width: int) -> tuple[int, int]:
        """Return where the elements of a vector begin and end, and charge their bytes to the limit."""
        vector = self.follow(at)
        size = width * self.number(fb.UOffsetTFlags, vector)
        start = vector + 4
        self.left -= size + 4
        if start + size > len(self.data) or self.left < 0:
            raise _damaged(f"a vector of {size} bytes at byte {start} of {len(self.data)}")
        return start, start + size
