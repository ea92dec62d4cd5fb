"""Databases that SQLite attaches to another one, which it opens by itself.

SQLite tells an authorizer of each `ATTACH` while it compiles the statement, with the file's name where that is a plain
text (https://www.sqlite.org/c3ref/c_alter_table.html). A name that is given or computed is known when the statement
runs, in the text that is traced. Code that sets an authorizer of its own is not seen to attach anything.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from functools import partial
from types import FrameType

from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.user_code.events import database
from mltkbuild.user_code.hook import HOOK
from mltkbuild.user_code.watched import Watched

COMPUTED = "a database whose name SQLite computes"
"""What can't be watched, as the stages say it."""
_ATTACHED = re.compile(r"\s*ATTACH\s+(?:DATABASE\s+)?'((?:[^']|'')*)'\s+AS\b", re.IGNORECASE)


def connected(watched: Watched, frame: FrameType | None, connection: object) -> None:
    """See what a new connection attaches."""
    if isinstance(connection, sqlite3.Connection):
        connection.set_authorizer(partial(_compiled, connection))


def _compiled(connection: sqlite3.Connection, action: int, file: str | None, *_: object) -> int:
    """Take what a statement is about to do, and allow it."""
    if action == sqlite3.SQLITE_ATTACH:
        if file is None:
            connection.set_trace_callback(_run)
        else:
            _tell(file, sys._getframe(1))
    return sqlite3.SQLITE_OK


def _run(statement: str) -> None:
    """A statement runs, with the values that it was given in it."""
    found = _ATTACHED.match(statement)
    if found:
        _tell(found[1].replace("''", "'"), sys._getframe(1))
    elif re.search(r"\bATTACH\b", statement, re.IGNORECASE) and HOOK.current is not None:
        HOOK.current.unseen[COMPUTED] = None


def _tell(file: str, frame: FrameType | None) -> None:
    watched = HOOK.current
    if watched is not None and not OWN_READING.now:
        OWN_READING.now = True
        try:
            database(watched, file, frame)
        finally:
            OWN_READING.now = False
