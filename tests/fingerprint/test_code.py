"""Digests of code by meaning, and the imports that lead from file to file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild import fingerprint
from mltkbuild.fingerprint.code import code_digest, imports, normalised, workspace_closure

MODULE = '''
"""A module."""
import os

@decorate("a")
class C(Base, metaclass=M):
    """A class."""

    size: int = 3

    def f(self, x, /, y=1.5, *args, z: "int" = 2, **kw):
        """A method."""
        return f"{x!r:>{y}} {self.size=}" + 'text' if x else [*args, *kw]


async def g(n):
    """A coroutine."""
    async with n as m:
        yield await m[1:, ...]
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os", "# a comment\n\nimport os  # another"),
        ('"""A module."""', ""),
        ('"""A module."""', "'''Another.'''"),
        ('    """A class."""\n', ""),
        ('"""A method."""', "'A method, described.'"),
        ('"""A coroutine."""', '"""A\n    longer one."""'),
        ("'text'", '"""text"""'),
        ("'text'", "u'text'"),
        ("1.5", "15e-1"),
        ("= 3", "= 0x3"),
        ("(Base, metaclass=M)", "(\n    Base,\n    metaclass=M,\n)"),
        ("return f", "return (f"),
    ],
)
def test_layout_and_docstrings_do_not_count(old: str, new: str) -> None:
    """Comments, blank lines, docstrings, quotes, parentheses and the spelling of numbers leave the digest alone."""
    edited = MODULE.replace(old, new)
    if new.count("(") > new.count(")"):
        edited = edited.replace("*kw]", "*kw])")
    assert edited != MODULE

    assert code_digest(MODULE) == code_digest(edited)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os", "import sys"),
        ('"a"', "b'a'"),
        ("size: int = 3", "size: int = 3.0"),
        ("size: int = 3", "size = 3"),
        ("= 3", "= True"),
        ("x, /, y", "x, y"),
        ("*args, z", "*, z"),
        ("!r:>", "!s:>"),
        ("{self.size=}", "{self.size}"),
        ("[*args, *kw]", "[*args, kw]"),
        ("[*args, *kw]", "{*args, *kw}"),
        ("[1:, ...]", "[:1, ...]"),
        ("yield await m", "yield m"),
        ("async def", "def"),
        ("Base, ", ""),
        ("'text'", "'text '"),
        ('"""A method."""', 'x = """A method."""'),
    ],
)
def test_a_change_of_meaning_counts(old: str, new: str) -> None:
    """Any change of what the code does changes the digest."""
    edited = MODULE.replace(old, new).replace("async with", "with" if new == "def" else "async with")
    edited = edited.replace("await", "") if new == "def" else edited
    assert edited != MODULE

    assert code_digest(MODULE) != code_digest(edited)


@pytest.mark.parametrize("use", ["print(__doc__)", "print(f.__doc__)", "print(getattr(f, '__doc__'))"])
def test_docstrings_count_where_they_are_read(use: str) -> None:
    """A module that mentions `__doc__` is digested with its docstrings; a comment that does isn't."""
    one, other = (f"def f():\n    '''{text}'''\n" for text in "ab")

    assert code_digest(one + use) != code_digest(other + use)
    assert code_digest(one + "# __doc__") == code_digest(other)


def test_an_empty_keyword_in_a_dict_is_not_a_missing_one() -> None:
    """`None` inside a list of nodes has its place: `{**a, b: c}` isn't `{b: a, **c}`."""
    assert code_digest("{**a, b: c}") != code_digest("{b: a, **c}")


def test_the_cuts_of_an_f_string_do_not_count() -> None:
    """Texts side by side in an f-string are one text: Python's versions cut them in different places."""
    cut = ast.JoinedStr([ast.Constant("a"), ast.Constant("b"), ast.FormattedValue(ast.Name("x"), -1)])
    whole = ast.JoinedStr([ast.Constant("ab"), ast.FormattedValue(ast.Name("x"), -1)])

    assert normalised(whole) == normalised(cut)


def test_a_long_sum_is_no_deep_recursion() -> None:
    """A tree that's deeper than Python's stack is digested all the same."""
    tree: ast.expr = ast.Constant(1)
    for _ in range(5000):
        tree = ast.BinOp(tree, ast.Add(), ast.Constant(1))

    assert normalised(tree) != normalised(ast.BinOp(tree, ast.Add(), ast.Constant(1)))


def test_a_digest_stays_the_same_from_version_to_version() -> None:
    """Records on disk compare with digests from other Python versions, so the encoding can't drift."""
    expected = "c79645424bbe58b0242cfbfacf7981b528e310152f1b2ae2ac86c94ef6da7e87"

    assert expected == code_digest("def f(x: int, *, y=1.5) -> str:\n    '''Doc.'''\n    return f'{x!r} {y:.2f}'\n")


def test_a_syntax_error_is_raised() -> None:
    """A module that can't be parsed has no digest."""
    with pytest.raises(SyntaxError):
        code_digest("def f(:\n")


def test_old_escapes_do_not_warn() -> None:
    """Digesting code with a doubtful escape is silent; running it is what warns."""
    digests = {code_digest("x = '\\d'"), code_digest("x = '\\\\d'")}

    assert len(digests) == 1


@given(st.recursive(st.sampled_from(["x", "1", "1.0", "'1'", "None", "f(x)"]), lambda s: st.tuples(s, s)))
def test_equal_digests_mean_equal_trees(tree: object) -> None:
    """Laws: a layout of one's own changes nothing, and another shape or constant does."""

    def write(part: object, gap: str) -> str:
        if isinstance(part, tuple):
            return f"[{gap}{write(part[0], gap)},{gap}{write(part[1], gap)}]"
        return str(part)

    tight, wide = write(tree, ""), write(tree, " \n ")

    assert code_digest(tight) == code_digest(f"# {tight!r}\n({wide})")
    assert code_digest(tight) != code_digest(f"[{tight}]")
    assert code_digest(tight) != code_digest(tight + "\n" + tight)


def test_imports_are_found_everywhere() -> None:
    """Statements inside functions, and all that a `from` import might load, are named."""
    source = """
import a.b, c as d
from e import f, g as h
from i.j import *
def k():
    import l
    try:
        from m import n
    except ImportError:
        import importlib
        importlib.import_module("o.p")
        importlib.import_module(name)
        __import__("q")
"""
    expected = {"a.b", "c", "e", "e.f", "e.g", "i.j", "l", "m", "m.n", "importlib", "o.p", "q"}

    assert expected == imports(source)


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("from . import x", "p.q", {"p.q", "p.q.x"}),
        ("from .m import x", "p.q", {"p.q.m", "p.q.m.x"}),
        ("from .. import x", "p.q", {"p", "p.x"}),
        ("from ..m import x", "p.q", {"p.m", "p.m.x"}),
        ("from .m import x", "", {"m", "m.x"}),
        ("from . import x", "", {"x"}),
    ],
)
def test_relative_imports_start_from_the_package(source: str, package: str, expected: set[str]) -> None:
    """Each dot beyond the first goes up one package."""
    assert expected == imports(source, package)


class Workspace(dict[str, str]):
    """Files in memory, found as a search of the workspace's root would find them."""

    def find(self, name: str) -> str | None:
        """Find the file of a module."""
        path = name.replace(".", "/")
        return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in self), None)

    def closure(self, start: str) -> tuple[tuple[str, ...], frozenset[str]]:
        """Follow the imports from one file."""
        return workspace_closure(start, self.find, self.__getitem__)


def test_the_closure_follows_imports_through_the_workspace() -> None:
    """Files are reached through each other, packages on the way included, and libraries are named once."""
    workspace = Workspace(
        {
            "kws.py": "import numpy as np, parts\nfrom pkg.sub import mod\n",
            "parts.py": "import kws\nimport numpy.random\n",
            "pkg/__init__.py": "from . import base\n",
            "pkg/base.py": "import scipy.signal\n",
            "pkg/sub/__init__.py": "",
            "pkg/sub/mod.py": "from ..other import x\nfrom ... import beyond\n",
            "pkg/other.py": "",
            "unused.py": "import torch\n",
        }
    )
    files = "kws.py", "parts.py", "pkg/__init__.py", "pkg/base.py", "pkg/other.py", "pkg/sub/__init__.py"

    assert ((*files, "pkg/sub/mod.py"), frozenset({"numpy", "scipy", "beyond"})) == workspace.closure("kws.py")


def test_a_folder_without_init_leads_to_its_modules() -> None:
    """A bare folder is a package of the workspace; what isn't in it comes from elsewhere."""
    workspace = Workspace({"kws.py": "from lib import a\nimport lib.b\nimport google.mine, google.other\n"})
    workspace |= {"lib/a.py": "", "lib/b.py": "", "google/mine.py": ""}

    assert (("google/mine.py", "kws.py", "lib/a.py", "lib/b.py"), frozenset({"google"})) == workspace.closure("kws.py")


def test_a_broken_file_is_reached_but_leads_nowhere() -> None:
    """A syntax error in a helper is for the stage that runs it; one in the start is raised."""
    workspace = Workspace({"kws.py": "import parts\n", "parts.py": "import (\n"})

    assert (("kws.py", "parts.py"), frozenset()) == workspace.closure("kws.py")
    with pytest.raises(SyntaxError):
        workspace.closure("parts.py")


def test_nothing_heavy_is_imported() -> None:
    """Digests of values and code load neither NumPy and TensorFlow nor Python's slow modules."""
    heavy = "{'numpy', 'tensorflow', 'keras', 'inspect', 'importlib.metadata', 'asyncio', 'email'}"
    program = f"import sys, mltkbuild.fingerprint.values, mltkbuild.fingerprint.code; print({heavy} & set(sys.modules))"
    # Without the package root, which imports what specs use.
    package = (
        "import sys, types; sys.modules['mltkbuild'] = p = types.ModuleType('mltkbuild'); p.__path__ = sys.argv[1:]; "
    )
    folder = str(Path(fingerprint.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", package + program, folder], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
