"""What a spec does outside of its own modules, as rows for each stage that runs its code."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

from mltkbuild.fingerprint.effect_rows import effect_rows
from mltkbuild.fingerprint.origins import Origins
from mltkbuild.fingerprint.reach import reach
from mltkbuild.fingerprint.rows import short
from mltkbuild.fingerprint.values import digest_value
from mltkbuild.user_code import process_state, variables
from mltkbuild.user_code.folders import is_library
from mltkbuild.user_code.loader import Snapshot

_WORD = re.compile(r"\w+")
_SCRIPTS = frozenset({"__main__", "__mp_main__"})


def outside(snapshot: Snapshot, *, asked: bool) -> dict[str, object]:
    """Describe what the texts of a loaded spec do outside of it, and what it is seen to have done so far.

    Args:
        snapshot: The workspace code.
        asked: Whether the spec has read a file or asked the system while it was imported.
    """
    files, is_ours = snapshot.all_files, Origins(snapshot).is_ours
    # What neither the spec nor its modules name, a library has set as it worked.
    named = set() if _has_strangers(snapshot) else set(_WORD.findall("\n".join(files.values())))
    rows: dict[str, object] = {}
    values: dict[str, object] = {}
    for change in process_state.changes(snapshot.root, is_ours):
        if named and change.place.rpartition(".")[2] not in named and not is_ours(change.value):
            continue
        if change.is_said:
            values[f"outside {change.place}"] = change.value
        else:
            rows[f"inexact outside {change.place}"] = "what it is set to has no digest"
    reached = {label.replace("root outside ", "outside ", 1): row for label, row in reach(values, snapshot).items()}
    done = {f"outside {label}": short(digest) for label, digest in process_state.settings().items()}
    return {**effect_rows(files, snapshot, asked=asked), **reached, **rows, **done}


def _has_strangers(snapshot: Snapshot) -> bool:
    """Say whether modules are loaded that are neither a library's nor in the workspace, and whose texts nobody has."""
    files = (getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in _SCRIPTS)
    others = (file for file in files if isinstance(file, str) and not is_library(file, snapshot.root))
    return any(snapshot.label(file) is None for file in others)


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
