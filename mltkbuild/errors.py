"""Errors that a front turns into text: what is wrong, where, what was found, what to do."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from mltkbuild.shown import shown, shown_lines

_LONGEST = 1 << 16


class MltkError(Exception):
    """An error with an answer.

    Args:
        what: What is wrong, as a sentence without its full stop.
        where: The place, `path:line` or a target such as `train:kws`.
        found: The value or state found, already readable.
        fix: What to do about it.
        trace: The user's own traceback, cut to the user's frames, when user code raised.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        found: str | None = None,
        fix: str | None = None,
        trace: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.found = found
        self.fix = fix
        self.trace = trace

    def at(self, place: str) -> Self:
        """This error with a place: itself if it has one, else another one, with the same traceback and cause."""
        if self.where:
            return self
        placed = copy.copy(self)
        placed.where = place
        placed.__cause__ = self.__cause__
        return placed.with_traceback(self.__traceback__)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword fields when the error crosses a process boundary."""
        fields = {"where": self.where, "found": self.found, "fix": self.fix, "trace": self.trace}
        return _rebuild, (type(self), self.what, fields)

    def __str__(self) -> str:
        """The text after `error: `, one field a line, whatever a stranger has put into it."""
        first = f"{self.where}: {self.what}." if self.where else f"{self.what}."
        lines = [shown(first, _LONGEST)]
        if self.found is not None:
            lines.append(f"  found: {shown(self.found, _LONGEST)}")
        if self.fix is not None:
            lines.append(f"  fix:   {shown(self.fix, _LONGEST)}")
        if self.trace:
            lines.extend("  | " + shown_lines(line) for line in self.trace.rstrip().splitlines())
        return "\n".join(lines)


def _rebuild(kind: type[MltkError], what: str, fields: dict[str, str | None]) -> MltkError:
    return kind(what, **fields)


class UsageError(MltkError):
    """The command line or a call names something that isn't there."""

    exit_code = 2


class WorkspaceError(MltkError):
    """The workspace or its configuration can't be used."""

    exit_code = 2


class SpecError(MltkError):
    """A model spec is wrong: its syntax, a property, or what its builder returns."""

    exit_code = 2


class DataError(MltkError):
    """A data set can't be trained on."""


class StageError(MltkError):
    """A stage failed for a reason that lies in its inputs or its tools."""


class ForeignError(StageError):
    """Something that mltkbuild has not made lies where it writes or deletes."""


class WorkerDied(StageError):
    """The worker process ended without an answer: a crash of native code, or no memory."""


class Stopped(StageError):
    """A stage was asked to stop, by Ctrl+C or SIGTERM, and did."""

    exit_code = 130


class RecordError(MltkError):
    """A record on disk can't be read."""


def did_you_mean(wrong: str, known: Iterable[str], intro: str = "the known ones are") -> str:
    """A hint for a misspelt name: the near ones, else all of them (a few)."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if not names:
        return "there are none"
    shown = ", ".join(names[:40])
    return f"{intro} {shown}" + (", ..." if len(names) > 40 else "")


def short(value: object, limit: int = 120) -> str:
    """A value as an error shows it: its repr, cut, with the shape in place of an array's numbers."""
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        return f"an array of shape {tuple(shape)} and type {value.dtype}"
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # a user's __repr__ may raise anything, and this is an error's text
        text = f"a {type(value).__name__} whose repr fails with {type(error).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."
