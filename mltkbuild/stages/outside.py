"""What a spec does outside of its own modules, as rows for each stage that runs its code."""

from __future__ import annotations

from mltkbuild.fingerprint.effect_rows import effect_rows
from mltkbuild.fingerprint.origins import Origins
from mltkbuild.fingerprint.reach import reach
from mltkbuild.user_code import process_state
from mltkbuild.user_code.loader import Snapshot


def outside(snapshot: Snapshot, *, asked: bool) -> dict[str, object]:
    """Describe what the texts of a loaded spec do outside of it, and what it is seen to have done so far.

    Args:
        snapshot: The workspace code.
        asked: Whether the spec has read a file or asked the system while it was imported.
    """
    done = reach(process_state.outside(snapshot.root, Origins(snapshot).is_ours), snapshot)
    named = {label.replace("root outside ", "outside ", 1): row for label, row in done.items()}
    return {**effect_rows(snapshot.all_files, snapshot, asked=asked), **named}
