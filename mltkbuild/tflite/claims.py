"""What a `.tflite` flatbuffer claims to hold, counted before any of it is copied: a small file may claim gigabytes.

In a flatbuffer many offsets may lead to one table or vector. Writers of models don't share them, but a file that does,
level upon level, unfolds to more than any machine has.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from flatbuffers.table import Table

from mltkbuild.errors import StageError

_EXPANSION = 16
"""So many times its own size a file may unfold to; one that shares nothing unfolds to at most once."""
_SPARE = 1 << 16
_TABLE_BYTES = 8
"""What a table takes at least: its vtable's offset, and the one that leads to it."""
_DEEPEST = 32
# The enumerations of unions, where they aren't called as the field is.
_UNIONS = {"Details": "QuantizationDetails", "ArraySegments": "SparseIndexVector", "ArrayIndices": "SparseIndexVector"}


def check(model: Any, size: int) -> None:
    """Refuse a file that unfolds to far more than it has.

    Args:
        model: The schema's `Model`, which reads from the file.
        size: Bytes of the file.

    Raises:
        StageError: Its tables, or the bytes in its vectors, come to more than a file of this size can hold.
        struct.error, TypeError, ValueError: What the flatbuffers package raises when an offset leads out of the file.
    """
    tables, content = size // _TABLE_BYTES + _SPARE, _EXPANSION * size + _SPARE
    waiting = [(model, 0)]
    while waiting:
        table, depth = waiting.pop()
        tables -= 1
        for claimed in _claims(table):
            if isinstance(claimed, int):
                content -= claimed
            else:
                waiting.append((claimed, depth + 1))
            if tables - len(waiting) < 0 or content < 0 or depth > _DEEPEST:
                fix = "convert the model again; the file must be a whole .tflite flatbuffer"
                found = f"tables and vectors that unfold to many times its {size} bytes"
                raise StageError("this .tflite model is damaged", found=found, fix=fix)


@dataclass(frozen=True)
class Fields:
    """The fields of a kind of table that may lead to more.

    Args:
        numbers: Vectors of numbers.
        items: Vectors of tables or texts.
        unions: Fields whose kind another field tells, with the enumeration of the kinds.
        single: All others: tables, texts and numbers.
    """

    numbers: tuple[str, ...]
    items: tuple[str, ...]
    unions: tuple[tuple[str, Any], ...]
    single: tuple[str, ...]


@functools.cache
def fields_of(kind: Any) -> Fields:
    """The fields of a class of the schema."""
    names = {name for name in vars(kind) if name[0].isupper() and not name.startswith(("Init", "GetRootAs"))}
    names = {name for name in names if not name.endswith(("HasIdentifier", "IsNone"))}
    vectors = {name.removesuffix("Length") for name in names if name.endswith("Length")} & names
    numbers = {name for name in vectors if f"{name}AsNumpy" in names}
    unions = {name for name in names - vectors if f"{name}Type" in names}
    helpers = {name + end for name in vectors for end in ("Length", "AsNumpy")} | {f"{name}Type" for name in unions}
    kinds = tuple((name, getattr(schema, _UNIONS.get(name, name))) for name in sorted(unions))
    single = names - vectors - unions - helpers
    return Fields(tuple(sorted(numbers)), tuple(sorted(vectors - numbers)), kinds, tuple(sorted(single)))


def _claims(table: Any) -> Iterator[Any]:
    """How many bytes a table holds in vectors and texts, piece by piece, and the tables that it leads to."""
    fields = fields_of(table.__class__)
    for name in fields.numbers:
        if getattr(table, f"{name}Length")():
            yield getattr(table, f"{name}AsNumpy")().nbytes
    for name in fields.items:
        count, item = getattr(table, f"{name}Length")(), getattr(table, name)
        yield 4 * count
        for place in range(count):
            yield _claim(item(place))
    yield from unions_of(table)
    for name in fields.single:
        yield _claim(getattr(table, name)())


def unions_of(table: Any) -> Iterator[Any]:
    """The tables in a table's unions, of the class that it says."""
    for name, kinds in fields_of(table.__class__).unions:
        inner = getattr(table, name)()
        known = {number: kind for kind, number in vars(kinds).items() if not kind.startswith("_")}
        kind = getattr(schema, known.get(getattr(table, f"{name}Type")(), ""), None)
        if isinstance(inner, Table) and kind is not None:
            found = kind()
            found.Init(inner.Bytes, inner.Pos)
            yield found


def _claim(value: Any) -> Any:
    if isinstance(value, bytes):
        return len(value)
    return value if hasattr(value, "_tab") else 0
