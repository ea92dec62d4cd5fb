"""A stage runs a spec's code: what it reads becomes an input, and what it raises an error with a place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mltkbuild.data import user_functions
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import MltkError, StageError
from mltkbuild.spec.any_model import AnyModel
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.user_code import variables
from mltkbuild.user_code.loader import Snapshot, own_objects, user_code
from mltkbuild.user_code.watch import watch


@dataclass(frozen=True)
class Reading:
    """What user code has read so far.

    Args:
        files: Digests by absolute path.
        properties: Names of the spec's properties.
    """

    files: Mapping[str, str]
    properties: Set[str]


class RunningCode:
    """The spec's code in one stage.

    Args:
        request: What runs.
        model: The spec's model.
        snapshot: The workspace code.
        imported: Digests of the files that the spec read while it was imported, and of the answers that it was given.
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
        self,
        what: str,
        kind: type[MltkError] = StageError,
        *,
        count: bool = True,
        count_properties: bool = True,
        count_variables: bool = False,
    ) -> Iterator[Reading]:
        """Run user code: its errors get a place, and what it reads becomes an input unless an earlier stage has it.

        Args:
            what: What runs, as errors name it.
            kind: What its errors become.
            count: Whether what it reads is an input; not where an earlier stage runs the same to the same end.
            count_properties: Whether properties are, too.
            count_variables: Whether variables of the environment are, whatever the others are.

        Yields:
            What it has read so far.
        """
        watched = watch(self._request.ignored, self._request.root)
        with (
            user_code(self.snapshot, what, kind),
            user_functions.as_raised(),
            watched as seen,
            variables.watch(self._request.root) as asked,
            self._model.watch_reads() as properties,
        ):
            yield Reading(seen.files, properties)
        if count:
            known = self._request.known_digests
            fresh = {path: digest for path, digest in seen.files.items() if known.get(path) != digest}
            self._outcome.files.update(fresh)
        if count or count_variables:
            self._take_variables(what, asked)
        if count and count_properties:
            beyond = self._model.beyond_slice(self._request.stage, properties)
            self._outcome.reads = tuple(sorted({*self._outcome.reads, *beyond}))

    def _take_variables(self, what: str, asked: variables.Asked) -> None:
        """Let the variables of the environment that were asked for be inputs."""
        self._outcome.answers.update(asked.answers(self._request.environment))
        told = f"{what} {variables.ALL_TOLD}"
        if asked.everything and told not in self._outcome.notes:
            self._outcome.notes = (*self._outcome.notes, told)

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
