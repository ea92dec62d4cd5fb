"""What the system answers when user code asks without reading a file: the same question is asked again to judge."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.inputs import EXISTS, LINK, MODIFIED, SIZE, VARIABLE, Input

ABSENT = "absent"
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder"}


def answer(question: Input, environment: Mapping[str, str]) -> str:
    """What the answer to a question is now.

    Args:
        question: Its kind, and its subject: an absolute path, or the name of a variable.
        environment: The variables of the process for which the code runs.

    Returns:
        `file`, `folder`, `other`, `link` (to nothing) or `absent` for EXISTS; bytes and nanoseconds for SIZE and
        MODIFIED, the path in it for LINK, `absent` where nothing is; of a variable a digest, for it may be a secret, or
        `absent`.
    """
    kind, subject = question
    if kind == VARIABLE:
        value = environment.get(subject)
        return ABSENT if value is None else bytes_digest(f"{subject}={value}".encode("utf-8", "surrogateescape"))
    try:
        if kind == LINK:
            return os.readlink(subject)
        status = os.stat(subject)
    except (OSError, ValueError):
        return "link" if kind == EXISTS and os.path.islink(subject) else ABSENT
    answers = {EXISTS: _KINDS.get(stat.S_IFMT(status.st_mode), "other")}
    return (answers | {SIZE: str(status.st_size), MODIFIED: str(status.st_mtime_ns)})[kind]
