"""What a spec changes in its process is seen; what libraries fill in as they work is not; settings are given back."""

from __future__ import annotations

import decimal
import locale
import os
import sys
import types
import warnings
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest

from mltkbuild.user_code import process_state
from mltkbuild.user_code.picture import Picture

LIBRARY = """
import colorsys
SCALE = 1
NOTHING = None
_cache = None
_done = False
_count = 0
_clock = 1e-7
_mode = 'a'
TABLE = {"a": 1}
CACHE = {}
FACTORS = [1]
lazy = object()
class Thing:
    limit = 1
    def method(self): pass
class Lazy(type):
    def __getattr__(cls, name): return 3
class Later(metaclass=Lazy): pass
def function(): pass
def other(): pass
"""


class Ours:
    """What comes from the workspace, as far as a test says."""


def is_ours(value: object) -> bool:
    """Tell what comes from the workspace."""
    return isinstance(value, Ours) or getattr(value, "__name__", "") == "<lambda>"


@pytest.fixture
def library() -> Iterator[types.ModuleType]:
    """A library that was loaded before a spec."""
    module = types.ModuleType("borrowed")
    module.__file__ = os.path.join(sys.prefix, "lib/borrowed.py")
    exec(compile(LIBRARY, module.__file__, "exec"), vars(module))  # a library, as far as its file's name says
    sys.modules["borrowed"] = module
    yield module
    del sys.modules["borrowed"]


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("b.SCALE = 2", "borrowed.SCALE"),
        ("b.NEW = 'text'", "borrowed.NEW"),
        ("b.NOTHING = 3", "borrowed.NOTHING"),
        ("b._mode = 'b'", "borrowed._mode"),
        ("del b.SCALE", "borrowed.SCALE"),
        ("b.function = lambda: 3", "borrowed.function"),
        ("b.function = b.other", "borrowed.function"),
        ("b._cache = Ours()", "borrowed._cache"),
        ("b.Thing.limit = 2", "borrowed.Thing.limit"),
        ("b.Thing.method = lambda self: 3", "borrowed.Thing.method"),
        ("b.Thing.__call__ = lambda self: 3", "borrowed.Thing.__call__"),
        ("b.TABLE['a'] = 2", "borrowed.TABLE"),
        ("b.FACTORS.append(Ours())", "borrowed.FACTORS"),
        ("b.CACHE['x'] = lambda: 3", "borrowed.CACHE"),
    ],
)
def test_change_is_seen_once(code: str, place: str, library: types.ModuleType) -> None:
    """Whoever made it and however; afterwards it is what the library holds."""
    picture = Picture()
    picture.look("")
    exec(code, {"b": library, "Ours": Ours})  # what a spec would do
    assert [place] == [change.place for change in picture.look("", is_ours)]
    assert [] == picture.look("", is_ours)


@pytest.mark.parametrize(
    "code",
    [
        "b._cache = {'a': 3}",
        "b._done = True",
        "b._count += 1",
        "b._clock += 1.5",
        "b.SCALE = 2 - 1",
        "b.CACHE['x'] = 3",
        "b.lazy = b.Thing",
        "b.later = b.Thing()",
        "b.Later.ON = 1",
        "b.Thing.__annotations__ = {}",
        "import xml.dom.minidom",
    ],
)
def test_library_that_works_changes_nothing(code: str, library: types.ModuleType) -> None:
    """Caches fill, counters count, lazy names come, further modules are loaded."""
    picture = Picture()
    picture.look("")
    exec(code, {"b": library})  # what a library would do
    assert [] == picture.look("", is_ours)


def test_settings_are_given_back() -> None:
    """What a spec sets for the whole process is as before after its stage, so nothing of it lasts."""
    process_state.learn()
    figure, context = mpl.rcParams["figure.dpi"], decimal.getcontext().prec
    before = process_state.remember()
    filters, argv = list(warnings.filters), list(sys.argv)
    mpl.rcParams["figure.dpi"] = 7
    decimal.setcontext(decimal.Context(prec=7))
    np.seterr(all="ignore")
    np.set_printoptions(precision=1)
    warnings.simplefilter("ignore")
    sys.argv[:] = ["other"]
    sys.argv = ["another"]
    sys.setrecursionlimit(3000)
    locale.setlocale(locale.LC_ALL, "C")
    assert "" == process_state.give_back(before, is_ours, "")
    assert (figure, context) == (mpl.rcParams["figure.dpi"], decimal.getcontext().prec)
    assert (filters, argv) == (list(warnings.filters), sys.argv)
    assert before.settings["numpy.geterr()"] == np.geterr()
    assert before.settings["numpy.get_printoptions()"] == np.get_printoptions()


def test_what_can_not_be_given_back_is_named(library: types.ModuleType) -> None:
    """A library's number stays what it was set to: the process is no longer a fresh one."""
    process_state.learn()
    before = process_state.remember()
    vars(library)["SCALE"] = 3
    assert "borrowed.SCALE" == process_state.give_back(before, is_ours, "")
    assert "" == process_state.give_back(process_state.remember(), is_ours, "")
