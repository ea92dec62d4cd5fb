"""What makes a stage dirty: one pure function, which build, status, explain and dry run all call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mltkbuild.disk.records import Record


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause to run a stage.

    Args:
        kind: 'never built', 'bad record', 'unfinished', 'input changed', 'input new', 'input gone', 'artifact missing',
            'artifact changed' or 'forced'.
        subject: The input or artifact; empty when the stage as a whole is meant.
        old: What the record says, where there is something to say.
        new: What is found now.
    """

    kind: str
    subject: str = ""
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stage, judged once: what is shown, and what the builder goes by while it stands.

    Args:
        target: The target.
        stage: The stage.
        options: The options of the command line that it was judged for.
        reasons: Why it runs; empty when it is up to date.
        pinned: Whether it is about the text of the spec that this build runs, and not about what lay on the disk.
        basis: For one with reasons, what it goes by that another build may replace.
    """

    target: str
    stage: str
    options: Mapping[str, int | str]
    reasons: tuple[Reason, ...]
    pinned: bool = False
    basis: tuple[object, ...] = ()


def reasons_to_run(
    record: Record | None, inputs: Mapping[str, str | None], artifacts: Mapping[str, str | None]
) -> tuple[Reason, ...]:
    """Say why a stage must run: an empty tuple when it is up to date.

    Args:
        record: The record of its last success; None when there is none.
        inputs: Digests of what it would read now; None for something that is missing.
        artifacts: Digests of its artifacts as they lie on the disk; None for a missing one.

    Returns:
        The reasons, inputs first, each group in alphabetical order.
    """
    if record is None:
        return (Reason("never built"),)
    if record.inputs == inputs and record.artifacts == artifacts:
        return ()
    reasons = []
    for name in sorted(record.inputs.keys() | inputs.keys()):
        old, new = record.inputs.get(name), inputs.get(name)
        if name not in record.inputs:
            # Even one that is missing: the stage would read it, and its last run did not.
            reasons.append(Reason("input new", name, old, new))
        elif old != new:
            reasons.append(Reason("input gone" if new is None else "input changed", name, old, new))
    return (*reasons, *damaged(record, artifacts))


def damaged(record: Record, artifacts: Mapping[str, str | None]) -> tuple[Reason, ...]:
    """Say which artifacts are not what a record says, and so make its stage run whatever its inputs are.

    Args:
        record: The record of a stage's last success.
        artifacts: Digests of its artifacts as they lie on the disk; None for a missing one.
    """
    reasons = []
    for name in sorted(record.artifacts):
        old, new = record.artifacts[name], artifacts.get(name)
        if new is None:
            reasons.append(Reason("artifact missing", name, old))
        elif old != new:
            reasons.append(Reason("artifact changed", name, old, new))
    return tuple(reasons)
