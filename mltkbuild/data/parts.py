"""Several arrays as one value: one for each input or output of a model, in their order or by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mltkbuild.errors import DataError


def are_several(value: object) -> bool:
    """Whether a value is a tuple, a list or a dict of arrays, not one array."""
    return isinstance(value, tuple | list | Mapping)


def by_name(value: Any) -> dict[str, Any]:
    """The arrays by their names; several in order by their numbers, a single one by the empty name."""
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, tuple | list):
        return {str(place): part for place, part in enumerate(value)}
    return {"": value}


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """What a function makes of each array, in the structure of the value; None stays None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {name: function(part) for name, part in value.items()}
    return tuple(map(function, value)) if are_several(value) else function(value)


def first_of(value: Any) -> Any:
    """The first array."""
    return next(iter(by_name(value).values()))


def called(what: str, name: str) -> str:
    """How people write one of several arrays: `x['left']`, `y[1]`; a single one is just `x`."""
    if not name:
        return what
    return f"{what}[{name}]" if name.isdecimal() else f"{what}[{name!r}]"


def as_parts(value: Any, other: Any) -> Any:
    """Tell several arrays from a list of samples, which becomes no tuple.

    A tuple or list is one array an input or output where its parts are arrays of equally many rows, as many as the
    other of x and y has samples. Of lists that could be both, the longer axis counts the samples.

    Args:
        value: What a loader gave as x or y.
        other: What it gave as the other one; None for nothing.

    Returns:
        A tuple or dict of arrays, or the value as it is.
    """
    if isinstance(value, Mapping):
        return dict(value)
    rows = _rows_of_parts(value)
    if rows is None or not isinstance(value, tuple | list):
        return value
    if _can_be_stacked(value) and not isinstance(value, tuple) and not _fit_by_rows(value, rows, other):
        return value
    return tuple(value)


def _rows_of_parts(value: Any) -> int | None:
    """How many rows each of several arrays has; None for what is no such tuple or list."""
    if not isinstance(value, tuple | list) or not value:
        return None
    if not all(hasattr(part, "__array__") and getattr(part, "ndim", len(getattr(part, "shape", ()))) for part in value):
        return None
    counts = {int(part.shape[0]) for part in value}
    return counts.pop() if len(counts) == 1 else None


def _can_be_stacked(value: Sequence[Any]) -> bool:
    return len({tuple(part.shape) for part in value}) == 1


def _fit_by_rows(value: Sequence[Any], rows: int, other: Any) -> bool:
    """Whether a list holds arrays whose rows are the samples, not one array a sample."""
    if other is None:
        return False
    if isinstance(other, Mapping):
        return bool(len(first_of(other)) == rows)
    partner = _rows_of_parts(other)
    if partner is None:
        return bool(hasattr(other, "__len__") and len(other) == rows != len(value))
    return partner == rows and (len(value) < rows or len(value) != len(other))


def in_order(
    value: Any, names: Sequence[str], what: str, *, sorted_names: bool = False, may_lack: bool = False
) -> list[Any]:
    """The arrays in the order of a model's inputs or outputs.

    Args:
        value: One array, several in order, or by name; names that the model doesn't have are left out.
        names: The names of its inputs or outputs.
        what: 'input' or 'output', for the error.
        sorted_names: Whether the model has them by name alone, and this order is that of the alphabet.
        may_lack: Whether a dict may leave some out, which are None then.

    Raises:
        DataError: An input or output has no array, or nothing tells which one it has.
    """
    ends = f"{what}s" if len(names) > 1 else what
    takes = f"the model's {ends}: {', '.join(names)}"
    fix = f"give a dict by these names, {{{', '.join(f'{name!r}: ...' for name in names)}}}"
    if isinstance(value, Mapping):
        lacking = [name for name in names if name not in value]
        if lacking and not (may_lack and len(lacking) < len(names)):
            found = f"{', '.join(map(str, value))}; {takes}"
            raise DataError(f"the data has nothing for the model's {what} {lacking[0]}", found=found, fix=fix)
        return [value.get(name) for name in names]
    given = list(value) if are_several(value) else [value]
    if len(given) != len(names):
        plural = (
            f"{len(given)} arrays" if are_several(value) else f"one array of shape {tuple(getattr(value, 'shape', ()))}"
        )
        raise DataError(f"the data doesn't fit the model's {ends}", found=f"{plural}; {takes}", fix=fix)
    if sorted_names and len(names) > 1:
        raise DataError(
            f"nothing tells which array belongs to which of the model's {ends}",
            found=f"{len(given)} arrays in order; {takes}, in a dict",
            fix=fix,
        )
    return given
