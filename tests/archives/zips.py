"""Zip archives: models' as the archive stage makes them, and others byte by byte as nobody should make them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mltkbuild.archives import packing as archive_body
from mltkbuild.disk.digests import bytes_digest

SPEC = "import parts\n# @mltk_model\nmy_model = 1\n"
SOURCES = {"models/kws.py": SPEC, "models/parts.py": "WIDTH = 8  # für alle\r\n", "helpers/audio.py": "RATE = 1\n"}
SMALL = {"models/kws.py": SPEC}
DEEP = b"[" * 100_000 + b"]" * 100_000
UTF8, DESCRIPTOR, ENCRYPTED = 1 << 11, 1 << 3, 1


@dataclass(frozen=True)
class Entry:
    """One member; what is given by name in `central` or `local` replaces what would be true there.

    Args:
        name: Its name, as UTF-8 or as bytes.
        data: Its content.
        method: 8 for deflate, 0 for stored; another one is only told.
        flags: The general purpose flags.
        mode: The Unix mode.
        central: `crc`, `packed`, `size`, `offset`, `disk`, `method`, `flags`, `name` in the central directory.
        local: The same in the local header.
        raw: The packed bytes if they aren't the content's.
        descriptor: The sums behind the data.
    """

    name: str | bytes
    data: bytes = b"text\n"
    method: int = 8
    flags: int = UTF8
    mode: int = 0o100644
    central: Mapping[str, int | bytes] = field(default_factory=dict)
    local: Mapping[str, int | bytes] = field(default_factory=dict)
    raw: bytes | None = None
    descriptor: bytes = b""

    @property
    def packed(self) -> bytes:
        """The bytes in the archive."""
        if self.raw is not None:
            return self.raw
        return deflated(self.data) if self.method == 8 else self.data

    def values(self, offset: int, changes: Mapping[str, int | bytes]) -> dict[str, int | bytes]:
        """The fields of a header."""
        return {
            "name": self.name.encode() if isinstance(self.name, str) else self.name,
            "crc": zlib.crc32(self.data),
            "packed": len(self.packed),
            "size": len(self.data),
            "method": self.method,
            "flags": self.flags,
            "offset": offset,
            "disk": 0,
            **changes,
        }


def deflated(data: bytes) -> bytes:
    """Some bytes as a raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def archive(*entries: Entry, end: Mapping[str, int] | None = None, tail: bytes = b"", between: bytes = b"") -> bytes:
    """An archive's bytes.

    Args:
        entries: The members.
        end: `count`, `here`, `disk`, `length`, `begin`, `comment` in the end of the directory.
        tail: Bytes behind the end.
        between: Bytes before the directory.
    """
    body, directory = b"", b""
    for entry in entries:
        field = entry.values(len(body), entry.central)
        sums = (field["crc"], field["packed"], field["size"])
        assert isinstance(field["name"], bytes)
        fixed = (b"PK\1\2", 3 << 8 | 20, 20, field["flags"], field["method"], 0, 33, *sums, len(field["name"]), 0, 0)
        rest = (field["disk"], 0, entry.mode << 16, field["offset"])
        directory += struct.pack("<4s6H3L5H2L", *fixed, *rest) + field["name"]
        field = entry.values(len(body), entry.local)
        sums = (field["crc"], field["packed"], field["size"])
        assert isinstance(field["name"], bytes)
        begin = (b"PK\3\4", 20, field["flags"], field["method"], 0, 33, *sums, len(field["name"]), 0)
        body += struct.pack("<4s5H3L2H", *begin) + field["name"] + entry.packed + entry.descriptor
    body += between
    count = len(entries)
    told = {"disk": 0, "here": count, "count": count, "length": len(directory), "begin": len(body), "comment": 0}
    told |= end or {}
    numbers = (told["disk"], 0, told["here"], told["count"], told["length"], told["begin"], told["comment"])
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", *numbers) + tail


def provenance(sources: Mapping[str, str], spec: str, target: str = "kws") -> dict[str, Any]:
    """What the engine tells of an archive with these sources and two stages."""
    stages = {
        "train": {"artifacts": {f"{target}.keras": "1", "train/history.json": "2"}, "tools": {"python": "3.11.7"}},
        "params": {"artifacts": {f"{target}.tflite": "3"}, "tools": {"mltkbuild": "0.1.0", "python": "3.12.1"}},
        "evaluate": {"artifacts": {"eval/keras/results.json": "4", "eval/tflite/results.json": "5"}},
        "spec": {"artifacts": {"spec/params.yaml": "6"}},
    }
    digests = {path: bytes_digest(text.encode()) for path, text in sources.items()}
    name = target.removesuffix("-test")
    return {"schema": 1, "model": name, "target": target, "spec": spec, "sources": digests, "stages": stages}


def packed(
    folder: Path,
    sources: Mapping[str, str] = SOURCES,
    spec: str = "models/kws.py",
    *,
    added: Mapping[str, str] | None = None,
    target: str = "kws",
    files: Mapping[str, str] | None = None,
) -> str:
    """An archive as the archive stage makes it."""
    content = {
        f"{target}.keras": "weights",
        f"{target}.tflite": "flatbuffer",
        "train/history.json": '{"epochs": [0, 1, 2], "best_epoch": 1}',
        "eval/keras/results.json": '{"overall_accuracy": 0.75}',
        "eval/tflite/results.json": '{"overall_accuracy": 0.5}',
        "spec/params.yaml": "properties:\n  version: 3\n  description: 'door: opens'\n",
        **(files or {}),
    }
    paths = {}
    for kind, texts in (("made", content), ("added", added or {})):
        for name, text in texts.items():
            paths[kind, name] = folder / kind / name
            paths[kind, name].parent.mkdir(parents=True, exist_ok=True)
            paths[kind, name].write_text(text)
    made = {name: path for (kind, name), path in paths.items() if kind == "made"}
    others = {name: path for (kind, name), path in paths.items() if kind == "added"}
    result = folder / f"{target}.mltk.zip"
    archive_body.run(result, target, made, sources, spec, provenance(sources, spec, target), others)
    return str(result)


def told(**changes: object) -> bytes:
    """A provenance with some parts replaced."""
    return json.dumps(provenance(SMALL, "models/kws.py") | changes).encode()
