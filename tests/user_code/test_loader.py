"""Running a spec: its modules come from the snapshot, its errors are told in its own words, nothing stays behind."""

from __future__ import annotations

import linecache
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.user_code import loader
from mltkbuild.user_code.loader import Snapshot, loaded_spec, user_code
from mltkbuild.user_code.watch import watch

HEAD = "from mltkbuild import MltkModel\nmy_model = MltkModel()\n"


def snap(root: Path, **files: str) -> Snapshot:
    """A snapshot of files, named `models__kws` for `models/kws.py`; none of them is on the disk."""
    texts = {name.replace("__", "/") + ".py": text for name, text in files.items()}
    return Snapshot(str(root), "models/kws.py", ("models", ""), texts)


def told(snapshot: Snapshot) -> Any:
    """The description that a spec gives its model: how a test hears from inside."""
    with loaded_spec(snapshot, "kws", os.path.join(snapshot.root, "build/kws"), False) as model:
        return model.peek("description")


def test_spec_and_modules_come_from_the_snapshot(tmp_path: Path) -> None:
    """What lies on the disk meanwhile is not what runs."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/kws.py").write_text("raise RuntimeError")
    (tmp_path / "models/parts.py").write_text("raise RuntimeError")
    spec = HEAD + "import parts\nmy_model.description = parts.TEXT\n"
    assert "from the snapshot" == told(snap(tmp_path, models__kws=spec, models__parts="TEXT = 'from the snapshot'"))


IMPORTS: dict[str, tuple[str, dict[str, str], str]] = {
    "package": (
        "import pack.one\nmy_model.description = pack.one.T + pack.T",
        {"models/pack/__init__.py": "T = 'i'", "models/pack/one.py": "T = 'o'"},
        "oi",
    ),
    "relative imports": (
        "from pack.sub import two\nmy_model.description = two.T",
        {
            "models/pack/__init__.py": "",
            "models/pack/one.py": "T = 'one'",
            "models/pack/sub/__init__.py": "from ..one import T",
            "models/pack/sub/two.py": "from . import T as a\nfrom ..one import T as b\nT = a + b",
        },
        "oneone",
    ),
    "folder without __init__": (
        "import space.deep.one\nmy_model.description = space.deep.one.T",
        {"models/space/deep/one.py": "T = 'one'"},
        "one",
    ),
    "package beside a module of its name": (
        "import twin\nmy_model.description = twin.T",
        {"models/twin.py": "T = 'module'", "models/twin/__init__.py": "T = 'package'"},
        "package",
    ),
    "library in place of a folder of its name": (
        "import hypothesis\nmy_model.description = hypothesis.__name__ + str(hasattr(hypothesis, 'given'))",
        {"models/hypothesis/data.py": "", "hypothesis/more.py": ""},
        "hypothesisTrue",
    ),
    "module of Python's own in place of a file": (
        "import random\nmy_model.description = str(hasattr(random, 'Random'))",
        {"models/random.py": "T = 1"},
        "True",
    ),
    "from the models folder by its name": (
        "from models import parts\nmy_model.description = parts.T",
        {"models/parts.py": "T = 'p'"},
        "p",
    ),
    "import of the spec by a helper": (
        "T = 'spec'\nimport parts\nmy_model.description = parts.text()",
        {"models/parts.py": "import kws\ndef text():\n    return kws.T"},
        "spec",
    ),
}


@pytest.mark.parametrize("form", IMPORTS)
def test_import(form: str, tmp_path: Path) -> None:
    """Each form of import works as it does in Python."""
    code, files, expected = IMPORTS[form]
    snapshot = Snapshot(str(tmp_path), "models/kws.py", ("models", ""), {**files, "models/kws.py": HEAD + code})
    assert expected == told(snapshot)


@pytest.mark.parametrize(("present", "expected"), [(3, "beside"), (2, "models"), (1, "root")])
def test_nearest_module_wins(present: int, expected: str, tmp_path: Path) -> None:
    """A module beside the spec comes before one of the models folder, and that before one at the root."""
    places = {"parts.py": "root", "models/parts.py": "models", "models/audio/parts.py": "beside"}
    files = {path: f"T = {text!r}" for path, text in list(places.items())[:present]}
    files["models/audio/kws.py"] = HEAD + "import parts\nmy_model.description = parts.T"
    assert expected == told(Snapshot(str(tmp_path), "models/audio/kws.py", ("models/audio", "models", ""), files))


def test_module_imported_by_a_computed_name_is_read_from_the_disk_and_noticed(tmp_path: Path) -> None:
    """A module that no import statement shows is an input as a file, and workspace code for fingerprints."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/late.py").write_text("def f():\n    return 'late'\n")
    code = "import importlib\nname = 'la' + 'te'\nmy_model.description = importlib.import_module(name).f()\n"
    snapshot = snap(tmp_path, models__kws=HEAD + code)
    with watch(()) as seen:
        assert "late" == told(snapshot)
    assert [str(tmp_path / "models/late.py")] == [path for path in seen.files if path.endswith(".py")]
    assert "models/late.py" == snapshot.label(str(tmp_path / "models/late.py"))
    assert snapshot.source(str(tmp_path / "models/late.py")).startswith("def f()")


def test_spec_may_have_the_name_of_a_module_of_python(tmp_path: Path) -> None:
    """A model called signal leaves Python's own module alone."""
    text = HEAD + "import signal\nmy_model.description = str(hasattr(signal, 'SIGINT'))"
    snapshot = Snapshot(str(tmp_path), "models/signal.py", ("models", ""), {"models/signal.py": text})
    with loaded_spec(snapshot, "signal", "", False) as model:
        assert ("signal", "True") == (model.name, model.peek("description"))
    assert hasattr(sys.modules["signal"], "SIGINT")


def test_source_and_file_are_what_a_spec_expects(tmp_path: Path) -> None:
    """`__file__` is the real path, `__name__` the model's, and inspect finds the text that runs, BOM or not."""
    code = (
        "import inspect, parts\ndef mine():\n    return 1\n"
        "my_model.description = repr((__file__, __name__, inspect.getsource(mine), inspect.getsource(parts.theirs)))"
    )
    expected = (str(tmp_path / "models/kws.py"), "kws", "def mine():\n    return 1\n", "def theirs():\n    return 2\n")
    parts = "\ufeffdef theirs():\n    return 2\n"
    assert repr(expected) == told(snap(tmp_path, models__kws="\ufeff" + HEAD + code, models__parts=parts))


def test_nothing_of_a_run_stays_behind(tmp_path: Path) -> None:
    """Modules, import hooks, search path, environment, folder and source cache are as they were, after errors too."""
    wild = (
        "import parts, pack.one, os, sys\nparts.STATE.append(1)\nsys.path.insert(0, 'x')\n"
        "os.environ['OF_A_SPEC'] = '1'\nos.chdir('/')\nmy_model.description = str(len(parts.STATE))\n"
    )
    files = {"models__parts": "STATE = []", "models__pack__one": "T = 1"}

    def state() -> tuple[object, ...]:
        sources = sorted(name for name in linecache.cache if str(tmp_path) in name)
        return set(sys.modules), list(sys.meta_path), list(sys.path), dict(os.environ), os.getcwd(), sources

    before = state()
    assert ["1", "1"] == [told(snap(tmp_path, models__kws=HEAD + wild, **files)) for _ in range(2)]
    assert before == state()
    with pytest.raises(SpecError):
        told(snap(tmp_path, models__kws=HEAD + wild + "1 / 0", **files))
    assert before == state()


def test_module_of_an_earlier_run_does_not_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the same name that another spec has left in the process is hidden, and there again afterwards."""
    other = type(sys)("parts")
    monkeypatch.setitem(sys.modules, "parts", other)
    assert "mine" == told(
        snap(tmp_path, models__kws=HEAD + "import parts\nmy_model.description = parts.T", models__parts="T = 'mine'")
    )
    assert other is sys.modules["parts"]


def test_module_outside_of_workspace_and_libraries_is_loaded_anew(tmp_path: Path) -> None:
    """A module from a folder that the spec adds to the search path is read at each run, and is an input."""
    (tmp_path / "other").mkdir()
    (tmp_path / "ws").mkdir()
    outside = tmp_path / "other/outside.py"
    code = (
        f"import sys\nsys.path.insert(0, {str(tmp_path / 'other')!r})\nimport outside\nmy_model.description = outside.T"
    )
    found = []
    for text in ("T = 'first'", "T = 'second one'"):
        outside.write_text(text)
        with watch((), str(tmp_path / "ws")) as seen:
            found.append(told(snap(tmp_path / "ws", models__kws=HEAD + code)))
        assert str(outside) in seen.files
    assert ["first", "second one"] == found
    assert "outside" not in sys.modules


def test_run_within_a_run_has_modules_of_its_own(tmp_path: Path) -> None:
    """A spec can be run anew while it runs, as the data stage does; each run has its own state."""
    snapshot = snap(tmp_path, models__kws=HEAD + "import parts\nmy_model._parts = parts", models__parts="STATE = []")
    with loaded_spec(snapshot, "kws", "", False) as outer:
        outer._parts.STATE.append(1)
        with loaded_spec(snapshot, "kws", "", False) as inner:
            assert ([1], []) == (outer._parts.STATE, inner._parts.STATE)
        assert outer._parts is sys.modules["parts"]


NO_SPECS: dict[str, tuple[str, str, str, str | None]] = {
    "no model": ("x = 1", "the spec defines no model", "models/kws.py", None),
    "two models": (HEAD + "b = MltkModel()", "the spec defines more than one model", "models/kws.py", "my_model, b"),
    "syntax error": (HEAD + "def f(:\n", "syntax error: invalid syntax", "models/kws.py:3", "def f(:"),
    "open bracket": (HEAD + "a = (1,\n", "syntax error: '(' was never closed", "models/kws.py:3", "a = (1,"),
    "indentation": (
        HEAD + "if 1:\na = 1\n", "syntax error: expected an indented block after 'if' statement on line 3",
        "models/kws.py:4", "a = 1",
    ),
    "evaluated text": (HEAD + "eval('1 +')", "the spec raised SyntaxError", "models/kws.py:3", None),
    "exit": (HEAD + "raise SystemExit", "the spec raised SystemExit", "models/kws.py:3", None),
    "no message": (HEAD + "raise ValueError", "the spec raised ValueError", "models/kws.py:3", None),
    "message of many lines": (
        HEAD + "raise ValueError('one\\n\\x1b[1mtwo')", "the spec raised ValueError", "models/kws.py:3", "one",
    ),
    "null byte": (HEAD + "a = '\0'", "", "models/kws.py", None),
}  # fmt: skip


@pytest.mark.parametrize("form", NO_SPECS)
def test_spec_that_can_t_be_run_is_one_error(form: str, tmp_path: Path) -> None:
    """Whatever is wrong with a spec, the error names its line, relative to the workspace."""
    text, what, where, found = NO_SPECS[form]
    with pytest.raises(SpecError) as caught:
        told(snap(tmp_path, models__kws=text))
    error = caught.value
    assert error.what.startswith(what)
    assert where == (error.where or "")[: len(where)]
    if found is not None:
        assert found == error.found
    assert error.fix is not None
    assert str(tmp_path) not in str(error)


def test_traceback_is_cut_to_the_user_s_frames(tmp_path: Path) -> None:
    """The user sees the calls in their files, not the library's between them, and the whole message."""
    spec = HEAD + "import parts\nmy_model.description = parts.apply(max)\n"
    parts = (
        "import functools\ndef bad(a, b):\n    raise KeyError('k')\n"
        "def apply(f):\n    return functools.reduce(bad, [1, 2])\n"
    )
    with pytest.raises(SpecError) as caught:
        told(snap(tmp_path, models__kws=spec, models__parts=parts))
    expected = (
        "models/kws.py:4, in <module>\n    my_model.description = parts.apply(max)\n"
        "models/parts.py:5, in apply\n    return functools.reduce(bad, [1, 2])\n"
        "models/parts.py:3, in bad\n    raise KeyError('k')\nKeyError: 'k'"
    )
    assert ("models/parts.py:3", "'k'", expected) == (caught.value.where, caught.value.found, caught.value.trace)


def test_hidden_file_is_named_when_an_import_fails(tmp_path: Path) -> None:
    """A helper that bears the name of a module of Python is told to be renamed."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "random.py").write_text("mine = 1", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        told(snap(tmp_path, models__kws=HEAD + "from random import mine"))
    assert str(caught.value.fix).startswith("rename random.py")


def test_changed_in_place_is_found_when_the_spec_ends(tmp_path: Path) -> None:
    """A spec ends with a check of what it changed without setting it."""
    with pytest.raises(SpecError, match="classes must be a list of distinct strings") as caught:
        told(snap(tmp_path, models__kws=HEAD + "my_model.classes = ['a']\nmy_model.classes.append('a')"))
    assert "models/kws.py:3" == caught.value.where


def test_user_code_keeps_an_error_that_is_one_already(tmp_path: Path) -> None:
    """An error of the house passes with its kind; where it named a library's file, it names the user's line."""
    snapshot = snap(tmp_path, models__kws="")
    with pytest.raises(DataError) as caught, user_code(snapshot, "the loader", StageError):
        raise DataError("it is bad", where=f"{tmp_path}/models/kws.py:3")
    assert "models/kws.py:3" == caught.value.where
    with pytest.raises(DataError) as caught, user_code(snapshot, "the loader", StageError):
        raise DataError("it is bad", where="train:kws")
    assert "train:kws" == caught.value.where


def test_user_code_turns_anything_into_the_wanted_kind(tmp_path: Path) -> None:
    """Exceptions that are no Exceptions are the user's, too."""
    snapshot = snap(tmp_path, models__kws="")
    for error in (KeyboardInterrupt(), SystemExit(1), GeneratorExit(), ValueError("x"), MemoryError()):
        with pytest.raises(StageError, match=type(error).__name__) as caught, user_code(snapshot, "it", StageError):
            raise error
        assert "models/kws.py" == caught.value.where


@given(st.lists(st.sampled_from(["a", "b", "__init__"]), min_size=1, max_size=4))
def test_label_belongs_to_files_of_the_snapshot_alone(parts: list[str]) -> None:
    """A path has a label exactly if the snapshot holds it."""
    path = "/".join(parts) + ".py"
    snapshot = Snapshot("/w", "kws.py", ("",), {path: "text"})
    assert (path, "text") == (snapshot.label(f"/w/{path}"), snapshot.source(f"/w/{path}"))
    assert (None, "") == (snapshot.label(f"/w/x{path}"), snapshot.source(f"/w2/{path}"))
    assert snapshot.label(path) is None


def test_libraries_loaded_before_any_spec_are_kept() -> None:
    """What a worker itself runs on is never hidden or loaded twice."""
    assert {"mltkbuild", "os", "sys", "random"} <= loader._KEPT


def test_no_late_import_finds_a_file_of_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a spec is loaded in a notebook, Python's own modules are found where Python is, whatever the path says."""
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    for folder in (tmp_path, tmp_path / "models"):
        folder.mkdir(exist_ok=True)
        (folder / "colorsys.py").write_text("raise SystemExit('mine')\n", encoding="utf-8")
    before = list(sys.path)
    text = "import colorsys\nmy_model.description = str(colorsys.rgb_to_hsv(0, 0, 0))\n"
    assert "(0.0, 0.0, 0)" == told(snap(tmp_path, models__kws=HEAD + text))
    assert before == sys.path
