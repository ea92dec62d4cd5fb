"""What is left of specs that are gone: found, shown, and removed with care."""

from __future__ import annotations

import shutil

import pytest

from mltkbuild.stages.table import BUILT

from ..conftest import SPEC, Fakes, Files, Front, written


@pytest.fixture(scope="module")
def gone_once(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Two built models with their dry runs, of which the spec of `old` is gone."""
    files = written(tmp_path_factory.mktemp("gone") / "ws")
    files.spec("old")
    assert 0 == Front(files, Fakes()).mltk("build", "kws", "kws-test", "old", "old-test").code
    (files.root / "models/old.py").unlink()
    return files


@pytest.fixture
def gone(front: Front, gone_once: Files) -> Front:
    """A copy of the models of which one is gone, for a test of its own."""
    shutil.copytree(gone_once.root, front.files.root, dirs_exist_ok=True)
    return front


def removed(front: Front, *options: str) -> set[str]:
    """Which files `mltk clean --orphans` removes."""
    before = set(front.files.tree())
    assert 0 == front.mltk("clean", "--orphans", *options).code
    return before - set(front.files.tree())


def test_orphans_are_the_targets_without_a_spec(gone: Front) -> None:
    """Folder, records and archive of the model that is gone and of its dry run go; the other model stays whole."""
    before = {path for path in gone.files.tree() if "old" in path}
    out = gone.mltk("clean", "--orphans", "-n").out
    assert [
        *("would remove build/old", "would remove models/old.mltk.zip"),
        *("would remove build/old-test", "would remove models/old-test.mltk.zip"),
    ] == out.splitlines()
    assert set() == removed(gone, "-n")
    assert before == removed(gone)
    assert not (gone.files.root / "build/old").exists()
    assert "no orphans\n" == gone.mltk("clean", "--orphans").out
    assert f"up to date: {len(BUILT)} stages\n" == gone.doit().out


def test_edited_archive_is_nobody_s_orphan(gone: Front) -> None:
    """An archive that is not what was built, or that no build made, stays."""
    gone.files.write("models/old.mltk.zip", "edited")
    gone.files.write("models/other.mltk.zip", "from elsewhere")
    found = removed(gone)
    assert set() == found & {"models/old.mltk.zip", "models/other.mltk.zip"}
    assert "build/old/old.tflite" in found


def test_folder_without_records_stays(gone: Front) -> None:
    """A folder below the build folder that no build made stays, and so does one whose records were forgotten."""
    gone.files.write("build/notes/a.txt", "mine")
    gone.files.write("build/loose.txt", "mine")
    gone.files.write("build/empty/.records/readme.txt", "mine")
    for path in (gone.files.root / "build/old-test/.records").iterdir():
        path.unlink()
    assert set() == {path for path in removed(gone) if path.startswith(("build/notes", "build/loose", "build/empty"))}
    assert (gone.files.root / "build/old-test/old-test.tflite").exists()


def test_files_that_were_set_aside_stay(gone: Front) -> None:
    """What a build kept of somebody's edits outlives the rest of its folder, and is named."""
    gone.files.write("build/old/old.keras.changed", "mine")
    assert "kept build/old/old.keras.changed" in gone.mltk("clean", "--orphans", "-n").out
    assert "build/old/old.keras.changed" not in removed(gone)
    assert ["old.keras.changed"] == [path.name for path in (gone.files.root / "build/old").iterdir()]
    assert "no orphans\n" == gone.mltk("clean", "--orphans").out


@pytest.mark.parametrize("kind", ["problem", "moved"])
def test_model_whose_spec_is_somewhere_is_no_orphan(gone: Front, kind: str) -> None:
    """A name that is taken twice, or a spec that moved to another folder, still counts as a model."""
    gone.files.write("models/sub/old.py", SPEC)
    if kind == "problem":
        gone.files.write("models/more/old.py", SPEC)
    assert set() == removed(gone)


def test_missing_models_folder_makes_no_orphans(gone: Front) -> None:
    """Without the models folder, moved away or misspelt, nothing is removed and the error says why."""
    before = gone.files.tree()
    gone.files.write("pyproject.toml", '[tool.mltkbuild]\nmodels_dir = "modles"\n')
    result = gone.mltk("clean", "--orphans")
    assert (2, "") == (result.code, result.out)
    assert "there is no models folder, so every model would count as gone" in result.err
    assert before.items() <= gone.files.tree().items()


def test_orphan_whose_archive_record_is_damaged_keeps_its_archive(gone: Front) -> None:
    """Without a readable record nobody knows whose archive it is."""
    gone.files.write("build/old/.records/archive.json", "{")
    found = removed(gone)
    assert ("models/old.mltk.zip" in found, "build/old/old.tflite" in found) == (False, True)
