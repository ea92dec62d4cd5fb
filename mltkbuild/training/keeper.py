"""What a training goes by and what keeps it: its rules, its best epoch, and where its checkpoints go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mltkbuild.data.batches import Batches
from mltkbuild.disk.checkpoints import Position, Shelf, shown
from mltkbuild.disk.durable import disk_error
from mltkbuild.errors import StageError
from mltkbuild.events import Listener, Note
from mltkbuild.training import training_state
from mltkbuild.training.epochs import rises

NEEDED = frozenset({"position", "epochs", "variables", "callbacks", "random", "best", "best_weights", "segments"})
"""What a training resumes from."""


@dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Args:
        monitor: The metric that tells; empty while there is none.
        epoch: The epoch, counted from 1; 0 while there is none.
        value: The metric's value there.
    """

    monitor: str = ""
    epoch: int = 0
    value: float = math.nan

    def after(self, epoch: int, value: float, mode: str) -> Best:
        """The best epoch when one more is done; of equal ones the first counts."""
        if not math.isfinite(value):
            return self
        rising = mode == "max" or (mode == "auto" and rises(self.monitor))
        if self.epoch and (value <= self.value if rising else value >= self.value):
            return self
        return replace(self, epoch=epoch, value=value)


@dataclass(frozen=True)
class Noticed:
    """What user code has read while the training ran: a checkpoint holds as long as it stays the same.

    Args:
        files: Digests by absolute path.
        properties: Digests of the spec's properties that were read, by name.
        reads_epochs: Whether something asked for the total number of epochs.
        lists: Digests of the lists of earlier stages that hold further files.
        answers: What the system answered, by the name of the question.
        own: Names in folders among the files that don't count: the code itself has put them there.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    reads_epochs: bool = False
    lists: Sequence[str] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Keeper:
    """Where a training's checkpoints and events go, and when checkpoints are taken.

    Args:
        progress: Takes events.
        shelf: The checkpoints; None when the spec wants none.
        every: The checkpoint of each n-th epoch is kept; None for none.
        interval: Seconds between checkpoints within an epoch.
        stopping: Says whether the training is asked to stop.
        noticed: What user code has read so far.
        holds: Says whether what a checkpoint has noticed still stands, by None or what has changed.
        resume: Go on from the newest checkpoint (None), start over (0), or go on from this epoch.
    """

    progress: Listener = lambda event: None
    shelf: Shelf | None = None
    every: int | None = 10
    interval: float = math.inf
    stopping: Callable[[], bool] = bool
    noticed: Callable[[], Noticed] = Noticed
    holds: Callable[[Noticed], str | None] = lambda noticed: None
    resume: int | None = None

    def start(self, epochs: int, *, within: bool) -> Mapping[str, Any] | None:
        """The state that the training goes on from; None when it starts from its beginning.

        Args:
            epochs: How many epochs are wanted.
            within: Whether a checkpoint within an epoch will do.

        Raises:
            StageError: The checkpoint that was asked for is not there.
        """
        if self.shelf is None:
            return None
        if self.resume == 0:
            self.shelf.set_aside()
            return None
        for position in reversed(self.shelf.positions()):
            if self.resume is not None and position != Position(self.resume):
                continue
            if position > Position(epochs) or (position.step and not within):
                continue
            state = self._read(position, epochs)
            if state is not None:
                return state
        if self.resume is not None:
            there = shown(place for place in self.shelf.positions() if place.epoch <= epochs)
            raise StageError(
                f"there is no checkpoint of epoch {self.resume} to resume from",
                found=f"checkpoints of epochs {there}",
                fix="name one of these, or leave --resume-epoch away to go on from the newest",
            )
        return None

    def _read(self, position: Position, epochs: int) -> Mapping[str, Any] | None:
        """The state at a position, if it can be used."""
        assert self.shelf is not None
        try:
            state: Mapping[str, Any] = training_state.decode(self.shelf.read(position))
            noticed = Noticed(**state["noticed"])
            if not state.keys() >= NEEDED:
                raise training_state.Damaged("it is of another version of mltkbuild")
        except (training_state.Damaged, OSError, KeyError, TypeError) as error:
            self._say(f"the checkpoint of {position} is damaged ({error}); the one before is used")
            return None
        if noticed.reads_epochs and state["epochs"] != epochs:
            self._say(f"the checkpoint of {position} depends on epochs = {state['epochs']}, and is not used")
            return None
        changed = self.holds(noticed)
        if changed:
            self._say(f"the checkpoint of {position} is not used: {changed} has changed")
            return None
        return state

    def _say(self, text: str) -> None:
        self.progress(Note(text))

    def put(self, position: Position, state: Mapping[str, Any]) -> None:
        """Write a checkpoint and drop those that are no longer kept.

        Raises:
            StageError: The disk is full or read-only; earlier checkpoints are untouched.
        """
        if self.shelf is None:
            return
        try:
            self.shelf.put(position, training_state.encode(state), state["best"]["epoch"] or None)
            self.shelf.prune(position, state["best"]["epoch"] or None, self.every)
        except OSError as error:
            stopped = disk_error(error, "", "the checkpoints so far and the old artifacts are untouched")
            stopped.what, stopped.where = f"the checkpoint of {position} can't be written", None
            raise stopped from error


@dataclass(frozen=True)
class Rules:
    """What a course goes by.

    Args:
        epochs: How many epochs are wanted.
        seed: The seed of what callbacks draw.
        monitor: The metric that tells the best epoch; empty for none.
        fallbacks: Metrics to take when there is no such metric.
        mode: 'auto', 'min' or 'max'.
        stop_on_nan: Whether a loss that is no finite number ends the training.
        batches: The order of samples in memory; None for a stream.
        steps: Steps of an epoch; None when they are not known.
        within: Whether the training can go on exactly within an epoch.
        not_exact: Why a resumed training is not surely the same as one that never stopped; None when it is.
    """

    epochs: int
    seed: int
    monitor: str = ""
    fallbacks: tuple[str, ...] = ()
    mode: str = "auto"
    stop_on_nan: bool = True
    batches: Batches | None = None
    steps: int | None = None
    within: bool = True
    not_exact: str | None = None
