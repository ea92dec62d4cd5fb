"""What a spec sets in libraries and in the process changes the rows of all stages that run its code."""

from __future__ import annotations

import builtins
import decimal
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.stages.outside import outside
from mltkbuild.stages.slices import INEXACT
from mltkbuild.user_code import process_state, variables
from mltkbuild.user_code.loader import Snapshot, loaded_spec

SPEC = "import os, sys, borrowed\nfrom mltkbuild import MltkModel\nVALUE = 1\n{}\nmy_model = MltkModel()\n"
LIBRARY = """
__version__ = "1"
SCALE = 1
TABLE = {"a": 1}
FACTORS = []
_cache = None
class Thing:
    limit = 1
    def method(self): pass
def function(): pass
def option(value):
    global _option
    _option = value
_option = 0
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for specs, and a library that they can change; the settings of the process are given back."""
    monkeypatch.setattr(sys, "argv", ["x"])
    yield tmp_path
    sys.modules.pop("borrowed", None)


def rows(root: Path, code: str, *, asked: bool = False, **files: str) -> dict[str, object]:
    """The rows of a spec, run with a library that nobody has changed."""
    library = types.ModuleType("borrowed")
    library.__file__ = os.path.join(sys.prefix, "lib/borrowed.py")
    exec(compile(LIBRARY, library.__file__, "exec"), vars(library))  # a library, as far as its file's name says
    sys.modules["borrowed"] = library
    texts = {f"models/{name}.py": text for name, text in files.items()}
    snapshot = Snapshot(str(root), "models/kws.py", ("models", ""), {**texts, "models/kws.py": SPEC.format(code)})
    process_state.learn(str(root))
    before = process_state.remember()
    try:
        with variables.watch(str(root)), loaded_spec(snapshot, "kws", "", False):
            return outside(snapshot, asked=asked)
    finally:
        process_state.give_back(before, lambda _: False, str(root))
        vars(builtins).pop("NAME_OF_TEST", None)


CHANGES = [
    "os.environ['SCALE'] = '1'",
    "os.environ.update(SCALE='1')",
    "os.environ['SCALE'] = str(VALUE)",
    "sys.argv[:] = ['1']",
    "borrowed.SCALE = 1.5",
    "borrowed.NEW = 1.5",
    "borrowed.SCALE = VALUE + 1",
    "borrowed.SCALE += 1",
    "borrowed.Thing.limit = 1.5",
    "borrowed.Thing.method.flag = 1",
    "borrowed.TABLE['a'] = 1.5",
    "borrowed.FACTORS.append(1)",
    "borrowed.option(1)",
    "def helper():\n    return 1\nborrowed.function = helper",
    "def helper():\n    return 1\nborrowed.SCALE = helper() + 1",
    "def helper():\n    borrowed.SCALE = 1\n",
    "def put(where, value):\n    where.SCALE = value\nput(borrowed, 1.5)",
    "def put(where, value):\n    where['a'] = value\nput(borrowed.TABLE, 1.5)",
    "for name, value in {'SCALE': 1.5}.items():\n    setattr(borrowed, name, value)",
    "import builtins\nbuiltins.NAME_OF_TEST = 1\n",
    "from unittest import mock\nmock.patch.object(borrowed, 'SCALE', 1.5).start()",
    "borrowed.Thing.method.__defaults__ = (1,)",
    "import functools\nfunctools.partial(setattr, borrowed, 'SCALE', 1.5)()",
    "class Mine:\n    pass\nMine.value = 1\nborrowed.box = Mine",
    "def method(self):\n    return 1\nborrowed.Thing.method = method",
    "thing = borrowed.Thing()\ntype(thing).limit = 1.5",
    "thing = borrowed.Thing()\nthing.__class__.new = 1.5",
    "[setattr(borrowed, name, value) for name, value in {'SCALE': 1.5}.items()]",
    "def go():\n    borrowed.SCALE = 1.5\nimport threading\none = threading.Thread(target=go)\none.start()\none.join()",
    "import importlib\nlib = importlib.import_module('borrowed')\nlib.SCALE = 1.5",
    "def put(value, lib=borrowed):\n    lib.SCALE = value\nput(1.5)",
    "import decimal\ndecimal.getcontext().prec = 10 + 1",
    "import numpy as np\nnp.set_printoptions(precision=1)",
]


@pytest.mark.parametrize("code", CHANGES)
def test_another_value_changes_the_rows(code: str, workspace: Path) -> None:
    """What is set to another value is told, and told exactly; other code of the spec isn't told."""
    precision = decimal.getcontext().prec, np.get_printoptions()["precision"]
    first = rows(workspace, code)
    assert {} != first
    assert first == rows(workspace, code + "\nOTHER = 3\ndef unused():\n    return 4\n")
    assert [] == [label for label in first if label.startswith(INEXACT)]
    edited = code.replace("1", "2").replace("VALUE", "(VALUE + 3)")
    assert first != rows(workspace, edited)
    assert precision == (decimal.getcontext().prec, np.get_printoptions()["precision"])


@pytest.mark.parametrize(
    "code",
    ["print(borrowed.SCALE)", "x = borrowed.Thing()\nx.limit = 3", "table = dict(borrowed.TABLE)\ntable['a'] = 4"],
)
def test_what_changes_nothing_outside_has_no_rows(code: str, workspace: Path) -> None:
    """Looking at a library, or changing an object of one's own, is nobody else's."""
    assert {} == rows(workspace, code)


def test_value_of_a_workspace_module_counts(workspace: Path) -> None:
    """What is set to a value of another module changes with it, and with no other line of that module."""
    code = "import parts\nborrowed.SCALE = parts.FACTOR"
    first = rows(workspace, code, parts="FACTOR = 3\nOTHER = 4\n")
    assert first == rows(workspace, code, parts="FACTOR = 3\nOTHER = 5\n")
    assert first != rows(workspace, code, parts="FACTOR = 5\nOTHER = 4\n")


def test_module_that_a_function_imports_later_counts(workspace: Path) -> None:
    """It may change a library in one stage and not in another."""
    code = "def load():\n    import parts"
    first = rows(workspace, code, parts="import borrowed\nborrowed.SCALE = 3\n")
    assert first != rows(workspace, code, parts="import borrowed\nborrowed.SCALE = 4\n")


@pytest.mark.parametrize(
    "code",
    [
        "borrowed.SCALE = float(open(__file__ + 'x').read()) if False else 3",
        "borrowed.option(int(os.environ.get('SCALE_OF_TEST', 3)))",
        "borrowed.option(open)",
    ],
)
def test_value_that_may_come_from_a_file_counts_by_the_whole_spec(code: str, workspace: Path) -> None:
    """Only where the spec has read something at all; else its text says all."""
    assert [] == [label for label in rows(workspace, code) if label.startswith(INEXACT)]
    assert [] != [label for label in rows(workspace, code, asked=True) if label.startswith(INEXACT)]


def test_name_that_is_set_again_counts_by_the_whole_spec(workspace: Path) -> None:
    """Its value at the end of the import isn't the one that was used."""
    code = "SCALE = 3\nborrowed.option(SCALE)\nSCALE = 4\n"
    assert ["inexact models/kws.py: borrowed.option"] == [
        label for label in rows(workspace, code) if label.startswith(INEXACT)
    ]


@pytest.mark.parametrize(
    "code",
    [
        "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'",
        "import warnings\nwarnings.filterwarnings('ignore')",
        "import logging\nlogging.getLogger('x').setLevel('ERROR')",
        "sys.path.append('lib')",
    ],
)
def test_usual_lines_are_exact_whatever_else_was_read(code: str, workspace: Path) -> None:
    """An edit elsewhere leaves what they say, even in a spec that reads files."""
    first = rows(workspace, code, asked=True)
    assert first == rows(workspace, code + "\nOTHER = 3\n", asked=True)
    assert [] == [label for label in first if label.startswith(INEXACT)]


def test_variable_that_is_set_is_told_by_digest(workspace: Path) -> None:
    """It may be a secret, even where it comes from elsewhere."""
    found = rows(workspace, "os.environ['TOKEN_OF_TEST'] = 's3' + 'cret'")
    assert ["outside os.environ['TOKEN_OF_TEST']"] == list(found)
    assert "s3cret" not in str(found)


def test_what_a_library_sets_as_it_is_loaded_is_its_own(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no row, for a warm process loads it no more; but the process isn't what it was."""
    library = workspace / "venv/lib/sets_things.py"
    library.parent.mkdir(parents=True)
    library.write_text("import decimal, borrowed\ndecimal.getcontext().prec = 7\nborrowed.SCALE = 8\n")
    monkeypatch.setattr(sys, "exec_prefix", str(workspace / "venv"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(library.parent)])
    code = "import decimal\nSCALE = prec = 3\nimport sets_things\n"
    told: list[str] = []
    monkeypatch.setattr(process_state, "give_back", lambda *given: told.append(given_back(*given)))
    assert {} == rows(workspace, code)
    assert ["the decimal context"] == told
    del sys.modules["sets_things"]
    first = rows(workspace, code + "decimal.getcontext().prec = 9\nborrowed.SCALE = 9")
    assert {"outside borrowed.SCALE": 9}.items() <= first.items()


given_back = process_state.give_back
