"""The commands that only look: list, status, explain, summarize."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from mltkbuild.cli.archives import summarize_archive
from mltkbuild.cli.build import enter, known, no_models, run_doit, tell_of_files
from mltkbuild.cli.file_commands import is_file, summarize_file
from mltkbuild.cli.telling import tell
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.records import Record
from mltkbuild.disk.workspace import TEST
from mltkbuild.engine.explain import changes, unused_checkpoints
from mltkbuild.engine.plan import BLOCKED, FRESH, MAY_RUN, Step, inspected_texts, plan
from mltkbuild.errors import UsageError, did_you_mean
from mltkbuild.front.report import cut, either, figure_text, figure_value, reason_text, reasons_text, table
from mltkbuild.front.session import Session, fail
from mltkbuild.shown import shown
from mltkbuild.stages.table import ARCHIVE, EVALUATE, STAGES

# How good a model is comes before what it costs.
_COLUMNS = sorted(
    ((stage.name, figure) for stage in STAGES.values() for figure in stage.figures if figure.column),
    key=lambda column: column[1].unit not in ("rate", "metrics"),
)
_HEADS = tuple(dict.fromkeys(figure.column for _, figure in _COLUMNS))


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models of the workspace.

    \b
    mltk list
    """
    session = enter()
    listing = session.builder.listing
    if as_json:
        models = [{"name": spec.name, "spec": spec.path} for spec in listing.specs.values()]
        problems = [{"name": name, "error": str(error)} for name, error in listing.problems.items()]
        tell(json.dumps({"models": models, "problems": problems}, indent=1))
        return
    rows = [(spec.name, spec.path) for spec in listing.specs.values()]
    rows += [(name, cut(f"error: {error.what}")) for name, error in listing.problems.items()]
    tell(table(("model", "spec"), rows) if rows else no_models(session))
    if rows:
        tell_of_files(session)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-a", "--all", "every", is_flag=True, help="A line for each stage instead of one for each model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(names: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Show what is up to date, what failed, and why.

    With accuracy and size, as far as models have been built.

    \b
    mltk status
    mltk status kws_v2 --all
    mltk status --json
    """
    session = enter()
    targets = known(session, names) or (*session.builder.listing.specs, *session.builder.listing.problems)
    plans = [plan(session.builder, target) for target in targets]
    session.close()
    if as_json:
        tell(json.dumps([_status_json(steps) for steps in plans], indent=1))
        return
    rows = [row for steps in plans for row in (_stage_rows(steps) if every else [_model_row(steps)])]
    header = ("model", "stage", "state", *_HEADS)
    tell(table(header, rows) if rows else no_models(session))
    if rows:
        tell_of_files(session)


def figures(steps: Sequence[Step]) -> dict[str, Any]:
    """The figures for which `mltk status` has a column, as the records have them; None where there is none."""
    records: dict[str, Record] = {step.stage: step.record for step in steps if step.record is not None}
    return {
        figure.name: figure_value(figure, records[stage].facts) if stage in records else None
        for stage, figure in _COLUMNS
    }


def state_text(step: Step) -> str:
    """A step's state in words: up to date, or that it failed, or the first reason why it isn't."""
    if step.error is not None:
        return cut(f"error: {step.error.what}")
    if step.failure is not None:
        return cut(f"{step.failure} ({reasons_text(step.reasons) or f'may change with {either(step.after)}'})")
    if step.reasons:
        return cut(reasons_text(step.reasons))
    return FRESH if step.state == FRESH else f"may change with {either(step.after)}"


def _figure_cells(steps: Sequence[Step]) -> tuple[str, ...]:
    found = figures(steps)
    texts: dict[str, str] = {}
    for _, figure in _COLUMNS:
        texts[figure.column] = texts.get(figure.column) or figure_text(figure, found[figure.name])
    return tuple(texts[column] or "-" for column in _HEADS)


def _model_row(steps: Sequence[Step]) -> tuple[str, ...]:
    first = next((step for step in steps if step.state != FRESH), None)
    cells = _figure_cells(steps)
    if first is None:
        return (steps[0].target, "all", FRESH, *cells)
    return (first.target, first.stage, state_text(first), *cells)


def _stage_rows(steps: Sequence[Step]) -> list[tuple[str, ...]]:
    cells = _figure_cells(steps)
    empty = ("",) * len(_HEADS)
    return [
        (step.target, step.stage, state_text(step), *(cells if step.stage == EVALUATE.name else empty))
        for step in steps
    ]


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "state": step.state,
        "reasons": [
            {"kind": one.kind, "subject": one.subject, "old": one.old, "new": one.new, "text": reason_text(one)}
            for one in step.reasons
        ],
        "after": list(step.after),
        "seconds": step.seconds,
        "error": None if step.error is None else str(step.error),
        "failure": None if step.failure is None else asdict(step.failure),
    }


def _status_json(steps: Sequence[Step]) -> dict[str, Any]:
    return {"model": steps[0].target, **figures(steps), "stages": [_step_json(step) for step in steps]}


@click.command()
@click.argument("target", metavar="NAME[:STAGE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(target: str, as_json: bool) -> None:
    """Say why stages would run.

    Tells old and new values, changed layers and changed functions. A spec whose code
    has changed is run to find out exactly; nothing is built.

    \b
    mltk explain kws_v2
    mltk explain kws_v2:train
    """
    session = enter()
    last, name = _stage_and_name(session, target)
    known(session, [name])
    try:
        steps = plan(session.builder, name, last, inspect=True)
    finally:
        # A changed spec runs in a worker, which Ctrl+C has to end.
        session.close()
    wanted = [step for step in steps if step.state != FRESH and (last in (ARCHIVE.name, step.stage) or step.error)]
    texts = inspected_texts(steps)
    found = {step.stage: changes(session.builder, name, step.stage, step.reasons, texts) for step in wanted}
    for stage in filter(lambda stage: STAGES[stage].resumable, found):
        found[stage] += unused_checkpoints(session.builder, name, stage, texts)
    if as_json:
        tell(json.dumps([{**_step_json(step), "changes": found[step.stage]} for step in wanted], indent=1))
    elif not wanted:
        tell(f"{target} is up to date")
    else:
        _print_explanation(name, wanted, found)


def _stage_and_name(owner: Session, target: str) -> tuple[str, str]:
    """`NAME`, `NAME:STAGE` or doit's `STAGE:NAME` as stage and name."""
    first, colon, second = target.partition(":")
    if not colon:
        return ARCHIVE.name, first
    if second in STAGES:
        return second, first
    if first in STAGES:
        return first, second
    stage = first if second.removesuffix(TEST) in owner.builder.listing.specs else second
    raise UsageError(f"there is no stage {stage}", found=target, fix=did_you_mean(stage, STAGES, "the stages are"))


def _print_explanation(name: str, steps: Sequence[Step], found: Mapping[str, list[str]]) -> None:
    for step in steps:
        if step.state == BLOCKED:
            raise SystemExit(fail(step.error) if step.error is not None else 1)
        if step.state == MAY_RUN:
            tell(f"{step.stage}:{name} runs if {either(step.after)} changes its result")
            continue
        if step.failure is not None:
            tell(f"{step.stage}:{name} {shown(str(step.failure))}")
        tell(f"{step.stage}:{name} runs because")
        for reason in step.reasons:
            if not (reason.subject.startswith("spec/") and found[step.stage]):
                tell(f"  {reason_text(reason)}")
        for line in found[step.stage]:
            tell(f"  {shown(line)}")


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--trust", is_flag=True, help="For a Keras file: run the Python code that it holds.")
def summarize(name: str, trust: bool) -> None:
    """Print a model's layers and what has been built.

    Of a file: what is in it.

    \b
    mltk summarize kws_v2
    mltk summarize model.keras
    mltk summarize model.tflite
    mltk summarize kws.mltk.zip
    """
    if name.endswith(ARCHIVE_SUFFIX):
        summarize_archive(name)
        return
    if is_file(name):
        summarize_file(name, trust)
        return
    session = enter()
    known(session, [name])
    code = run_doit("run", f"spec:{name}", terse=True)
    if code:
        raise SystemExit(code)
    state = session.builder.state(name)
    with open(state.folder.artifact("summary.txt"), encoding="utf-8") as file:
        tell(file.read())
    tell("\n".join(_built_lines(session, name)))


def _built_lines(session: Session, name: str) -> list[str]:
    """The figures of what has been built, one a line."""
    steps = plan(session.builder, name)
    found = figures(steps)
    lines = [f"spec: {session.builder.listing[name].path}"]
    for _, figure in _COLUMNS:
        if text := figure_text(figure, found[figure.name]):
            lines.append(f"{f'{name}.tflite' if figure.unit == 'bytes' else figure.words}: {text}")
    first = next((step for step in steps if step.state != FRESH), None)
    lines.append("up to date" if first is None else f"{first.stage}: {state_text(first)}")
    return lines


COMMANDS = (list_models, status, explain, summarize)
