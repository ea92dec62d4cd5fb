"""From an archive back to a workspace: all of it or nothing, and nothing beside it; and what a summary tells."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.archives.contents import contents, find, models_dir
from mltkbuild.archives.reading import open_archive
from mltkbuild.archives.unpacking import TEMPORARY, unpack
from mltkbuild.archives.writing import write_zip
from mltkbuild.cli import archives
from mltkbuild.disk.names import clash, name_fault
from mltkbuild.disk.workspace import configure, list_specs, module_file
from mltkbuild.errors import MltkError, StageError, UsageError, WorkspaceError

from ..conftest import REPOSITORY, Files, command
from ..disk.faults import Steps, die, disk_full, killed, watching
from .zips import DEEP, SMALL, SOURCES, SPEC, Entry, packed, provenance, told
from .zips import archive as zipped

law = settings(deadline=None, max_examples=60, database=None)
TEMPLATES = REPOSITORY / "mltkbuild/templates"
OWN = ("dodo.py", "pyproject.toml", ".gitignore")


def restored(path: str, folder: Path) -> list[str]:
    """Unpack an archive as the command does."""
    with open_archive(path) as opened:
        found = contents(opened)
        return unpack(opened, found, str(folder), archives.workspace_files(opened, found))


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too; no links."""
    paths = sorted(folder.rglob("*"))
    assert not [path for path in paths if path.is_symlink()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}


# -- what is restored ------------------------------------------------------------------------------------------------


def test_a_workspace_is_restored(tmp_path: Path) -> None:
    """Spec, modules and added files are where they were, artifacts below `artifacts/`, and the workspace is one."""
    path = packed(tmp_path, added={"docs/wiring.txt": "red, black"})
    told = restored(path, tmp_path / "new")
    found = files_below(tmp_path / "new")
    for name in OWN:
        assert (TEMPLATES / name.removeprefix(".")).read_bytes() == found.pop(name)
    assert sorted(found) == told
    assert b"red, black" == found.pop("docs/wiring.txt")
    assert {path: text.encode() for path, text in SOURCES.items()} == {path: found.pop(path) for path in SOURCES}
    made = {
        *("kws.keras", "kws.tflite", "train/training-history.json", "spec/params.yaml", "provenance.json"),
        *("eval/keras/eval-results.json", "eval/tflite/eval-results.json"),
    }
    assert {f"artifacts/kws/{name}" for name in made} == set(found)
    workspace = configure(str(tmp_path / "new"))
    assert ["kws"] == list(list_specs(workspace).specs)
    assert "models/parts.py" == module_file(workspace, "models/kws.py", "parts")
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "new").rglob("*") if file.is_file()}
    assert modes <= {0o644, 0o640, 0o600, 0o664}


parts = st.text("abcäß_ ", min_size=1, max_size=5)
source_paths = st.lists(parts, min_size=1, max_size=3).map(lambda names: "/".join(names) + ".py")


@law
@given(st.dictionaries(source_paths, st.text(max_size=40)), st.lists(parts, min_size=1, max_size=3), st.text())
def test_sources_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, others: dict[str, str], folders: list[str], text: str
) -> None:
    """What an archive has of a workspace's sources is what the unpacked workspace has of them."""
    spec = "/".join([*folders, "kws.py"])
    sources = {path: other.encode("utf-8", "replace").decode() for path, other in others.items()}
    sources[spec] = SPEC + text.encode("utf-8", "replace").decode()
    folder = tmp_path_factory.mktemp("unpack")
    path = packed(folder, sources, spec)
    if any(map(name_fault, sources)) or clash([*sources, *OWN, "artifacts"]):
        with pytest.raises(StageError):
            restored(path, folder / "new")
        assert not (folder / "new").exists()
        return
    told = restored(path, folder / "new")
    found = files_below(folder / "new")
    assert {path: text.encode() for path, text in sources.items()} == {path: found[path] for path in sources}
    assert set(told) == set(found) - set(OWN)
    workspace = configure(str(folder / "new"))
    assert spec == list_specs(workspace)["kws"].path or "__pycache__" in spec


def test_a_dry_run_is_restored(tmp_path: Path) -> None:
    """The archive of `kws-test` has the spec of `kws` and its artifacts apart."""
    told = restored(packed(tmp_path, target="kws-test"), tmp_path / "new")
    assert {"models/kws.py", "artifacts/kws-test/kws-test.tflite"} <= set(told)


@pytest.mark.parametrize(
    ("spec", "others", "expected"),
    [
        ("models/kws.py", ["models/parts.py", "helpers/x.py"], "models"),
        ("models/audio/kws.py", [], "models"),
        ("models/audio/kws.py", ["models/parts.py"], "models"),
        ("models/audio/kws.py", ["models/audio/parts.py"], "models"),
        ("src/models/audio/kws.py", ["src/models/parts.py"], "src/models"),
        ("specs/kws.py", [], "specs"),
        ("build/kws.py", [], "build"),
        ('a "b"/kws.py', [], 'a "b"'),
    ],
)
def test_the_models_folder_is_found(tmp_path: Path, spec: str, others: list[str], expected: str) -> None:
    """The configuration names a models folder that the spec and what it imports are found with."""
    sources = dict.fromkeys(others, "x = 1\n") | {spec: SPEC}
    path = packed(tmp_path, sources, spec)
    with open_archive(path) as opened:
        assert expected == models_dir(contents(opened))
    restored(path, tmp_path / "new")
    workspace = configure(str(tmp_path / "new"))
    assert expected == workspace.models_dir
    assert ("build_2" if expected == "build" else "build") == workspace.build_dir
    for other in others:
        module = other.removesuffix(".py").replace("/", ".")
        assert other == module_file(workspace, spec, module)
        assert "helpers" in other or other == module_file(workspace, spec, module.rpartition(".")[2])


def test_the_files_of_a_workspace_are_never_the_archive_s(tmp_path: Path) -> None:
    """A `dodo.py` that an archive holds would be run by the next command: it is kept with the artifacts."""
    own = dict.fromkeys([*OWN, "models/parts.py", "Doit.cfg"], "import os; os.abort()\n")
    restored(packed(tmp_path, added=own), tmp_path / "new")
    found = files_below(tmp_path / "new")
    assert (TEMPLATES / "dodo.py").read_bytes() == found["dodo.py"]
    assert SOURCES["models/parts.py"].encode() == found["models/parts.py"]
    assert "Doit.cfg" not in found
    assert [b"import os; os.abort()\n"] * 5 == [found[f"artifacts/kws/{name}"] for name in own]


HIDING = [
    "dodo/__init__.py",
    "Dodo.abi3.so",
    "dodo.cpython-311-x86_64-linux-gnu.so",
    "__pycache__/dodo.cpython-311.pyc",
]


@pytest.mark.parametrize("name", HIDING)
def test_nothing_of_an_archive_stands_in_for_the_dodo(tmp_path: Path, name: str) -> None:
    """A package, compiled code and a cache that Python takes for `dodo.py` are kept with the artifacts."""
    restored(packed(tmp_path, added={name: "import os; os.abort()\n"}), tmp_path / "new")
    assert not (tmp_path / "new" / name).exists()
    assert (tmp_path / "new" / "artifacts/kws" / name).is_file()


def test_a_module_that_stands_in_for_the_dodo_is_an_error(tmp_path: Path) -> None:
    """An archive whose spec has a package `dodo` restores nothing."""
    path = packed(tmp_path, sources={**SOURCES, "dodo/__init__.py": "import os; os.abort()\n"})
    with pytest.raises(StageError, match="in place of the workspace"):
        restored(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_archive_of_mltk_is_restored(tmp_path: Path) -> None:
    """MLTK's archive has no provenance: its spec goes to `models/` without the line on top, all else to artifacts."""
    text = b"# @mltk_model\r\nmy_model = 1\r\n"
    members: dict[str, bytes | Path] = {
        "kws.py": b"__mltk_version__ = '0.20.0'\r\n\r\n" + text,
        "kws.h5": b"weights",
        "kws.tflite": b"flatbuffer",
        "eval/h5/eval-results.json": b'{"overall_accuracy": 0.5}',
        "workspace/x.txt": b"",
    }
    write_zip(tmp_path / "kws.mltk.zip", members)
    told = restored(str(tmp_path / "kws.mltk.zip"), tmp_path / "new")
    assert {f"artifacts/kws/{name}" for name in members if name != "kws.py"} | {"models/kws.py"} == set(told)
    assert text == (tmp_path / "new/models/kws.py").read_bytes()
    os.rename(tmp_path / "kws.mltk.zip", tmp_path / "copy (1).mltk.zip")
    with open_archive(str(tmp_path / "copy (1).mltk.zip")) as opened:
        found = archives.summary(opened)
        assert ["kws.tflite", "kws.h5", None] == [find(opened, kind) for kind in (".tflite", ".h5", ".keras")]
    assert ("kws", {"mltk": "0.20.0"}, 0.5) == (found["model"], found["made_by"], found["float_accuracy"])


@pytest.mark.parametrize("target", ["kws", "kws-test"])
def test_the_model_is_found_by_its_kind(tmp_path: Path, target: str) -> None:
    """Of several `.tflite` files the one that is the model is found, and none where there is none."""
    files = {f"{target}.converted.tflite": "", f"{target}.float32.tflite": ""}
    with open_archive(packed(tmp_path, added={"a.tflite": ""}, target=target, files=files)) as opened:
        assert f"{target}.tflite" == find(opened, ".tflite")
        assert f"{target}.keras" == find(opened, ".keras")
        assert find(opened, ".h5") is None


def test_the_test_model_of_mltk_is_found(tmp_path: Path) -> None:
    """MLTK names the files of a dry run in another way."""
    write_zip(tmp_path / "kws-test.mltk.zip", {"kws.py": b"", "kws.test.tflite": b"", "kws.float32.test.tflite": b""})
    with open_archive(str(tmp_path / "kws-test.mltk.zip")) as opened:
        assert "kws.test.tflite" == find(opened, ".tflite")


# -- where to ---------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with something in it, a file, a link and the working directory are left alone."""
    path = packed(tmp_path)
    (tmp_path / "full/inner").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    for name, words in (("full", "not empty"), ("file", "taken"), ("link", "taken"), ("linked", "taken")):
        with pytest.raises(UsageError, match=words):
            restored(path, tmp_path / name)
    with pytest.raises(UsageError, match="working directory"):
        restored(path, Path("."))
    with pytest.raises(WorkspaceError, match="can't be written"):
        restored(path, tmp_path / "file/below")
    assert before == sorted(tmp_path.rglob("*"))


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    """An empty folder and one whose parents are missing or linked become the workspace."""
    path = packed(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty_too")
    (tmp_path / "empty_too").mkdir()
    for name in ("empty", "a/b/c", "link/inner"):
        restored(path, tmp_path / name)
        assert (tmp_path / name / "dodo.py").is_file()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(TEMPORARY)]


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """The folder of an unpacking that was killed goes with the next one; one that is at work, and a link, stay."""
    for name in ("dead", "busy"):
        (tmp_path / f"{TEMPORARY}{name}/workspace").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / f"{TEMPORARY}link").symlink_to(tmp_path / "mine")
    (tmp_path / f"{TEMPORARY}dead/link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine/file").write_text("mine")
    handle = os.open(tmp_path / f"{TEMPORARY}busy", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    restored(packed(tmp_path), tmp_path / "new")
    os.close(handle)
    left = {name.removeprefix(TEMPORARY) for name in os.listdir(tmp_path) if name.startswith(TEMPORARY)}
    assert {"busy", "link"} == left
    assert "mine" == (tmp_path / "mine/file").read_text()


def small(folder: Path) -> str:
    """An archive of two members."""
    told = json.dumps(provenance(SMALL, "models/kws.py")).encode()
    write_zip(folder / "kws.mltk.zip", {"kws.py": SPEC.encode(), "provenance.json": told})
    return str(folder / "kws.mltk.zip")


def unpack_and_die(path: str, folder: str, step: int) -> None:
    with watching(Steps(step, die)):
        restored(path, Path(folder))


def is_whole_or_missing(folder: Path) -> bool:
    """Say whether a workspace is there as a whole; it may also not be there at all."""
    if not folder.exists():
        return False
    assert {*OWN, "models/kws.py", "artifacts/kws/provenance.json"} == set(files_below(folder))
    assert (TEMPLATES / "dodo.py").read_bytes() == (folder / "dodo.py").read_bytes()
    return True


@pytest.mark.real
def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    """SIGKILL at every third step: the folder is missing or whole, and the next unpacking cleans up."""
    path = small(tmp_path)
    step, was_killed = 1, True
    while was_killed:
        was_killed = killed(unpack_and_die, path, str(tmp_path / f"new_{step}"), step)
        if not is_whole_or_missing(tmp_path / f"new_{step}"):
            assert was_killed
            restored(path, tmp_path / f"new_{step}")
            assert is_whole_or_missing(tmp_path / f"new_{step}")
        step += 3
    restored(path, tmp_path / "last")
    assert not [name for name in os.listdir(tmp_path) if name.startswith(TEMPORARY)]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A disk that is full from any step on ends in one error, and nothing is left."""
    path = small(tmp_path)
    before, steps, found = sorted(os.listdir(tmp_path)), 0, "No space left on device"
    while not (tmp_path / "new").exists():
        assert ("No space left on device", before) == (found, sorted(os.listdir(tmp_path)))
        steps += 1
        try:
            with watching(Steps(steps, disk_full)):
                restored(path, tmp_path / "new")
        except WorkspaceError as error:
            found = str(error.found)
    assert steps > 15
    assert is_whole_or_missing(tmp_path / "new")


class Interrupting(dict[str, str]):
    """Files that nobody waits for."""

    def items(self) -> Any:
        """Be interrupted."""
        raise KeyboardInterrupt


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """An interruption in the middle takes everything with it."""
    path = small(tmp_path)
    with open_archive(path) as opened, pytest.raises(KeyboardInterrupt):
        unpack(opened, contents(opened), str(tmp_path / "new"), Interrupting())
    assert ["kws.mltk.zip"] == os.listdir(tmp_path)


# -- archives that lie -----------------------------------------------------------------------------------------------


LIES = {
    "no JSON": b"{",
    "no UTF-8": b"\xff",
    "deep": DEEP,
    "deep schema": b'{"schema": ' + b"[" * 500 + b"]" * 500 + b"}",
    "a list": b"[]",
    "a number": b"1" * 5000,
    "schema 2": told(schema=2),
    "no schema": told(schema=None),
    "name": told(model="../kws", target="../kws"),
    "name is a number": told(model=1),
    "target": told(target="kws/../.."),
    "target is a list": told(target=["kws"]),
    "spec up": told(spec="../kws.py"),
    "spec far": told(spec="models/../../kws.py"),
    "spec absolute": told(spec="/tmp/kws.py"),
    "spec on top": told(spec="kws.py"),
    "spec is a hook": told(spec=".git/hooks/kws.py"),
    "spec has another name": told(spec="models/evil.py"),
    "spec steers": told(spec="models/\x1b[2J/kws.py"),
    "spec is a list": told(spec=["models/kws.py"]),
    "spec is deep": told(spec=json.loads(b"[" * 400 + b"]" * 400)),
    "no sources": told(sources={}),
    "sources are a list": told(sources=["models/kws.py"]),
    "sources lack": told(sources={"models/kws.py": "", "models/parts.py": ""}),
    "sources up": told(sources={"models/kws.py": "", "../parts.py": ""}),
    "another digest": told(sources={"models/kws.py": "0" * 64}),
    "a digest that is none": told(sources={"models/kws.py": {"a": 1}}),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_provenance_that_lies(tmp_path: Path, data: bytes) -> None:
    """What an archive says of itself is checked: one error that can be shown, and nothing is written."""
    (tmp_path / "x.mltk.zip").write_bytes(zipped(Entry("kws.py", SPEC.encode()), Entry("provenance.json", data)))
    with pytest.raises(StageError) as caught:
        restored(str(tmp_path / "x.mltk.zip"), tmp_path / "new")
    assert caught.value.fix
    assert str(caught.value).replace("\n", "").isprintable()
    assert ["x.mltk.zip"] == os.listdir(tmp_path)


@pytest.mark.parametrize("stages", [None, [], {"train": 1}, {"train": {"artifacts": ["kws.keras"], "tools": [1]}}])
def test_stages_of_any_type_are_read(tmp_path: Path, stages: object) -> None:
    """What is told of the stages may be anything: a summary tells what it can, and sources are restored."""
    entries = (Entry("kws.py", SPEC.encode()), Entry("provenance.json", told(stages=stages)))
    (tmp_path / "x.mltk.zip").write_bytes(zipped(*entries))
    assert "models/kws.py" in restored(str(tmp_path / "x.mltk.zip"), tmp_path / "new")
    with open_archive(str(tmp_path / "x.mltk.zip")) as opened:
        assert {} == archives.summary(opened)["made_by"]


@pytest.mark.parametrize(
    ("name", "members", "words"),
    [
        ("x.mltk.zip", ["a.txt"], "no model's archive"),
        ("x.mltk.zip", ["a.py", "b.py"], "no model's archive"),
        ("x.mltk.zip", ["sub/x.py"], "no model's archive"),
        ("...mltk.zip", ["...py"], "has no name"),
        (".mltk.zip", [".py"], "has no name"),
        ("artifacts.mltk.zip", ["artifacts.py", "provenance.json/x"], None),
    ],
)
def test_archives_without_a_provenance(tmp_path: Path, name: str, members: list[str], words: str | None) -> None:
    """A zip that is no model's archive, or whose model has no name to make a folder of, is an error."""
    (tmp_path / name).write_bytes(zipped(*map(Entry, members)))
    if words is None:
        restored(str(tmp_path / name), tmp_path / "new")
        return
    with pytest.raises(StageError, match=words):
        restored(str(tmp_path / name), tmp_path / "new")
    assert [name] == os.listdir(tmp_path)


def test_two_members_in_one_place(tmp_path: Path) -> None:
    """Members whose names differ and whose places are the same are refused."""
    path = packed(tmp_path, added={"artifacts/kws/kws.tflite": "mine"})
    with pytest.raises(StageError, match="the same place"):
        restored(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a\\..\\evil", "a/../../evil", ".git/config"])
def test_a_member_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    """A name that leads out of the folder stops everything before anything is written."""
    entries = [Entry("kws.py", SPEC.encode()), Entry("provenance.json", told()), Entry(name)]
    (tmp_path / "x.mltk.zip").write_bytes(zipped(*entries))
    with pytest.raises(StageError, match="a member's name"):
        restored(str(tmp_path / "x.mltk.zip"), tmp_path / "new")
    assert ["x.mltk.zip"] == os.listdir(tmp_path)


def test_a_damaged_member_leaves_nothing(tmp_path: Path) -> None:
    """An archive whose last member turns out to be damaged leaves nothing of the first."""
    wrong: dict[str, int | bytes] = {"crc": 1}
    entries = [Entry("kws.py", SPEC.encode()), Entry("provenance.json", told())]
    data = zipped(*entries, Entry("z/last", central=wrong, local=wrong))
    (tmp_path / "x.mltk.zip").write_bytes(data)
    with pytest.raises(StageError, match="damaged"):
        restored(str(tmp_path / "x.mltk.zip"), tmp_path / "new")
    assert ["x.mltk.zip"] == os.listdir(tmp_path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a whole archive."""
    return Path(packed(tmp_path_factory.mktemp("good"), added={"docs/a.txt": "a"})).read_bytes()


@settings(deadline=None, max_examples=150, database=None)
@given(st.lists(st.tuples(st.integers(0), st.integers(0, 7)), min_size=1, max_size=2))
def test_flipped_bits_harm_nothing(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, flips: list[tuple[int, int]]
) -> None:
    """A damaged archive unpacks as a whole or not at all, and never beside the folder."""
    folder = tmp_path_factory.mktemp("flips")
    data = bytearray(good)
    for position, bit in flips:
        data[position % len(data)] ^= 1 << bit
    (folder / "kws.mltk.zip").write_bytes(data)
    try:
        names = restored(str(folder / "kws.mltk.zip"), folder / "new")
    except MltkError:
        assert ["kws.mltk.zip"] == os.listdir(folder)
        return
    assert {"kws.mltk.zip", "new"} == set(os.listdir(folder))
    assert {*names, *OWN} == set(files_below(folder / "new"))


# -- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `mltk unpack` in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(archives.unpack, arguments, standalone_mode=False)

    return call


def test_unpack_says_what_it_made(tmp_path: Path, called: Callable[..., Result]) -> None:
    """The command names the sources, warns of the code in them, and tells what to type next; again, it refuses."""
    packed(tmp_path, added={"docs/a.txt": ""})
    result = called("kws.mltk.zip")
    assert (
        "made kws with the model kws\n"
        "  docs/a.txt\n"
        "  helpers/audio.py\n"
        "  models/kws.py\n"
        "  models/parts.py\n"
        "  artifacts/kws/: 7 artifacts as in the archive\n"
        "warning: building it runs the Python code that was in the archive; read it before, if it isn't yours\n"
        "next: cd kws && mltk status\n"
    ) == result.output
    again = called("kws.mltk.zip")
    assert isinstance(again.exception, UsageError)
    assert str(tmp_path / "kws") == again.exception.where
    assert called("kws.mltk.zip", "other one").output.endswith("next: cd 'other one' && mltk status\n")


@pytest.mark.parametrize("name", ["missing.mltk.zip", "kws.zip", "."])
def test_unpack_wants_an_archive(called: Callable[..., Result], name: str) -> None:
    """What is no archive by its name, or isn't there, is an error of usage."""
    assert isinstance(called(name).exception, UsageError)


@pytest.mark.real
def test_a_built_model_comes_back(tmp_path: Path) -> None:
    """A built archive unpacks to a workspace that lists the model and builds the same `.tflite` bytes."""
    assert 0 == command("mltk", "init", "demo", cwd=tmp_path).code
    demo = Files(tmp_path / "demo")
    demo.edit("models/digits_v1.py", "my_model.epochs = 40", "import parts\nmy_model.epochs = parts.EPOCHS")
    demo.write("models/parts.py", "EPOCHS = 1\n")
    assert 0 == command("mltk", "build", cwd=demo.root).code
    names = restored(str(demo.root / "models/digits_v1.mltk.zip"), tmp_path / "copy")
    assert {"models/digits_v1.py", "models/parts.py"} == {name for name in names if not name.startswith("artifacts/")}
    assert "digits_v1  models/digits_v1.py" in command("mltk", "list", cwd=tmp_path / "copy").out
    copy = tmp_path / "copy"
    assert 0 == command("mltk", "build", cwd=copy, workers="warm").code
    for first, second in (
        (demo.root / "models/digits_v1.mltk.zip", copy / "models/digits_v1.mltk.zip"),
        (copy / "artifacts/digits_v1/digits_v1.tflite", copy / "build/digits_v1/digits_v1.tflite"),
    ):
        assert first.read_bytes() == second.read_bytes()
    archive = str(demo.root / "models/digits_v1.mltk.zip")
    refused = command("mltk", "evaluate", archive, cwd=tmp_path)
    assert (2, True) == (refused.code, "--trust" in refused.err)
    evaluated = command("mltk", "evaluate", archive, "--trust", cwd=tmp_path, workers="warm")
    summary = (copy / "build/digits_v1/eval/tflite/summary.txt").read_text(encoding="utf-8")
    assert (0, True) == (evaluated.code, summary in evaluated.out)
    assert "FULLY_CONNECTED" in command("mltk", "profile", archive, cwd=tmp_path, workers="warm").out
