"""What workspace code asks of the environment is noticed, whoever asks for it in the end, and nothing else is."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltkbuild.disk.answers import ABSENT, EVERY, answer
from mltkbuild.disk.inputs import VARIABLE, Input
from mltkbuild.process import life
from mltkbuild.user_code import variables

HELPER = """
import os, tempfile
def config(name, default=None):
    return os.environ.get(name, default)
def own_setting():
    return os.environ.get("HELPERS_OWN")
def folder():
    return tempfile._candidate_tempdir_list()
def export(name, value):
    os.environ[name] = value
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Variables to ask for, and libraries to ask by: one that nobody knows, and one that asks for itself."""
    monkeypatch.setenv("SCALE", "1")
    monkeypatch.delenv("NOT_THERE", raising=False)
    for name in ("borrowed", "keras_like"):
        module = types.ModuleType("keras.like" if name == "keras_like" else name)
        filename = os.path.join(sys.prefix, "lib", name + ".py")
        exec(compile(HELPER, filename, "exec"), vars(module))  # a library, as far as its file's name says
        monkeypatch.setitem(sys.modules, name, module)
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)


def asked(root: Path, code: str) -> variables.Asked:
    """What a module of the workspace asks for as it runs."""
    filename = str(root / "models/kws.py")
    with variables.watch(str(root)) as seen:
        exec(compile(code, filename, "exec"), {"__name__": "kws", "__file__": filename})
    return seen


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os; os.environ['SCALE']", {"SCALE"}),
        ("import os; os.environ.get('NOT_THERE')", {"NOT_THERE"}),
        ("import os; os.getenv('SCALE', '1')", {"SCALE"}),
        ("import os; os.getenvb(b'SCALE')", {"SCALE"}),
        ("import os; 'NOT_THERE' in os.environ", {"NOT_THERE"}),
        ("import os; 'SCALE' in os.environ.keys()", {"SCALE"}),
        ("import os; os.environ.pop('SCALE')", {"SCALE"}),
        ("import os; os.environ.setdefault('SCALE', '2')", {"SCALE"}),
        ("from os import environ as e; e['SC' + 'ALE']", {"SCALE"}),
        ("import os; os.path.expandvars('$SCALE/${NOT_THERE}')", {"SCALE", "NOT_THERE"}),
        ("import os; os.path.expanduser('~/data')", {"HOME"}),
        ("import pathlib; pathlib.Path('~/data').expanduser()", {"HOME"}),
        ("import string, os; string.Template('$SCALE').substitute(os.environ)", {"SCALE"}),
        ("import os; '{SCALE}'.format_map(os.environ)", {"SCALE"}),
        ("import os; eval('SCALE', {}, os.environ)", {"SCALE"}),
        ("import os; list(map(os.getenv, ['SCALE']))", {"SCALE"}),
        ("import borrowed; borrowed.config('SCALE')", {"SCALE"}),
        ("import borrowed; borrowed.own_setting()", {"HELPERS_OWN"}),
        ("import keras_like; keras_like.config('SCALE')", {"SCALE"}),
        ("import keras_like\nfor name in ['SCALE']: keras_like.config(name)", {"SCALE"}),
        ("import keras_like; keras_like.own_setting()", set()),
        ("import borrowed; borrowed.folder()", set()),
        ("import tempfile; tempfile._candidate_tempdir_list()", set()),
        ("import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', ''])", set()),
    ],
)
def test_variable_is_noticed(code: str, names: set[str], tmp_path: Path) -> None:
    """By each door that Python has, or through a library's helper; what a library needs for itself is no input."""
    found = asked(tmp_path, code)
    assert (names, False) == (found.names, found.everything)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.environ['NOT_THERE'] = '3'; os.environ['NOT_THERE']",
        "import os; os.environ.update(NOT_THERE='3'); os.getenv('NOT_THERE')",
        "import borrowed, os; borrowed.export('NOT_THERE', '3'); os.getenv('NOT_THERE')",
    ],
)
def test_what_the_spec_has_set_is_no_outside_answer(code: str, tmp_path: Path) -> None:
    """What it reads back counts by the spec's code, and what it has set is known by its digest."""
    with variables.watch(str(tmp_path)):
        assert set() == asked(tmp_path, code).names
        assert {"NOT_THERE": answer(Input(VARIABLE, "NOT_THERE"), {"NOT_THERE": "3"})} == variables.set_by_spec()


@pytest.mark.parametrize(
    "code", ["dict(os.environ)", "os.environ.copy()", "list(os.environ.items())", "{**os.environ}"]
)
def test_a_look_at_all_variables_counts_by_all_but_the_terminals(code: str, tmp_path: Path) -> None:
    """Another variable counts, wherever its name is read later; another window doesn't."""
    found = asked(tmp_path, f"import os\nall = {code}")
    assert found.everything
    here = {"SCALE": "1", "TERM": "xterm", "SSH_TTY": "/dev/pts/1", "SHLVL": "1"}
    told = found.answers(here)
    assert {Input(VARIABLE, EVERY)} == set(told)
    assert told == found.answers({**here, "TERM": "vt100", "SSH_TTY": "/dev/pts/2", "COLUMNS": "80"})
    assert told != found.answers({**here, "SCALE": "2"})
    assert told != found.answers({**here, "NEW": "2"})


def test_a_variable_is_kept_by_its_digest(tmp_path: Path) -> None:
    """It may be a secret; one that isn't there is told from an empty one."""
    found = asked(tmp_path, "import os; os.getenv('SCALE')")
    question = Input(VARIABLE, "SCALE")
    told = [found.answers(given)[question] for given in ({"SCALE": "s3cret"}, {"SCALE": ""}, {})]
    assert "s3cret" not in told[0]
    assert (64, ABSENT, 3) == (len(told[0]), told[2], len(set(told)))


def test_variables_of_workers_are_no_inputs(tmp_path: Path) -> None:
    """They are set to the same values everywhere."""
    assert set() == asked(tmp_path, "import os; os.getenv('MPLBACKEND'); os.getenv('PYTHONHASHSEED')").names


def test_library_that_is_loaded_asks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's module that reads a variable as it is imported reads it once in a process; a helper's counts."""
    library = tmp_path / "venv/lib/asks_first.py"
    library.parent.mkdir(parents=True)
    library.write_text("import os\nA = os.environ.get('SCALE')\n")
    helper = tmp_path / "beside/asks_too.py"
    helper.parent.mkdir()
    helper.write_text("import os\nA = os.environ.get('NOT_THERE')\n")
    monkeypatch.setattr(sys, "exec_prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(library.parent), str(helper.parent)])
    assert {"NOT_THERE"} == asked(tmp_path, "import asks_first, asks_too").names
    for name in ("asks_first", "asks_too"):
        del sys.modules[name]


def test_worker_takes_the_variables_of_the_process_that_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have changed, but for its own; what a library has set in it since stays."""
    monkeypatch.setattr(life, "environment", {"SCALE": "1", "GOES": "1", "MPLBACKEND": "Agg"})
    monkeypatch.setenv("GOES", "1")
    monkeypatch.setenv("OF_A_LIBRARY", "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    variables.adopt({"SCALE": "2", "MPLBACKEND": "Qt"})
    found = {name: os.environ.get(name) for name in ("SCALE", "GOES", "OF_A_LIBRARY", "MPLBACKEND")}
    assert {"SCALE": "2", "GOES": None, "OF_A_LIBRARY": "1", "MPLBACKEND": "Agg"} == found
    variables.adopt({})
    assert "2" == os.environ["SCALE"]
