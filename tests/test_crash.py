"""A kill at every step of a publication, in a process of its own; then the next build."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mltkbuild.disk import store
from mltkbuild.disk.folder import SCRATCH, Folder
from mltkbuild.engine.builder import Builder
from mltkbuild.errors import StageError
from mltkbuild.events import Listener
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import BUILT

from .conftest import Fakes, Files, Running, bring, written
from .disk.faults import (
    STAGE,
    Steps,
    another_file_system,
    die,
    fill,
    folder_in,
    in_memory,
    killed,
    mounted,
    needs_to_run,
    run_stage,
    tree,
    watching,
)

pytestmark = pytest.mark.real
OLD = {"eval/a.json": "old a", "b.txt": "old b", "gone.txt": "old c", "kws.mltk.zip": "old archive"}
NEW = {"eval/a.json": "new a", "b.txt": "new b", "train/d.txt": "new d", "kws.mltk.zip": "new archive"}
EDITED = "edited by somebody"
MOST_STEPS = 500


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for many small builds."""
    with in_memory(tmp_path) as folder:
        yield folder


# -- one stage -------------------------------------------------------------------------------------------------------


def publish_and_die(number: int, folder: Folder, files: Mapping[str, str]) -> None:
    """In a process of its own: run the stage, and die at a step."""
    with watching(Steps(number, die)):
        run_stage(folder, files)


def prepared(root: Path, case: str) -> Folder:
    """The folder of a target as it is before the build that will be killed."""
    folder = folder_in(root)
    if case != "first":
        run_stage(folder, OLD)
    if case == "edited":
        for name in ("b.txt", "gone.txt"):
            Path(folder.artifact(name)).write_text(EDITED, encoding="utf-8")
    return folder


def complete(folder: Folder, case: str) -> None:
    """Assert that whatever has a final name is complete."""
    edited = {EDITED} if case == "edited" else set()
    for name in OLD.keys() | NEW.keys():
        path = Path(folder.artifact(name))
        if path.exists():
            assert path.read_text(encoding="utf-8") in {OLD.get(name), NEW.get(name)} | edited
        else:
            # Only what was edited is away for the moment between being set aside and being replaced.
            kept = Path(folder.artifact(name) + store.CHANGED_SUFFIX)
            assert case == "first" or name not in OLD or name not in NEW or EDITED == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", ["first", "rebuild", "edited"])
def test_kill_at_any_step_of_a_publication_costs_nothing(case: str, place: Path) -> None:
    """At whichever step a publication is killed, no file is torn, and the next build ends in the same tree."""
    reference = prepared(place / "reference", case)
    run_stage(reference, NEW)
    expected = tree(place / "reference")
    ran = []
    for number in range(1, MOST_STEPS):
        root = place / str(number)
        folder = prepared(root, case)
        if not killed(publish_and_die, number, folder, NEW):
            assert not needs_to_run(folder, NEW)
            break
        complete(folder, case)
        ran.append(needs_to_run(folder, NEW))
        complete(folder, case)
        if ran[-1]:
            run_stage(folder, NEW)
        assert expected == tree(root)
        assert not needs_to_run(folder, NEW)
    else:
        raise AssertionError("the publication never ended")
    # Once all files are safely in scratch and the pending record is written, the work is never done again.
    assert sorted(ran, reverse=True) == ran
    assert {True, False} == set(ran)


def test_kill_while_publishing_across_file_systems_costs_nothing(tmp_path: Path) -> None:
    """A kill in the middle of a copy to another file system leaves the old archive, and no copy in the end."""
    other = another_file_system(tmp_path)
    if other is None:
        pytest.skip("this machine has no second file system at hand")
    models = Path(tempfile.mkdtemp(prefix="mltkbuild-test-", dir=other))
    folder = replace(folder_in(tmp_path), archive_dir=str(models))
    try:
        for number in range(1, MOST_STEPS, 2):
            run_stage(folder, OLD)
            survived = not killed(publish_and_die, number, folder, NEW)
            complete(folder, "rebuild")
            if needs_to_run(folder, NEW):
                run_stage(folder, NEW)
            assert ["kws.mltk.zip"] == os.listdir(models)
            assert all(text == Path(folder.artifact(name)).read_text(encoding="utf-8") for name, text in NEW.items())
            if survived:
                return
    finally:
        shutil.rmtree(models)
    raise AssertionError("the publication never ended")


def test_recovery_that_is_killed_is_recovered(place: Path) -> None:
    """A build that finishes what an earlier one began, and is killed at that, leaves work for the next, and no harm."""
    reference = prepared(place / "reference", "rebuild")
    run_stage(reference, NEW)
    first = next(number for number in range(1, MOST_STEPS) if _waits(place / f"search{number}", number))
    for number in range(1, MOST_STEPS):
        root = place / str(number)
        folder = prepared(root, "rebuild")
        assert killed(publish_and_die, first, folder, NEW)
        if not killed(_recover_and_die, number, folder):
            break
        complete(folder, "rebuild")
        assert not needs_to_run(folder, NEW)
        assert tree(place / "reference") == tree(root)
    else:
        raise AssertionError("the recovery never ended")


def _waits(root: Path, number: int) -> bool:
    folder = prepared(root, "rebuild")
    killed(publish_and_die, number, folder, NEW)
    return store.has_pending(folder, STAGE)


def _recover_and_die(number: int, folder: Folder) -> None:
    with watching(Steps(number, die)):
        needs_to_run(folder, NEW)


# -- whole builds ----------------------------------------------------------------------------------------------------


class DyingFakes(Fakes):
    """Fakes in a process that dies at a step of one stage, counted from the end of its body."""

    def __init__(self, stage: str, steps: Steps) -> None:
        super().__init__()
        self.stage = stage
        self.steps = steps

    def __call__(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage, and arm the steps when it is the one."""
        outcome = super().__call__(request, listener)
        if request.stage == self.stage:
            self.steps.count = 0
            self.steps.first = abs(self.steps.first)
        return outcome


def build_and_die(root: Path, stage: str, number: int) -> None:
    """In a process of its own: build, and die at a step of a stage's publication."""
    steps = Steps(-number, die)
    with watching(steps):
        bring(Files(root), DyingFakes(stage, steps))


@pytest.fixture
def begun(built_once: Files) -> Callable[[Path, str], Files]:
    """Makes a workspace as it is before the build that will be killed: nothing built, or all, and then edited."""
    return lambda root, case: written(root) if case == "first" else edited(copy_of(built_once, root))


def copy_of(files: Files, root: Path) -> Files:
    """A workspace at another place."""
    return Files(Path(shutil.copytree(files.root, root)))


def edited(files: Files) -> Files:
    """The workspace after an edit that reaches the spec, training and all that follows."""
    files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    return files


def built(files: Files) -> dict[str, object]:
    """What an uninterrupted build leaves."""
    bring(files, Fakes())
    return build_tree(files)


def build_tree(files: Files) -> dict[str, object]:
    """The tree of a workspace without what a build has learned about files."""
    return {name: content for name, content in tree(files.root).items() if not name.endswith(".memo.json")}


@pytest.mark.parametrize(("case", "stage"), [("first", "data"), ("rebuild", "params")])
def test_killed_build_is_finished_by_the_next(
    case: str, stage: str, place: Path, begun: Callable[[Path, str], Files]
) -> None:
    """After a kill while a stage is published, the next build runs only what is unfinished, to the same end."""
    root = place / "ws"
    expected = built(begun(root, case))
    dirty = list(BUILT)[list(BUILT).index(stage) :]
    seen = []
    for number in range(1, MOST_STEPS, 3):
        shutil.rmtree(root)
        files = begun(root, case)
        assert killed(build_and_die, root, stage, number)
        fakes = Fakes()
        bring(files, fakes)
        seen.append([name.partition(":")[0] for name in fakes.calls])
        assert expected == build_tree(files)
        assert [] == bring(files, Fakes())
        if seen[-1] == dirty[2:]:
            break
    assert [dirty, dirty[1:], dirty[2:]] == [
        ran for number, ran in enumerate(seen) if not number or seen[number - 1] != ran
    ]


def build_and_die_inside(root: Path, stage: str) -> None:
    """In a process of its own: build, and die in the middle of a stage's body, with half of a file written."""

    def half(request: Request) -> None:
        Path(request.scratch, "kws.keras").write_bytes(b"half")
        die("body")

    fakes = Fakes()
    fakes.before[stage] = half
    bring(Files(root), fakes)


@pytest.mark.parametrize("case", ["first", "rebuild"])
@pytest.mark.parametrize("stage", ["spec", "train", "archive"])
def test_kill_inside_a_stage_leaves_the_old_artifacts(
    case: str, stage: str, place: Path, begun: Callable[[Path, str], Files]
) -> None:
    """A stage that is killed at work has published nothing; the next build runs it from its start."""
    root = place / "ws"
    expected = built(begun(root, case))
    shutil.rmtree(root)
    files = begun(root, case)
    before = build_tree(files)
    assert killed(build_and_die_inside, root, stage)
    made = [
        name for name in build_tree(files) if name.endswith(("kws.keras", "kws.mltk.zip")) and ".scratch" not in name
    ]
    assert {name: before.get(name) for name in made if stage != "archive" or name.endswith(".zip")} == {
        name: build_tree(files)[name] for name in made if stage != "archive" or name.endswith(".zip")
    }
    fakes = Fakes()
    bring(files, fakes)
    assert f"{stage}:kws" == fakes.calls[0]
    assert expected == build_tree(files)
    assert not (root / "build/kws" / SCRATCH).exists()


# -- full and read-only disks ----------------------------------------------------------------------------------------


def failing(call: Callable[[], object]) -> StageError | None:
    """The one error that a build on a bad disk may end with; None when it ended well."""
    try:
        call()
    except StageError as error:
        return error
    return None


def test_build_on_a_full_disk_goes_on_when_there_is_space(tmp_path: Path, built_once: Files) -> None:
    """However little space is left, a build is one error or done, tears nothing, and ends right with more space."""
    expected = built(edited(copy_of(built_once, tmp_path / "reference")))
    with mounted(tmp_path / "small", "size=4m,nr_inodes=400"):
        failures = 0
        for pages in range(0, 80, 4):
            shutil.rmtree(tmp_path / "small/ws", ignore_errors=True)
            files = edited(copy_of(built_once, tmp_path / "small/ws"))
            before = build_tree(files)
            ballast = fill(tmp_path / "small", pages * 4096)
            fakes = Fakes()
            error = failing(lambda files=files, run=fakes: bring(files, run))  # type: ignore[misc]  # called at once
            if error is not None:
                failures += 1
                assert (True, True) == ("No space left" in str(error.found), "free some space" in str(error.fix))
            after = {name: content for name, content in build_tree(files).items() if SCRATCH not in name}
            if error is not None and not fakes.calls:
                assert before == after
            ballast.unlink()
            bring(files, Fakes())
            assert expected == build_tree(files)
        assert failures


def test_disk_that_is_full_for_the_archive_alone(tmp_path: Path) -> None:
    """When only the archive's disk is full, the old archive stands, and later the packed one is published as it is."""
    with mounted(tmp_path / "ws/models", "size=64k"):
        folder = folder_in(tmp_path / "ws")
        run_stage(folder, {"kws.mltk.zip": "old" * 10_000})
        error = failing(lambda: run_stage(folder, {"kws.mltk.zip": "new" * 15_000}))
        assert error is not None
        assert (True, "old" * 10_000) == (
            store.KEPT in str(error.fix),
            Path(folder.artifact("kws.mltk.zip")).read_text(),
        )
        assert ["kws.mltk.zip"] == os.listdir(folder.archive_dir)
        again = failing(lambda: needs_to_run(folder, {}))
        assert again is not None
        assert str(error) == str(again)
    os.makedirs(folder.archive_dir, exist_ok=True)
    assert not needs_to_run(folder, {"kws.mltk.zip": "new" * 15_000})
    assert "new" * 15_000 == Path(folder.artifact("kws.mltk.zip")).read_text()


def test_read_only_build_folder_is_one_error_and_judges_all_the_same(tmp_path: Path) -> None:
    """Where nothing can be written, a fresh build says so, a dirty one is one error, and nothing is torn."""
    files = written(tmp_path / "ws")
    with mounted(tmp_path / "ws/build", "size=4m") as again:
        bring(files, Fakes())
        again("ro")
        before = build_tree(files)
        assert [] == bring(files, Fakes())
        edited(files)
        fakes = Fakes()
        error = failing(lambda: bring(files, fakes))
        assert error is not None
        assert ("kws", True, []) == (error.where, "read-only" in str(error.fix), fakes.calls)
        assert before == {**build_tree(files), "models/kws.py": before["models/kws.py"]}
        assert "batch: 64" in Builder(files.workspace, Running(fakes)).inspect("kws")[1]["spec/model.json"].replace(
            '"', ""
        )
        again("rw")
        assert ["spec", *list(BUILT)[2:]] == bring(files, Fakes())
