"""Values to text: reasons, durations, sizes, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mltkbuild.engine.freshness import Reason
from mltkbuild.engine.target_state import CODE, FILE, IMPORTS, LIBRARY, OPTION, PROPERTY, REVISION, TEXT, TOOL

WORD = 12
"""A longer word is cut within, so that no line loses much more than it must."""

_PLAIN = (TOOL, LIBRARY, OPTION)


def reason_text(reason: Reason) -> str:
    """One reason in words."""
    if not reason.subject:
        words = {"forced": "asked for", "unfinished": "its publication was interrupted"}
        return words.get(reason.kind, reason.kind if reason.old is None else reason.old)
    if reason.kind == "bad record":
        return f"its record can't be read ({reason.old})"
    if reason.kind == "unreadable":
        return f"{reason.subject}: {reason.old}"
    if reason.kind == "artifact missing":
        return f"{reason.subject} is missing"
    if reason.kind == "artifact changed":
        return f"{reason.subject} is not what was built"
    return _input_text(reason)


def _input_text(reason: Reason) -> str:
    subject = reason.subject
    if subject == REVISION:
        return "mltkbuild makes this stage differently now"
    if subject == IMPORTS:
        return f"the workspace now has modules that the spec imports: {reason.new or 'none'}"
    for prefix in _PLAIN:
        if subject.startswith(prefix):
            return _plain_text(reason, subject.removeprefix(prefix), option=prefix == OPTION)
    verb = {"input new": "is new", "input gone": "is gone"}.get(reason.kind, "changed")
    if subject.startswith(CODE):
        return f"code of {subject.removeprefix(CODE)} {verb}"
    if subject.startswith(TEXT):
        return f"text of {subject.removeprefix(TEXT)} {verb}"
    for prefix in (FILE, PROPERTY):
        subject = subject.removeprefix(prefix)
    return f"{subject} {verb}"


def _plain_text(reason: Reason, name: str, *, option: bool) -> str:
    """A reason whose digests are readable values."""
    unset = "the spec's value" if option else "none"
    return f"{name}: {reason.old or unset} -> {reason.new or unset}"


def reasons_text(reasons: Sequence[Reason], limit: int = 1) -> str:
    """The first reasons in words, and how many more there are."""
    return first_of([reason_text(reason) for reason in reasons], limit)


def first_of(texts: Sequence[str], limit: int = 1, between: str = "; ") -> str:
    """The first texts, and how many more there are."""
    more = len(texts) - limit
    return between.join(texts[:limit]) + (f" (and {more} more)" if more > 0 else "")


def either(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def cut(text: str, limit: int = 72) -> str:
    """A text in one line, its end cut when it is long: behind a word if one ends near."""
    text = " ".join(text.splitlines())
    if len(text) <= limit:
        return text
    head = text[: limit - 3]
    whole = head.rpartition(" ")[0] if text[limit - 3] != " " else head
    return (whole if len(head) - len(whole) <= WORD else head).rstrip(" ,;(") + "..."


def duration(seconds: float) -> str:
    """A time for people: `3.1 s`, `2 min 5 s`, `2 h 10 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """A size for people, in powers of 1024: `512 B`, `13.5 KiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} GiB"


def plural(count: int, word: str) -> str:
    """`1 stage`, `2 stages`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, as wide as their widest cell, two spaces apart."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
