"""What a spec does to its process counts for its own later stages, and never for another spec."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.events import Listener
from mltkbuild.front.report import reason_text
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import BUILT
from mltkbuild.workers.executor import Processes, Worker

from ..conftest import Files, Running
from ..test_bad_input import GOOD, change, write

pytestmark = pytest.mark.real

SAMPLES = '"float32"), y'


def spec(top: str, factor: str) -> str:
    """A spec with lines before its functions, and samples that are multiplied by something."""
    return change(
        "# @mltk_model",
        f"import colorsys, decimal, os\n{top}\n# @mltk_model",
        SAMPLES,
        f'"float32") * float({factor}), y',
    )


class Counting:
    """An executor that tells which processes were ended after their stage."""

    def __init__(self, executor: Processes) -> None:
        self.executor = executor
        self.spent: list[str] = []

    def __call__(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage."""
        outcome = self.executor.run(request, listener)
        self.spent.append(outcome.spent)
        return outcome


def samples(files: Files, name: str) -> bytes:
    """What the data stage says of the samples of a model."""
    return (files.root / f"build/{name}/data/training.json").read_bytes()


def build(files: Files, executor: Processes, *names: str) -> list[str]:
    """Build the samples of models one after the other; gives what has made the process of each stage a used one."""
    counting = Counting(executor)
    builder = Builder(files.workspace, Running(counting))
    for name in names:
        builder.build(name, "data")
    return counting.spent


READS = "colorsys.ONE_THIRD"


@pytest.mark.parametrize(
    ("top", "reads", "restored"),
    [
        ("os.environ['SCALE'] = '1.0'", "os.environ['SCALE']", True),
        ("colorsys.ONE_THIRD = 1.0", READS, False),
        ("decimal.getcontext().prec = int(1.0) + 20", "decimal.getcontext().prec", True),
        ("def put(where):\n    where.ONE_THIRD = 1.0\nput(colorsys)", READS, False),
    ],
)
def test_state_outside_counts_for_the_samples_and_for_no_other_spec(
    top: str, reads: str, restored: bool, tmp_path: Path, executor: Processes
) -> None:
    """Another number gives other samples, the same as a fresh build; a spec that only reads it has its own."""
    files = write(tmp_path / "ws", "good", spec(top, reads))
    files.write("models/plain.py", spec("", reads.replace("environ['SCALE']", "sep == '/'")))
    assert ["", ""] == build(files, executor, "plain")
    alone = samples(files, "plain")
    assert [not restored] * 2 == [bool(why) for why in build(files, executor, "good")]
    (files.root / "build/plain/.records/data.json").unlink()
    build(files, executor, "plain")
    assert alone == samples(files, "plain")
    first = samples(files, "good")
    files.edit("models/good.py", "1.0", "2.0")
    assert 2 == len(build(files, executor, "good"))
    assert first != samples(files, "good")
    files.edit("models/good.py", "my_model = Model()", "OTHER = 3\nmy_model = Model()")
    assert 1 == len(build(files, executor, "good"))


def test_change_that_a_loader_makes_ends_the_process(tmp_path: Path, executor: Processes) -> None:
    """A function of a library that is replaced while a stage runs is as foreign to the next spec."""
    text = change(SAMPLES, SAMPLES + "\n" + "def put(where, what):\n    setattr(where, 'rgb_to_hsv', what)\n").replace(
        "    rng = np", "    import colorsys\n    put(colorsys, len)\n    rng = np"
    )
    files = write(tmp_path / "ws", "good", text)
    assert "colorsys.rgb_to_hsv" == build(files, executor, "good")[1]


@pytest.mark.parametrize(
    ("top", "factor"),
    [
        ("", "os.environ.get('SCALE_OF_TEST', '1')"),
        ("SCALE = os.path.expandvars('$SCALE_OF_TEST').strip('$SCALE_OF_TEST') or 1", "SCALE"),
        ("ALL = dict(os.environ)", "ALL.get('SCALE_OF_TEST', 1)"),
    ],
)
def test_variable_that_the_spec_asks_for_is_an_input(
    top: str, factor: str, tmp_path: Path, executor: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the loader or at the top of the spec; the worker that is warm has the variables of this build."""
    monkeypatch.delenv("SCALE_OF_TEST", raising=False)
    files = write(tmp_path / "ws", "good", spec(top, factor))
    assert ["", ""] == build(files, executor, "good")
    first = samples(files, "good")
    assert [] == build(files, executor, "good")
    monkeypatch.setenv("SCALE_OF_TEST", "3")
    builder = Builder(files.workspace, Running(executor.run))
    reasons = [*builder.judge("good", "spec").reasons, *builder.judge("good", "data").reasons]
    told = [reason_text(reason) for reason in reasons]
    assert told in (["variable SCALE_OF_TEST changed"], ["the environment changed"])
    build(files, executor, "good")
    assert first != samples(files, "good")
    monkeypatch.delenv("SCALE_OF_TEST")
    build(files, executor, "good")
    assert first == samples(files, "good")
    monkeypatch.setenv("OTHER_OF_TEST", "3")
    if "dict" not in top:
        assert [] == build(files, executor, "good")


def test_variables_of_the_builder_are_those_of_the_spec(tmp_path: Path, executor: Processes) -> None:
    """The builder's variables, a callback's: they belong to the stage that runs it."""
    text = GOOD.replace("    network.compile", "    import os\n    os.getenv('UNITS_OF_TEST')\n    network.compile")
    files = write(tmp_path / "ws", "good", text)
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good", "data")
    inputs = [builder.state("good").record(stage) for stage in ("spec", "data")]
    assert [True, False] == [record is not None and "variable UNITS_OF_TEST" in record.inputs for record in inputs]


def test_value_of_a_variable_is_nowhere_in_the_build_folder(
    tmp_path: Path, executor: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a secret: records, slices and what `explain` reads have its digest, whatever the spec does with it."""
    monkeypatch.setenv("TOKEN_OF_TEST", "s3cret-of-mine")
    top = "TOKEN = os.environ['TOKEN_OF_TEST']\nHEADERS = {'a': 'Bearer ' + TOKEN}\nos.environ['COPY'] = TOKEN"
    files = write(tmp_path / "ws", "good", spec(top, "len(TOKEN + HEADERS['a'] + os.environ['COPY'])"))
    build(files, executor, "good")
    assert [] == [path for path, data in files.tree().items() if path.startswith("build/") and b"s3cret" in data]
    monkeypatch.setenv("TOKEN_OF_TEST", "s3cret-of-yours")
    assert 2 == len(build(files, executor, "good"))


def test_usual_spec_leaves_its_process_as_it_was(tmp_path: Path, executor: Processes) -> None:
    """So each stage runs in a warm one, whatever libraries fill in as they work; the usual lines are undone."""
    usual = "import warnings\nwarnings.filterwarnings('ignore')\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n"
    usual += "import matplotlib\nmatplotlib.rcParams['font.size'] = 7\nnp.seterr(all='ignore')\n"
    files = write(tmp_path / "ws", "good", change("# @mltk_model", f"import os\n{usual}\n# @mltk_model"))
    counting = Counting(executor)
    Builder(files.workspace, Running(counting)).build("good", "archive")
    assert [""] * len(BUILT) == counting.spent


def test_worker_whose_libraries_were_loaded_with_other_variables_is_not_used(tmp_path: Path) -> None:
    """TensorFlow reads its own variables once; a notebook may set them between two builds."""
    worker = Worker(deterministic=True)
    request = Request("a", "data", str(tmp_path), "a.py", (), {}, "", "", "", environment=dict(os.environ))
    other = {**request.environment, "TF_ENABLE_ONEDNN_OPTS": "7", "SCALE": "1"}
    assert worker.fits(request)
    assert worker.fits(dataclasses.replace(request, environment={**request.environment, "SCALE": "1"}))
    assert not worker.fits(dataclasses.replace(request, environment=other))
    assert not worker.fits(dataclasses.replace(request, deterministic=False))
    worker.stop()
