"""The commands that make or delete artifacts; each is a call of doit."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from mltkbuild.cli import archived, file_commands
from mltkbuild.cli.telling import tell
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.workspace import TEST, find_workspace
from mltkbuild.engine import orphans
from mltkbuild.engine.explain import changes
from mltkbuild.engine.plan import BLOCKED, FRESH, MAY_RUN, RUNS, Step, inspected_texts, plan, total_seconds
from mltkbuild.errors import UsageError, did_you_mean
from mltkbuild.front import session
from mltkbuild.front.report import cut, duration, either, first_of, plural, reasons_text, table
from mltkbuild.front.session import Session, fail
from mltkbuild.shown import shown
from mltkbuild.stages.table import ARCHIVE, BUILT, PARAMS, STAGES, Stage


def enter() -> Session:
    """Go to the workspace's folder and open the session."""
    here = os.getcwd()
    os.chdir(find_workspace().root)
    owner = session.current()
    owner.called_from = here
    return owner


def split(target: str, default: str = ARCHIVE.name) -> tuple[str, str]:
    """`NAME` or `STAGE:NAME` as stage and name.

    Raises:
        UsageError: There is no such stage.
    """
    stage, colon, name = target.rpartition(":")
    if colon and stage not in STAGES:
        raise UsageError(f"there is no stage {stage}", found=target, fix=did_you_mean(stage, STAGES, "the stages are"))
    return stage or default, name


def known(owner: Session, names: Iterable[str]) -> list[str]:
    """Names of models and of their dry runs, each once.

    Raises:
        UsageError: There is no such model.
        SpecError: Its spec can't be one.
    """
    found = list(dict.fromkeys(names))
    for name in found:
        _ = owner.builder.listing[name]
    return found


def no_models(owner: Session) -> str:
    """What to say of a workspace without models."""
    told = f"no models below {owner.workspace.models_dir}; write one there, or try `mltk init DIR` for an example"
    return "\n".join([told, *(f"note: {note}" for note in owner.builder.listing.notes())])


def tell_of_files(owner: Session) -> None:
    """Say which files look like specs and aren't."""
    for note in owner.builder.listing.notes():
        tell(f"note: {note}", error=True)


def run_doit(*arguments: str, terse: bool = False) -> int:
    """Give doit a command; doit is loaded for it and by no other command."""
    return int(importlib.import_module("mltkbuild.tasks").command(*arguments, terse=terse))


def run_stage(names: Sequence[str], stage: str, options: Sequence[str], extra: Sequence[str] = ()) -> None:
    """Bring a stage of some targets up to date and exit; an unknown name costs nothing."""
    words = [word for name in known(enter(), names) for word in (f"{stage}:{name}", *extra)]
    raise SystemExit(run_doit("run", *options, *words))


def parallel(count: int) -> list[str]:
    """Doit's option for running several stages at a time."""
    return ["-n", str(count)] if count > 1 else []


_JOBS_HELP = "How many stages run at the same time."
_jobs = click.option("-n", "--jobs", type=click.IntRange(1), default=1, help=_JOBS_HELP)
_names = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.command()
@_names
@_jobs
@click.option("--dry-run", is_flag=True, help="Print what would run, why, and about how long; run nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure instead of going on with other models.")
def build(names: tuple[str, ...], jobs: int, dry_run: bool, fail_fast: bool) -> None:
    """Bring archives up to date, all or those of some models.

    \b
    mltk build                   every model
    mltk build -n 2              two models at a time
    mltk build kws_v2            one model
    mltk build kws_v2-test       its quick dry run
    mltk build --dry-run         the plan only
    """
    owner = enter()
    wanted = list(dict.fromkeys(map(split, names)))
    known(owner, (name for _, name in wanted))
    if dry_run:
        raise SystemExit(print_plan(owner, wanted))
    if not (owner.builder.listing.specs or owner.builder.listing.problems):
        tell(no_models(owner))
        return
    words = [f"{stage}:{name}" for stage, name in wanted]
    raise SystemExit(run_doit("run", *parallel(jobs), *(["--no-continue"] if fail_fast else []), *words))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-e", "--epochs", type=click.IntRange(1), help="Train this many epochs instead of the spec's.")
@click.option("-w", "--weights", metavar="PATH|best", help="Start from these weights, or from the best checkpoint's.")
@click.option(
    "--resume/--no-resume", default=True, help="Go on from the last checkpoint (default), or train from the beginning."
)
@click.option("--resume-epoch", type=click.IntRange(1), help="Train again from the checkpoint of this epoch.")
@click.option("--clean", is_flag=True, help="Delete all checkpoints and train from the beginning.")
@click.option("--show", is_flag=True, help="Open the picture of the training's history.")
@click.option("--evaluate/--no-evaluate", default=True, help="Evaluate and make the archive too (default), or not.")
@click.option("--test", is_flag=True, help="Do the quick dry run, NAME-test.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each epoch.")
@_jobs
def train(names: tuple[str, ...], jobs: int, show: bool, verbose: bool, test: bool, **options: Any) -> None:
    """Train models, and make what follows from it.

    Nothing runs for which nothing has changed. A training that was stopped goes on where it was; so does one whose
    epochs were raised.

    \b
    mltk train kws_v2
    mltk train kws_v2 --epochs 5
    mltk train kws_v2 --no-evaluate   the model and its .tflite alone
    mltk train kws_v2-test            one epoch on a few samples
    """
    owner = enter()
    owner.verbose = verbose
    wanted = known(owner, (name + TEST if test and not name.endswith(TEST) else name for name in names))
    words = [word for name in wanted for word in (f"train:{name}", *_train_words(owner, options))]
    last = (ARCHIVE if options["evaluate"] else PARAMS).name
    code = run_doit("run", *parallel(jobs), *words, *(f"{last}:{name}" for name in wanted))
    if show and code == 0:
        for name in wanted:
            click.launch(owner.builder.state(name).folder.artifact("train/history.png"))
    raise SystemExit(code)


def _train_words(owner: Session, options: Mapping[str, Any]) -> list[str]:
    """The options of the train task, as doit takes them."""
    words = []
    if options["epochs"] is not None:
        words += ["--epochs", str(options["epochs"])]
    if options["weights"] is not None:
        # The command runs in the workspace's folder, which need not be the one that the path was typed in.
        best = options["weights"] == "best"
        words += ["--weights", options["weights"] if best else os.path.join(owner.called_from, options["weights"])]
    if options["resume_epoch"] is not None:
        words += ["--resume-epoch", str(options["resume_epoch"])]
    words += ["--no-resume"] if not options["resume"] else []
    return [*words, *(["--clean"] if options["clean"] else [])]


_data = click.option("--data", metavar="FILE.npz|FOLDER", help="For a file: samples as arrays, or a folder of images.")
_rescale = click.option("--rescale", type=float, help="For a file: multiply image values, 0 to 255, by this (1/255).")
_trust = click.option("--trust", is_flag=True, help="For a file: run the code that it holds.")
_io_type = click.Choice(["int8", "uint8", "int16", "float32"])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...|FILE.keras|FOLDER")
@click.option("-o", "--output", metavar="FILE.tflite", help="For a file: where to write.")
@_data
@_rescale
@click.option("--max-samples", type=click.IntRange(1), help="For a file: calibrate with at most so many (1000).")
@click.option("--input-type", type=_io_type, help="For a file: the type of the input (int8).")
@click.option("--output-type", type=_io_type, help="For a file: the type of the output (int8).")
@click.option("--int16", is_flag=True, help="For a file: int16 values with int8 weights.")
@click.option("--float", "as_float", is_flag=True, help="For a file: don't quantize.")
@click.option("--tflm", type=click.Choice(["error", "warn", "off"]), help="For a file: when TFLM can't run it.")
@_trust
@_jobs
def quantize(names: tuple[str, ...], jobs: int, **options: Any) -> None:
    """Convert models, any Keras file, or a SavedModel, to int8.

    A model of the workspace is trained first, if need be.

    \b
    mltk quantize kws_v2
    mltk quantize model.keras --data samples.npz
    mltk quantize model.h5 --data images/ -o firmware/model.tflite
    mltk quantize saved_model/ --data samples.npz
    """
    if any(map(file_commands.is_file, names)):
        _require_one(names)
        file_commands.quantize_file(names[0], options)
        return
    file_commands.require_no(options, names[0])
    run_stage(names, PARAMS.name, parallel(jobs))


def _require_one(names: Sequence[str]) -> None:
    if len(names) > 1:
        raise UsageError("files are taken one at a time", found=", ".join(names), fix="run the command for each")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...|FILE...")
@click.option("-o", "--output", metavar="FOLDER", help="For files: write results and pictures here.")
@_data
@_rescale
@click.option("--classes", metavar="A,B,...", help="For files: the labels, in the order of the outputs.")
@click.option("--json", "as_json", is_flag=True, help="For files: print JSON.")
@_trust
@_jobs
def evaluate(names: tuple[str, ...], jobs: int, **options: Any) -> None:
    """Evaluate models or files, float and int8.

    A Keras model and its .tflite together are compared sample for sample.

    \b
    mltk evaluate kws_v2
    mltk evaluate model.tflite --data test.npz
    mltk evaluate model.keras model.tflite --data test.npz -o report
    mltk evaluate kws.mltk.zip --trust     with the samples of its spec
    """
    if names[0].endswith(ARCHIVE_SUFFIX):
        _require_one(names)
        archived.evaluate_archive(names[0], options)
        return
    if any(map(file_commands.is_file, names)):
        file_commands.evaluate_files(names, options)
        return
    file_commands.require_no(options, names[0])
    owner = enter()
    wanted = known(owner, names)
    code = run_doit("run", *parallel(jobs), *(f"evaluate:{name}" for name in wanted))
    for name in wanted if code == 0 else ():
        for part in ("keras/summary.txt", "tflite/summary.txt", "parity.txt"):
            path = owner.builder.state(name).folder.artifact(f"eval/{part}")
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    tell(file.read())
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
    owner = enter()
    if only_orphans:
        if names:
            raise UsageError("--orphans takes no names", found=" ".join(names), fix="run `mltk clean --orphans`")
        _clean_orphans(owner, dry_run)
        return
    wanted: list[str] = []
    for target in names:
        stage, name = split(target, "")
        known(owner, [name])
        both = (name,) if name.endswith(TEST) or stage else (name, name + TEST)
        wanted += [f"{one}:{which}" for which in both for one in ([stage] if stage else STAGES)]
    raise SystemExit(run_doit("clean", *(["--dry-run"] if dry_run else []), *wanted))


def _clean_orphans(owner: Session, dry_run: bool) -> None:
    found = orphans.find_orphans(owner.workspace, owner.builder.listing)
    for orphan in found:
        if not dry_run:
            orphans.remove(owner.workspace, orphan)
        for path in orphan.paths:
            tell(f"{'would remove' if dry_run else 'removed'} {shown(path)}")
        for path in orphan.kept:
            tell(f"kept {shown(path)}")
    if not found:
        tell("no orphans")


def print_plan(owner: Session, wanted: Sequence[tuple[str, str]]) -> int:
    """Print what a build would do and give the exit code: 2 when a spec is wrong."""
    listing = owner.builder.listing
    wanted = wanted or [(ARCHIVE.name, name) for name in listing.defaults]
    try:
        plans = [plan(owner.builder, name, stage, inspect=True) for stage, name in wanted]
    finally:
        # A changed spec runs in a worker, which Ctrl+C has to end.
        owner.close()
    rows = [
        row
        for steps in plans
        for row in _plan_rows(owner, [step for step in steps if step.state not in (FRESH, BLOCKED)])
    ]
    if rows:
        tell(table(("model", "stage", "", "because", "last time"), rows))
    tell(plan_summary(plans) if plans else no_models(owner))
    errors = [error for steps in plans if (error := next((step.error for step in steps if step.error), None))]
    return max(map(fail, errors), default=0)


def _plan_rows(owner: Session, steps: Sequence[Step]) -> list[tuple[str, ...]]:
    """The rows of one target: a single one when it was never built."""
    if steps and all(step.record is None for step in steps) and len(steps) == len(BUILT):
        return [(steps[0].target, "all", RUNS, "never built", "")]
    return [(step.target, step.stage, step.state, cut(_why(owner, step, steps)), _last_time(step)) for step in steps]


def _why(owner: Session, step: Step, steps: Sequence[Step]) -> str:
    if not step.reasons:
        return f"if {either(step.after)} changes its result"
    told = changes(owner.builder, step.target, step.stage, step.reasons, inspected_texts(steps))
    return first_of(told) if told else reasons_text(step.reasons)


def _last_time(step: Step) -> str:
    return "" if step.seconds is None else duration(step.seconds)


def plan_summary(plans: Sequence[Sequence[Step]]) -> str:
    """One line: how many models train, how many stages run, and about how long, as far as it is known."""
    steps = [step for one in plans for step in one]
    running = [step for step in steps if step.state == RUNS]
    maybe = [step for step in steps if step.state == MAY_RUN]
    broken = sum(any(step.state == BLOCKED for step in one) for one in plans)
    parts = []
    if running or maybe:
        training = sum(STAGES[step.stage].resumable for step in running)
        trains = f"{training} of {plural(len(plans), 'model')} {'trains' if training == 1 else 'train'}"
        more = sum(STAGES[step.stage].resumable for step in maybe)
        stages = f"{plural(len(running), 'stage')} {'runs' if len(running) == 1 else 'run'}"
        parts += [trains + (f", {more} more may" if more else ""), f"{stages}, {_about(steps)}"]
    elif len(plans) > broken:
        parts.append(f"up to date: {plural(len(plans) - broken, 'model')}")
    if broken:
        parts.append(f"{broken} can't be built")
    return "; ".join(parts)


def _about(steps: Sequence[Step]) -> str:
    """How long the stages that run took last time; what has no time is said, not guessed."""
    seconds, untimed = total_seconds(steps)
    if not seconds:
        return "no times known yet"
    others, _ = total_seconds(steps, MAY_RUN)
    more = f", up to {duration(seconds + others)} with those that may" if others else ""
    unknown = f", not counting {plural(untimed, 'stage')} that never ran" if untimed else ""
    return f"about {duration(seconds)}{more}{unknown}"


def plain_command(stage: Stage) -> click.Command:
    """The command of a stage of which nothing more is to be said than which models it is wanted for."""

    def bring(names: tuple[str, ...], jobs: int) -> None:
        run_stage(names, stage.name, parallel(jobs))

    text = f"{stage.doc[0].upper()}{stage.doc[1:]}.\n\n\b\nmltk {stage.command} kws_v2"
    names = click.Argument(["names"], nargs=-1, required=True, metavar="NAME...")
    jobs = click.Option(["-n", "--jobs"], type=click.IntRange(1), default=1, help=_JOBS_HELP)
    return click.Command(stage.command, params=[names, jobs], callback=bring, help=text)


COMMANDS = (build, train, quantize, evaluate, clean)
