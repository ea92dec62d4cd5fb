"""Text of strangers as people see it: names in models, files, records and archives, and what servers say.

Whatever such a text holds, it steers no terminal, forges no line, and is no formula of a spreadsheet. A name becomes
`shown` where it is put into a line, a table or a page; a finished text goes through `shown_lines` where it is printed.
"""

from __future__ import annotations

_ENDS = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def shown(text: str, limit: int = 1024) -> str:
    r"""A text in one line, cut behind a limit.

    Control characters, those that change the direction of text or can't be seen, ends of lines and surrogates become
    escapes, such as `\x1b`.
    """
    safe = text if text.isprintable() else "".join(map(_visible, text))
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def shown_lines(text: str) -> str:
    """A text whose ends of lines and tabs are our own, with everything else as `shown` has it."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" else _visible(char) for char in text)


def csv_cell(value: object) -> object:
    """A value for a CSV file: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = shown(value, 1 << 15)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    # A space of another width is one, too.
    return " " if char.isspace() and char not in _ENDS else char.encode("unicode_escape").decode()
