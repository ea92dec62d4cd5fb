"""A stage runs a spec's code: what it reads becomes an input, and what it raises an error with a place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mltkbuild.data import user_functions
from mltkbuild.disk.digests import bytes_digest, source_digest
from mltkbuild.errors import MltkError, StageError
from mltkbuild.fingerprint.doors import reads_text
from mltkbuild.spec.any_model import AnyModel
from mltkbuild.spec.properties import properties_of
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import STAGES
from mltkbuild.user_code import variables
from mltkbuild.user_code.loader import Snapshot, own_objects, user_code
from mltkbuild.user_code.pickles import unpickled
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
    """What people are told of what code did: what can't be watched, what it both reads and writes, what it keeps."""
    after = f"can't be watched: after a change, doit forget {request.stage}:{request.target}"

    def named(paths: Iterable[str], what: str) -> list[str]:
        return [f"{os.path.relpath(path, request.root)} {what}" for path in paths]

    return [
        *(f"{what} {after}" for what in seen.unseen),
        *named(seen.both, "is both read and written: no input"),
        *named(seen.kept, "keeps samples for later runs, whatever changes meanwhile: delete it after a change"),
        *named(seen.opened.changed, "was changed while it was read: the stage runs again next time"),
    ]


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
        self.by_text = any(map(reads_text, request.sources.values()))
        """Whether some of the code may look at the text of code: then all of it counts by its text."""
        digest = bytes_digest if self.by_text else source_digest
        sources = [(path, digest(text.encode())) for path, text in sorted(request.sources.items())]
        self.whole = bytes_digest(json.dumps([sources, sorted(imported)]).encode())
        """Digest of the spec's whole code, which counts where something can't be fingerprinted exactly."""
        self._request = request
        self._model = model
        self._outcome = outcome

    @contextmanager
    def running(  # noqa: PLR0913  # what counts, each by its name
        self,
        what: str,
        kind: type[MltkError] = StageError,
        *,
        count: bool = True,
        count_properties: bool = True,
        count_folders: bool = True,
        count_variables: bool = False,
    ) -> Iterator[Reading]:
        """Run user code: its errors get a place, and what it reads becomes an input.

        Args:
            what: What runs, as errors name it.
            kind: The error to raise.
            count: Whether what it reads becomes an input at all.
            count_properties: Whether properties do.
            count_folders: Whether a folder does that an earlier stage has listed too, and found the same in it.
            count_variables: Whether variables of the environment do, whatever the others do.

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
            unpickled() as modules,
        ):
            yield Reading(properties, seen)
        if count:
            self._take_pickled(modules)
            files = seen.files
            if not count_folders:
                files = {path: digest for path, digest in files.items() if not self._is_known_folder(path, digest)}
            self._outcome.files.update(files)
            self._outcome.answers.update(seen.answers)
            self._outcome.notes = tuple(dict.fromkeys((*self._outcome.notes, *told(self._request, seen))))
        if count or count_variables:
            self._take_variables(what, asked)
        if count and count_properties:
            beyond = self._model.beyond_slice(STAGES[self._request.stage].parts, properties)
            self._outcome.reads = tuple(sorted({*self._outcome.reads, *beyond}))

    def _is_known_folder(self, path: str, digest: str) -> bool:
        return os.path.isdir(path) and self._request.is_known(path, digest)

    def _take_pickled(self, modules: Set[str]) -> None:
        """Let the whole code count where some of it came out of a pickle: no source shows what is used of it."""
        files = (getattr(sys.modules.get(name), "__file__", None) for name in modules)
        labels = sorted({label for file in files if file and (label := self.snapshot.label(file)) is not None})
        if labels:
            self.take_texts()
            told = f"{self._request.stage} reads pickled objects of {', '.join(labels)}: the whole spec counts"
            self._outcome.notes = tuple(dict.fromkeys((*self._outcome.notes, told)))

    def take_texts(self) -> None:
        """Let the text of each workspace module count, as of a file that was read."""
        self._outcome.by_text = True
        root, texts = self._request.root, self._request.sources
        self._outcome.files.update(
            {os.path.join(root, path): bytes_digest(text.encode()) for path, text in texts.items()}
        )

    def _take_variables(self, what: str, asked: variables.Asked) -> None:
        """Let the variables of the environment that were asked for be inputs."""
        self._outcome.answers.update(asked.answers(self._request.environment))
        told = f"{what} {variables.ALL_TOLD}"
        if asked.everything and told not in self._outcome.notes:
            self._outcome.notes = (*self._outcome.notes, told)

    @contextmanager
    def at(self, *names: str) -> Iterator[None]:
        """Give an error without a line that of the property that it is about."""
        try:
            yield
        except MltkError as error:
            error.where = None if error.where == self._request.spec_path else error.where
            raise error.at(self.place(*self._named(error), *names)) from error.__cause__

    def _named(self, error: MltkError) -> tuple[str, ...]:
        """The property that an error begins with, which it is about; not one that a loader sets."""
        item = properties_of(type(self._model)).get(error.what.partition(" ")[0])
        return () if item is None or item.loaded else (item.name,)

    def place(self, *names: str) -> str:
        """Where the spec sets the first of these properties that it sets; else the spec."""
        return self._model.place_of(*names) or self._request.spec_path

    def custom_objects(self) -> dict[str, Any]:
        """The spec's own classes and functions by name, for loading a saved model."""
        return {**own_objects(self.snapshot), **self._model.keras_custom_objects}
