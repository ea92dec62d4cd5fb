"""Everything that a training is at one moment, as bytes, and back.

A checkpoint is a `.npz` file (NumPy's format: a zip of arrays, each with its CRC): the arrays by number, and `meta`,
JSON that tells what they are. Reading one runs no code.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from mltkbuild import keras_private
from mltkbuild.errors import StageError
from mltkbuild.training.devices import replicas

FORMAT = 1
_MARK = "$"
_NOT_STATE = frozenset({"_model", "model", "params"})
_COLLECTIONS = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
# JSON's parser has a limit of digits, and so has Python's.
_LONG = 2**64
# What zipfile and NumPy raise for bytes that are no zip of arrays: a version of zip that isn't known is
# NotImplementedError, a member that begins beyond any memory is OverflowError.
_NO_ZIP = (zipfile.BadZipFile, NotImplementedError, OverflowError, EOFError, ValueError)
# What JSON of another shape leads to: a key or an array that isn't there, a value of another type, nested too deep.
_NO_STATE = (KeyError, TypeError, RecursionError)
_UTF8_NAME = 0x800
_CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type, np.ufunc)


class NotPlain(ValueError):
    """A value that is no number, text, array or collection of these."""


class Damaged(ValueError):
    """The bytes are no checkpoint, or one that is torn, or of another version or model."""


# -- plain values as bytes -------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """Plain values (numbers, texts, arrays, collections of these) as the bytes of a `.npz` file.

    Raises:
        NotPlain: Something in it is none of these.
    """
    arrays: list[Any] = []
    meta = json.dumps({"format": FORMAT, "state": _flat(value, arrays)}, ensure_ascii=False)
    file = io.BytesIO()
    members = {str(number): array for number, array in enumerate(arrays)}
    # A text may hold half of a surrogate pair.
    coded = np.frombuffer(meta.encode("utf-8", "surrogatepass"), np.uint8)
    np.savez(file, allow_pickle=False, meta=coded, **members)
    return file.getvalue()


def decode(data: bytes) -> Any:
    """The values that `encode` got; arrays compare equal to the bit.

    Raises:
        Damaged: The bytes are something else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive)
            meta = json.loads(_member(archive, "meta").tobytes().decode("utf-8", "surrogatepass"))
            if meta["format"] != FORMAT:
                raise Damaged(f"format {meta['format']}, not {FORMAT}")
            return _restore(meta["state"], lambda place: _member(archive, str(place)))
    except (*_NO_ZIP, *_NO_STATE) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _check_members(archive: zipfile.ZipFile) -> None:
    """Raise Damaged for members that `encode` never writes: compressed, encrypted or otherwise special ones."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & ~_UTF8_NAME:
            raise Damaged(f"{member.filename} is no plain member")


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    """An array of the file."""
    # The CRC is compared at a member's end. NumPy would believe the header before, and read no further than that says.
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


def _flat(value: Any, arrays: list[Any]) -> Any:
    """A value as JSON, its arrays put aside.

    Raises:
        NotPlain: Something in it is no plain value.
    """
    try:
        return _flatten(value, arrays)
    except RecursionError:
        raise NotPlain(f"{type(value).__name__} that holds itself, or is nested too deep") from None


def _flatten(value: Any, arrays: list[Any]) -> Any:
    if value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < _LONG):
        return value
    if type(value) is dict:
        pairs = [[_flatten(key, arrays), _flatten(item, arrays)] for key, item in value.items()]
        return {_MARK: "dict", "items": pairs}
    if _COLLECTIONS.get(type(value).__name__) is type(value):
        return {_MARK: type(value).__name__, "items": [_flatten(item, arrays) for item in value]}
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return _flatten_array(value, arrays)
    return _flatten_special(value, arrays)


def _flatten_array(value: Any, arrays: list[Any]) -> Any:
    array, found = np.asarray(value), {_MARK: "array" if isinstance(value, np.ndarray) else "scalar", "at": len(arrays)}
    if value.dtype.isbuiltin == 2:
        # bfloat16 and its like are types of their own to NumPy, which its files don't know.
        arrays.append(array.view(f"u{array.dtype.itemsize}"))
        return {**found, "type": str(array.dtype)}
    if array.dtype.kind not in "biufcmMSU":
        raise NotPlain(f"{type(value).__name__} of {array.dtype}")
    arrays.append(array)
    return found


def _flatten_special(value: Any, arrays: list[Any]) -> Any:
    """Tensors by their value; functions of a module by their name, for callbacks keep such as their comparison."""
    if type(value) is int:
        return {_MARK: "int", "hex": hex(value)}
    if type(value) is bytes:
        arrays.append(np.frombuffer(value, np.uint8))
        return {_MARK: "bytes", "at": len(arrays) - 1}
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(value, tensorflow.Tensor) and hasattr(value, "numpy"):
        return {_MARK: "tensor", "of": _flatten(np.asarray(value.numpy()), arrays)}
    name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
    module = getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else None)
    if isinstance(value, (*_CODE, np.ufunc)) and module and _named(module, name) is value:
        return {_MARK: "code", "module": module, "name": name}
    raise NotPlain(type(value).__name__)


def _named(module: str, name: str) -> Any:
    """What an already imported module has under a name."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _restore(value: Any, read: Callable[[int], Any]) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value[_MARK]
    if kind == "dict":
        return {_restore(key, read): _restore(item, read) for key, item in value["items"]}
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind]([_restore(item, read) for item in value["items"]])
    if kind in ("array", "scalar"):
        array = read(value["at"])
        array = array.view(np.dtype(value["type"])) if "type" in value else array
        return array[()] if kind == "scalar" else array
    return _restore_special(kind, value, read)


def _restore_special(kind: str, value: Mapping[str, Any], read: Callable[[int], Any]) -> Any:
    if kind == "int":
        return int(value["hex"], 16)
    if kind == "bytes":
        return read(value["at"]).tobytes()
    if kind == "tensor":
        import tensorflow as tf

        return tf.constant(_restore(value["of"], read))
    found = _named(str(value["module"]), str(value["name"]))
    if found is None:
        raise Damaged(f"there is no {value['module']}.{value['name']}")
    return found


# -- variables -------------------------------------------------------------------------------------------------------


def variables(keras_model: Any) -> dict[str, Any]:
    """Every variable that training changes, by a name of its own: weights, optimizers, metrics, random generators."""
    import keras

    groups: dict[str, Iterable[Any]] = {"model": keras_model.variables}
    optimizers = {"optimizer": getattr(keras_model, "optimizer", None)}
    # A train_step of its own may have an optimizer for each part.
    own = {f"optimizer {name}": value for name, value in vars(keras_model).items()}
    for name, optimizer in {**optimizers, **own}.items():
        if isinstance(optimizer, keras.optimizers.Optimizer):
            groups.setdefault(name, optimizer.variables)
    groups["metrics"] = keras_model.metrics_variables
    groups["generator"] = [keras_private.seed_generator().state]
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for group, items in groups.items():
        for number, variable in enumerate(items):
            if id(variable) not in seen:
                seen.add(id(variable))
                found[f"{group} {number} {variable.path}"] = variable
    return found


def values(keras_model: Any) -> dict[str, Any]:
    """A copy of the value of every variable that training changes."""
    return {name: np.array(variable) for name, variable in variables(keras_model).items()}


def assign(keras_model: Any, saved: Mapping[str, Any], without: Sequence[str] = ()) -> None:
    """Set the variables to saved values.

    Args:
        keras_model: The model, built and compiled as the saved one was.
        saved: What `values` gave.
        without: Groups of variables to leave, such as 'metrics'.

    Raises:
        Damaged: The values are of another model.
    """
    wanted = {name: value for name, value in saved.items() if name.partition(" ")[0] not in without}
    there = {name: item for name, item in variables(keras_model).items() if name.partition(" ")[0] not in without}
    shapes = {name: tuple(variable.shape) for name, variable in there.items()}
    if shapes != {name: tuple(value.shape) for name, value in wanted.items()}:
        raise Damaged("its variables are not those of the model")
    for name, variable in there.items():
        for copy in replicas(variable):
            copy.assign(wanted[name])


def assign_weights(keras_model: Any, saved: Mapping[str, Any]) -> None:
    """Set the model's own variables, and not those of optimizers and metrics, to saved values."""
    for name, variable in variables(keras_model).items():
        for copy in replicas(variable) if name.startswith("model ") else ():
            copy.assign(saved[name])


# -- callbacks -------------------------------------------------------------------------------------------------------


def callback_state(callback: Any, at_begin: Mapping[str, Any]) -> tuple[Any, str | None]:
    """What a callback knows, and what of it can't be kept.

    A callback with `get_state` tells itself; of others every attribute that holds plain values is kept.

    Args:
        callback: A Keras callback.
        at_begin: Its attributes when the training began.

    Raises:
        StageError: What `get_state` returned is not made of plain values.
    """
    name = type(callback).__name__
    if hasattr(callback, "get_state"):
        state = callback.get_state()
        try:
            _flat(state, [])
        except NotPlain as error:
            raise StageError(
                f"{name}.get_state must return numbers, texts, arrays, or dicts and lists of these",
                found=f"a {error} in it",
                fix="return what set_state needs as such values",
            ) from None
        return state, None
    state, lost = {}, []
    for attribute, value in vars(callback).items():
        if attribute in _NOT_STATE:
            continue
        try:
            _flat(value, [])
        except NotPlain as error:
            if value is not at_begin.get(attribute, state) or not _is_constant(value):
                lost.append(f"{name}.{attribute} is a {error}")
            continue
        state[attribute] = value
    return state, lost[0] if lost else None


def _is_constant(value: Any) -> bool:
    """Say whether what a callback holds surely is no state of its own: code, a name, or a part of the model."""
    import keras

    return isinstance(value, (*_CODE, Enum, PurePath, keras.Layer, keras.optimizers.Optimizer))


def restore_callback(callback: Any, state: Any) -> None:
    """Give a callback back what it knew; call it after its `on_train_begin`."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    elif not hasattr(callback, "get_state"):
        vars(callback).update(state)


# -- random generators -----------------------------------------------------------------------------------------------


def random_states() -> dict[str, Any]:
    """The states of Python's and NumPy's global random generators."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {"python": random.getstate(), "numpy": (kind, keys, position, has_gauss, cached)}


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set the generators to what `random_states` gave."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])


def draws_outside_keras(keras_model: Any) -> bool:
    """Say whether the graph of a model that has trained draws random numbers that can't be resumed.

    `tf.random` functions keep their state inside a TensorFlow kernel, where nothing can read or set it.
    """
    for concrete in _graphs_of(getattr(keras_model, "train_function", None), set()):
        graph = concrete.graph.as_graph_def()
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
        if any(node.op in STATEFUL_RANDOM for node in nodes):
            return True
    return False


def _graphs_of(function: Any, seen: set[int]) -> Iterator[Any]:
    """The graphs that a function and those within it have traced; Keras wraps a plain function around its own."""
    if not callable(function) or id(function) in seen:
        return
    seen.add(id(function))
    yield from keras_private.traced_graphs(function)
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):
            yield from _graphs_of(cell.cell_contents, seen)


STATEFUL_RANDOM = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
