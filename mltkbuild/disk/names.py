"""Which names of a stranger may become files below a folder.

Every name that was read from a file goes through `name_fault` before it is joined to a path.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

LONGEST_NAME, LONGEST_PART, DEEPEST = 1024, 255, 32
"""The most bytes of a path and of one part of it, and the most parts."""

# Control characters, those that change the direction of text or can't be seen, surrogates, and other ends of lines.
_UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")
_DRIVE = re.compile(r"[A-Za-z]:")
_PART = r"[\w@+=,-]+(?:\.[\w@+=,-]+)*"
_PLAIN = re.compile(rf"(?:{_PART}/){{0,15}}{_PART}", re.ASCII)
# Possessive: a name is read once, whatever it is.
_PLAIN_LINES = re.compile(r"(?:\n[\w@+=,-]++(?:[./][\w@+=,-]++)*+)*+", re.ASCII)
_LONGEST_PLAIN = 200
"""What nearly every name is like, which one look tells to be good."""


def all_plain(names: Collection[str]) -> bool:
    """Whether one look tells that all names are good ones, none of which begins with a dot; False where it doesn't.

    It looks at all of them as lines of one text: a no-op reads thousands of records, a few names in each.
    """
    text = "\n".join(("", *names))
    return (
        _PLAIN_LINES.fullmatch(text) is not None
        and text.count("\n") == len(names)
        and text.count("/") < DEEPEST
        and max(map(len, names), default=0) <= _LONGEST_PLAIN
    )


def name_fault(name: str) -> str | None:
    """Say what makes a path unfit for a file below a folder; None for a good one."""
    if len(name) <= _LONGEST_PLAIN and _PLAIN.fullmatch(name):
        return None
    parts = name.split("/")
    raw = name.encode("utf-8", "surrogatepass")
    faults = {
        "has a control character": any(unicodedata.category(char) in _UNPRINTED for char in name),
        "has a backslash": "\\" in name,
        "is absolute": name.startswith("/") or _DRIVE.match(name) is not None,
        "leads out of its folder": ".." in parts,
        "has an empty part": "" in parts or "." in parts,
        "has a part that ends in a dot or a space": any(part.rstrip(". ") != part for part in parts),
        "is too long": len(raw) > LONGEST_NAME
        or any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_PART for part in parts),
        "is too deep": len(parts) > DEEPEST,
        "belongs to a Git repository": any(part.casefold() == ".git" for part in parts),
    }
    return next((words for words, is_so in faults.items() if is_so), None)


def clash(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that some file system takes for one, or of which one is a file and the other lies below it."""
    files: dict[str, str] = {}
    for name in names:
        key = _folded(name)
        if key in files:
            return files[key], name
        files[key] = name
    for key, name in files.items():
        parts = key.split("/")
        for count in range(1, len(parts)):
            above = "/".join(parts[:count])
            if above in files:
                return files[above], name
    return None


def _folded(name: str) -> str:
    """A name as a file system may compare it: Unicode's canonical caseless matching."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
