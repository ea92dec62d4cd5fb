"""The settings objects that a spec describes its preparation and augmentation with, `my_model.datagen`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mltkbuild.errors import SpecError, did_you_mean, short
from mltkbuild.spec.properties import Rule, is_number, place_of_caller

PREPARE, AUGMENT, NOTHING = "prepare", "augment", "nothing"


@dataclass(frozen=True)
class Setting:
    """One setting of a generator.

    Args:
        default: Its value until it is set.
        rule: What it accepts.
        doc: One line for the documentation.
        when: 'prepare' for what is done to each sample once, 'augment' for what is drawn anew each epoch, 'nothing' for
            a setting of MLTK's that has no effect here.
    """

    default: object
    rule: Rule
    doc: str
    when: str


NO_BATCH_FUNCTION = Setting(
    None,
    Rule("None", lambda value: value is None),
    "Not provided: change single samples in preprocessing_function, or write a data loader",
    NOTHING,
)
CORES = Setting(
    None,
    Rule(
        "a part of the processors up to 1, a number of them, -1 for all, or None",
        lambda value: value is None or (is_number(value) and (value == -1 or value > 0)),
    ),
    "How many batches are made at a time; None leaves that to TensorFlow",
    NOTHING,
)


class Generator:
    """Settings by name, each one checked where it is set.

    Args:
        settings: Values of the settings that aren't to have their default.

    Raises:
        SpecError: A setting doesn't exist, or its value isn't accepted.
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = {}
    HOW: ClassVar[tuple[str, ...]] = ()
    """Settings of random steps that are no step themselves."""

    def __init__(self, **settings: object) -> None:
        for name, item in self.SETTINGS.items():
            object.__setattr__(self, name, copy.deepcopy(item.default))
        for name, value in settings.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        """Check, then set."""
        item = self.SETTINGS.get(name)
        kind = type(self).__name__
        if item is None:
            raise self._unknown(name, f"{name} = {short(value)}")
        if not item.rule.accepts(value):
            raise SpecError(
                f"{kind}.{name} must be {item.rule.text}",
                where=place_of_caller(),
                found=short(value),
                fix=f"use {item.rule.text} ({item.doc[0].lower()}{item.doc[1:]})",
            )
        object.__setattr__(self, name, item.rule.plain(value))

    def __getattr__(self, name: str) -> Any:
        """Say that there is no such setting."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._unknown(name, name)

    def _unknown(self, name: str, found: str) -> SpecError:
        kind = type(self).__name__
        return SpecError(
            f"{kind} has no setting {name!r}",
            where=place_of_caller(),
            found=found,
            fix=did_you_mean(name, self.SETTINGS, f"the settings of {kind} are"),
        )

    @property
    def is_random(self) -> bool:
        """Whether any step is drawn or called anew each epoch."""
        return any(
            getattr(self, name) != item.default
            for name, item in self.SETTINGS.items()
            if item.when == AUGMENT and name not in self.HOW
        ) and bool(vars(self).get("random_transforms_enabled", True))

    def read_by(self, stage: str) -> dict[str, Any]:
        """What one stage reads of these settings.

        Args:
            stage: 'data', which prepares samples, or any other, which only augments them.
        """
        when = PREPARE if stage == "data" else AUGMENT
        values = {name: getattr(self, name) for name, item in self.SETTINGS.items() if item.when == when}
        return {**values, "random": self.is_random} if stage == "data" else values


def workers_of(cores: float | None, processors: int) -> int | None:
    """How many batches are made at a time.

    Args:
        cores: A part of the processors up to 1, a number of them, or -1 for all; None leaves that to TensorFlow. As
            with MLTK, 1.0 means all of them and 1 means one.
        processors: How many processors there are.
    """
    if cores is None or cores == -1:
        return None if cores is None else processors
    return max(1, round(cores * processors)) if isinstance(cores, float) and cores <= 1 else max(1, int(cores))
