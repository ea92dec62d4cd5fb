"""The state of one walk of `reach`: its rows, what's still to be looked at, and the names given to what was seen."""

from __future__ import annotations

import pathlib
import re
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from mltkbuild.fingerprint import libraries
from mltkbuild.fingerprint.locate import Locator
from mltkbuild.fingerprint.origins import Origins, Sources
from mltkbuild.fingerprint.values import SHORT

MISSING = "<missing>"
MAX_ROWS = 20000
WORKSPACE = "{workspace}"


class Rows:
    """What a walk has written, and the order in which it goes on.

    Args:
        sources: The workspace's code.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.origins = Origins(sources)
        self.locator = Locator(sources)
        self.rows: dict[str, object] = {}
        self.places: dict[int, tuple[str, object]] = {}
        self._todo: deque[Callable[[], None]] = deque()
        self._named: dict[str, list[object]] = {}
        self._done: set[object] = set()
        self._folders: set[str] = set()

    def later(self, step: Callable[..., None], *args: object) -> None:
        """Put off a step, so that the walk goes breadth first and no chain of calls grows too long."""
        self._todo.append(partial(step, *args))

    def run(self) -> None:
        """Do what was put off, until nothing is left."""
        while self._todo and len(self.rows) < MAX_ROWS:
            self._todo.popleft()()
        if self._todo:
            self.inexact("everything", f"more than {MAX_ROWS} rows")
            self._todo.clear()

    def first(self, *key: object) -> bool:
        """Tell, once, that something is seen for the first time."""
        fresh = key not in self._done
        self._done.add(key)
        return fresh

    def name(self, label: str, value: object) -> tuple[str, bool]:
        """Give an object its label; a second object with the same one gets a number. Tell if it's new."""
        known = self._named.setdefault(label, [])
        at = next((at for at, other in enumerate(known) if other is value), len(known))
        fresh = at == len(known)
        if fresh:
            known.append(value)
        return (f"{label} #{at + 1}" if at else label), fresh

    def inexact(self, place: str, what: str) -> None:
        """Say that the rows don't tell everything about a place."""
        self.rows[f"inexact {place}"] = what

    def library(self, module: object) -> None:
        """Count the library that a module belongs to, by its version."""
        top = str(module or "builtins").partition(".")[0]
        if not self.first("library", top):
            return
        found = libraries.versions(top)
        self.rows.update({f"library {name}": version for name, version in found.items()})
        if not found:
            self.rows[f"library {top}"] = MISSING if top not in sys.modules else "unknown"
            self.inexact(f"library {top}", "no version")

    def namespace(self, namespace: dict[str, Any], label: str) -> str:
        """Name a module's globals after its file, and learn from it where the workspace lies."""
        filename = namespace.get("__file__")
        file = self.sources.label(filename) if isinstance(filename, str) else None
        if isinstance(filename, str) and file is not None and filename.endswith("/" + file):
            self._folders.add(filename.removesuffix("/" + file))
        return self.name(file or label.partition(":")[0], namespace)[0]

    def moved(self, value: Any) -> Any:
        """Give a plain value with the workspace's folder taken out of its paths, wherever the workspace lies."""
        kind = type(value)
        if kind is str:
            for folder in sorted(self._folders):
                value = re.sub(re.escape(folder) + r"(?=/|\Z)", WORKSPACE, value)
        elif isinstance(value, pathlib.PurePath) and value.is_absolute():
            return pathlib.PurePosixPath(self.moved(value.as_posix()))
        elif kind in (list, tuple, set, frozenset):
            return kind(self.moved(item) for item in value)
        elif kind is dict:
            return {self.moved(key): self.moved(item) for key, item in value.items()}
        return value


def short(digest: str) -> str:
    """Cut a digest to what a row shows."""
    return f"sha256:{digest[:SHORT]}"


def is_dunder(name: str) -> bool:
    """Tell a name of Python's own, such as `__file__`."""
    return name.startswith("__") and name.endswith("__")
