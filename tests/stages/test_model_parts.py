"""What of a Keras model counts beside its config: workspace objects inside it, attributes, states. With real Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from mltkbuild.stages import slices
from mltkbuild.training.building import clear_names
from mltkbuild.user_code.loader import Snapshot, loaded_spec

HEAD = """\
import random, types
import keras
import numpy as np
from keras import layers
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    pass

def network(*more, loss="mse", optimizer="adam", metrics=("mae",), last=None):
    net = keras.Sequential([keras.Input((4,)), *more, last or layers.Dense(3, name="last")])
    net.compile(loss=loss, optimizer=optimizer, metrics=list(metrics))
    return net

"""
TAIL = """
my_model = Model()
my_model.build_model_function = build
"""


def described(root: Path, text: str, times: int = 1) -> list[str]:
    """Build a spec's model from its seed, and describe it, as the spec stage and then the training do."""
    snapshot = Snapshot(str(root), "models/kws.py", ("models", ""), {"models/kws.py": HEAD + text + TAIL})
    with pytest.MonkeyPatch.context() as patches:
        for kind, method in ((keras.layers.Reshape, "call"), (keras.layers.Layer, "add_loss")):
            # Puts back what a spec puts in its place.
            patches.setattr(kind, method, getattr(kind, method))
        found = list(_described(snapshot, times))
    return found


def _described(snapshot: Snapshot, times: int) -> Iterator[str]:
    with loaded_spec(snapshot, "kws", "", False) as model:
        for _ in range(times):
            clear_names()
            keras.utils.set_random_seed(42)
            network = model.peek("build_model_function")(model)
            yield slices.model_text(slices.describe_keras_model(network, snapshot, "whole"))


REGULARIZER = """
class Shrink(keras.regularizers.Regularizer):
    def __init__(self, by=1): self.by = by
    def __call__(self, w): return {body} * keras.ops.sum(w * w)
    def get_config(self): return {{}}
def build(model): return network(last=layers.Dense(3, kernel_regularizer=Shrink({given})))
"""
LAYER = """
class Scale(layers.Layer):
    def call(self, x): return x * {used}
    def get_config(self): return super().get_config()
def build(model):
    scale = Scale()
    scale.by = {by}
    return network(scale)
"""
# Each text is a spec; `1` stands for what one edit changes to `2`.
CHANGES = {
    "regularizer's code": REGULARIZER.format(body="$", given=1),
    "regularizer's attribute": REGULARIZER.format(body="self.by", given="$"),
    "regularizer's helper": ("def by(): return $\n" + REGULARIZER.format(body="by()", given=1)),
    "regularizer's attribute that a function reads": (
        "def by(it): return it.by\n" + REGULARIZER.format(body="by(self)", given="$")
    ),
    "activity regularizer's code": REGULARIZER.format(body="$", given=1).replace("kernel_", "activity_"),
    "constraint's code": (
        "class Limit(keras.constraints.Constraint):\n    def __call__(self, w): return keras.ops.clip(w, -$, $)\n"
        "def build(model): return network(last=layers.Dense(3, bias_constraint=Limit()))\n"
    ),
    "initializer's code, with the same weights": (
        "class Begin(keras.initializers.Initializer):\n    def __call__(self, shape, dtype=None):\n"
        "        return keras.ops.zeros(shape) * $\n"
        "def build(model): return network(last=layers.Dense(3, kernel_initializer=Begin()))\n"
    ),
    "schedule's code": (
        "class Rate(keras.optimizers.schedules.LearningRateSchedule):\n    def __call__(self, step): return 0.1 / $\n"
        "    def get_config(self): return {}\n"
        "def build(model): return network(optimizer=keras.optimizers.SGD(Rate()))\n"
    ),
    "schedule's attribute": (
        "class Rate(keras.optimizers.schedules.LearningRateSchedule):\n    def __init__(self, k): self.k = k\n"
        "    def __call__(self, step): return 0.1 / self.k\n    def get_config(self): return {}\n"
        "def build(model): return network(optimizer=keras.optimizers.SGD(Rate($)))\n"
    ),
    "regularizer deep in a wrapper": REGULARIZER.format(body="$", given=1).replace(
        "network(last=layers.Dense(3, kernel_regularizer=Shrink(1)))",
        "network(layers.Reshape((2, 2)), layers.TimeDistributed(layers.Dense(2, bias_regularizer=Shrink())), "
        "layers.Flatten())",
    ),
    "cell's code": (
        "class Cell(layers.SimpleRNNCell):\n    def call(self, x, states, training=False): return x * $, states\n"
        "def build(model): return network(layers.Reshape((2, 2)), layers.RNN(Cell(2)))\n"
    ),
    "layer's attribute": LAYER.format(used="self.by", by="$"),
    "layer's attribute by a computed name": LAYER.format(used="getattr(self, 'b' + 'y')", by="$"),
    "layer's attribute that a helper reads": (
        "def factor(it): return it.by\n" + LAYER.format(used="factor(self)", by="$")
    ),
    "layer's list": LAYER.format(used="self.by[0]", by="[$, [1]]"),
    "layer's dict in another order": LAYER.format(
        used="list(self.by.values())[0]", by="dict([('a', 3), ('b', 4)][:: 3 - 2 * $])"
    ),
    "layer's helper object": (
        "class Box:\n    pass\n"
        + LAYER.format(used="self.by.k", by="Box()").replace("by = Box()", "by = Box(); scale.by.k = $")
    ),
    "attribute of a library's layer": (
        "def callback(net): return net.layers[0].gain\n"
        "def build(model):\n    net = network(layers.Dense(2))\n    net.layers[0].gain = $\n    return net\n"
    ),
    "masking of a library's layer": (
        "def build(model):\n    net = network(layers.Dense(2))\n    net.layers[0].supports_masking = $ == 1\n"
        "    return net\n"
    ),
    "casting of a library's layer": "def build(model): return network(layers.Dense(2, autocast=$ == 1))\n",
    "attribute set by its name": (
        "def build(model):\n    net = network(layers.Dense(2))\n    setattr(net.layers[0], 'supports_jit', $ == 1)\n"
        "    return net\n"
    ),
    "call put into a library's layer": (
        "def build(model):\n    net = network(layers.Dense(2))\n    net.layers[0].call = lambda x: x * $\n"
        "    return net\n"
    ),
    "call put into a library's class": (
        "KEPT = layers.Reshape.call\ndef call(self, x): return KEPT(self, x) * $\nlayers.Reshape.call = call\n"
        "def build(model): return network(layers.Reshape((4,)))\n"
    ),
    "method put into a base of a library's class": (
        "KEPT = keras.layers.Layer.add_loss\ndef add_loss(self, loss): return KEPT(self, loss * $)\n"
        "keras.layers.Layer.add_loss = add_loss\ndef build(model): return network(layers.Dense(2))\n"
    ),
    "model's attribute": (
        "class Net(keras.Model):\n"
        "    def compute_loss(self, **given): return super().compute_loss(**given) * self.alpha\n"
        "def build(model):\n    i = keras.Input((4,))\n    net = Net(i, layers.Dense(2)(i))\n    net.alpha = $\n"
        "    net.compile('sgd', 'mse')\n    return net\n"
    ),
    "inner layer of a model of one's own": (
        "class Net(keras.Model):\n    def __init__(self, width=4):\n        super().__init__()\n"
        "        self.inner = layers.Dense(2)\n        self.drop = layers.Dropout(0.5, seed=1)\n"
        "    def build(self, shape): self.inner.build(shape)\n"
        "    def call(self, x): return self.drop(self.inner(x))\n"
        "def build(model):\n    net = Net()\n    net.drop.rate = 0.1 * $\n    net.build((None, 4))\n"
        "    net.compile('sgd', 'mse')\n    return net\n"
    ),
    "inner layers of a layer of one's own": (
        "class Block(layers.Layer):\n    def __init__(self, **more):\n        super().__init__(**more)\n"
        "        self.steps = [layers.Dropout(0.1, seed=1), layers.Dropout(0.1, seed=2)]\n"
        "    def call(self, x):\n        for step in self.steps: x = step(x)\n        return x\n"
        "def build(model):\n    block = Block()\n    block.steps[1].rate = 0.1 * $\n    return network(block)\n"
    ),
    "model's run mode": ("def build(model):\n    net = network()\n    net.run_eagerly = $ == 1\n    return net\n"),
    "loss's attribute": (
        "class Loss(keras.losses.Loss):\n    alpha = 0\n    def call(self, y, p): return self.alpha * (y - p) ** 2\n"
        "    def get_config(self): return {}\n"
        "def build(model):\n    loss = Loss()\n    loss.alpha = $\n    return network(loss=loss)\n"
    ),
    "loss that is an object": (
        "class Loss:\n    __name__ = 'loss'\n    def __init__(self, k): self.k = k\n"
        "    def __call__(self, y, p): return self.k * keras.ops.mean((y - p) ** 2)\n"
        "def build(model): return network(loss=Loss($))\n"
    ),
    "loss that is a partial": (
        "import functools\ndef far(y, p, k): return k * keras.ops.mean((y - p) ** 2)\n"
        "def build(model):\n    loss = functools.partial(far, k=$)\n    loss.__name__ = 'far'\n"
        "    return network(loss=loss)\n"
    ),
    "partial deep in a layer": (
        "import functools\ndef by(x, k): return x * k\n"
        "class Apply(layers.Layer):\n    def call(self, x): return self.steps[0](x)\n"
        "def build(model):\n    layer = Apply()\n    layer.steps = [functools.partial(by, k=$)]\n"
        "    return network(layer)\n"
    ),
    "activation that is an object": (
        "class Act:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x * self.k\n"
        "def build(model): return network(layers.Dense(2, activation=Act($)))\n"
    ),
    "constraint of a weight": (
        "class Half(keras.constraints.Constraint):\n    def __call__(self, w): return w / 2\n"
        "def build(model):\n    net = network(layers.Dense(2))\n"
        "    net.layers[0].weights[$ - 1].constraint = Half()\n    return net\n"
    ),
    "regularizer of a weight": (
        "def build(model):\n    net = network(layers.Dense(2))\n"
        "    net.layers[0].weights[0].regularizer = keras.regularizers.L2(0.1 * $)\n    return net\n"
    ),
    "metric's attribute": (
        "class Mine(keras.metrics.Mean):\n    def update_state(self, y, p, sample_weight=None):\n"
        "        super().update_state(y * self.k)\n"
        "def build(model):\n    metric = Mine(name='mine')\n    metric.k = $\n    return network(metrics=[metric])\n"
    ),
    "optimizer's attribute": (
        "class Slow(keras.optimizers.SGD):\n    def update_step(self, gradient, variable, learning_rate):\n"
        "        super().update_step(gradient / self.slow, variable, learning_rate)\n"
        "def build(model):\n    optimizer = Slow(0.1)\n    optimizer.slow = $\n"
        "    return network(optimizer=optimizer)\n"
    ),
    "what isn't decayed": (
        "def build(model):\n    optimizer = keras.optimizers.AdamW(0.1)\n"
        "    optimizer.exclude_from_weight_decay(var_names=[['kernel', 'bias'][$ - 1]])\n"
        "    return network(optimizer=optimizer)\n"
    ),
    "which variables aren't decayed": (
        "def build(model):\n    optimizer = keras.optimizers.AdamW(0.1)\n    net = network(optimizer=optimizer)\n"
        "    optimizer.exclude_from_weight_decay(var_list=net.trainable_variables[:$])\n    return net\n"
    ),
    "optimizer's iterations": (
        "def build(model):\n    net = network()\n    net.optimizer.iterations.assign($)\n    return net\n"
    ),
    "optimizer's momentum": (
        "def build(model):\n    net = network(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))\n"
        "    net.optimizer.build(net.trainable_variables)\n"
        "    net.optimizer.variables[-1].assign(net.optimizer.variables[-1] + $)\n    return net\n"
    ),
    "optimizer inside one that scales the loss": (
        "def build(model):\n    inner = keras.optimizers.SGD(0.1, momentum=0.9)\n"
        "    net = network(optimizer=keras.optimizers.LossScaleOptimizer(inner))\n    inner.iterations.assign($)\n"
        "    return net\n"
    ),
    "what a dropout draws": (
        "def build(model):\n    [random.random() for _ in range($)]\n"
        "    return network(layers.Dropout(0.5), last=layers.Dense(3, kernel_initializer='zeros'))\n"
    ),
    "a dropout's state": (
        "def build(model):\n    net = network(layers.Dropout(0.5, seed=1))\n"
        "    net.layers[0].seed_generator.state.assign([1, $])\n    return net\n"
    ),
    "a weight that isn't trained": (
        "def build(model):\n    net = network()\n    net.layers[-1].weights[$ - 1].trainable = False\n    return net\n"
    ),
    "a layer that isn't trained": (
        "def build(model):\n    net = network(layers.Dense(2))\n    net.layers[$ - 1].trainable = False\n"
        "    return net\n"
    ),
    "layers of one name": (
        "class Half(layers.Layer):\n    def call(self, x): return x / self.k\n"
        "def build(model):\n    one, two = Half(name='half'), Half(name='half')\n    one.k, two.k = $, 1\n"
        "    return network(keras.Sequential([one]), keras.Sequential([two]))\n"
    ),
    "argument of a call": (
        "def double(x): return x * $\n"
        "class Apply(layers.Layer):\n    def call(self, x, by=None): return by(x)\n"
        "def build(model):\n    i = keras.Input((4,))\n    net = keras.Model(i, Apply()(i, by=double))\n"
        "    net.compile('sgd', 'mse')\n    return net\n"
    ),
    "operation's code": (
        "class Twice(keras.Operation):\n    def call(self, x): return x * $\n"
        "    def compute_output_spec(self, x): return keras.KerasTensor(x.shape, x.dtype)\n"
        "def build(model):\n    i = keras.Input((4,))\n    net = keras.Model(i, layers.Dense(2)(Twice()(i)))\n"
        "    net.compile('sgd', 'mse')\n    return net\n"
    ),
    "order of a lambda's arguments": (
        "def first(x, **given): return x * list(given.values())[0]\n"
        "def build(model): return network(layers.Lambda(first, arguments=dict([('a', 3), ('b', 4)][:: 3 - 2 * $])))\n"
    ),
    "order of a custom layer's config": (
        "class Group(layers.Layer):\n    def __init__(self, groups, **more):\n        super().__init__(**more)\n"
        "        self.groups = groups\n    def call(self, x): return x * list(self.groups.values())[0]\n"
        "    def get_config(self): return {**super().get_config(), 'groups': dict(self.groups)}\n"
        "def build(model): return network(Group(dict([('a', 3), ('b', 4)][:: 3 - 2 * $])))\n"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_training_may_notice_changes_the_description(name: str, tmp_path: Path) -> None:
    """An edit of code, an attribute or a state inside a model describes another model, and the same one twice alike."""
    text = CHANGES[name]
    before, again = described(tmp_path, text.replace("$", "1"), times=2)
    assert before == again
    assert [before] != described(tmp_path, text.replace("$", "2"))


SAME = {
    "order of arguments": ("layers.Dense(units=2, use_bias=False)", "layers.Dense(use_bias=False, units=2)"),
    "an attribute that nothing reads": ("layers.Dense(2)", "note(layers.Dense(2), 2)"),
    "a dropout with a seed, wherever random numbers are drawn": (
        "layers.Dropout(0.5, seed=1)",
        "[layers.Dropout(0.5, seed=1), random.random()][0]",
    ),
    "a built optimizer": ("layers.Dense(2)", "layers.Dense(2), optimizer=keras.optimizers.Adam()"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_no_training_notices_describes_the_same_model(name: str, tmp_path: Path) -> None:
    """The order of arguments, what only is written down, and what Keras would set by itself, train nothing."""
    text = (
        "def note(layer, it):\n    layer.noted = it\n    return layer\n"
        "def build(model): return network(%s, last=layers.Dense(3, kernel_initializer='zeros'))\n"
    )
    one, other = SAME[name]
    assert described(tmp_path, text % one) == described(tmp_path, text % other)


def test_a_plain_model_has_nothing_to_tell_beside_its_config(tmp_path: Path) -> None:
    """What Keras' own layers keep for themselves stays out: a release before this one described them alike."""
    text = (
        "def build(model):\n    net = network(layers.Reshape((2, 2, 1)), layers.Conv2D(3, 1, activation='relu'), "
        "layers.BatchNormalization(momentum=0.9), layers.Flatten(), layers.Dropout(0.5, seed=3))\n"
        "    net.layers[0].trainable = True\n    model.metrics = ['mae']\n    model.optimizer = 'sgd'\n"
        "    model.loss = 'mse'\n    model.input_shape = (4,)\n    model.batch_size = 3\n    model.seed = 4\n"
        "    return net\n"
    )
    (description,) = described(tmp_path, text)
    assert '"code": {},' in description
    assert '"states"' not in description
    assert "(order)" not in description
