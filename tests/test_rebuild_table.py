"""The contract: which edit reaches which stages. With fake bodies, and once more for real on the digits model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mltkbuild.engine import sources, target_state
from mltkbuild.fingerprint import toolchain
from mltkbuild.stages import libraries
from mltkbuild.stages.protocol import Request
from mltkbuild.stages.table import BUILT
from mltkbuild.workers.executor import Processes

from .conftest import REPOSITORY, Fakes, Files, bring

ALL = list(BUILT)
TEXT_ONLY = ["archive"]
SPEC_ONLY = ["spec", "archive"]
TRAINS = ["spec", "preflight", "train", "quantize", "params", "evaluate", "profile", "archive"]
FROM_DATA = ["data", "preflight", "train", "quantize", "params", "evaluate", "profile", "archive"]

Edit = Callable[[Files], object]


def replace(old: str, new: str, path: str = "models/kws.py") -> Edit:
    """An edit that replaces a text."""
    return lambda files: files.edit(path, old, new)


def touch(files: Files) -> None:
    """Give every file a new time."""
    for path in files.root.rglob("*"):
        if path.is_file():
            os.utime(path)


def delete(path: str) -> Edit:
    """An edit that deletes a file."""
    return lambda files: (files.root / path).unlink()


def damage(path: str) -> Edit:
    """An edit that cuts a file short."""
    return lambda files: (files.root / path).write_bytes((files.root / path).read_bytes()[:-1])


ROWS: dict[str, tuple[Edit, list[str]]] = {
    "nothing": (lambda files: None, []),
    "comment": (replace("my_model.version = 1", "# why\nmy_model.version = 1"), TEXT_ONLY),
    "blank line": (replace("my_model.version = 1", "\n\nmy_model.version = 1"), TEXT_ONLY),
    "docstring": (replace("Read the samples.", "Read all samples."), TEXT_ONLY),
    "comment in a helper module": (replace("WIDTH = 8", "WIDTH = 8  # wide", "models/parts.py"), TEXT_ONLY),
    "local variable renamed in the builder": (
        replace('width = parts.WIDTH\n    return {"layers": [width', 'w = parts.WIDTH\n    return {"layers": [w'),
        SPEC_ONLY,
    ),
    "builder split in two, same model": (
        replace(
            "def build(model):",
            "def build(model):\n    return inner(model)\n\ndef inner(model):",
        ),
        SPEC_ONLY,
    ),
    "description": (replace('"one"', '"two"'), ["spec", "params", "profile", "archive"]),
    "version": (replace("my_model.version = 1", "my_model.version = 2"), ["spec", "params", "profile", "archive"]),
    "model parameter": (replace('"threshold"] = 0.5', '"threshold"] = 0.6'), ["spec", "params", "profile", "archive"]),
    "converter setting": (
        replace("my_model.epochs", 'my_model.tflite_converter["inference_input_type"] = "int8"\nmy_model.epochs'),
        ["spec", "quantize", "params", "evaluate", "profile", "archive"],
    ),
    "evaluation setting": (
        replace("my_model.epochs", "my_model.eval_max_samples_per_class = 5\nmy_model.epochs"),
        ["spec", "evaluate", "archive"],
    ),
    "layer": (replace("[width, 10]", "[width, 11]"), TRAINS),
    "batch size": (replace("batch_size = 32", "batch_size = 64"), TRAINS),
    "optimizer": (replace("my_model.epochs", "my_model.optimizer = 'sgd'\nmy_model.epochs"), TRAINS),
    "seed": (replace("my_model.epochs", "my_model.seed = 1\nmy_model.epochs"), TRAINS),
    "used constant in a helper module": (replace("WIDTH = 8", "WIDTH = 9", "models/parts.py"), TRAINS),
    "unused function in a helper module": (replace("return x", "return x + 1", "models/parts.py"), SPEC_ONLY),
    "epochs": (replace("epochs = 10", "epochs = 20"), TRAINS),
    "constant of the data loader": (
        replace("SCALE = 0.5", "SCALE = 0.25", "models/parts.py"),
        ["spec", *FROM_DATA],
    ),
    "sample added": (lambda files: files.write("samples/training/9.txt", "more"), FROM_DATA),
    "sample changed": (replace("sample 1", "sample one", "samples/training/1.txt"), FROM_DATA),
    "sample removed": (delete("samples/training/1.txt"), FROM_DATA),
    "touch": (touch, []),
    "spec artifact deleted": (delete("build/kws/spec/train.yaml"), ["spec"]),
    "data artifact deleted": (delete("build/kws/data/training.json"), ["data"]),
    "train artifact deleted": (delete("build/kws/kws.keras"), ["train"]),
    "train artifact damaged": (damage("build/kws/kws.keras"), ["train"]),
    "plot deleted": (delete("build/kws/train/history.png"), ["train"]),
    "quantize artifact damaged": (damage("build/kws/kws.converted.tflite"), ["quantize"]),
    "params artifact deleted": (delete("build/kws/kws.tflite"), ["params"]),
    "evaluation deleted": (delete("build/kws/eval/keras/results.json"), ["evaluate"]),
    "archive deleted": (delete("models/kws.mltk.zip"), ["archive"]),
    "archive damaged": (damage("models/kws.mltk.zip"), ["archive"]),
    "record deleted": (delete("build/kws/.records/quantize.json"), ["quantize"]),
    "record damaged": (damage("build/kws/.records/train.json"), []),
    "record is no record": (lambda files: files.write("build/kws/.records/train.json", "{}"), ["train"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_edit_runs_just_the_stages_that_it_reaches(name: str, built_workspace: Files, fakes: Fakes) -> None:
    """Each row of the table: an edit, and the stages that the next build runs."""
    edit, expected = ROWS[name]
    edit(built_workspace)
    assert expected == bring(built_workspace, fakes)
    assert [] == bring(built_workspace, fakes)


MICRO_STAGES = ["quantize", "evaluate", "profile"]
UPGRADES: dict[str, tuple[str, str, str, list[str]]] = {
    "TensorFlow": ("tensorflow", "2.21.0", "2.22.0", ["spec", "preflight", "train", "quantize", "evaluate"]),
    "patch of TensorFlow": ("tensorflow", "2.21.0", "2.21.1", []),
    "TensorFlow Lite Micro of another day": ("tflite-micro", "0.dev20261023", "0.dev20261024", MICRO_STAGES),
    "TensorFlow Lite Micro appears": ("tflite-micro", "none", "0.dev20261023", MICRO_STAGES),
    "TensorFlow Lite Micro disappears": ("tflite-micro", "0.dev20261023", "none", MICRO_STAGES),
    "the chosen quantizer": ("ai-edge-quantizer", "0.10.0", "0.11.0", ["quantize"]),
    "patch of the chosen quantizer": ("ai-edge-quantizer", "0.10.0", "0.10.1", []),
    "LiteRT that evaluated": ("ai-edge-litert", "2.3.0", "2.4.0", ["evaluate"]),
    "a quantizer that wasn't chosen": ("another-quantizer", "0.10.0", "0.11.0", []),
    "NumPy": ("numpy", "2.4.0", "3.0.0", []),
}


@pytest.mark.parametrize("name", UPGRADES)
def test_upgrade_runs_just_the_stages_that_the_package_makes(
    name: str, workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row: a package with its version before and after, and the stages that the next build runs."""
    package, before, after, expected = UPGRADES[name]
    fakes.libraries = {"quantize": ("ai-edge-quantizer",), "evaluate": ("ai-edge-litert",)}
    use_version(monkeypatch, package, before)
    assert ALL == bring(workspace, fakes)
    use_version(monkeypatch, package, after)
    assert expected == bring(workspace, fakes)
    assert [] == bring(workspace, fakes)


@pytest.mark.parametrize("policy", ["minor", "exact", "ignore"])
def test_a_package_that_appears_counts_whatever_the_policy(
    policy: str, workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not proven for want of the interpreter is proven as soon as it is there."""
    workspace.write("pyproject.toml", f'[tool.mltkbuild]\ntoolchain = "{policy}"\n')
    use_version(monkeypatch, "tflite-micro", "none")
    assert ALL == bring(workspace, fakes)
    use_version(monkeypatch, "tflite-micro", "0.dev20261023")
    assert MICRO_STAGES == bring(workspace, fakes)


def use_version(monkeypatch: pytest.MonkeyPatch, package: str, found: str) -> None:
    """Let a package have this version, for those that judge and for those that note what they used."""
    real = toolchain.version

    def version(name: str) -> str:
        return found if name == package else real(name)

    for module in (target_state, libraries):
        monkeypatch.setattr(module, "version", version)


@pytest.mark.parametrize("stage", ["data", "train", "quantize", "archive"])
def test_edit_made_while_a_stage_runs_counts_as_made_after_it(stage: str, workspace: Files, fakes: Fakes) -> None:
    """A build that is under way keeps the text it began with; the next one builds the edit, and only once."""

    def edit(request: Request) -> None:
        fakes.before.clear()
        workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")

    fakes.before[stage] = edit
    assert ALL == bring(workspace, fakes)
    assert TRAINS == bring(workspace, fakes)
    assert [] == bring(workspace, fakes)


def test_sample_changed_while_training_is_noticed_by_the_next_build(workspace: Files, fakes: Fakes) -> None:
    """A data file that changes after the data stage read it makes the next build read it again."""

    def change(request: Request) -> None:
        workspace.write("samples/training/1.txt", "later")

    fakes.before["train"] = change
    assert ALL == bring(workspace, fakes)
    fakes.before.clear()
    assert FROM_DATA == bring(workspace, fakes)


def test_reverted_edit_before_a_build_costs_nothing(built_workspace: Files, fakes: Fakes) -> None:
    """An edit that is undone before the next build runs no stage."""
    built_workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    built_workspace.edit("models/kws.py", "batch_size = 64", "batch_size = 32")
    assert [] == bring(built_workspace, fakes)


def test_new_module_that_shadows_a_library_reruns_the_spec(workspace: Files, fakes: Fakes) -> None:
    """A workspace file with the name of an imported library is what the spec would import now."""
    workspace.edit("models/kws.py", "import parts", "import parts\nimport click")
    bring(workspace, fakes)
    workspace.write("models/click.py", "VERSION = 1\n")
    sources.forget_folders()
    assert SPEC_ONLY == bring(workspace, fakes)


def test_other_epochs_option_trains_and_the_plain_build_goes_back(built_workspace: Files, fakes: Fakes) -> None:
    """An option that changes the result is part of the fingerprint; the spec's own value changes nothing."""
    assert [] == bring(built_workspace, fakes, epochs=10)
    assert ["train", "quantize", "params", "evaluate", "profile", "archive"] == bring(built_workspace, fakes, epochs=3)
    assert [] == bring(built_workspace, fakes, epochs=3)
    assert ["train", "quantize", "params", "evaluate", "profile", "archive"] == bring(built_workspace, fakes)


def test_file_that_the_builder_reads_is_an_input(workspace: Files, fakes: Fakes) -> None:
    """A file of layer sizes, opened by the builder, reruns the spec when it changes, and training when it matters."""
    workspace.write("sizes.json", "[1, 2]")
    workspace.edit("models/kws.py", "width = parts.WIDTH", 'width = parts.Path("sizes.json").read_text().strip()')
    os.chdir(workspace.root)
    bring(workspace, fakes)
    workspace.write("sizes.json", "[1, 2]\n")
    assert ["spec"] == bring(workspace, fakes)
    workspace.write("sizes.json", "[1, 3]")
    assert TRAINS == bring(workspace, fakes)


def test_dry_run_and_full_build_share_nothing(built_workspace: Files, fakes: Fakes) -> None:
    """A dry run has its own folder, records and archive, and leaves a full build's files as they were."""
    before = built_workspace.tree()
    assert ALL == bring(built_workspace, fakes, "kws-test")
    after = {path: data for path, data in built_workspace.tree().items() if "kws-test" not in path}
    assert before == after
    assert (built_workspace.root / "models/kws-test.mltk.zip").exists()


DIGITS_ROWS: dict[str, tuple[Edit, list[str]]] = {
    "nothing": (lambda files: None, []),
    "comment": (replace("my_model.epochs", "# how long\nmy_model.epochs"), TEXT_ONLY),
    "docstring": (replace('"""Two convolutions', '"""A network: two convolutions'), TEXT_ONLY),
    "local variable": (replace("keras_model", "network"), SPEC_ONLY),
    "builder split in two": (
        replace("def build_model(model):", "def build_model(model):\n    return inner(model)\n\n\ndef inner(model):"),
        SPEC_ONLY,
    ),
    "description": (
        replace('Handwritten digits, 8x8 pixels"\n\n', 'Digits"\n\n'),
        ["spec", "params", "profile", "archive"],
    ),
    "converter setting": (
        replace('["inference_input_type"] = "int8"', '["inference_input_type"] = "uint8"'),
        ["spec", "quantize", "params", "evaluate", "profile", "archive"],
    ),
    "evaluation setting": (
        replace("my_model.batch_size", "my_model.eval_max_samples_per_class = 9\nmy_model.batch_size"),
        ["spec", "evaluate", "archive"],
    ),
    "layer": (replace("Conv2D(16", "Conv2D(8"), TRAINS),
    "batch size": (replace("batch_size = 32", "batch_size = 64"), TRAINS),
    "optimizer": (replace('"adam"', '"rmsprop"'), TRAINS),
    "seed": (replace("my_model.batch_size", "my_model.seed = 1\nmy_model.batch_size"), TRAINS),
    "epochs": (replace("epochs = 2", "epochs = 3"), TRAINS),
    "data": (replace("random_state=7", "random_state=8"), ["spec", *FROM_DATA]),
    "touch": (touch, []),
    "keras file damaged": (damage("build/kws/kws.keras"), ["train"]),
    "evaluation deleted": (delete("build/kws/eval/tflite/results.json"), ["evaluate"]),
    "archive deleted": (delete("models/kws.mltk.zip"), ["archive"]),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, executor: Processes) -> Files:
    """The digits model with two epochs, built for real."""
    files = Files(tmp_path_factory.mktemp("digits"))
    files.write("dodo.py", "")
    text = (REPOSITORY / "models/digits_v1.py").read_text(encoding="utf-8")
    files.spec("kws", text.replace("epochs = 40", "epochs = 2"))
    assert ALL == bring(files, executor.run)
    return files


@pytest.mark.real
@pytest.mark.parametrize("name", DIGITS_ROWS)
def test_digits_edit_runs_just_the_stages_that_it_reaches(
    name: str, digits: Files, executor: Processes, tmp_path: Path
) -> None:
    """The same table on a real model with real stage bodies."""
    files = Files(tmp_path / "copy")
    shutil.copytree(digits.root, files.root)
    edit, expected = DIGITS_ROWS[name]
    edit(files)
    assert expected == bring(files, executor.run)
