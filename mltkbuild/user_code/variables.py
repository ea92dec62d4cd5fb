"""Watch which variables of the environment user code asks for, so that they become inputs of the stage that ran it.

`os.environ` stays the object that everybody has; it only tells who asks it. What a spec has set itself is no outside
answer, and what mltkbuild sets for its workers is the same everywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from mltkbuild.disk.answers import EVERY, answer
from mltkbuild.disk.inputs import VARIABLE, Input
from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.process import ENVIRONMENT, life
from mltkbuild.user_code import asking

# A shorter text hides nothing, and may be anywhere.
_SECRET = 8
ALL_TOLD = "looks at all variables of the environment: all count but those of the terminal"


@dataclass
class Asked:
    """What was asked for.

    Args:
        names: The variables by name.
        everything: Whether all of them were looked at.
        named: Those whose names workspace code has in its own text.
    """

    names: set[str] = field(default_factory=set)
    everything: bool = False
    named: set[str] = field(default_factory=set)

    def answers(self, environment: Mapping[str, str]) -> dict[Input, str]:
        """What the answers are in the environment of the process that judges, as digests."""
        names = {EVERY, *self.named} if self.everything else self.names
        questions = [Input(VARIABLE, name) for name in sorted(names)]
        return {question: answer(question, environment) for question in questions}


@dataclass
class _Watching:
    """What is watched in this process.

    Args:
        current: Takes what is asked for; None while nothing is watched.
        root: The workspace.
        own: The variables that the spec itself has set.
        told: Those that it was told so far; empty text for all.
    """

    current: Asked | None = None
    root: str = ""
    own: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


_NOW = _Watching()


class _Environ(os._Environ[str]):
    """The variables of the environment, which tell who asks."""

    def __getitem__(self, key: str) -> str:
        _note(sys._getframe(1), key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, value)
        _note_own(sys._getframe(1), key)

    def __delitem__(self, key: str) -> None:
        # That there was one to delete is an answer too.
        _note(sys._getframe(1), key)
        super().__delitem__(key)
        _note_own(sys._getframe(1), key)

    def __iter__(self) -> Iterator[str]:
        _note(sys._getframe(1), "")
        return super().__iter__()

    def __len__(self) -> int:
        _note(sys._getframe(1), "")
        return super().__len__()


@contextmanager
def watch(root: str) -> Iterator[Asked]:
    """Collect what workspace code asks for inside the block.

    Args:
        root: The workspace.
    """
    _install()
    outer, outer_root = _NOW.current, _NOW.root
    if outer is None:
        _NOW.own.clear()
        _NOW.told.clear()
    asked = Asked()
    _NOW.current, _NOW.root = asked, root
    try:
        yield asked
    finally:
        _NOW.current, _NOW.root = outer, outer_root


def adopt(environment: Mapping[str, str]) -> None:
    """Give this worker the variables of the process that builds, where they have changed since the last stage.

    Args:
        environment: The variables; none when the request doesn't tell them.
    """
    if not environment:
        return
    before = life.environment or dict(os.environ)
    for name in (before.keys() | environment.keys()) - ENVIRONMENT.keys():
        value = environment.get(name)
        if before.get(name) == value:
            continue
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    life.environment = dict(environment)


def set_by_spec() -> dict[str, str]:
    """The variables that the spec has set or deleted so far, each with the digest of what it is now."""
    return {name: answer(Input(VARIABLE, name), dict(os.environ)) for name in sorted(_NOW.own)}


def told_values() -> list[str]:
    """The values that user code was told so far and that may be secrets: what is short is none."""
    names = os.environ.keys() if "" in _NOW.told else _NOW.told
    with _quietly():
        return [value for name in list(names) if len(value := os.environ.get(name, "")) >= _SECRET]


def _install() -> None:
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is os._Environ:
            environ.__class__ = _Environ


def _note(frame: FrameType, key: str | bytes) -> None:
    """Note what is asked for, or everything where no name is given."""
    asked = _NOW.current
    if asked is None or OWN_READING.now or not isinstance(key, str | bytes):
        return
    name = os.fsdecode(key)
    if name and (name in asked.named or name in _NOW.own or name in ENVIRONMENT):
        return
    # The views of a mapping ask for each item once more.
    if name and frame.f_code.co_name == "__iter__" and frame.f_globals.get("__name__") == "collections.abc":
        return
    if not _is_asked(frame, name):
        return
    _NOW.told.add(name)
    if not name:
        asked.everything = True
        return
    asked.names.add(name)
    if asking.says(frame, _NOW.root, name):
        asked.named.add(name)


def _note_own(frame: FrameType, key: str | bytes) -> None:
    name = os.fsdecode(key)
    if _NOW.current is not None and name not in _NOW.own and not OWN_READING.now and _is_asked(frame, name):
        _NOW.own.add(name)


def _is_asked(frame: FrameType, name: str) -> bool:
    # To find that out may need a variable, too.
    with _quietly():
        return asking.asks(frame, _NOW.root, name)


@contextmanager
def _quietly() -> Iterator[None]:
    OWN_READING.now = True
    try:
        yield
    finally:
        OWN_READING.now = False
