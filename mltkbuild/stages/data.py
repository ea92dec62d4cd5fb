"""Assembles the data stage: samples are loaded or prepared, checked and described."""

from __future__ import annotations

import json
from typing import Any

from mltkbuild.data import oddities, prepared
from mltkbuild.data import samples as data
from mltkbuild.data.splits import SUBSETS
from mltkbuild.data.told import counted
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import DataError
from mltkbuild.events import Counted
from mltkbuild.spec.any_model import is_prepared
from mltkbuild.stages import prepare
from mltkbuild.stages.stage_run import StageRun


def load_data(run: StageRun) -> None:
    """Load the data set and write down what later stages depend on."""
    stream = ""
    if is_prepared(run.model):
        _prepare(run)
        parts = {subset: run.data.prepared(subset) for subset in SUBSETS}
    else:
        slice_digest = bytes_digest(run.files.artifact("spec/data.yaml").read_bytes())
        parts = _loaded(run)
        read = [sorted(run.outcome.files.items()), *([asked] if (asked := sorted(run.outcome.answers.items())) else [])]
        stream = bytes_digest(json.dumps([slice_digest, *read]).encode())
    subsets = dict(parts)
    parts["calibration"] = parts["training"] if parts["validation"] is None else parts["validation"]
    classes = run.data.classes
    told = run.data.told
    manifest: dict[str, Any] = {"classes": list(classes or ()), **told.counts}
    for subset, part in parts.items():
        manifest[subset] = data.describe(part, classes, stream)
        run.files.write_json(f"data/{subset}.json", manifest[subset])
    run.files.write_json("data/manifest.json", manifest)
    if not run.request.test:
        # Of the few samples of a dry run the same is no oddity.
        run.outcome.notes = (*run.outcome.notes, *oddities.told(subsets, manifest))
    run.outcome.facts["samples"] = {subset: manifest[subset].get("samples") for subset in parts}
    for fact in ("passed_over", "remarks"):
        if found := told.counts.get(fact):
            run.outcome.facts[fact] = found
    run.outcome.notes = (*run.outcome.notes, *told.notes())


def _loaded(run: StageRun) -> dict[str, data.Samples | None]:
    training, validation = run.data.load("training")
    with run.afresh() as again:
        evaluation = again.data.load_evaluation()
    return {"training": training, "validation": validation, "evaluation": evaluation}


def _prepare(run: StageRun) -> None:
    """Prepare the samples of an image or audio data set, each once, and keep them."""
    model = run.model
    with run.code.at("dataset", "datagen"), run.code.running("the data set", DataError):
        source, plan = run.data.find_samples(), prepare.plan_of(model)
        skip_bad = run.peek.bad_samples == "skip"
        bad: dict[str, str] = {}
        for subset in SUBSETS:
            items = source.of(subset)
            if not items:
                continue
            description = prepared.write(
                run.files.scratch,
                subset,
                items,
                plan.preparation(model, subset),
                source.read,
                random=model.augments(subset),
                skip_bad=skip_bad,
                progress=_teller(run, subset),
            )
            bad |= {one["name"]: one["why"] for one in description["bad"]}
            run.data.told.join(prepared.told_of(run.files.kept, subset))
        prepared.fit(run.files.scratch, plan.preparation(model, "training", source.folder))
    if not source.items["evaluation"]:
        instead = "validation" if source.items["validation"] else "training"
        missing = "evaluation" if source.items["validation"] else "validation"
        run.outcome.notes = (f"there is no {missing} data: {instead} samples are evaluated", *run.outcome.notes)
    if bad:
        run.outcome.facts["bad"] = len(bad)
        name, why = next(iter(bad.items()))
        told = f"{counted(len(bad), 'bad sample')} left out; the first: {name}, {why}"
        run.outcome.notes = (*run.outcome.notes, told)


def _teller(run: StageRun, subset: str) -> prepared.Progress:
    """Tells how far a subset is prepared, a hundred times at most."""

    def tell(done: int, count: int) -> None:
        if done * 100 // count != (done - 1) * 100 // count:
            run.progress(Counted(f"{subset} samples", done, count))

    return tell
