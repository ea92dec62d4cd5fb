"""What sort of value something is, told by the names of its classes: NumPy, TensorFlow and Keras stay unimported."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")
_LAMBDA = "__lambda__"
_NETWORK = frozenset({"Layer", "Variable", "KerasTensor", "Optimizer", "BaseOptimizer"})
_KERAS = frozenset({"keras", "tf_keras", "tensorflow"})


# Records on people's disks know what mltkbuild gives to specs by where it was first. A class that moves within the
# package is no other value, and must retrain nothing.
_FIRST = {
    "from_mltk": "ported",
    "from_mltk.aliases": "compat",
    "from_mltk.media": "ported.files",
    "from_mltk.no_effect": "foreign_mixins",
    "spec": "",
    "tflite": "bodies",
    "training": "bodies",
    "training.epochs": "epochs",
    "training.fit": "bodies.train",
}
"""Folders and modules of mltkbuild, and where they were."""


def recorded_module(module: str) -> str:
    """The name by which records know a module: its own, unless it is one of mltkbuild's that has moved."""
    package, _, path = module.partition(".")
    if package != "mltkbuild":
        return module
    folder, _, name = path.rpartition(".")
    if path in _FIRST:
        return f"{package}.{_FIRST[path]}".rstrip(".")
    return ".".join(filter(None, (package, _FIRST[folder], name))) if folder in _FIRST else module


def full_name(value: Any) -> str:
    """Name a class or a function, `module.name`, as records do."""
    return f"{recorded_module(str(value.__module__))}.{value.__qualname__}"


def class_name(kind: type) -> str:
    """Name a class, `module.Class`; the built-in ones without their module."""
    return kind.__qualname__ if kind.__module__ == "builtins" else full_name(kind)


def type_name(value: object) -> str:
    """Name a value's class, as `class_name` does."""
    return class_name(type(value))


def really(value: object, kind: type[T]) -> TypeGuard[T]:
    """Tell an instance by its type: `isinstance` also believes a proxy that claims the class of what it wraps."""
    return issubclass(type(value), kind)


def is_array(kind: type) -> bool:
    """Tell a NumPy array's class."""
    return _is_a(kind, "numpy", "ndarray")


def attributes_of_array(value: object) -> dict[str, object]:
    """Give the attributes that an array of a user's class has beside its content; NumPy's own follow from it."""
    return {} if _top(type(value)) == "numpy" else dict(getattr(value, "__dict__", {}))


def is_numpy_scalar(kind: type) -> bool:
    """Tell the class of a NumPy scalar, such as `numpy.float32`."""
    return _is_a(kind, "numpy", "generic")


def is_dtype(kind: type) -> bool:
    """Tell the class of a NumPy dtype."""
    return _is_a(kind, "numpy", "dtype")


def is_tf_dtype(kind: type) -> bool:
    """Tell TensorFlow's class of dtypes."""
    return kind.__name__ == "DType" and _top(kind) == "tensorflow"


def is_tf_spec(kind: type) -> bool:
    """Tell TensorFlow's classes of shapes and of what a tensor must be like; their repr says all about them."""
    return kind.__name__ in {"TensorShape", "TensorSpec"} and _top(kind) == "tensorflow"


def is_tensor(kind: type) -> bool:
    """Tell a class of TensorFlow or Keras, tensor or variable, whose content `numpy()` gives."""
    return all(hasattr(kind, name) for name in ("numpy", "shape", "dtype")) and _is_keras_kind(kind)


def is_keras(value: object) -> bool:
    """Tell an instance of a Keras class, or of a subclass, that describes itself by `get_config()`."""
    kind = type(value)
    return callable(getattr(kind, "get_config", None)) and _is_keras_kind(kind)


def is_network(value: object) -> bool:
    """Tell the parts of a Keras model that are found by the model itself: layers, variables, optimizers, tensors."""
    return any(base.__name__ in _NETWORK and _top(base) == "keras" for base in type(value).__mro__)


def is_variable(value: object) -> bool:
    """Tell a variable of Keras."""
    return any(base.__name__ == "Variable" and _top(base) == "keras" for base in type(value).__mro__)


def is_keras_list(kind: type) -> bool:
    """Tell the list, dict and set that Keras puts in the place of one that is an attribute of a layer."""
    return kind.__name__.startswith("Tracked") and _top(kind) == "keras" and issubclass(kind, list | dict | set)


def is_data(kind: type) -> bool:
    """Tell the library classes that hold data and no code: scalars, dtypes, tensors."""
    if is_numpy_scalar(kind) or is_dtype(kind) or is_tf_dtype(kind) or is_tf_spec(kind):
        return True
    return _top(kind) in _KERAS and is_tensor(kind)


def steady(config: object, *, named: bool = True) -> object:
    """Give a Keras config without what differs from run to run: ids of shared objects, the bytecode of lambdas.

    Args:
        config: The config, or a part of it.
        named: Whether it holds arguments by their names, which have no order; as the config of each object does.
    """
    if isinstance(config, dict):
        if config.get("class_name") == _LAMBDA:
            return {"class_name": _LAMBDA}
        is_object = "class_name" in config and "config" in config
        found = {
            key: steady(item, named=is_object and key == "config")
            for key, item in config.items()
            if key != "shared_object_id"
        }
        by_name = (named or is_object) and all(type(key) is str for key in found)
        return {key: found[key] for key in sorted(found)} if by_name else found
    if isinstance(config, list):
        return [steady(item, named=False) for item in config]
    return tuple(steady(item, named=False) for item in config) if type(config) is tuple else config


def holds_lambda(config: object) -> bool:
    """Tell whether a Keras config has a lambda in it, which is written as bytecode."""
    if isinstance(config, dict):
        return config.get("class_name") == _LAMBDA or any(map(holds_lambda, config.values()))
    return isinstance(config, list | tuple) and any(map(holds_lambda, config))


def is_sorted(keys: Iterable[object]) -> bool:
    """Tell whether keys stand in the one order that goes without saying: texts by the alphabet, numbers by size."""
    given: list[Any] = list(keys)
    if len(given) < 2:
        return True
    return {type(key) for key in given} in ({str}, {int}) and given == sorted(given)


def is_declared(kind: type) -> bool:
    """Tell mltkbuild's own classes: the order in which a spec sets their settings means nothing."""
    return _top(kind) == "mltkbuild"


def attributes_of(value: object) -> dict[str, object]:
    """Give an instance's state by attribute: its `__dict__` and slots, without unset slots and cached properties.

    Returns:
        The attributes in the order in which they were set, which `vars()` shows, then the slots.
    """
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        for name in _slots(base):
            try:
                found.setdefault(name, getattr(value, name))
            except AttributeError:
                continue
        for name, item in vars(base).items():
            if isinstance(item, functools.cached_property):
                found.pop(name, None)
    return found


def _slots(kind: type) -> Iterator[str]:
    slots = vars(kind).get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        if name not in {"__dict__", "__weakref__"}:
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{kind.__name__.lstrip('_')}{name}" if private else name


def _top(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _is_keras_kind(kind: type) -> bool:
    return any(_top(base) in _KERAS for base in kind.__mro__)


def _is_a(kind: type, module: str, name: str) -> bool:
    return any(base.__name__ == name and _top(base) == module for base in kind.__mro__)


_originals: dict[object, object] = {}
_stand_ins: set[type] = set()


def stand_in(value: object, original: object) -> None:
    """Let a function or class of this package that was put in a library's place count as what it stands for."""
    _originals[value] = original
    _stand_ins.add(type(value))


def original(value: object) -> object:
    """Give what a function or class of this package stands for; any other value as it is."""
    return _originals.get(value, value) if type(value) in _stand_ins else value
