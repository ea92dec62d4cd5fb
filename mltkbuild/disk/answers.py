"""What the system answers when user code asks without reading a file: the same question is asked again to judge."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.inputs import EXISTS, LINK, MODIFIED, SIZE, VARIABLE, Input

ABSENT = "absent"
EVERY = "*"
"""The subject of VARIABLE for all variables, where code looks at the whole environment."""
# What differs from terminal to terminal on one machine, and what a build's own worker has.
_OF_TERMINAL = (
    r"(?:_|COLORTERM|COLUMNS|DISPLAY|EDITOR|HISTFILE|HOSTNAME|INVOCATION_ID|JOURNAL_STREAM|LESS\w*|LINES|LS_COLORS|MAIL|OLDPWD"
    r"|PAGER|PS[1-4]|PWD|SESSION_MANAGER|SHELL|SHLVL|STY|VISUAL|WAYLAND_DISPLAY|WINDOWID"
    r"|(?:BYOBU|CURSOR|DBUS|DESKTOP|GHOSTTY|GIO|GNOME|GPG|GTK|ITERM|JPY|KDE|KITTY|KONSOLE|LC_TERMINAL|MLTKBUILD"
    r"|PYTEST|QT|SSH|SUDO|SYSTEMD|TERM|TMUX|VSCODE|VTE|WEZTERM|WT|XDG|ZELLIJ)(?:_.*)?"
    r"|PYTHONSAFEPATH|PYTHONHASHSEED|TF_CPP_MIN_LOG_LEVEL|KERAS_BACKEND|MPLBACKEND)\Z"
)
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder"}


def answer(question: Input, environment: Mapping[str, str]) -> str:
    """What the answer to a question is now.

    Args:
        question: Its kind, and its subject: an absolute path, or the name of a variable.
        environment: The variables of the process for which the code runs.

    Returns:
        `file`, `folder`, `other`, `link` (to nothing) or `absent` for EXISTS; bytes and nanoseconds for SIZE and
        MODIFIED, the path in it for LINK, `absent` where nothing is; of a variable a digest, for it may be a secret, or
        `absent`; of EVERY one digest of all but those of the terminal.
    """
    kind, subject = question
    if kind == VARIABLE:
        if subject == EVERY:
            told = sorted(f"{name}={value}" for name, value in environment.items() if not re.match(_OF_TERMINAL, name))
            return bytes_digest("\0".join(told).encode("utf-8", "surrogateescape"))
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
