"""The API in a notebook: the documentation's own, and a kernel that has TensorFlow loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from mltkbuild.stages.table import BUILT

from ..conftest import ENVIRONMENT, REPOSITORY, Files, tiny_spec

NOTEBOOK = REPOSITORY / "docs/train_model.ipynb"

TF_CELLS = (
    "import tensorflow as tf\nimport parts\nbefore = tf.keras.Sequential([tf.keras.layers.Dense(1)])\nbefore.name",
    "from mltkbuild import load_mltk_model, train_model\nresults = train_model('kws', quantize=False, show=True)",
    "print(len(results.epochs), results.keras_model.count_params(), before.name)",
    "print(load_mltk_model('kws').batch_size, parts.SIZE, tf.random.uniform([2]).shape)",
    "Path = __import__('pathlib').Path\nPath('models/parts.py').write_text('SIZE = 16')\n"
    "print(load_mltk_model('kws').batch_size, len(train_model('kws', quantize=False).epochs))",
)

UP_TO_DATE = f"up to date: {len(BUILT)} stages"


def execute(notebook: Any, folder: Path) -> Any:
    """Run a notebook in a kernel of its own and give it with its outputs."""
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**ENVIRONMENT, "TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython")})
    return notebook


def outputs(cell: Any) -> str:
    """What a cell shows, as text; the types of what is no text."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts += [output.get("text", ""), data.get("text/plain", ""), *(kind for kind in data if "image" in kind)]
    return "\n".join(texts)


def test_notebook_is_committed_without_outputs() -> None:
    """The notebook holds no results, no times and no paths of a machine."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert {(None, 0)} == {(cell.execution_count, len(cell.outputs)) for cell in cells if cell.cell_type == "code"}
    assert not any(cell.metadata for cell in cells)


@pytest.mark.real
def test_notebook_of_the_documentation(tmp_path: Path) -> None:
    """Every cell runs; what is up to date costs nothing, an edit runs what it reaches, pictures are shown."""
    cells = execute(nbformat.read(NOTEBOOK, as_version=4), tmp_path).cells
    shown = {cell.source: outputs(cell) for cell in cells if cell.cell_type == "code"}

    def of(part: str, number: int = 0) -> str:
        return [text for source, text in shown.items() if part in source][number]

    assert "['digits_v1']" in of("list_mltk_models")
    assert ("image/png" in of("show=True"), "val_accuracy" in of("show=True")) == (True, True)
    assert UP_TO_DATE in shown['results = train_model("digits_v1")']
    assert "train.batch_size: 32 -> 64" in of("batch_size")
    assert ("train:" in of("8x8"), "params:digits_v1" in of("8x8")) == (False, True)
    assert 2 == of("tflite=True").count("CONV_2D")
    assert ("overall accuracy" in of("generate_summary"), "image/png" in of("generate_summary")) == (True, True)
    assert "predicted [" in of("keras_model")
    assert UP_TO_DATE in of('mltkbuild.cli.main", "build')


@pytest.mark.real
def test_kernel_that_has_tensorflow_loaded(tmp_path: Path) -> None:
    """TensorFlow, and a module of the workspace, may be loaded before; both stay as they are."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.write("models/parts.py", "SIZE = 8\n")
    files.spec(
        "kws",
        tiny_spec().replace("import keras\n", "import keras\nimport parts\n") + "my_model.batch_size = parts.SIZE\n",
    )
    cells = [nbformat.v4.new_code_cell(source) for source in TF_CELLS]
    cells[0].source = "import sys\nsys.path.append('models')\n" + cells[0].source
    done = execute(nbformat.v4.new_notebook(cells=cells), files.root).cells
    assert "image/png" in outputs(done[1])
    printed = [out.text for cell in done[2:] for out in cell.outputs if out.get("name") == "stdout"]
    assert ["2 10 sequential\n", "8 8 (2,)\n", "16 2\n"] == printed
    assert os.path.exists(files.root / "build/kws/kws.keras")
