"""How far a reconstruction is from its original: the functions that belong to an auto-encoder's loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mltkbuild.errors import SpecError

Scoring = Callable[[Any, Any], float]
"""A function of (original, rebuilt), two arrays of one shape; the higher, the more abnormal."""


def mean_squared_error(original: Any, rebuilt: Any) -> float:
    """The mean of the squared differences, from 0."""
    return float(((original.astype("float64") - rebuilt.astype("float64")) ** 2).mean())


def mean_absolute_error(original: Any, rebuilt: Any) -> float:
    """The mean of the absolute differences, from 0."""
    return float(abs(original.astype("float64") - rebuilt.astype("float64")).mean())


def correlation_error(original: Any, rebuilt: Any) -> float:
    """1 less Pearson's correlation, from 0 to 2; 1 where one of them is constant."""
    one, other = (part.astype("float64").ravel() - part.mean() for part in (original, rebuilt))
    length = math.sqrt(float(one @ one) * float(other @ other))
    return 1.0 - float(one @ other) / length if length else 1.0


_BY_LOSS: dict[str, Scoring] = {
    "mse": mean_squared_error,
    "mean_squared_error": mean_squared_error,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "corr": correlation_error,
    "correlation": correlation_error,
}


def scoring_for(scoring_function: Scoring | None, loss: object) -> Scoring:
    """The function that scores a reconstruction.

    Args:
        scoring_function: The spec's own, of (original, rebuilt); None for the one that belongs to the loss.
        loss: The loss that the model is trained with: its name, or an object or function of that name.

    Raises:
        SpecError: No scoring belongs to this loss.
    """
    if scoring_function is not None:
        return scoring_function
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", type(loss).__name__))
    if name not in _BY_LOSS:
        raise SpecError(
            "no scoring function belongs to the model's loss",
            found=f"loss {name}",
            fix="set my_model.scoring_function to a function of (original, rebuilt) that gives a number, or train with "
            "'mse', 'mae' or 'corr'",
        )
    return _BY_LOSS[name]
