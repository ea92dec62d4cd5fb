"""A platform without TensorFlow Lite Micro: everything is built, nothing counts as proven, and each place says so."""

from __future__ import annotations

import json
import os
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from mltkbuild.tflite import graph, micro, params, predict, profile, proof
from mltkbuild.tflite.tflite_model import TfliteModel

from ..conftest import REPOSITORY, Files, command
from .test_micro import dense_model

# Python runs it when it starts, also in every worker: as if pip had not installed the package.
HIDE = """
import importlib.metadata, sys
sys.modules["tflite_micro"] = None
find = importlib.metadata.version
def version(name):
    if name.replace("_", "-") == "tflite-micro":
        raise importlib.metadata.PackageNotFoundError(name)
    return find(name)
importlib.metadata.version = version
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine for which the package is not built."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interpreter in this process."""
    monkeypatch.setattr(micro, "version", lambda name: "none")


@pytest.mark.real
def test_a_build_elsewhere_says_what_is_not_proven_and_one_here_proves_it(
    workspace: Files, elsewhere: dict[str, str]
) -> None:
    """Quantize, evaluate, profile and archive run without the package; where it appears they run once more."""
    workspace.tiny()
    result = command("mltk", "build", "kws", cwd=workspace.root, env=elsewhere)
    assert 0 == result.code, result.err
    told = result.out + result.err
    assert proof.NOT_PROVEN in told
    assert proof.TO_PROVE in told
    assert predict.ON_REFERENCE in told
    assert "the arena is unknown" in told
    build = workspace.root / "build/kws"
    tflm = json.loads((build / "tflm.json").read_text(encoding="utf-8"))
    assert (False, None, None) == (tflm["proven"], tflm["runs"], tflm["arena"])
    assert proof.NOT_PROVEN == tflm["problem"]
    assert "runtime_memory_size" not in params.extract((build / "kws.tflite").read_bytes())
    assert predict.REFERENCE in (build / "eval/tflite/summary.txt").read_text(encoding="utf-8")
    assert "unknown: TensorFlow Lite Micro is not installed" in (build / "profile.txt").read_text(encoding="utf-8")
    assert (workspace.root / "models/kws.mltk.zip").exists()
    before = json.loads((build / "eval/tflite/results.json").read_text(encoding="utf-8"))

    again = command("mltk", "build", "kws", cwd=workspace.root, env={"PYTHONPATH": str(REPOSITORY)})
    assert 0 == again.code, again.err
    assert "tflite-micro" in again.out + again.err
    tflm = json.loads((build / "tflm.json").read_text(encoding="utf-8"))
    assert (True, True) == (tflm["proven"], tflm["runs"])
    assert tflm["arena"]["total"] == params.extract((build / "kws.tflite").read_bytes())["runtime_memory_size"]
    assert predict.REFERENCE not in (build / "eval/tflite/summary.txt").read_text(encoding="utf-8")
    assert before == json.loads((build / "eval/tflite/results.json").read_text(encoding="utf-8"))
    assert "unknown" not in (build / "profile.txt").read_text(encoding="utf-8")


@pytest.mark.real
def test_file_commands_elsewhere_say_so(workspace: Files, elsewhere: dict[str, str], tmp_path: Path) -> None:
    """Commands on files work without the package, and none of them passes over it."""
    path = tmp_path / "dense.tflite"
    path.write_bytes(dense_model())
    np.savez(tmp_path / "data.npz", x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 0, 1]))
    profiled = command("mltk", "profile", str(path), cwd=workspace.root, env=elsewhere)
    assert 0 == profiled.code, profiled.err
    assert "unknown: TensorFlow Lite Micro is not installed" in profiled.out
    evaluated = command(
        "mltk", "evaluate", str(path), "--data", str(tmp_path / "data.npz"), cwd=workspace.root, env=elsewhere
    )
    assert 0 == evaluated.code, evaluated.err
    assert predict.ON_REFERENCE in evaluated.out
    exported = command("mltk", "export", str(path), "-o", str(tmp_path / "out"), cwd=workspace.root, env=elsewhere)
    assert 0 == exported.code, exported.err
    texts = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "out").glob("*.h"))
    assert "TensorFlow Lite Micro is not installed" in texts


@pytest.mark.usefixtures("absent")
def test_profile_without_the_interpreter_has_no_arena() -> None:
    """What an operator costs is counted anyway."""
    found = profile.profile(dense_model(), "dense")
    assert found.arena is None
    assert "not installed" in (found.problem or "")
    assert found.macs > 0


def test_the_error_comes_whole_out_of_a_worker() -> None:
    """Its kind and its place survive the way between processes."""
    error = micro.not_here()
    error.where = "model.tflite"
    copy = pickle.loads(pickle.dumps(error))
    assert (micro.NotHere, "model.tflite", str(error)) == (type(copy), copy.where, str(copy))


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("mode", [proof.ERROR, "warn"])
def test_proof_without_the_interpreter_is_told_and_no_error(mode: str) -> None:
    """Nothing is known of the model, which is neither a proof nor a refusal."""
    found = proof.prove(dense_model(), mode=mode)
    assert (False, None, proof.NOT_PROVEN) == tuple(found.facts[name] for name in ("proven", "runs", "problem"))
    assert (f"{proof.NOT_PROVEN}: {proof.TO_PROVE}",) == found.notes


def test_predictions_are_those_of_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A converted model predicts with LiteRT's reference kernels what TensorFlow Lite Micro would."""
    path = tmp_path / "dense.tflite"
    path.write_bytes(dense_model())
    x = np.random.default_rng(1).normal(size=(5, *graph.read(dense_model()).inputs[0].shape[1:])).astype(np.float32)
    proven = TfliteModel(path).predict(x)
    monkeypatch.setattr(micro, "version", lambda name: "none")
    assert proven.tolist() == TfliteModel(path).predict(x).tolist()
    with pytest.raises(micro.NotHere, match="not installed"):
        micro.run_all(path, [x])


def test_the_package_is_asked_for_where_it_is_built() -> None:
    """An installation elsewhere must not fail for want of a wheel."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (asked,) = (name for name in project["project"]["dependencies"] if name.startswith(micro.PACKAGE))
    marker = Requirement(asked).marker
    assert marker is not None
    places = {("linux", "x86_64"): True, ("linux", "aarch64"): False, ("darwin", "arm64"): False}
    found = {place: marker.evaluate({"sys_platform": place[0], "platform_machine": place[1]}) for place in places}
    assert places == found
