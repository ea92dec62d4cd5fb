"""The declaration of a spec's properties: name, rule, default, one line of doc and the stages that read it.

One declaration makes the validation, the documentation table and the fingerprint (which slice a value belongs to).
"""

from __future__ import annotations

import copy
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, TypeVar, overload

from mltkbuild.errors import SpecError, did_you_mean, short

_PACKAGE = __name__.split(".", 1)[0]
T = TypeVar("T")


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Rule:
    """What a property accepts.

    Args:
        text: For people.
        accepts: The test.
        plain: Makes an accepted value one of Python's own types: a NumPy integer an int.
    """

    text: str
    accepts: Callable[[Any], bool]
    plain: Callable[[Any], Any] = _same

    def or_none(self) -> Rule:
        """The same rule, with None allowed too."""
        return Rule(
            f"{self.text} or None",
            lambda value: value is None or self.accepts(value),
            lambda value: None if value is None else self.plain(value),
        )


def is_int(value: object) -> bool:
    """Say whether a value is a whole number; a bool is not one."""
    return hasattr(value, "__index__") and not isinstance(value, bool) and getattr(value, "ndim", 0) == 0


def is_number(value: object) -> bool:
    """Say whether a value is a finite number; a bool is not one."""
    if isinstance(value, bool) or not (is_int(value) or isinstance(value, float)):
        return False
    return abs(float(value)) < float("inf")  # type: ignore[arg-type]  # an int-like or a float, tested above


ANY = Rule("any value", lambda value: True)
BOOL = Rule("True or False", lambda value: isinstance(value, bool))
STR = Rule("a string", lambda value: isinstance(value, str))
DICT = Rule("a dict", lambda value: isinstance(value, Mapping))
SEQUENCE = Rule("a list or tuple", lambda value: isinstance(value, list | tuple))
CALLABLE = Rule("a function", callable)
POSITIVE = Rule("a positive integer", lambda value: is_int(value) and value > 0, operator.index)
NOT_NEGATIVE = Rule("an integer from 0 on", lambda value: is_int(value) and value >= 0, operator.index)
COUNT_OR_ALL = Rule(
    "a positive integer or -1", lambda value: is_int(value) and (value > 0 or value == -1), operator.index
)
FRACTION = Rule("a number from 0 up to, but not including, 1", lambda value: is_number(value) and 0 <= value < 1)
LABELS = Rule(
    "a list of distinct strings",
    lambda value: (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(label, str) and label for label in value)
        and len(set(value)) == len(value)
    ),
    lambda value: type(value)(str(label) for label in value),
)
SHAPE = Rule(
    "a tuple of positive integers",
    lambda value: isinstance(value, list | tuple) and bool(value) and all(POSITIVE.accepts(size) for size in value),
    lambda value: tuple(operator.index(size) for size in value),
)


def one_of(*choices: object) -> Rule:
    """A rule that takes just the given values."""
    text = ", ".join(repr(choice) for choice in choices[:-1]) + f" or {choices[-1]!r}"
    return Rule(text, lambda value: any(value == choice and type(value) is type(choice) for choice in choices))


class Property(Generic[T]):
    """One property of a spec, `Property[int](...)` for one whose value is an int.

    Args:
        default: Its value until the spec sets one; containers are copied for each model.
        rule: What it accepts.
        doc: One line for the documentation.
        reads: The stages whose result depends on it. A property that only the builder sees is read by no stage: what
            it does shows in the Keras model.
        settings: For a dict with fixed keys: the rule of each key.
        required: Reading it unset is an error.
        loaded: The data loader sets it.
        meaning: Gives what of a value the stages go by, for one that can be said in several ways.
        added: Whether stages hear of it only where a spec sets it: it came after there were builds, and what was built
            without it stays up to date.
    """

    def __init__(  # noqa: PLR0913  # each is one part of the declaration
        self,
        default: Any,
        rule: Rule,
        doc: str,
        *,
        reads: tuple[str, ...] = (),
        settings: Mapping[str, Rule] | None = None,
        required: bool = False,
        loaded: bool = False,
        meaning: Callable[[Any], Any] = _same,
        added: bool = False,
    ) -> None:
        self.default = default
        self.rule = rule
        self.doc = doc
        self.reads = reads
        self.settings = settings
        self.required = required
        self.loaded = loaded
        self.meaning = meaning
        self.added = added
        self.name = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the name and the mixin from the class body."""
        self.name = name
        self.owner = owner.__name__

    @overload
    def __get__(self, model: None, owner: type | None = None) -> Property[T]: ...

    @overload
    def __get__(self, model: object, owner: type | None = None) -> T: ...

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        """The value set, or a copy of the default that then belongs to the model."""
        if model is None:
            return self
        return model.read_property(self)

    def __set__(self, model: Any, value: Any) -> None:
        """Check and keep a value, with the place in the spec that set it."""
        place = place_of_caller()
        self.check(value, place)
        model.keep_property(self, self.wrap(value), place)

    def check(self, value: object, place: str | None) -> None:
        """Raise a SpecError unless the value obeys the rule."""
        if not self.rule.accepts(value):
            raise SpecError(
                f"{self.name} must be {self.rule.text}",
                where=place,
                found=short(value),
                fix=f"set my_model.{self.name} to {self.rule.text} ({self.doc[0].lower()}{self.doc[1:]})",
            )
        if self.settings is not None and isinstance(value, Mapping):
            for key, item in value.items():
                check_setting(self.name, self.settings, key, item, place)

    @property
    def is_exact(self) -> bool:
        """Whether the stages go by a value just as it was set."""
        return self.meaning is _same

    def wrap(self, value: object) -> object:
        """Give a dict with fixed keys its guard, and any other value its plain form."""
        if self.settings is None or not isinstance(value, Mapping):
            return self.rule.plain(value)
        defaults = self.default if isinstance(self.default, Mapping) else {}
        return Settings(self.name, self.settings, {**copy.deepcopy(dict(defaults)), **value})

    def fresh_default(self) -> object:
        """The default for one model: never shared between two."""
        value = copy.deepcopy(self.default)
        return value if self.required else self.wrap(value)


class Settings(dict[str, Any]):
    """A dict whose keys are known: an unknown one or a wrong value is an error at the line that sets it."""

    def __init__(self, name: str, rules: Mapping[str, Rule], values: Mapping[str, object]) -> None:
        super().__init__(values)
        self._name = name
        self._rules = rules

    def __setitem__(self, key: str, value: object) -> None:
        """Check, then set."""
        check_setting(self._name, self._rules, key, value, place_of_caller())
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Check each item, then set it."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: object = None) -> Any:
        """Check, then set unless the key is there."""
        if key not in self:
            self[key] = default
        return self[key]

    def _refuse(self, *args: object) -> Any:
        """A setting can't be taken away."""
        key = args[0] if args else next(iter(self), "")
        raise SpecError(
            f"a setting of {self._name} can't be removed",
            where=place_of_caller(),
            found=repr(key),
            fix=f"set {self._name}[{key!r}] to the value that you want",
        )

    __delitem__ = pop = popitem = clear = _refuse

    def __ior__(self, other: Any) -> Settings:  # type: ignore[override,misc]  # dict's overloads, for one key type
        """Check each item, then set it."""
        self.update(other)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """A copy is a plain dict: it belongs to no spec."""
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}


def check_setting(name: str, rules: Mapping[str, Rule], key: object, value: object, place: str | None) -> None:
    """Raise a SpecError unless `name[key] = value` is a known setting with a value in its range."""
    rule = rules.get(key) if isinstance(key, str) else None
    if rule is None:
        raise SpecError(
            f"{name} has no setting {key!r}",
            where=place,
            found=f"{name}[{key!r}] = {short(value)}",
            fix=did_you_mean(str(key), rules, f"the settings of {name} are"),
        )
    if not rule.accepts(value):
        raise SpecError(f"{name}[{key!r}] must be {rule.text}", where=place, found=short(value), fix=f"use {rule.text}")


def name_of_constant(value: object) -> str:
    """The plain name of a constant: `tf.lite.Optimize.DEFAULT` is `DEFAULT`, `tf.int8` and `np.int8` are `int8`."""
    return value.__name__ if isinstance(value, type) else str(getattr(value, "name", value))


def properties_of(kind: type) -> dict[str, Property[Any]]:
    """The properties that a class declares and inherits, by name, base classes first."""
    found: dict[str, Property[Any]] = {}
    for base in reversed(kind.__mro__):
        found.update({name: item for name, item in vars(base).items() if isinstance(item, Property)})
    return found


def place_of_caller() -> str | None:
    """The `path:line` of the nearest frame outside this package and Python's import machinery: the spec's own line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        filename = frame.f_code.co_filename
        if not (f"{module}.".startswith((f"{_PACKAGE}.", "importlib.")) or filename.startswith("<frozen")):
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
