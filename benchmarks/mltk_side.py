"""MLTK as a benchmark runs it: its virtual environment, what it needs around it, and a spec that it builds, too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = ("silabs-mltk", "tensorflow<2.17", "click<8.2", "typer<0.12")
SPEC = Path(__file__).resolve().parent.parent / "models" / "digits_v1.py"
# MLTK can't take calibration samples from arrays with a validation_split.
CALIBRATION = """

def calibration():
    for image in load_dataset("training", False)[0][:200]:
        yield [image[None]]


my_model.tflite_converter["representative_dataset"] = calibration
"""


def spec_text(imports: str) -> str:
    """The reference model's spec with calibration samples of its own, for MLTK's Keras 2 and for ours.

    Args:
        imports: The module that it takes its classes from.
    """
    text = SPEC.read_text(encoding="utf-8").replace("from mltkbuild import", f"from {imports} import")
    # Keras 2, which MLTK has, lives in TensorFlow.
    text = text.replace("import keras\n", "from tensorflow import keras\n")
    return text.replace("(subset, test):", "(subset, test, **others):") + CALIBRATION


def prepare(folder: Path) -> dict[str, str]:
    """Make the folders that MLTK works in.

    Args:
        folder: The workspace.

    Returns:
        What MLTK's environment has beside that of this process.
    """
    for name in ("models", "cache", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    return {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "MLTK_CACHE_DIR": str(folder / "cache"),
        "MLTK_MODEL_PATHS": str(folder / "models"),
        # MLTK does not survive what oneDNN does on CPUs with AMX.
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
    }


def mltk_command(folder: Path) -> Path:
    """MLTK's command line in its own virtual environment, which is made if it isn't there.

    Raises:
        LookupError: No Python that MLTK runs on.
        OSError: The environment can't be made.
        subprocess.CalledProcessError: Likewise.
    """
    mltk = folder.resolve() / "bin" / "mltk"
    if not mltk.exists():
        print(f"installing MLTK into {folder}", flush=True)
        subprocess.run((_python_for_mltk(), "-m", "venv", folder), check=True)
        subprocess.run((folder / "bin" / "pip", "install", "--quiet", *REQUIREMENTS), check=True)
    told = subprocess.run((mltk, "--version"), check=True, capture_output=True, text=True).stdout
    print(f"MLTK {told.strip()}", flush=True)
    return mltk


def _python_for_mltk() -> str:
    if sys.version_info[:2] in ((3, 10), (3, 11)):
        return sys.executable
    found = shutil.which("python3.11") or shutil.which("python3.10")
    if found is None:
        raise LookupError("MLTK needs Python 3.10 or 3.11, and there is none on the PATH")
    return found
