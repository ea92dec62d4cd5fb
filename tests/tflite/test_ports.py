"""Inputs and outputs of a converted model are Keras', in its order and by its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltkbuild.errors import StageError
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.tflite import flatbuffer, graph, ports, quantize
from mltkbuild.tflite.tflite_model import TfliteModel

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
CONVERTERS: dict[str, dict[str, Any]] = {
    "float": {"optimizations": [], "supported_ops": ["TFLITE_BUILTINS"]},
    "int8": {"inference_input_type": "int8", "inference_output_type": "int8"},
    "16x8": {"supported_ops": [INT16], "inference_input_type": "int16", "inference_output_type": "int16"},
}
STEPS = {"float": 1e-5, "int8": 0.06, "16x8": 0.01}
"""So far of the largest value may an answer be off."""


def heads(structure: Callable[[list[Any], list[Any]], tuple[Any, Any]], seed: int = 1, count: int = 2) -> Any:
    """A network of some inputs, each of another size, and three outputs of one size that differ clearly."""
    keras.utils.set_random_seed(seed)
    entries = [keras.Input((3 + place,), name=f"{'zmab'[place]}_in") for place in range(count)]
    shared = keras.layers.Dense(4, activation="relu")
    wide = [keras.layers.Dense(4)(entry) for entry in entries]
    merged = shared(keras.layers.Add()(wide) if count > 1 else wide[0])
    ends = [
        keras.layers.Dense(3, name=name, activation=kind)(merged)
        for name, kind in (("kind", "softmax"), ("place", None), ("area", "sigmoid"))
    ]
    return keras.Model(*structure(entries, ends))


GRAPHS: dict[str, tuple[Callable[[list[Any], list[Any]], tuple[Any, Any]], list[str]]] = {
    "a list": (lambda entries, ends: (entries, ends), ["kind", "place", "area"]),
    "a list in another order": (lambda entries, ends: (entries[::-1], ends[::-1]), ["area", "place", "kind"]),
    "a dict": (
        lambda entries, ends: (
            {entry.name: entry for entry in entries},
            dict(zip(("what", "where", "big"), ends, strict=True)),
        ),
        ["big", "what", "where"],
    ),
    "one twice": (lambda entries, ends: (entries, [ends[1], ends[0], ends[1]]), ["place", "kind", "place_1"]),
    "an input as it is": (lambda entries, ends: (entries, [ends[0], entries[0]]), ["kind", "z_in"]),
    "two of three": (lambda entries, ends: (entries, (ends[2], ends[0])), ["area", "kind"]),
}


def samples_for(model: Any, count: int = 24) -> list[list[np.ndarray]]:
    """Samples for each input, in Keras' order."""
    rng = np.random.default_rng(3)
    return [[rng.normal(0, 1, entry.shape[1:]).astype("float32") for entry in model.inputs] for _ in range(count)]


def converted(model: Any, samples: list[list[np.ndarray]], kind: str, folder: Path) -> Path:
    """Convert with these samples for calibration."""
    converter = {**TrainMixin.tflite_converter.default, "generate_unquantized": False, **CONVERTERS[kind]}
    calibration = None if kind == "float" else [parts if len(parts) > 1 else parts[0] for parts in samples]
    quantize.run(model, calibration, converter, folder / "a.tflite", folder / "f.tflite")
    return folder / "a.tflite"


def check(model: Any, kind: str, folder: Path) -> graph.Graph:
    """Convert, run, and compare each output with Keras' one of that place."""
    samples = samples_for(model)
    path = converted(model, samples, kind, folder)
    batches = [np.stack(parts) for parts in zip(*samples, strict=True)]
    given_ = keras.tree.pack_sequence_as(model.input, batches) if len(batches) > 1 else batches[0]
    expected = [np.asarray(part) for part in keras.tree.flatten(model(given_))]
    found = TfliteModel(path).predict(batches if len(batches) > 1 else batches[0])
    by_name = dict(zip(ports.input_names(model), batches, strict=True))
    again = TfliteModel(path, ports.output_names(model)).predict(by_name)
    assert ports.output_names(model) == list(again)
    for own, other in zip(found if len(expected) > 1 else [found], again.values(), strict=True):
        assert np.array_equal(own, other)
    for own, wanted in zip(found if len(expected) > 1 else [found], expected, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=0, atol=STEPS[kind] * max(1.0, float(np.abs(wanted).max())))
    return graph.read(path.read_bytes())


@pytest.mark.parametrize("kind", CONVERTERS)
@pytest.mark.parametrize("name", GRAPHS)
def test_ports_are_those_of_keras(name: str, kind: str, tmp_path: Path) -> None:
    """Their order, their names in the signature and of the tensors, and their values."""
    structure, names = GRAPHS[name]
    model = heads(structure)
    assert names == ports.output_names(model)
    found = check(model, kind, tmp_path)
    assert [entry.name for entry in model.inputs] == [tensor.name for tensor in found.inputs]
    signature = flatbuffer.load((tmp_path / "a.tflite").read_bytes()).signatureDefs[0]
    assert names == [port.name.decode() for port in signature.outputs]
    assert set(names) >= {tensor.name for tensor in found.outputs} - {"place_1"}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    count=st.integers(1, 3),
    order=st.permutations([0, 1, 2]),
    taken=st.integers(1, 3),
    as_dict=st.booleans(),
    named=st.booleans(),
    twice=st.booleans(),
    kind=st.sampled_from(["float", "int8"]),
)
def test_any_graph_keeps_its_ports(  # noqa: PLR0917  # hypothesis names them
    tmp_path: Path,
    seed: int,
    count: int,
    order: list[int],
    taken: int,
    as_dict: bool,
    named: bool,
    twice: bool,
    kind: str,
) -> None:
    """Whatever the number of inputs and outputs, their order, whether they are named, and given out twice."""

    def structure(entries: list[Any], ends: list[Any]) -> tuple[Any, Any]:
        chosen = [ends[place] for place in order[:taken]]
        taken_in = {entry.name: entry for entry in entries} if named and count > 1 else entries
        if as_dict:
            return taken_in, {f"o{order[place]}": end for place, end in enumerate(chosen)}
        return taken_in, [*chosen, *chosen[: int(twice)]]

    model = heads(structure, seed, count)
    found = check(model, kind, tmp_path)
    assert (count, taken + (twice and not as_dict)) == (len(found.inputs), len(found.outputs))


def test_one_input_and_output_stay_as_they_are(tmp_path: Path) -> None:
    """Nothing of such a file changes."""
    model = heads(lambda entries, ends: (entries[0], ends[0]), count=1)
    path = tmp_path / "a.tflite"
    model.export(str(path), format="litert", verbose=False)
    assert path.read_bytes() == ports.in_order(path.read_bytes(), model)


def test_outputs_that_answer_for_each_other_are_refused(tmp_path: Path) -> None:
    """What the signature says is tried on samples."""
    model = heads(GRAPHS["a list"][0])
    content = converted(model, samples_for(model), "int8", tmp_path).read_bytes()
    swapped = flatbuffer.load(content)
    outputs = swapped.subgraphs[0].outputs
    swapped.subgraphs[0].outputs = [outputs[1], outputs[0], outputs[2]]
    with pytest.raises(StageError, match="another order than Keras") as caught:
        ports.prove(flatbuffer.pack(swapped), model, samples_for(model))
    assert caught.value.found == "output 0 answers as place, not as kind"
    swapped.signatureDefs[0].outputs[0].name = b"other"
    with pytest.raises(StageError, match="which output is which"):
        ports.in_order(flatbuffer.pack(swapped), model)


class Traced(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Computes otherwise where TensorFlow traces it, as code that asks for eager execution does."""

    def call(self, x: Any) -> Any:
        """Scale, or not."""
        return x * 2.0 if tf.executing_eagerly() else x


def test_float_file_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    """The unquantized file computes what Keras does, within what float32 makes of another order of sums."""
    entry = keras.Input((4,))
    for layer, fails in ((Traced(), True), (keras.layers.Dense(64, activation="tanh"), False)):
        model = keras.Model(entry, keras.layers.Dense(2)(layer(entry)))
        if not fails:
            converted(model, samples_for(model), "float", tmp_path)
            continue
        with pytest.raises(StageError, match="doesn't answer as the Keras model does") as caught:
            converted(model, samples_for(model), "float", tmp_path)
        assert "off by" in str(caught.value.found)
