"""What the tests share: workspaces in a temporary folder, fake stage bodies, and the command lines."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from doit import cmd_run
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from mltkbuild import tasks
from mltkbuild.cli import main
from mltkbuild.disk.workspace import Workspace, configure
from mltkbuild.engine import sources
from mltkbuild.engine.builder import Builder
from mltkbuild.errors import MltkError, StageError
from mltkbuild.events import Listener
from mltkbuild.fingerprint.toolchain import version
from mltkbuild.front import session
from mltkbuild.spec.model import MltkModel
from mltkbuild.stages import libraries, slices
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import BUILT, SLICES, STAGES, makes, reads
from mltkbuild.user_code.loader import Snapshot, loaded_spec, user_code
from mltkbuild.user_code.watch import watch
from mltkbuild.workers.executor import Processes

from . import warm

# A suite that a script started in the background is deaf to Ctrl+C, and all that it starts would be too.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent

SPEC = '''
"""A model for tests."""
import parts
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A model."""

def load(subset, test):
    """Read the samples."""
    return parts.read_samples(subset), parts.SCALE

def build(model):
    """Build the network."""
    width = parts.WIDTH
    return {"layers": [width, 10], "optimizer": model.optimizer, "batch": 0}

my_model = Model()
my_model.version = 1
my_model.description = "one"
my_model.classes = ["a", "b"]
my_model.input_shape = (4,)
my_model.epochs = 10
my_model.batch_size = 32
my_model.dataset = load
my_model.build_model_function = build
my_model.model_parameters["threshold"] = 0.5
'''
PARTS = """
import os
from pathlib import Path

WIDTH = 8
SCALE = 0.5

def read_samples(subset):
    folder = os.path.join(os.path.dirname(__file__), "..", "samples", subset)
    return {name: Path(folder, name).read_text() for name in sorted(os.listdir(folder))}

def unused(x):
    return x
"""
TINY_SPEC = '''
import os, sys, time
from pathlib import Path
import keras
import numpy as np
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A tiny model whose loader does what a test wants."""

def load(subset, test):
    ACTION
    return np.arange(32, dtype="float32").reshape(8, 4), np.arange(8) % 2

def build(model):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network

my_model = Model()
my_model.classes = ["a", "b"]
my_model.input_shape = (4,)
my_model.epochs = 2
my_model.dataset = load
my_model.build_model_function = build
'''
SLEEP = 'Path("PID").write_text(str(os.getpid())); time.sleep(600)'
"""What a tiny model's loader does to be found at work, by `pid_of`."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
"""For a Python of its own that finds this package wherever it runs."""
SECONDS = 60
"""So long at most does a test wait for what another process does."""


def tiny_spec(action: str = "pass") -> str:
    """The spec of a tiny model for real stages, whose loader does something first."""
    return TINY_SPEC.replace("ACTION", action)


@dataclass
class Files:
    """A workspace on disk that tests write and edit."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        """The workspace as configured now."""
        return configure(str(self.root))

    def write(self, path: str, text: str) -> Path:
        """Write a file, its folders too."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return target

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")

    def spec(self, name: str = "kws", text: str = SPEC) -> Path:
        """Write a model spec."""
        return self.write(f"models/{name}.py", text)

    def tiny(self, action: str = "pass", name: str = "kws") -> None:
        """Write the spec of a tiny model for real stages, whose loader does something first."""
        self.spec(name, tiny_spec(action))

    def tree(self) -> dict[str, bytes]:
        """Every file but locks and logs, with its bytes."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name != ".lock" and ".logs" not in path.parts and "__pycache__" not in path.parts
        }


# A worker loads one spec at a time; threads of this process must not load two.
_loading = threading.Lock()


@dataclass
class Fakes:
    """Stage bodies without TensorFlow: real slices and watching, and artifacts that are digests of what they read."""

    calls: list[str] = field(default_factory=list)
    before: dict[str, Callable[[Request], None]] = field(default_factory=dict)
    fail: Mapping[str, MltkError] = field(default_factory=dict)
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage as a worker would."""
        self.calls.append(f"{request.stage}:{request.target}")
        if request.stage in self.before:
            self.before[request.stage](request)
        if request.stage in self.fail:
            return Outcome(error=self.fail[request.stage])
        outcome = Outcome(tools={"python": "3"}, facts={"members": 1}, seconds=1.5)
        snapshot = Snapshot(request.root, request.spec_path, request.import_folders, request.sources)
        try:
            with _loading, loaded_spec(snapshot, request.name, request.folder, request.test) as model:
                content = self._content(request, snapshot, model, outcome)
        except MltkError as error:
            return Outcome(error=error)
        for name in makes(STAGES[request.stage], request.target):
            path = Path(request.scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(content.get(name, content[""]), encoding="utf-8")
        libraries.notice(outcome, request.toolchain, *self.libraries.get(request.stage, ()))
        outcome.artifacts = tuple(
            path.relative_to(request.scratch).as_posix()
            for path in sorted(Path(request.scratch).rglob("*"))
            if path.is_file()
        )
        return outcome

    def _content(self, request: Request, snapshot: Snapshot, model: MltkModel, outcome: Outcome) -> dict[str, str]:
        if request.stage == "spec":
            return self._spec(request, snapshot, model, outcome)
        names = reads(STAGES[request.stage], request.target)
        read = {name: Path(request.artifacts[name]).read_bytes() for name in names}
        seen = ""
        if request.stage == "data":
            loading = user_code(snapshot, "the data loader", StageError)
            with loading, watch(request.ignored) as watched, model.watch_reads() as properties:
                model.load_dataset("training", test=request.test)
            outcome.files.update(watched.files)
            outcome.reads = model.beyond_slice(STAGES[request.stage].parts, properties)
            seen = repr(sorted(watched.files.values())) + repr(model.peek("y"))
        if request.stage == "archive":
            read = {name: Path(path).read_bytes() for name, path in request.artifacts.items()}
            seen = repr(sorted(request.sources.items()))
        epochs = request.options.get("epochs", 0)
        text = hashlib.sha256(repr((sorted(read.items()), seen, epochs)).encode()).hexdigest()
        return {"": f"{request.stage} {text}\n"}

    def _spec(self, request: Request, snapshot: Snapshot, model: MltkModel, outcome: Outcome) -> dict[str, str]:
        whole = hashlib.sha256(repr(sorted(request.sources.items())).encode()).hexdigest()
        sliced = {stage: slices.slice_of(model, stage, snapshot, whole) for stage in SLICES}
        outcome.facts |= {"properties": slices.property_digests(model), "deterministic": True}
        builder = model.peek("build_model_function")
        with user_code(snapshot, "build_model_function", StageError), watch(request.ignored) as watched:
            description = {"model": builder(model), "seed": model.peek("seed"), "batch": model.peek("batch_size")}
        outcome.files.update(watched.files)
        outcome.libraries = {"click": version("click")}
        slices.write(Path(request.scratch), sliced, description, "summary\n")
        return {"": json.dumps(description)}


class Running:
    """An executor that runs stages by a function; it is never over, so that what the function uses stays warm."""

    def __init__(self, run: Callable[[Request, Listener], Outcome]) -> None:
        self.run = run

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """Nothing runs beside the test."""
        return []

    def kill(self) -> None:
        """Nothing runs beside the test."""

    def stop(self) -> None:
        """Nothing runs beside the test."""


@dataclass(frozen=True)
class Result:
    """What a command line gave."""

    code: int
    out: str
    err: str


# These take more than half a minute each: begun first, so that none is left for one worker alone in the end.
LONG = (
    "test_fuzz.py",
    "test_models.py",
    "test_bad_input.py",
    "test_resume.py",
    "test_mltk_style.py",
    "test_devices.py",
    "test_rebuild_table.py",
    "test_notebook.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, then those that run real things, then the rest."""
    real = {item.path for item in items if item.get_closest_marker("real")}

    def rank(item: pytest.Item) -> int:
        name = item.path.name
        return len(LONG) + (item.path not in real) if name not in LONG or item.path not in real else LONG.index(name)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Spare the garbage collector TensorFlow's million objects, which it would walk again and again."""
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power, and a process that is killed loses nothing that it has written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def written(root: Path) -> Files:
    """A workspace with one model, a helper module, three samples and nothing built."""
    files = Files(root)
    files.write("dodo.py", (REPOSITORY / "dodo.py").read_text(encoding="utf-8"))
    files.spec()
    files.write("models/parts.py", PARTS)
    for number in range(3):
        files.write(f"samples/training/{number}.txt", f"sample {number}\n")
    return files


@pytest.fixture
def workspace(tmp_path: Path) -> Files:
    """A workspace with one model, a helper module, three samples and nothing built."""
    return written(tmp_path / "ws")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The workspace with its model up to date; nobody writes to it."""
    files = written(tmp_path_factory.mktemp("built") / "ws")
    assert list(BUILT) == bring(files, Fakes())
    return files


@pytest.fixture
def built_workspace(workspace: Files, built_once: Files) -> Files:
    """The workspace with its model up to date: a copy, which costs a thirtieth of a build with fakes."""
    shutil.copytree(built_once.root, workspace.root, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def fakes() -> Fakes:
    """Fake stage bodies that count their calls."""
    return Fakes()


def bring(files: Files, run: Callable[[Request, Listener], Outcome], target: str = "kws", **options: int) -> list[str]:
    """Build a target's archive as doit does, stage by stage in a new build, and say which stages ran."""
    builder = Builder(files.workspace, Running(run))
    ran = []
    for stage in BUILT:
        verdict = builder.judge(target, stage, options, asked=stage == BUILT[-1])
        builder.go_by(verdict)
        if verdict.reasons:
            built = builder.build(target, stage, options)
            if built.reasons:
                ran.append(stage)
    builder.close()
    return ran


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def pid_of(files: Files) -> int:
    """The worker that a tiny model's sleeping loader runs in."""
    path = files.root / "PID"
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def command(
    *arguments: str, cwd: Path, timeout: float = 240, env: Mapping[str, str] | None = None, workers: str = "cold"
) -> Result:
    """Run `mltk ...` or `doit ...` as a user does, in a process of its own; "warm" workers have TensorFlow loaded."""
    program, *rest = arguments
    module = {"mltk": "mltkbuild.cli.main", "doit": "doit"}[program]
    how = [warm.__file__, "run", module] if workers == "warm" else ["-m", module]
    done = subprocess.run(
        [sys.executable, *how, *rest],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(warm.environment() if workers == "warm" else {}), **(env or {})},
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run(workspace: Files) -> Callable[..., Result]:
    """Run a command line in the workspace."""

    def call(*arguments: str, **options: float) -> Result:
        return command(*arguments, cwd=workspace.root, **options)  # type: ignore[arg-type]  # a timeout at most

    return call


@dataclass
class Front:
    """The command lines in this process, with fake stage bodies; a new session for each command.

    Args:
        files: The workspace.
        fakes: The stage bodies.
        run: Runs stages in their place.
    """

    files: Files
    fakes: Fakes
    run: Callable[..., Outcome] | None = None

    def doit(self, *arguments: str) -> Result:
        """Run `doit ...` on the stages alone."""
        loader = ModuleTaskLoader({"DOIT_CONFIG": tasks.DOIT_CONFIG, "task_mltkbuild": tasks.task_mltkbuild})
        return self._call(lambda: DoitMain(loader, config_filenames=()).run(list(arguments)))

    def mltk(self, *arguments: str, folder: str = "") -> Result:
        """Run `mltk ...` in the workspace or a folder in it."""

        def call() -> None:
            sys.argv[:] = ["mltk", *arguments]
            main.main()

        return self._call(call, folder)

    def ran(self, *arguments: str) -> list[str]:
        """Run `doit ...` and say which stages ran."""
        self.fakes.calls.clear()
        self.doit(*arguments)
        return list(self.fakes.calls)

    def _call(self, function: Callable[[], int | None], folder: str = "") -> Result:
        sources.forget_folders()
        workspace = self.files.workspace
        session.use(session.Session(workspace, Builder(workspace, Running(self.run or self.fakes))))
        out, err, before, argv = io.StringIO(), io.StringIO(), os.getcwd(), list(sys.argv)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # doit keeps the standard output that it finds when it is imported.
        default, cmd_run.opt_outfile["default"] = cmd_run.opt_outfile["default"], out
        os.chdir(self.files.root / folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = function()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0
        finally:
            os.chdir(before)
            sys.argv[:] = argv
            cmd_run.opt_outfile["default"] = default
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Result(code or 0, out.getvalue(), err.getvalue())


@pytest.fixture
def front(workspace: Files, fakes: Fakes) -> Front:
    """The command lines in this process, with fake stage bodies."""
    return Front(workspace, fakes)


@pytest.fixture
def built_front(front: Front, built_workspace: Files) -> Front:
    """The command lines in a workspace whose model is up to date."""
    return front


class Warm(Processes):
    """Worker processes that begin with TensorFlow loaded."""

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run one stage in a free worker, a new one if need be."""
        with warm.warm():
            return super().run(request, listener)


@pytest.fixture(scope="session")
def executor() -> Iterator[Processes]:
    """Real worker processes that all tests of a session share."""
    pool = Warm()
    yield pool
    pool.stop()


@pytest.fixture
def warm_workers() -> Iterator[None]:
    """Workers that this test's thread starts begin with TensorFlow loaded."""
    with warm.warm():
        yield
