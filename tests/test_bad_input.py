"""Bad specs and bad data, then good ones of every form, in real workers: one clear error, or an archive."""

from __future__ import annotations

import textwrap
import zipfile
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import DataError, MltkError, SpecError, StageError
from mltkbuild.stages.table import BUILT
from mltkbuild.workers.executor import Processes

from .conftest import Files, Running

pytestmark = pytest.mark.real

LOADER = """\
    rng = np.random.default_rng(3 if subset == "training" else 4)
    y = np.arange(24) % 2
    return (rng.normal(size=(24, 4)) + y[:, None]).astype("float32"), y
"""
NETWORK = '    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])\n'
GOOD = f'''\
import keras
import numpy as np
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, EvaluateMixin, MltkDataset, MltkModel, TrainMixin

# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A model."""

def load(subset, test):
{LOADER}
def build(model):
{NETWORK}\
    network.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    return network

my_model = Model()
my_model.classes = ["a", "b"]
my_model.input_shape = (4,)
my_model.epochs = 1
my_model.tflite_converter["generate_unquantized"] = False
my_model.dataset = load
my_model.validation_split = 0.25
my_model.build_model_function = build
'''
X, Y = "np.zeros((24, 4), 'float32')", "np.arange(24) % 2"


def change(*pairs: str, text: str = GOOD) -> str:
    """The good spec with texts replaced: old, new, old, new, ..."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return text


def loads(code: str) -> str:
    """The good spec with another body of its loader."""
    return change(LOADER, textwrap.indent(code, "    ") + "\n")


def sets(code: str) -> str:
    """The good spec with one more line where it sets properties."""
    return change("my_model.epochs = 1\n", f"my_model.epochs = 1\n{code}\n")


def place(text: str, code: str) -> str:
    """Where a text stands in the spec."""
    line = next(number for number, line in enumerate(text.splitlines(), 1) if code in line)
    return f"models/bad.py:{line}: "


def write(root: Path, name: str, text: str) -> Files:
    """A workspace with one spec."""
    files = Files(root)
    files.write("dodo.py", "")
    files.write(f"models/{name}.py", text)
    return files


def fail(files: Files, executor: Processes, target: str = "bad") -> tuple[str, MltkError]:
    """Build until a stage fails; it must leave every file as it was."""
    builder = Builder(files.workspace, Running(executor.run))
    for stage in BUILT:
        before = files.tree()
        try:
            builder.build(target, stage)
        except MltkError as error:
            assert lasting(before) == lasting(files.tree())
            return stage, error
    pytest.fail("it was built")


def lasting(tree: dict[str, bytes]) -> dict[str, bytes]:
    """What a failure leaves as it was: not the memo of digests, nor the checkpoints of a training that failed later."""
    return {path: data for path, data in tree.items() if path != "build/.memo.json" and "/checkpoints/" not in path}


UNSEEDED = f"return np.random.default_rng().normal(size=(24, 4)).astype('float32'), {Y}"
OWN_LAYER = """
class Odd(keras.layers.Layer):
    def call(self, x):
        return x.no_such_thing

def build(model):
"""
LOCAL_LAYER = """\
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    network = keras.Sequential([keras.Input((4,)), Mine(), keras.layers.Dense(2, activation="softmax")])
"""
CLOCK_NETWORK = """\
    import time

    width = time.time_ns() % 1000 + 2
    layers = [keras.layers.Dense(width), keras.layers.Dense(2, activation="softmax")]
    network = keras.Sequential([keras.Input((4,)), *layers])
"""
CALLBACK = """
class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ValueError("not today")

my_model.train_callbacks = [Stop()]
"""
NAN_LOSS = change(
    "sparse_categorical_crossentropy", "mse", '"sgd"', "keras.optimizers.SGD(1e30)",
    'Dense(2, activation="softmax")', "Dense(1)", "epochs = 1", "epochs = 9",
)  # fmt: skip
# A spec's finders go with the spec: the next one in the same worker has TensorBoard where it is installed.
WITHOUT_TENSORBOARD = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name == "tensorboard" else self.finder.find_spec(name, path, target)

sys.modules.pop("tensorboard", None)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
NO_MODEL = GOOD.partition("my_model = Model()")[0]

# name: (spec, failing stage, kind, code of the line that is named, a part of the text)
BAD: dict[str, tuple[str, str, type[MltkError], str, str]] = {
    "syntax error": (sets("a = = 1"), "spec", SpecError, "a = = 1", "syntax error: invalid syntax"),
    "raises": (sets("a = 1 / 0"), "spec", SpecError, "a = 1 / 0", "the spec raised ZeroDivisionError"),
    "exit": (sets("raise SystemExit(3)"), "spec", SpecError, "raise SystemExit", "the spec raised SystemExit"),
    "interrupt": (sets("raise KeyboardInterrupt"), "spec", SpecError, "raise Key", "raised KeyboardInterrupt"),
    "no such module": (sets("import nosuch"), "spec", SpecError, "import nosuch", "No module named 'nosuch'"),
    "no model": (NO_MODEL, "spec", SpecError, "", "the spec defines no model"),
    "two models": (GOOD + "other = Model()\n", "spec", SpecError, "", "found: my_model, other"),
    "no builder": (
        change("my_model.build_model_function = build\n", ""), "spec", SpecError, "", "sets no build_model_function",
    ),
    "no data set": (change("my_model.dataset = load\n", ""), "data", SpecError, "", "the model has no data"),
    "no DatasetMixin": (
        change("TrainMixin, DatasetMixin, E", "TrainMixin, E"), "spec", SpecError, "my_model.dataset",
        "fix:   add DatasetMixin to the base classes of Model",
    ),
    "no TrainMixin": (
        change(", TrainMixin, DatasetMixin, E", ", DatasetMixin, E", "my_model.epochs = 1\n", "",
               'my_model.tflite_converter["generate_unquantized"] = False\n', "",
               "my_model.build_model_function = build\n", ""),
        "spec", SpecError, "", "add TrainMixin",
    ),
    "no classes": (change('my_model.classes = ["a", "b"]\n', ""), "spec", SpecError, "", "classes of the model"),
    "wrong type": (sets("my_model.seed = 'ten'"), "spec", SpecError, "my_model.seed", "found: 'ten'"),
    "out of range": (sets("my_model.seed = -7"), "spec", SpecError, "my_model.seed", "an integer from 0 on"),
    "misspelt": (sets("my_model.epoch = 2"), "spec", SpecError, "my_model.epoch = 2", "did you mean epochs?"),
    "changed in place": (
        sets('my_model.tflite_converter["optimizations"].append(3)'), "spec", SpecError, "", "found: ['DEFAULT', 3]",
    ),
    "label in place": (sets("my_model.classes.append(5)"), "spec", SpecError, "my_model.classes = ", "distinct"),
    "no such converter setting": (
        sets('my_model.tflite_converter["input_type"] = 1'), "spec", SpecError, '["input_type"]', "did you mean",
    ),
    "parameter of no type": (sets('my_model.model_parameters["a"] = {}'), "spec", SpecError, "", "parameter 'a'"),
    "parameter without a name": (sets("my_model.model_parameters[3] = 1"), "spec", SpecError, "", "must be a string"),
    "tensorboard": (
        sets(WITHOUT_TENSORBOARD + "my_model.tensorboard = {}"), "spec", SpecError, "my_model.tensorb", "not installed",
    ),
    "nothing returned": (
        change("return network", "pass"), "spec", SpecError, "my_model.build_model_", "found: NoneType",
    ),
    "uncompiled": (change("network.compile(", "dict("), "spec", SpecError, "my_model.build_model_", "is not compiled"),
    "unbuilt": (change("keras.Input((4,)), ", ""), "spec", SpecError, "my_model.build_model_", "has no input shape"),
    "custom layer fails": (
        change("def build(model):\n", OWN_LAYER, "keras.layers.Dense(", "Odd(), keras.layers.Dense("),
        "spec", SpecError, "x.no_such_thing", "in call",
    ),
    "custom layer can't be loaded": (
        change(NETWORK, LOCAL_LAYER), "spec", SpecError, "my_model.build_model_", "'Mine'",
    ),
    "a port of MLTK's is missing": (
        sets("from mltk.core import TfliteProfiler"), "spec", SpecError, "import TfliteP", "TfliteProfiler",
    ),
    "NaN": (
        loads(f"x = {X}\nx[5, 1] = np.nan\nreturn x, {Y}"), "data", DataError, "my_model.dataset", "in sample 5",
    ),
    "labels outside": (
        loads(f"return {X}, np.arange(24) % 3"), "data", DataError, "my_model.dataset", "outside the classes",
    ),
    "lengths": (loads(f"return {X}, np.arange(23) % 2"), "data", DataError, "my_model.dataset", "differ in length"),
    "no samples": (
        loads(f"return {X}[:0], np.zeros(0)"), "data", DataError, "my_model.dataset", "training data has no samples",
    ),
    "a text": (loads("return 'data/'"), "data", SpecError, "my_model.dataset", "found: str"),
    "four parts": (loads("return 1, 2, 3, 4"), "data", SpecError, "my_model.dataset", "found: a tuple of 4"),
    "nothing loaded": (loads("return None"), "data", SpecError, "my_model.dataset", "the loader gave none"),
    "four validation parts": (
        loads(f"return {X}, {Y}, (1, 2, 3, 4)"), "data", DataError, "my_model.dataset", "found: 4 parts",
    ),
    "an iterator": (loads("return iter([1, 2])"), "data", DataError, "my_model.dataset", "from an iterator"),
    "a class as data set": (
        change("my_model.dataset = load", "my_model.dataset = MltkDataset"), "data", SpecError, "my_model.dataset",
        "dataset is a class",
    ),
    "loader raises": (
        loads("return open('/nowhere/x.npy')"), "data", DataError, "open(", "the data loader raised FileNotFoundError",
    ),
    "other data each time": (
        loads(UNSEEDED), "preflight", StageError, "my_model.dataset", "other training samples than before",
    ),
    "other model each time": (
        change(NETWORK, CLOCK_NETWORK), "train", StageError, "my_model.build_model_", "another model than before",
    ),
    "wrong input shape": (
        loads(f"return np.zeros((24, 5), 'float32'), {Y}"), "preflight", SpecError, "my_model.build_model_",
        "found: samples of shape (5,), an input of shape (4,)",
    ),
    "loss doesn't fit": (
        change("sparse_categorical", "categorical"), "preflight", SpecError, "my_model.build_model_function = build",
        "the loss takes one-hot rows",
    ),
    "loss is NaN": (NAN_LOSS, "train", StageError, "", "the loss is no finite number at step"),
    "callback raises": (
        sets(CALLBACK), "train", StageError, "raise ValueError", "found: not today",
    ),
    "endless": (change("epochs = 1", "epochs = -1"), "spec", SpecError, "epochs = -1", "needs early_stopping"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_error_that_names_the_line_and_leaves_everything_as_it_was(
    name: str, tmp_path: Path, executor: Processes
) -> None:
    """A bad spec fails in the stage that can tell, in words about the user's own file; the next model is not hurt."""
    text, stage, kind, code, part = BAD[name]
    files = write(tmp_path / "ws", "bad", text)
    files.write("models/good.py", GOOD)
    failed, error = fail(files, executor)
    assert stage == failed
    assert kind is type(error)
    lines = str(error).splitlines()
    assert lines[0].startswith(place(text, code) if code else "models/bad.py: ")
    assert any(part in line for line in lines)
    assert any(line.startswith("  fix:   ") for line in lines) or name == "no samples"
    for foreign in (str(tmp_path), "Traceback", "site-packages", "mltkbuild/"):
        assert foreign not in str(error)
    assert "spec" == Builder(files.workspace, Running(executor.run)).build("good", "spec").stage


def test_broken_edit_keeps_the_old_archive(tmp_path: Path, executor: Processes) -> None:
    """After a build, an edit that can't be built leaves archive, artifacts and records; its undoing costs nothing."""
    files = write(tmp_path / "ws", "bad", GOOD)
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("bad", "archive")
    before = files.tree()
    files.edit("models/bad.py", "epochs = 1", "epochs = 0")
    assert "spec" == fail(files, executor)[0]
    files.edit("models/bad.py", "epochs = 0", "epochs = 1")
    assert before == {path: data for path, data in files.tree().items() if path in before}
    again = Builder(files.workspace, Running(executor.run))
    assert [] == [stage for stage in BUILT if again.judge("bad", stage).reasons]


MLTK_STYLE = change(
    "from mltkbuild import DatasetMixin, EvaluateClassifierMixin, EvaluateMixin, MltkDataset, MltkModel, TrainMixin",
    "import mltk.core as mltk_core\nfrom mltk.core import MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin",
    '    """A model."""\n',
    '''\
    """A model."""

    def load_dataset(self, subset: str, test: bool = False, **kwargs):
        super().load_dataset(subset, test=test, **kwargs)
        self.x, self.y = load(subset, test)
        if subset == "training":
            self.validation_data = (self.x[16:], self.y[16:])
            self.x, self.y = self.x[:16], self.y[:16]
''',
    "my_model.dataset = load\nmy_model.validation_split = 0.25\n",
    '''
@my_model.cli.command("visualize")
def visualize():
    """Never called by a build."""


if __name__ == "__main__":
    from mltk import cli
    cli.get_logger().setLevel("DEBUG")
    mltk_core.train_model("good", clean=True)

''',
)
CUSTOM = """
@keras.saving.register_keras_serializable()
class Scale(keras.layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

class Largest(keras.metrics.Mean):
    def update_state(self, y, p, sample_weight=None):
        super().update_state(keras.ops.max(p))

def my_loss(y, p):
    return keras.losses.sparse_categorical_crossentropy(y, p)

def build(model):
"""
REGRESSION = change(
    "EvaluateClassifierMixin)", "EvaluateMixin)", 'my_model.classes = ["a", "b"]\n', "",
    'Dense(2, activation="softmax")', "Dense(1)", '"sparse_categorical_crossentropy"', "my_loss",
    '["accuracy"]', '["mae"]',
    "def build(", "def my_loss(y, p):\n    return (p - keras.ops.reshape(y, (-1, 1))) ** 2\n\ndef build(",
)  # fmt: skip
FROM_LOADER = change(
    LOADER, '    my_model.classes = list(np.unique(["b", "a"]))\n    my_model.input_shape = (4,)\n' + LOADER,
    'my_model.classes = ["a", "b"]\nmy_model.input_shape = (4,)\n', "",
    NETWORK,
    "    assert model.class_counts['training'] == {'a': 9, 'b': 9}\n" + NETWORK.replace("(4,)", "model.input_shape"),
)  # fmt: skip
SHAPE_FROM_LOADER = change(
    "my_model.input_shape = (4,)\n", "", LOADER, "    my_model.input_shape = (4,)\n" + LOADER,
    NETWORK, NETWORK.replace("(4,)", "model.input_shape"),
)  # fmt: skip
STREAM = """\
import tensorflow as tf
x, y = np.eye(4, dtype="float32")[np.arange(24) % 4], np.arange(24) % 2
return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
"""
GENERATED = """\
x, y = np.eye(4, dtype="float32")[np.arange(24) % 4], np.arange(24) % 2
return ((x[place : place + 8], y[place : place + 8]) for place in np.arange(40) % 3 * 8)
"""
HELPERS = {
    "models/nets/__init__.py": "",
    "models/nets/samples.py": "import numpy as np\nfrom .noise import SCALE\n\n"
    "def load_dataset(subset, **kwargs):\n    y = np.arange(24) % 2\n"
    "    return np.eye(4, dtype='float32')[y] * SCALE, y\n",
    "models/nets/noise.py": "SCALE = 2\n",
    "models/wide_net.py": "UNITS = 2\n",
}
CUSTOM_EVALUATION = """
def evaluate(mltk_model, built_model, eval_dir, show, logger):
    logger.warning("evaluating")
    return {"half": np.float32(0.5), "n_samples": 24}

my_model.eval_custom_function = evaluate
"""
BUILDS: dict[str, str] = {
    "the style of MLTK's examples": MLTK_STYLE,
    "a data set class; balanced weights; a generator of its own at module level": change(
        "my_model.dataset = load\n",
        "RNG = np.random.default_rng(1)\n\nclass Data(MltkDataset):\n"
        "    def load_dataset(self, subset, test=False, **kwargs):\n"
        "        y = np.arange(24) % 2\n"
        "        return (RNG.normal(size=(24, 4)) + y[:, None]).astype('float32'), y\n\n"
        "my_model.dataset = Data()\nmy_model.class_weights = 'balanced'\n",
    ),
    "a module of a package as data set; weights by label and id; an import by a computed name": change(
        "my_model.dataset = load\n",
        "import importlib\nimport nets.samples\n\nmy_model.dataset = nets.samples\n"
        "my_model.class_weights = {'a': 1.0, 1: 2}\nwide = importlib.import_module('_'.join(['wide', 'net']))\n",
        "Dense(2,",
        "Dense(wide.UNITS,",
    ),
    "x, y and validation_data at module level; a list of weights": change(
        "my_model.dataset = load\nmy_model.validation_split = 0.25\n",
        "my_model.x, my_model.y = load('training', False)\nmy_model.validation_data = load('evaluation', False)\n"
        "my_model.class_weights = [1, 2]\n",
    ),
    "classes and shape from the loader, class counts in the builder": FROM_LOADER,
    "the shape from the loader": SHAPE_FROM_LOADER,
    "one-hot labels, NumPy's numbers, a custom evaluation": change(
        'astype("float32"), y', 'astype("float32"), np.eye(2, dtype="float32")[y]', "sparse_", "",
        "epochs = 1\n", "epochs = np.int64(1)\n" + CUSTOM_EVALUATION, "shape = (4,)", "shape = tuple(np.array([4]))",
    ),
    "a layer, a loss and a metric of the spec, and a Lambda": change(
        "def build(model):\n", CUSTOM, '"sparse_categorical_crossentropy"', "my_loss",
        '["accuracy"]', '[Largest(name="largest")]',
        "keras.layers.Dense(",
        "Scale(3.0), keras.layers.Lambda(lambda v: v * 2, output_shape=(4,)), keras.layers.Dense(",
    ),
    "a regression with a loss of its own": REGRESSION,
    "generators": change(
        "my_model.validation_split = 0.25\n",
        "my_model.steps_per_epoch = 3\nmy_model.eval_steps_per_epoch = 2\n",
        LOADER,
        textwrap.indent(GENERATED, "    "),
    ),
    "a tf.data.Dataset": change("my_model.validation_split = 0.25\n", "", LOADER, textwrap.indent(STREAM, "    ")),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILDS)
def test_good_spec_of_every_form_is_built(name: str, tmp_path: Path, executor: Processes) -> None:
    """Whatever way MLTK's users write a spec, it becomes an archive, and then nothing is left to do."""
    files = write(tmp_path / "ws", "good", BUILDS[name])
    for path, text in HELPERS.items():
        files.write(path, text)
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good", "archive")
    with zipfile.ZipFile(files.root / "models/good.mltk.zip") as archive:
        assert {"good.py", "good.tflite", "good.keras", "provenance.json"} <= set(archive.namelist())
    again = Builder(files.workspace, Running(executor.run))
    assert [] == [stage for stage in BUILT if again.judge("good", stage).reasons]


def test_dry_run_is_built(tmp_path: Path, executor: Processes) -> None:
    """A dry run makes an archive of its own from few samples and one epoch, and tells the spec that it is one."""
    text = change("my_model.epochs = 1\n", "my_model.epochs = 50 if my_model.test_mode_enabled else 1\n", "(24", "(240")
    files = write(tmp_path / "ws", "good", text.replace("arange(24)", "arange(240)"))
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good-test", "archive")
    assert (files.root / "models/good-test.mltk.zip").exists()
    assert not (files.root / "models/good.mltk.zip").exists()
    record = builder.state("good-test").record("train")
    assert record is not None
    assert 1 == record.facts["epochs"]


def test_warm_worker_builds_what_a_fresh_one_does(tmp_path: Path, executor: Processes) -> None:
    """What one spec sets for the whole process (search path, environment, Keras' settings) is gone for the next."""
    wild = (
        "import os, sys\nsys.path.insert(0, 'x')\nos.environ['OF_A_SPEC'] = '1'\nos.chdir('/')\n"
        "keras.config.set_floatx('float16')\nkeras.mixed_precision.set_global_policy('mixed_float16')\n"
        "keras.saving.get_custom_objects()['Dense'] = None\n"
    )
    look = (
        "import os, sys\nstate = (keras.config.floatx(), keras.config.dtype_policy().name, 'x' in sys.path, "
        "'OF_A_SPEC' in os.environ, os.path.exists('dodo.py'), 'Dense' in keras.saving.get_custom_objects())\n"
        "my_model.description = repr(state)\n"
    )
    files = write(tmp_path / "ws", "wild", sets(wild))
    files.write("models/calm.py", sets(look))
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("wild", "spec")
    builder.build("calm", "spec")
    expected = repr(("float32", "float32", False, False, True, False))
    assert expected in (files.root / "build/calm/spec/params.yaml").read_text(encoding="utf-8")
    assert "mixed_float16" in (files.root / "build/wild/spec/model.json").read_text(encoding="utf-8")


def test_class_attribute_of_the_spec_is_part_of_what_the_loader_reads(tmp_path: Path, executor: Processes) -> None:
    """A constant in the class body, read by its load_dataset through self, makes the data stage run when it changes."""
    files = write(
        tmp_path / "ws",
        "good",
        change('    """A model."""\n', '''    """A model."""
    scale = 2

    def load_dataset(self, subset, test=False):
        self.x, self.y = load(subset, test)
        self.x = self.x * self.scale
''', "my_model.dataset = load\n", ""),
    )  # fmt: skip
    Builder(files.workspace, Running(executor.run)).build("good", "data")
    files.edit("models/good.py", "scale = 2", "scale = 3")
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("good", "spec")
    assert ["spec/data.yaml"] == [reason.subject for reason in builder.judge("good", "data").reasons]
