"""Sizes that a file leaves open: those that TensorFlow Lite Micro takes are compared with those that come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mltkbuild.tflite import graph, micro, open_sizes, predict

from .test_micro import changed, dense_model, open_batch
from .test_profile import Op, T, handmade


def spread(batch: int) -> bytes:
    """A model that spreads an image over four batches and puts it together, as a dilated convolution does."""
    folds = (T((2,), "INT32", [2, 2]), T((2, 2), "INT32", [0, 0, 0, 0]))
    tensors = [T((batch, 4, 4, 1)), *folds, T((4 * batch, 2, 2, 1)), T((batch, 4, 4, 1))]
    operators = [Op("SPACE_TO_BATCH_ND", (0, 1, 2), (3,)), Op("BATCH_TO_SPACE_ND", (3, 1, 2), (4,))]
    return handmade(tensors, operators, [0], [4])


def test_a_size_that_comes_out_larger_is_refused(tmp_path: Path) -> None:
    """Kernels would write beyond the tensor and answer something; LiteRT, which computes sizes, answers right."""
    path, x = tmp_path / "spread.tflite", np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    path.write_bytes(spread(-1))
    for run in (micro.Micro, micro.measured, micro.check):
        with pytest.raises(micro.CantRun, match="sizes that the file leaves open are wrong") as caught:
            run(spread(-1))
        assert "model/layer_3/out of shape (1, 2, 2, 1), which comes out as (4, 2, 2, 1)" == caught.value.found
        assert "a batch of 1" in str(caught.value.fix)
    refusal = predict.refusal_of(path)
    assert refusal is not None
    assert x.tolist() == predict.answers_of(path, [x], refusal)[0].tolist()
    path.write_bytes(spread(1))
    assert predict.refusal_of(path) is None
    assert x.tolist() == predict.answers_of(path, [x], None)[0].tolist()


@pytest.mark.parametrize("content", [spread(1), dense_model(), changed(open_batch)])
def test_right_sizes_are_no_reason(content: bytes) -> None:
    """A file that leaves nothing open isn't run for this, and one whose open sizes are right is taken."""
    assert open_sizes.wrong(content, graph.read(content)) is None


def test_what_can_t_be_told_is_said() -> None:
    """Where LiteRT doesn't run a model, nobody knows its sizes."""
    content = handmade([T((-1, 4)), T((-1, 4))], [Op("mine", (0,), (1,))], [0], [1])
    found = open_sizes.wrong(content, graph.read(content))
    assert str(found).startswith("LiteRT, which could tell them, doesn't run the model: ")
