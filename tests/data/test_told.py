"""What readers of a data set tell beside errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.data.told import NO_SUFFIX, Told

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=8)


def test_files_are_counted_by_suffix() -> None:
    """The most frequent suffix comes first, in lower case; a name without one says so, and each file counts once."""
    told = Told()
    for name in ("a/1.heic", "a/2.HEIC", "a/x.txt", "a/LICENSE", "a/1.heic"):
        told.pass_over(name)
    assert ["4 files passed over: 2 .heic, 1 (no suffix), 1 .txt"] == told.notes()
    assert {"passed_over": {".heic": 2, ".txt": 1, NO_SUFFIX: 1}} == told.counts


def test_remarks_count_samples_once() -> None:
    """A sample that two subsets have counts once; three names are told, and how many there are beside."""
    told, again = Told(), Told()
    for number in range(5):
        told.about(f"a/{number}.wav")("cut off")
    again.remark("cut off", ["a/4.wav"])
    again.remark("too loud", ["b/1.wav"])
    told.join(again)
    assert [
        "5 samples cut off: a/0.wav, a/1.wav, a/2.wav and 2 more",
        "1 sample too loud: b/1.wav",
    ] == told.notes()
    assert {"remarks": {"cut off": 5, "too loud": 1}} == told.counts


def test_nothing_is_told_of_nothing() -> None:
    """A data set in which all is as it should be has no lines and no facts."""
    assert ([], {}) == (Told().notes(), Told().counts)


@given(st.sets(names), st.sets(names))
def test_joined_is_as_if_told_at_once(first: set[str], second: set[str]) -> None:
    """The order and the number of readers don't matter."""
    one, other, both = Told(), Told(), Told()
    for told, found in ((one, first), (other, second), (both, first | second)):
        for name in found:
            told.pass_over(name)
            told.about(name)("odd")
    one.join(other)
    assert (both.notes(), both.counts) == (one.notes(), one.counts)
