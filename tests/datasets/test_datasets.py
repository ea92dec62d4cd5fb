"""Public data sets: downloads that are cut, slow, wrong or impossible, and archives that mean harm."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import importlib
import io
import json
import lzma
import os
import pickle
import stat
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mltkbuild.datasets import download
from mltkbuild.datasets.arrays import read_idx, read_pickled
from mltkbuild.datasets.audio import free_spoken_digits
from mltkbuild.datasets.audio.speech_commands import speech_commands_v2
from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.image import cifar10, fashion_mnist, mnist, rock_paper_scissors_v1, rock_paper_scissors_v2
from mltkbuild.datasets.timeseries import ecg5000
from mltkbuild.datasets.unpack import unpack, without_top
from mltkbuild.errors import DataError, ForeignError, MltkError, UsageError
from mltkbuild.events import Counted

from ..conftest import REPOSITORY
from ..disk.faults import mounted
from .http_server import Site, serving

pytestmark = pytest.mark.real  # a server, packed files, processes

DATA = bytes(range(256)) * 40
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
DIGITS = REPOSITORY.parent / "shared/data/free-spoken-digit-dataset.tar.gz"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A home of the test's own, for what is noted there."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with one file; tries follow each other at once."""
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.delenv(download.MIRROR, raising=False)
    with serving({"/data.bin": DATA}) as found:
        yield found


def source(site: Site, path: str = "/data.bin", digest: str = DIGEST, **more: Any) -> Source:
    return Source(site.url + path, digest, **more)


def left(folder: Path) -> list[str]:
    """The files that nobody should find."""
    return [path.name for path in folder.rglob("*") if ".part" in path.name or "unpacking" in path.name]


# -- what others have left there -------------------------------------------------------------------------------------


def plant(kind: str, place: Path, outside: Path) -> None:
    """Put something where a download keeps its own files."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "dangling link":
        place.symlink_to(outside.with_name("new"))
    elif kind == "hard link":
        place.hardlink_to(outside)
    else:
        os.mkfifo(place)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
@pytest.mark.parametrize(
    "name", [f".data.bin{end}" for end in (".part", ".part.json", ".part.json.tmp", ".checked.json", ".lock")]
)
def test_planted_file_beside_a_download_is_replaced(kind: str, name: str, site: Site, tmp_path: Path) -> None:
    """Nothing is written through it, also where a download seems to have been begun, and nobody waits for it."""
    outside, folder = tmp_path / "outside", tmp_path / "sets"
    outside.write_bytes(DATA[:4000])
    before = sorted(tmp_path.iterdir())
    plant(kind, folder / name, outside)
    if name == ".data.bin.part":
        begun = {"url": f"{site.url}/data.bin", "tag": site.tag}
        (folder / ".data.bin.part.json").write_text(json.dumps(begun), encoding="utf-8")
    assert DATA == fetch(source(site), folder).read_bytes()
    assert DATA[:4000] == outside.read_bytes()
    assert {*before, folder} == set(tmp_path.iterdir())
    assert [("/data.bin", 0)] == site.asked


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["dangling link", "pipe"])
def test_planted_file_in_a_data_set_s_place(kind: str, site: Site, tmp_path: Path) -> None:
    """A link to nothing gives way to the file; a pipe is an error that names it."""
    plant(kind, tmp_path / "sets/data.bin", tmp_path / "outside")
    if kind == "pipe":
        with pytest.raises(ForeignError) as caught:
            fetch(source(site), tmp_path / "sets")
        assert (str(tmp_path / "sets/data.bin"), "a pipe") == (caught.value.where, caught.value.found)
    else:
        assert DATA == fetch(source(site), tmp_path / "sets").read_bytes()
    assert ["sets"] == os.listdir(tmp_path)


def test_folder_of_a_data_set_may_be_relative(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from the working directory, which may be the folder itself."""
    monkeypatch.chdir(tmp_path)
    assert tmp_path / "data.bin" == fetch(source(site), Path())
    archive = tar(Path("a.tar"), ("top/x", b"1"))
    assert "1" == (unpack(archive, Path("a"), "1") / "x").read_text(encoding="utf-8")


def test_data_set_s_folder_may_be_a_link(site: Site, tmp_path: Path) -> None:
    """Who keeps data sets elsewhere links their folder, or a file in it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sets").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert DATA == fetch(source(site), tmp_path / "sets").read_bytes()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/data.bin").symlink_to(tmp_path / "elsewhere/data.bin")
    assert DATA == fetch(source(site), tmp_path / "more").read_bytes()
    assert 1 == len(site.asked)


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/b", "a\0b", "a\\b", "x" * 300, ".git"])
def test_name_of_a_download_is_one_of_a_file(name: str, site: Site, tmp_path: Path) -> None:
    """A name that leads elsewhere is refused before anything is made."""
    with pytest.raises(DataError, match="needs a name"):
        fetch(source(site, name=name), tmp_path / "sets")
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("merge", [False, True])
def test_unpacking_follows_no_link(merge: bool, tmp_path: Path) -> None:
    """Neither one that lies where the files go, nor what looks like a killed unpacking."""
    outside, sets = tmp_path / "outside", tmp_path / "sets"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner/x").write_text("nobody's", encoding="utf-8")
    sets.mkdir()
    (sets / ".unpacking-1").symlink_to(outside, target_is_directory=True)
    archive = tar(tmp_path / "a.tar", ("top/inner/x", b"1"), ("top/y", b"2"))
    if merge:
        (sets / "a").mkdir()
        (sets / "a/inner").symlink_to(outside / "inner", target_is_directory=True)
        with pytest.raises(ForeignError, match="in the way"):
            unpack(archive, sets / "a", "1", merge=True)
    else:
        (sets / "a").symlink_to(outside / "none", target_is_directory=True)
        assert "1" == (unpack(archive, sets / "a", "1") / "inner/x").read_text(encoding="utf-8")
    assert ["inner"] == os.listdir(outside)
    assert "nobody's" == (outside / "inner/x").read_text(encoding="utf-8")


# -- downloads -------------------------------------------------------------------------------------------------------


def test_file_is_downloaded_once(site: Site, tmp_path: Path) -> None:
    """The second time nothing is asked for; progress ends at the whole."""
    events: list[Counted] = []
    path = fetch(source(site), tmp_path / "new", events.append)
    assert (DATA, tmp_path / "new/data.bin") == (path.read_bytes(), path)
    assert path == fetch(source(site), tmp_path / "new")
    assert [("/data.bin", 0)] == site.asked
    assert (Counted("data.bin", 10240, 10240), []) == (events[-1], left(tmp_path))


def test_cut_connection_goes_on(site: Site, tmp_path: Path) -> None:
    """A download that is cut twice is asked for from where it stopped."""
    site.cuts = [3500, 2500]
    assert DATA == fetch(source(site), tmp_path).read_bytes()
    assert [("/data.bin", 0), ("/data.bin", 3500), ("/data.bin", 6000)] == site.asked


def test_killed_download_goes_on(site: Site, tmp_path: Path) -> None:
    """What an earlier process left is gone on with, not begun anew."""
    site.cuts = [4000, 0, 0, 0]
    with pytest.raises(DataError, match="can't be downloaded"):
        fetch(source(site), tmp_path)
    site.asked.clear()
    assert DATA == fetch(source(site), tmp_path).read_bytes()
    assert [("/data.bin", 4000)] == site.asked


@pytest.mark.parametrize(("ranges", "tag"), [(False, '"1"'), (True, '"2"')])
def test_server_that_can_t_go_on_sends_all(site: Site, tmp_path: Path, ranges: bool, tag: str) -> None:
    """Without ranges, or when the file has changed meanwhile, the download begins anew and is whole."""
    site.cuts = [4000]

    def change(event: Counted) -> None:
        site.ranges, site.tag = ranges, tag

    assert DATA == fetch(source(site), tmp_path, change).read_bytes()
    assert [0, 0] == [begin for _, begin in site.asked]


def test_wrong_digest_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """A file that isn't the published one is refused, and never has its name."""
    with pytest.raises(DataError, match="not the one that was published") as caught:
        fetch(source(site, digest="sha256:" + "0" * 64), tmp_path)
    assert f"{site.url}/data.bin" == caught.value.where
    assert [] == [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")]
    with pytest.raises(DataError, match="not the one that was published"):
        fetch(source(site, digest="", size=len(DATA) + 1), tmp_path)


def test_missing_file_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    """404 is final; the error names the URL and where a file may be put by hand."""
    with pytest.raises(DataError, match="can't be downloaded") as caught:
        fetch(source(site, "/gone.bin"), tmp_path)
    assert 1 == len(site.asked)
    assert "404" in str(caught.value.found)
    assert str(tmp_path / "gone.bin") in str(caught.value.fix)


def test_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    """503 and 429 pass."""
    site.codes = [503, 429]
    assert DATA == fetch(source(site), tmp_path).read_bytes()
    assert 3 == len(site.asked)


def test_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    """A file that has moved is found."""
    site.moved["/old.bin"] = "/data.bin"
    assert DATA == fetch(source(site, "/old.bin"), tmp_path).read_bytes()


def test_slow_server_is_waited_for_but_not_for_ever(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that trickle are taken; a silence longer than the limit counts as a cut."""
    site.pause = 0.02
    assert DATA == fetch(source(site), tmp_path / "slow").read_bytes()
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    site.pause = 0.6
    with pytest.raises(DataError, match="can't be downloaded"):
        fetch(source(site), tmp_path / "silent")


def test_no_network_names_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and an unknown host: the URL, the mirror setting and the place for the file."""
    monkeypatch.setattr(download, "WAITS", ())
    for url in ("http://127.0.0.1:9/data.bin", "http://nowhere.invalid/data.bin"):
        with pytest.raises(DataError) as caught:
            fetch(Source(url, DIGEST), tmp_path)
        told = str(caught.value)
        assert (url in told, download.MIRROR in told, str(tmp_path / "data.bin") in told) == (True, True, True)


def test_file_put_there_by_hand_is_checked_and_used(site: Site, tmp_path: Path) -> None:
    """The right file is used without a network; a wrong one is an error, and stays for its owner to look at."""
    (tmp_path / "data.bin").write_bytes(DATA)
    assert DATA == fetch(source(site), tmp_path).read_bytes()
    assert [] == site.asked
    (tmp_path / "data.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match="not the one"):
        fetch(source(site), tmp_path)
    assert b"something else" == (tmp_path / "data.bin").read_bytes()


def test_mirror_comes_first(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder or URL of `MLTK_DATASETS_MIRROR` is asked before the source; what it lacks comes from there."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/data.bin").write_bytes(DATA)
    monkeypatch.setenv(download.MIRROR, str(tmp_path / "mirror"))
    fetch(source(site), tmp_path / "a")
    assert [] == site.asked
    (tmp_path / "mirror/data.bin").unlink()
    fetch(source(site), tmp_path / "b")
    assert [("/data.bin", 0)] == site.asked
    monkeypatch.setenv(download.MIRROR, f"{site.url}/")
    fetch(Source("http://nowhere.invalid/data.bin", DIGEST), tmp_path / "c")
    assert 2 == len(site.asked)


def test_no_way_leads_from_https_to_http() -> None:
    """A server that is asked by HTTPS may lead elsewhere by HTTPS, not where anybody can listen and answer."""
    handler = download._Redirects()
    for wanted, error in (("https://a.example/y", None), ("http://a.example/y", "leads from https to http")):
        request = urllib.request.Request("https://a.example/x")
        arguments = (request, None, 302, "Found", Message(), wanted)
        if error is None:
            assert wanted == handler.redirect_request(*arguments).full_url
            continue
        with pytest.raises(download._Refused, match=error):
            handler.redirect_request(*arguments)


@pytest.mark.parametrize("told", [True, False])
def test_a_server_sends_no_more_than_the_file_may_have(site: Site, tmp_path: Path, told: bool) -> None:
    """A file that is larger than it may be, whether or not the server says so before, fills no disk."""
    site.length = told
    with pytest.raises(DataError, match="can't be downloaded") as caught:
        fetch(source(site, size=5000), tmp_path)
    assert "more" in str(caught.value.found)
    assert not list(tmp_path.glob(".*.part"))
    assert 1 == len(site.asked)


def test_passwords_go_to_the_server_alone(site: Site, tmp_path: Path) -> None:
    """A name and a password of a URL are sent to its own host, and stand in no error and in no file."""
    url = site.url.replace("//", "//me:s%3Acret@")
    site.moved["/old.bin"] = site.url.replace("127.0.0.1", "localhost") + "/data.bin"
    site.cuts = [100, 0, 0, 0]
    with pytest.raises(DataError) as caught:
        fetch(Source(url + "/data.bin", DIGEST), tmp_path)
    assert "cret" not in str(caught.value)
    assert "me" not in str(caught.value).partition("fix:")[0].replace("name", "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"cret" in path.read_bytes()]
    assert "Basic " + base64.b64encode(b"me:s:cret").decode() == site.secrets[0]
    site.secrets.clear()
    assert DATA == fetch(Source(url + "/old.bin", DIGEST), tmp_path).read_bytes()
    assert [True, False] == [bool(secret) for secret in site.secrets]
    for shape in ("https://a:b@[::1", "https://a:b@host:x/y.bin", "https://a:b@c@host:1/x"):
        assert "b@" not in download.public(shape)


def test_what_a_server_says_can_t_steer_a_terminal(site: Site, tmp_path: Path) -> None:
    """The words beside a server's code are a stranger's: they are shown on one line, without control characters."""
    site.codes, site.reason = [404], "\x1b]0;PWN\x07gone"
    with pytest.raises(DataError) as caught:
        fetch(source(site), tmp_path)
    assert r"404 \x1b]0;PWN\x07gone" in str(caught.value)


def test_nobody_else_says_that_a_file_was_checked(site: Site, tmp_path: Path) -> None:
    """A mark beside a file counts for nothing, and neither does a file whose bytes were replaced at the same time."""
    path = fetch(source(site), tmp_path)
    status = path.stat()
    path.write_bytes(bytes(len(DATA)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    mark = {"digest": DIGEST, "size": status.st_size, "mtime": status.st_mtime_ns}
    (tmp_path / ".data.bin.checked.json").write_text(json.dumps(mark), encoding="utf-8")
    with pytest.raises(DataError, match="not the one that was published"):
        fetch(source(site), tmp_path)


def test_no_link_leads_a_download_elsewhere(site: Site, tmp_path: Path) -> None:
    """A link where a download is begun is replaced; a pipe in place of the file is refused and doesn't hang."""
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    for name in (".data.bin.part", ".data.bin.part.json"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to("precious")
        assert fetch(source(site), tmp_path).is_file()
        assert "mine" == (tmp_path / "precious").read_text(encoding="utf-8")
        (tmp_path / "data.bin").unlink()
    os.mkfifo(tmp_path / "data.bin")
    with pytest.raises(MltkError, match=r"data\.bin"):
        fetch(source(site), tmp_path)


def test_two_processes_download_once(site: Site, tmp_path: Path) -> None:
    """Of two at once one downloads, the other waits and has the same file."""
    site.pause = 0.05
    script = (
        "import sys; from pathlib import Path; from mltkbuild.datasets.download import Source, fetch\n"
        f"print(fetch(Source({site.url + '/data.bin'!r}, {DIGEST!r}), Path(sys.argv[1])).stat().st_size)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert ["10240\n", "10240\n"] == [process.communicate(timeout=60)[0] for process in processes]
    assert 1 == len(site.asked)


def test_full_disk_is_one_error(site: Site, tmp_path: Path) -> None:
    """No space: an error that says so, and the download goes on when there is some."""
    with mounted(tmp_path / "small", "size=8k"), pytest.raises(DataError, match="can't be written"):
        fetch(source(site), tmp_path / "small/data")


def test_folder_is_that_of_the_workspace_or_the_one_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets/` beside the dodo.py above, `MLTK_DATASETS`, or `dest_dir`."""
    monkeypatch.setattr(ecg5000, "_SHAPE", (3, 141))
    monkeypatch.setattr(ecg5000, "SOURCE", Source(site.url + "/ecg.csv", name="ecg5000.csv"))
    site.files["/ecg.csv"] = ("1.5," * 140 + "1.0\n").encode() * 3
    (tmp_path / "ws/models").mkdir(parents=True)
    (tmp_path / "ws/dodo.py").touch()
    monkeypatch.chdir(tmp_path / "ws/models")
    monkeypatch.delenv("MLTK_DATASETS", raising=False)
    x, y = ecg5000.load_data()
    assert ((3, 140), [1, 1, 1]) == (x.shape, y.tolist())
    assert (tmp_path / "ws/datasets/ecg5000/ecg5000.csv").is_file()
    monkeypatch.setenv("MLTK_DATASETS", str(tmp_path / "elsewhere"))
    ecg5000.load_data()
    assert (tmp_path / "elsewhere/ecg5000/ecg5000.csv").is_file()
    ecg5000.load_data(dest_dir=tmp_path / "own")
    assert (tmp_path / "own/ecg5000.csv").is_file()


# -- archives --------------------------------------------------------------------------------------------------------


def tar(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """A tar archive; a member with a text is a link to it."""
    packing = path.suffix.removeprefix(".") if path.suffix in (".bz2", ".xz") else "gz"
    with tarfile.open(path, f"w:{packing}") as file:  # type: ignore[call-overload]  # one of the three
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


def test_archive_is_unpacked_once_as_a_whole(tmp_path: Path) -> None:
    """Files go where they are placed; another content replaces the folder; what was killed is swept away."""
    archive = tar(tmp_path / "a.tar.gz", ("top/x/1.txt", b"one"), ("top/2.txt", b"two"))
    (tmp_path / ".unpacking-left").mkdir()
    folder = unpack(archive, tmp_path / "out", "1")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert [".complete", "2.txt", "x/1.txt"] == names
    before = folder.stat().st_ino
    assert before == unpack(archive, tmp_path / "out", "1").stat().st_ino
    tar(archive, ("top/3.txt", b"three"))
    assert ["3.txt"] == [path.name for path in unpack(archive, tmp_path / "out", "2").iterdir() if path.suffix]
    assert [] == left(tmp_path)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/x", "a/../../x", "a\\b", "C:/x", "x/\x1b[31m"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    """Nothing is written outside the folder, and no folder is left."""
    archive = tmp_path / f"a.{kind}"
    if kind == "tar":
        tar(archive, ("top/good.txt", b""), (name, b"bad"))
    else:
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("top/good.txt", b"")
            file.writestr(name, b"bad")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="unfit file"):
        unpack(archive, tmp_path / "in/out", "1")
    assert [] == [path.name for path in (tmp_path / "in").iterdir() if not path.name.endswith(".lock")]


def test_links_are_refused(tmp_path: Path) -> None:
    """A link could lead the next member anywhere."""
    with pytest.raises(DataError, match="is a link"):
        unpack(tar(tmp_path / "a.tar.gz", ("top/x", "/etc")), tmp_path / "out", "1")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("top/x")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc")
    with pytest.raises(DataError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "1")
    assert not (tmp_path / "out").exists()


def test_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that would unpack to more than any data set has is given up, and nothing stays."""
    monkeypatch.setattr("mltkbuild.datasets.unpack.LARGEST", 1000)
    with pytest.raises(DataError, match="unfit file"):
        unpack(tar(tmp_path / "a.tar.gz", ("top/x", b"0" * 2000)), tmp_path / "out", "1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_small_archive_of_very_much_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Files that are a hundred times their archive, and more than a little, or too many, are given up."""
    monkeypatch.setattr("mltkbuild.datasets.unpack._SPARE", 10_000)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("top/x", bytes(1_000_000))
    else:
        tar(path, ("top/x", bytes(1_000_000)))
    with pytest.raises(DataError, match=f"bytes come of an archive of {path.stat().st_size:,}"):
        unpack(path, tmp_path / "out", "1")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("mltkbuild.datasets.unpack.MOST_FILES", 2)
    tar(tmp_path / "b.tar.gz", *((f"top/{number}", b"x") for number in range(3)))
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(tmp_path / "b.tar.gz", tmp_path / "out", "1")
    assert not (tmp_path / "out").exists()


def test_damaged_archive_keeps_what_was_there(tmp_path: Path) -> None:
    """A cut archive is an error; an earlier folder stays."""
    archive = tar(tmp_path / "a.tar.gz", ("top/x", os.urandom(20_000)))
    unpack(archive, tmp_path / "out", "1")
    archive.write_bytes(archive.read_bytes()[:10_000])
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, tmp_path / "out", "2")
    assert (tmp_path / "out/x").is_file()


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("change", ["behind", "in the tar", "checksum", "cut"])
def test_a_packed_tar_is_read_to_its_end(tmp_path: Path, suffix: str, change: str) -> None:
    """Bytes behind an archive's end, inside or outside its packing, and a wrong checksum there make it damaged."""
    archive = tar(tmp_path / f"a.tar.{suffix}", ("a/x", bytes(range(256)) * 999))
    pack: Any = {"gz": gzip, "bz2": bz2, "xz": lzma}[suffix]
    data = archive.read_bytes()
    unpack(archive, tmp_path / "good", "")
    if change == "behind":
        data += b"hidden"
    elif change == "in the tar":
        data = pack.compress(pack.decompress(data) + b"hidden")
    elif change == "checksum":
        data = data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]
    else:
        data = data[:-4]
    archive.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, tmp_path / "new", "")
    assert not (tmp_path / "new").exists()


def test_files_of_an_archive_have_a_digest(tmp_path: Path) -> None:
    """Where the archive itself has no lasting digest, what is in it is compared with the published one."""
    archive = tar(tmp_path / "a.tar.gz", ("a/x", b"1"), ("a/y", b"2"))
    first, second = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))
    right = hashlib.sha256(f"{first}  x\n{second}  y\n".encode()).hexdigest()
    unpack(archive, tmp_path / "good", f"content:{right}")
    with pytest.raises(DataError, match="not those that were published"):
        unpack(archive, tmp_path / "bad", "content:" + "0" * 64)
    assert not (tmp_path / "bad").exists()


def test_every_data_set_comes_by_https() -> None:
    """No source is asked where anybody can listen, and each has a digest."""
    found = {}
    for path in sorted((REPOSITORY / "mltkbuild/datasets").glob("*/**/*.py")):
        module = importlib.import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
        for item in vars(module).values():
            for one in item if isinstance(item, tuple) else (item,):
                if isinstance(one, Source):
                    found[one] = getattr(module, "CONTENT", one.digest)
    assert 9 <= len(found)
    assert not [one for one in found if not one.url.startswith("https://")]
    assert not [one for one, digest in found.items() if not digest]


# -- the data sets ---------------------------------------------------------------------------------------------------


def test_free_spoken_digits_by_http(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real archive, served here: a folder a digit, with the official split."""
    if not DIGITS.exists():
        pytest.skip("needs shared/data/free-spoken-digit-dataset.tar.gz beside the repository")
    site.files["/fsdd.tar.gz"] = DIGITS.read_bytes()
    monkeypatch.setattr(
        free_spoken_digits, "SOURCE", Source(site.url + "/fsdd.tar.gz", name="free-spoken-digit-dataset.tar.gz")
    )
    monkeypatch.setenv("MLTK_DATASETS", str(tmp_path))
    folder = Path(free_spoken_digits.load_data())
    assert {str(digit): 300 for digit in range(10)} == {
        path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir()) if path.is_dir()
    }
    names = [f"{path.parent.name}/{path.name}" for path in folder.rglob("*.wav")]
    assert 300 == sum(free_spoken_digits.split_subset(name) == "evaluation" for name in names)
    assert 6 == len({free_spoken_digits.group_of(name) for name in names})
    assert 1 == len(site.asked)
    free_spoken_digits.load_data()
    assert 1 == len(site.asked)


def test_speech_commands_layout(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive without a folder around it: one folder a word; its own lists are left out."""
    archive = tar(tmp_path / "s.tar.gz", ("./yes/ab_nohash_0.wav", b"x"), ("./_background_noise_/a.wav", b"y"))
    data = archive.read_bytes()
    site.files["/speech_commands_v0.02.tar.gz"] = data
    digest = "sha1:" + hashlib.sha1(data).hexdigest()
    monkeypatch.setattr(speech_commands_v2, "SOURCE", Source(site.url + "/speech_commands_v0.02.tar.gz", digest))
    folder = Path(speech_commands_v2.load_data(dest_dir=tmp_path / "data"))
    assert (True, True) == ((folder / "yes/ab_nohash_0.wav").is_file(), (folder / "_background_noise_/a.wav").is_file())
    assert "ab" == speech_commands_v2.group_of("yes/ab_nohash_0.wav")


def test_images_as_arrays(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST from its npz, Fashion-MNIST from IDX files, CIFAR-10 from pickles: `((x, y), (x_test, y_test))`."""
    images, labels = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28), np.array([3, 4], np.uint8)
    packed = io.BytesIO()
    np.savez(packed, x_train=images, y_train=labels, x_test=images[:1], y_test=labels[:1])
    site.files["/mnist.npz"] = packed.getvalue()
    monkeypatch.setattr(mnist, "SOURCE", Source(site.url + "/mnist.npz"))
    (x, y), (x_test, _) = mnist.load_data(dest_dir=tmp_path / "m")
    np.testing.assert_array_equal(images, x)
    assert ([3, 4], 1) == (y.tolist(), len(x_test))
    for number, part in enumerate((images, labels, images[:1], labels[:1])):
        head = bytes([0, 0, 8, part.ndim]) + np.array(part.shape, ">i4").tobytes()
        site.files[f"/{number}.gz"] = gzip.compress(head + part.tobytes())
    monkeypatch.setattr(fashion_mnist, "SOURCES", tuple(Source(f"{site.url}/{number}.gz") for number in range(4)))
    (x, _), (x_test, _) = fashion_mnist.load_data(dest_dir=tmp_path / "f")
    np.testing.assert_array_equal(images, x)
    batch = pickle.dumps({b"data": np.zeros((5, 3072), np.uint8), b"labels": [1, 2, 3, 4, 5]})
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    archive = tar(tmp_path / "c.tar.gz", *((f"cifar-10-batches-py/{name}", batch) for name in names))
    site.files["/cifar.tar.gz"] = archive.read_bytes()
    monkeypatch.setattr(cifar10, "SOURCE", Source(site.url + "/cifar.tar.gz"))
    (x, y), (x_test, _) = cifar10.load_data(dest_dir=tmp_path / "c")
    assert ((25, 32, 32, 3), (25, 1), 5) == (x.shape, y.shape, len(x_test))


def test_debian_s_fashion_mnist_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is installed nothing is downloaded."""
    if not fashion_mnist.DEBIAN.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    monkeypatch.setenv("MLTK_DATASETS", str(tmp_path))
    (x, y), (x_test, _) = fashion_mnist.load_data()
    assert ((60000, 28, 28), (60000,), (10000, 28, 28)) == (x.shape, y.shape, x_test.shape)
    assert [] == list(tmp_path.iterdir())


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Give a call."""
        return os.system, ("true",)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut IDX file, a table of another shape, and a pickle that wants to run code are errors."""
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"))
    with pytest.raises(DataError, match="IDX"):
        read_idx(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="IDX"):
        read_idx(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="can't be read") as caught:
        read_pickled(path)
    assert "system" in str(caught.value.found)
    (tmp_path / "ecg5000.csv").write_text("1,2,3\n")
    monkeypatch.setattr(ecg5000, "SOURCE", replace(ecg5000.SOURCE, digest=""))
    with pytest.raises(DataError, match="not ECG5000"):
        ecg5000.load_data(dest_dir=tmp_path)


def test_table_with_a_planted_heartbeat(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the right shape that isn't the published one is refused by its digest, and not kept."""
    monkeypatch.setattr(ecg5000, "SOURCE", replace(ecg5000.SOURCE, url=site.url + "/ecg.csv"))
    site.files["/ecg.csv"] = ("1.5," * 140 + "1.0\n").encode() * 4998
    with pytest.raises(DataError, match="not the one that was published"):
        ecg5000.load_data(dest_dir=tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_hands_come_in_7z(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rock, paper, scissors: unpacked with the extra, an error that names it without."""
    py7zr = pytest.importorskip("py7zr", reason="needs the extra 7z")
    with py7zr.SevenZipFile(tmp_path / "hands.7z", "w") as file:
        file.writestr(b"x", "hands/rock/1.png")
    site.files["/hands.7z"] = (tmp_path / "hands.7z").read_bytes()
    for module in (rock_paper_scissors_v1, rock_paper_scissors_v2):
        monkeypatch.setattr(module, "SOURCE", Source(site.url + "/hands.7z"))
        folder = Path(module.load_data(dest_dir=tmp_path / module.__name__))
        assert b"x" == (folder / "rock/1.png").read_bytes()
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with pytest.raises(UsageError, match="not installed"):
        rock_paper_scissors_v1.load_data(dest_dir=tmp_path / "without")


def test_place_without_top() -> None:
    """The archive's one folder is left out."""
    assert ("a/b", None) == (without_top("top/a/b"), without_top("file"))
