"""Where the checkpoints of a training lie, which of them are kept, and what they belong to.

`train/checkpoints/KEY/` holds one training: KEY is the digest of all that its course depends on, which `about.json`
beside the checkpoints tells in readable form. The content of a checkpoint is its writer's affair; here it is a file
that is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.door import Door
from mltkbuild.disk.open_folder import TEMPORARY, read_file

ABOUT = "about.json"
BEST = "best.txt"
SET_ASIDE = ".old"
SUFFIX = ".npz"
NEWEST = 2
"""So many of the last epochs' checkpoints are kept: the one before stands in when the last is damaged."""
_NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?\.npz")


class Position(NamedTuple):
    """How far a training is: so many whole epochs, and so many steps of the next one."""

    epoch: int
    step: int = 0

    @property
    def file(self) -> str:
        """The name of the checkpoint taken here."""
        return f"epoch-{self.epoch:05d}" + (f"-step-{self.step:07d}" if self.step else "") + SUFFIX

    def __str__(self) -> str:
        """In words, counted as people count."""
        return f"epoch {self.epoch}" if not self.step else f"step {self.step} of epoch {self.epoch + 1}"


def key_of(about: Mapping[str, object]) -> str:
    """The name of the folder of a training: a digest of what its course depends on."""
    return bytes_digest(json.dumps(about, sort_keys=True).encode())[:16]


@dataclass(frozen=True)
class Shelf:
    """The checkpoints of one training.

    Args:
        door: The way to the build folder.
        root: Absolute path of the target's `train/checkpoints`.
        about: What the course of the training depends on, as JSON values.
    """

    door: Door
    root: str
    about: Mapping[str, object]

    @property
    def folder(self) -> str:
        """Where they lie."""
        return os.path.join(self.root, key_of(self.about))

    def path(self, position: Position) -> str:
        """The path of the checkpoint taken at a position."""
        return os.path.join(self.folder, position.file)

    def positions(self) -> tuple[Position, ...]:
        """The positions that there are checkpoints of, first to last."""
        return positions_in(self.folder)

    def put(self, position: Position, data: bytes, best: int | None = None) -> None:
        """Write a checkpoint durably.

        Args:
            position: Where the training is.
            data: What it is.
            best: The best epoch so far.

        Raises:
            OSError: The disk is full or read-only; the checkpoints so far are untouched.
        """
        about = os.path.join(self.folder, ABOUT)
        if not self.door.exists(about):
            self.door.write(about, (json.dumps(self.about, indent=1, sort_keys=True) + "\n").encode())
            self.door.flush_folder(self.root)
        self.door.write(self.path(position), data)
        if best is not None:
            self._point_at(Position(best))

    def _point_at(self, best: Position) -> None:
        """Let the pointer name the best, also where it names that of a course since left, or a kill came before it."""
        pointer = os.path.join(self.folder, BEST)
        with contextlib.suppress(OSError):
            if read_file(pointer) == best.file.encode():
                return
        if self.door.exists(self.path(best)):
            self.door.write(pointer, best.file.encode())

    def read(self, position: Position) -> bytes:
        """The bytes of a checkpoint."""
        return read_file(self.path(position))

    def prune(self, at: Position, best: int | None, every: int | None) -> None:
        """Drop what isn't to be kept: the newest, the last two at an epoch's end, the best and every k-th epoch stay.

        Args:
            at: The position of the checkpoint just written. Those of a longer training beyond it count separately.
            best: The best epoch so far.
            every: k; None to keep no others.
        """
        there = self.positions()
        keep = {at, *there[-1:]}
        for some in ([place for place in there if place <= at], there):
            keep.update([place for place in some if not place.step][-NEWEST:])
        for place in there:
            regular = not place.step and (place.epoch == best or (every is not None and place.epoch % every == 0))
            if place not in keep and not regular:
                with contextlib.suppress(OSError):
                    self.door.remove(self.path(place))
        self._drop_half_written()

    def set_aside(self) -> None:
        """Let a training start over; its old checkpoints stay until `finish`."""
        aside = self.folder + SET_ASIDE
        if self.door.exists(aside):
            # A training that started over before was stopped: the finished one is the one to keep.
            self.door.remove_tree(self.folder)
        elif self.door.exists(self.folder):
            self.door.rename(self.folder, aside)

    def finish(self) -> None:
        """Drop the checkpoints of other trainings, and what a kill has left of a checkpoint half written."""
        mine = os.path.basename(self.folder)
        for name in self.door.names(self.root):
            if name != mine:
                with contextlib.suppress(OSError):
                    self.door.remove_tree(os.path.join(self.root, name))
        self._drop_half_written()

    def _drop_half_written(self) -> None:
        for name in self.door.names(self.folder):
            if name.endswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    self.door.remove(os.path.join(self.folder, name))


def positions_in(folder: str) -> tuple[Position, ...]:
    """The positions that a folder has checkpoints of, first to last."""
    found = (_NAME.fullmatch(name) for name in _names(folder))
    return tuple(sorted(Position(int(match[1]), int(match[2] or 0)) for match in found if match))


def others(root: str, about: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The unfinished or finished trainings with another fingerprint: what each depends on, by its folder."""
    found: dict[str, Mapping[str, object]] = {}
    for name in _names(root):
        if name == key_of(about) or not positions_in(os.path.join(root, name)):
            continue
        try:
            other = json.loads(read_file(os.path.join(root, name, ABOUT)))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(other, dict):
            found[os.path.join(root, name)] = other
    return found


def best_file(root: str) -> str | None:
    """The checkpoint of the best epoch of the training that was at work last; None when there is none."""
    found: list[tuple[int, str]] = []
    for name in _names(root):
        pointer = os.path.join(root, name, BEST)
        with contextlib.suppress(OSError, ValueError):
            best = read_file(pointer).decode()
            path = os.path.join(root, name, best)
            if _NAME.fullmatch(best) and os.path.exists(path):
                found.append((os.stat(os.path.join(root, name)).st_mtime_ns, path))
    return max(found)[1] if found else None


def drop(door: Door, root: str) -> None:
    """Delete all checkpoints of a target."""
    with contextlib.suppress(OSError):
        door.remove_tree(root)


def shown(positions: Iterable[Position]) -> str:
    """The epochs that can be resumed from, for people."""
    epochs = [str(place.epoch) for place in positions if not place.step]
    return ", ".join(epochs) or "none"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
