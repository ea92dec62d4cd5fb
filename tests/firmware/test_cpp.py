"""Values as C++ text: names that the compiler takes, numbers that come back, comments that stay a line."""

from __future__ import annotations

import re
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.firmware import cpp


@given(st.text(max_size=20))
def test_any_name_becomes_an_identifier(name: str) -> None:
    """Whatever a model is called, its identifier is one of C++'s, no reserved one and no macro's."""
    found = cpp.identifier(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*[a-z][A-Za-z0-9_]*|[a-z][A-Za-z0-9_]*", found)
    assert "__" not in found


@given(st.lists(st.text("ab_.", max_size=6) | st.sampled_from(["a", "a_count"]), max_size=12, unique=True))
def test_identifiers_of_different_names_differ(names: list[str]) -> None:
    """No two parameters share an identifier, nor one of them that of another's count."""
    found = cpp.identifiers(names, dict.fromkeys(names[::2], "_count"))
    taken = [*found.values(), *(found[name] + "_count" for name in names[::2])]
    assert len(taken) == len(set(taken))


@given(st.text('ab?/\\\n \x00"', max_size=12))
def test_a_comment_stays_a_line(text: str) -> None:
    """A comment never takes the next line with it."""
    assert not re.search(r"\n|\\\s*$|\?\?/\s*$", cpp.comment(text))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(single: float, double: float) -> None:
    """A literal holds just the number that it was made of."""
    assert np.float32(single).tobytes() == np.float32(cpp.float32(single).removesuffix("f")).tobytes()
    assert struct.pack("d", double) == struct.pack("d", float(cpp.float64(double)))
