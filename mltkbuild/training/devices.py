"""Where a model trains: on one device, on all of this machine, or with other processes; by `tf.distribute`.

Keras 3 supports `tf.distribute` only as far as one process goes; what several need beside it is in `prepare`.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from mltkbuild import keras_private
from mltkbuild.errors import StageError

CPUS = "MLTKBUILD_LOGICAL_CPUS"
"""Environment variable: so many logical CPU devices, to try 'mirrored' on a machine without GPUs."""


@functools.cache
def configure() -> None:
    """Set up the devices of this process, once and before TensorFlow uses them: a GPU's memory is taken as needed."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    count = os.environ.get(CPUS, "")
    if count.isdecimal() and int(count) > 1:
        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * int(count))


@functools.cache
def strategy(kind: str | None) -> Any:
    """The strategy for `my_model.distribute`, one a process; that of a single device for None.

    Raises:
        StageError: There is nothing to distribute on.
    """
    if kind == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        return tf.distribute.MirroredStrategy(devices)
    if kind == "multiworker":
        _check_cluster(os.environ.get("TF_CONFIG"))
        ring = tf.distribute.experimental.CommunicationImplementation.RING
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.AUTO
            if tf.config.list_physical_devices("GPU")
            else ring
        )
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    return tf.distribute.get_strategy()


def _check_cluster(text: str | None) -> None:
    try:
        config = json.loads(text or "")
        whole = bool(config["cluster"]["worker"]) and isinstance(config["task"]["index"], int)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StageError(
            "distribute = 'multiworker' needs the cluster in the environment variable TF_CONFIG",
            found=repr(text),
            fix="set it on each machine, as TensorFlow's guide to multi-worker training says, and run the same command "
            "on each, in a workspace of its own",
        )


def is_distributed(keras_model: Any) -> bool:
    """Say whether a model trains on more than one device."""
    return bool(keras_model.distribute_strategy.num_replicas_in_sync > 1)


def replicas(variable: Any) -> tuple[Any, ...]:
    """This process's copies of a variable, one a device."""
    return tuple(getattr(variable.value, "values", ())) or (variable,)


def prepare(keras_model: Any, x: Any, y: Any) -> None:
    """Make a model that was built in a strategy's scope ready for Keras' fit.

    Args:
        keras_model: The compiled model.
        x: A few samples, for the shapes.
        y: Their labels; None for data without.
    """
    # Keras would take a batch of the training data for this, which fails across processes.
    with keras_model.distribute_strategy.scope():
        keras_private.build_symbolically(keras_model, (x, y) if y is not None else (x,))
    if isinstance(keras_model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # Across processes Keras takes the mean of each metric over an axis that a single value doesn't have.
        for name in ("train_step", "test_step"):
            setattr(keras_model, name, _with_axis(getattr(keras_model, name)))


def _with_axis(step: Any) -> Any:
    @functools.wraps(step)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return {name: tf.reshape(value, [1]) for name, value in step(*args, **kwargs).items()}

    return wrapped


def settle(keras_model: Any) -> None:
    """Give every device the mean of what each has gathered by itself, such as batch normalization's statistics.

    So the state of a training is one, whichever device or process one looks at.
    """
    if not is_distributed(keras_model):
        return
    gathered = [item for item in keras_model.non_trainable_variables if np.dtype(item.dtype).kind == "f"]
    if not gathered:
        return
    across = keras_model.distribute_strategy

    own = across.run(tf.function(lambda: [tf.identity(item.value) for item in gathered]))
    for variable, values in zip(gathered, own, strict=True):
        mean = across.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)
        for copy in replicas(variable):
            copy.assign(mean)
