"""What the functions that a stage calls reach in workspace code."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.fingerprint import libraries
from mltkbuild.fingerprint.reach import reach
from mltkbuild.user_code.watch import watch


class FolderSources:
    """Workspace code is what lies under one folder."""

    def __init__(self, root: Path, skipped: object = None) -> None:
        self.root = str(root)
        self.skipped = skipped

    def label(self, filename: str) -> str | None:
        """Give the path inside the folder."""
        inside = filename.startswith(self.root + "/")
        return filename.removeprefix(self.root + "/") if inside else None

    def source(self, filename: str) -> str:
        """Read the file, which no test changes after it ran."""
        return Path(filename).read_text()

    def skip(self, obj: object) -> bool:
        """Skip one object, if there is one to skip."""
        return self.skipped is not None and obj is self.skipped


Rows = dict[str, object]
Reach = Callable[..., Rows]


@pytest.fixture
def reached(tmp_path: Path) -> Iterator[Reach]:
    """Write modules into a fresh folder, import `spec`, and reach the value that it calls `root`."""
    count = 0
    path, loaded, writes = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True

    def forget() -> None:
        for name in set(sys.modules) - loaded:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]

    def run(
        spec: str, skip: str = "", roots: Mapping[str, str] = types.MappingProxyType({"it": "root"}), **files: str
    ) -> Rows:
        nonlocal count
        count += 1
        root = tmp_path / f"workspace{count}"
        for name, text in {"spec": spec, **files}.items():
            file = root / (name.replace("__in__", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        forget()
        sys.path[:] = [str(root), *path]
        importlib.invalidate_caches()
        module = importlib.import_module("spec")
        sources = FolderSources(root, getattr(module, skip) if skip else None)
        return reach({label: getattr(module, name) for label, name in roots.items()}, sources)

    yield run
    forget()
    sys.path[:] = path
    sys.dont_write_bytecode = writes


def differ(one: Rows, other: Rows) -> bool:
    """Tell rows apart as the files do that hold them, which are sorted."""
    return yaml.safe_dump(one, sort_keys=True) != yaml.safe_dump(other, sort_keys=True)


def inexact(rows: Rows) -> list[str]:
    return [label for label in rows if label.startswith("inexact")]


LOADER = """
    import math
    import parts
    from parts import scale as by

    LIMIT = 10

    def unused():
        return 1

    def root(path, count=3):
        # A comment.
        '''Load.'''
        return [by(parts.augment(x)) for x in range(min(LIMIT, count))]
"""
PARTS = """
    SCALE = 0.5
    OTHER = 1

    def unused():
        return OTHER

    def scale(x):
        '''Scale.'''
        return helper(x) * SCALE

    def helper(x):
        return x + 1

    def augment(x):
        return -x
"""


def test_rows_say_what_was_found(reached: Reach) -> None:
    """Every function, global, default and library that is reached has a row that a person can read."""
    rows = reached(LOADER, parts=PARTS)

    assert "spec.py:root" == rows["root it"]
    assert 0.5 == rows["value parts.py:SCALE"]
    assert 10 == rows["value spec.py:LIMIT"]
    assert "parts.py:scale" == rows["value spec.py:by"]
    assert "<module parts.py>" == rows["value spec.py:parts"]
    assert 3 == rows["default spec.py:root(count)"]
    assert f"3.{sys.version_info.minor}" == rows["library python"]
    code = {label for label in rows if label.startswith("code ")}
    assert {f"code parts.py:{name}" for name in ("augment", "helper", "scale")} | {"code spec.py:root"} == code
    assert all(str(rows[label]).startswith("sha256:") for label in code)
    assert list(rows) == sorted(rows)
    assert [] == inexact(rows)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("spec", "return 1", "return 2"),
        ("spec", "# A comment.", "# Another one."),
        ("spec", "'''Load.'''", "'''Load it all.'''"),
        ("parts", "'''Scale.'''", "'''Scale it.'''"),
        ("parts", "return OTHER", "return OTHER + 1"),
        ("parts", "OTHER = 1", "OTHER = 2"),
        ("parts", "    SCALE = 0.5\n", "\n\n    SCALE = 1 / 2\n"),
    ],
)
def test_an_edit_outside_of_what_is_reached_changes_nothing(reached: Reach, file: str, old: str, new: str) -> None:
    """Unused functions, comments, docstrings and the way a constant is written don't count."""
    files = {"spec": LOADER, "parts": PARTS}
    assert old in files[file]

    assert reached(**files) == reached(**{**files, file: files[file].replace(old, new)})


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("spec", "LIMIT = 10", "LIMIT = 10.0"),
        ("spec", "count=3", "count=4"),
        ("spec", "scale as by", "helper as by"),
        ("spec", "parts.augment", "parts.helper"),
        ("parts", "SCALE = 0.5", "SCALE = 0.25"),
        ("parts", "return x + 1", "return x + 2"),
        ("parts", "return -x", "return x"),
    ],
)
def test_an_edit_of_what_is_reached_changes_the_rows(reached: Reach, file: str, old: str, new: str) -> None:
    """A used constant, default, binding, helper, and helper of a helper count."""
    files = {"spec": LOADER, "parts": PARTS}
    assert old in files[file]

    assert differ(reached(**files), reached(**{**files, file: files[file].replace(old, new)}))


# Each text is a spec; `1` stands for what one edit changes to `2`.
CHANGES = {
    "closure": "def make(k):\n    def inner(x):\n        return x * k\n    return inner\nroot = make($)\n",
    "keyword default": "def root(x, *, k=$):\n    return k\n",
    "default by a global": "K = $\ndef root(x, k=K):\n    return k\n",
    "lambda": "root = lambda x: x + $\n",
    "lambda beside another": "pair = (lambda x: x, lambda x: x + $)\nroot = pair[1]\n",
    "lambda in a lambda": "root = (lambda y: (lambda x: x + $))(1)\n",
    "decorator with wraps": (
        "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def wrapper(x):\n        return f(x) * $\n"
        "    return wrapper\n@twice\ndef root(x):\n    return x\n"
    ),
    "decorated": (
        "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def wrapper(x):\n        return f(x)\n"
        "    return wrapper\n@twice\ndef root(x):\n    return $\n"
    ),
    "decorated without wraps": ("def twice(f):\n    return lambda x: f(x)\n@twice\ndef root(x):\n    return $\n"),
    "library decorator": "import functools\n@functools.lru_cache(None)\ndef root(x):\n    return $\n",
    "library decorator's argument": "import functools\n@functools.lru_cache($)\ndef root(x):\n    return 0\n",
    "context manager": "import contextlib\n@contextlib.contextmanager\ndef root():\n    yield $\n",
    "single dispatch": (
        "import functools\n@functools.singledispatch\ndef root(x):\n    return 0\n"
        "@root.register\ndef _(x: int):\n    return $\n"
    ),
    "partial's function": "import functools\ndef f(x, y):\n    return $\nroot = functools.partial(f, 1)\n",
    "partial's argument": "import functools\ndef f(x, y):\n    return x\nroot = functools.partial(f, $)\n",
    "partial's keyword": "import functools\ndef f(x, y):\n    return x\nroot = functools.partial(f, y=$)\n",
    "function attribute": "def root(x):\n    return root.k\nroot.k = $\n",
    "class": "class root:\n    def f(self):\n        return self.g()\n    def g(self):\n        return $\n",
    "class attribute at run time": "class root:\n    k = 0\nroot.k = $\n",
    "class attribute by a global": "K = $\nclass root:\n    k = K\n",
    "base class": "class Base:\n    def g(self):\n        return $\nclass root(Base):\n    pass\n",
    "metaclass": "class Meta(type):\n    k = $\nclass root(metaclass=Meta):\n    pass\n",
    "global of a method": "K = $\nclass root:\n    def f(self):\n        return K\n",
    "global of a property": "K = $\nclass root:\n    @property\n    def f(self):\n        return K\n",
    "global of a static method": "K = $\nclass root:\n    @staticmethod\n    def f():\n        return K\n",
    "global of a class method": "K = $\nclass root:\n    @classmethod\n    def f(cls):\n        return K\n",
    "method put in from elsewhere": (
        "def f(self):\n    return $\nclass root:\n    def f(self):\n        return 0\nroot.f = f\n"
    ),
    "class made by a call": "def f(self):\n    return $\nroot = type('root', (), {'f': f})\n",
    "instance": "class C:\n    def __init__(self, k):\n        self.k = k\nroot = C($)\n",
    "instance with slots": "class C:\n    __slots__ = ('k',)\nroot = C()\nroot.k = $\n",
    "instance that holds a function": "class C:\n    pass\ndef f():\n    return $\nroot = C()\nroot.f = f\n",
    "instance's class": "class C:\n    def __call__(self):\n        return $\nroot = C()\n",
    "instance in an instance": "class C:\n    pass\nroot = C()\nroot.c = C()\nroot.c.k = $\n",
    "instance of a list's subclass": "class C(list):\n    pass\nroot = C([$])\n",
    "instance of a dict's subclass": "class C(dict):\n    pass\nroot = C(k=$)\n",
    "instance that hides its state": (
        "class C:\n    def __getstate__(self):\n        return {}\nroot = C()\nroot.k = $\n"
    ),
    "instance of a C class": "import random\nclass C(random.Random):\n    pass\nroot = C($)\n",
    "bound method": "class C:\n    def f(self):\n        return $\nroot = C().f\n",
    "bound method's object": "class C:\n    def f(self):\n        return 0\nc = C()\nc.k = $\nroot = c.f\n",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass C:\n    k: int\nroot = C($)\n",
    "dataclass factory": (
        "import dataclasses\ndef f():\n    return $\n@dataclasses.dataclass\nclass root:\n"
        "    k: int = dataclasses.field(default_factory=f)\n"
    ),
    "enum": "import enum\nK = $\nclass C(enum.Enum):\n    A = K\nroot = C.A\n",
    "enum member": "import enum\nclass C(enum.Enum):\n    A1 = 1\n    A2 = 2\nroot = C.A$\n",
    "named tuple": "import collections\nC = collections.namedtuple('C', 'k')\nroot = C($)\n",
    "registry": "def f():\n    return $\nREG = {'f': f}\ndef root(n):\n    return REG[n]()\n",
    "registry's keys": "def f():\n    return 0\nREG = {'f$': f}\ndef root(n):\n    return REG[n]()\n",
    "set of functions": "def f():\n    return $\nFS = {f}\ndef root():\n    return [g() for g in FS]\n",
    "list of instances": "class C:\n    pass\nCS = [C(), C()]\nCS[1].k = $\ndef root():\n    return CS\n",
    "generator": "def g():\n    yield $\ndef root():\n    yield from g()\n",
    "async": "async def g():\n    return $\nasync def root():\n    return await g()\n",
    "comprehension": "K = $\ndef root(xs):\n    return {x: K for x in xs}\n",
    "nested def": "K = $\ndef root():\n    def inner():\n        return lambda: K\n    return inner\n",
    "nested class": "K = $\ndef root():\n    class C:\n        k = K\n    return C\n",
    "recursion": "def root(n):\n    return root(n - $)\n",
    "closure recursion": "def make():\n    def f(n):\n        return f(n - $)\n    return f\nroot = make()\n",
    "cells of two made alike": (
        "def make(k):\n    return lambda: k\nf, g = make(1), make($)\ndef root():\n    return f() + g()\n"
    ),
    "global array": "import numpy as np\nK = np.arange(4) * $\ndef root():\n    return K\n",
    "library class by name": "import numpy as np\nroot = [np.int8, np.int16][$ - 1]\n",
    "library function": "import math\ndef root(x):\n    return F(x)\nF = [math.sin, math.cos][$ - 1]\n",
    "library object": "import string\nroot = string.Formatter()\nroot.k = $\n",
    "library object that holds a function": (
        "import types\ndef f():\n    return $\nroot = types.SimpleNamespace(f=f)\n"
    ),
    "monkeypatched library": (
        "import string\ndef f(x):\n    return $\nstring.for_this_test = f\n"
        "def root(x):\n    return string.for_this_test(x)\n"
    ),
    "two names swapped": (
        "def a():\n    return 1\ndef b():\n    return 2\nf, g = [(a, b), (b, a)][$ - 1]\n"
        "def root():\n    return f() - g()\n"
    ),
    "self-reference": "L = [$]\nL.append(L)\ndef f():\n    return 0\nL.append(f)\ndef root():\n    return L\n",
    "global of a private name": "__K = $\n_C__K = $\nclass C:\n    def f(self):\n        return __K\nroot = C().f\n",
    "annotation of a module's variable": "x: 'int$' = 1\ndef root():\n    import spec\n    return vars(spec)\n",
    "annotation of a dataclass": "import dataclasses\n@dataclasses.dataclass\nclass root:\n    x: 'int$' = 0\n",
    "annotation of a named tuple": "import typing\nclass root(typing.NamedTuple):\n    x: 'int$' = 0\n",
    "annotation of a class in a function": "def root():\n    class C:\n        x: 'int$' = 0\n    return C\n",
    "annotation of a decorated function": "def use(f):\n    return f\n@use\ndef root(x: 'int$'):\n    return x\n",
    "annotation that is called": "def say(x):\n    return x\ndef root(x: say($)):\n    return x\n",
    "annotation of a function for a package that reads it": (
        "try:\n    import beartype\nexcept ImportError:\n    pass\ndef root(x: 'int$'):\n    return x\n"
    ),
    "annotation that makes a name local": "x = 1\ndef root():\n    if $ == 3:\n        x: int\n    return x\n",
    "value beside an annotation": "def root():\n    x: int = $\n    return x\n",
    "star arguments' default": "def root(*a, k={'x': $}, **kw):\n    return k\n",
    "class that wraps a function": (
        "class Twice:\n    def __init__(self, f):\n        self.f = f\n"
        "    def __call__(self):\n        return self.f()\n"
        "@Twice\ndef root():\n    return $\n"
    ),
    "base class's super": (
        "class Base:\n    def f(self):\n        return $\n"
        "class C(Base):\n    def f(self):\n        return super().f()\n"
        "root = C.f\n"
    ),
    "global of a cached property": (
        "import functools\nK = $\nclass root:\n    @functools.cached_property\n    def f(self):\n        return K\n"
    ),
    "global of a property's setter": (
        "K = $\nclass root:\n    @property\n    def f(self):\n        return 0\n"
        "    @f.setter\n    def f(self, v):\n        self.v = K\n"
    ),
    "global of a cached method": (
        "import functools\nK = $\nclass root:\n    @functools.lru_cache\n    def f(self):\n        return K\n"
    ),
    "partial method": (
        "import functools\nclass root:\n    def f(self, k):\n        return k\n"
        "    g = functools.partialmethod(f, [1, 2][$ - 1])\n"
    ),
    "class attribute lambda": "K = $\nclass root:\n    f = lambda self: K\n",
    "class in a class": "K = $\nclass root:\n    class Inner:\n        def f(self):\n            return K\n",
    "class decorator": (
        "def deco(k):\n    def put(cls):\n        cls.f = lambda self: k\n        return cls\n    return put\n"
        "@deco($)\nclass root:\n    pass\n"
    ),
    "classes of one name": (
        "if $ == 1:\n    class root:\n        def f(self):\n            return 0\n"
        "else:\n    class root:\n        def f(self):\n            return 9\n"
    ),
    "registry of subclasses": (
        "class Base:\n    all = []\n    def __init_subclass__(cls):\n        Base.all.append(cls)\n"
        "class One(Base):\n    def f(self):\n        return $\ndef root():\n    return Base.all\n"
    ),
    "attribute of a namespace": ("import types\nCFG = types.SimpleNamespace(k=$)\ndef root():\n    return CFG.k\n"),
    "function made from text": "exec('def root():\\n    return K + $')\nK = 1\n",
    "global of a function made from text": "exec('def root():\\n    return K')\nK = $\n",
    "function with other globals": "import types\nroot = types.FunctionType((lambda: K).__code__, {'K': $})\n",
    "library class over a function": "def f(x):\n    return $\nimport numpy as np\nroot = np.vectorize(f)\n",
    "getter": "import operator\nroot = operator.attrgetter('a$')\n",
    "function as a key": "def f1():\n    return 0\ndef f2():\n    return 0\nD = {f$: 1}\ndef root():\n    return D\n",
    "method that holds its own object": (
        "class C:\n    def f(self):\n        return 0\nroot = C()\nroot.g = root.f\nroot.k = $\n"
    ),
    "order of an ordered dict": (
        "import collections\ndef f():\n    return 0\nD = collections.OrderedDict([('a', f), ('b', 1)][:: 3 - 2 * $])\n"
        "def root():\n    return D\n"
    ),
    **{
        f"order of {name}": f"{head}P = [('b', {item}), ('a', 1)][:: 3 - 2 * $]\n{text}"
        for item in ("2", "len")
        for name, head, text in (
            (f"a global dict of {item}", "", "D = dict(P)\ndef root():\n    return D\n"),
            (f"a dict in a list of {item}", "", "D = [1, dict(P)]\ndef root():\n    return D\n"),
            (f"a default dict of {item}", "", "def root(d=dict(P)):\n    return d\n"),
            (f"a keyword default of {item}", "", "def root(*, d=dict(P)):\n    return d\n"),
            (f"a closure's dict of {item}", "", "def make(d):\n    return lambda: d\nroot = make(dict(P))\n"),
            (f"a class attribute of {item}", "", "class root:\n    d = dict(P)\n"),
            (f"attributes put into a class of {item}", "", "class root: pass\nfor k, v in P: setattr(root, k, v)\n"),
            (f"a function's attributes of {item}", "", "def root(): pass\nfor k, v in P: setattr(root, k, v)\n"),
            (f"an instance's attributes of {item}", "", "class C: pass\nroot = C()\nroot.__dict__.update(P)\n"),
            (f"an instance's dict of {item}", "", "class C: pass\nroot = C()\nroot.d = dict(P)\n"),
            (
                f"a dataclass's dict of {item}",
                "import dataclasses\n@dataclasses.dataclass\nclass C:\n    d: dict\n",
                "root = C(dict(P))\n",
            ),
            (f"a namespace of {item}", "import types\n", "root = types.SimpleNamespace(**dict(P))\n"),
            (f"parsed arguments of {item}", "import argparse\n", "root = argparse.Namespace(**dict(P))\n"),
            (f"a partial's keywords of {item}", "import functools\n", "root = functools.partial(print, **dict(P))\n"),
            (
                f"a bound method's object of {item}",
                "",
                "class C:\n    def f(self): pass\nc = C()\nc.d = dict(P)\nroot = c.f\n",
            ),
            (f"a defaultdict of {item}", "import collections\n", "root = collections.defaultdict(int, P)\n"),
            (f"a counter of {item}", "import collections\n", "root = collections.Counter(dict(P))\n"),
            (f"a proxy of {item}", "import types\n", "root = types.MappingProxyType(dict(P))\n"),
            (f"a dict's subclass of {item}", "class C(dict): pass\n", "root = C(P)\n"),
            (f"a chain map of {item}", "import collections\n", "root = collections.ChainMap(dict(P))\n"),
            (f"a user's dict of {item}", "import collections\n", "root = collections.UserDict(P)\n"),
            (f"a dict of dicts of {item}", "", "root = {'x': {'y': dict(P)}}\n"),
            (f"a dict with other keys of {item}", "", "root = {(k, 1): v for k, v in P}\n"),
            (f"a dict with numbers as keys of {item}", "", "root = {ord(k): v for k, v in P}\n"),
        )
    },
    "order of an enum's members": ("import enum\nroot = enum.Enum('root', dict([('b', 2), ('a', 1)][:: 3 - 2 * $]))\n"),
    "order of a made dataclass's fields": (
        "import dataclasses\nroot = dataclasses.make_dataclass('root', [('b', int), ('a', int)][:: 3 - 2 * $])\n"
    ),
    "order of a made tuple's fields": (
        "import collections\nroot = collections.namedtuple('root', ['b', 'a'][:: 3 - 2 * $])\n"
    ),
    "an optimizer's state": ("import keras\nroot = keras.optimizers.SGD(0.1, name='sgd')\nroot.iterations.assign($)\n"),
    **{
        f"field's {name} by a global": (
            f"import dataclasses\nK = {values}[$ - 1]\n@dataclasses.dataclass{how}\nclass root:\n    x: {field}\n"
        )
        for name, values, how, field in (
            ("default, with slots", "[3, 4]", "(slots=True)", "int = K"),
            ("type", "[int, float]", "", "K = 0"),
            ("metadata", "[3, 4]", "", "int = dataclasses.field(default=0, metadata={'k': K})"),
            ("place in what is shown", "[True, False]", "", "int = dataclasses.field(default=0, repr=K)"),
            ("class's order", "[True, False]", "(order=K)", "int = 0"),
        )
    },
    "attrs' default by a global": "import attrs\nK = $\n@attrs.define\nclass root:\n    x: int = K\n",
    "attrs' factory": (
        "import attrs\ndef f():\n    return $\n@attrs.define\nclass root:\n    x: int = attrs.field(factory=f)\n"
    ),
    "class attribute with a name like Python's": "K = $\nclass root:\n    __scale__ = K\n",
    "slots by a global": "K = ['a$']\nclass root:\n    __slots__ = tuple(K)\n",
    "new type": "import typing\nroot = typing.NewType('T', [int, float][$ - 1])\n",
    "attribute of an array": (
        "import numpy as np\nclass N(np.ndarray):\n    pass\nroot = np.array([1, 2]).view(N)\nroot.k = $\n"
    ),
    "function that an array holds": (
        "import numpy as np\nclass N(np.ndarray):\n    pass\ndef f():\n    return $\nroot = np.array([1]).view(N)\n"
        "root.f = f\n"
    ),
    "function's name set by hand": "def root():\n    return root.__name__\nroot.__name__ = 'name$'\n",
    "function's qualified name set by hand": "def root():\n    pass\nroot.__qualname__ = 'name$'\n",
    "function's module set by hand": "def root():\n    pass\nroot.__module__ = 'name$'\n",
    "lambda's name set by hand": "root = lambda: 0\nroot.__name__ = 'name$'\n",
    "class's name set by hand": "class root:\n    pass\nroot.__name__ = 'name$'\n",
    "code of a class with another's module": (
        "class root:\n    def f(self):\n        return $\nroot.__module__ = 'keras.layers'\n"
    ),
    "code of a class with the module of a library": (
        "class root:\n    __module__ = 'numpy'\n    def f(self):\n        return $\n"
    ),
    "code of an instance's class with another's module": (
        "class C:\n    def __call__(self):\n        return $\nC.__module__ = 'numpy'\nroot = C()\n"
    ),
    "code of a class with another qualified name": (
        "class root:\n    def f(self):\n        return $\nroot.__qualname__ = 'Other'\n"
    ),
    "code of a class with the name of another": (
        "class Other:\n    pass\nclass root:\n    def f(self):\n        return $\nroot.__qualname__ = 'Other'\n"
    ),
    "attribute of a class with another's module": (
        "class root:\n    def f(self):\n        return 0\nroot.__module__ = 'numpy'\nroot.k = $\n"
    ),
    "what is registered with an abstract class": (
        "import abc\nclass Base(abc.ABC):\n    pass\nclass A1:\n    pass\nclass A2:\n    pass\nBase.register(A$)\n"
        "def root(x):\n    return isinstance(x, Base)\n"
    ),
    "method for a type": (
        "import functools\nclass root:\n    @functools.singledispatchmethod\n    def f(self, x):\n        return 0\n"
        "    @f.register\n    def _(self, x: int):\n        return $\n"
    ),
    "getter of a module's function": (
        "import operator, types\ndef f():\n    return $\nimport spec\ndef root():\n"
        "    return operator.attrgetter('f')(spec)()\n"
    ),
    "function of a module by a text": (
        "def f():\n    return $\nimport spec\ndef root():\n    return vars(spec)['f']()\n"
    ),
    "listing of a module": "import spec\nf$ = 0\ndef root():\n    return dir(spec)\n",
    "array of objects": "import numpy as np\ndef f():\n    return $\nA = np.array([f, f])\ndef root():\n    return A\n",
    "generator expression's closure": "K = $\ndef root(xs):\n    k = K\n    return sum(x * k for x in xs)\n",
    "keyword of a class": (
        "class Base:\n    def __init_subclass__(cls, k):\n        cls.k = k\nK = $\nclass root(Base, k=K):\n    pass\n"
    ),
    "exception class's message": "class E(Exception):\n    pass\nroot = E($)\n",
    "abstract class": (
        "import abc\nK = $\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
        "class root(Base):\n    def f(self):\n        return K\n"
    ),
    "generic class": (
        "import typing\nT = typing.TypeVar('T')\nclass Box(typing.Generic[T]):\n    k = $\n"
        "def root():\n    return Box[int]()\n"
    ),
    "global that is deleted and read": "K = $\ndef root():\n    global K\n    k = K\n    del K\n    return k\n",
    "walrus and match": (
        "K = $\ndef root(x):\n    match x:\n        case [y] if (z := K) > y:\n            return z\n"
    ),
    "proxy that claims to be a function": (
        "import types\nclass Proxy:\n    __class__ = property(lambda self: types.FunctionType)\n"
        "    def __call__(self):\n        return $\nroot = Proxy()\n"
    ),
    "workspace property": (
        "class lazy(property):\n    def __get__(self, owner, kind=None):\n        return $\n"
        "class root:\n    @lazy\n    def f(self):\n        return 0\n"
    ),
    "workspace partial": (
        "import functools\ndef f(x):\n    return x\nclass P(functools.partial):\n    pass\nroot = P(f, $)\n"
    ),
    "module docstring that is read": "'''$'''\ndef root():\n    return __doc__\n",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_shows(reached: Reach, name: str) -> None:
    """A change of anything that a root carries or reaches changes its rows, and a second look doesn't."""
    before, again, after = (reached(CHANGES[name].replace("$", value)) for value in "112")

    assert before == again
    assert differ(before, after)
    assert [] == inexact(before)


def test_the_docstring_of_a_wrapped_function_does_not_count(reached: Reach) -> None:
    """Docstrings that `functools.wraps` copied onto an object are docstrings still."""
    spec = """
        import functools
        class Twice:
            def __init__(self, f):
                functools.update_wrapper(self, f)
            def __call__(self):
                return self.__wrapped__() * 2
        @Twice
        def root():
            '''{}'''
            return 1
    """

    assert reached(spec.format("One.")) == reached(spec.format("Other."))


def test_a_second_module_is_reached_as_far_as_it_is_used(reached: Reach) -> None:
    """Of a package that is used through attributes only those attributes count."""
    spec = "import pkg.mod\ndef root(x):\n    return pkg.mod.f(x)\n"
    mod = "def f(x):\n    return $\ndef g(x):\n    return %\n"

    def rows(f: str, g: str) -> Rows:
        return reached(spec, **{"pkg__in____init__": "", "pkg__in__mod": mod.replace("$", f).replace("%", g)})

    assert rows("1", "1") == rows("1", "2")
    assert differ(rows("1", "1"), rows("2", "1"))
    assert "code pkg/mod.py:f" in rows("1", "1")


@pytest.mark.parametrize(
    "spec",
    [
        "import parts\ndef use(m):\n    return m.f()\ndef root():\n    return use(parts)\n",
        "import parts\ndef root():\n    return vars(parts)\n",
        "import parts\ndef root():\n    return parts.__dict__\n",
        "import parts\nclass C:\n    m = parts\nroot = C()\n",
        "import importlib, parts\ndef root():\n    return importlib.import_module('parts').f()\n",
        "def root():\n    import importlib\n    return importlib.import_module('parts').f()\n",
        "def root():\n    import parts\n    return parts.f()\n",
        "def root():\n    from parts import f\n    return f()\n",
        "def root():\n    import parts as p\n    return p\n",
    ],
)
def test_a_module_used_in_a_way_that_does_not_show_counts_whole(reached: Reach, spec: str) -> None:
    """A module that is passed around, or imported only when the function runs, counts with all that it reaches."""
    parts = "import more\nK = 1\ndef f():\n    return K + more.f()\n"
    more = "def f():\n    return $\n"
    before = reached(spec, parts=parts, more=more.replace("$", "1"))

    assert differ(before, reached(spec, parts=parts.replace("K = 1", "K = 2"), more=more.replace("$", "1")))
    assert differ(before, reached(spec, parts=parts, more=more.replace("$", "2")))
    assert "module parts.py" in before
    assert [] == inexact(before)


def test_a_constant_getattr_is_an_attribute(reached: Reach) -> None:
    """`getattr(parts, "f")` reads just `f`."""
    spec = "import parts\ndef root():\n    return getattr(parts, 'f')()\n"
    parts = "def f():\n    return $\ndef g():\n    return %\n"

    def rows(f: str, g: str) -> Rows:
        return reached(spec, parts=parts.replace("$", f).replace("%", g))

    assert rows("1", "1") == rows("1", "2")
    assert differ(rows("1", "1"), rows("2", "1"))


def test_a_relative_import_inside_a_function_is_followed(reached: Reach) -> None:
    """`from . import other` in a function leads to the module beside it."""
    spec = "import pkg.mod\nroot = pkg.mod.f\n"

    def rows(value: str) -> Rows:
        mod = "def f():\n    from . import other\n    from .third import g\n    return other.h() + g()\n"
        other, third = f"def h():\n    return {value}\n", f"def g():\n    return {value}\n"
        return reached(
            spec, **{"pkg__in____init__": "", "pkg__in__mod": mod, "pkg__in__other": other, "pkg__in__third": third}
        )

    assert differ(rows("1"), rows("2"))
    assert {"module pkg/other.py", "module pkg/third.py"} <= set(rows("1"))


def test_modules_that_call_each_other_come_to_an_end(reached: Reach) -> None:
    """Mutual recursion between modules is walked once."""
    spec = "import parts\ndef root(n):\n    return parts.f(n)\ndef back(n):\n    return root(n - 1)\n"
    parts = "import spec\ndef f(n):\n    return spec.back(n)\n"

    rows = reached(spec, parts=parts)

    assert {"code spec.py:root", "code spec.py:back", "code parts.py:f"} <= set(rows)


@pytest.mark.parametrize(
    "spec",
    [
        "def root():\n    return eval('1')\n",
        "def root():\n    exec('1')\n",
        "def root():\n    return globals()['x']\n",
        "import sys\ndef root():\n    return sys.modules['x']\n",
        "from sys import modules\ndef root():\n    return modules['x']\n",
        "import importlib\ndef root(n):\n    return importlib.import_module(n)\n",
        "from importlib import import_module\ndef root(n):\n    return import_module(n)\n",
        "def root(n):\n    return __import__(n)\n",
        "import parts\ndef root(n):\n    return getattr(parts, n)\n",
        "class Base: pass\ndef root():\n    return [c() for c in Base.__subclasses__()]\n",
        "class Base: pass\ndef root():\n    return getattr(Base, '__subclasses__')()\n",
        "class Base: pass\nimport operator\ndef root():\n    return operator.methodcaller('__subclasses__')(Base)\n",
        "class Base: pass\ndef root(x):\n    return [c.f for c in type(x).__mro__]\n",
        "class Base: pass\ndef root(x):\n    return type(x).mro()\n",
        "def root(x):\n    return x.__bases__\n",
        "import inspect\ndef root(x):\n    return inspect.getmro(type(x))\n",
        "import inspect\nimport parts\ndef root():\n    return inspect.getsource(parts.f)\n",
        "from inspect import getsource as text\nimport parts\ndef root():\n    return text(parts.f)\n",
        "import parts\ndef root():\n    from inspect import getsourcelines as text\n    return text(parts.f)\n",
        "import parts\ndef root():\n    import inspect as i\n    return i.getdoc(parts.f)\n",
        "import inspect\ndef look(m):\n    return m.getsource(m)\nTOOL = inspect\ndef root():\n    return look(TOOL)\n",
        "K = 1\ndef root(table):\n    return table.query('x > @K')\n",
        "exec('def root(c):\\n    return c.__subclasses__()')\n",
        "import linecache\ndef root():\n    return linecache.getline('models/parts.py', 3)\n",
        "def root():\n    return __loader__.get_source('parts')\n",
        "import inspect\ndef root(x):\n    return inspect.signature(x).parameters\n",
        "import inspect\ndef root():\n    return inspect.stack()[0].lineno\n",
        "from inspect import stack\ndef root():\n    return stack()\n",
        "import parts\ndef root():\n    return parts.f.__doc__\n",
        "import parts\ndef root():\n    return parts.f.__code__.co_firstlineno\n",
        "import parts\ndef root():\n    return parts.f.__annotations__\n",
        "import typing, parts\ndef root():\n    return typing.get_type_hints(parts.f)\n",
        "import sys\ndef root():\n    return sys._getframe(1).f_lineno\n",
        "import gc\ndef root():\n    return [o for o in gc.get_objects() if callable(o)]\n",
        "import traceback\ndef root():\n    return traceback.extract_stack()[0].lineno\n",
        "import parts\ndef root():\n    return parts.f.__globals__['x']\n",
        "import runpy\ndef root():\n    return runpy.run_path('models/other.py')\n",
        "import pkgutil\ndef root():\n    return list(pkgutil.iter_modules(['models']))\n",
        "import importlib.util\ndef root():\n    return importlib.util.spec_from_file_location('x', 'x.py')\n",
        "import sys\ndef look(m):\n    return m.modules\ndef root():\n    return look(sys)\n",
        "import keras\ndef root():\n    return keras.models.load_model('x.keras')\n",
        "def late():\n    import parts2\ndef root():\n    return late()\n",
        "def root():\n    return compile('1', 'x', 'eval')\n",
        "class C:\n    def f(self):\n        return type(self).__subclasses__()\nroot = C()\n",
        "import threading\nLOCK = threading.Lock()\ndef root():\n    return LOCK\n",
        "GEN = (x for x in 'abc')\ndef root():\n    return GEN\n",
        "class C:\n    pass\nroot = {C(), C()}\n",
        "class C:\n    def __reduce_ex__(self, p):\n        raise ValueError\nroot = C()\n",
    ],
)
def test_what_can_not_be_told_exactly_says_so(reached: Reach, spec: str) -> None:
    """Code that names what it runs at run time, and state that can't be read, are marked inexact."""
    files = {"parts": "def f():\n    return 1\n", "parts2": "class A: pass\nALL = A.__subclasses__()\n"}
    assert [] != inexact(reached(spec, **files))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def root(x: int):\n    return x\n", "def root(x: float):\n    return x\n"),
        (
            "def root(x, /, y, *a, k=1, **kw):\n    return x\n",
            "def root(x: int, /, y: str, *a: int, k: int = 1, **kw: int) -> str:\n    return x\n",
        ),
        ("async def root(x):\n    return x\n", "async def root(x) -> 'dict[str, int]':\n    return x\n"),
        ("def root():\n    x = 1\n    return x\n", "def root():\n    x: int = 1\n    return x\n"),
        ("def root(o):\n    o.x = 1\n", "def root(o):\n    o.x: 'int | None' = 1\n"),
        ("def root():\n    x: int\n    x = 1\n", "def root():\n    x: str\n    x = 1\n"),
        (
            "class root:\n    def f(self, x):\n        y = x\n",
            "class root:\n    def f(self: 'root', x: int) -> None:\n        y: int = x\n",
        ),
        (
            "class root:\n    @property\n    def f(self):\n        return 1\n",
            "class root:\n    @property\n    def f(self) -> int:\n        return 1\n",
        ),
        (
            "import functools\n@functools.lru_cache(None)\ndef root(x):\n    return 1\n",
            "import functools\n@functools.lru_cache(None)\ndef root(x: int):\n    return 1\n",
        ),
        (
            "def root():\n    def f(x):\n        return x\n    return f\n",
            "def root():\n    def f(x: 'int') -> 'int':\n        return x\n    return f\n",
        ),
    ],
)
def test_annotations_of_functions_say_nothing(one: str, other: str, reached: Reach) -> None:
    """Of arguments, results and local variables, as long as no code looks at them."""
    before, after = reached(one), reached(other)
    assert before == after
    look = "import typing\nHINTS = typing.get_type_hints\n"
    assert differ(reached(look + one), reached(look + other))


@pytest.mark.parametrize(
    "spec",
    [
        "import inspect\ndef root(x):\n    return inspect.isfunction(x) or inspect.isclass(x)\n",
        "import gc\ndef root():\n    gc.collect()\n",
        "import sys\ndef root():\n    return sys.argv, sys.version_info, sys.path\n",
        "import traceback\ndef root():\n    traceback.print_exc()\n",
        "import numpy as np\ndef root(x):\n    return np.stack(x), np.trace(x)\n",
        "def root(model):\n    return model.signature\n",
        "def root(table):\n    return table.query('x > 3')\n",
        "def root(x):\n    return type(x).__name__, x.__class__, x.__dict__\n",
        "import operator, parts\ndef root():\n    return operator.attrgetter('f')(parts)()\n",
        "import typing\ndef root(x: typing.Any) -> typing.Any:\n    return typing.cast(int, x)\n",
    ],
)
def test_what_only_looks_alike_is_exact(reached: Reach, spec: str) -> None:
    """Common names of other things, and functions of the same modules that show no code, cost no exactness."""
    assert [] == inexact(reached(spec, parts="def f():\n    return 1\n"))


def test_a_module_that_makes_its_attributes_counts_whole(reached: Reach) -> None:
    """A name that a module's `__getattr__` answers for brings the whole module."""
    spec = "import parts\ndef root():\n    return parts.name\n"
    parts = "def __getattr__(name):\n    return 1\ndef g():\n    return $\n"

    assert differ(reached(spec, parts=parts.replace("$", "1")), reached(spec, parts=parts.replace("$", "2")))


@pytest.mark.parametrize("line", ["import nowhere", "from nowhere import x", "import nowhere.x as y"])
def test_a_library_that_is_not_installed_counts_as_missing(reached: Reach, line: str) -> None:
    """An import inside a function that would fail says so."""
    rows = reached(f"def root():\n    {line}\n")

    assert "<missing>" == rows["library nowhere"]
    assert [] != inexact(rows)


def test_a_module_imported_later_with_a_syntax_error_counts_as_such(reached: Reach) -> None:
    """A broken module that only the running function would import has a row of its own."""
    assert "<syntax error>" == reached("def root():\n    import parts\n", parts="def f(:\n")["module parts.py"]


def test_a_folder_without_init_is_looked_through(reached: Reach) -> None:
    """Modules of a package that is only a folder are reached as far as they're used."""
    spec = "import pkg.mod\ndef root():\n    return pkg.mod.f()\n"
    mod = "def f():\n    return $\ndef g():\n    return %\n"

    def rows(f: str, g: str) -> Rows:
        return reached(spec, pkg__in__mod=mod.replace("$", f).replace("%", g))

    assert rows("1", "1") == rows("1", "2")
    assert differ(rows("1", "1"), rows("2", "1"))


def test_a_missing_global_counts_as_missing(reached: Reach) -> None:
    """A name that nothing defines yet has a row, which changes once it's defined."""
    spec = "def root():\n    return NAME\n"

    assert "<missing>" == reached(spec)["value spec.py:NAME"]
    assert 1 == reached(spec + "NAME = 1\n")["value spec.py:NAME"]


def test_a_rebound_global_counts_as_what_it_is_now(reached: Reach) -> None:
    """The function that a name is bound to when it's looked at is the one that counts."""
    parts = "def f():\n    return 1\ndef g():\n    return 2\n"
    spec = "import parts\ndef mine():\n    return 3\n{}\ndef root():\n    return parts.f()\n"

    rows = reached(spec.format("parts.f = mine"), parts=parts)

    assert "spec.py:mine" == rows["value parts.py:f"]
    assert differ(rows, reached(spec.format(""), parts=parts))


def test_skipped_objects_leave_no_trace(reached: Reach) -> None:
    """The model that a loader reads is tracked elsewhere, so its state doesn't count here."""
    spec = "class Model:\n    pass\nmodel = Model()\nmodel.epochs = $\ndef root():\n    return model.epochs\n"

    assert reached(spec.replace("$", "1"), skip="model") == reached(spec.replace("$", "2"), skip="model")


def test_a_library_counts_by_its_version(reached: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of a distribution that is called changes the rows; one that isn't called doesn't."""
    spec = "import numpy as np\ndef root(x):\n    return np.add(np.random.rand(3), x)\n"
    before = reached(spec)
    found = libraries.versions
    monkeypatch.setattr(libraries, "versions", lambda top: {"numpy": "0.1"} if top == "numpy" else found(top))

    assert found("numpy")["numpy"] == before["library numpy"]
    assert {**before, "library numpy": "0.1"} == reached(spec)
    assert reached("def root():\n    return 1\n") == reached("def root():\n    return 1\n")


def test_public_names_of_libraries_are_not_looked_into(reached: Reach) -> None:
    """Functions and bound methods that a library offers by name count by its version alone."""
    spec = "from random import shuffle, random\nfrom numpy.random import normal\nfrom numpy import sum as s, add, dot\n"
    rows = reached(
        spec + "from textwrap import dedent\ndef root():\n    return shuffle, random, normal, s, add, dot, dedent\n"
    )

    assert "<function textwrap.dedent>" == rows["value spec.py:dedent"]
    assert "<numpy._ArrayFunctionDispatcher numpy.sum>" == rows["value spec.py:s"]
    assert not [label for label in rows if "." in label.partition(".py")[2].partition(":")[2]]
    assert [] == inexact(rows)


def test_the_same_workspace_elsewhere_gives_the_same_rows(reached: Reach) -> None:
    """No path of the folder that the workspace lies in gets into the rows."""
    spec = (
        "from pathlib import Path\nimport os\nHERE = Path(__file__).resolve().parent\nDATA = str(HERE / 'data')\n"
        "FILES = [HERE / 'a', HERE / 'b']\nWORDS = {'dir': os.path.join(os.path.dirname(__file__), 'c')}\n"
        "def root():\n    return HERE, DATA, FILES, WORDS, __file__\n"
    )
    rows = reached(spec)

    assert rows == reached(spec)
    assert "{workspace}/data" == rows["value spec.py:DATA"]
    assert "workspace1" not in repr(rows)


def test_rows_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    """Two processes with different hash seeds, and different folders, give equal rows."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        root = sys.argv[1]
        sys.dont_write_bytecode = True
        sys.path.insert(0, root)
        import spec
        from mltkbuild.fingerprint.reach import reach
        class Sources:
            def label(self, name):
                return name.removeprefix(root + "/") if name.startswith(root + "/") else None
            def source(self, name):
                return Path(name).read_text()
            def skip(self, obj):
                return False
        print(reach({"a": spec.root, "b": spec.C(), "c": spec.make(2)}, Sources()))
    """)
    spec = (
        "class A:\n    pass\nclass B:\n    pass\nWORDS = {'x', 'y', 'z', 'w'}\nKINDS = {A, B}\n"
        "def make(k):\n    return lambda: k\nTWO = {'p': make(1), 'q': make(1)}\nclass C(A, B):\n    words = WORDS\n"
        "def root(x):\n    return WORDS, KINDS, TWO, A() if x in ('a', 'b') else x in {'c', 'd'}\n"
    )
    outputs = []
    for seed in ("1", "2"):
        folder = tmp_path / f"w{seed}"
        folder.mkdir()
        (folder / "spec.py").write_text(spec)
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", program, str(folder)]
        outputs.append(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    assert outputs[0] == outputs[1]
    assert "inexact" not in outputs[0]


def test_roots_keep_their_names(reached: Reach) -> None:
    """Each root has its row, be it a function, a class or a plain value."""
    spec = "def f():\n    return 1\nclass C:\n    pass\nN = 3\nS = 'spec.py:f'\nT = (3, 3)\n"
    rows = reached(spec, roots={"f": "f", "c": "C", "n": "N", "s": "S", "t": "T"})

    assert ["spec.py:C", "spec.py:f", 3] == [rows["root c"], rows["root f"], rows["root n"]]
    assert "spec.py:f" != rows["root s"]
    assert str(rows["root t"]).startswith("tuple (3, 3) sha256:")


def test_keras_objects_count_by_config_and_by_the_workspace_code_in_them(reached: Reach) -> None:
    """An optimizer, a callback, a custom layer, loss or schedule changes with its settings and with its code."""
    spec = """
        import keras
        class Schedule(keras.optimizers.schedules.LearningRateSchedule):
            def __init__(self, rate):
                self.rate = rate
            def __call__(self, step):
                return self.rate * {code}
            def get_config(self):
                return {{"rate": self.rate}}
        class Loss(keras.losses.Loss):
            def __init__(self, alpha):
                super().__init__(name="loss")
                self.alpha = alpha
            def call(self, y_true, y_pred):
                return self.alpha
        class Bare(keras.optimizers.schedules.LearningRateSchedule):
            def __init__(self, rate):
                self.rate = rate
            def __call__(self, step):
                return self.rate
        def act(x):
            return x * {code}
        optimizer = keras.optimizers.Adam(Schedule({value}), name="adam")
        loss = Loss({value})
        bare = Bare({value})
        callback = keras.callbacks.LearningRateScheduler(act)
        stopping = keras.callbacks.EarlyStopping(patience={value})
        dense = keras.layers.Dense(3, name="dense", activation=act)
        metric = keras.metrics.MeanMetricWrapper(lambda a, b: a * {code}, name="metric")
        built = keras.layers.Dense(3, name="built", kernel_initializer=keras.initializers.Constant({value}))
        built.build((None, 2))
    """
    names = ("optimizer", "loss", "bare", "callback", "stopping", "dense", "metric", "built")
    roots = {name: name for name in names}
    before, again, value, code = (
        reached(textwrap.dedent(spec).format(value=v, code=c), roots=roots) for v, c in ("11", "11", "21", "12")
    )

    assert before == again
    assert [] == inexact(before)
    changed = {
        label.split()[1].partition(".")[0]
        for label in before
        if label.startswith("root") and before[label] != value.get(label)
    }
    assert {"optimizer", "loss", "bare", "stopping", "built"} == changed
    assert {"code spec.py:Schedule", "code spec.py:act", "code spec.py:<lambda>"} == {
        k for k in before if before[k] != code.get(k)
    }


def test_a_tf_function_counts_by_the_function_in_it(reached: Reach) -> None:
    """A `tf.function` changes with its Python function and its settings."""
    spec = (
        "import tensorflow as tf\n@tf.function(jit_compile={jit})\ndef root(x):\n    return x * {k} + tf.nn.relu(x)\n"
    )
    before = reached(spec.format(jit=False, k=1))

    assert differ(before, reached(spec.format(jit=False, k=2)))
    assert differ(before, reached(spec.format(jit=True, k=1)))
    assert [] == inexact(before)


def test_function_that_is_watched_counts_as_itself(reached: Reach) -> None:
    """What stands before a function of Python's while code is watched is no other function."""
    spec = """
    import os, functools
    from os import stat, scandir
    ASK = [os.lstat, functools.partial(os.access, mode=0)]

    def root(path, open=os.open):
        return stat(path), scandir(path), ASK, open, os.fstat
    """
    expected = reached(spec)
    with watch(()):
        assert expected == reached(spec)


keys = st.integers() | st.text(max_size=3) | st.tuples(st.booleans(), st.text(max_size=2))
held = st.integers() | st.text(max_size=3) | st.sampled_from([len, min, [1, 2]])


@settings(deadline=None)  # a busy machine is no failure
@given(st.dictionaries(keys, held, max_size=5), st.data())
def test_the_order_of_a_dict_shows_in_the_rows(filled: dict[object, object], data: st.DataObject) -> None:
    """Law: the same items in the same order have the same rows, in another order others, plain or with code inside."""
    items = list(filled.items())
    other = data.draw(st.permutations(items))
    sources = FolderSources(Path("/nowhere"))
    one, same, moved = (reach({"it": {"in": dict(part)}}, sources) for part in (items, items, other))

    assert one == same
    assert (items != other) == differ(one, moved)
