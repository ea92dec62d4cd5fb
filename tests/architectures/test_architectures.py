"""MLTK's networks: as many parameters as MLTK's own, and each runs as int8 in TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mltkbuild.architectures import mobilenet, small, tenet
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.tflite import micro, quantize

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SPECTROGRAM = (98, 1, 40)

# The counts are MLTK 0.20's, which tests/peers/mltk_architectures.py compares weight by weight.
NETWORKS: dict[str, tuple[Callable[[], Any], int]] = {
    "ds_cnn": (small.depthwise_separable_arm, 24_908),
    "autoencoder": (small.fully_connected_autoencoder, 269_992),
    "resnet10": (small.resnet10_v1, 78_666),
    "mobilenet_v1": (mobilenet.mobilenet_v1, 221_794),
    "mobilenet_v2": (lambda: mobilenet.mobilenet_v2((59, 49, 1), 0.15, classes=8, last_block_filters=384), 99_560),
    "tenet12": (lambda: tenet.tenet12((98, 1, 104), 4, channels=40, blocks=6), 306_604),
    "tenet12 multi": (lambda: tenet.tenet12(SPECTROGRAM, 4, mtconv=True), 119_716),
    "tenet6": (lambda: tenet.tenet6(SPECTROGRAM, 4), 55_012),
    "tenet12 narrow": (lambda: tenet.tenet12_narrow(SPECTROGRAM, 4), 32_020),
    "tenet6 narrow": (lambda: tenet.tenet6_narrow(SPECTROGRAM, 4), 17_524),
    "hf tenet12": (lambda: tenet.hf_tenet12(SPECTROGRAM, 4), 149_940),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_has_mltk_s_parameters(name: str) -> None:
    """The count is that of MLTK's own network."""
    make, count = NETWORKS[name]
    assert count == make().count_params()


@pytest.mark.parametrize("name", ["ds_cnn", "autoencoder", "resnet10", "mobilenet_v2", "tenet6 narrow"])
def test_network_runs_on_the_device(name: str, tmp_path: Path) -> None:
    """Quantized, it runs in TensorFlow Lite Micro and says something about its input."""
    model = NETWORKS[name][0]()
    rows = np.random.default_rng(3).normal(size=(20, *model.input_shape[1:])).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # As after a training: untrained, a deep network's values vanish, and their steps with them.
            layer.momentum = 0.0
    model(rows, training=True)
    converter = {
        **TrainMixin.tflite_converter.default,
        "inference_input_type": "int8",
        "inference_output_type": "int8",
        "generate_unquantized": False,
    }
    path = tmp_path / "network.tflite"
    quantize.run(model, list(rows), converter, path, tmp_path / "network.float32")
    runner = micro.Micro(path.read_bytes())
    shape = (1, *model.input_shape[1:])
    outputs = [runner.invoke([np.full(shape, value, np.int8)])[0] for value in (-100, 100)]
    assert [(1, *model.output_shape[1:])] * 2 == [output.shape for output in outputs]


def test_fused_filters_give_the_same() -> None:
    """The one convolution that stands for several gives what they gave."""
    layer = tenet.MultiScaleTemporalConvolution(stride=2, scales=(9, 3, 5))
    x = np.random.default_rng(5).normal(size=(2, 20, 1, 3)).astype(np.float32)
    before = np.asarray(layer(x))
    fused = layer.fused()
    np.testing.assert_allclose(before, np.asarray(fused(x)), atol=1e-5)
    assert ((9, 1), 1) == (fused.kernel_size, len(fused.weights))


def test_tenet_comes_back_from_its_file(tmp_path: Path) -> None:
    """A saved TENet is loaded without naming its layer, and computes the same."""
    model = tenet.tenet6_narrow(SPECTROGRAM, 3, mtconv=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(6).normal(size=(2, *SPECTROGRAM)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_parts_of_a_network_can_be_had() -> None:
    """Without its head TENet is a tensor or a model to go on from; MobileNetV2 pools as it is told."""
    assert (None, 13, 1, 32) == tenet.tenet12(SPECTROGRAM, 4, include_head=False, return_model=False).shape
    start = keras.Input(SPECTROGRAM)
    assert start is tenet.tenet6(None, 4, input_layer=start).inputs[0]
    shapes = {
        pooling: mobilenet.mobilenet_v2((64, 64, 3), include_top=False, pooling=pooling).output_shape
        for pooling in (None, "avg", "max")
    }
    assert {None: (None, 2, 2, 1280), "avg": (None, 1280), "max": (None, 1280)} == shapes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tenet.tenet12((98, 40), 4), "reshape the samples"),
        (lambda: tenet.tenet12((98, 40, 1), 4), "reshape the samples"),
        (lambda: tenet.MultiScaleTemporalConvolution(scales=(4,)), "odd numbers of at least 3"),
        (lambda: tenet.MultiScaleTemporalConvolution(scales=()), "odd numbers of at least 3"),
        (lambda: tenet.inverted_bottleneck(keras.Input((8, 1, 4)), 6, 1), "only where the stride is 2"),
        (lambda: tenet.inverted_bottleneck(keras.Input((8, 4)), 6, 2), "takes (n, time, 1, channels)"),
        (lambda: mobilenet.mobilenet_v2((96, 96, 3), weights="imagenet"), "no trained weights"),
    ],
)
def test_what_can_not_be_made_is_said(make: Callable[[], Any], said: str) -> None:
    """Each wrong argument is a ValueError that names it."""
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        make()
