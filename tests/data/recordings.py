"""Small data sets that tests make: tones by class as wav files, and stripes by class as pictures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

RATE = 8000


def tone(hertz: float, seconds: float = 0.3, rate: int = RATE, *, seed: int = 0) -> np.ndarray:
    """A sine with a little noise, float32 of one dimension."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0.0, 0.01, len(time))
    return np.asarray(0.4 * np.sin(2 * np.pi * hertz * time) + noise, np.float32)


def write_tone(path: Path, hertz: float, seconds: float = 0.3, rate: int = RATE) -> Path:
    """Write a tone; its noise depends on the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hertz, seconds, rate, seed=zlib.crc32(path.name.encode())), rate)
    return path


def write_tones(folder: Path, classes: Sequence[str], count: int, seconds: float = 0.3) -> Path:
    """A folder of tones for each class, each class higher than the one before."""
    for number, label in enumerate(classes):
        for place in range(count):
            write_tone(folder / label / f"{place:03}.wav", 400.0 * (number + 1) + 5.0 * place, seconds)
    return folder


def stripes(across: bool, size: int = 16, *, seed: int = 0) -> np.ndarray:
    """A picture of stripes, uint8 of shape (size, size)."""
    rng = np.random.default_rng(seed)
    line = ((np.arange(size) + int(rng.integers(0, 4))) // 2 % 2 * 160 + 40)[:, None]
    picture = np.broadcast_to(line if across else line.T, (size, size)) + rng.integers(-20, 20, (size, size))
    return np.asarray(picture, np.uint8)


def write_stripes(folder: Path, classes: Sequence[str], count: int, size: int = 16) -> Path:
    """A folder of pictures for each class: stripes down, stripes across, and so on in turn."""
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            picture = stripes(bool(number % 2), size, seed=1000 * number + place)
            Image.fromarray(picture).save(folder / label / f"{place:03}.png")
    return folder
