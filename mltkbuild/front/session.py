"""One build in this process: the builder, what is shown while it runs, and how it ends."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType

from mltkbuild.disk import checkpoints
from mltkbuild.disk.workspace import Workspace, find_workspace
from mltkbuild.engine.builder import Builder, Built
from mltkbuild.engine.explain import changes
from mltkbuild.engine.freshness import Reason, Verdict
from mltkbuild.errors import MltkError, UsageError
from mltkbuild.events import Counted, EpochProgress, Event, Note
from mltkbuild.front.interrupt import Interrupt
from mltkbuild.front.report import duration, figures_text, first_of, plural, reason_text
from mltkbuild.stages.protocol import RESUME, Options, Start
from mltkbuild.stages.table import BUILT, STAGES

INTERRUPTED = 130
READING, WORTH_SHOWING = "files", 2000
"""What reading touched files again is called, and how many are worth it."""


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
        self.ignored = 0
        self.left_out = 0
        self.failures: list[str] = []
        self.verbose = False
        self.asked: frozenset[str] = frozenset()
        """The stages and groups of stages that somebody asks for, as doit calls them."""
        self.called_from = self.workspace.root
        self.worst = 0
        self._running: list[str] = []
        self._reading = False
        self._display: object | None = None
        self._lock = threading.Lock()
        self._guarded = False
        self._interrupted: tuple[str, ...] | None = None
        self._kept: list[str] = []
        self._started = time.monotonic()
        self.builder.memo.progress = self._show_reading

    def judge(self, target: str, stage: str, options: Options) -> Verdict:
        """Judge a stage; what can't be judged is left to the run, which reports it."""
        try:
            asked = not STAGES[stage].before or bool(self.asked & {stage, f"{stage}:{target}"})
            return self.builder.judge(target, stage, options, asked=asked)
        except MltkError as error:
            return Verdict(target, stage, options, (Reason("unreadable", error.where or "", error.what),))

    def run(self, verdict: Verdict, *, start: Start = RESUME) -> Built:
        """Run a stage and show it.

        Args:
            verdict: The stage with its options, judged.
            start: Whether it runs even when it is up to date, and from where a training begins.

        Raises:
            MltkError: It failed; nothing was published.
            SystemExit: The build was interrupted.
        """
        # Stages of one target take turns; waiting for one's own build is nothing to tell.
        try:
            with self.builder.turn(verdict.target):
                return self._run(verdict, start)
        except MltkError as error:
            self.exit_with(error.exit_code)
            raise

    def _run(self, verdict: Verdict, start: Start) -> Built:
        label = f"{verdict.stage}:{verdict.target}"
        display = self.display
        why = self.why(verdict)
        self.builder.go_by(verdict)
        self._running.append(label)
        display.begin(label, why)
        said: list[str] = []
        text: str | None = f"failed  ({why})"
        try:
            hear = partial(self._hear, label, said)
            built = self.builder.build(verdict.target, verdict.stage, verdict.options, hear, start=start)
            text = _result_text(built, why, said)
        except MltkError:
            if self._interrupted is not None:
                # The workers were ended, so whatever they were at has failed; that is no error to report.
                text = None
                raise SystemExit(INTERRUPTED) from None
            raise
        except (SystemExit, KeyboardInterrupt):
            text = None
            raise
        finally:
            self._running.remove(label)
            display.end(label, text)
        with self._lock:
            self.ran += bool(built.reasons)
            self.fresh += not built.reasons
        for name in built.changed:
            display.note(f"  {name} had been changed by somebody; that file is kept as {name}.changed")
        for note in built.notes:
            display.note(f"  {note}")
        return built

    def _show_reading(self, done: int, count: int) -> None:
        """Show how far the files of a data set are read again whose stamps have moved, if it takes a while."""
        if count < WORTH_SHOWING:
            return
        if not self._reading:
            self._reading = True
            self.display.begin(READING, f"{count:,} touched files")
        self.display.event(READING, Counted("touched files", done, count))
        if done == count:
            self._reading = False
            self.display.end(READING, None)

    def _hear(self, label: str, said: list[str], event: Event) -> None:
        """Show what a stage reports; a note about the stage itself waits for the stage's own line."""
        if isinstance(event, Note) and event.text.startswith(label + " "):
            said.append(event.text.removeprefix(label + " "))
            return
        self.display.event(label, event)
        if self.verbose and isinstance(event, EpochProgress) and event.metrics is not None:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in sorted(event.metrics.items()))
            self.display.note(f"  {label} epoch {event.epoch}/{event.epochs}: {figures}")

    def weights_file(self, target: str, weights: str) -> str:
        """The absolute path of the file that a training starts from.

        Args:
            target: The target that is trained.
            weights: A path, relative to the workspace, or 'best' for the target's best checkpoint.

        Raises:
            UsageError: There is no such file, or no best checkpoint.
        """
        if weights == "best":
            root = self.builder.state(target).folder.checkpoints
            found = checkpoints.best_file(root)
            if found is None:
                raise UsageError(
                    f"{target} has no best checkpoint",
                    found=f"none in {os.path.relpath(root, self.workspace.root)}",
                    fix="train it first, with validation data, or name a weights file",
                )
            return found
        path = self.workspace.path(weights)
        if not os.path.isfile(path):
            raise UsageError("there is no such weights file", found=weights, fix="give the path of one, or 'best'")
        return path

    def why(self, verdict: Verdict, limit: int = 1) -> str:
        """Why a stage runs, in values where the spec's slices tell them: `layer conv2d: filters 16 -> 8`."""
        told = changes(self.builder, verdict.target, verdict.stage, verdict.reasons)
        named = [reason_text(reason) for reason in verdict.reasons if not (told and reason.subject.startswith("spec/"))]
        return first_of(told + named, limit) or "asked for"

    @property
    def display(self) -> Display:
        """Where progress goes; rich is loaded when the first stage runs, and not by a build with nothing to do."""
        with self._lock:
            if self._display is None:
                self._display = importlib.import_module("mltkbuild.front.progress").make_display(self._label_width())
            return self._display  # type: ignore[return-value]  # the module's own protocol, known when it is loaded

    def _label_width(self) -> int:
        """Room for the names of all stages, within reason."""
        longest = max(map(len, self.builder.listing.specs), default=0)
        return min(max(24, longest + max(map(len, BUILT)) + len(":")), 44)

    def guard(self) -> None:
        """From now on Ctrl+C and SIGTERM end the workers, a training with a checkpoint, and this process with 130."""
        if self._guarded or threading.current_thread() is not threading.main_thread():
            return
        self._guarded = True
        atexit.register(self.close)
        Interrupt(self._end, (signal.SIGINT, signal.SIGTERM), self._exit).begin()

    def _end(self, hurry: Callable[[], bool]) -> list[str]:
        self._interrupted = tuple(self._running)
        return self.builder.interrupt(hurry)

    def _exit(self, number: int, frame: FrameType | None, kept: list[str]) -> None:
        self._kept += kept
        raise SystemExit(INTERRUPTED)

    # -- counting ----------------------------------------------------------------------------------------------------

    def found_fresh(self) -> None:
        """Count a stage that is up to date."""
        self.fresh += 1

    def found_ignored(self) -> None:
        """Count a stage that doit was told to ignore."""
        self.ignored += 1

    def failed(self, label: str) -> None:
        """Count a task that failed."""
        self.failures.append(label)

    def exit_with(self, code: int) -> None:
        """Let the process end with this exit code, or with a worse one."""
        self.worst = max(self.worst, code)

    def leave_out(self) -> None:
        """Count a stage that can't run because one that it needs has failed."""
        self.left_out += 1

    def close(self) -> None:
        """End the workers, give the terminal back, keep what was learned about files."""
        if self._display is not None:
            self.display.close()
        self.builder.close()

    def summary(self) -> str:
        """One line about the whole run."""
        counts = [f"{plural(self.ran, 'stage')} ran", f"{self.fresh} up to date"]
        if self.ignored:
            counts.append(f"{self.ignored} ignored")
        if self._interrupted is not None:
            during = f" during {first_of(self._interrupted, 4, ', ')}" if self._interrupted else ""
            kept = f"{plural(self.ran, 'finished stage')} kept; " if self.ran else ""
            kept += "".join(f"{text}; " for text in self._kept)
            return f"interrupted{during}: {kept}run the same command to go on"
        if self.failures:
            if self.left_out:
                counts.append(f"{self.left_out} left out")
            return f"failed: {first_of(self.failures, 4, ', ')}; {', '.join(counts)}"
        if not self.ran:
            return "up to date: " + ", ".join([plural(self.fresh, "stage"), *counts[2:]])
        return f"done: {', '.join(counts)}, {duration(time.monotonic() - self._started)}"


_sessions: dict[str, Session] = {}


def current() -> Session:
    """The session of the workspace around the working directory; one a process."""
    folder = os.getcwd()
    if folder not in _sessions:
        _sessions[folder] = Session()
    return _sessions[folder]


def use(session: Session) -> None:
    """Make a session the current one of its workspace: for a front with an engine of its own, and for tests."""
    _sessions[session.workspace.root] = session


class Display:
    """The protocol of `mltkbuild.front.progress`, without its imports."""

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


def _result_text(built: Built, why: str, said: Sequence[str]) -> str:
    """What a stage made, in a few words, and why it ran."""
    if not built.reasons:
        return "another build had done it"
    figures = figures_text(STAGES[built.stage], built.record.facts) if built.record is not None else ""
    made = ", ".join([*([figures] if figures else []), *said])
    return f"{made}  ({why})" if made else why


def fail(error: MltkError) -> int:
    """Print an error as the house does and give the exit code."""
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code
