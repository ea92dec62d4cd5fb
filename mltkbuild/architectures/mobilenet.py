"""MobileNet, versions 1 and 2, for inputs of any size and number of channels."""

from __future__ import annotations

from typing import Any

import keras

from mltkbuild.architectures.blocks import activated, pooled, regularized, separable

_NORMALIZED = {"epsilon": 1e-3, "momentum": 0.999}


def mobilenet_v1(input_shape: tuple[int, ...] = (96, 96, 3), num_classes: int = 2, num_filters: int = 8) -> keras.Model:
    """MobileNet, made for MLPerf Tiny's persons in pictures.

    A. Howard and others, MobileNets, arXiv:1704.04861.

    Args:
        input_shape: Height, width, channels.
        num_classes: How many classes.
        num_filters: Channels of the first convolution; 32 is the paper's whole network, 8 a quarter of its width.
    """
    inputs = keras.Input(input_shape)
    x = activated(keras.layers.Conv2D(num_filters, 3, strides=2, **regularized())(inputs))
    # Times the first channels, and the stride.
    for times, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)):
        x = separable(x, times * num_filters, stride, **regularized())
    outputs = keras.layers.Dense(num_classes, activation="softmax")(pooled(x))
    return keras.Model(inputs, outputs)


def mobilenet_v2(  # noqa: PLR0913, PLR0917  # arguments of MLTK's, which specs give by place and by name
    input_shape: tuple[int, ...],
    alpha: float = 0.35,
    include_top: bool = True,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    last_block_filters: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """MobileNetV2, with a last convolution of any width.

    M. Sandler and others, MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381.

    Args:
        input_shape: Height, width, channels.
        alpha: The width of all layers but the last convolution, times the paper's.
        include_top: Whether the classifier comes last.
        pooling: Without it: 'avg', 'max' or None.
        classes: How many classes.
        classifier_activation: The classifier's activation; None for logits.
        last_block_filters: Channels of the last convolution; the paper's 1280, times alpha above 1, when None.
        weights: None: there are no trained weights for it.

    Raises:
        ValueError: Trained weights are asked for.
    """
    if weights is not None:
        raise ValueError(f"mobilenet_v2 has no trained weights, so weights must be None, not {weights!r}")
    inputs = keras.Input(input_shape)
    first = keras.layers.Conv2D(_divisible(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")
    x = _relu6(first(inputs), "bn_Conv1", "Conv1_relu")
    stages = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    number = 0
    for filters, repeats, stride in stages:
        for repeat in range(repeats):
            x = _inverted_residual(x, _divisible(int(filters * alpha)), 1 if repeat else stride, number)
            number += 1
    last = last_block_filters or (_divisible(1280 * alpha) if alpha > 1 else 1280)
    x = _relu6(keras.layers.Conv2D(last, 1, use_bias=False, name="Conv_1")(x), "Conv_1_bn", "out_relu")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D()(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, x, name=f"mobilenetv2_{alpha:.2f}_{input_shape[0]}")


def _inverted_residual(x: Any, filters: int, stride: int, number: int) -> Any:
    """Widen six times, convolve each channel, narrow; with a way around it where the shapes agree."""
    channels, before = x.shape[-1], x
    name = f"block_{number}_" if number else "expanded_conv_"
    if number:
        x = keras.layers.Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{name}expand")(x)
        x = _relu6(x, f"{name}expand_BN", f"{name}expand_relu")
    if stride == 2:
        sides = tuple((size % 2, 1) for size in x.shape[1:3])
        x = keras.layers.ZeroPadding2D(sides, name=f"{name}pad")(x)
    x = keras.layers.DepthwiseConv2D(
        3, strides=stride, use_bias=False, padding="same" if stride == 1 else "valid", name=f"{name}depthwise"
    )(x)
    x = _relu6(x, f"{name}depthwise_BN", f"{name}depthwise_relu")
    x = keras.layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}project")(x)
    x = keras.layers.BatchNormalization(name=f"{name}project_BN", **_NORMALIZED)(x)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}add")([before, x])
    return x


def _relu6(x: Any, normalized: str, activated: str) -> Any:
    """Batch normalization and ReLU6, by these names."""
    x = keras.layers.BatchNormalization(name=normalized, **_NORMALIZED)(x)
    return keras.layers.ReLU(6.0, name=activated)(x)


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and at most a tenth less than asked for."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
