"""Writing zip files, an archive among them, so that equal members give equal bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that the format can hold: members have no other."""


def write_zip(path: Path, members: Mapping[str, bytes | Path], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a zip file whose bytes depend only on the members: fixed dates and modes, alphabetical order.

    Args:
        path: The file to write.
        members: What goes in, by name; a file is read when its turn comes.
        compression: How, as `zipfile` has it.
    """
    named = {name.replace(os.sep, "/"): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(named.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = compression
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(entry, data, compresslevel=6)
