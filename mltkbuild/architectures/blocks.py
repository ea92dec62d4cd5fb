"""What several networks are made of."""

from __future__ import annotations

from typing import Any

import keras


def regularized(**more: Any) -> dict[str, Any]:
    """Arguments of convolutions that are padded, initialized after He and penalized for large weights (L2, 1e-4)."""
    return {
        "padding": "same",
        "kernel_initializer": "he_normal",
        "kernel_regularizer": keras.regularizers.L2(1e-4),
        **more,
    }


def activated(x: Any) -> Any:
    """Batch normalization and ReLU."""
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))


def separable(x: Any, filters: int, stride: int = 1, **settings: Any) -> Any:
    """A depthwise convolution of 3x3 and a pointwise one, each normalized and activated.

    Args:
        x: A tensor of shape (n, height, width, channels).
        filters: Channels of the result.
        stride: Stride of the depthwise convolution.
        settings: Further arguments of both; `kernel_...` means the kernels of both.
    """
    depthwise = {name.replace("kernel_", "depthwise_"): value for name, value in settings.items()}
    x = activated(keras.layers.DepthwiseConv2D(3, strides=stride, **depthwise)(x))
    return activated(keras.layers.Conv2D(filters, 1, **settings)(x))


def pooled(x: Any) -> Any:
    """The mean over height and width, as a pooling that every microcontroller has, flat."""
    return keras.layers.Flatten()(keras.layers.AveragePooling2D((x.shape[1], x.shape[2]))(x))
