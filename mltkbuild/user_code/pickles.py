"""Watch which modules user code gets classes and functions of out of pickles: no name in its source leads to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FOUND = "pickle.find_class"


class _Hook:
    """The audit hook of this process for pickles; it can't be removed, so it is quiet unless something is watched."""

    def __init__(self) -> None:
        self.current: set[str] | None = None
        self.installed = False

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event == _FOUND and self.current is not None and args:
            self.current.add(str(args[0]))


_HOOK = _Hook()


@contextmanager
def unpickled() -> Iterator[set[str]]:
    """Collect the names of the modules that are asked for classes and functions while pickles are read.

    Yields:
        The names, as they are found: also those that joblib, NumPy and pandas ask for.
    """
    if not _HOOK.installed:
        sys.addaudithook(_HOOK)
        _HOOK.installed = True
    outer, _HOOK.current = _HOOK.current, set()
    try:
        yield _HOOK.current
    finally:
        found, _HOOK.current = _HOOK.current, outer
        if outer is not None:
            outer.update(found)
