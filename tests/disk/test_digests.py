"""Digests of files, and when they are taken again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk.digests import (
    RACY_NS,
    DigestMemo,
    bytes_digest,
    digest_of,
    kind_of,
    settled,
    source_digest,
    stamp_of,
)

RECORDED = "the digest in the record"
LATER = RACY_NS / 1e9 * 2


def memo_of(folder: Path) -> DigestMemo:
    """A memo as a new process has it."""
    return DigestMemo(str(folder / "build/.memo.json"), str(folder))


def learned(folder: Path) -> dict[str, list[object]]:
    """What the memo file holds."""
    text = (folder / "build/.memo.json").read_text(encoding="utf-8")
    found: dict[str, list[object]] = json.loads(text)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written a while ago."""
    path = tmp_path / "a.txt"
    path.write_text("content")
    time.sleep(LATER)
    return path


@given(st.binary(), st.binary())
def test_digest_is_of_content(first: bytes, second: bytes) -> None:
    """Two contents have the same digest just when they are the same."""
    assert (first == second) == (bytes_digest(first) == bytes_digest(second))


def test_stamp_in_the_record_saves_reading(file: Path) -> None:
    """While a file's stamp stands, its recorded digest stands."""
    stamp = stamp_of(str(file))
    assert stamp is not None
    assert RECORDED == memo_of(file.parent).digest(str(file), {"a": stamp}, "a", RECORDED)


def test_touched_file_keeps_its_digest_and_is_read_once(file: Path) -> None:
    """A new time makes one build read a file; later ones take what that one learned."""
    stamp = stamp_of(str(file))
    assert stamp is not None
    os.utime(file)
    time.sleep(LATER)
    first = memo_of(file.parent)
    assert digest_of(str(file)) == first.digest(str(file), {"a": stamp}, "a", RECORDED)
    first.save()
    entry = learned(file.parent)[f"bytes {file.name}"]
    assert [list(stamp_of(str(file)) or ()), digest_of(str(file))] == entry
    path = file.parent / "build/.memo.json"
    path.write_text(json.dumps({f"bytes {file.name}": [entry[0], "learned"]}))
    assert "learned" == memo_of(file.parent).digest(str(file), {"a": stamp}, "a", RECORDED)


def test_other_content_of_the_same_size_and_time_is_noticed(file: Path) -> None:
    """An edit whose modification time was set back still shows in the change time."""
    before = os.stat(file)
    stamp = stamp_of(str(file))
    assert stamp is not None
    file.write_text("CONTENT")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (stamp[0], stamp[1]) == (os.stat(file).st_size, os.stat(file).st_mtime_ns)
    assert bytes_digest(b"CONTENT") == memo_of(file.parent).digest(str(file), {"a": stamp}, "a", RECORDED)


def test_replaced_file_of_the_same_size_and_time_is_noticed(file: Path) -> None:
    """Another file renamed into place has another inode."""
    stamp, before = stamp_of(str(file)), os.stat(file)
    assert stamp is not None
    other = file.with_name("other")
    other.write_text("CONTENT")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert bytes_digest(b"CONTENT") == memo_of(file.parent).digest(str(file), {"a": stamp}, "a", RECORDED)


def test_file_that_has_just_changed_is_not_trusted(tmp_path: Path) -> None:
    """What was written within the clock's tick is digested and not remembered: it may change again unseen."""
    path = tmp_path / "a.txt"
    memo = memo_of(tmp_path)
    path.write_text("content")
    ahead = time.time_ns() + 10**12
    os.utime(path, ns=(ahead, ahead))
    stamp = stamp_of(str(path))
    assert stamp is not None
    assert not settled(stamp)
    assert bytes_digest(b"content") == memo.digest(str(path), {}, "a", RECORDED)
    memo.save()
    assert not (tmp_path / "build/.memo.json").exists()


def test_settled_means_older_than_a_tick() -> None:
    """Both times of a file must lie back a tick."""
    now = time.time_ns()
    old = now - 2 * RACY_NS
    assert [True, False, False] == [settled((1, *times, 1)) for times in ((old, old), (now, old), (old, now))]


def test_code_counts_by_meaning_and_apart_from_bytes(tmp_path: Path) -> None:
    """The memo keeps the digest of a file's bytes and that of its code apart."""
    path = tmp_path / "a.py"
    path.write_text("x = 1  # one\n")
    time.sleep(LATER)
    memo = memo_of(tmp_path)
    code = memo.digest(str(path), {}, "a", "", "code")
    assert code == source_digest(b"x = 1\n")
    assert bytes_digest(b"x = 1  # one\n") == memo.digest(str(path), {}, "a", "")
    memo.save()
    assert {f"bytes {path.name}", f"code {path.name}"} == set(learned(tmp_path))


@pytest.mark.parametrize(
    "text",
    [b"def (:\n", b"\xff\xfe", b"a\0b", b"(" * 5000, b"-" * 100_000 + b"1"],
    ids=["syntax", "not UTF-8", "zero byte", "parentheses", "too deep"],
)
def test_code_that_can_not_be_parsed_counts_by_its_bytes(text: bytes) -> None:
    """A file that is no Python is digested all the same, byte for byte."""
    assert "text:" + bytes_digest(text) == source_digest(text)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"bytes x": 1}', '{"bytes x": [1, 2]}', '{"bytes x": [[1], "a", 3]}', "[" * 100_000, "\0"],
)
def test_damaged_memo_is_ignored(text: str, file: Path) -> None:
    """A memo that isn't one costs reading the files again, and is replaced."""
    path = file.parent / "build/.memo.json"
    path.parent.mkdir()
    path.write_text(text)
    memo = memo_of(file.parent)
    assert bytes_digest(b"content") == memo.digest(str(file), {}, "a", RECORDED)
    memo.save()
    assert f"bytes {file.name}" in learned(file.parent)
    assert [".memo.json"] == os.listdir(path.parent)


def test_binary_memo_is_ignored(file: Path) -> None:
    """A memo full of random bytes is no obstacle."""
    path = file.parent / "build/.memo.json"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)))
    assert bytes_digest(b"content") == memo_of(file.parent).digest(str(file), {}, "a", RECORDED)


def test_memo_that_can_not_be_written_is_no_error(file: Path) -> None:
    """Where a memo can't be kept, the next build learns again; nothing is left behind."""
    (file.parent / "build/.memo.json").mkdir(parents=True)
    memo = memo_of(file.parent)
    memo.digest(str(file), {}, "a", RECORDED)
    memo.save()
    assert [".memo.json"] == os.listdir(file.parent / "build")


def test_folder_counts_by_its_names(tmp_path: Path) -> None:
    """A folder changes when a name in it comes or goes, not when a file in it changes."""
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = digest_of(str(folder))
    (folder / "a").write_text("2")
    assert first == digest_of(str(folder))
    (folder / "b").write_text("1")
    second = digest_of(str(folder))
    (folder / "a").rename(folder / "c")
    assert 3 == len({first, second, digest_of(str(folder))})


def test_what_is_missing_has_no_digest(tmp_path: Path) -> None:
    """A missing file, a broken link and a path that can't be one have neither stamp nor digest."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    memo = memo_of(tmp_path)
    for path in (str(tmp_path / "gone"), str(link), str(tmp_path / "gone/below"), "a\0b", str(tmp_path / ("x" * 300))):
        assert (None, None, None) == (stamp_of(path), digest_of(path), memo.digest(path, {}, "a", RECORDED))


def test_pipe_has_no_digest(tmp_path: Path) -> None:
    """A named pipe is never read: that would wait for its writer for ever."""
    os.mkfifo(tmp_path / "pipe")
    assert digest_of(str(tmp_path / "pipe")) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_has_no_digest(file: Path) -> None:
    """A file without read permission counts as missing."""
    file.chmod(0)
    assert digest_of(str(file)) is None
    assert memo_of(file.parent).digest(str(file), {}, "a", RECORDED) is None


def test_file_that_can_not_be_read_through_has_no_digest() -> None:
    """A file that opens but fails to be read, as a process's own memory does, counts as missing."""
    assert digest_of("/proc/self/mem") is None


HISTORIES = ('{"loss": 1, "segments": [[0, 4]]}', '{"loss": 1, "segments": [[0, 2], [2, 4]]}', '{"loss": 2}')
"""Two histories of one training, and one of another."""


def test_interruptions_of_a_training_do_not_count(tmp_path: Path) -> None:
    """The artifact that tells how often its making was interrupted has one digest for one result."""
    path = tmp_path / "build/kws/train/history.json"
    path.parent.mkdir(parents=True)
    digests = []
    for text in HISTORIES:
        path.write_text(text)
        digests.append(digest_of(str(path), kind_of("train/history.json")))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["history.json", "eval/train/history.json", "kws.keras", "kws.mltk.zip"])
def test_every_other_artifact_counts_by_its_bytes(name: str) -> None:
    """Only one artifact has a part that doesn't count, and only under its own name."""
    assert "bytes" == kind_of(name)


def test_file_that_is_called_as_an_artifact_counts_by_its_bytes(tmp_path: Path) -> None:
    """What a loader reads counts whole, whatever it is called: alone, from a memo, and among many files."""
    path = tmp_path / "data/train/history.json"
    path.parent.mkdir(parents=True)
    for text in HISTORIES:
        path.write_text(text)
        expected = bytes_digest(text.encode())
        assert expected == digest_of(str(path))
        assert expected == memo_of(tmp_path).digest(str(path), {}, "a", RECORDED)
        assert {str(path): expected} == memo_of(tmp_path).digests([str(path)])
