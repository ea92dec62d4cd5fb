"""What a stage would read now: sources, noticed files and properties, libraries, the toolchain's policy."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltkbuild.disk import store
from mltkbuild.disk.folder import Folder
from mltkbuild.disk.inputs import CODE, FILE, LIBRARY, OPTION, PROPERTY, REVISION, TEXT, TOOL, Input, parse
from mltkbuild.disk.records import Record
from mltkbuild.engine import sources, target_state
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.freshness import Reason
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import SpecError
from mltkbuild.fingerprint.toolchain import version
from mltkbuild.stages.table import BUILT

from ..conftest import SPEC, Fakes, Files, Running, bring

TRAINS = ["spec", "preflight", "train", "quantize", "params", "evaluate", "profile", "archive"]


@pytest.fixture(autouse=True)
def _new_process() -> None:
    """Forget which files the folders hold, as a new process does."""
    sources.forget_folders()


def again(files: Files, fakes: Fakes, target: str = "kws") -> list[str]:
    """Build as a new process does, and say which stages ran."""
    sources.forget_folders()
    return bring(files, fakes, target)


def state_of(files: Files, target: str = "kws") -> TargetState:
    """A target's state as a new build has it."""
    return Builder(files.workspace, Running(Fakes())).state(target)


def subjects(reasons: tuple[Reason, ...]) -> list[str]:
    """What the reasons are about."""
    return [reason.subject for reason in reasons]


# -- sources ---------------------------------------------------------------------------------------------------------


def test_sources_are_read_once(workspace: Files) -> None:
    """A build sees the spec and its modules as they were when it first read them."""
    target = state_of(workspace)
    before = dict(target.sources.texts)
    workspace.edit("models/parts.py", "WIDTH = 8", "WIDTH = 9")
    assert (before, {"models/kws.py", "models/parts.py"}) == (target.sources.texts, set(before))
    assert state_of(workspace).sources.texts != before


def test_threads_read_the_same_sources(workspace: Files) -> None:
    """Threads that ask for the sources at once all get the one reading."""
    target = state_of(workspace)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(target.sources)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [True] * 8 == [item is found[0] for item in found]


def test_spec_that_is_not_utf_8_is_an_error_with_its_place(workspace: Files) -> None:
    """A spec in another encoding is refused with its path and what to do."""
    (workspace.root / "models/kws.py").write_bytes(b"# @mltk_model \xff\n")
    with pytest.raises(SpecError) as caught:
        _ = state_of(workspace).sources
    assert ("models/kws.py", "save it as UTF-8 text") == (caught.value.where, caught.value.fix)


def test_spec_with_a_syntax_error_is_its_own_closure(workspace: Files) -> None:
    """A spec that can't be parsed is left to its stage to report."""
    workspace.edit("models/kws.py", "import parts", "import (")
    assert {"models/kws.py"} == set(state_of(workspace).sources.texts)


def test_spec_that_moves_is_dirty_even_if_the_old_file_stays(built_workspace: Files, fakes: Fakes) -> None:
    """A spec is the marked file of its name: another one in another folder is another spec."""
    text = (built_workspace.root / "models/kws.py").read_text(encoding="utf-8")
    built_workspace.edit("models/kws.py", "# @mltk_model", "# it has moved")
    built_workspace.write("models/new/kws.py", text.replace("batch_size = 32", "batch_size = 64"))
    assert list(BUILT) == again(built_workspace, fakes)
    assert [] == again(built_workspace, fakes)


def test_new_module_in_an_earlier_folder_hides_the_old(workspace: Files, fakes: Fakes) -> None:
    """A helper that would now be imported in the place of the recorded one makes the spec dirty."""
    (workspace.root / "models/parts.py").rename(workspace.root / "parts.py")
    workspace.edit("parts.py", '"..", "samples"', '"samples"')
    bring(workspace, fakes)
    text = (workspace.root / "parts.py").read_text(encoding="utf-8")
    workspace.write("models/parts.py", text.replace("WIDTH = 8", "WIDTH = 9").replace('"samples"', '"..", "samples"'))
    assert "spec" in again(workspace, fakes)
    assert [] == again(workspace, fakes)


def test_package_that_hides_a_module_is_noticed(built_workspace: Files, fakes: Fakes) -> None:
    """A package beside a file of the same name is what is imported from then on."""
    text = (built_workspace.root / "models/parts.py").read_text(encoding="utf-8")
    built_workspace.write("models/parts/__init__.py", text.replace("WIDTH = 8", "WIDTH = 9").replace('".."', '"../.."'))
    assert "spec" in again(built_workspace, fakes)
    assert [] == again(built_workspace, fakes)


def test_module_that_hides_a_bare_folder_is_noticed(workspace: Files, fakes: Fakes) -> None:
    """A file beside a folder of the same name, which is a package without `__init__.py`, is imported from then on."""
    workspace.write("models/pkg/sizes.py", "WIDTH = 8\n")
    optional = "import parts\ntry:\n    import pkg.sizes as sizes\nexcept ImportError:\n    sizes = None\n"
    workspace.edit("models/kws.py", "import parts\n", optional)
    workspace.edit("models/kws.py", "width = parts.WIDTH", "width = sizes.WIDTH if sizes else 1")
    bring(workspace, fakes)
    workspace.write("models/pkg.py", "")
    assert "spec" in again(workspace, fakes)
    assert [] == again(workspace, fakes)


def test_module_that_comes_to_a_package_is_noticed(workspace: Files, fakes: Fakes) -> None:
    """A module that a spec would take if its package had it makes the spec dirty when the package gets it."""
    workspace.write("models/pkg/__init__.py", "WIDTH = 8\n")
    optional = "import parts\ntry:\n    from pkg import local\nexcept ImportError:\n    local = None\n"
    workspace.edit("models/kws.py", "import parts\n", optional)
    workspace.edit("models/kws.py", "width = parts.WIDTH", "width = local.WIDTH if local else parts.WIDTH")
    bring(workspace, fakes)
    workspace.write("models/pkg/local.py", "WIDTH = 9\n")
    assert TRAINS == again(workspace, fakes)
    assert [] == again(workspace, fakes)


def test_new_file_beside_the_spec_is_no_reason(built_workspace: Files, fakes: Fakes) -> None:
    """Another model, a data file or a module that nobody imports changes nothing."""
    built_workspace.write("models/other.py", "X = 1\n")
    built_workspace.write("models/notes.txt", "notes\n")
    built_workspace.spec("second", SPEC)
    assert [] == again(built_workspace, fakes)


# -- what was noticed ------------------------------------------------------------------------------------------------


def test_files_that_user_code_reads_are_inputs(built_workspace: Files) -> None:
    """The record of the data stage names the folder that the loader lists and the files that it opens."""
    record = state_of(built_workspace).record("data")
    assert record is not None
    names = {parse(name).subject for name in record.inputs if parse(name).kind == FILE}
    assert {"samples/training", *(f"samples/training/{number}.txt" for number in range(3))} == names


@pytest.mark.parametrize("place", ["samples/training/1.txt", "samples/training"])
def test_file_that_is_gone_is_a_reason(place: str, built_workspace: Files) -> None:
    """A missing file or folder that was read is named as the reason."""
    path = built_workspace.root / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Input(FILE, place).name in subjects(state_of(built_workspace).reasons("data"))


def test_data_outside_the_workspace_is_an_input(workspace: Files, fakes: Fakes, tmp_path: Path) -> None:
    """A file elsewhere on the disk counts like one inside."""
    outside = tmp_path / "elsewhere.txt"
    outside.write_text("1", encoding="utf-8")
    workspace.edit("models/parts.py", "    folder = ", f"    Path({str(outside)!r}).read_text()\n    folder = ")
    bring(workspace, fakes)
    outside.write_text("2", encoding="utf-8")
    assert [Input(FILE, str(outside)).name] == subjects(state_of(workspace).reasons("data"))


def test_property_that_a_stage_reads_beyond_its_slice_is_an_input(workspace: Files, fakes: Fakes) -> None:
    """A loader that reads a training property makes the data depend on it."""
    workspace.edit(
        "models/kws.py", "return parts.read_samples(subset), parts.SCALE", "return [my_model.batch_size], parts.SCALE"
    )
    bring(workspace, fakes)
    record = state_of(workspace).record("data")
    assert record is not None
    assert {"batch_size"} == {parse(name).subject for name in record.inputs if parse(name).kind == PROPERTY}
    workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    assert ["spec", "data", *TRAINS[1:]] == bring(workspace, fakes)


def test_property_without_a_digest_counts_by_the_whole_code(built_workspace: Files) -> None:
    """A property that can't be digested stands for every line of the spec's code."""
    target = state_of(built_workspace)
    record = target.record("spec")
    assert record is not None
    properties = record.facts["properties"]
    assert isinstance(properties, Mapping)
    assert "default" == target.property_digest("no such property")
    target.assume(replace(record, facts={**record.facts, "properties": {"odd": None}}))
    whole = target.property_digest("odd")
    inputs = {
        name: "other" if name == Input(CODE, "models/kws.py").name else digest for name, digest in record.inputs.items()
    }
    target.assume(replace(record, inputs=inputs, facts={"properties": {"odd": None}}))
    assert whole != target.property_digest("odd")


def test_property_of_a_spec_that_never_ran_is_unknown(workspace: Files) -> None:
    """Without a record of the spec stage no property has a digest."""
    assert state_of(workspace).property_digest("epochs") is None


# -- versions --------------------------------------------------------------------------------------------------------


def versions(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str]) -> None:
    """Let packages have versions that no test machine has."""
    monkeypatch.setattr(target_state, "version", lambda package: found.get(package) or version(package))


BEFORE = {"python": "3.12.1", "tensorflow": "2.21.0", "keras": "3.15.0"}
TOOL_STAGES = ["spec", "preflight", "train", "quantize", "evaluate"]


@pytest.mark.parametrize(
    ("policy", "package", "newer", "expected"),
    [
        ("minor", "keras", "3.15.9", []),
        ("minor", "keras", "3.16.0", TOOL_STAGES),
        ("minor", "python", "3.12.9", []),
        ("minor", "python", "3.13.0", TOOL_STAGES),
        ("exact", "keras", "3.15.1", TOOL_STAGES),
        ("exact", "tensorflow", "2.21.0", []),
        ("ignore", "tensorflow", "3.0.0", []),
        ("ignore", "python", "3.13.0", []),
    ],
)
def test_toolchain_policy_says_how_exactly_a_version_counts(  # noqa: PLR0917  # one row of a table
    policy: str,
    package: str,
    newer: str,
    expected: list[str],
    workspace: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer Python, TensorFlow or Keras makes dirty what the policy lets it: minor, exact or ignore."""
    workspace.write("pyproject.toml", f'[tool.mltkbuild]\ntoolchain = "{policy}"\n')
    versions(monkeypatch, BEFORE)
    bring(workspace, Fakes())
    versions(monkeypatch, {**BEFORE, package: newer})
    target = state_of(workspace)
    found = {stage: subjects(target.reasons(stage)) for stage in BUILT}
    assert {stage: [Input(TOOL, package).name] if stage in expected else [] for stage in BUILT} == found


def test_library_that_the_spec_reaches_counts_exactly(workspace: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of a library that the spec's code uses makes the spec dirty, whatever the policy."""
    workspace.write("pyproject.toml", '[tool.mltkbuild]\ntoolchain = "ignore"\n')
    bring(workspace, Fakes())
    versions(monkeypatch, {"click": "99.0"})
    assert [Input(LIBRARY, "click").name] == subjects(state_of(workspace).reasons("spec"))


def test_changed_policy_is_a_change_of_version(workspace: Files) -> None:
    """What a version counts as is what is compared, so a stricter policy runs the stages once."""
    bring(workspace, Fakes())
    workspace.write("pyproject.toml", '[tool.mltkbuild]\ntoolchain = "exact"\n')
    assert TOOL_STAGES == [stage for stage in BUILT if state_of(workspace).reasons(stage)]


# -- options ---------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(epochs=st.integers(1, 50))
def test_option_counts_where_it_differs_from_the_spec(epochs: int, options_state: TargetState) -> None:
    """An option with the spec's own value is no option; any other is an input of its stage."""
    inputs = options_state.inputs("train", None, {"epochs": epochs})
    assert (None if epochs == 10 else str(epochs)) == inputs.get(Input(OPTION, "epochs").name)
    assert Input(OPTION, "epochs").name not in options_state.inputs("quantize", None, {"epochs": epochs})


@pytest.fixture
def options_state(workspace: Files) -> TargetState:
    """The state of a built model."""
    bring(workspace, Fakes())
    return state_of(workspace)


def test_dry_run_takes_no_options(workspace: Files) -> None:
    """A dry run trains one epoch, whatever is asked."""
    bring(workspace, Fakes(), "kws-test")
    assert () == state_of(workspace, "kws-test").reasons("train", {"epochs": 3})


# -- records and artifacts -------------------------------------------------------------------------------------------


def test_archive_reads_every_artifact_and_every_byte_of_the_sources(built_workspace: Files) -> None:
    """What the archive holds is what it depends on."""
    target = state_of(built_workspace)
    inputs = target.inputs("archive", target.record("archive"))
    made = [target.record(stage) for stage in BUILT if stage not in ("archive", "preflight")]
    names = {name for record in made if record is not None for name in record.artifacts}
    assert names | {
        Input(TEXT, "models/kws.py").name,
        Input(TEXT, "models/parts.py").name,
        REVISION,
    } == set(inputs)


def test_judging_reads_and_writes_nothing_new(built_workspace: Files) -> None:
    """Judging a fresh target leaves its workspace as it was."""
    before = {path: os.stat(path).st_mtime_ns for path in built_workspace.root.rglob("*")}
    target = state_of(built_workspace)
    assert {()} == {target.reasons(stage) for stage in BUILT}
    assert target.sources_if_read is None
    assert before == {path: os.stat(path).st_mtime_ns for path in built_workspace.root.rglob("*")}


def test_damage_counts_artifacts_alone(built_workspace: Files) -> None:
    """Whether a stage's artifacts are intact has nothing to do with what it would read now."""
    built_workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    target = state_of(built_workspace)
    assert ((), True) == (target.damage("spec"), bool(target.reasons("spec")))
    (built_workspace.root / "build/kws/summary.txt").write_text("edited", encoding="utf-8")
    assert ["artifact changed"] == [reason.kind for reason in target.damage("spec")]


def test_records_may_be_judged_while_they_are_read_anew(
    built_workspace: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that judges puts a record where it found the others, which a build in another one has just left."""
    target = state_of(built_workspace)
    assert target.record("spec") is not None
    before, load = target._records, store.load_record

    def judged(folder: Folder, stage: str) -> Record | None:
        before[f"{stage} of another thread"] = None
        return load(folder, stage)

    monkeypatch.setattr(store, "load_record", judged)
    target.reload()
    assert ["spec"] == list(target._records)
