"""The networks of MLPerf Tiny: a keyword spotter, an auto-encoder for sounds of machines, a residual network."""

from __future__ import annotations

import math
from typing import Any

import keras

from mltkbuild.architectures.blocks import activated, pooled, regularized, separable


def depthwise_separable_arm(
    input_shape: tuple[int, ...] = (50, 10, 1), num_classes: int = 12, filters: int = 64, regularizer: Any = None
) -> keras.Model:
    """DS-CNN, a keyword spotter of one convolution and four depthwise separable ones.

    Y. Zhang and others, Hello Edge: Keyword Spotting on Microcontrollers, arXiv:1711.07128.

    Args:
        input_shape: Time steps, features, 1; at least 49 by 9.
        num_classes: How many classes.
        filters: Channels of every convolution.
        regularizer: Of all kernels; L2 of 1e-4 when None.
    """
    settings = {"padding": "same", "kernel_regularizer": regularizer or keras.regularizers.L2(1e-4)}
    inputs = keras.Input(input_shape)
    x = activated(keras.layers.Conv2D(filters, (10, 4), strides=(2, 2), **settings)(inputs))
    x = keras.layers.Dropout(0.2)(x)
    for _ in range(4):
        x = separable(x, filters, **settings)
    x = keras.layers.AveragePooling2D((25, 5))(keras.layers.Dropout(0.4)(x))
    outputs = keras.layers.Dense(num_classes, activation="softmax")(keras.layers.Flatten()(x))
    return keras.Model(inputs, outputs)


def fully_connected_autoencoder(
    input_shape: tuple[int, ...] = (5, 128, 1), dense_units: int = 128, latent_units: int = 8
) -> keras.Model:
    """The baseline of DCASE 2020, task 2: anomalous sounds are those that it gives back badly.

    Args:
        input_shape: The shape of a sample, which is also that of the result.
        dense_units: Units of the four layers before and after the narrowest one.
        latent_units: Units of the narrowest layer.
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    for units in (*[dense_units] * 4, latent_units, *[dense_units] * 4):
        x = activated(keras.layers.Dense(units)(x))
    outputs = keras.layers.Reshape(input_shape)(keras.layers.Dense(math.prod(input_shape))(x))
    return keras.Model(inputs, outputs)


def resnet10_v1(
    input_shape: tuple[int, ...] = (32, 32, 3), num_classes: int = 10, num_filters: int = 16
) -> keras.Model:
    """A residual network of three stacks, made for CIFAR-10.

    K. He and others, Deep Residual Learning for Image Recognition, arXiv:1512.03385.

    Args:
        input_shape: Height, width, channels.
        num_classes: How many classes.
        num_filters: Channels of the first stack; the others have 32 and 64.
    """
    inputs = keras.Input(input_shape)
    x = activated(keras.layers.Conv2D(num_filters, 3, **regularized())(inputs))
    for filters, stride in ((num_filters, 1), (32, 2), (64, 2)):
        y = activated(keras.layers.Conv2D(filters, 3, strides=stride, **regularized())(x))
        y = keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 3, **regularized())(y))
        if stride > 1:
            x = keras.layers.Conv2D(filters, 1, strides=stride, **regularized())(x)
        x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    outputs = keras.layers.Dense(num_classes, activation="softmax", kernel_initializer="he_normal")(pooled(x))
    return keras.Model(inputs, outputs)
