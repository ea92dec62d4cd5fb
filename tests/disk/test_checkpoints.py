"""Checkpoints on disk: their names, which are kept, and what a full disk or a kill leaves of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.disk import checkpoints
from mltkbuild.disk.checkpoints import Position, Shelf
from mltkbuild.disk.door import Door
from mltkbuild.disk.open_folder import TEMPORARY

from .faults import Steps, die, disk_full, fill, in_memory, killed, mounted, watching

ABOUT = {"seed": 1, "sources": "abc"}
OTHER = {"seed": 2, "sources": "abc"}
SIZE = 300_000

law = settings(deadline=None, max_examples=60, database=None)
epochs = st.integers(0, 120)
positions = st.builds(Position, epochs, st.just(0) | st.integers(1, 50))


class Killed(BaseException):
    """Ends a write as a kill does: nothing tidies up."""


def shelf_in(root: Path, about: dict[str, object] | None = None) -> Shelf:
    return Shelf(Door(str(root)), str(root / "checkpoints"), about or ABOUT)


def names(shelf: Shelf) -> set[str]:
    """The names of a training's files."""
    return set(os.listdir(shelf.folder)) if os.path.isdir(shelf.folder) else set()


def kept(at: Position, there: set[Position], best: int | None, every: int | None) -> set[Position]:
    """What pruning shall keep, said another way: by the whole epochs that are not behind two others, and by rules."""
    whole = [place for place in there if not place.step]
    newest = {place for place in whole if sum(other > place for other in whole) < 2}
    before = [place for place in whole if place <= at]
    newest |= {place for place in before if sum(other > place for other in before) < 2}
    regular = {place for place in whole if place.epoch == best or (every and place.epoch % every == 0)}
    return {at, max(there)} | newest | regular


# Names.


@law
@given(positions)
def test_a_name_tells_the_position(tmp_path_factory: pytest.TempPathFactory, position: Position) -> None:
    """What was written at a position is found under that position, and names sort as positions do."""
    with in_memory(tmp_path_factory.mktemp("shelf")) as root:
        shelf = shelf_in(root)
        shelf.put(position, b"data")

        assert (position,) == shelf.positions()
        assert b"data" == shelf.read(position)


@law
@given(positions, positions)
def test_names_sort_as_positions_do(one: Position, other: Position) -> None:
    """Of two positions the later has the later name, within the digits of a name."""
    assert (one < other) == (one.file.replace(".npz", "") < other.file.replace(".npz", ""))


@pytest.mark.parametrize(
    ("position", "name", "words"),
    [
        (Position(0), "epoch-00000.npz", "epoch 0"),
        (Position(7), "epoch-00007.npz", "epoch 7"),
        (Position(7, 40), "epoch-00007-step-0000040.npz", "step 40 of epoch 8"),
        (Position(123_456), "epoch-123456.npz", "epoch 123456"),
    ],
)
def test_positions_have_names_and_words(position: Position, name: str, words: str) -> None:
    """A position within an epoch counts the epoch that it is in; a training with many epochs gets more digits."""
    assert (name, words) == (position.file, str(position))


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    """Half-written files, notes and names that merely look alike count for nothing; more digits than usual do count."""
    strange = ("epoch-1.npz.tmp", "epoch-x.npz", "xepoch-00001.npz", "epoch-00001-step-.npz", "epoch-00001.npz.old")
    for name in (*strange, "about.json", "best.txt", "epoch-100000.npz", "epoch-00003-step-0000001.npz"):
        (tmp_path / name).touch()

    assert (Position(3, 1), Position(100_000)) == checkpoints.positions_in(str(tmp_path))


def test_a_folder_that_is_not_there_has_no_checkpoints(tmp_path: Path) -> None:
    """Neither a missing folder nor a file in its place is an error."""
    (tmp_path / "file").touch()

    for name in ("none", "file"):
        assert () == checkpoints.positions_in(str(tmp_path / name))
        assert {} == checkpoints.others(str(tmp_path / name), ABOUT)
        assert checkpoints.best_file(str(tmp_path / name)) is None
        checkpoints.drop(Door(str(tmp_path)), str(tmp_path / "none"))


def test_the_key_is_that_of_the_values() -> None:
    """The order of what a training depends on says nothing; every value does."""
    assert checkpoints.key_of(ABOUT) == checkpoints.key_of(dict(reversed(ABOUT.items())))
    assert checkpoints.key_of(ABOUT) != checkpoints.key_of(OTHER)


def test_epochs_are_shown_for_people() -> None:
    """Only whole epochs are shown, for only these can be named."""
    assert "3, 12" == checkpoints.shown([Position(3), Position(3, 5), Position(12)])
    assert "none" == checkpoints.shown([Position(0, 5)])


# What is kept.


@law
@given(st.sets(positions, min_size=1, max_size=40), st.data(), st.none() | epochs, st.none() | st.integers(1, 30))
def test_pruning_keeps_exactly_what_it_says(
    tmp_path_factory: pytest.TempPathFactory,
    there: set[Position],
    data: st.DataObject,
    best: int | None,
    every: int | None,
) -> None:
    """The one just written, the newest, the last two whole epochs here and in all, the best and every k-th stay."""
    at = data.draw(st.sampled_from(sorted(there)))
    with in_memory(tmp_path_factory.mktemp("shelf")) as root:
        shelf = shelf_in(root)
        os.makedirs(shelf.folder)
        for position in there:
            Path(shelf.path(position)).touch()

        shelf.prune(at, best, every)

        assert kept(at, there, best, every) == set(shelf.positions())
        shelf.prune(at, best, every)
        assert kept(at, there, best, every) == set(shelf.positions())


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("every", [None, 1, 7, 10, 100])
@pytest.mark.parametrize("best_at", [1, 37, 100])
def test_a_long_training_keeps_few_files(tmp_path: Path, steps: int, every: int | None, best_at: int) -> None:
    """In a hundred epochs there are never more checkpoints than the regular ones and four, and one being written."""
    with in_memory(tmp_path) as root:
        shelf = shelf_in(root)
        os.makedirs(shelf.folder)
        for epoch in range(1, 101):
            parts = [Position(epoch - 1, step) for step in range(1, steps + 1)]
            best = min(epoch, best_at)
            for position in (*parts, Position(epoch)):
                Path(shelf.path(position)).touch()
                regular = epoch // every if every else 0
                assert len(shelf.positions()) <= regular + 5
                shelf.prune(position, best if position == Position(epoch) else min(epoch - 1, best_at) or None, every)
                assert len(shelf.positions()) <= regular + 4
                assert {position} <= set(shelf.positions())
        wanted = {Position(99), Position(100), Position(best_at)}
        assert wanted | {Position(n) for n in range(1, 101) if every and n % every == 0} == set(shelf.positions())


def test_a_file_that_cannot_be_deleted_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning is no reason to stop a training."""
    shelf = shelf_in(tmp_path)
    for epoch in range(1, 6):
        shelf.put(Position(epoch), b"")

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "unlink", refuse)
    shelf.prune(Position(5), None, None)

    assert 5 == len(shelf.positions())


# What a training depends on, and the others.


def test_a_shelf_tells_what_it_belongs_to(tmp_path: Path) -> None:
    """Beside the checkpoints lies, in readable form, what the training depends on."""
    shelf = shelf_in(tmp_path)
    shelf.put(Position(1), b"one")

    assert ABOUT == json.loads(Path(shelf.folder, "about.json").read_text(encoding="utf-8"))
    assert {"about.json", "epoch-00001.npz"} == names(shelf)


def test_trainings_do_not_see_each_other(tmp_path: Path) -> None:
    """Each training has its own checkpoints; the others are told with what they depend on."""
    mine, other = shelf_in(tmp_path), shelf_in(tmp_path, OTHER)
    mine.put(Position(1), b"mine")
    other.put(Position(2), b"other")

    assert ((Position(1),), (Position(2),)) == (mine.positions(), other.positions())
    assert {other.folder: OTHER} == checkpoints.others(mine.root, ABOUT)
    assert {mine.folder: ABOUT} == checkpoints.others(mine.root, OTHER)
    assert 2 == len(checkpoints.others(mine.root, {"seed": 3}))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff\xfe", b'"text"'])
def test_a_damaged_description_hides_a_training(tmp_path: Path, content: bytes | None) -> None:
    """A training whose description is missing, torn or no description is passed over."""
    other = shelf_in(tmp_path, OTHER)
    other.put(Position(2), b"other")
    about = Path(other.folder, "about.json")
    about.unlink()
    if content is not None:
        about.write_bytes(content)

    assert {} == checkpoints.others(other.root, ABOUT)


def test_a_training_without_checkpoints_is_none(tmp_path: Path) -> None:
    """A folder that holds only a description, or something else altogether, is no training."""
    other = shelf_in(tmp_path, OTHER)
    other.put(Position(2), b"other")
    os.unlink(other.path(Position(2)))
    Path(other.root, "note.txt").write_text("a note", encoding="utf-8")

    assert {} == checkpoints.others(other.root, ABOUT)


def test_starting_over_keeps_the_old_until_the_end(tmp_path: Path) -> None:
    """What is set aside is no longer resumed from, is found among the others, and goes when the training is done."""
    shelf = shelf_in(tmp_path)
    shelf.put(Position(4), b"old")

    shelf.set_aside()

    assert () == shelf.positions()
    assert {shelf.folder + checkpoints.SET_ASIDE: ABOUT} == checkpoints.others(shelf.root, ABOUT)
    shelf.put(Position(1), b"new")
    shelf.finish()
    assert [os.path.basename(shelf.folder)] == os.listdir(shelf.root)
    assert b"new" == shelf.read(Position(1))


def test_setting_aside_twice_keeps_the_first(tmp_path: Path) -> None:
    """Starting over again and again keeps what lay aside before the first time; without checkpoints it does nothing."""
    shelf = shelf_in(tmp_path)
    shelf.set_aside()
    assert not os.path.exists(shelf.root)
    for epoch in (4, 2):
        shelf.put(Position(epoch), b"")
        shelf.set_aside()
    shelf.set_aside()

    assert () == shelf.positions()
    assert (Position(4),) == checkpoints.positions_in(shelf.folder + checkpoints.SET_ASIDE)


def test_finishing_leaves_only_this_training(tmp_path: Path) -> None:
    """The checkpoints of other trainings and half-written files go; this training's stay, and twice is no error."""
    mine, other = shelf_in(tmp_path), shelf_in(tmp_path, OTHER)
    other.put(Position(9), b"other")
    mine.put(Position(1), b"mine", best=1)
    Path(mine.path(Position(2)) + TEMPORARY).write_bytes(b"half")

    mine.finish()
    mine.finish()

    assert {"about.json", "best.txt", "epoch-00001.npz"} == names(mine)
    assert [os.path.basename(mine.folder)] == os.listdir(mine.root)
    shelf_in(tmp_path / "nowhere").finish()


# The best.


def test_the_best_checkpoint_is_found(tmp_path: Path) -> None:
    """The pointer follows the best epoch; a step within an epoch never is the best."""
    shelf = shelf_in(tmp_path)
    assert checkpoints.best_file(shelf.root) is None
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        shelf.put(Position(epoch), b"", best)
    shelf.put(Position(2, 5), b"", 2)

    assert shelf.path(Position(2)) == checkpoints.best_file(shelf.root)


def test_the_best_is_that_of_the_training_at_work_last(tmp_path: Path) -> None:
    """Of several trainings the one that wrote last counts."""
    first, second = shelf_in(tmp_path), shelf_in(tmp_path, OTHER)
    for number, shelf in enumerate((first, second), 1):
        shelf.put(Position(number), b"", number)
        os.utime(shelf.folder, (1000 + number, 1000 + number))
    assert second.path(Position(2)) == checkpoints.best_file(first.root)

    os.utime(first.folder, (2000, 2000))
    assert first.path(Position(1)) == checkpoints.best_file(first.root)


def test_the_pointer_to_the_best_is_put_right(tmp_path: Path) -> None:
    """After a kill before the pointer was written, or a return to an earlier epoch, the next checkpoint mends it."""
    shelf = shelf_in(tmp_path)
    shelf.put(Position(1), b"", 1)
    shelf.put(Position(2), b"")
    shelf.put(Position(2, 3), b"", 2)
    assert shelf.path(Position(2)) == checkpoints.best_file(shelf.root)

    shelf.put(Position(2), b"", 1)
    assert shelf.path(Position(1)) == checkpoints.best_file(shelf.root)


@pytest.mark.parametrize("pointer", ["epoch-00009.npz", "", "../../elsewhere.npz", "about.json", "\0"])
def test_a_pointer_to_nothing_is_no_best(tmp_path: Path, pointer: str) -> None:
    """A pointer to a checkpoint that is gone, or to somewhere else, points at nothing."""
    shelf = shelf_in(tmp_path)
    shelf.put(Position(1), b"", 1)
    (tmp_path / "elsewhere.npz").touch()
    Path(shelf.folder, "best.txt").write_text(pointer, encoding="utf-8")

    assert checkpoints.best_file(shelf.root) is None


def test_all_checkpoints_can_be_dropped(tmp_path: Path) -> None:
    """Dropping leaves nothing."""
    shelf = shelf_in(tmp_path)
    shelf.put(Position(1), b"")
    checkpoints.drop(shelf.door, shelf.root)

    assert not os.path.exists(shelf.root)


# Bad disks and kills.


def small_training(root: Path) -> Shelf:
    """A training with two checkpoints, the first of them the best."""
    shelf = shelf_in(root)
    shelf.put(Position(1), b"1" * SIZE, 1)
    shelf.put(Position(2), b"2" * SIZE, 1)
    return shelf


def contents(shelf: Shelf) -> dict[str, bytes]:
    """The files of a training."""
    return {name: Path(shelf.folder, name).read_bytes() for name in names(shelf)}


def test_a_full_disk_leaves_the_checkpoints(tmp_path: Path) -> None:
    """Where there is no room for one more, the error is the system's and the others are whole; later it goes on."""
    with mounted(tmp_path / "small", "size=2m"):
        shelf = small_training(tmp_path / "small")
        before = contents(shelf)
        ballast = fill(tmp_path / "small", SIZE // 2)

        with pytest.raises(OSError, match="No space left"):
            shelf.put(Position(3), b"3" * SIZE, 3)

        assert before == contents(shelf)
        assert shelf.path(Position(1)) == checkpoints.best_file(shelf.root)
        ballast.unlink()
        shelf.put(Position(3), b"3" * SIZE, 3)
        assert shelf.path(Position(3)) == checkpoints.best_file(shelf.root)


def test_a_read_only_disk_leaves_the_checkpoints(tmp_path: Path) -> None:
    """On a read-only disk nothing is written, nothing pruned, and reading works."""
    with mounted(tmp_path / "small", "size=2m") as again:
        shelf = small_training(tmp_path / "small")
        before = contents(shelf)
        again("ro")

        with pytest.raises(OSError, match="Read-only"):
            shelf.put(Position(3), b"3" * SIZE, 3)
        shelf.prune(Position(2), None, None)
        shelf.finish()

        assert before == contents(shelf)
        again("rw")


@pytest.mark.parametrize("about", [ABOUT, OTHER], ids=["one more", "the first"])
def test_no_step_of_writing_tears_a_checkpoint(tmp_path: Path, about: dict[str, object]) -> None:
    """Wherever writing ends, by a kill or a full disk, each checkpoint is whole, and the best is there."""
    with in_memory(tmp_path) as root:
        for number in range(1, 60):
            old = small_training(root / str(number))
            shelf = shelf_in(root / str(number), about)
            before, full = contents(old), number % 2 == 0
            steps = Steps(number // 2 + 1, disk_full if full else _kill)
            failed = False
            try:
                with watching(steps):
                    shelf.put(Position(3), b"3" * 5000, 3)
            except (OSError, Killed):
                failed = True
            struck = steps.count >= steps.first

            assert failed or not struck or full
            found = contents(shelf)
            assert {name: before[name] for name in before if name != "best.txt"} == {
                name: data for name, data in contents(old).items() if name in before and name != "best.txt"
            }
            assert found.get(Position(3).file, b"3" * 5000) == b"3" * 5000
            assert checkpoints.best_file(shelf.root) in (old.path(Position(1)), shelf.path(Position(3)))
            assert full is False or not any(name.endswith(TEMPORARY) for name in found)
            shelf.put(Position(3), b"3" * 5000, 3)
            shelf.finish()
            assert not any(name.endswith(TEMPORARY) for name in names(shelf))
            assert Position(3) in shelf.positions()
            if not struck:
                return
    pytest.fail("writing has more steps than were tried")


def _kill(name: str) -> None:
    raise Killed


def _put_and_die(root: str, step: int) -> None:
    with watching(Steps(step, die)):
        shelf_in(Path(root)).put(Position(3), b"3" * SIZE, 3)


def test_a_killed_process_leaves_no_torn_checkpoint(tmp_path: Path) -> None:
    """A process that is killed when half of a checkpoint is written leaves a file of no name, which `finish` drops."""
    shelf = small_training(tmp_path)
    before = contents(shelf)

    assert killed(_put_and_die, str(tmp_path), 3)

    left = contents(shelf)
    half = left.pop(Position(3).file + TEMPORARY)
    assert (before, b"3" * (SIZE // 2)) == (left, half)
    assert (Position(1), Position(2)) == shelf.positions()
    shelf.finish()
    assert before == contents(shelf)
