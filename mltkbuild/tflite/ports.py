"""A converted model's inputs and outputs in Keras' order, under Keras' names.

TensorFlow's converter sorts inputs by their names and leaves outputs in an order of its own. Which is which stands in
the signature: an input has its name there, an output `output_0`, `output_1` in Keras' order, or its key in a dict.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.errors import StageError
from mltkbuild.tflite import flatbuffer, graph, micro
from mltkbuild.tflite.predict import dequantized, quantized, run_reference

SAMPLES = 8
"""So many samples show which output is which."""
_SURE = 4.0
"""So many times nearer to another output's values than to its own, and it is the other one."""
_FLOAT = 1e-3
"""Of the largest value: kernels add in orders of their own, and deep networks add up what that makes."""
_FIX = "name the outputs in a dict, or report it with the spec: nobody could tell the outputs apart"


def are_several(keras_model: Any) -> bool:
    """Whether a model has several inputs or outputs, so that they have an order."""
    ports = (getattr(keras_model, name, None) or () for name in ("inputs", "outputs"))
    return max(map(len, ports)) > 1


def output_names(keras_model: Any) -> list[str]:
    """What Keras calls a model's outputs, in its order: the keys of a dict, else the names of layers, each once."""
    structure = _output_of(keras_model)
    if isinstance(structure, Mapping):
        return sorted(map(str, structure))
    names: list[str] = []
    # A Sequential model has one output, and no name for it.
    for name in getattr(keras_model, "output_names", None) or [keras_model.layers[-1].name]:
        count = sum(name == known.rpartition("_")[0] or name == known for known in names)
        names.append(f"{name}_{count}" if name in names else name)
    return names


def input_names(keras_model: Any) -> list[str]:
    """What people call a model's inputs, in Keras' order: the keys of a dict, else the inputs' names."""
    structure = _input_of(keras_model)
    return sorted(map(str, structure)) if isinstance(structure, Mapping) else [part.name for part in keras_model.inputs]


def inputs_of(keras_model: Any, x: Any) -> list[Any]:
    """The arrays of x in the order of a model's inputs.

    Args:
        keras_model: A model that tells its inputs.
        x: One array, several in order, or by name.

    Raises:
        DataError: They don't fit the inputs.
    """
    names, structure = input_names(keras_model), _input_of(keras_model)
    given = x
    if isinstance(x, Mapping) and isinstance(structure, Mapping):
        # An input that bears another name than its key may be called by either.
        called = {part.name: key for key, part in structure.items() if part.name not in structure}
        given = {called.get(name, name): part for name, part in x.items()}
    return parts.in_order(given, names, "input", sorted_names=_are_sorted(structure))


def targets_of(keras_model: Any, y: Any) -> list[Any]:
    """The arrays of y in the order of a model's outputs; None for one that has none.

    Raises:
        DataError: They don't fit the outputs.
    """
    names, structure = output_names(keras_model), _output_of(keras_model)
    # Keras takes targets for some of the outputs where both are dicts alone.
    lacks = isinstance(structure, Mapping)
    return parts.in_order(y, names, "output", sorted_names=_are_sorted(structure), may_lack=lacks)


def _input_of(keras_model: Any) -> Any:
    """The structure of a model's inputs; a Sequential model has one, and doesn't tell it so."""
    return getattr(keras_model, "input", keras_model.inputs[0])


def _output_of(keras_model: Any) -> Any:
    """The structure of a model's outputs."""
    return getattr(keras_model, "output", keras_model.outputs[0])


def _are_sorted(structure: Any) -> bool:
    """Whether a dict's order, in which Keras takes arrays without names, isn't that in which it was written."""
    return isinstance(structure, Mapping) and list(structure) != sorted(structure)


def are_told(keras_model: Any) -> bool:
    """Whether a model tells its inputs and outputs; one that is a class of the spec's own need not."""
    return bool(getattr(keras_model, "inputs", None)) and bool(getattr(keras_model, "outputs", None))


def as_taken(keras_model: Any, x: Any) -> Any:
    """The arrays of x in the structure that a model takes: Keras takes others in an order of its own.

    Raises:
        DataError: They don't fit the inputs.
    """
    return packed(keras_model, inputs_of(keras_model, x))


def packed(keras_model: Any, inputs: Sequence[Any]) -> Any:
    """Arrays in the order of a model's inputs, in the structure that it takes."""
    return _packed(_input_of(keras_model), inputs)


def as_compared(keras_model: Any, y: Any) -> Any:
    """The arrays of y, or the weights, in the structure of a model's outputs.

    Raises:
        DataError: They don't fit the outputs.
    """
    return _packed(_output_of(keras_model), targets_of(keras_model, y))


def _packed(structure: Any, arrays: Sequence[Any]) -> Any:
    if isinstance(structure, Mapping):
        return {name: array for name, array in zip(sorted(structure), arrays, strict=True) if array is not None}
    return tuple(arrays) if isinstance(structure, list | tuple) and len(arrays) > 1 else arrays[0]


def end_layers(keras_model: Any) -> list[str]:
    """The layers that make a model's outputs, in their order, as far as it tells."""
    if hasattr(keras_model, "output_names"):
        return output_names(keras_model)
    # A model of Keras' Sequential has layers alone.
    return [keras_model.layers[-1].name] if keras_model.layers else []


def in_order(tflite: bytes, keras_model: Any) -> bytes:
    """Give a converted model with its inputs and outputs as Keras has them; with one of each, the same bytes.

    Raises:
        StageError: The file doesn't tell which is which.
    """
    if not are_several(keras_model):
        return tflite
    model = flatbuffer.load(tflite)
    signature = next((item for item in model.signatureDefs or [] if item.subgraphIndex == 0), None)
    if signature is None:
        raise _unknown("no signature")
    main = model.subgraphs[0]
    inputs = [entry.name for entry in keras_model.inputs]
    main.inputs = _sorted(signature.inputs, inputs, inputs, main.tensors, ())
    outputs = output_names(keras_model)
    keys = (
        outputs
        if isinstance(_output_of(keras_model), Mapping)
        else [f"output_{place}" for place in range(len(outputs))]
    )
    main.outputs = _sorted(signature.outputs, keys, outputs, main.tensors, main.inputs)
    return flatbuffer.pack(model, len(tflite))


def _sorted(
    ports: list[Any], keys: Sequence[str], names: Sequence[str], tensors: Sequence[Any], inputs: Sequence[int]
) -> list[int]:
    """Put the signature's ports in the order of their keys, and call them and their tensors by their names."""
    known = {bytes(port.name).decode(): port for port in ports}
    if sorted(known) != sorted(keys):
        raise _unknown(f"{', '.join(sorted(known))} for {', '.join(names)}")
    ports[:] = [known[key] for key in keys]
    named = set(inputs)
    for port, name in zip(ports, names, strict=True):
        port.name = name.encode()
        index = int(port.tensorIndex)
        # A tensor that is given out twice, or as it came in, keeps the first name.
        if index not in named:
            tensors[index].name = name.encode()
        named.add(index)
    return [int(port.tensorIndex) for port in ports]


def _unknown(found: str) -> StageError:
    return StageError("the converted model doesn't tell which output is which", found=found, fix=_FIX)


def prove(tflite: bytes, keras_model: Any, samples: Sequence[Sequence[np.ndarray]], *, is_float: bool = False) -> None:
    """Run a converted model and Keras' on the same samples: each output must be the one that it is called.

    Args:
        tflite: The converted model.
        keras_model: The Keras model.
        samples: For each sample an array an input.
        is_float: Whether nothing in it is quantized, so that it must answer as Keras' does.

    Raises:
        StageError: An output answers as another one does, or otherwise than Keras'.
    """
    if not samples or not (is_float or are_several(keras_model)):
        return
    expected = _answers_of_keras(keras_model, samples)
    try:
        found = _answers_of(tflite, samples)
    except StageError:
        # Operators that no interpreter has here: the proof says so, and the order is the signature's.
        return
    names = output_names(keras_model) if are_several(keras_model) else [""]
    if is_float and not any(map(_differ, expected, _answers_of_keras(keras_model, samples))):
        _require_same(expected, found, names)
    for place, own in enumerate(found):
        near = _distance(own, expected[place])
        for other, values in enumerate(expected):
            if values.shape == own.shape and near > _SURE * _distance(own, values) + 1e-6:
                raise StageError(
                    "the converted model gives its outputs in another order than Keras",
                    found=f"output {place} answers as {names[other]}, not as {names[place]}",
                    fix=_FIX,
                )


def _require_same(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Each output of a float model is Keras', but for the order in which kernels add."""
    for name, wanted, own in zip(names, expected, found, strict=True):
        if _differ(wanted, own):
            whose = f"the output {name}" if name else "it"
            told = (
                "of another shape" if wanted.shape != own.shape else f"off by {_distance(wanted, own):.3g} on average"
            )
            raise StageError(
                "the unquantized .tflite doesn't answer as the Keras model does",
                found=f"{whose} is {told}, of values up to {float(np.abs(wanted).max(initial=0)):.3g}",
                fix="look for a layer that TensorFlow converts otherwise, such as one that draws numbers or keeps a "
                "state; leave out layers one by one to find it",
            )


def _differ(wanted: np.ndarray, own: np.ndarray) -> bool:
    """Whether answers differ by more than float32 does, on the whole: one that is a threshold's may turn over."""
    return _distance(wanted, own) > _FLOAT * float(np.abs(wanted).max(initial=0)) + 1e-6


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other).mean()) if one.shape == other.shape else np.inf


def _answers_of_keras(keras_model: Any, samples: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    import keras

    batches = [np.stack(parts) for parts in zip(*samples, strict=True)]
    given = batches[0] if len(batches) == 1 else keras.tree.pack_sequence_as(keras_model.input, batches)
    answers = keras.tree.flatten(keras_model(given, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(answer), np.float32) for answer in answers]


def _answers_of(tflite: bytes, samples: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    model = graph.read(tflite)
    inputs, outputs = ([asdict(micro.port_of(tensor)) for tensor in part] for part in (model.inputs, model.outputs))
    batches = [np.stack(parts) for parts in zip(*samples, strict=True)]
    given = [quantized(part, port) for part, port in zip(batches, inputs, strict=True)]
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(tflite)
        found = run_reference(path, given)
    return [dequantized(part, port) for part, port in zip(found, outputs, strict=True)]
