"""Which subset a sample belongs to: decided by its name alone, so that no other sample moves when one is added."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from mltkbuild.data.listing import Item
from mltkbuild.errors import DataError

SUBSETS = ("training", "validation", "evaluation")


def place_of(name: str) -> float:
    """Where a name lies between 0 and 1, evenly spread: the first 8 bytes of its SHA-256 as a fraction."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(
    items: Sequence[Item],
    validation: float,
    *,
    group: Callable[[str], object] | None = None,
    subset: Callable[[str], object] | None = None,
) -> dict[str, list[Item]]:
    """Divide items among the subsets, in their order.

    Args:
        items: All items.
        validation: Which part is kept for validation, from 0 up to 1.
        group: Gives for a name what it belongs to, a speaker for instance: a group is never torn apart.
        subset: Names the subset of a name; None leaves that to the name's digest.

    Returns:
        The items of 'training', 'validation' and 'evaluation'; any of them may be empty.

    Raises:
        DataError: `subset` gives another word.
    """
    found: dict[str, list[Item]] = {name: [] for name in SUBSETS}
    for item in items:
        chosen = None if subset is None else subset(item.name)
        if chosen is None:
            whole = item.name if group is None else f"group {group(item.name)}"
            chosen = "validation" if place_of(whole) < validation else "training"
        if chosen not in found:
            raise DataError(
                "split_subset must name a subset",
                where=item.name,
                found=repr(chosen),
                fix=f"return {', '.join(map(repr, SUBSETS))} or None",
            )
        found[str(chosen)].append(item)
    return found
