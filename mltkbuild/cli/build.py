"""The commands that make or delete artifacts; each is a call of doit."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from mltkbuild import orphans, tasks
from mltkbuild.errors import UsageError
from mltkbuild.explain import changes
from mltkbuild.plan import RUNS, Step, inspected_texts, plan, total_seconds
from mltkbuild.properties import did_you_mean
from mltkbuild.report import duration, first_of, plural, reasons_text, table
from mltkbuild.session import Session
from mltkbuild.stages import STAGES
from mltkbuild.workspace import TEST, find_workspace

USAGE = 2


def enter() -> Session:
    """Go to the workspace's folder and open the session."""
    os.chdir(find_workspace().root)
    return tasks.session()


def split(target: str, default: str = "archive") -> tuple[str, str]:
    """`NAME` or `STAGE:NAME` as stage and name.

    Raises:
        UsageError: There is no such stage.
    """
    stage, colon, name = target.rpartition(":")
    if colon and stage not in STAGES:
        raise UsageError(f"there is no stage {stage}", found=target, fix=did_you_mean(stage, STAGES, "the stages are"))
    return stage or default, name


def run_doit(arguments: Sequence[str]) -> int:
    """Run doit in this process and give the house's exit code."""
    code = DoitMain(ModuleTaskLoader(tasks), config_filenames=()).run(["run", *arguments])
    return USAGE if code not in (0, 1) else int(code)


def run_targets(targets: Sequence[str], stage: str, options: Sequence[str] = (), extra: Sequence[str] = ()) -> None:
    """Bring some targets up to date and exit; an unknown name costs nothing."""
    session = enter()
    names = []
    for target in targets:
        wanted, name = split(target, stage)
        _ = session.builder.listing[name]
        names += [f"{wanted}:{name}", *extra]
    raise SystemExit(run_doit([*options, *(names or [stage])]))


def parallel(count: int) -> list[str]:
    """doit's option for running several stages at a time."""
    return ["-n", str(count)] if count > 1 else []


_jobs = click.option("-n", "--jobs", type=click.IntRange(1), default=1, help="How many stages run at the same time.")
_names = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.command()
@_names
@_jobs
@click.option("--dry-run", is_flag=True, help="Print what would run, why, and about how long; run nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure instead of going on with other models.")
def build(names: tuple[str, ...], jobs: int, dry_run: bool, fail_fast: bool) -> None:
    """Bring archives up to date: all of them, or those of the named models.

    \b
    mltk build                   every model
    mltk build kws_v2 -n 2       one model, two stages at a time
    mltk build kws_v2-test       its quick dry run
    mltk build --dry-run         the plan only
    """
    if dry_run:
        print_plan(names)
        return
    run_targets(names, "archive", [*parallel(jobs), *(["--no-continue"] if fail_fast else [])])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-e", "--epochs", type=click.IntRange(1), help="Train this many epochs instead of the spec's.")
@_jobs
def train(names: tuple[str, ...], epochs: int | None, jobs: int) -> None:
    """Train models, unless nothing that training reads has changed.

    \b
    mltk train kws_v2
    mltk train kws_v2 --epochs 5
    mltk train kws_v2-test       one epoch on a few samples
    """
    run_targets(names, "train", parallel(jobs), ["--epochs", str(epochs)] if epochs else [])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_jobs
def quantize(names: tuple[str, ...], jobs: int) -> None:
    """Convert trained models to int8, after training them if need be.

    \b
    mltk quantize kws_v2
    """
    run_targets(names, "params", parallel(jobs))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_jobs
def evaluate(names: tuple[str, ...], jobs: int) -> None:
    """Evaluate models, float and int8, and print the figures.

    \b
    mltk evaluate kws_v2
    """
    session = enter()
    for name in names:
        _ = session.builder.listing[name]
    code = run_doit([*parallel(jobs), *(f"evaluate:{name}" for name in names)])
    for name in names if code == 0 else ():
        for kind in ("keras", "tflite"):
            path = session.builder.state(name).folder.artifact(f"eval/{kind}/summary.txt")
            with open(path, encoding="utf-8") as file:
                click.echo(file.read())
    raise SystemExit(code)


@click.command()
@_names
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed; remove nothing.")
@click.option("--orphans", "only_orphans", is_flag=True, help="Remove what belonged to specs that are gone.")
def clean(names: tuple[str, ...], dry_run: bool, only_orphans: bool) -> None:
    """Delete artifacts, never a spec or a data set.

    \b
    mltk clean                   all artifacts
    mltk clean kws_v2            those of one model and its dry run
    mltk clean train:kws_v2      those of one stage
    mltk clean --orphans         those of models whose spec is gone
    """
    session = enter()
    if only_orphans:
        _clean_orphans(session, dry_run)
        return
    wanted: list[str] = []
    for target in names:
        stage, name = split(target, "")
        _ = session.builder.listing[name]
        both = (name,) if name.endswith(TEST) or stage else (name, name + TEST)
        wanted += [f"{one}:{which}" for which in both for one in ([stage] if stage else STAGES)]
    arguments = ["clean", *(["--dry-run"] if dry_run else []), *wanted]
    raise SystemExit(DoitMain(ModuleTaskLoader(tasks), config_filenames=()).run(arguments))


def _clean_orphans(session: Session, dry_run: bool) -> None:
    found = orphans.find_orphans(session.workspace, session.builder.listing)
    for orphan in found:
        for path in orphan.paths:
            click.echo(f"{'would remove' if dry_run else 'removed'} {path}")
        if not dry_run:
            orphans.remove(session.workspace, orphan)
    if not found:
        click.echo("no orphans")


def print_plan(names: Sequence[str]) -> None:
    """Print what a build would do."""
    session = enter()
    wanted = [split(name) for name in names] or [("archive", name) for name in session.builder.listing.specs]
    for _, name in wanted:
        _ = session.builder.listing[name]
    plans = [plan(session.builder, name, stage, inspect=True) for stage, name in wanted]
    session.close()
    rows = [
        (step.target, step.stage, step.state, _why(session, step, steps), _last_time(step))
        for steps in plans
        for step in steps
        if step.state != "up to date"
    ]
    if rows:
        click.echo(table(("model", "stage", "", "because", "last time"), rows))
    click.echo(plan_summary(plans))
    for steps in plans:
        error = next((step.error for step in steps if step.error is not None), None)
        if error is not None:
            click.echo(f"error: {error}", err=True)


def _why(session: Session, step: Step, steps: Sequence[Step]) -> str:
    if step.error is not None:
        return step.error.what
    if not step.reasons:
        return f"if {' or '.join(step.after)} changes its result"
    told = changes(session.builder, step.target, step.stage, step.reasons, inspected_texts(steps))
    return first_of(told) if told else reasons_text(step.reasons)


def _last_time(step: Step) -> str:
    return "" if step.seconds is None else duration(step.seconds)


def plan_summary(plans: Sequence[Sequence[Step]]) -> str:
    """One line: how many models train, how many stages run, and about how long."""
    steps = [step for one in plans for step in one]
    running = [step for step in steps if step.state == RUNS]
    if not any(step.state != "up to date" for step in steps):
        return f"up to date: {plural(len(plans), 'model')}"
    training = sum(step.stage == "train" for step in running)
    maybe = sum(step.stage == "train" and step.state == "may run" for step in steps)
    known, unknown = total_seconds(steps)
    about = f"about {duration(known)}" if known else "no times known yet"
    more = f" and {plural(unknown, 'stage')} never timed" if unknown and known else ""
    perhaps = f", {maybe} more may" if maybe else ""
    trains = "trains" if training == 1 else "train"
    stages = f"{plural(len(running), 'stage')} {'runs' if len(running) == 1 else 'run'}"
    return f"{training} of {plural(len(plans), 'model')} {trains}{perhaps}; {stages}, {about}{more}"


COMMANDS = (build, train, quantize, evaluate, clean)
