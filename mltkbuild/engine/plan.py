"""What a build would do, asked before it happens: the same judge, walked over the graph without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mltkbuild.disk.failures import Failure, last
from mltkbuild.disk.inputs import ARTIFACT, parse
from mltkbuild.disk.records import Record
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.freshness import Reason
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import MltkError
from mltkbuild.stages.protocol import Options
from mltkbuild.stages.table import ARCHIVE, SPEC, STAGES, upstream

FRESH, RUNS, MAY_RUN, BLOCKED = "up to date", "runs", "may run", "blocked"


@dataclass(frozen=True)
class Step:
    """What a build would do with one stage.

    Args:
        target: The target.
        stage: The stage.
        state: 'up to date', 'runs', 'may run' (when a stage in `after` changes its result) or 'blocked' (by `error`).
        reasons: Why it runs.
        after: The stages whose new result decides whether it runs.
        seconds: How long it took last time; None when it never ran.
        record: Its last record.
        texts: For an inspected spec: the new text of its artifacts.
        error: Why the target can't be built.
        failure: How its last run failed; None when it succeeded, or never ran.
    """

    target: str
    stage: str
    state: str
    reasons: tuple[Reason, ...] = ()
    after: tuple[str, ...] = ()
    seconds: float | None = None
    record: Record | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    error: MltkError | None = None
    failure: Failure | None = None


def plan(
    builder: Builder,
    target: str,
    stage: str = ARCHIVE.name,
    *,
    inspect: bool = False,
    options: Options | None = None,
) -> list[Step]:
    """Walk the stages of one target up to a stage.

    Args:
        builder: The engine; its state of the target is used up by an inspection.
        target: `NAME` or `NAME-test`.
        stage: The last stage wanted.
        inspect: Run a changed spec in a worker, without publishing anything, to know exactly what it reaches.
        options: Options of the command line.

    Returns:
        One step a stage, in the order of building.
    """
    try:
        state = builder.state(target)
    except MltkError as error:
        return [Step(target, name, BLOCKED, error=error) for name in upstream(stage)]
    walk = _Walk(builder, state, stage, inspect, options)
    for name in upstream(stage):
        walk.steps.append(walk.step(name))
    return walk.steps


class _Walk:
    """A walk along the stages of one target; each is judged by what the ones before it came to."""

    def __init__(  # what a plan is about
        self, builder: Builder, state: TargetState, last: str, inspect: bool, options: Options | None
    ) -> None:
        self.steps: list[Step] = []
        self._builder = builder
        self._state = state
        self._last = last
        self._inspect = inspect
        self._options = options
        # An inspection replaces the record of the spec stage; a step shows the last run's.
        self._records = {name: state.record(name) for name in STAGES}

    def step(self, name: str) -> Step:
        """What a build would do with the next stage."""
        record = self._records[name]
        bare = Step(self._state.target, name, BLOCKED, seconds=record.seconds if record else None, record=record)
        blocking = next((step.error for step in self.steps if step.error is not None), None)
        if blocking is not None:
            return replace(bare, error=blocking)
        texts: Mapping[str, str] = {}
        try:
            reasons = self._state.reasons(name, self._options)
            reasons = reasons if name == self._last or self._state.is_due(name, self._options) else ()
            if name == SPEC.name and reasons and self._inspect:
                assumed, texts = self._builder.inspect(self._state.target)
                self._state.assume(assumed)
        except MltkError as error:
            return replace(bare, error=error)
        after = tuple(
            step.stage
            for step in self.steps
            if step.stage in STAGES[name].needs
            and step.state != FRESH
            and not step.texts
            # Of a stage that only looks ahead nothing is read.
            and not STAGES[step.stage].before
        )
        if after:
            reasons = tuple(reason for reason in reasons if not _provisional(reason))
        result = RUNS if reasons else MAY_RUN if after else FRESH
        failure = None if result == FRESH else last(self._state.folder, name, record)
        return replace(bare, state=result, reasons=reasons, after=after, texts=texts, failure=failure)


def _provisional(reason: Reason) -> bool:
    """Whether a reason is only that the stage which makes an input has lost its record and runs first."""
    return reason.kind == "input gone" and parse(reason.subject).kind == ARTIFACT


def total_seconds(steps: Iterable[Step], state: str = RUNS) -> tuple[float, int]:
    """How long the steps of one state took last time, and how many of them never ran."""
    chosen = [step for step in steps if step.state == state]
    return sum(step.seconds or 0.0 for step in chosen), sum(step.seconds is None for step in chosen)


def inspected_texts(steps: Iterable[Step]) -> Mapping[str, str]:
    """The new text of the slices, when the plan ran the spec to know them."""
    return next((step.texts for step in steps if step.texts), {})
