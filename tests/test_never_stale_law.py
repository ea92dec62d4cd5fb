"""The law of the incremental build, over specs and edits by chance: what it gives is what a fresh build gives.

    python -m pytest tests/test_never_stale_law.py --hypothesis-seed=N

A spec's loader adds up what some sources give: constants, files, variables, the order of something, state that was put
into a library. An edit changes one of them, or nothing that can be seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Template

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltkbuild.engine.builder import Builder
from mltkbuild.workers.executor import Processes

from .conftest import TINY_SPEC, Files

HEAD = """\
import collections, contextlib, dataclasses, decimal, enum, functools, importlib.resources, inspect, json, os, pathlib
import types

import keras
import numpy as np
"""
PARTS = (
    HEAD
    + '''

class Base:
    """What plugins inherit."""


def pick(**options):
    """The first option by its place."""
    return next(iter(options.values()))


def tf_read(path):
    """A number in a file that TensorFlow opens."""
    import tensorflow as tf

    return tf.strings.to_number(tf.io.read_file(path))
'''
)


@dataclass(frozen=True)
class Source:
    """One thing that a loader's samples depend on, as templates.

    `$n` is its name, `$v` its number: 1.0, after the edit 2.0. `$a` and `$b`, with their numbers `$x` and `$y`, are two
    things that change places. `$u` is a variable of the environment that has the number.

    Args:
        value: The expression in the loader that gives its number.
        code: What the helper module says.
        file: What is in its file `$n.txt`; none for no such file.
        later: A file that is there after the edit only.
    """

    value: str
    code: str = ""
    file: str = ""
    later: str = ""

    def filled(self, name: str, edited: bool) -> Source:
        """The texts of a source in one of its two states."""
        first, second = ("a", "1.0"), ("b", "2.0")
        if edited:
            first, second = second, first
        words = {"n": name, "v": "2.0" if edited else "1.0", "u": name.upper()}
        words |= {"a": first[0], "x": first[1], "b": second[0], "y": second[1]}
        value, code, file, later = (
            Template(text).substitute(words) for text in (self.value, self.code, self.file, self.later)
        )
        return Source(value, code, file, later if edited else "")


SOURCES = {
    # Code.
    "global": Source("parts.$n", "$n = $v"),
    "default": Source("parts.$n()", "def $n(x=$v):\n    return x"),
    "keyword default": Source("parts.$n()", "def $n(*, x=$v):\n    return x"),
    "body": Source("parts.$n()", "def $n():\n    return $v"),
    "closure": Source("parts.$n()", "def make_$n(x):\n    return lambda: x\n\n$n = make_$n($v)"),
    "partial": Source("parts.$n(0.0)", "$n = functools.partial(max, $v)"),
    "class attribute": Source("parts.$n.x", "class $n:\n    x = $v"),
    "inherited": Source("parts.$n().x", "class Up_$n:\n    x = $v\n\nclass $n(Up_$n):\n    pass"),
    "instance attribute": Source("parts.$n.x", "$n = types.SimpleNamespace(x=$v)"),
    "property": Source("parts.$n().x", "class $n:\n    @property\n    def x(self):\n        return $v"),
    "dataclass": Source("parts.$n().x", "@dataclasses.dataclass\nclass $n:\n    x: float = $v"),
    "named tuple": Source("parts.$n().x", "$n = collections.namedtuple('$n', 'x', defaults=[$v])"),
    "enum": Source("parts.$n.X.value", "class $n(enum.Enum):\n    X = $v"),
    "decorator": Source(
        "parts.$n()", "def by_$n(f):\n    return lambda: f() * $v\n\n@by_$n\ndef $n():\n    return 1.0"
    ),
    "remembered": Source("parts.$n()", "@functools.cache\ndef $n():\n    return $v"),
    "array": Source("float(parts.$n[0])", "$n = np.array([$v, 3.0])"),
    "by attribute name": Source("getattr(parts, '$n')", "$n = $v"),
    "by computed name": Source("getattr(parts, '-$n'.strip('-'))", "$n = $v"),
    "from exec": Source("parts.$n", "exec('$n = $v')"),
    "method put in": Source("parts.$n().x()", "class $n:\n    pass\n\n$n.x = lambda self: $v"),
    # Order.
    "order of a dict": Source("float(list(parts.$n.values())[0])", "$n = {'$a': $x, '$b': $y}"),
    "order of a default": Source("parts.$n()", "def $n(x={'$a': $x, '$b': $y}):\n    return next(iter(x.values()))"),
    "order of keywords": Source("parts.$n()", "$n = functools.partial(pick, $a=$x, $b=$y)"),
    "order of attributes": Source("list(vars(parts.$n).values())[0]", "$n = types.SimpleNamespace($a=$x, $b=$y)"),
    # Code that is looked at.
    "docstring": Source("float(parts.$n.__doc__)", 'def $n():\n    """$v"""'),
    "comment": Source("float(inspect.getsource(parts.$n).split('#')[1])", "def $n():\n    return 0  # $v"),
    "subclasses": Source(
        "sum(kind.x for kind in parts.Base.__subclasses__() if kind.__name__ == '$n')", "class $n(Base):\n    x = $v"
    ),
    "annotations": Source("float(parts.$n.__annotations__['x'])", "def $n(x: '$v'):\n    return x"),
    "given name": Source("float(parts.$n.__name__)", "def $n():\n    pass\n\n$n.__name__ = '$v'"),
    # Files.
    "file": Source("float(open('$n.txt').read())", file="$v"),
    "file by pathlib": Source("float(pathlib.Path('$n.txt').read_text())", file="$v"),
    "file by NumPy": Source("float(np.loadtxt('$n.txt'))", file="$v"),
    "file by JSON": Source("json.load(open('$n.txt'))['x']", file='{"x":$v}'),
    "file to be changed": Source("float(open('$n.txt', 'r+').read())", file="$v"),
    "file by a helper": Source("parts.$n()", "def $n():\n    return float(open('$n.txt').read())", file="$v"),
    "file at the import": Source("parts.$n", "$n = float(open('$n.txt').read())", file="$v"),
    "file by TensorFlow": Source("float(parts.tf_read('$n.txt'))", file="$v"),
    "file of a package": Source(
        "float(importlib.resources.files('pack').joinpath('$n.txt').read_text())", file="models/pack $v"
    ),
    "size of a file": Source("float(os.path.getsize('$n.txt'))", later="$n.txt", file="1.00"),
    "file that appears": Source("float(os.path.exists('$n.new'))", later="$n.new"),
    "name in a folder": Source("float(len(os.listdir('.')))", later="$n.new"),
    "pattern": Source("float(len(list(pathlib.Path('.').glob('$n*.new'))))", later="$n.new"),
    "folder that appears": Source("float(os.path.isdir('$n'))", later="$n/x"),
    "file that fails": Source(
        "parts.$n()",
        "def $n():\n    with contextlib.suppress(OSError):\n"
        "        return float(len(open('$n.new').read()))\n    return 0.0",
        later="$n.new",
    ),
    # The process.
    "variable": Source("float(os.environ['$u'])"),
    "variable by getenv": Source("float(os.getenv('$u', '0'))"),
    "variable by a helper": Source("parts.$n()", "def $n():\n    return float(os.environ.get('$u', '0'))"),
    "variable at the import": Source("parts.$n", "$n = float(os.environ['$u'])"),
    "variable in a path": Source("float(os.path.expandvars('$$$u'))"),
    "variable that the spec sets": Source("float(os.environ['SET_$n'])", "os.environ['SET_$n'] = '$v'"),
    "attribute of a library": Source("np.$n", "np.$n = $v"),
    "setting of a library": Source("float(decimal.Decimal(2) / 3)", "decimal.getcontext().prec = int($v)"),
    "builtin": Source("$n", "import builtins\n\nbuiltins.$n = $v"),
    "setting of Keras": Source("keras.config.epsilon()", "keras.config.set_epsilon($v / 1000)"),
}


def touch(files: Files) -> None:
    """Give every file of the workspace a new time."""
    for path in files.root.rglob("*"):
        if "build" not in path.parts:
            os.utime(path)


NEUTRAL: dict[str, Callable[[Files], object]] = {
    "comment": lambda files: files.edit("models/parts.py", "class Base", "# Plugins.\nclass Base"),
    "blank line": lambda files: files.edit("models/kws.py", "def load", "\n\ndef load"),
    "touch": touch,
}
"""Edits that nothing can see but code that looks at code."""
LOOKS_AT_CODE = {"docstring", "comment", "subclasses", "annotations", "given name", "by computed name", "from exec"}


def write(files: Files, kinds: Sequence[str], edited: str, environment: pytest.MonkeyPatch) -> None:
    """Write a workspace with some sources, one of them edited."""
    made = {f"s{number}": SOURCES[kind].filled(f"s{number}", kind == edited) for number, kind in enumerate(kinds)}
    total = " + ".join(source.value for source in made.values())
    samples = 'np.arange(32, dtype="float32").reshape(8, 4)'
    spec = TINY_SPEC.replace("ACTION", f"total = {total}").replace(samples, f"{samples} * total")
    assert "* total" in spec
    files.write("models/kws.py", f"{HEAD}import parts\n\n{spec}")
    files.write("models/parts.py", "\n\n".join((PARTS, *(source.code for source in made.values()))) + "\n")
    for name, source in made.items():
        folder, _, text = source.file.rpartition(" ")
        if text:
            files.write(os.path.join(folder, f"{name}.txt"), text)
        if folder:
            files.write(f"{folder}/__init__.py", "")
        if source.later:
            files.write(source.later, "2.0 2.0")
        environment.setenv(name.upper(), "2.0" if kinds[int(name[1:])] == edited else "1.0")


def result(files: Files, executor: Processes) -> tuple[bytes, bool]:
    """Build the data stage; give what it made of the samples, and whether it ran."""
    builder = Builder(files.workspace, executor)
    built = builder.build("kws", "data")
    builder.memo.save()
    return (files.root / "build/kws/data/training.json").read_bytes(), bool(built.reasons)


def _judge(files: Files, kinds: Sequence[str], edited: str, executor: Processes) -> None:
    with pytest.MonkeyPatch.context() as environment:
        write(files, kinds, "", environment)
        before, _ = result(files, executor)
        if edited in NEUTRAL:
            NEUTRAL[edited](files)
        else:
            write(files, kinds, edited, environment)
        after, ran = result(files, executor)
        again, once_more = result(files, executor)
        shutil.rmtree(files.root / "build")
        fresh, _ = result(files, executor)
    assert fresh == after
    assert (after, False) == (again, once_more)
    if edited in NEUTRAL:
        assert before == after
        assert not ran or LOOKS_AT_CODE.intersection(kinds)
    else:
        assert before != after


@pytest.mark.real
@pytest.mark.parametrize("kind", SOURCES)
def test_edit_of_each_source_is_seen(kind: str, workspace: Files, executor: Processes) -> None:
    """Each source alone: its edit changes the samples, and the incremental build has the new ones."""
    _judge(workspace, [kind], kind, executor)


@pytest.mark.real
@settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_incremental_build_gives_what_a_fresh_one_gives(
    data: st.DataObject, executor: Processes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Several sources and an edit by chance: the bytes of a build from nothing, and then nothing to do."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(SOURCES)), min_size=2, max_size=4, unique=True))
    edited = data.draw(st.sampled_from([*kinds, *NEUTRAL]))
    root = tmp_path_factory.mktemp("law")
    files = Files(root)
    files.write("dodo.py", "")
    _judge(files, kinds, edited, executor)
