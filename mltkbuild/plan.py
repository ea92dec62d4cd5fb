"""What a build would do, asked before it happens: the same judge, walked over the graph without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mltkbuild.builder import Builder
from mltkbuild.errors import MltkError
from mltkbuild.freshness import Reason, Record
from mltkbuild.stages import STAGES, upstream
from mltkbuild.state import TargetState

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


def plan(
    builder: Builder,
    target: str,
    stage: str = "archive",
    *,
    inspect: bool = False,
    options: Mapping[str, int] | None = None,
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
    records = {name: state.record(name) for name in STAGES}
    steps: list[Step] = []
    for name in upstream(stage):
        steps.append(_step(builder, state, name, records, steps, inspect, options))
    return steps


def _step(  # noqa: PLR0913  # one walk's whole context
    builder: Builder,
    state: TargetState,
    name: str,
    records: Mapping[str, Record | None],
    before: list[Step],
    inspect: bool,
    options: Mapping[str, int] | None,
) -> Step:
    record = records[name]
    seconds = None if record is None else record.seconds
    known = {"target": state.target, "stage": name, "seconds": seconds, "record": record}
    blocking = next((step.error for step in before if step.error is not None), None)
    if blocking is not None:
        return Step(**known, state=BLOCKED, error=blocking)  # type: ignore[arg-type]  # the common fields, by name
    texts: dict[str, str] = {}
    try:
        reasons = state.reasons(name, options)
        if name == "spec" and reasons and inspect:
            assumed, texts = builder.inspect(state.target)
            state.assume(assumed)
    except MltkError as error:
        return Step(**known, state=BLOCKED, error=error)  # type: ignore[arg-type]  # as above
    needs = STAGES[name].needs
    open_ones = tuple(
        step.stage for step in before if step.stage in needs and step.state != FRESH and not step.texts
    )
    result = RUNS if reasons else MAY_RUN if open_ones else FRESH
    return Step(**known, state=result, reasons=reasons, after=open_ones, texts=texts)  # type: ignore[arg-type]  # as above


def total_seconds(steps: Iterable[Step], state: str = RUNS) -> tuple[float, int]:
    """How long the steps of one state took last time, and how many of them never ran."""
    chosen = [step for step in steps if step.state == state]
    return sum(step.seconds or 0.0 for step in chosen), sum(step.seconds is None for step in chosen)


def inspected_texts(steps: Iterable[Step]) -> Mapping[str, str]:
    """The new text of the slices, when the plan ran the spec to know them."""
    return next((step.texts for step in steps if step.texts), {})
