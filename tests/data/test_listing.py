"""Listing a data set's folder, and dividing its samples by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.data.listing import Item, as_items, folders_of, list_classes, list_files, take_per_class
from mltkbuild.data.splits import SUBSETS, place_of, split
from mltkbuild.data.told import NO_FILE, Told
from mltkbuild.errors import DataError

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def make(folder: Path, *paths: str) -> str:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return str(folder)


def test_files_are_listed_by_class_in_order(tmp_path: Path) -> None:
    """Files count by their ending in any case, in folders below, with unicode and long names; hidden ones don't."""
    long = "b" * 251 + ".wav"
    folder = make(
        tmp_path, "yes/ü.wav", "yes/deep/a.WAV", f"yes/{long}", "yes/.x.wav", "yes/x.txt", "no/1.wav", ".git/x"
    )
    listed = list_classes(folder, ["yes", "no"], (".wav",))
    assert {"yes": sorted([f"yes/{long}", "yes/deep/a.WAV", "yes/ü.wav"]), "no": ["no/1.wav"]} == listed
    assert [Item("no/1.wav", os.path.join(folder, "no", "1.wav"), 1)] == as_items(
        folder, {"no": ["no/1.wav"]}, ["yes", "no"]
    )
    assert ["no", "yes"] == folders_of(folder)


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    """Files with other endings are told, of the wanted classes alone; hidden ones aren't."""
    folder = make(tmp_path, "yes/1.wav", "yes/deep/x.txt", "yes/.x.txt", "no/1.wav", "other/x.txt", "x.txt")
    os.mkfifo(tmp_path / "no" / "pipe.wav")
    told = Told()
    list_classes(folder, ["yes", "no"], (".wav",), told=told)
    assert {".txt": {"yes/deep/x.txt"}, NO_FILE: {"no/pipe.wav"}} == told.passed
    with pytest.raises(DataError, match="no samples") as caught:
        list_classes(folder, ["other"], (".wav",))
    assert "1 file passed over: 1 .txt" in str(caught.value.found)


def test_links_are_followed_at_most_once(tmp_path: Path) -> None:
    """A link that leads back up ends there; others are followed, or not if so wanted."""
    folder = make(tmp_path / "data", "yes/1.wav")
    make(tmp_path / "more", "2.wav")
    os.symlink(tmp_path / "data" / "yes", tmp_path / "data" / "yes" / "again")
    os.symlink(tmp_path / "more", tmp_path / "data" / "yes" / "more")
    os.symlink(tmp_path / "nothing", tmp_path / "data" / "yes" / "broken.wav")
    assert ["yes/1.wav", "yes/more/2.wav"] == list_files(folder, "yes", (".wav",))
    assert ["yes/1.wav"] == list_files(folder, "yes", (".wav",), follow_links=False)


@pytest.mark.parametrize(
    ("paths", "what", "fix"),
    [
        ((), "no class folders", "make a folder for each class"),
        (("yes/1.wav", "nope/1.wav"), "no folder for the class 'no'", "did you mean nope"),
        (("yes/1.wav", "no/1.txt"), "the class 'no' has no samples", "put its samples there"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, paths: tuple[str, ...], what: str, fix: str) -> None:
    """An empty folder, a misspelt class and a class without samples are errors that say what to do."""
    make(tmp_path, *paths)
    with pytest.raises(DataError, match=what) as caught:
        list_classes(str(tmp_path), ["yes", "no"], (".wav",))
    assert fix in str(caught.value.fix)


def test_no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A data set's folder that isn't there is named."""
    with pytest.raises(DataError, match="can't be read") as caught:
        list_classes(str(tmp_path / "gone"), ["a"], (".wav",))
    assert str(tmp_path / "gone") == caught.value.where


@given(st.sets(names, min_size=1), st.sets(names), st.floats(0, 0.99))
def test_added_sample_moves_no_other(before: set[str], added: set[str], validation: float) -> None:
    """A sample's subset depends on its own name alone, and every sample is in exactly one."""

    def where(all_names: set[str]) -> dict[str, str]:
        parts = split([Item(name, "", 0) for name in sorted(all_names)], validation)
        return {item.name: subset for subset in SUBSETS for item in parts[subset]}

    first, second = where(before), where(before | added)
    assert first == {name: second[name] for name in before}
    assert len(before | added) == len(second)


@given(st.sets(names, min_size=2), st.floats(0.1, 0.9))
def test_group_is_never_torn_apart(all_names: set[str], validation: float) -> None:
    """Samples of one group are in one subset."""
    items = [Item(name, "", 0) for name in sorted(all_names)]
    parts = split(items, validation, group=lambda name: name[0])
    where = {item.name: subset for subset in SUBSETS for item in parts[subset]}
    for first in all_names:
        assert {where[first]} == {where[name] for name in all_names if name[0] == first[0]}


def test_fractions_are_met() -> None:
    """Of many names about the wanted part is for validation."""
    places = [place_of(f"yes/{number}.wav") for number in range(4000)]
    assert 0.18 < sum(place < 0.2 for place in places) / len(places) < 0.22
    assert 0 <= min(places) <= max(places) < 1


def test_spec_may_name_the_subset() -> None:
    """What `split_subset` says holds; None leaves it to the name; another word is an error."""
    items = [Item(name, "", 0) for name in ("a_test", "b", "c_val")]
    chosen = {"a_test": "evaluation", "b": None, "c_val": "validation"}
    parts = split(items, 0.0, subset=chosen.get)
    assert {"training": ["b"], "validation": ["c_val"], "evaluation": ["a_test"]} == {
        subset: [item.name for item in part] for subset, part in parts.items()
    }
    with pytest.raises(DataError, match="must name a subset"):
        split(items, 0.0, subset=lambda name: "test")


@given(st.lists(st.tuples(names, st.integers(0, 2)), unique_by=lambda item: item[0]), st.integers(0, 5), names)
def test_limit_keeps_the_same_ones(pairs: list[tuple[str, int]], limit: int, new: str) -> None:
    """A limit takes so many of each class, in order; another sample replaces at most one."""
    items = [Item(name, "", label) for name, label in pairs]
    kept = take_per_class(items, limit, place_of)
    assert [item for item in items if item in kept] == kept
    for label in range(3):
        count = sum(item.label == label for item in items)
        assert min(limit, count) == sum(item.label == label for item in kept)
    if new not in dict(pairs):
        more = take_per_class([*items, Item(new, "", 0)], limit, place_of)
        assert len(set(kept) - set(more)) <= 1
    assert items == take_per_class(items, -1, place_of)
