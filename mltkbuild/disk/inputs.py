"""What a record calls a stage's inputs: made and taken apart here and nowhere else.

An input's name is its kind, a space, and its subject: `file data/train.csv`, `tool keras`. The kinds SINGLE have no
subject, and an artifact of an earlier stage goes by its bare name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

CODE = "code"
"""A file of the spec's code, by meaning."""
TEXT = "text"
"""A file of the spec's code, by its bytes."""
FILE = "file"
"""A file or folder that user code read."""
EXISTS = "exists"
"""What lies at a path that user code asked about without reading it: see `disk/answers`."""
SIZE = "size"
"""How many bytes a file has whose size user code asked for."""
MODIFIED = "modified"
"""When a file was changed whose time user code asked for."""
LINK = "link"
"""Where a link leads that user code asked for."""
VARIABLE = "variable"
"""A variable of the environment that user code read."""
PROPERTY = "property"
"""A property of the spec that user code read beside what its stage reads anyway."""
TOOL = "tool"
"""The version of a package that the stage's own code runs."""
LIBRARY = "library"
"""The version of a package that user code reaches."""
OPTION = "option"
"""An option of the command line."""
FILES = "files"
"""Many files, as one digest of their list."""
IMPORTS = "imports"
"""The modules that the workspace would now provide in a library's place."""
REVISION = "stage revision"
"""How often mltkbuild's own code of the stage has changed its results."""
ARTIFACT = "artifact"
"""An artifact of an earlier stage."""

SINGLE = frozenset({FILES, IMPORTS, REVISION})
ANSWERS = frozenset({EXISTS, SIZE, MODIFIED, LINK, VARIABLE})
"""What the system answered when user code asked; all but VARIABLE are about a path."""
_WITH_SUBJECT = frozenset({CODE, TEXT, FILE, PROPERTY, TOOL, LIBRARY, OPTION, *ANSWERS})


class Input(NamedTuple):
    """One input of a stage.

    Args:
        kind: What it is, one of this module's kinds.
        subject: Which one: a path (empty for the workspace itself), a name; empty for a kind that has none.
    """

    kind: str
    subject: str

    @property
    def name(self) -> str:
        """What a record calls it."""
        if self.kind == ARTIFACT:
            return self.subject
        return self.kind if self.kind in SINGLE else f"{self.kind} {self.subject}"


def parse(name: str) -> Input:
    """Take apart what a record calls an input."""
    if name in SINGLE:
        return Input(name, "")
    kind, space, subject = name.partition(" ")
    return Input(kind, subject) if space and kind in _WITH_SUBJECT else Input(ARTIFACT, name)


def of_kind(inputs: Mapping[str, str], kind: str) -> Iterator[tuple[str, str]]:
    """Subject and digest of a record's inputs of a kind that has subjects."""
    start = kind + " "
    return ((name[len(start) :], digest) for name, digest in inputs.items() if name.startswith(start))
