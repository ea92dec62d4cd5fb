"""The gate for names of strangers: its quick look and its long one agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk import names

PARTS = st.text("aZ0_-.@+=,/\\ :\0\n~é\u202e", max_size=24)


@given(PARTS | st.text(max_size=12))
def test_quick_look_passes_only_good_names(name: str) -> None:
    """What nearly every name is like has no fault by the long look either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_LONGEST_PLAIN", -1)
        slow = names.name_fault(name)
    assert slow == names.name_fault(name)


@pytest.mark.parametrize("name", ["kws.keras", "eval/tflite/confusion.png", "spec/train.yaml", "data/features/0.npy"])
def test_our_own_names_need_one_look(name: str) -> None:
    """The names of a no-op's thousands of artifacts cost next to nothing."""
    assert names._PLAIN.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "..", "a/../b", ".", "a/.", "a.", "a b ", "a\n", "x" * 256, ".git"]
)
def test_names_that_lead_elsewhere_have_a_fault(name: str) -> None:
    """Each is told in words."""
    assert names.name_fault(name)
