"""TENet: a keyword spotter whose convolutions run along time, with the features of a spectrogram as channels.

X. Li, X. Wei, X. Qin, Small-Footprint Keyword Spotting with Multi-Scale Temporal Convolution, arXiv:2010.09960.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

_SCALES, _MULTI = (9,), (9, 7, 5, 3)


@keras.saving.register_keras_serializable("mltkbuild")
class MultiScaleTemporalConvolution(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The sum of depthwise convolutions of several lengths along time.

    A sum of convolutions is one convolution, so after a training `fused` gives what costs the device no more than the
    longest of them.

    Args:
        stride: Stride along time and features.
        scales: Lengths of the filters, odd and at least 3; (3, 5, 7, 9) when None.

    Raises:
        ValueError: A length is even or too short, or there is none.
    """

    def __init__(self, stride: int = 1, scales: int | Sequence[int] | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.stride = stride
        self.scales = [scales] if isinstance(scales, int) else list((3, 5, 7, 9) if scales is None else scales)
        if not self.scales or any(scale < 3 or scale % 2 == 0 for scale in self.scales):
            raise ValueError(f"scales must be odd numbers of at least 3, not {self.scales}")
        self.temporal_convolutions = [self._convolution(scale) for scale in self.scales]

    def _convolution(self, scale: int) -> Any:
        return keras.layers.DepthwiseConv2D((scale, 1), strides=self.stride, padding="same", use_bias=False)

    def build(self, input_shape: Any) -> None:
        """Make the filters."""
        for convolution in self.temporal_convolutions:
            convolution.build(input_shape)
        self._shape = input_shape
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The sum of all convolutions."""
        first, *others = [convolution(inputs) for convolution in self.temporal_convolutions]
        for other in others:
            first = keras.ops.add(first, other)
        return first

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Time and features, divided by the stride."""
        return self.temporal_convolutions[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        return {**super().get_config(), "stride": self.stride, "scales": self.scales}

    def fused(self) -> Any:
        """A new depthwise convolution that gives what the layer gives."""
        longest = max(self.scales)
        one = self._convolution(longest)
        one.build(self._shape)
        kernel = sum(
            np.pad(np.asarray(each.kernel), [((longest - scale) // 2,) * 2, (0, 0), (0, 0), (0, 0)])
            for scale, each in zip(self.scales, self.temporal_convolutions, strict=True)
        )
        one.kernel.assign(kernel)
        return one


def tenet(  # noqa: PLR0913, PLR0917  # arguments of MLTK's, which specs give by place and by name
    input_shape: tuple[int, ...] | None,
    classes: int,
    channels: int = 32,
    blocks: int = 3,
    block_depth: int = 4,
    scales: Sequence[int] = _SCALES,
    channel_increase: float = 0.0,
    include_head: bool = True,
    return_model: bool = True,
    input_layer: Any = None,
    dropout: float = 0.1,
) -> Any:
    """TENet of any depth and width.

    Args:
        input_shape: (time, 1, features).
        classes: How many classes.
        channels: Channels of each block.
        blocks: How many times the time is halved.
        block_depth: Bottlenecks for each time.
        scales: Lengths of the filters along time, odd and at least 3.
        channel_increase: So many times `channels` come on top with each block.
        include_head: Whether pooling and the classifier come last.
        return_model: True for a Keras model, False for its last tensor.
        input_layer: A tensor to begin with, instead of an input of that shape.
        dropout: Before the classifier.

    Raises:
        ValueError: The shape isn't (time, 1, features).
    """
    if input_layer is None:
        if input_shape is None or len(input_shape) != 3 or input_shape[1] != 1:
            raise ValueError(f"input_shape must be (time, 1, features), not {input_shape}: reshape the samples")
        input_layer = keras.Input(input_shape)
    x = keras.layers.Conv2D(channels, (3, 1), padding="same")(input_layer)
    x = keras.layers.BatchNormalization()(x)
    for layer in range(blocks * block_depth):
        wide = int(channels * (1 + channel_increase * (1 + layer // block_depth)))
        x = inverted_bottleneck(x, wide, 1 if layer % block_depth else 2, scales=scales)
    if include_head:
        x = keras.layers.Flatten()(keras.layers.AveragePooling2D((x.shape[1], 1))(x))
        x = keras.layers.Dense(classes, activation="softmax")(keras.layers.Dropout(dropout)(x))
    return keras.Model(input_layer, x, name="TENet") if return_model else x


def inverted_bottleneck(
    x: Any, channels: int, stride: int, expansion_ratio: float = 3, scales: Sequence[int] | None = None
) -> Any:
    """Widen, convolve along time, narrow, and add what came in.

    Args:
        x: A tensor of shape (n, time, 1, channels).
        channels: Channels of the result.
        stride: Of the time; with a stride of 1 the channels must be those of `x`.
        expansion_ratio: How much wider it is inside.
        scales: Lengths of the filters along time; 9 alone when None.

    Raises:
        ValueError: The shape isn't (n, time, 1, channels), or the channels change without a stride.
    """
    if len(x.shape) != 4 or x.shape[2] != 1:
        raise ValueError(f"a bottleneck takes (n, time, 1, channels), not {x.shape}")
    if stride == 1 and x.shape[-1] != channels:
        raise ValueError(f"{x.shape[-1]} channels can become {channels} only where the stride is 2")
    y = keras.layers.Conv2D(int(channels * expansion_ratio), 1, use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    y = MultiScaleTemporalConvolution(stride=stride, scales=scales or _SCALES)(y)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(channels, 1, use_bias=False)(y))
    if stride > 1:
        x = keras.layers.Conv2D(channels, 1, strides=stride, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.layers.ReLU()(keras.layers.Add()([y, x]))


def _variant(defaults: dict[str, Any], input_shape: Any, classes: int, mtconv: bool, settings: dict[str, Any]) -> Any:
    scales = _MULTI if mtconv else _SCALES
    return tenet(input_shape, classes, **{"scales": scales, **defaults, **settings})


def tenet12(input_shape: Any, classes: int, mtconv: bool = False, **settings: Any) -> Any:
    """The paper's TENet12; `mtconv` gives it filters of four lengths. Further arguments are those of `tenet`."""
    return _variant({}, input_shape, classes, mtconv, settings)


def tenet6(input_shape: Any, classes: int, mtconv: bool = False, **settings: Any) -> Any:
    """The paper's TENet6: half as deep as `tenet12`."""
    return _variant({"block_depth": 2}, input_shape, classes, mtconv, settings)


def tenet12_narrow(input_shape: Any, classes: int, mtconv: bool = False, **settings: Any) -> Any:
    """The paper's TENet12-narrow: half as wide as `tenet12`."""
    return _variant({"channels": 16}, input_shape, classes, mtconv, settings)


def tenet6_narrow(input_shape: Any, classes: int, mtconv: bool = False, **settings: Any) -> Any:
    """The paper's TENet6-narrow: half as deep and as wide as `tenet12`."""
    return _variant({"block_depth": 2, "channels": 16}, input_shape, classes, mtconv, settings)


def hf_tenet12(input_shape: Any, classes: int, mtconv: bool = False, **settings: Any) -> Any:
    """MLTK's own variant: an eighth more channels each time that the time is halved."""
    return _variant({"channel_increase": 0.125}, input_shape, classes, mtconv, settings)
