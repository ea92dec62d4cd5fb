"""One call of the Python API: which model it means, its build, its workers, and what Ctrl+C does meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mltkbuild.api.which_model import Model, find_target
from mltkbuild.api.workers import workers
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import MltkError
from mltkbuild.from_mltk import aliases
from mltkbuild.front import session
from mltkbuild.front.interrupt import Interrupt
from mltkbuild.stages.protocol import RESUME, Options, Start
from mltkbuild.stages.table import STAGES, upstream

# -- one call --------------------------------------------------------------------------------------------------------


class Call(session.Session):
    """One call: a build of its own, so that it sees every edit made before it.

    Args:
        builder: The engine.
        found: The target.
        verbose: True shows each epoch, False nothing.
    """

    def __init__(self, builder: Builder, found: TargetState, verbose: bool | None) -> None:
        super().__init__(found.workspace, builder)
        self.state = found
        self.target = found.target
        self.brought: set[str] = set()
        self.verbose = bool(verbose)
        if verbose is False:
            self._display = session.Display()

    def guard(self) -> None:
        """Nothing: the process belongs to the caller; `_interruptible` answers Ctrl+C while the call runs."""


@contextmanager
def begin(name: str, model: Model, test: bool, verbose: bool | None = None) -> Iterator[Call]:
    """Begin a call on a model, and end it however it ends."""
    aliases.refuse_in_spec(name)
    call = Call(*find_target(model, test), verbose=verbose)
    with _interruptible() as kept:
        waited_for = False
        try:
            yield call
            call.display.note(call.summary())
            waited_for = True
        except MltkError:
            waited_for = True
            raise
        finally:
            if not waited_for:
                # Ctrl+C, or whatever else: the stage that runs belongs to a call that nobody waits for any more.
                workers.stop()
                for text in kept:
                    call.display.note(f"{text}; the same call goes on from there")
            call.close()


@contextmanager
def _interruptible() -> Iterator[list[str]]:
    """Let Ctrl+C end the workers before it raises KeyboardInterrupt, so that none works on in a dropped folder.

    Gives the list that takes what interrupted trainings have kept.
    """
    kept: list[str] = []
    answer = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(answer):
        yield kept
        return

    def then(number: int, frame: FrameType | None, told: list[str]) -> None:
        kept.extend(told)
        answer(number, frame)
        raise KeyboardInterrupt

    interrupt = Interrupt(workers.interrupt, (signal.SIGINT,), then)
    interrupt.begin()
    try:
        yield kept
    finally:
        interrupt.over()


def bring(call: Call, stage: str, options: Options | None = None, start: Start = RESUME) -> None:
    """Bring a stage and all that it needs up to date: the one place where calls reach the engine.

    Args:
        call: The call.
        stage: The stage.
        options: Options that change results; each stage takes its own.
        start: Whether this stage runs even when it is up to date, and from where a training begins.
    """
    # Reading the spec's text once, first, makes every judgement of this call one about this text.
    _ = call.state.sources
    call.asked = frozenset([f"{stage}:{call.target}"])
    for needed in upstream(stage):
        chosen = {name: value for name, value in (options or {}).items() if name in STAGES[needed].options}
        begin_at = start if needed == stage else RESUME
        verdict = call.judge(call.target, needed, chosen)
        call.builder.go_by(verdict)
        if verdict.reasons or begin_at.forces(needed):
            call.run(verdict, start=begin_at)
        elif needed not in call.brought:
            call.found_fresh()
        call.brought.add(needed)
