"""What a spec changes in the process that runs it: seen, so that it counts, and undone, or else the process ends."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mltkbuild.disk.digests import bytes_digest
from mltkbuild.user_code import asking, process_settings, variables
from mltkbuild.user_code.folders import is_library
from mltkbuild.user_code.picture import Change, Picture

_PICTURE = Picture()


# -- a stage's process -------------------------------------------------------------------------------------------------


@dataclass
class Before:
    """What the settings of the process were."""

    settings: dict[str, Any]


def learn(root: str = "") -> None:
    """Take what the libraries hold for what they should hold.

    Args:
        root: The workspace, whose modules are no libraries.
    """
    _PICTURE.look(root)
    _NOW.learned_in = os.getpid()


def remember() -> Before:
    """Ask for the settings of the process, to give them back later."""
    if _NOW.learned_in != os.getpid():
        # It was forked from the one that has learned, and made ready for its own work since.
        learn()
    before = Before(process_settings.settings())
    _NOW.settings, _NOW.seen, _NOW.by_imports = dict(before.settings), {}, []
    return before


def give_back(before: Before, is_ours: Callable[[object], bool], root: str) -> str:
    """Undo what can be undone, and say what else is not as it was; empty for nothing.

    Args:
        before: The settings as they were.
        is_ours: Says whether a function, a class or an instance comes from the workspace.
        root: The workspace.
    """
    left = [*process_settings.restore(before.settings), *_NOW.by_imports]
    _note(root, is_ours)
    left += _NOW.seen
    return ", ".join(left[:3])


# -- what a spec has set while it was imported -------------------------------------------------------------------------


@dataclass
class _Now:
    """The stage that runs.

    Args:
        settings: The settings that a spec finds: those before it, but for what libraries set as they are loaded.
        seen: What the spec has changed so far, by place.
        by_imports: The settings that libraries have changed as they were loaded: they won't do it again.
        learned_in: The process that has learned what libraries hold.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Change] = field(default_factory=dict)
    by_imports: list[str] = field(default_factory=list)
    learned_in: int = 0


_NOW = _Now()


@contextmanager
def importing(root: str, is_ours: Callable[[object], bool]) -> Iterator[None]:
    """Tell apart what a spec changes while it is imported and what the libraries that it loads change for themselves.

    Args:
        root: The workspace.
        is_ours: Says whether a function, a class or an instance comes from the workspace.
    """
    plain = builtins.__import__

    # By the names of its arguments too.
    def watched(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level or _is_there(name, fromlist) or not asking.is_workspace(sys._getframe(1), root):
            return plain(name, globals, locals, fromlist, level)
        _note(root, is_ours)
        before = process_settings.settings()
        try:
            return plain(name, globals, locals, fromlist, level)
        finally:
            # What a module of the workspace changes is the spec's doing, and its imports come by here by themselves.
            if is_library(getattr(sys.modules.get(name), "__file__", None) or sys.prefix, root):
                _PICTURE.look(root)
                changed = dict(process_settings.changed(before))
                _NOW.settings |= {label: process_settings.setting(label) for label in changed}
                _NOW.by_imports += changed

    setattr(builtins, plain.__name__, watched)
    try:
        yield
    finally:
        setattr(builtins, plain.__name__, plain)


def _note(root: str, is_ours: Callable[[object], bool]) -> None:
    _NOW.seen |= {change.place: change for change in _PICTURE.look(root, is_ours)}


def _is_there(name: str, wanted: Any) -> bool:
    """Say whether an import loads nothing."""
    module = sys.modules.get(name)
    return module is not None and all(item in vars(module) for item in wanted or ())


def changes(root: str, is_ours: Callable[[object], bool]) -> list[Change]:
    """What a spec has been seen to change in libraries so far.

    Args:
        root: The workspace.
        is_ours: Says whether a function, a class or an instance comes from the workspace.
    """
    _note(root, is_ours)
    return list(_NOW.seen.values())


def settings() -> dict[str, str]:
    """The variables and other settings of the process that a spec has set so far.

    Returns:
        Digests, for a variable of the environment may be a secret.
    """
    changed = process_settings.changed(_NOW.settings)
    found = {label: bytes_digest(repr(now).encode("utf-8", "surrogateescape")) for label, now in changed}
    return found | {f"os.environ[{name!r}]": digest for name, digest in variables.set_by_spec().items()}
