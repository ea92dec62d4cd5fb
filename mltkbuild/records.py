"""Records as JSON: the format on disk, its version, and what to do about a file that isn't one."""

from __future__ import annotations

import json

from mltkbuild.errors import RecordError
from mltkbuild.freshness import SCHEMA, Record


def encode(record: Record) -> bytes:
    """A record as UTF-8 JSON, one line, keys sorted."""
    fields = {
        "schema": SCHEMA,
        "stage": record.stage,
        "target": record.target,
        "inputs": dict(record.inputs),
        "artifacts": dict(record.artifacts),
        "stamps": dict(record.stamps),
        "facts": dict(record.facts),
        "tools": dict(record.tools),
        "seconds": record.seconds,
        "finished": record.finished,
        "host": record.host,
    }
    return (json.dumps(fields, sort_keys=True, separators=(",", ":")) + "\n").encode()


def decode(data: bytes, path: str) -> Record:
    """Read a record.

    Args:
        data: The file's bytes.
        path: Its path, for the error.

    Raises:
        RecordError: It is no record, or one of another version; says which file to delete.
    """
    try:
        fields = json.loads(data)
        if fields["schema"] != SCHEMA:
            raise RecordError(
                "this record is of another version of mltkbuild",
                where=path,
                found=f"schema {fields['schema']}, not {SCHEMA}",
                fix=f"delete {path}; its stage runs again",
            )
        maps = [fields[name] for name in ("inputs", "artifacts", "stamps", "facts", "tools")]
        if not all(isinstance(item, dict) for item in maps):
            raise TypeError("not a table")
        inputs, artifacts, stamps, facts, tools = maps
        if not all(isinstance(value, str) for table in (inputs, artifacts, tools) for value in table.values()):
            raise TypeError("not a digest")
        if not all(isinstance(fields[name], str) for name in ("stage", "target", "finished", "host")):
            raise TypeError("not a text")
        return Record(
            stage=fields["stage"],
            target=fields["target"],
            inputs=inputs,
            artifacts=artifacts,
            stamps={name: tuple(stamp) for name, stamp in stamps.items()},
            facts=facts,
            tools=tools,
            seconds=float(fields["seconds"]),
            finished=fields["finished"],
            host=fields["host"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise RecordError(
            "this file is no record",
            where=path,
            found=f"{type(error).__name__}: {error}",
            fix=f"delete {path}; its stage runs again",
        ) from error
