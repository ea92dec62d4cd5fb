"""Folders of samples through the build: what is passed over or mended is told, counted and shown."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from mltkbuild.data import wav_claims
from mltkbuild.engine.builder import Builder
from mltkbuild.errors import DataError, MltkError
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running
from ..data.recordings import RATE, tone, write_stripes, write_tones
from ..data.test_prepared import AUDIO, IMAGES

pytestmark = pytest.mark.real

SKIP = "my_model.epochs = 2\nmy_model.bad_samples = 'skip'"


def workspace(root: Path, text: str) -> Files:
    files = Files(root)
    files.write("dodo.py", "")
    files.spec(text=text)
    return files


def build(files: Files, executor: Processes, *stages: str) -> dict[str, tuple[str, ...]]:
    """Bring stages up to date, and give the notes of those that ran."""
    builder = Builder(files.workspace, Running(executor.run))
    try:
        built = {stage: builder.build("kws", stage) for stage in stages}
    finally:
        builder.close()
    return {stage: tuple(one.notes) for stage, one in built.items() if one.reasons}


def facts(files: Files) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files.root / "build/kws/.records/data.json").read_text(encoding="utf-8"))
    return dict(found["facts"])


def test_files_passed_over_are_told_counted_and_shown(tmp_path: Path, executor: Processes) -> None:
    """The build says what it didn't read, its record and the page of the data set too, also after a file was added."""
    files = workspace(tmp_path, IMAGES)
    data = write_stripes(files.root / "data", ["down", "across"], 12)
    for name in ("across/1.heic", "across/2.heic", "down/notes.txt", "down/.hidden.txt"):
        (data / name).write_bytes(b"no picture that we read")
    Image.new("LA", (16, 16), (0, 0)).save(data / "down/clear.png")
    stages = ("spec", "data", "view_data")
    told = build(files, executor, *stages)["data"]
    assert told[-1] == "3 files passed over: 2 .heic, 1 .txt"
    assert "1 sample with transparent parts; they are seen over white: down/clear.png" in told
    assert {".heic": 2, ".txt": 1} == facts(files)["passed_over"]
    page = (files.root / "build/kws/data_view.html").read_text(encoding="utf-8")
    for words in ("passed over as no samples: .heic</strong> (2): across/1.heic, across/2.heic", "seen over white"):
        assert words in page
    assert {} == build(files, executor, *stages)
    (data / "across/3.heic").write_bytes(b"")
    again = build(files, executor, *stages)
    assert ["data", "view_data"] == list(again)
    assert "4 files passed over: 3 .heic, 1 .txt" == again["data"][-1]
    assert ".heic</strong> (3)" in (files.root / "build/kws/data_view.html").read_text(encoding="utf-8")


def test_folder_of_a_dataset_mixin_is_told_as_well(tmp_path: Path, executor: Processes) -> None:
    """A folder that `DatasetMixin` reads is read and told as one of the image mixin."""
    text = IMAGES.replace("ImageDatasetMixin", "DatasetMixin")
    begin = text.index("my_model.datagen")
    files = workspace(tmp_path, text[:begin] + "my_model.validation_split = 0.2\n")
    data = write_stripes(files.root / "data", ["down", "across"], 12)
    (data / "down/notes.txt").write_text("no picture")
    wide = np.full((16, 16), 256, np.uint16)
    Image.fromarray(wide).save(data / "down/wide.tif")
    notes = build(files, executor, "spec", "data", "view_data")["data"]
    assert "1 file passed over: 1 .txt" in notes
    assert {".txt": 1} == facts(files)["passed_over"]
    assert 25 == sum(facts(files)["samples"][subset] for subset in ("training", "validation"))
    assert "down/notes.txt" in (files.root / "build/kws/data_view.html").read_text(encoding="utf-8")


def test_headers_that_claim_what_is_not_so(tmp_path: Path, executor: Processes) -> None:
    """A damaged rate is its file's error, which can be skipped; what can be mended is told once, with names."""
    files = workspace(tmp_path, AUDIO)
    data = write_tones(files.root / "data", ["low", "high"], 12)
    for name, rate in (("low/000.wav", 0x7FFFFFFF), ("low/001.wav", 100_000_000), ("high/002.wav", 1)):
        content = (data / name).read_bytes()
        place = content.index(b"fmt ") + 12
        (data / name).write_bytes(content[:place] + struct.pack("<I", rate) + content[place + 4 :])
    content = (data / "high/003.wav").read_bytes()
    place = content.index(b"data") + 4
    (data / "high/003.wav").write_bytes(content[:place] + bytes(4) + content[place + 4 :])
    (data / "high/004.wav").write_bytes((data / "high/004.wav").read_bytes()[:3000])
    soundfile.write(data / "low/005.wav", tone(410.0) * 4, RATE, subtype="FLOAT")
    soundfile.write(data / "low/006.wav", np.full(2400, np.nan, np.float32), RATE, subtype="FLOAT")
    soundfile.write(data / "low/007.mp3", tone(420.0), RATE, format="MP3")
    with pytest.raises(MltkError) as caught:
        build(files, executor, "spec", "data")
    assert isinstance(caught.value, DataError)
    assert "data/high/002.wav" == caught.value.where
    files.edit("models/kws.py", "my_model.epochs = 2", SKIP)
    told = build(files, executor, "spec", "data")["data"]
    assert 4 == facts(files)["bad"]
    assert any(line.startswith("4 bad samples left out; the first: ") for line in told), told
    for line in (
        f"1 sample {wav_claims.NO_LENGTH}: high/003.wav",
        f"1 sample {wav_claims.CUT}: high/004.wav",
        "1 sample beyond full scale in what the file holds; clipped there: low/005.wav",
    ):
        assert line in told
    assert {"low": 10, "high": 11} == {label: kept(files).count(label) for label in ("low", "high")}


def kept(files: Files) -> list[str]:
    """The class of each sample that was prepared, for training and validation."""
    found: list[str] = []
    for subset in ("training", "validation"):
        description = json.loads((files.root / f"build/kws/data/features/{subset}.json").read_text(encoding="utf-8"))
        found += [name.partition("/")[0] for name in description["names"]]
    return found


def test_damaged_background_noise_is_named(tmp_path: Path, executor: Processes) -> None:
    """A recording that is mixed in is named if it is damaged, with what helps; hidden ones aren't read."""
    mixed = "loudness_range=(0.5, 1.5), bg_noise_range=(0.1, 0.2), bg_noise_dir='noise'"
    files = workspace(tmp_path, AUDIO.replace("offset_range=(0.5, 0.5)", mixed))
    data = write_tones(files.root / "data", ["low", "high"], 12)
    write_tones(data, ["noise"], 2)
    (data / "noise/._000.wav").write_bytes(b"a shadow of some system")
    (data / "noise/README.md").write_text("about the noise")
    assert "1 file passed over: 1 .md" in build(files, executor, "spec", "data")["data"]
    (data / "noise/000.wav").write_bytes(b"RIFF....WAVE")
    with pytest.raises(MltkError) as caught:
        build(files, executor, "spec", "data")
    assert "data/noise/000.wav" == caught.value.where
    assert "background noise" in str(caught.value.fix)
