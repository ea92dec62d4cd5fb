"""Compares the audio front end with MLTK's native one: spectrograms of three number types, and the activity detector.

    python tests/peers/mltk_frontend.py FOLDER

FOLDER is a virtual environment with silabs-mltk 0.20. The exit code is 1 when the detector answers otherwise for any
recording, or when more than 1 % of the values of a spectrogram differ under some settings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mltkbuild.data import frontend
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "DC notch": {"dc_notch_filter_enable": True},
    "detector": {
        "activity_detection_alpha_a": 0.3,
        "activity_detection_alpha_b": 0.9,
        "activity_detection_arm_threshold": 0.9,
        "activity_detection_trip_threshold": 0.9,
    },
    "40 channels": {"filterbank_n_channels": 40, "window_step_ms": 20, "window_size_ms": 30},
    "noise reduction": {"noise_reduction_enable": True},
    "PCAN": {"noise_reduction_enable": True, "pcan_enable": True},
    "dynamic scale": {"quantize_dynamic_scale_enable": True},
    "notch, 30 dB": {
        "dc_notch_filter_enable": True,
        "dc_notch_filter_coefficient": 0.9,
        "quantize_dynamic_scale_enable": True,
        "quantize_dynamic_scale_range_db": 30.0,
    },
    "8 kHz": {"sample_rate_hz": 8000, "filterbank_upper_band_limit": 3800.0, "sample_length_ms": 2000},
}
TYPES = ("uint16", "int8", "float32")
THEIRS = """
import json, sys
import numpy as np
from mltk.core.preprocess.audio.audio_feature_generator import AudioFeatureGenerator, AudioFeatureGeneratorSettings
recordings = np.load(sys.argv[1] + "/recordings.npy")
for case, values in json.loads(sys.argv[2]).items():
    settings = AudioFeatureGeneratorSettings()
    settings.activity_detection_enable = True
    for name, value in values.items():
        setattr(settings, name, value)
    found = {kind: [] for kind in ("uint16", "int8", "float32", "active")}
    for samples in recordings:
        for kind in ("int8", "float32", "uint16"):
            generator = AudioFeatureGenerator(settings)
            found[kind].append(generator.process_sample(samples, dtype=np.dtype(kind).type))
        found["active"].append(bool(generator.activity_was_detected()))
    np.savez(f"{sys.argv[1]}/{case}.npz", **{kind: np.stack(rows) for kind, rows in found.items()})
"""


def recordings() -> Iterator[np.ndarray]:
    """A second at 16 kHz each: noise, tones that begin, steps up and down, changing loudness, an offset, silence."""
    rng = np.random.default_rng(3)
    time = np.arange(16000) / 16000
    yield rng.normal(0, 500, 16000)
    for begin in (4000, 8000, 12000):
        burst = rng.normal(0, 100, 16000)
        burst[begin : begin + 2000] += 8000 * np.sin(2 * np.pi * 700 * time[:2000])
        yield burst
    step = rng.normal(0, 2000, 16000)
    yield step * np.where(time < 0.5, 0.05, 1.0)
    yield step * np.where(time < 0.5, 1.0, 0.05)
    for _ in range(20):
        yield rng.normal(0, 3000, 16000) * np.abs(np.interp(time, np.linspace(0, 1, 12), rng.normal(0, 1, 12)))
    yield rng.normal(0, 300, 16000) + 3000
    yield np.zeros(16000)


def compare(case: str, samples: np.ndarray, theirs: Any) -> bool:
    """Print how far both are apart under some settings; say whether it is little enough."""
    settings = dict(AudioFeatureGeneratorSettings(activity_detection_enable=True, **CASES[case]))
    differ = sum(
        frontend.activity_was_detected(one, settings) != active
        for one, active in zip(samples, theirs["active"], strict=True)
    )
    parts = []
    for kind in TYPES:
        ours = np.stack([frontend.spectrogram(tf.constant(one), settings, kind).numpy() for one in samples])
        apart = np.abs(ours - theirs[kind].astype(np.float64))
        parts.append((float((apart > 0).mean()), float(apart.max())))
    told = ", ".join(f"{kind} {part:.2%} by up to {most:g}" for kind, (part, most) in zip(TYPES, parts, strict=True))
    active = int(theirs["active"].sum())
    sys.stdout.write(f"{case}: {len(samples)} recordings, {active} active, {differ} otherwise here; {told}\n")
    return not differ and all(part <= 0.01 for part, _ in parts)


def main(folder: str) -> int:
    """Run both sides and give the exit code."""
    samples = np.stack([np.clip(np.round(one), -32768, 32767).astype(np.int16) for one in recordings()])
    # Without this setting MLTK's native code ends its process on processors that have AMX.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    with tempfile.TemporaryDirectory(prefix="mltkbuild-frontend-") as name:
        np.save(f"{name}/recordings.npy", samples)
        command = (f"{folder}/bin/python", "-c", THEIRS, name, json.dumps(CASES))
        subprocess.run(command, check=True, env=environment, capture_output=True)
        good = [compare(case, samples, np.load(f"{name}/{case}.npz")) for case in CASES]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
