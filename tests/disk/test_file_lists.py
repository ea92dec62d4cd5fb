"""Lists of many input files: what they hold, how they are read, and which files are no longer what a list says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltkbuild.disk import file_lists, file_scan
from mltkbuild.disk.digests import RACY_NS, DigestMemo, bytes_digest, digest_of, stamp_of
from mltkbuild.disk.file_lists import compare, drop_others, fold, keep, list_digest, list_paths
from mltkbuild.disk.folder import PENDING, Folder
from mltkbuild.disk.inputs import FILE, FILES, Input, parse
from mltkbuild.disk.records import SHARED_LISTS, Record, Stamp, decode, encode
from mltkbuild.errors import RecordError
from mltkbuild.stages.protocol import Request

LATER = RACY_NS / 1e9 * 2

SEGMENTS = st.text(st.characters(exclude_characters="/\0", codec="utf-8") | st.just("\udcff"), max_size=8)
PATHS = st.builds(
    lambda root, parts: root + "/".join(parts), st.sampled_from(["", "/"]), st.lists(SEGMENTS, min_size=1)
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIGNED = st.integers(-(2**63), 2**63 - 1)
STAMPS = st.tuples(SIGNED, SIGNED, SIGNED, st.integers(1, 2**64 - 1))


def folder_of(root: Path) -> Folder:
    """The build folder of a target in a workspace."""
    return Folder("kws", str(root / "build/kws"), str(root))


def record_of(files: Mapping[str, str], stamps: Mapping[str, Stamp] | None = None) -> Record:
    """The record of a data stage that has read some files, and a property."""
    inputs = {"property classes": "p", **{Input(FILE, path).name: digest for path, digest in files.items()}}
    return Record("data", "kws", inputs, {"data/manifest.json": "m"}, stamps=dict(stamps or {}), facts={"n": 1})


def kept(root: Path, record: Record) -> Record:
    """The record as it is written, its list on the disk."""
    folded, data = fold(record, limit=0)
    keep(folder_of(root), folded, data)
    return folded


def listed(root: Path) -> Record:
    """The record of a stage that has just read every file of a workspace's data, settled before."""
    time.sleep(LATER)
    names = [os.path.relpath(path, root) for path in sorted((root / "data").rglob("*")) if path.is_file()]
    stamps = {name: stamp for name in names if (stamp := stamp_of(str(root / name))) is not None}
    return kept(root, record_of({name: digest_of(str(root / name)) or "" for name in names}, stamps))


def changed(root: Path, record: Record) -> dict[str, str]:
    """The files that a comparison names, with their old digests."""
    memo = DigestMemo(str(root / "build/.memo.json"), str(root))
    found = compare(record, folder_of(root), str(root), memo, {}).record
    return {parse(name).subject: digest for name, digest in found.inputs.items() if parse(name).kind == FILE}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with data in two folders, twelve files each, one of them with an odd name and one with a long one."""
    for label in ("yes", "no"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "data" / label / f"{number}.wav").write_text(f"{label} {number}")
        for odd in (b"\xff\n.wav", "\u00fc".encode() * 127):
            Path(os.fsdecode(os.fsencode(tmp_path / "data" / label) + b"/" + odd)).write_text("odd")
    return tmp_path


# -- what a record and its list hold ---------------------------------------------------------------------------------


def unfold(record: Record, listing: file_scan.Listing) -> Record:
    """The record that `fold` was given."""
    inputs = {name: digest for name, digest in record.inputs.items() if name != FILES}
    stamps: dict[str, Stamp] = dict(record.stamps)
    for folder, name, digest, stamp in file_scan.rows_of(listing):
        path = os.fsdecode(folder + name)
        inputs[Input(FILE, path).name] = digest.hex()
        if stamp is not None:
            stamps[path] = stamp
    facts = {name: value for name, value in record.facts.items() if name != "file list"}
    return replace(record, inputs=inputs, stamps=stamps, facts=facts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=st.dictionaries(PATHS, st.tuples(DIGESTS, st.none() | STAMPS), min_size=1))
def test_folding_loses_nothing(files: dict[str, tuple[str, Stamp | None]], tmp_path: Path) -> None:
    """A record that was folded, written, read and unfolded is the record."""
    stamps = {path: stamp for path, (_, stamp) in files.items() if stamp is not None}
    record = record_of({path: digest for path, (digest, _) in files.items()}, stamps)
    folded = kept(tmp_path, record)
    assert {"property classes", FILES} == set(folded.inputs)
    (path,) = list_paths(folder_of(tmp_path), folded)
    assert record == unfold(folded, file_lists.read(path))


@given(st.dictionaries(PATHS, DIGESTS), st.randoms())
def test_digest_of_a_list_is_of_its_content(files: dict[str, str], random: object) -> None:
    """The digest of many files doesn't depend on their order, and moves with any of them."""
    pairs = list(files.items())
    random.shuffle(pairs)  # type: ignore[attr-defined]  # a `random.Random`
    assert list_digest(files.items()) == list_digest(pairs)
    assert list_digest(pairs) != list_digest([*pairs, ("one more", "0" * 64)])


def test_digest_of_a_list_is_the_same_on_every_machine() -> None:
    """The folder of a file outside the workspace doesn't count: the archive's origin holds this digest."""
    assert list_digest([("/home/a/x.wav", "0" * 64)]) == list_digest([("/home/b/x.wav", "0" * 64)])


def test_few_files_stay_in_the_record() -> None:
    """A record lists as many files as LIMIT itself."""
    record = record_of({f"{number}.wav": "0" * 64 for number in range(file_lists.LIMIT)})
    assert (record, b"") == fold(record)
    more = replace(record, inputs={**record.inputs, Input(FILE, "one more").name: "0" * 64})
    assert {"property classes", FILES} == set(fold(more)[0].inputs)


@pytest.mark.parametrize("path", ["\ud800.wav", "a\0b", "\udcc3\udca9"])
def test_name_that_a_list_can_not_hold_stays_in_the_record(path: str) -> None:
    """Text that doesn't come back from bytes as it was is no name for a list."""
    folded, _ = fold(record_of({path: "0" * 64, "a.wav": "0" * 64}), limit=0)
    assert {"property classes", FILES, Input(FILE, path).name} == set(folded.inputs)


@pytest.mark.parametrize("digest", ["", "text:" + "0" * 64, "A" * 64, "0" * 62, "0 " * 32, "missing"])
def test_digest_that_is_no_sha_256_stays_in_the_record(digest: str) -> None:
    """A list holds the bytes of digests, so any other text stays where it is."""
    folded, _ = fold(record_of({"odd.wav": digest, "a.wav": "0" * 64}), limit=0)
    assert digest == folded.inputs[Input(FILE, "odd.wav").name]


def test_time_beyond_the_format_is_no_stamp(tmp_path: Path) -> None:
    """A file of the year 2300 is in the list without a stamp, so that it is read each time."""
    stamp = (1, 2**63, 0, 1)
    folded, data = fold(record_of({"a.wav": "0" * 64}, {"a.wav": stamp}), limit=0)
    keep(folder_of(tmp_path), folded, data)
    assert [(b"", b"a.wav", bytes(32), None)] == list(file_scan.rows_of(file_scan.unpack(data)))


def test_list_of_version_1_is_read() -> None:
    """Yesterday's file: three files in two folders, one of them without a stamp."""
    data = (
        b"mltkbuild file list 1\n"
        + bytes.fromhex("0200000000000000 0300000000000000 0100000000000000 0200000000000000")
        + bytes.fromhex("0500000000000000 feffffffffffffff 0200000000000000 ffffffffffffffff")
        + bytes(32)
        + bytes.fromhex("0700000000000000 0100000000000000 0200000000000000 0300000000000000")
        + b"\x01" * 32 + b"\x02" * 32 + b"\x03" * 32
        + b"\0data/\0labels.csv\0a.wav\0\xff.wav"
    )  # fmt: skip
    expected: list[file_scan.Row] = [
        (b"", b"labels.csv", b"\x01" * 32, (5, -2, 2, 2**64 - 1)),
        (b"data/", b"a.wav", b"\x02" * 32, None),
        (b"data/", b"\xff.wav", b"\x03" * 32, (7, 1, 2, 3)),
    ]
    assert expected == list(file_scan.rows_of(file_scan.unpack(data)))
    assert data == file_scan.pack(expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"mltkbuild file list 2\n" + bytes(80),
        file_scan.MAGIC,
        file_scan.MAGIC + b"\x01" + bytes(7) + b"\xff" * 8,
        file_scan.MAGIC + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"\x02" + bytes(7) + bytes(64) + b"a\0b",
        file_scan.pack([(b"", b"a", bytes(32), None)]) + b"\0",
        file_scan.pack([(b"", b"a", bytes(32), None)])[:-4],
    ],
)
def test_bytes_that_are_no_list_are_refused(data: bytes) -> None:
    """Another version, a cut and foreign bytes are a ValueError that says what was found."""
    with pytest.raises(ValueError, match=r"it (begins|has)|its folders"):
        file_scan.unpack(data)


@pytest.mark.parametrize("harm", ["missing", "cut", "other", "foreign"])
def test_list_that_is_not_the_record_s_is_an_error(harm: str, root: Path) -> None:
    """A missing, cut or exchanged list is an error with its path, and says what to delete."""
    record = listed(root)
    (path,) = list_paths(folder_of(root), record)
    data = Path(path).read_bytes()
    if harm == "missing":
        os.unlink(path)
    elif harm == "foreign":
        record = replace(record, facts={"file list": bytes_digest(b"foreign")})
        path = list_paths(folder_of(root), record)[0]
        Path(path).write_bytes(b"foreign")
    else:
        Path(path).write_bytes(data[:-1] if harm == "cut" else data.replace(b"0.wav", b"x.wav"))
    with pytest.raises(RecordError) as caught:
        changed(root, record)
    assert (path, f"delete {path}, if it is there; its stage runs again") == (caught.value.where, caught.value.fix)


def write(root: Path, record: Record) -> None:
    """Write a record as publishing does, the lists aside."""
    Path(folder_of(root).record_path(record.stage)).write_bytes(encode(record))
    drop_others(folder_of(root))


def lists_of(root: Path, *records: Record) -> set[str]:
    """The names of the lists of some records."""
    return {os.path.basename(path) for record in records for path in list_paths(folder_of(root), record)}


def test_only_the_lists_that_a_record_names_are_kept(root: Path) -> None:
    """The lists of earlier records of a stage go; those of other stages stay, also while one is being published."""
    first = listed(root)
    write(root, first)
    other, data = fold(replace(first, stage="data_too", inputs={Input(FILE, "a").name: "0" * 64}), limit=0)
    keep(folder_of(root), other, data)
    Path(folder_of(root).record_path("data_too", PENDING)).write_bytes(encode(other))
    second = kept(root, record_of({"a.wav": "0" * 64}))
    write(root, second)
    records = root / "build/kws/.records"
    assert lists_of(root, second, other) == {name for name in os.listdir(records) if name.endswith(file_lists.SUFFIX)}
    write(root, replace(second, inputs={}, facts={}))
    assert lists_of(root, other) == {name for name in os.listdir(records) if name.endswith(file_lists.SUFFIX)}


# -- shared lists ----------------------------------------------------------------------------------------------------


def shared(root: Path, files: Mapping[str, str], limit: int = 3) -> tuple[Record, bytes, Record]:
    """The folded record of a later stage, its own list, and the record of the data stage, which has 25 files."""
    record = listed(root)
    later = replace(record_of(dict(files)), stage="train")
    folded, data = fold(later, list_paths(folder_of(root), record), limit)
    keep(folder_of(root), folded, data)
    return folded, data, record


def files_of(root: Path) -> dict[str, str]:
    """The files that the data stage has read, with their digests."""
    return {
        str(path.relative_to(root)): str(digest_of(str(path)))
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    }


def test_same_files_share_one_list(root: Path) -> None:
    """A later stage with the same files and a few more names those alone; all of them count."""
    files = files_of(root)
    folded, data, record = shared(root, {**files, "config.json": "1" * 64})
    assert (b"", {"property classes", FILES, "file config.json"}) == (data, set(folded.inputs))
    assert lists_of(root, folded) == lists_of(root, record)
    assert {"config.json"} == set(changed(root, folded))
    (root / "data/yes/3.wav").write_text("changed")
    assert {"config.json", "data/yes/3.wav"} == set(changed(root, folded))


def test_part_of_a_list_shares_the_whole(root: Path) -> None:
    """A stage that read a part of a list runs again, too, when another file of it changes: no file is missed."""
    files = dict(list(files_of(root).items())[:6])
    folded, data, _ = shared(root, files)
    assert (b"", {"property classes", FILES}) == (data, set(folded.inputs))
    Path(root, list(files_of(root))[-1]).write_text("changed")
    assert 1 == len(changed(root, folded))


def test_further_files_have_a_list_of_their_own(root: Path) -> None:
    """Many files beside a shared list make a second one, and both count."""
    more = {f"more/{number}.wav": f"{number:064}" for number in range(5)}
    folded, data, record = shared(root, {**files_of(root), **more})
    assert data
    assert 2 == len(lists_of(root, folded) | lists_of(root, record))
    assert set(more) == set(changed(root, folded))


def test_list_with_an_older_file_is_not_shared(root: Path) -> None:
    """A file that changed between two stages counts for each as that one read it."""
    files = {**files_of(root), "data/yes/3.wav": "2" * 64}
    folded, data, record = shared(root, files)
    assert data
    assert lists_of(root, folded).isdisjoint(lists_of(root, record))
    assert {"data/yes/3.wav"} == set(changed(root, folded))


def test_shared_list_is_looked_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several stages with one list ask the system for its files once."""
    folded, _, record = shared(root, files_of(root))
    looked: list[str] = []

    def look(path: str, root: str, memo: DigestMemo) -> Mapping[str, str]:
        looked.append(path)
        return {}

    monkeypatch.setattr(file_lists, "_changed", look)
    known: file_lists.Changes = {}
    memo = DigestMemo(str(root / "memo"), str(root))
    for item in (record, folded):
        compare(item, folder_of(root), str(root), memo, known)
    assert list_paths(folder_of(root), record) == looked


@pytest.mark.parametrize("names", [["../x"], ["data." + "0" * 63], [7], "data." + "0" * 64, ["a/b." + "0" * 64], []])
def test_record_with_another_name_of_a_list_is_damaged(names: object) -> None:
    """What a record names as a list is a list beside it."""
    record = replace(record_of({}), inputs={FILES: "0"}, facts={SHARED_LISTS: names})
    with pytest.raises(RecordError, match="no record"):
        decode(encode(record), "x")


def test_later_stages_know_the_files_of_a_list(root: Path) -> None:
    """A request names a list; a worker finds the digests in it by absolute path, beside the few that it is told."""
    (path,) = list_paths(folder_of(root), listed(root))
    wav = str(root / "data/yes/1.wav")
    few = {"/elsewhere/a.wav": "1"}
    request = Request(
        "kws", "train", str(root), "models/kws.py", (), {}, "", "", "", known_files=few, file_lists={path: "x"}
    )
    assert request.is_known(wav, str(digest_of(wav)))
    assert request.is_known("/elsewhere/a.wav", "1")
    assert not request.is_known(wav, "1")
    assert request.listed_digests is request.listed_digests


# -- what has changed ------------------------------------------------------------------------------------------------


def touch_all(root: Path) -> None:
    """Give every file a new time."""
    for path in (root / "data").rglob("*"):
        os.utime(path)


def link(path: Path, target: Path) -> None:
    """Move a file or folder and leave a link to it."""
    path.rename(target)
    path.symlink_to(target)


def loop(path: Path) -> None:
    """Put a link to itself in the place of a file."""
    path.unlink()
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    """Put a pipe in the place of a file: reading it would wait for ever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


EDITS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "nothing": (lambda root: None, set()),
    "touch": (touch_all, set()),
    "content": (lambda root: (root / "data/yes/1.wav").write_text("YES 1"), {"data/yes/1.wav"}),
    "longer": (lambda root: (root / "data/yes/1.wav").write_text("yes 1 and more"), {"data/yes/1.wav"}),
    "removed": (lambda root: (root / "data/no/3.wav").unlink(), {"data/no/3.wav"}),
    "renamed": (lambda root: (root / "data/no/3.wav").rename(root / "data/no/a.wav"), {"data/no/3.wav"}),
    "added": (lambda root: (root / "data/no/new.wav").write_text("new"), set()),
    "copied over itself": (lambda root: (root / "data/no/3.wav").write_text("no 3"), set()),
    "link to the same": (lambda root: link(root / "data/no/3.wav", root / "moved"), set()),
    "link to itself": (lambda root: loop(root / "data/no/3.wav"), {"data/no/3.wav"}),
    "pipe": (lambda root: pipe(root / "data/no/3.wav"), {"data/no/3.wav"}),
    "folder moved away": (
        lambda root: (root / "data/no").rename(root / "away"),
        {f"data/no/{number}.wav" for number in range(10)} | {"data/no/\udcff\n.wav", "data/no/" + "\u00fc" * 127},
    ),
    "folder is a link": (lambda root: link(root / "data/no", root / "away"), set()),
    "folder is a pipe": (
        lambda root: pipe((root / "data/yes").rename(root / "away").parent / "data/yes"),
        {f"data/yes/{number}.wav" for number in range(10)} | {"data/yes/\udcff\n.wav", "data/yes/" + "\u00fc" * 127},
    ),
}  # fmt: skip


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("edit", EDITS)
def test_files_that_are_not_what_the_list_says_are_named(
    edit: str, processes: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each edit of the data and the files that a comparison names, whether one process looks or several."""
    monkeypatch.setattr(file_lists, "SHARE", 24 // processes)
    monkeypatch.setattr(file_lists, "processors", lambda: processes)
    record = listed(root)
    change, expected = EDITS[edit]
    change(root)
    found = changed(root, record)
    assert expected == set(found)
    assert all(len(digest) == 64 for digest in found.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_can_not_be_read_is_named(root: Path) -> None:
    """A file whose permissions were taken away is not what the list says."""
    record = listed(root)
    (root / "data/yes/1.wav").chmod(0)
    assert {"data/yes/1.wav"} == set(changed(root, record))


def test_folder_that_may_be_entered_and_not_listed_is_no_change(root: Path) -> None:
    """Only the files that the stage has read must be there."""
    record = listed(root)
    (root / "data/yes").chmod(0o111)
    try:
        assert {} == changed(root, record)
    finally:
        (root / "data/yes").chmod(0o755)


@pytest.mark.parametrize("python", ["", "/nowhere/python", "/bin/false", "/bin/echo"])
def test_without_a_helper_one_process_does_it_all(python: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other Python can be started, or it says nothing of use, the result is the same."""
    monkeypatch.setattr(file_lists, "SHARE", 5)
    monkeypatch.setattr(file_lists, "processors", lambda: 4)
    record = listed(root)
    (root / "data/yes/1.wav").write_text("YES 1")
    (root / "data/no/8.wav").unlink()
    monkeypatch.setattr(sys, "executable", python)
    assert {"data/yes/1.wav", "data/no/8.wav"} == set(changed(root, record))


def test_helper_needs_the_standard_library_alone(root: Path) -> None:
    """The process that looks at a part of a list finds no package, and tells the rows by their numbers."""
    (path,) = list_paths(folder_of(root), listed(root))
    command = [sys.executable, "-I", "-S", file_scan.__file__, path, str(root)]
    (root / "data/yes/0.wav").unlink()
    told = [subprocess.run([*command, part, "2"], capture_output=True, check=True).stdout for part in "01"]
    assert [bytes(8), b"\1" + bytes(7) + b"\x0c" + bytes(7)] == told if sys.byteorder == "little" else told


def test_first_changed_files_are_named_and_the_others_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many changed files a record gets the first ones in the order of their names."""
    monkeypatch.setattr(file_lists, "SHOWN", 2)
    record = listed(root)
    for number in range(10):
        (root / f"data/yes/{number}.wav").unlink()
    found = compare(record, folder_of(root), str(root), DigestMemo(str(root / "memo"), str(root)), {})
    named = {name for name in found.record.inputs if parse(name).kind == FILE}
    assert ({Input(FILE, "data/yes/0.wav").name, Input(FILE, "data/yes/1.wav").name}, 8) == (named, found.more)


def test_touched_files_are_read_once(root: Path) -> None:
    """What one build has learned about touched files the next one takes from the memo, until they move again."""
    record = listed(root)
    touch_all(root)
    time.sleep(LATER)
    memo = DigestMemo(str(root / "build/.memo.json"), str(root))
    assert record == compare(record, folder_of(root), str(root), memo, {}).record
    memo.save()
    text = (root / "build/.memo.json").read_text(encoding="utf-8")
    digest = digest_of(str(root / "data/yes/1.wav")) or ""
    assert 24 == text.count('"bytes ')
    (root / "build/.memo.json").write_text(text.replace(digest, "0" * 64), encoding="utf-8")
    assert {"data/yes/1.wav"} == set(changed(root, record))
