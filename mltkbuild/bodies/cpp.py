"""Values as C++17 source text."""

from __future__ import annotations

import keyword
import math
import re
import struct
from collections.abc import Iterable, Sequence

import numpy as np

_KEYWORDS = frozenset(
    """alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const
    const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false
    float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
    while xor xor_eq""".split()  # noqa: SIM905  # a list of words reads best as text
)
_PER_LINE = 16
_HEX = [f"0x{value:02x}," for value in range(256)]


def identifier(name: str) -> str:
    """A C++ identifier that is like a name: other characters become underscores, and it is no keyword."""
    plain = re.sub(r"_+", "_", re.sub(r"[^0-9A-Za-z]", "_", name)).strip("_") or "x"
    if plain[0].isdigit() or plain in _KEYWORDS or keyword.iskeyword(plain):
        plain = f"m_{plain}"
    return plain


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """An identifier for each name, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        base = candidate = identifier(name)
        count = 2
        while candidate in found.values():
            candidate, count = f"{base}_{count}", count + 1
        found[name] = candidate
    return found


def string(text: str) -> str:
    """A string literal of UTF-8; what could be read in another way is escaped, such as trigraphs."""
    parts = []
    for byte in text.encode():
        character = chr(byte)
        # Three octal digits end by themselves, so that a digit that follows is no part of the escape.
        parts.append(
            character
            if character.isascii() and character.isprintable() and character not in '"\\?'
            else f"\\{byte:03o}"
        )
    return '"' + "".join(parts) + '"'


def comment(text: str) -> str:
    """A text that can stand behind `//`: one line, no backslash at its end."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line).rstrip("\\")


def float32(value: float) -> str:
    """A float literal that gives the same number back."""
    if math.isnan(value):
        return '__builtin_nanf("")'
    if math.isinf(value):
        return "-__builtin_inff()" if value < 0 else "__builtin_inff()"
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def float64(value: float) -> str:
    """A double literal that gives the same number back."""
    if math.isnan(value):
        return '__builtin_nan("")'
    if math.isinf(value):
        return "-__builtin_inf()" if value < 0 else "__builtin_inf()"
    text = repr(float(value))
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def integer(value: int) -> str:
    """An integer literal of any 64-bit value."""
    if value == -(2**63):
        return "(-9223372036854775807LL - 1)"
    return f"{value}ULL" if value > 2**63 - 1 else f"{value}LL" if abs(value) > 2**31 - 1 else str(value)


def bytes_body(data: bytes) -> str:
    """The lines between the braces of a byte array."""
    texts = [_HEX[byte] for byte in data]
    return "\n".join("  " + " ".join(texts[start : start + _PER_LINE]) for start in range(0, len(texts), _PER_LINE))


def numbers_body(values: Sequence[float] | np.ndarray, dtype: str) -> str:
    """The lines between the braces of an array of numbers."""
    is_float = np.dtype(dtype).kind == "f"
    texts = [(float32(float(value)) if is_float else integer(int(value))) + "," for value in np.ravel(values)]
    return "\n".join("  " + " ".join(texts[start : start + _PER_LINE]) for start in range(0, len(texts), _PER_LINE))


def fletcher32(data: bytes) -> int:
    """Fletcher's checksum of little-endian 16-bit words, the last one padded with 0 (RFC 1146's way, 32 bits)."""
    padded = data + b"\0" * (len(data) % 2)
    low = high = 0
    for (word,) in struct.iter_unpack("<H", padded):
        low = (low + word) % 65535
        high = (high + low) % 65535
    return high << 16 | low
