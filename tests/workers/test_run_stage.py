"""One stage in a real worker process: what it notices, what it repeats, and how it fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import SpecError, StageError
from mltkbuild.events import Listener
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running
from ..test_bad_input import GOOD, LOADER, NETWORK, change, sets, write

pytestmark = pytest.mark.real


def inputs(files: Files, executor: Processes, stage: str) -> set[str]:
    """The files that a stage's record names, relative to the workspace."""
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good", stage)
    record = builder.state("good").record(stage)
    assert record is not None
    return {name.removeprefix("file ") for name in record.inputs if name.startswith("file ")}


def test_each_file_is_an_input_of_the_stage_that_read_it(tmp_path: Path, executor: Processes) -> None:
    """The spec's own reading and the builder's belong to spec, the loader's to data; paths begin at the workspace."""
    text = change(
        "my_model.epochs = 1\n", "from pathlib import Path\nmy_model.epochs = int(Path('epochs.txt').read_text())\n",
        LOADER, "    np.load('samples.npy')\n    Path('scratch.txt').write_text('x')\n" + LOADER,
        NETWORK, "    units = int(Path('units.txt').read_text())\n" + NETWORK.replace("Dense(2", "Dense(units"),
    )  # fmt: skip
    files = write(tmp_path / "ws", "good", text)
    files.write("epochs.txt", "1")
    files.write("units.txt", "2")
    (files.root / "samples.npy").write_bytes(
        b"\x93NUMPY\x01\x00F\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }".ljust(79) + b"\n\x01"
    )
    assert {"epochs.txt", "units.txt"} == inputs(files, executor, "spec")
    assert {"samples.npy"} == inputs(files, executor, "data")


def test_random_numbers_of_a_spec_are_the_same_each_time(tmp_path: Path, executor: Processes) -> None:
    """What a spec draws while it is imported, and the builder while it builds, doesn't differ from run to run."""
    text = change(
        "my_model.epochs = 1\n", "import random\nmy_model.epochs = random.randint(1, 9**9) + np.random.randint(9**9)\n",
        NETWORK, "    kernel = keras.initializers.Constant(np.random.uniform())\n"
        + NETWORK.replace("Dense(2", "Dense(2, kernel_initializer=kernel"),
    )  # fmt: skip
    files = write(tmp_path / "ws", "good", text)
    builder = Builder(files.workspace, Running(executor.run))
    texts = [builder.inspect("good")[1] for _ in range(2)]
    assert texts[0] == texts[1]


def test_late_loading_gives_the_model_that_training_builds(tmp_path: Path, executor: Processes) -> None:
    """A builder that asks for the data in the middle gets the weights that it gets when the data is there before."""
    text = change(
        "my_model.input_shape = (4,)\n", "",
        LOADER, "    my_model.input_shape = (4,)\n" + LOADER,
        NETWORK, "    first = keras.layers.Dense(4)\n    first.build((None, 4))\n"
        "    network = keras.Sequential([keras.Input(model.input_shape), first, keras.layers.Dense(2)])\n",
    )  # fmt: skip
    files = write(tmp_path / "ws", "good", text)
    Builder(files.workspace, Running(executor.run)).build("good", "train")
    assert (files.root / "build/good/good.keras").exists()


def test_failure_inside_a_library_is_that_stage_s_and_the_worker_lives(tmp_path: Path, executor: Processes) -> None:
    """What no one foresaw is one error that names the log, which has the traceback; the process goes on."""
    files = write(tmp_path / "ws", "good", GOOD)
    Builder(files.workspace, Running(executor.run)).build("good", "spec")

    def broken(request: Request, listener: Listener) -> Outcome:
        return executor.run(dataclasses.replace(request, artifacts={}), listener)

    with pytest.raises(StageError, match="the stage failed with KeyError") as caught:
        Builder(files.workspace, Running(broken)).build("good", "data")
    assert ("data:good", "see build/good/.logs/data.log") == (caught.value.where, caught.value.fix)
    assert "Traceback" in (files.root / "build/good/.logs/data.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["", "__version__ = '1'\n"])
def test_helper_from_outside_the_workspace_is_an_input(version: str, tmp_path: Path, executor: Processes) -> None:
    """A module from a folder beside the workspace is an input of the spec, and of the stages that may call it."""
    text = change(
        "my_model.epochs = 1\n", "my_model.epochs = 1\nimport sys\nsys.path.append('../lib')\nimport beside_helper\n",
        '"float32"), y', '"float32") * beside_helper.scale(), y',
    )  # fmt: skip
    files = write(tmp_path / "ws", "good", text)
    helper = tmp_path / "lib/beside_helper.py"
    helper.parent.mkdir()
    helper.write_text(version + "def scale():\n    return 2\n")
    assert {str(helper)} == inputs(files, executor, "spec")
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good", "data")
    assert ((), ()) == (builder.judge("good", "spec").reasons, builder.judge("good", "data").reasons)
    helper.write_text(version + "def scale():\n    return 2000\n")
    builder = Builder(files.workspace, Running(executor.run))
    assert [f"file {helper}"] == [reason.subject for reason in builder.judge("good", "spec").reasons]
    builder.build("good", "spec")
    assert ["spec/data.yaml"] == [reason.subject for reason in builder.judge("good", "data").reasons]


def test_archive_holds_the_files_that_the_spec_adds(tmp_path: Path, executor: Processes) -> None:
    """A file of the workspace may be added to the archive; one from outside is refused."""
    files = write(tmp_path / "ws", "good", sets("my_model.add_archive_file('notes.txt')"))
    files.write("notes.txt", "notes")
    assert {"notes.txt"} == inputs(files, executor, "archive")
    files.edit("models/good.py", "'notes.txt'", "'../notes.txt'")
    with pytest.raises(SpecError, match="add_archive_file names no file of the workspace"):
        Builder(files.workspace, Running(executor.run)).build("good", "archive")
