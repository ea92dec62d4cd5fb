"""The page of a data set as a build makes it, and as Chromium shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mltkbuild.engine.builder import Builder
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running
from ..data.recordings import RATE, write_stripes, write_tones
from ..data.test_prepared import AUDIO, IMAGES

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What the page's own player knows of each recording, and whether each picture is one, left where the DOM shows it.
PROBE = """
<script>
window.addEventListener("load", async () => {
  const sounds = [...document.querySelectorAll("audio")].map(sound => new Promise(done => {
    sound.addEventListener("loadedmetadata", () => done(sound.duration));
    sound.addEventListener("error", () => done(-1));
    sound.preload = "metadata";
    sound.load();
  }));
  const pictures = [...document.images].map(image => [image.naturalWidth, image.naturalHeight]);
  const found = {durations: await Promise.all(sounds), pictures, width: document.documentElement.scrollWidth};
  document.documentElement.dataset.found = JSON.stringify(found);
});
</script>
"""


def page(files: Files, executor: Processes) -> str:
    """The page's text, made by a build."""
    builder = Builder(files.workspace, Running(executor.run))
    for stage in ("spec", "data", "view_data"):
        builder.build("kws", stage)
    builder.close()
    return (files.root / "build/kws/data_view.html").read_text(encoding="utf-8")


@pytest.fixture
def tones(tmp_path: Path) -> Files:
    """A model of tones that are augmented; a recording is in two subsets, one is silent, one overdriven."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=AUDIO.replace("offset_range=(0.5, 0.5)", "loudness_range=(0.5, 1.5)"))
    data = write_tones(files.root / "data", ["low", "high"], 12)
    for subset, name in (("training", "low/000.wav"), ("validation", "low/001.wav")):
        files.edit("models/kws.py", "my_model.epochs", f"SUBSETS[{name!r}] = {subset!r}\nmy_model.epochs")
    files.edit(
        "models/kws.py", "my_model = Tones()", "SUBSETS = {}\nmy_model = Tones()\nmy_model.split_subset = SUBSETS.get"
    )
    shutil.copy(data / "low/000.wav", data / "low/001.wav")
    soundfile.write(data / "high/000.wav", np.zeros(RATE // 4, np.float32), RATE)
    soundfile.write(data / "high/001.wav", np.sign(np.sin(np.arange(RATE // 4))).astype(np.float32), RATE)
    return files


def test_page_names_what_is_odd(tones: Files, executor: Processes) -> None:
    """Duplicates across subsets, silent and clipped recordings; the samples as they are and as training draws them."""
    text = page(tones, executor)
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    assert re.search(r"the same again in validation or evaluation.{0,40}low/001\.wav", told)
    assert re.search(r"silent.{0,40}high/000\.wav", told)
    assert re.search(r"clipped.{0,40}high/001\.wav", told)
    assert {"as it is", "augmented 1", "augmented 2"} <= set(re.findall(r"as it is|augmented \d", told))


def shown(folder: Path, text: str) -> dict[str, object]:
    """What Chromium makes of a page."""
    (folder / "page.html").write_text(text.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    command = (
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-quic", "--enable-logging=stderr"),
        *(f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900", "--virtual-time-budget=20000"),
        *("--dump-dom", (folder / "page.html").as_uri()),
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    result: dict[str, object] = json.loads(found[1].replace("&quot;", '"'))
    return result


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_recordings_play_in_a_browser(tones: Files, executor: Processes, tmp_path: Path) -> None:
    """Each recording has its length for the browser's player, each spectrogram is a picture, nothing is too wide."""
    text = page(tones, executor)
    found = shown(tmp_path, text)
    durations = np.array(found["durations"])
    assert len(durations) == text.count("<audio")
    assert ((durations > 0.2) & (durations < 0.35)).all()
    assert np.array(found["pictures"]).min() > 0
    assert int(str(found["width"])) <= 1200


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_pictures_show_in_a_browser(executor: Processes, tmp_path: Path) -> None:
    """Pictures of each class and subset, before and after augmentation."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=IMAGES)
    write_stripes(files.root / "data", ["down", "across"], 20)
    found = shown(tmp_path, page(files, executor))
    assert ([], True) == (found["durations"], int(str(found["width"])) <= 1200)
    # Of each class four for training and two each for validation and evaluation, each of them three times.
    assert 2 * (4 + 2 + 2) * 3 >= len(np.array(found["pictures"])) > 2 * 4 * 3
