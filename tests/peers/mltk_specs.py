"""Builds the dry runs of MLTK's own specs, on small data sets that are made here in place of those that they download.

    python tests/peers/mltk_specs.py FOLDER WORKSPACE [NAME ...]

FOLDER is a virtual environment with silabs-mltk 0.20, from which the specs are copied into the new folder WORKSPACE;
with names only these are built, in a WORKSPACE that is there. In the copies only what names the data set is changed.
It says for each spec whether its dry run came to an archive, and else the error that ended it; the exit code is 1 when
one of `BUILT` didn't. Their specs need tensorboard, librosa and audiomentations<0.31 beside mltkbuild.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.data.recordings import write_stripes, write_tones

BUILT = (
    *("anomaly_detection", "audio_example1", "autoencoder_example", "basic_example", "basic_tf_dataset_example"),
    *("binary_classification", "conv1d_example", "image_classification", "image_example1", "image_tf_dataset"),
    *("keyword_spotting", "keyword_spotting_on_off", "rock_paper_scissors", "tflite_micro_speech"),
    *("visual_wake_words", "audio_tf_dataset"),
)
WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "cat", "dog", "unknown"]
HANDS = ["rock", "paper", "scissor", "_unknown_"]
FOLDERS = """
from pathlib import Path

CLASSES = {classes}
INPUT_SHAPE = (96, 96, 1)

def load_data(*args, **kwargs):
    return str(Path(__file__).resolve().parent.parent / {folder!r})
"""
ARRAYS = """
import numpy as np

CLASSES = [str(number) for number in range(10)]

def load_data(*args, **kwargs):
    rng = np.random.default_rng(1)
    labels = np.arange({count}) % 10
    pictures = rng.integers(0, 80, ({count}, *{shape}), np.uint8)
    pictures[labels % 2 == 1, :10] += 100
    labels = labels.reshape({labels}).astype("uint8")
    return (pictures[:-500], labels[:-500]), (pictures[-500:], labels[-500:])
"""
MODULES = {
    "made_words": FOLDERS.format(folder="words", classes=WORDS),
    "made_hands": FOLDERS.format(folder="hands", classes=HANDS),
    "made_digits": ARRAYS.format(count=40_000, shape=(28, 28), labels="-1"),
    "made_things": ARRAYS.format(count=3_000, shape=(32, 32, 3), labels="-1, 1"),
}
STAND_INS = {
    "speech_commands_v2": "made_words",
    "rock_paper_scissors_v1": "made_hands",
    "rock_paper_scissors_v2": "made_hands",
    "mnist": "made_digits",
    "fashion_mnist": "made_digits",
    "cifar10": "made_things",
}


def changed(text: str) -> str:
    """A spec with its data sets replaced: made modules, and archives that a folder has."""
    for name, module in STAND_INS.items():
        text = re.sub(rf"from mltk\.datasets\.\S+ import {name}\b", f"import {module} as {name}", text)
    text = re.sub(r"file_hash='[0-9A-F]+'", "file_hash=None", text)
    text = re.sub(r"VERIFY_SHA1 = '[0-9A-F]+'", "VERIFY_SHA1 = None", text)
    return re.sub(r"(\.7z|\.tar\.gz)'", ".zip'", text)


def pictures(folder: Path, classes: list[str], count: int, shape: tuple[int, ...], ending: str) -> None:
    """Noise, brighter from class to class."""
    rng = np.random.default_rng(1)
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            pixels = rng.integers(0, 60, shape) + 15 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{place:03}{ending}")


def heartbeats(folder: Path, classes: list[str], count: int) -> None:
    """Waves of 12 s at 360 samples a second."""
    time = np.arange(12 * 360) / 360
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            wave = 0.5 * np.sin(2 * np.pi * (number + 1 + 0.01 * place) * time)
            soundfile.write(folder / label / f"{place:03}.wav", wave, 360)


def packed(folder: Path, archive: Path) -> None:
    """A folder as an archive."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path(folder.name, path.relative_to(folder)))


def make_data(root: Path) -> None:
    """Write all data sets below a workspace."""
    write_tones(root / "words", WORDS, 100, 0.9)
    write_tones(root / "words", ["_background_noise_"], 2, 3.0)
    write_stripes(root / "hands", HANDS, 24, 96)
    made, mirror = root / "made", root / "mirror"
    mirror.mkdir()
    pictures(made / "toys", ["normal", "abnormal"], 24, (200, 128), ".png")
    pictures(made / "spoken", [*WORDS, "_background_noise_"], 24, (50, 10), ".png")
    pictures(made / "persons", ["person", "non_person"], 400, (96, 96, 3), ".jpg")
    heartbeats(made / "beats", ["1 NSR", "2 APB", "4 AFIB", "7 PVC"], 24)
    archives = {
        "toys": "features_toy_car_all.zip",
        "spoken": "speech_dataset_spec.zip",
        "persons": "vw_coco2014_96.zip",
        "beats": "ekg_waveforms.zip",
    }
    for name, archive in archives.items():
        packed(made / name, mirror / archive)
    rng = np.random.default_rng(1)
    normal = np.arange(200) % 2
    waves = np.sin(np.linspace(0, 12, 140)) * normal[:, None] + rng.normal(0, 0.05, (200, 140))
    # MLTK's spec calls the downloaded file so.
    np.savetxt(mirror / "ecg500.csv", np.column_stack([waves, normal]), delimiter=",")


def make_workspace(theirs: Path, root: Path) -> list[str]:
    """Copy MLTK's specs into a workspace, with data.

    Returns:
        Their names.
    """
    subprocess.run((sys.executable, "-m", "mltkbuild.cli.main", "init", str(root)), check=True, capture_output=True)
    (root / "models" / "digits_v1.py").unlink()
    names = []
    for path in sorted(theirs.glob("lib/python*/site-packages/mltk/models/*/*.py")):
        text = path.read_text(encoding="utf-8")
        if path.parent.name not in ("shared", "tests") and "# @mltk_model" in text:
            (root / "models" / path.name).write_text(changed(text), encoding="utf-8")
            names.append(path.stem)
    for name, text in MODULES.items():
        (root / "models" / f"{name}.py").write_text(text, encoding="utf-8")
    make_data(root)
    return names


def main(theirs: Path, root: Path, chosen: list[str]) -> int:
    """Build and print; give the exit code."""
    names = chosen or make_workspace(theirs, root)
    environment = {**os.environ, "MLTK_DATASETS_MIRROR": str(root / "mirror")}
    targets = [f"archive:{name}-test" for name in names]
    command = (sys.executable, "-m", "doit", "--continue", *targets)
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    (root / "log.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    errors = dict(re.findall(r"^\w+:(\w+)-test .*failed.*\n(error: .*(?:\n  .*)*)", done.stdout + done.stderr, re.M))
    missing = []
    for name in names:
        built = (root / "models" / f"{name}-test.mltk.zip").is_file()
        sys.stdout.write(f"{name}: {'archive' if built else errors.get(name, 'not built')}\n")
        if name in BUILT and not built:
            missing.append(name)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]).resolve(), sys.argv[3:]))
