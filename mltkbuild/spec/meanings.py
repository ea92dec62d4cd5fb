"""What of a property's value the stages go by, where the same can be said in several ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltkbuild.spec.properties import is_number


def by_name(value: Any) -> Any:
    """Arguments by their names: in which order they are set says nothing."""
    if isinstance(value, Mapping) and all(type(name) is str for name in value):
        return {name: value[name] for name in sorted(value)}
    return value


def weights(value: Any) -> Any:
    """Weights of classes, by label or id, or in the order of the classes: as a number, 1 is 1.0."""
    if isinstance(value, Mapping):
        return by_name({key: _weight(item) for key, item in value.items()})
    return [_weight(item) for item in value] if isinstance(value, list | tuple) else value


def _weight(value: Any) -> Any:
    return float(value) if is_number(value) else value


def fit_arguments(value: Any) -> Any:
    """Arguments of Keras' fit, without the one that the training sets itself."""
    if not isinstance(value, Mapping):
        return value
    kept = {name: item for name, item in value.items() if name != "verbose"}
    if "class_weight" in kept:
        kept["class_weight"] = weights(kept["class_weight"])
    return by_name(kept)
