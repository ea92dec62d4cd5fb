"""How far each layer of a quantized model is off, and the second quantizer."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.errors import StageError
from mltkbuild.tflite import graph, micro, quantization_report

from .test_micro import run_python

COMPARE = """
from mltkbuild.tflite import quantization_report
Path(sys.argv[1], "float").mkdir()
exact = make("ds_cnn", sys.argv[1] + "/float", optimizations=[], inference_input_type="float32",
             inference_output_type="float32")
found = make("ds_cnn", sys.argv[1])
generator = np.random.default_rng(3)
samples = [generator.normal(size=(49, 10, 1)).astype("float32") for _ in range(60)]
rows = quantization_report.compare(exact, found, samples)
quantization_report.write(Path(sys.argv[1]), "ds_cnn", rows)
"""


@pytest.mark.real
def test_each_layer_s_error_is_told(tmp_path: Path) -> None:
    """The table has a row for each operator that both models have, with errors of about its own step."""
    run_python(COMPARE, str(tmp_path))
    with open(tmp_path / "quantization_report.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    model = graph.read((tmp_path / "ds_cnn.tflite").read_bytes())
    assert len(rows) > len(model.main.operators) // 2
    assert {"CONV_2D", "DEPTHWISE_CONV_2D"} <= {row["operator"] for row in rows}
    for row in rows:
        assert 0 < float(row["rmse"]) <= float(row["max_error"])
        assert abs(float(row["mean_error"])) <= float(row["rmse"]) * 1.0001
        assert float(row["rmse"]) < 20 * float(row["scale"])
        assert float(row["sqnr_db"]) > 5
    assert (tmp_path / "quantization_report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.real
def test_models_that_share_no_tensor_can_t_be_compared(tmp_path: Path) -> None:
    """Files with other names of tensors are an error, not an empty table."""
    run_python('make("ds_cnn", sys.argv[1]); make("autoencoder", sys.argv[1])', str(tmp_path))
    sample = [np.zeros((49, 10, 1), np.float32)]
    with pytest.raises((StageError, ValueError)):
        quantization_report.compare(tmp_path / "autoencoder.tflite", tmp_path / "ds_cnn.tflite", sample)


@pytest.mark.real
def test_the_second_quantizer_makes_int8(tmp_path: Path) -> None:
    """ai-edge-quantizer quantizes the same model, ends too, and it runs on TensorFlow Lite Micro."""
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        pytest.skip("the extra ai-edge-quantizer is not installed")
    text = """
import json
path = make("ds_cnn", sys.argv[1], backend="ai-edge-quantizer")
first = path.read_bytes()
print(json.dumps(first == make("ds_cnn", sys.argv[1], backend="ai-edge-quantizer").read_bytes()))
"""
    assert json.loads(run_python(text, str(tmp_path)))
    content = (tmp_path / "ds_cnn.tflite").read_bytes()
    model = graph.read(content)
    assert ("int8", "int8") == (model.inputs[0].dtype, model.outputs[0].dtype)
    assert micro.Micro(content).arena().total > 0


@pytest.mark.real
def test_the_second_quantizer_is_asked_for_by_name(tmp_path: Path) -> None:
    """Without the package the error names the extra."""
    text = """
from mltkbuild.errors import MltkError
sys.modules["ai_edge_quantizer"] = None
try:
    make("autoencoder", sys.argv[1], backend="ai-edge-quantizer")
except MltkError as error:
    print(repr(str(error)))
"""
    assert "pip install 'mltkbuild[ai-edge-quantizer]'" in run_python(text, str(tmp_path))
