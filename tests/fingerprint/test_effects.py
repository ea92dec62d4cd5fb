"""Statements that change something outside of the workspace's modules are found, whatever they are written like."""

from __future__ import annotations

import textwrap

import pytest

from mltkbuild.fingerprint.code import parse
from mltkbuild.fingerprint.effect_rows import lasting
from mltkbuild.fingerprint.effects import effects

HEAD = """\
import builtins, colorsys, decimal, logging, os, random, sys, warnings
import keras, lib, parts
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from lib import REGISTRY, Thing
from os import environ
from mltkbuild import MltkModel
"""


def found(code: str) -> dict[str, bool]:
    """The paths of what code changes, and whether that happens as it is imported."""
    tree = parse(HEAD + textwrap.dedent(code))
    return {effect.path: effect.at_import for effect in effects(tree, "", lambda name: name != "parts")}


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("os.environ['A'] = '1'", "os.environ"),
        ("environ.update(A='1')", "os.environ.update"),
        ("env = os.environ\nenv['A'] = '1'", "os.environ"),
        ("os.environ.setdefault('A', '1')", "os.environ.setdefault"),
        ("del os.environ['A']", "os.environ"),
        ("os.putenv('A', '1')", "os.putenv"),
        ("sys.argv = ['x']", "sys.argv"),
        ("sys.path.insert(0, 'x')", "sys.path.insert"),
        ("lib.SCALE = 2", "lib.SCALE"),
        ("lib.SCALE += 2", "lib.SCALE"),
        ("lib.SCALE: int = 2", "lib.SCALE"),
        ("lib.A, lib.B = 1, 2", "lib.A"),
        ("del lib.SCALE", "lib.SCALE"),
        ("for lib.SCALE in (1, 2): pass", "lib.SCALE"),
        ("if True:\n    lib.SCALE = 2", "lib.SCALE"),
        ("lib.inner.TABLE['a'] = 2", "lib.inner.TABLE"),
        ("lib.__dict__['A'] = 2", "lib.__dict__"),
        ("vars(lib)['A'] = 2", "lib"),
        ("setattr(lib, 'A', 2)", "lib"),
        ("sys.modules['lib'].A = 2", "sys.modules.A"),
        ("__import__('lib').A = 2", "lib.A"),
        ("for one in (lib, np): one.A = 2", "lib.A"),
        ("one = lib if True else np\none.A = 2", "lib.A"),
        ("Thing.limit = 3", "lib.Thing.limit"),
        ("Thing.method.flag = 3", "lib.Thing.method.flag"),
        ("class Mine:\n    lib.A = 2", "lib.A"),
        ("REGISTRY.append(3)", "lib.REGISTRY.append"),
        ("REGISTRY += [3]", "lib.REGISTRY"),
        ("builtins.NAME = 3", "builtins.NAME"),
        ("__builtins__['NAME'] = 3", "builtins"),
        ("decimal.getcontext().prec = 3", "decimal.getcontext.prec"),
        ("context = decimal.getcontext()\ncontext.prec = 3", "decimal.getcontext.prec"),
        ("old = np.seterr(all='ignore')", "numpy.seterr"),
        ("plt.rcParams['x'] = 3", "matplotlib.pyplot.rcParams"),
        ("tf.config.threading.set_x(1)", "tensorflow.config.threading.set_x"),
        ("lib.start()", "lib.start"),
        ("parts.patch(lib)", "lib"),
        ("exec('lib.A = 3')", "builtins.exec"),
    ],
)  # fmt: skip
def test_change_at_the_top_is_found(code: str, path: str) -> None:
    """What a module changes while it is imported is found under the name by which its library has it."""
    assert found(code).get(path)


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("def f():\n    lib.A = 2", "lib.A"),
        ("def f():\n    import lib as other\n    other.A = 2", "lib.A"),
        ("def f(one=lib):\n    one.A = 2", "lib.A"),
        ("def f():\n    def g():\n        REGISTRY.append(3)\n    g()", "lib.REGISTRY.append"),
        ("class Mine:\n    def f(self):\n        os.environ['A'] = '1'", "os.environ"),
        ("f = lambda: setattr(lib, 'A', 3)", "lib"),
        ("def f():\n    keras.config.set_floatx('float64')", "keras.config.set_floatx"),
        ("@tf.RegisterGradient('A')\ndef f(op, grad): pass", "tensorflow.RegisterGradient"),
    ],
)
def test_change_in_a_function_is_found(code: str, path: str) -> None:
    """A function may change it in any stage."""
    assert {path: False} == found(code)


@pytest.mark.parametrize(
    "code",
    [
        "x = np.append(np.zeros(3), 4)\nx[0] = 3",
        "net = keras.Sequential()\nnet.trainable = False\nnet.compile()",
        "class Mine(MltkModel):\n    def f(self):\n        self.a = 3\nmy = Mine()\nmy.epochs = 3",
        "parts.SCALE = 3",
        "print(lib.SCALE)",
        "with decimal.localcontext() as context:\n    context.prec = 3",
        "def f():\n    found = tf.config.list_x()\n    plt.plot(found)\n    return np.setdiff1d([1], [2])",
        "def f():\n    np.random.seed(3)\n    tf.random.set_seed(3)\n    warnings.filterwarnings('ignore')",
        "@keras.saving.register_keras_serializable()\nclass Layer(keras.layers.Layer):\n    pass",
        "keras.utils.get_custom_objects()['f'] = print",
        "def f(table):\n    table['a'] = 3\n    table.append(4)\n    lib = {}\n    lib['a'] = 3",
        "if __name__ == '__main__':\n    os.environ['A'] = '1'",
    ],
)
def test_what_stays_with_the_workspace_is_no_change(code: str) -> None:
    """New objects, the spec's own modules and what mltkbuild itself looks after are nobody else's."""
    assert {} == found(code)


def test_what_is_given_back_does_not_last() -> None:
    """The usual settings are undone after a stage; a library's names, or calls of unknown effect, may not be."""
    usual = "import os, sys, warnings\nos.environ['A'] = '1'\nsys.path.append('x')\nwarnings.filterwarnings('ignore')\n"
    assert "" == lasting({"models/a.py": usual})
    assert "" == lasting({"models/a.py": usual + "import numpy as np\nnp.seterr(all='ignore')\n"})
    assert "models/a.py: colorsys.A" == lasting({"models/a.py": usual + "import colorsys\ncolorsys.A = 3\n"})
    assert "b.py: lib.set_option" == lasting(
        {"a.py": "import b", "b.py": "import lib\ndef f():\n    lib.set_option(3)"}
    )
