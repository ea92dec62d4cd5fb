"""A stage runs a spec's code: what it reads becomes an input, and what it raises an error with a place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mltkbuild.data import user_functions
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import MltkError, StageError
from mltkbuild.spec.any_model import AnyModel
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.user_code.loader import Snapshot, own_objects, user_code
from mltkbuild.user_code.watch import watch
from mltkbuild.user_code.watched import Watched


@dataclass(frozen=True)
class Reading:
    """What user code has read so far.

    Args:
        properties: Names of the spec's properties.
        seen: What it has done with files.
    """

    properties: Set[str]
    seen: Watched


def told(request: Request, seen: Watched) -> list[str]:
    """What people are told of what code did: what can't be watched, and what it both reads and writes."""
    after = f"can't be watched: after a change, doit forget {request.stage}:{request.target}"

    def named(paths: Iterable[str], what: str) -> list[str]:
        return [f"{os.path.relpath(path, request.root)} {what}" for path in paths]

    return [
        *(f"{what} {after}" for what in seen.unseen),
        *named(seen.both, "is both read and written: no input"),
        *named(seen.opened.changed, "was changed while it was read: the stage runs again next time"),
    ]


class RunningCode:
    """The spec's code in one stage.

    Args:
        request: What runs.
        model: The spec's model.
        snapshot: The workspace code.
        imported: Digests of the files that the spec read while it was imported.
        outcome: Takes what is read.
    """

    def __init__(
        self, request: Request, model: AnyModel, snapshot: Snapshot, imported: Sequence[str], outcome: Outcome
    ) -> None:
        self.snapshot = snapshot
        self.whole = bytes_digest(json.dumps([sorted(request.sources.items()), sorted(imported)]).encode())
        """Digest of the spec's whole code, which counts where something can't be fingerprinted exactly."""
        self._request = request
        self._model = model
        self._outcome = outcome

    @contextmanager
    def running(
        self, what: str, kind: type[MltkError] = StageError, *, count: bool = True, count_properties: bool = True
    ) -> Iterator[Reading]:
        """Run user code: its errors get a place, and what it reads becomes an input unless an earlier stage has it.

        Yields:
            What it has read so far.
        """
        watched = watch(self._request.ignored, self._request.root)
        with (
            user_code(self.snapshot, what, kind),
            user_functions.as_raised(),
            watched as seen,
            self._model.watch_reads() as properties,
        ):
            yield Reading(properties, seen)
        if count:
            known = self._request.known_digests
            fresh = {path: digest for path, digest in seen.files.items() if known.get(path) != digest}
            self._outcome.files.update(fresh)
            self._outcome.answers.update(seen.answers)
            self._outcome.notes = tuple(dict.fromkeys((*self._outcome.notes, *told(self._request, seen))))
        if count and count_properties:
            beyond = self._model.beyond_slice(self._request.stage, properties)
            self._outcome.reads = tuple(sorted({*self._outcome.reads, *beyond}))

    @contextmanager
    def at(self, *names: str) -> Iterator[None]:
        """Give an error without a place that of the property that it is about."""
        try:
            yield
        except MltkError as error:
            raise error.at(self.place(*names)) from error.__cause__

    def place(self, *names: str) -> str:
        """Where the spec sets the first of these properties that it sets; else the spec."""
        return self._model.place_of(*names) or self._request.spec_path

    def custom_objects(self) -> dict[str, Any]:
        """The spec's own classes and functions by name, for loading a saved model."""
        return {**own_objects(self.snapshot), **self._model.keras_custom_objects}
