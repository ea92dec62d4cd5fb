"""Assembles the training: the model, its samples, where its checkpoints go, and what comes after it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mltkbuild.data import samples as data
from mltkbuild.disk.answers import answer
from mltkbuild.disk.checkpoints import Shelf
from mltkbuild.disk.digests import digest_of, folder_digest
from mltkbuild.disk.facts import Facts
from mltkbuild.disk.inputs import parse
from mltkbuild.errors import StageError
from mltkbuild.events import Event, Note
from mltkbuild.fingerprint.toolchain import reduced_version, version
from mltkbuild.shown import shown
from mltkbuild.spec.properties import properties_of
from mltkbuild.stages import slices
from mltkbuild.stages.running_code import Reading
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.stages.table import TRAIN
from mltkbuild.training import fit, fitting, history, keeper, keras_file, published, weights


def train_model(run: StageRun) -> None:
    """Train the model and save it."""
    training, validation = run.data.load("training")
    run.data.same_data("training", training)
    run.data.same_data("validation", validation)
    keras_model = run.models.build()
    description = slices.describe_keras_model(keras_model, run.code.snapshot, run.code.whole)
    take_libraries(run, description["code"])
    if slices.model_text(description) != run.files.artifact("spec/model.json").read_text(encoding="utf-8"):
        raise StageError(
            "build_model_function gave another model than before",
            where=run.code.place("build_model_function"),
            fix="if a file that it reads has just changed, run the same command again; "
            "else make it depend on nothing that changes from call to call, such as the clock",
        )
    if validation is not None:
        validation = run.data.finished("validation", validation)
    with run.code.at("dataset", "x"):
        training = fitting.fitted(keras_model, training)
        validation = None if validation is None else fitting.fitted(keras_model, validation)
    settings = settings_of(run)
    start_weights = run.request.options.get("weights")
    if start_weights is not None:
        weights.load_into(keras_model, Path(str(start_weights)))
    with run.code.at(), run.code.running("training") as reading:
        trained = fit.fit(keras_model, training, validation, settings, _keeper(run, reading))
        keras_model = run.models.as_saved(keras_model)
        keras_model = _after_training(run, keras_model, trained)
    saved = run.files.own("{name}.keras")
    keras_file.save(keras_model, saved, run.code.snapshot.label)
    _require_saved(run, keras_model, training, saved)
    history.write_history(run.files.scratch, run.request.target, trained)
    run.outcome.seconds = trained.earlier_seconds
    run.outcome.facts |= _training_facts(trained)


def _require_saved(run: StageRun, keras_model: Any, training: data.Samples, path: Path) -> None:
    """What is published must be what was trained."""

    def load() -> Any:
        return run.models.load(path=path)

    with run.code.running("the saved model", count=False, count_variables=True):
        told = published.require_equal(keras_model, load, training, run.code.place("build_model_function"))
    if told is not None and told not in run.outcome.notes:
        run.outcome.notes = (*run.outcome.notes, told)


def _training_facts(trained: history.Training) -> Facts:
    """What the record of a training tells people."""
    facts: Facts = {
        "epochs": trained.epochs,
        "metrics": history.metrics_at(trained),
        "final_epoch": trained.final_epoch,
    }
    if trained.best_epoch is not None:
        facts |= {"best_epoch": trained.best_epoch, "monitor": trained.monitor}
    if len(trained.segments) > 1:
        facts["segments"] = [dict(part) for part in trained.segments]
    if trained.not_exact is not None:
        facts["not_exact"] = trained.not_exact
    return facts


def _keeper(run: StageRun, reading: Reading) -> keeper.Keeper:
    """Where the checkpoints of this training go."""
    model, request = run.model, run.request
    digests = slices.property_digests(model)
    listed = request.listed_digests

    def properties(names: Iterable[str]) -> dict[str, str]:
        return {name: digests.get(name, "default") or run.code.whole for name in sorted(names)}

    def noticed() -> keeper.Noticed:
        found = reading.seen.found()
        files = run.outcome.files | dict(found.files)
        named = {path: digest for path, digest in files.items() if listed.get(path) != digest}
        lists = () if len(named) == len(files) else tuple(sorted(set(request.file_lists.values())))
        asked = set(reading.properties)
        answers = {question.name: told for question, told in (run.outcome.answers | dict(found.answers)).items()}
        own = reading.seen.own_names(found)
        # A folder that the code fills grows with every epoch.
        named |= {folder: folder_digest(folder, names) for folder, names in own.items()}
        return keeper.Noticed(named, properties(asked - {"epochs"}), "epochs" in asked, lists, answers, own)

    def holds(earlier: keeper.Noticed) -> str | None:
        changed = [path for path, digest in earlier.files.items() if present(path, earlier.own.get(path)) != digest]
        if not set(earlier.lists) <= set(request.file_lists.values()):
            changed.append("a file of the data set")
        now = properties(earlier.properties)
        changed += [name for name, digest in earlier.properties.items() if now[name] != digest]
        asked = {parse(name): told for name, told in earlier.answers.items()}
        changed += [
            question.subject for question, told in asked.items() if answer(question, request.environment) != told
        ]
        if changed:
            return changed[0]
        # What only the epochs before the checkpoint have read is what the trained model depends on, too.
        full = {path: digest for path in earlier.own if (digest := digest_of(path)) is not None}
        run.outcome.files.update({**earlier.files, **full})
        run.outcome.answers.update(asked)
        read = properties_of(type(model)).keys() & earlier.properties.keys()
        run.outcome.reads = tuple(sorted({*run.outcome.reads, *model.beyond_slice(TRAIN.parts, read)}))
        return None

    def present(path: str, own: Sequence[str] | None) -> str | None:
        return folder_digest(path, own) if own and os.path.isdir(path) else digest_of(path)

    def progress(event: Event) -> None:
        if isinstance(event, Note):
            sys.stdout.write(f"{shown(event.text)}\n")  # the stage's log
            event = Note(f"train:{request.target}: {event.text}")
        run.progress(event)

    minutes = run.peek.checkpoint_interval_minutes
    return keeper.Keeper(
        progress=progress,
        shelf=Shelf(request.door, request.checkpoints, request.course) if run.peek.checkpoints_enabled else None,
        every=run.peek.checkpoints_keep,
        interval=60.0 * minutes if minutes is not None else math.inf,
        stopping=run.stopping,
        noticed=noticed,
        holds=holds,
        resume=0 if request.start.clean else request.start.resume,
    )


def _after_training(run: StageRun, keras_model: Any, trained: history.Training) -> Any:
    save = run.peek.on_save_keras_model
    if save is not None:
        logger = run.model.create_logger("train")
        keras_model = save(mltk_model=run.model, keras_model=keras_model, logger=logger) or keras_model
    done = run.peek.on_training_complete
    if done is not None:
        done(
            history.Results(
                mltk_model=run.model,
                keras_model=keras_model,
                epochs=list(range(trained.epochs)),
                params={"epochs": trained.epochs},
                history=trained.history,
                monitor=trained.monitor,
                best_epoch=trained.best_epoch,
            )
        )
    return keras_model


def settings_of(run: StageRun) -> fit.TrainSettings:
    """How the fit goes."""
    given = ("epochs", "classes", "tensorboard_dir")
    names = [name for name in fit.TrainSettings.__dataclass_fields__ if name not in given]
    epochs = 1 if run.request.test else int(run.request.options.get("epochs", run.peek.epochs))
    folder = str(Path(run.request.checkpoints).with_name("tensorboard"))
    return fit.TrainSettings(
        epochs=epochs,
        classes=run.data.classes or (run.peek.classes if run.model.is_set("classes") else None),
        tensorboard_dir=folder,
        **{name: run.model.peek(name) for name in names},
    )


def take_libraries(run: StageRun, reached: dict[str, object]) -> None:
    """Let the packages that code reaches count by their versions."""
    for label in [label for label in reached if label.startswith("library ")]:
        name, found = label.removeprefix("library "), str(reached[label])
        if version(name) == "none":
            # Code that is no installed package: the digest of the whole spec has its files.
            reached[slices.WHOLE] = run.code.whole
        else:
            reached[label] = run.outcome.libraries[name] = reduced_version(name, found, run.request.toolchain)
