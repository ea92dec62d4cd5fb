"""A build folder that commit 9f7cfca made, before the package was put in rooms: it is up to date, and stays exact.

`build_9f7cfca.zip` is a workspace that this commit's engine built with this suite's fake bodies, whose slices are real.
Its `toolchain` is "ignore", so that no version of Python or TensorFlow is a reason.
"""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mltkbuild.disk import records, store
from mltkbuild.disk.inputs import REVISION
from mltkbuild.engine.builder import Builder
from mltkbuild.fingerprint import kinds, libraries
from mltkbuild.stages.table import BUILT, STAGES, makes

from ..conftest import Fakes, Files, Running, bring

EARLIER = Path(__file__).with_name("build_9f7cfca.zip")
EXPECTED = ["spec", "data", "quantize", "evaluate", "profile"]
"""The stages that run again, which the changelog names."""


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The workspace as it was left, and the versions of then in the fingerprints of code."""
    then = {"mltkbuild": {"mltkbuild": "0.1.0"}, **{name: {"python": "3.11"} for name in sys.stdlib_module_names}}
    monkeypatch.setattr(libraries, "versions", lambda module: then[module.partition(".")[0]])
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    return Files(tmp_path)


@pytest.mark.parametrize("target", ["kws", "sounds"])
def test_earlier_build_is_up_to_date(target: str, earlier: Files, fakes: Fakes) -> None:
    """What was built before the upgrade is not built again."""
    judged = Builder(earlier.workspace, Running(fakes))
    assert EXPECTED == [stage for stage in BUILT if judged.judge(target, stage, asked=False).reasons]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="code counts as Python 3.11 parsed it, and others differ")
@pytest.mark.parametrize("target", ["kws", "sounds"])
def test_first_edit_after_the_upgrade_reaches_what_it_reaches(target: str, earlier: Files, fakes: Fakes) -> None:
    """The spec stage runs, and finds for each slice what the earlier commit found: a new description trains nothing."""
    earlier.edit(f"models/{target}.py", '"one"', '"two"')
    ran = bring(earlier, fakes, target)
    assert sorted({"spec", "params", "profile", "archive", *EXPECTED}, key=BUILT.index) == ran


def test_build_from_before_the_preflight_trains_nothing(built_workspace: Files, fakes: Fakes) -> None:
    """A build folder without the preflight gets its slice of the spec and another archive."""
    folder = Builder(built_workspace.workspace, Running(fakes)).state("kws").folder
    store.clean(folder, "preflight", makes(STAGES["preflight"], "kws"))
    store.forget(folder, "preflight")
    Path(folder.artifact("spec/preflight.yaml")).unlink()
    new = {"spec/preflight.yaml"}
    for stage in ("spec", "archive"):
        path = folder.record_path(stage)
        record = records.decode(Path(path).read_bytes(), path)
        inputs = {name: digest for name, digest in record.inputs.items() if name not in new}
        artifacts = {name: digest for name, digest in record.artifacts.items() if name not in new}
        if stage == "spec":
            inputs[REVISION] = "2"
        Path(path).write_bytes(records.encode(replace(record, inputs=inputs, artifacts=artifacts)))
    assert ["spec", "archive"] == bring(built_workspace, fakes)
    assert [] == bring(built_workspace, fakes)


MOVED = {
    "mltkbuild.spec.audio_settings": "mltkbuild.audio_settings",
    "mltkbuild.spec.image_generator": "mltkbuild.image_generator",
    "mltkbuild.from_mltk.keras_parts": "mltkbuild.ported.keras_parts",
    "mltkbuild.from_mltk.media": "mltkbuild.ported.files",
    "mltkbuild.from_mltk.aliases": "mltkbuild.compat",
    "mltkbuild.from_mltk.no_effect": "mltkbuild.foreign_mixins",
    "mltkbuild.tflite.tflite_model": "mltkbuild.bodies.tflite_model",
    "mltkbuild.training.history": "mltkbuild.bodies.history",
    "mltkbuild.architectures.tenet": "mltkbuild.architectures.tenet",
    "mltkbuild.data.user_functions": "mltkbuild.data.user_functions",
    "mltkbuild": "mltkbuild",
    "keras.src.layers": "keras.src.layers",
    "mltkbuilder.spec.x": "mltkbuilder.spec.x",
}


@pytest.mark.parametrize("module", MOVED)
def test_module_goes_by_its_recorded_name(module: str) -> None:
    """What mltkbuild gives to specs goes into fingerprints by where it was first; anything else by its own name."""
    assert MOVED[module] == kinds.recorded_module(module)
