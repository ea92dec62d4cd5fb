"""The settings objects that a spec describes its preparation and augmentation with, `my_model.datagen`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mltkbuild.errors import SpecError
from mltkbuild.properties import Rule, did_you_mean, place_of_caller, short

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


class Generator:
    """Settings by name, each one checked where it is set.

    Args:
        settings: Values of the settings that aren't to have their default.

    Raises:
        SpecError: A setting doesn't exist, or its value isn't accepted.
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = {}

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
            where = place_of_caller()
            raise SpecError(
                f"{kind} has no setting {name!r}",
                where=where,
                found=f"{name} = {short(value)}",
                fix=did_you_mean(name, self.SETTINGS, f"the settings of {kind} are"),
            )
        if not item.rule.accepts(value):
            raise SpecError(
                f"{kind}.{name} must be {item.rule.text}",
                where=place_of_caller(),
                found=short(value),
                fix=f"use {item.rule.text} ({item.doc[0].lower()}{item.doc[1:]})",
            )
        object.__setattr__(self, name, item.rule.plain(value))

    @property
    def is_random(self) -> bool:
        """Whether any step is drawn anew each epoch."""
        return any(getattr(self, name) != item.default for name, item in self.SETTINGS.items() if item.when == AUGMENT)

    def read_by(self, stage: str) -> dict[str, Any]:
        """What one stage reads of these settings.

        Args:
            stage: 'data', which prepares samples, or any other, which only augments them.
        """
        when = PREPARE if stage == "data" else AUGMENT
        values = {name: getattr(self, name) for name, item in self.SETTINGS.items() if item.when == when}
        return {**values, "random": self.is_random} if stage == "data" else values
