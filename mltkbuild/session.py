"""One build in this process: the builder, what is shown while it runs, and how it ends."""

from __future__ import annotations

import atexit
import importlib
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from types import FrameType

from mltkbuild.builder import Builder, Built
from mltkbuild.errors import MltkError
from mltkbuild.explain import changes
from mltkbuild.freshness import Reason
from mltkbuild.protocol import Event
from mltkbuild.report import duration, first_of, plural, reason_text, size
from mltkbuild.workspace import Workspace, find_workspace

INTERRUPTED = 130


class Session:
    """Runs stages for a front and keeps count.

    Args:
        workspace: The workspace; the one around the working directory when None.
        builder: The engine; one for the workspace when None.
    """

    def __init__(self, workspace: Workspace | None = None, builder: Builder | None = None) -> None:
        self.workspace = workspace or find_workspace()
        self.builder = builder or Builder(self.workspace)
        self.ran = 0
        self.fresh = 0
        self.failed = 0
        self._display: object | None = None
        self._lock = threading.Lock()
        self._guarded = False
        self._interrupted = False
        self._started = time.monotonic()

    def reasons(self, target: str, stage: str, options: Mapping[str, int]) -> tuple[Reason, ...]:
        """Why a stage must run; what can't be judged is left to the run, which reports it."""
        try:
            reasons = self.builder.reasons(target, stage, options)
        except MltkError as error:
            return (Reason("bad record", error.where or "", error.what),)
        if reasons:
            self.guard()
        return reasons

    def run(self, target: str, stage: str, options: Mapping[str, int], *, force: bool = False) -> Built:
        """Run a stage and show it.

        Raises:
            MltkError: It failed; nothing was published.
        """
        label = f"{stage}:{target}"
        display = self.display
        listener = partial(display.event, label)
        why = self._why(target, stage, options)
        display.begin(label, why)
        text = "failed"
        try:
            built = self.builder.build(target, stage, options, listener, force=force)
            text = _result_text(built, why)
        except MltkError:
            with self._lock:
                self.failed += 1
            raise
        except SystemExit:
            text = "interrupted"
            raise
        finally:
            display.end(label, text)
        with self._lock:
            self.ran += bool(built.reasons)
        for name in built.changed:
            display.note(f"  {name} had been changed by somebody; that file is kept as {name}.changed")
        for note in built.notes:
            display.note(f"  {note}")
        return built

    def _why(self, target: str, stage: str, options: Mapping[str, int]) -> str:
        """Why a stage runs, in values where the spec's slices tell them: `layer conv2d: filters 16 -> 8`."""
        reasons = self.reasons(target, stage, options)
        told = changes(self.builder, target, stage, reasons)
        named = [reason_text(reason) for reason in reasons if not reason.subject.startswith("spec/")]
        lines = told + (named if told else [reason_text(reason) for reason in reasons])
        return first_of(lines)

    @property
    def display(self) -> Display:
        """Where progress goes; rich is loaded when the first stage runs, and not by a build with nothing to do."""
        with self._lock:
            if self._display is None:
                self._display = importlib.import_module("mltkbuild.progress").make_display()
            return self._display  # type: ignore[return-value]  # the module's own protocol, known when it is loaded

    def guard(self) -> None:
        """From now on Ctrl+C and SIGTERM end the workers at once and this process with code 130."""
        if self._guarded or threading.current_thread() is not threading.main_thread():
            return
        self._guarded = True
        atexit.register(self.close)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._interrupted = True
        self.builder.stop()
        raise SystemExit(INTERRUPTED)

    def close(self) -> None:
        """End the workers, give the terminal back, keep what was learned about files."""
        if self._display is not None:
            self.display.close()
        self.builder.close()

    def summary(self) -> str:
        """One line about the whole run."""
        if self._interrupted:
            return f"interrupted: {plural(self.ran, 'finished stage')} kept, the others are as they were"
        if self.failed:
            return f"failed: {plural(self.failed, 'stage')}; {self.ran} ran, {self.fresh} up to date"
        if not self.ran:
            return f"up to date: {plural(self.fresh, 'stage')}"
        took = duration(time.monotonic() - self._started)
        return f"done: {plural(self.ran, 'stage')} ran, {self.fresh} up to date, {took}"


class Display:
    """The protocol of `mltkbuild.progress`, without its imports."""

    def begin(self, label: str, why: str) -> None:
        """A stage starts."""

    def event(self, label: str, event: Event) -> None:
        """A stage reports progress."""

    def end(self, label: str, text: str) -> None:
        """A stage is done."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def close(self) -> None:
        """The build is over."""


def _result_text(built: Built, why: str) -> str:
    """What a stage made, in a few words, behind why it ran."""
    why = why if built.reasons else "another build had done it"
    made = _figures(built.record.facts) if built.record is not None else ""
    return f"{made}  ({why})" if made else why


def _figures(facts: Mapping[str, object]) -> str:
    """The figures of a record that people look for first."""
    parts = []
    if isinstance(metrics := facts.get("metrics"), Mapping):
        name = next((name for name in ("val_accuracy", "accuracy", "val_loss", "loss") if name in metrics), None)
        parts.append(f"{facts.get('epochs')} epochs" + (f", {name} {metrics[name]:.4f}" if name else ""))
    for name, text in (("keras_accuracy", "accuracy float"), ("tflite_accuracy", "int8")):
        if isinstance(value := facts.get(name), float):
            parts.append(f"{text} {value:.4f}")
    if isinstance(count := facts.get("bytes"), int):
        parts.append(size(count))
    return ", ".join(parts)


def fail(error: MltkError) -> int:
    """Print an error as the house does and give the exit code."""
    sys.stdout.flush()
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code
