"""The archive: its members, their names, and bytes that depend on nothing else."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.archives import packing
from mltkbuild.archives.writing import write_zip
from mltkbuild.errors import SpecError

law = settings(deadline=None, max_examples=40, database=None)

names = st.text("abc/._", min_size=1, max_size=8).filter(lambda name: not name.startswith("/"))
SOURCES = {"models/kws.py": "my_model = 1\n", "helpers/audio.py": "RATE = 16_000  # Hz, für alle\n"}


@pytest.fixture
def artifacts(tmp_path: Path) -> dict[str, Path]:
    """A few artifacts of a model."""
    found = {}
    for name in ("kws.tflite", "train/history.json", "eval/keras/results.json", "data/manifest.json"):
        path = tmp_path / "build" / "kws" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")
        found[name] = path
    return found


def packed(path: Path, files: dict[str, Path], added: dict[str, Path] | None = None, target: str = "kws") -> Path:
    packing.run(path, target, files, SOURCES, "models/kws.py", {"b": 1, "a": {"d": 2, "c": 3}}, added)
    return path


def test_an_archive_has_the_layout_of_mltk(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """The members are MLTK's names for artifacts, the spec, other modules under `workspace/`, and the provenance."""
    with zipfile.ZipFile(packed(tmp_path / "a.zip", artifacts)) as opened:
        members = {name: opened.read(name).decode() for name in opened.namelist()}

    assert {
        "data/manifest.json": "text of data/manifest.json",
        "eval/keras/eval-results.json": "text of eval/keras/results.json",
        "kws.py": SOURCES["models/kws.py"],
        "kws.tflite": "text of kws.tflite",
        "provenance.json": json.dumps({"a": {"c": 3, "d": 2}, "b": 1}, indent=1) + "\n",
        "train/training-history.json": "text of train/history.json",
        "workspace/helpers/audio.py": SOURCES["helpers/audio.py"],
    } == members
    assert sorted(members) == list(members)


def test_the_spec_of_a_dry_run_keeps_its_name(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """The archive of `kws-test` holds `kws.py`, and the number of members is the one reported."""
    facts = packing.run(tmp_path / "a.zip", "kws-test", artifacts, SOURCES, "models/kws.py", {})

    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert "kws.py" in opened.namelist()
        assert {"members": len(opened.namelist())} == facts


def test_equal_contents_give_equal_bytes(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Neither the order of dicts, nor the times and modes of files, nor where they lie show in the archive."""
    first = packed(tmp_path / "a.zip", artifacts).read_bytes()
    moved = {}
    for number, (name, path) in enumerate(reversed(artifacts.items())):
        moved[name] = path.rename(tmp_path / f"moved {number}")
        moved[name].chmod(0o600)
        os.utime(moved[name], (number, 10**9))

    assert first == packed(tmp_path / "b.zip", moved).read_bytes()


def test_one_changed_byte_is_another_archive(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """A changed artifact changes the archive."""
    first = packed(tmp_path / "a.zip", artifacts).read_bytes()
    artifacts["kws.tflite"].write_text("other")

    assert first != packed(tmp_path / "b.zip", artifacts).read_bytes()


def test_a_file_of_the_spec_is_added(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """What add_archive_file names is a member of that name."""
    (tmp_path / "LICENSE").write_bytes(b"\x00\xff")

    with zipfile.ZipFile(packed(tmp_path / "a.zip", artifacts, {"docs/LICENSE": tmp_path / "LICENSE"})) as opened:
        assert b"\x00\xff" == opened.read("docs/LICENSE")


@pytest.mark.parametrize(
    "name",
    [
        "kws.tflite",
        "data/manifest.json",
        "train/training-history.json",
        "kws.py",
        "provenance.json",
        "workspace/helpers/audio.py",
    ],
)
def test_an_added_file_overwrites_nothing(artifacts: dict[str, Path], tmp_path: Path, name: str) -> None:
    """An added file of the same name as an artifact, the spec or the provenance is an error that names it."""
    with pytest.raises(SpecError, match="has already") as caught:
        packed(tmp_path / "a.zip", artifacts, {name: artifacts["kws.tflite"]})

    assert name == caught.value.found
    assert not (tmp_path / "a.zip").exists()


@law
@given(st.dictionaries(names, st.binary(max_size=300)), st.randoms(use_true_random=False))
def test_a_zip_depends_on_its_members_alone(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], random: Any
) -> None:
    """A zip gives back what went in; the order of the members doesn't show."""
    folder = tmp_path_factory.mktemp("zip", numbered=True)
    order = list(members)
    random.shuffle(order)

    write_zip(folder / "a.zip", members)
    write_zip(folder / "b.zip", {name: members[name] for name in order})

    assert (folder / "a.zip").read_bytes() == (folder / "b.zip").read_bytes()
    with zipfile.ZipFile(folder / "a.zip") as opened:
        assert members == {name: opened.read(name) for name in opened.namelist()}


def test_a_zip_knows_no_time_and_no_platform(tmp_path: Path) -> None:
    """Every member has the same date, mode and system, and is compressed."""
    write_zip(tmp_path / "a.zip", {"b": bytes(1000), "a": b""})

    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert ["a", "b"] == opened.namelist()
        for entry in opened.infolist():
            assert ((1980, 1, 1, 0, 0, 0), 0o644 << 16, 3) == (
                entry.date_time,
                entry.external_attr,
                entry.create_system,
            )
        assert opened.getinfo("b").compress_size < 100


def test_a_zip_is_read_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that is a file is read when its turn comes, not before."""
    events: list[str] = []
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    read, write = Path.read_bytes, zipfile.ZipFile.writestr

    def noted_read(path: Path) -> bytes:
        events.append(f"read {path.name}")
        return read(path)

    def noted_write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, data: bytes, **kwargs: Any) -> None:
        events.append(f"write {entry.filename}")
        write(opened, entry, data, **kwargs)

    monkeypatch.setattr(Path, "read_bytes", noted_read)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", noted_write)

    write_zip(tmp_path / "a.zip", {"b": tmp_path / "b", "a": tmp_path / "a"})

    assert ["read a", "write a", "read b", "write b"] == events
