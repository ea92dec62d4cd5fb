"""Files of the working directory that are named like modules stay files: no command runs them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT, Fakes, Files, bring, tiny_spec, written
from .tflite.test_micro import dense_model

LIBRARIES = (
    *("PIL", "absl", "ai_edge_litert", "attr", "click", "cloudpickle", "colorama", "dateutil", "doit", "filelock"),
    *("flatbuffers", "google", "h5py", "importlib_metadata", "keras", "matplotlib", "ml_dtypes", "mltkbuild", "netron"),
    *("numpy", "packaging", "pandas", "psutil", "py7zr", "pygments", "requests", "rich", "scipy", "six", "sklearn"),
    *("soundfile", "tensorboard", "tensorflow", "tflite_micro", "tqdm", "typing_extensions", "wrapt", "yaml"),
)
PLANTED = sorted({*sys.stdlib_module_names, *LIBRARIES} - {"this"})
# What the entry points of the two programs do: their own folder is that of Python's programs.
PROGRAMS = {
    "mltk": "from mltkbuild.cli.main import main\nmain()\n",
    "doit": "from doit.__main__ import main\nmain()\n",
}
ASKING = [
    ("mltk", "list"),
    ("mltk", "status"),
    ("mltk", "explain", "kws"),
    ("mltk", "build", "--dry-run"),
    ("mltk", "clean", "-n"),
    ("doit", "list", "--all"),
    ("doit", "info", "train:kws"),
    ("doit", "clean", "-n"),
    ("doit",),
]
ON_FILES = [
    ("mltk", "profile", "m.tflite"),
    ("mltk", "summarize", "m.tflite"),
    ("mltk", "update_params", "m.tflite", "threshold=1"),
    ("mltk", "export", "m.tflite", "-o", "exported"),
    ("mltk", "summarize", "tiny"),
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A workspace whose model is up to date, a stranger's `.tflite`, and a file for each module there is."""
    files = written(tmp_path_factory.mktemp("planted") / "ws")
    bring(files, Fakes())
    (files.root / "m.tflite").write_bytes(dense_model())
    plant(files.root)
    return files


def plant(folder: Path) -> None:
    """Write modules that leave a mark when they are run."""
    for name in PLANTED:
        text = f"import posix\nposix.close(posix.open({str(folder / 'MARK')!r} + '_{name}', posix.O_CREAT))\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def marks(folder: Path) -> list[str]:
    """The planted modules that were run; the marks are removed."""
    found = sorted(folder.glob("MARK_*"))
    for path in found:
        path.unlink()
    return [path.name.removeprefix("MARK_") for path in found]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program as its entry point does."""
    folder = tmp_path_factory.mktemp("bin")
    for name, text in PROGRAMS.items():
        (folder / f"run_{name}.py").write_text(text, encoding="utf-8")

    own = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}

    def run(program: str, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(folder / f"run_{program}.py"), *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**own, **more},
        )

    return run


Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_asking_runs_no_file_of_the_workspace(planted: Files, call: Call, arguments: tuple[str, ...]) -> None:
    """What only asks, and a build with nothing to do, run the dodo.py at most."""
    done = call(*arguments, cwd=planted.root)
    assert ([], 0) == (marks(planted.root), done.returncode), done.stderr[-2000:]


@pytest.mark.real
@pytest.mark.parametrize("arguments", ON_FILES, ids=" ".join)
def test_working_runs_no_file_beside_the_model(planted: Files, call: Call, arguments: tuple[str, ...]) -> None:
    """Workers, and what multiprocessing starts beside them, find no module in the working directory."""
    planted.tiny(name="tiny")
    done = call(*arguments, cwd=planted.root)
    assert ([], 0) == (marks(planted.root), done.returncode), done.stderr[-2000:]


def test_a_dodo_s_own_modules_come_first_when_it_imports_them_first(workspace: Files, call: Call) -> None:
    """A dodo.py may import what lies beside it, above the line that imports mltkbuild."""
    workspace.write("chores.py", "def task_hello():\n    return {'actions': None}\n")
    workspace.write("dodo.py", "from chores import task_hello\n" + (workspace.root / "dodo.py").read_text())
    done = call("doit", "list", cwd=workspace.root)
    assert (0, "") == (done.returncode, done.stderr)
    assert "hello" in done.stdout


@pytest.mark.real
def test_a_notebook_s_workers_look_elsewhere_too(tmp_path: Path) -> None:
    """Where a process itself looks for modules in its working directory first, its workers don't."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "m.tflite").write_bytes(dense_model())
    plant(folder)
    # It has imported what it needs itself when it comes there.
    script = (
        "import os, sys, mltkbuild.api.functions, mltkbuild.workers.executor, multiprocessing.popen_spawn_posix\n"
        "os.chdir('planted')\n"
        "assert '' == sys.path[0]\n"
        "print(mltkbuild.summarize_model('m.tflite'))\n"
        "assert '' == sys.path[0]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=240,
    )
    assert (0, []) == (done.returncode, marks(folder)), done.stderr[-2000:]


@pytest.mark.real
def test_python_s_own_names_are_python_s_in_a_spec(workspace: Files, tmp_path: Path, call: Call) -> None:
    """A spec finds its modules beside it and at the root, Python's own before both, and those of PYTHONPATH too.

    The process that judges and the workers agree: what is never imported is no input.
    """
    shutil.rmtree(workspace.root / "models")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "of_the_user.py").write_text("", encoding="utf-8")
    workspace.write("models/statistics.py", "raise SystemExit('mine')\n")
    workspace.write("shared.py", "WIDTH = 3\n")
    text = tiny_spec().replace(
        "import keras\n", "import colorsys, statistics\nimport of_the_user, shared\nimport keras\n"
    )
    workspace.spec("tiny", text + "assert statistics.mean([2, 4]) == shared.WIDTH\n")
    workspace.write("colorsys.py", "raise SystemExit('mine')\n")
    mltk = functools.partial(call, "mltk", cwd=workspace.root, PYTHONPATH=str(tmp_path / "lib"))
    done = mltk("summarize", "tiny")
    assert 0 == done.returncode, done.stderr[-2000:]
    workspace.edit("models/statistics.py", "mine", "yours")
    assert "up to date" in mltk("status", "tiny", "--all").stdout.splitlines()[1]
    workspace.edit("shared.py", "3", "4")
    assert "up to date" not in mltk("status", "tiny", "--all").stdout.splitlines()[1]
