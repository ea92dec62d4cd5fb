"""Lets a spec that was written for MLTK run unedited: `mltk.core` and its near modules as names for mltkbuild's."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from mltkbuild import mixins
from mltkbuild.errors import SpecError
from mltkbuild.properties import place_of_caller

_CORE = {name: getattr(mixins, name) for name in mixins.__all__}


def _command_only(name: str, command: str) -> Callable[..., None]:
    """A function of MLTK's API that a spec may import for its `__main__` block, which a build never runs."""

    def call(*args: object, **kwargs: object) -> None:
        raise SpecError(
            f"{name} can't be called while a spec is loaded", where=place_of_caller(), fix=f"use `mltk {command} NAME`"
        )

    call.__name__ = name
    return call


def _logger(*args: object, **kwargs: object) -> logging.Logger:
    """The logger that MLTK's specs ask for."""
    return logging.getLogger("mltkbuild.spec")


_CORE |= {
    "train_model": _command_only("train_model", "train"),
    "quantize_model": _command_only("quantize_model", "quantize"),
    "evaluate_model": _command_only("evaluate_model", "evaluate"),
    "summarize_model": _command_only("summarize_model", "summarize"),
    "get_mltk_logger": _logger,
}
MODULES: dict[str, dict[str, Any]] = {
    "mltk": {},
    "mltk.cli": {"get_logger": _logger},
    "mltk.core": _CORE,
    "mltk.core.model": _CORE,
}


class MltkAliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of `MODULES` importable while a spec runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for `mltk` and what is below it; what isn't provided is an error that says so."""
        if fullname.partition(".")[0] != "mltk":
            return None
        if fullname not in MODULES:
            raise SpecError(
                f"mltkbuild has no {fullname}",
                where=place_of_caller(),
                found=f"import {fullname}",
                fix="mltkbuild provides " + ", ".join(sorted(MODULES)) + "; port the rest of the spec",
            )
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with mltkbuild's objects."""
        provided = MODULES[module.__name__]
        vars(module).update(provided)

        def missing(name: str) -> Any:
            if name.startswith("__") or f"{module.__name__}.{name}" in MODULES:
                raise AttributeError(name)
            raise SpecError(
                f"mltkbuild has no {name} of {module.__name__}",
                where=place_of_caller(),
                fix="it provides " + ", ".join(sorted(provided)),
            )

        vars(module)["__getattr__"] = missing
