"""The gate for names of strangers: its quick look and its long one agree."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mltkbuild.disk import names

PARTS = st.text("aZ0_-.@+=,/\\ :\0\n~é\u202e", max_size=24)
OURS = ("kws.keras", "eval/tflite/confusion.png", "spec/train.yaml", "data/features/0.npy", "kws-test.mltk.zip")


@given(PARTS | st.text(max_size=12))
def test_quick_look_passes_only_good_names(name: str) -> None:
    """What nearly every name is like has no fault by the long look either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_LONGEST_PLAIN", -1)
        slow = names.name_fault(name)
    assert slow == names.name_fault(name)


@given(st.lists(PARTS | st.text("ab./-\n", max_size=6) | st.sampled_from(OURS), max_size=5, unique=True))
@example(["a\nb"])
@example(["a", ""])
def test_look_at_all_passes_only_good_names(several: list[str]) -> None:
    """No name is let through among others that isn't let through alone."""
    if names.all_plain(several):
        assert not any(map(names.name_fault, several))
        assert not any(name.startswith(".") for name in several)


def test_our_own_names_need_one_look() -> None:
    """The names of a no-op's thousands of artifacts cost next to nothing."""
    assert names.all_plain(OURS)
    assert all(map(names._PLAIN.fullmatch, OURS))


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "..", "a/../b", ".", "a/.", "a.", "a b ", "a\n", "x" * 256, ".git"]
)
def test_names_that_lead_elsewhere_have_a_fault(name: str) -> None:
    """Each is told in words."""
    assert names.name_fault(name)
