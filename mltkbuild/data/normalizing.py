"""Bringing samples to a common range, the last step before the model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TINY = 1e-6


@dataclass(frozen=True)
class Normalization:
    """What is done to each sample by itself, in this order; Keras' and MLTK's `samplewise` settings.

    Args:
        rescale: What values are multiplied by; 0 for nothing.
        center: Whether the sample's mean is subtracted.
        deviation: Whether the sample is divided by its standard deviation.
        spread: The range that the sample's values are spread over; None for as they are.
    """

    rescale: float = 0.0
    center: bool = False
    deviation: bool = False
    spread: tuple[float, float] | None = None

    def apply(self, x: Any) -> Any:
        """Normalize a batch.

        Args:
            x: A float32 tensor of shape (n, ...).
        """
        import tensorflow as tf

        axes = list(range(1, x.shape.rank))
        if self.rescale:
            x *= self.rescale
        if self.center:
            x -= tf.reduce_mean(x, axes, keepdims=True)
        if self.deviation:
            x /= tf.math.reduce_std(x, axes, keepdims=True) + _TINY
        if self.spread is not None:
            low, high = self.spread
            least = tf.reduce_min(x, axes, keepdims=True)
            width = tf.reduce_max(x, axes, keepdims=True) - least
            # A constant sample has no spread: it lies at the lower end.
            x = (high - low) * tf.math.divide_no_nan(x - least, width) + low
        return x
