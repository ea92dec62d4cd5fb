"""What work that takes a while tells about itself: plain values that cross a process boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochProgress:
    """How far a training is.

    Args:
        epoch: The epoch, counted from 1.
        epochs: How many there are to be.
        step: The step that is done within it; None when the epoch is.
        steps: How many steps it has; None where that isn't known.
        metrics: What an epoch that is done came to.
        checkpoint: Whether an epoch that is done left a checkpoint.
    """

    epoch: int
    epochs: int
    step: int | None = None
    steps: int | None = None
    metrics: Mapping[str, float] | None = None
    checkpoint: bool = False


@dataclass(frozen=True)
class Counted:
    """How far work is that is counted.

    Args:
        doing: What is worked through, as 'training samples'.
        done: How much of it is done.
        of: How much there is; 0 where that isn't known.
    """

    doing: str
    done: int
    of: int


@dataclass(frozen=True)
class Note:
    """A line of text for people."""

    text: str


Event = EpochProgress | Counted | Note
Listener = Callable[[Event], None]
