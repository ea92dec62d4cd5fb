"""Which operator ends TensorFlow Lite Micro's process, or is refused by it, and of which layer it is."""

from __future__ import annotations

import pytest

from mltkbuild.tflite import culprit, graph, lint, micro, profile, proof

from .test_profile import Op, T, handmade, options

STEP = 2.0**-27
"""Half of what the softmax of 8-bit values can read."""


def narrow(step: float = STEP) -> bytes:
    """A model whose softmax reads steps of this size, before and behind other operators."""
    small = T((1, 4), "INT8", scale=step)
    tensors = [
        small,
        T((1, 4), "INT8", scale=step, name="model/clip_1/Relu"),
        T((1, 4), "INT8", scale=1 / 256, zero=-128, name="model/best_1/Softmax"),
        T((1, 4), "INT8", scale=1 / 256, zero=-128, name="StatefulPartitionedCall_1:0"),
    ]
    softmax = Op("SOFTMAX", (1,), (2,), options("Softmax", beta=1.0))
    return handmade(tensors, [Op("RELU", (0,), (1,)), softmax, Op("RELU6", (2,), (3,))], [0], [3])


def test_a_crash_is_an_error_that_names_its_operator() -> None:
    """The process that tries the model dies instead of the one that asks, and the operator is found without a hint."""
    found = narrow()
    assert "best_1: SOFTMAX of int8 (1, 4)" == culprit.of_crash(found, graph.read(found))
    with pytest.raises(micro.CantRun) as caught:
        micro.measured(found)
    assert "best_1: SOFTMAX reads steps of 7.5e-09, too fine for its kernel, which aborts" == caught.value.found
    assert "train the model" in str(caught.value.fix)


def test_a_crash_of_unknown_cause_is_told_with_its_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is known of the operator, its layer and what it reads are told."""
    monkeypatch.setattr(lint, "find_problems", lambda model, known=str: ())
    with pytest.raises(micro.CantRun, match="crashes on the model") as caught:
        micro.measured(narrow(), str.upper)
    assert "BEST_1: SOFTMAX of int8 (1, 4)" == caught.value.found
    found = profile.profile(narrow(), "narrow")
    assert (None, True) == (found.arena, "SOFTMAX" in str(found.problem))


def test_a_step_that_the_softmax_reads_is_no_problem() -> None:
    """From twice the step on the model runs, as the formula of the kernel says, and nothing crashes."""
    found = narrow(4 * STEP)
    assert () == lint.find_problems(graph.read(found))
    assert culprit.of_crash(found, graph.read(found)) is None
    assert micro.measured(found).total > 0


def sliced(name: str) -> bytes:
    """A slice of five dimensions, for which there is no kernel, behind a layer; `name` is its output's."""
    shape = (1, 2, 2, 2, 2)
    settings = [T((5,), "INT32", values, name="arith.constant") for values in ([0] * 5, [1, 2, 1, 2, 2], [1] * 5)]
    tensors = [T(shape), T(shape, name="model/clip_1/Relu"), *settings, T((1, 2, 1, 2, 2), name=name)]
    operators = [Op("RELU", (0,), (1,)), Op("STRIDED_SLICE", (1, 2, 3, 4), (5,), options("StridedSlice"))]
    return handmade(tensors, operators, [0], [5])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model/slicer_1/slice", "slicer_1"),
        ("StatefulPartitionedCall_1:0", "behind clip_1"),
        ("Identity", "behind clip_1"),
    ],
)
def test_what_the_interpreter_refuses_is_told_with_its_layer(name: str, layer: str) -> None:
    """Its message has a number alone; an output whose name the converter made up is told by what it stands behind."""
    with pytest.raises(micro.CantRun) as caught:
        micro.measured(sliced(name))
    assert str(caught.value.found).startswith(f"{layer}: STRIDED_SLICE: ")
    assert "input dim should not exceed 4" in str(caught.value.found)


def test_an_output_has_the_name_of_its_keras_layer() -> None:
    """Where the Keras model is known its own names are told, at the end and before."""
    with pytest.raises(micro.CantRun) as caught:
        proof.prove(sliced("StatefulPartitionedCall_1:0"), layers=("clip", "slicer"), ends=("slicer",))
    assert str(caught.value.found).startswith("slicer: STRIDED_SLICE: ")


def test_weights_tell_the_layer_at_the_end() -> None:
    """The last operator's output has a made-up name, its weights their layer's."""
    tensors = [T((1, 4)), T((2, 4), data=True, name="model/tail_1/MatMul"), T((1, 2), name="PartitionedCall:0")]
    operators = [Op("FULLY_CONNECTED", (0, 1, -1), (2,), options("FullyConnected"))]
    assert "tail_1" == graph.read(handmade(tensors, operators, [0], [2])).main.operators[0].layer
