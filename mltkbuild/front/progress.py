"""What a running build shows: a live line for each running stage on a terminal, one quiet line a stage elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from mltkbuild.events import Counted, EpochProgress, Event, Note
from mltkbuild.front.report import cut, duration
from mltkbuild.shown import shown
from mltkbuild.training.epochs import TELLING, UNLIMITED

WIDEST = 160
"""A line that goes to a file is cut here; on a terminal at its edge."""

_LONGEST = 4096

ROOMY = 110
"""A terminal with fewer columns has no place for a bar and a clock beside the figures."""


class Display(Protocol):
    """Shows stages as they run."""

    def begin(self, label: str, why: str) -> None:
        """A stage starts."""

    def event(self, label: str, event: Event) -> None:
        """A stage reports progress."""

    def end(self, label: str, text: str | None) -> None:
        """A stage is done; without a text nothing is to be said of it."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def close(self) -> None:
        """The build is over."""


class QuietDisplay:
    """One line a stage, when it is done; for files, pipes and continuous integration.

    Args:
        console: Where the lines go.
        width: The width of the first column.
    """

    def __init__(self, console: Console, width: int = 24) -> None:
        self._console = console
        self._width = width
        self._started: dict[str, float] = {}

    def begin(self, label: str, why: str) -> None:
        """Remember when."""
        self._started[label] = time.monotonic()

    def event(self, label: str, event: Event) -> None:
        """Only notes are worth a line."""
        if isinstance(event, Note):
            self.note(event.text)

    def end(self, label: str, text: str | None) -> None:
        """Print the stage's line."""
        seconds = time.monotonic() - self._started.pop(label, time.monotonic())
        if text is not None:
            head = f"{label:<{self._width}}  {duration(seconds):>11}  "
            figures = text.partition("  (")[0]
            # Where not everything fits, what came of a stage is worth more than half of the reason why it ran.
            fits = len(head + text) <= self._limit or len(head + figures) > self._limit
            self.note(head + (text if fits else figures))

    def note(self, text: str) -> None:
        """Print a line."""
        indent = text[: len(text) - len(text.lstrip())]
        line = indent + cut(shown(" ".join(text.split("\n")).strip(), _LONGEST), self._limit - len(indent))
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def _limit(self) -> int:
        """How long a line may be."""
        return self._console.width if self._console.is_terminal else WIDEST

    def close(self) -> None:
        """Nothing is held."""


SAVED = " \N{CHECK MARK}"
"""Stands behind the metrics of an epoch whose checkpoint is on the disk."""

ECHO = 4
"""Room at the right edge: a terminal prints `^C` there, and a wrapped line could not be erased."""


@dataclass(frozen=True)
class Narrower:
    """Something that is shown a little narrower than the terminal."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it with room at the right edge."""
        yield from console.render(self.inner, options.update_width(options.max_width - ECHO))


class Lines(Progress):
    """The moving lines."""

    def get_renderable(self) -> RenderableType:
        """All lines."""
        return Narrower(super().get_renderable())


class LiveDisplay(QuietDisplay):
    """The lines of finished stages above, a moving line for each running one below."""

    def __init__(self, console: Console, width: int = 24) -> None:
        super().__init__(console, width)
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[float, float]] = {}
        self._metrics: dict[str, str] = {}
        roomy = self._roomy = console.width >= ROOMY
        self._progress = Lines(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            *([BarColumn(bar_width=20)] if roomy else []),
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            *([TimeElapsedColumn()] if roomy else []),
            console=console,
            transient=True,
            expand=True,
        )

    def begin(self, label: str, why: str) -> None:
        """Start the stage's moving line."""
        super().begin(label, why)
        with self._lock:
            self._progress.start()
            self._tasks[label] = self._progress.add_task(f"{label:<{self._width - 2}}", total=None, text=shown(why))

    def event(self, label: str, event: Event) -> None:
        """Move the stage's line on."""
        super().event(label, event)
        if label not in self._tasks:
            return
        if isinstance(event, Counted):
            self._counted(label, event)
        elif isinstance(event, EpochProgress):
            self._trained(label, event)

    def _trained(self, label: str, event: EpochProgress) -> None:
        """Show how far a training is."""
        done, total = _fraction(event)
        if event.metrics is not None:
            self._metrics[label] = _metric(event.metrics) + (SAVED if event.checkpoint else "")
        left, metric = self._left(label, done, total), self._metrics.get(label, "")
        text = f"epoch {event.epoch}/{_epochs(event)}{_step(event) if self._roomy else ''}{left}{metric}"
        with self._lock:
            self._progress.update(self._tasks[label], completed=done, total=total, text=text)

    def _counted(self, label: str, event: Counted) -> None:
        """Show work that is counted."""
        done, total = float(event.done), float(event.of)
        text = f"{shown(event.doing)}, {event.done} of {event.of}{self._left(label, done, total)}"
        with self._lock:
            self._progress.update(self._tasks[label], completed=done, total=total, text=text)

    def end(self, label: str, text: str | None) -> None:
        """Take the moving line away and print the stage's line."""
        with self._lock:
            task = self._tasks.pop(label, None)
            self._first.pop(label, None)
            self._metrics.pop(label, None)
            if task is not None:
                self._progress.remove_task(task)
        super().end(label, text)
        if not self._tasks:
            self._progress.stop()

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()

    def _left(self, label: str, done: float, total: float) -> str:
        """The time left, from the pace since the first event, which leaves out the time to start."""
        now = time.monotonic()
        start, first = self._first.setdefault(label, (now, done))
        if done <= first or total >= UNLIMITED:
            return ""
        return f", {duration(round((now - start) / (done - first) * (total - done))).replace('.0 s', ' s')} left"


def _fraction(event: EpochProgress) -> tuple[float, float]:
    """How many epochs are done and how many there are."""
    epoch, epochs = float(event.epoch), float(event.epochs)
    if event.step is not None and event.steps:
        return epoch - 1 + event.step / event.steps, epochs
    return epoch if event.metrics is not None else epoch - 1, epochs


def _epochs(event: EpochProgress) -> str:
    """How many epochs there are to be; a training that a rule ends has no number."""
    return "?" if event.epochs >= UNLIMITED else str(event.epochs)


def _step(event: EpochProgress) -> str:
    """Where in the epoch it is."""
    if event.step is None:
        return ""
    return f", step {event.step}" + (f"/{event.steps}" if event.steps else "")


def _metric(metrics: Mapping[str, float]) -> str:
    """The one figure that tells most: the validation's, else the training's, accuracy before loss."""
    for name in TELLING:
        if name in metrics:
            return f", {name} {metrics[name]:.4f}"
    return ""


def make_display(width: int = 24) -> Display:
    """The display that fits standard error: live on a terminal, quiet elsewhere.

    Args:
        width: The width of the stages' names.
    """
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console, width) if live else QuietDisplay(console, width)
