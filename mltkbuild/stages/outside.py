"""What a spec does outside of its own modules, as rows for each stage that runs its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mltkbuild.fingerprint.effect_rows import effect_rows
from mltkbuild.fingerprint.origins import Origins
from mltkbuild.fingerprint.reach import reach
from mltkbuild.fingerprint.rows import short
from mltkbuild.fingerprint.values import digest_value
from mltkbuild.user_code import process_state, variables
from mltkbuild.user_code.loader import Snapshot


def outside(snapshot: Snapshot, *, asked: bool) -> dict[str, object]:
    """Describe what the texts of a loaded spec do outside of it, and what it is seen to have done so far.

    Args:
        snapshot: The workspace code.
        asked: Whether the spec has read a file or asked the system while it was imported.
    """
    files = snapshot.all_files
    done = reach(process_state.outside(snapshot.root, Origins(snapshot).is_ours, files.values()), snapshot)
    named = {label.replace("root outside ", "outside ", 1): row for label, row in done.items()}
    return {**effect_rows(files, snapshot, asked=asked), **named}


def without_secrets(rows: Mapping[str, object]) -> dict[str, object]:
    """Rows with a digest in place of each text that holds what a variable of the environment has told the spec."""
    secrets = variables.told_values()
    return {label: _hidden(row, secrets) for label, row in rows.items()} if secrets else dict(rows)


def _hidden(row: object, secrets: Sequence[str]) -> object:
    if isinstance(row, str):
        return short(digest_value(row)) if any(secret in row for secret in secrets) else row
    if isinstance(row, dict):
        return {key: _hidden(item, secrets) for key, item in row.items()}
    return [_hidden(item, secrets) for item in row] if isinstance(row, list) else row
