"""Archives of strangers: what is read, and everything that is refused before it is."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tracemalloc
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.archives.reading import MOST_MEMBERS, chunks, digest, open_archive, read_member
from mltkbuild.archives.writing import write_zip
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.names import clash, name_fault
from mltkbuild.errors import MltkError, StageError, UsageError
from mltkbuild.shown import shown

from .zips import DESCRIPTOR, ENCRYPTED, UTF8, Entry, archive, deflated

law = settings(deadline=None, max_examples=200, database=None)
BOMB = 1 << 30


def read(path: Path, data: bytes) -> dict[str, bytes]:
    """Everything in an archive of these bytes."""
    path.write_bytes(data)
    with open_archive(str(path)) as opened:
        return {name: read_member(opened, name, 1 << 20) for name in opened.members}


def refused(folder: Path, data: bytes) -> MltkError:
    """The error that reading such an archive ends in: it names the file and a way out, and is fit for a terminal."""
    with pytest.raises(MltkError) as caught:
        read(folder / "x.zip", data)
    error = caught.value
    assert str(folder / "x.zip") == error.where
    assert error.fix
    assert str(error).replace("\n", "").isprintable()
    return error


# -- what is read ----------------------------------------------------------------------------------------------------


@law
@given(
    st.dictionaries(
        st.text("ab/ä", min_size=1, max_size=8).filter(lambda name: name[-1] != "/"),
        st.binary(max_size=300),
        min_size=1,
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_is_packed_is_read(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], method: int
) -> None:
    """An archive of plain files gives back what went in; one of other names is refused."""
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    write_zip(path, members, method)
    if clash(members) or any(map(name_fault, members)):
        with pytest.raises(StageError), open_archive(str(path)):
            pass
        return
    assert members == read(path, path.read_bytes())


def test_large_members_are_read_piece_by_piece(tmp_path: Path) -> None:
    """A member longer than a piece comes as a whole, deflated or stored, and needs little memory."""
    text = bytes(range(256)) * 40_000
    data = archive(Entry("a", text), Entry("b", text, method=0), Entry("c", b""), Entry("d", b"", method=0))
    (tmp_path / "x.zip").write_bytes(data)
    with open_archive(str(tmp_path / "x.zip")) as opened:
        tracemalloc.start()
        sums = [bytes_digest(text)] * 2 + [bytes_digest(b"")] * 2
        assert sums == [digest(opened, name) for name in "abcd"]
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
        tracemalloc.stop()
        assert bytes_digest(data) == digest(opened)
        assert all(len(piece) <= 1 << 16 for piece in chunks(opened, "a"))


@pytest.mark.parametrize("more", range(0, 240, 7))
def test_a_member_ends_where_it_ends(tmp_path: Path, more: int) -> None:
    """What the inflater still holds when all packed bytes are in belongs to the member too."""
    text = bytes(2 * (1 << 16) + more)
    assert {"a": text} == read(tmp_path / "x.zip", archive(Entry("a", text)))


def test_folders_and_streamed_members_are_read(tmp_path: Path) -> None:
    """Folders are no members; a member whose sums stand behind its data is one."""
    sums = struct.pack("<3L", zlib.crc32(b"text\n"), len(deflated(b"text\n")), 5)
    zeros = {"crc": 0, "packed": 0, "size": 0}
    flags = UTF8 | DESCRIPTOR
    streamed = [
        Entry("d/a", flags=flags, local=zeros, descriptor=b"PK\7\x08" + sums),
        Entry("d/b", flags=flags, local=zeros, descriptor=sums),
        Entry("d/c", flags=flags),
    ]
    data = archive(Entry("d/", b"", method=0, mode=0o040755), *streamed, Entry("e/", b"", method=0, mode=0))
    assert {f"d/{name}": b"text\n" for name in "abc"} == read(tmp_path / "x.zip", data)


def test_what_zip_programs_make_is_read(tmp_path: Path) -> None:
    """The standard library's archives are read: names of old code pages and members that were appended too."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/é.txt", "one")
        made.mkdir("b")
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("c.txt", "two")
    assert {"a/é.txt": b"one", "c.txt": b"two"} == read(path, path.read_bytes())
    assert {"é": b"text\n"} == read(path, archive(Entry(b"\x82", flags=0)))


def test_a_member_is_read_up_to_a_limit(tmp_path: Path) -> None:
    """A member that is larger than asked for, or that isn't there, is an error."""
    (tmp_path / "x.zip").write_bytes(archive(Entry("a", b"12345")))
    with open_archive(str(tmp_path / "x.zip")) as opened:
        assert b"12345" == read_member(opened, "a", 5)
        with pytest.raises(StageError, match="larger than 4 bytes"):
            read_member(opened, "a", 4)
        with pytest.raises(StageError, match="no such member"):
            read_member(opened, "b", 4)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("..", "leads out"),
        ("a/..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("//host/share", "absolute"),
        ("C:/evil", "absolute"),
        ("c:evil", "absolute"),
        ("..\\evil", "backslash"),
        ("a\\b", "backslash"),
        ("a//b", "empty part"),
        ("./a", "empty part"),
        ("a/./b", "empty part"),
        (".", "empty part"),
        ("", "empty part"),
        ("/", "empty part"),
        ("a//", "empty part"),
        ("a\0.txt", "control"),
        ("a\nb", "control"),
        ("\x1b[2Ja", "control"),
        ("a\x7f", "control"),
        ("a\u202egpj.exe", "control"),
        ("a\u200b", "control"),
        ("a\u2028b", "control"),
        ("a./b", "dot or a space"),
        ("a ", "dot or a space"),
        (".../b", "dot or a space"),
        ("a" * 256, "too long"),
        ("é" * 128, "too long"),
        ("/".join("a" * 200 for _ in range(6)), "too long"),
        ("/".join("a" * 33), "too deep"),
        (".git/config", "Git"),
        ("a/.GIT/hooks/pre-commit", "Git"),
    ],
)
def test_names_that_no_file_may_have(tmp_path: Path, name: str, words: str) -> None:
    """A name that could lead elsewhere, hide something or fit on no disk is refused, as a file's and as a folder's."""
    assert words in refused(tmp_path, archive(Entry("good"), Entry(name))).what
    assert name_fault(name)
    if name and not name.endswith("/"):
        folder = Entry(name + "/", b"", method=0, mode=0o040755)
        assert refused(tmp_path, archive(folder))


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    """Bytes that aren't what the flag says are refused."""
    assert "no UTF-8" in refused(tmp_path, archive(Entry(b"\xff\xfe"))).what


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("Readme", "README"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("a", "a/b"),
        ("a/b/c", "A/B"),
        ("a/b", "a/b/c/d"),
        ("e\u0301/x", "É"),
    ],
)
def test_two_names_for_one_file(tmp_path: Path, names: tuple[str, str]) -> None:
    """Names that some file system takes for the same, or for file and folder, are refused in either order."""
    for order in (names, names[::-1]):
        assert "the same file" in refused(tmp_path, archive(*map(Entry, order))).what


def test_a_folder_twice_or_a_file_too(tmp_path: Path) -> None:
    """A folder may hold files, but is there once and isn't a file."""
    folder = Entry("a/", b"", method=0, mode=0o040755)
    for entries in ((folder, folder), (folder, Entry("A")), (Entry("a"), folder)):
        assert "the same file" in refused(tmp_path, archive(*entries)).what


@law
@given(st.text())
def test_a_good_name_stays_below_its_folder(name: str) -> None:
    """A name without a fault joins to a path below the folder, in its normal form."""
    if name_fault(name) is None:
        path = os.path.join("/top", name)
        assert path == os.path.normpath(path)
        assert path.startswith("/top/")


@law
@given(st.text() | st.sampled_from(["\x1b]0;a\x07", "\ud800", "\x9b31m"]))
def test_what_is_shown_can_t_steer_a_terminal(text: str) -> None:
    """A text of a stranger is shown in one short line without control characters, and as it is if it has none."""
    safe = shown(text, 20)
    assert not {unicodedata.category(char) for char in safe} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(safe) <= 20
    assert safe == safe.encode().decode()
    if text.isprintable() and len(text) <= 20:
        assert text == safe


# -- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o120777, "symbolic link"),
        (0o020644, "device"),
        (0o060644, "device"),
        (0o010644, "pipe"),
        (0o140644, "socket"),
        (0o040755, "a folder"),
    ],
)
def test_only_files_are_taken(tmp_path: Path, mode: int, words: str) -> None:
    """A link, a device, a pipe, a socket, and a folder that is named like a file are refused."""
    assert "no regular file" in refused(tmp_path, archive(Entry("a/", b"", method=0, mode=0o100644))).what
    error = refused(tmp_path, archive(Entry("a", b"/etc/passwd", mode=mode)))
    assert "no regular file" in error.what
    assert words in (error.found or "")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry("a", flags=UTF8 | ENCRYPTED), "encrypted"),
        (Entry("a", flags=UTF8 | 1 << 6 | ENCRYPTED), "encrypted"),
        (Entry("a", flags=UTF8 | 1 << 5), "isn't known"),
        (Entry("a", flags=UTF8 | 1 << 13), "isn't known"),
        (Entry("a", method=12), "isn't known"),
        (Entry("a", method=14), "isn't known"),
        (Entry("a", method=99), "isn't known"),
        (Entry("a", method=0, central={"size": 4}), "contradict"),
        (Entry("a/", b"text", mode=0o040755), "contradict"),
        (Entry("a", central={"disk": 1}), "directory is damaged"),
    ],
)
def test_other_ways_of_packing_are_refused(tmp_path: Path, entry: Entry, words: str) -> None:
    """Encrypted members, other methods and sizes that can't be are refused."""
    assert words in refused(tmp_path, archive(entry)).what


@pytest.mark.parametrize(
    ("local", "words"),
    [
        ({"name": b"b"}, "two names"),
        ({"name": b"../../a"}, "two names"),
        ({"size": 6}, "contradicts"),
        ({"packed": 6}, "contradicts"),
        ({"crc": 6}, "contradicts"),
        ({"crc": 0, "packed": 0, "size": 0}, "contradicts"),
        ({"method": 0}, "contradicts"),
        ({"flags": 0}, "contradicts"),
    ],
)
def test_headers_that_disagree(tmp_path: Path, local: dict[str, int | bytes], words: str) -> None:
    """A local header says what the central directory says."""
    assert words in refused(tmp_path, archive(Entry("a", local=local))).what


def test_sums_behind_the_data_that_disagree(tmp_path: Path) -> None:
    """Sums that stand behind a member's data are those of the directory."""
    wrong = struct.pack("<3L", 1, 2, 3)
    for descriptor in (wrong, b"PK\7\x08" + wrong, b"abcd" + wrong):
        entry = Entry("a", flags=UTF8 | DESCRIPTOR, descriptor=descriptor)
        assert "contradicts" in refused(tmp_path, archive(entry)).what


# -- bombs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zeros() -> bytes:
    """A gigabyte of zeros, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # Behind a full flush nothing refers to what was before, so that one megabyte stands for each of them.
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return megabyte * (BOMB >> 20) + packer.flush()


def test_a_bomb_that_tells_its_size(tmp_path: Path, zeros: bytes) -> None:
    """A small file that inflates to a gigabyte is refused by what it says."""
    error = refused(tmp_path, archive(Entry("a", b"", raw=zeros, central={"size": BOMB}, local={"size": BOMB})))
    assert "bomb" in error.what


def test_a_bomb_that_lies_about_its_size(tmp_path: Path, zeros: bytes) -> None:
    """What inflates to more than its header says ends at that size, and takes no memory."""
    sizes: dict[str, int | bytes] = {"size": 1000}
    data = archive(Entry("a", b"", raw=zeros, central=sizes, local=sizes))
    tracemalloc.start()
    assert "more than it says" in refused(tmp_path, data).what
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_bomb_of_many_members(tmp_path: Path) -> None:
    """Members that are harmless one by one are a bomb together."""
    raw = deflated(bytes(8 << 20))
    one: dict[str, int | bytes] = {"size": 8 << 20, "crc": zlib.crc32(bytes(8 << 20))}
    entries = [Entry(f"{number}", b"", raw=raw, central=one, local=one) for number in range(200)]
    assert "bomb" in refused(tmp_path, archive(*entries)).what
    huge: dict[str, int | bytes] = {"size": (1 << 31) + 1}
    assert "2 GiB" in refused(tmp_path, archive(Entry("a", os.urandom(3 << 20), central=huge, local=huge))).what


def test_members_that_overlap(tmp_path: Path) -> None:
    """Members that share their bytes are refused, however small they are."""
    overlapping = archive(Entry("a", b"12345678"), Entry("a2", b"12345678", central={"offset": 0}))
    assert "overlap" in refused(tmp_path, overlapping).what
    # The first member's data holds the second member as a whole.
    inner = archive(Entry("b"))
    inner = inner[: inner.index(b"PK\1\2")]
    nested = archive(Entry("a", inner, method=0), Entry("b", central={"offset": 31}))
    assert "overlap" in refused(tmp_path, nested).what


def test_a_member_is_what_its_checksum_says(tmp_path: Path) -> None:
    """Another checksum, too little data, data behind the end and no deflate stream at all are told apart."""
    wrong: dict[str, int | bytes] = {"crc": 1}
    more: dict[str, int | bytes] = {"size": 6}
    cases = {
        "checksum": Entry("a", central=wrong, local=wrong),
        "size is another": Entry("a", central=more, local=more),
        "behind its end": Entry("a", raw=deflated(b"text\n") + b"more"),
        "cut off": Entry("a", raw=deflated(b"text\n")[:-1]),
        "can't be inflated": Entry("a", raw=b"\xff" * 9),
    }
    for words, entry in cases.items():
        assert words in refused(tmp_path, archive(entry)).what
    empty = Entry("a", b"", raw=b"")
    assert "cut off" in refused(tmp_path, archive(empty)).what


# -- the whole file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no zip archive"),
        (b"hello", "no zip archive"),
        (b"x" * 100_000, "no zip archive"),
        (b"PK\3\4" + bytes(100), "cut off"),
        (archive(Entry("a"))[:-5], "cut off"),
        (archive(Entry("a"), tail=b"trailing"), "follows the archive's end"),
        (archive(Entry("a"), end={"comment": 4}, tail=b"note"), "follows the archive's end"),
        (archive(Entry("a"), end={"comment": 4}), "follows the archive's end"),
        (b"#!/bin/sh\n" + archive(Entry("a")), "damaged"),
        (archive(Entry("a"), between=b"hidden"), "overlap, or there is something between"),
        (archive(Entry("a"), Entry("b", central={"offset": 3})), "overlap"),
        (archive(), "empty"),
        (archive(Entry("a"), end={"disk": 1}), "part of an archive"),
        (archive(Entry("a"), end={"here": 0}), "part of an archive"),
        (archive(Entry("a"), end={"here": 2, "count": 2}), "1 members instead of 2"),
        (archive(Entry("a"), end={"length": 2**32 - 1, "begin": 2**32 - 1}), "more than"),
        (archive(Entry("a"), end={"here": 65535, "count": 65535}), "more than"),
        (archive(Entry("a"), end={"begin": 3}), "damaged"),
        (archive(*(Entry(str(n), b"", method=0) for n in range(MOST_MEMBERS + 1))), "more than 10,000 members"),
    ],
)
def test_archives_that_aren_t_whole(tmp_path: Path, data: bytes, words: str) -> None:
    """What is no archive, cut off, or has something before, between or behind is one error that says which."""
    assert words in str(refused(tmp_path, data))


def test_what_is_no_file(tmp_path: Path) -> None:
    """A path that leads to no regular file is an error at once: nothing waits for a pipe's writer."""
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    for name in ("missing", "pipe", "loop", ".", "missing/x", "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match="can't be read"), open_archive(str(tmp_path / name)):
            pass


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    """An archive that gets shorter under the reader's hands is an error, as a cut one is."""
    path = tmp_path / "x.zip"
    path.write_bytes(archive(Entry("a", os.urandom(200_000))))
    with open_archive(str(path)) as opened:
        os.truncate(path, 100_000)
        with pytest.raises(StageError, match="cut off"):
            read_member(opened, "a", 1 << 20)
        with pytest.raises(StageError, match="cut off"):
            digest(opened)


GOOD = archive(
    Entry("kws.py", b"# @mltk_model\n" * 20), Entry("d/é", bytes(5000)), Entry("empty", b""), Entry("s", b"1", method=0)
)


@law
@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda data: b"PK\3\4" + data + GOOD[-22:]))
def test_any_bytes_are_an_archive_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No bytes end in anything but contents or one of our errors."""
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    with contextlib.suppress(MltkError):
        read(path, data)


@law
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits_never_give_other_contents(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    """A damaged archive is refused, or gives what the whole one gives but for a name."""
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    good = read(path, GOOD)
    data = bytearray(GOOD)
    for position, bit in flips:
        data[position] ^= 1 << bit
    try:
        found = read(path, bytes(data))
    except MltkError:
        return
    assert sorted(good.values()) == sorted(found.values())


@law
@given(st.integers(0, len(GOOD) - 1))
def test_a_cut_archive_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    """No beginning of an archive is an archive."""
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    with pytest.raises(MltkError):
        read(path, GOOD[:length])


def test_other_readers_agree(tmp_path: Path) -> None:
    """The test's own archives are right: the standard library reads the same."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == read(tmp_path / "x.zip", GOOD)
