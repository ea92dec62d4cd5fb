"""Values as C++17 source text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_KEYWORDS = frozenset(
    """alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
    co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default
    delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long
    mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
    reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template this
    thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
    xor_eq""".split()  # noqa: SIM905  # a list of words reads best as text
)
# `std` would hide the standard library's; the others are macros of C's headers or of GNU's compiler.
_TAKEN = frozenset(("std", "assert", "errno", "linux", "stderr", "stdin", "stdout", "unix"))
_PER_LINE = 16
_HEX = [f"0x{value:02x}" for value in range(256)]
_CHARACTERS = [
    chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
    # Three octal digits end by themselves, so that a digit that follows is no part of the escape.
    for byte in range(256)
]
_JOINS_LINES = re.compile(r"(?:\\|\?\?/|\s)+$")


def identifier(name: str) -> str:
    """A C++ identifier like a name: other characters become underscores; no keyword, no macro, nothing reserved."""
    plain = re.sub(r"_+", "_", re.sub(r"[^0-9A-Za-z]", "_", name)).strip("_") or "x"
    # Capitals alone are a macro's name, and Arduino has PI, HIGH, DEFAULT and many more.
    if plain[0].isdigit() or plain in _KEYWORDS or plain in _TAKEN or plain == plain.upper():
        plain = f"m_{plain}"
    return plain


def identifiers(names: Iterable[str], companions: Mapping[str, str] | None = None) -> dict[str, str]:
    """An identifier for each name, no two alike.

    Args:
        names: What to name.
        companions: An ending by name, for those whose identifier with that ending is used too.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        ending = (companions or {}).get(name, "")
        base = candidate = identifier(name)
        count = 2
        while taken & {candidate, candidate + ending}:
            candidate, count = f"{base}_{count}", count + 1
        found[name] = candidate
        taken |= {candidate, candidate + ending}
    return found


def string(text: str) -> str:
    """A string literal of UTF-8; what could be read in another way is escaped, such as trigraphs."""
    return '"' + "".join(_CHARACTERS[byte] for byte in text.encode("utf-8", "replace")) + '"'


def comment(text: str) -> str:
    """A text that can stand behind `//`: one line that doesn't join the next one to it."""
    line = " ".join(text.split())
    return _JOINS_LINES.sub("", "".join(character if character.isprintable() else "?" for character in line))


def float32(value: float) -> str:
    """A float literal that gives the same number back."""
    if not math.isfinite(value):
        return _not_finite("float", value)
    return np.format_float_scientific(np.float32(value), unique=True, trim="0") + "f"


def float64(value: float) -> str:
    """A double literal that gives the same number back."""
    if not math.isfinite(value):
        return _not_finite("double", value)
    return np.format_float_scientific(np.float64(value), unique=True, trim="0")


def _not_finite(kind: str, value: float) -> str:
    member = "quiet_NaN" if math.isnan(value) else "infinity"
    return f"{'-' if value < 0 else ''}std::numeric_limits<{kind}>::{member}()"


def integer(value: int) -> str:
    """An integer literal of any 64-bit value."""
    if value == -(2**63):
        return "(-9223372036854775807LL - 1)"
    return f"{value}ULL" if value > 2**63 - 1 else f"{value}LL" if abs(value) > 2**31 - 1 else str(value)


def lines(literals: Sequence[str]) -> str:
    """The lines between the braces of an array."""
    rows = (literals[start : start + _PER_LINE] for start in range(0, len(literals), _PER_LINE))
    return "\n".join(f"  {', '.join(row)}," for row in rows)


def bytes_body(data: bytes) -> str:
    """The lines between the braces of a byte array."""
    return lines([_HEX[byte] for byte in data])


def numbers_body(values: np.ndarray) -> str:
    """The lines between the braces of an array of numbers, in C's order."""
    literal = {"float32": float32, "float64": float64}.get(values.dtype.name, integer)
    return lines([literal(value) for value in np.ravel(values).tolist()])
