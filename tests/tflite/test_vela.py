"""What Vela expects: figures, operators left to the processor, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mltkbuild.errors import StageError, UsageError
from mltkbuild.tflite import vela

from .test_profile import IMAGE, Op, dense, handmade


@pytest.fixture(autouse=True)
def _installed() -> None:
    """Skip where the extra isn't installed."""
    try:
        vela.accelerators()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def tflite(tmp_path: Path) -> Path:
    """An int8 model whose output's name has a comma."""
    path = tmp_path / "-model.tflite"
    path.write_bytes(dense(name="scores, all of them"))
    return path


def test_a_quantized_model_has_figures(tflite: Path) -> None:
    """Cycles, time, memory and MACs are those of one dense layer."""
    found = vela.estimate(tflite)
    (step,) = found.passes
    assert ("FullyConnected", "NPU", 32, "scores, all of them") == (step.original, step.target, step.macs, step.name)
    assert (32, 1, 0) == (found.macs, found.npu_operators, found.cpu_operators)
    assert min(found.cycles, found.milliseconds, found.sram_bytes, found.flash_bytes) > 0
    assert found.milliseconds * 1e-3 * 500e6 == pytest.approx(found.cycles)


def test_the_same_model_gives_the_same_estimate(tflite: Path) -> None:
    """An estimate has no clock in it."""
    assert vela.estimate(tflite) == vela.estimate(tflite)


def test_nothing_is_left_and_nothing_is_said(
    tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Vela's files vanish and its words are kept back."""
    monkeypatch.chdir(tmp_path)
    vela.estimate(Path(tflite.name))
    assert [tflite] == list(tmp_path.iterdir())
    assert ("", "") == tuple(capfd.readouterr())


def test_accelerators_differ(tflite: Path) -> None:
    """A system, a memory mode and an accelerator that are asked for are the ones of the estimate."""
    found = vela.estimate(tflite, "ethos-u55-256", system="Ethos_U55_Deep_Embedded", memory_mode="Sram_Only")
    assert ("ethos-u55-256", "Ethos_U55_Deep_Embedded", "Sram_Only") == (
        found.accelerator,
        found.system,
        found.memory_mode,
    )
    larger = vela.estimate(tflite, "ethos-u85-256")
    assert larger.dram_bytes > 0
    assert "\nDRAM  " in vela.as_text(larger)


def test_a_float_model_is_left_to_the_processor(tmp_path: Path) -> None:
    """What isn't quantized takes no cycle of the accelerator, and the text names it."""
    (tmp_path / "float.tflite").write_bytes(handmade([IMAGE, IMAGE], [Op("LOGISTIC", (0,), (1,))], [0], [1]))
    found = vela.estimate(tmp_path / "float.tflite")
    assert (0, 0, 1) == (found.cycles, found.npu_operators, found.cpu_operators)
    assert "on the CPU  Sigmoid\n" in vela.as_text(found)


def test_copies_and_clamps_are_told_apart() -> None:
    """A copy and a split-off clamp are extra; an activation that the model has itself is not."""
    passes = [("Concat", "MemoryCopy"), ("Conv2D", "Relu"), ("Relu", "Relu"), ("Conv2D", "Conv2D")]
    found = [vela.Pass(original, operator, "NPU", 1, 1, "x").is_extra for original, operator in passes]
    assert [True, True, False, False] == found


def test_a_document_has_a_version(tflite: Path) -> None:
    """The document survives JSON and names its format."""
    found = json.loads(json.dumps(vela.as_json(vela.estimate(tflite)), allow_nan=False))
    assert (1, "ethos-u55-128", 32) == (found["version"], found["accelerator"], found["passes"][0]["macs"])


def test_an_unknown_accelerator_is_refused(tflite: Path) -> None:
    """The error lists those that Vela knows."""
    with pytest.raises(UsageError, match="doesn't know this accelerator") as caught:
        vela.estimate(tflite, "ethos-u99")
    assert "'ethos-u99'" == caught.value.found
    assert "ethos-u55-128" in str(caught.value.fix)
    assert vela.DEFAULT in vela.accelerators()


def test_an_unknown_memory_mode_is_quoted(tflite: Path) -> None:
    """Vela's own message is the one that is found."""
    with pytest.raises(StageError, match="Vela can't compile the model") as caught:
        vela.estimate(tflite, memory_mode="Nowhere")
    assert "Memory_Mode.Nowhere not found" in str(caught.value.found)
    assert str(tflite) == caught.value.where


@pytest.mark.parametrize("content", [b"", b"hello", dense()[:300]])
def test_a_damaged_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """Bytes on which Vela would crash don't reach it."""
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(StageError, match=r"\.tflite"):
        vela.estimate(tmp_path / "bad.tflite")


def test_a_missing_package_is_named(tflite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Vela the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "ethosu.vela.architecture_features", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        vela.estimate(tflite)
    assert "run `pip install 'mltkbuild[vela]'`" == caught.value.fix
