"""What Keras and TensorFlow say, told in one line."""

from __future__ import annotations

import keras
import pytest

from mltkbuild import keras_words

SAID: dict[str, tuple[str, str]] = {
    "plain": ("no such file", "no such file"),
    "nothing": ("", ""),
    "graph": (
        "Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n<stack traces lost>\n"
        "Incompatible shapes: [32] vs. [32,3]\n\t [[{{node a/b}}]] [Op:__inference_multi_step_on_iterator_1140]",
        "Incompatible shapes: [32] vs. [32,3]",
    ),
    "operation": (
        "{{function_node __wrapped__Sub_device_/job:localhost}} Incompatible shapes: [3] vs. [2] [Op:Sub] name: ",
        "Incompatible shapes: [3] vs. [2]",
    ),
    "node": (
        "Dimensions must be equal, but are 8 and 3 for '{{node sub}} = Sub[T=DT_FLOAT](a, b)' with input shapes: [8].",
        "Dimensions must be equal, but are 8 and 3 with input shapes: [8].",
    ),
    "layer": (
        "Exception encountered when calling Lambda.call().\n\n\x1b[1mname 'keras' is not defined\x1b[0m\n\nArguments",
        "name 'keras' is not defined (in Lambda.call())",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_gist_is_the_line_that_tells(name: str) -> None:
    """Without the names of nodes, and with what was called."""
    message, expected = SAID[name]
    assert expected == keras_words.gist(message)


@pytest.mark.parametrize(
    ("kind", "get", "wrong", "near"),
    [
        ("optimizer", keras.optimizers.get, "adm", "adam"),
        ("loss", keras.losses.get, "mean_square_error", "mean_squared_error"),
        ("metric", keras.metrics.get, "acuracy", "did you mean accuracy or "),
        ("activation", keras.activations.get, "rellu", "relu"),
        ("initializer", keras.initializers.get, "he_uniformm", "he_uniform"),
        ("regularizer", keras.regularizers.get, "l22", "l2"),
    ],
)
def test_unknown_name_gets_the_near_ones(kind: str, get: object, wrong: str, near: str) -> None:
    """In the words of the release of Keras that is installed."""
    assert callable(get)
    with pytest.raises(ValueError, match="Could not interpret") as caught:
        get(wrong)
    told = keras_words.unknown_name(str(caught.value))
    assert told is not None
    assert (f"Keras has no {kind} of this name", wrong, True) == (told.what, told.found, near in told.fix)


def test_other_messages_are_no_unknown_names() -> None:
    """Also one about a thing of another kind."""
    assert keras_words.unknown_name("shapes differ") is None
    assert keras_words.unknown_name("Could not interpret dtype identifier: flot") is None
