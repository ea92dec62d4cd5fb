"""Packages that only some users need and that an extra of this one brings."""

from __future__ import annotations

import importlib
from types import ModuleType

from mltkbuild.errors import UsageError


def load(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: Its full name.
        extra: The extra of mltkbuild that brings its package.
        what: What needs it, for the error.

    Raises:
        UsageError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{what} needs a package that is not installed",
            found=str(error),
            fix=f"run `pip install 'mltkbuild[{extra}]'`",
        ) from error
