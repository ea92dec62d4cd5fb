"""One side of the pipeline benchmark, in a process of its own: samples a second of one way to feed a training.

    python pipeline_sides.py SIDE KIND FOLDER SECONDS

SIDE is `mltk` (in MLTK's own environment), `mltkbuild` or `plain`; KIND is one of `KINDS`. It prints one line of
JSON: seconds to the first batch, once TensorFlow is loaded, and samples a second of those that follow.
"""

# ruff: noqa: PLC0415  # each side has its own libraries, and the clock runs without their loading
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CLASSES = ["a", "b", "c", "d"]
BATCH = 32
IMAGES = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "brightness_range": (0.6, 1.4),
    "contrast_range": (0.6, 1.4),
    "horizontal_flip": True,
    "samplewise_center": True,
    "samplewise_std_normalization": True,
}
AUDIO = {
    "offset_range": (0.0, 1.0),
    "loudness_range": (0.5, 1.5),
    "trim_threshold_db": 30,
    "bg_noise_range": (0.0, 0.3),
    "bg_noise_dir": "_background_noise_",
}
# What MLTK's spec keyword_spotting_on_off has: speed and pitch are changed, too.
VOICES = {
    "offset_range": (0.0, 1.0),
    "trim_threshold_db": 30,
    "loudness_range": (0.2, 1.0),
    "speed_range": (0.9, 1.1),
    "pitch_range": (0.9, 1.1),
    "bg_noise_range": (0.1, 0.4),
    "bg_noise_dir": "_background_noise_",
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "images": ("images", IMAGES),
    "audio": ("audio", AUDIO),
    "voices": ("audio", VOICES),
}
"""By name the folder of the samples and the settings of the generator."""
FRONT = {"window_size_ms": 30, "window_step_ms": 20, "filterbank_n_channels": 40, "noise_reduction_enable": True}
SIZE = (96, 96)

Batches = Callable[[], Iterator[Any]]


def of_mltk(kind: str, folder: Path) -> Batches:
    """MLTK's parallel generators, with all processors."""
    from mltk.core.preprocess.audio.audio_feature_generator import AudioFeatureGeneratorSettings
    from mltk.core.preprocess.audio.parallel_generator import ParallelAudioDataGenerator
    from mltk.core.preprocess.image.parallel_generator import ParallelImageDataGenerator

    if kind == "images":
        generator: Any = ParallelImageDataGenerator(cores=1.0, max_batches_pending=16, **IMAGES)
        flow = {"target_size": SIZE, "color_mode": "grayscale", "batch_shape": (BATCH, *SIZE, 1)}
    else:
        settings = AudioFeatureGeneratorSettings()
        for name, value in FRONT.items():
            setattr(settings, name, value)
        random = KINDS[kind][1]
        generator = ParallelAudioDataGenerator(cores=1.0, max_batches_pending=16, frontend_settings=settings, **random)
        flow = {}
    flowing = generator.flow_from_directory(
        str(folder / KINDS[kind][0]), classes=CLASSES, class_mode="categorical", batch_size=BATCH, shuffle=True, **flow
    )

    def batches() -> Iterator[Any]:
        while True:
            yield from (flowing[number] for number in range(len(flowing)))

    return batches


def of_mltkbuild(kind: str, folder: Path) -> Batches:
    """What a train stage reads: prepared rows, finished on the fly by `data.batches`."""
    from mltkbuild.data.batches import Batches as Pipeline
    from mltkbuild.data.samples import Samples

    lazy, labels = prepared(kind, folder)
    pipeline = Pipeline(Samples(lazy, labels), BATCH, 42, shuffle=True, steps=None)
    return lambda: pipeline.dataset(0).as_numpy_iterator()


def of_plain(kind: str, folder: Path) -> Batches:
    """The same operations in tf.data by hand: rows in memory, any order, any random numbers."""
    import tensorflow as tf

    lazy, labels = prepared(kind, folder)
    rows = lazy.rows
    if rows.starts is None:
        data: Any = tf.constant(rows.data)
    else:
        data = tf.RaggedTensor.from_row_lengths(tf.constant(rows.data), rows.starts[1:] - rows.starts[:-1])
    every = (data, tf.constant(labels))

    def finish(x: Any, y: Any) -> tuple[Any, Any]:
        bits = tf.random.uniform((tf.shape(y)[0], lazy.transform.draws), -(2**31), 2**31 - 1, tf.int32)
        return lazy.transform.batch(x, tf.argmax(y, axis=1), bits), y

    dataset = tf.data.Dataset.from_tensor_slices(every).shuffle(len(labels), reshuffle_each_iteration=True).repeat()
    batched = dataset.ragged_batch(BATCH) if rows.starts is not None else dataset.batch(BATCH)
    # A ragged batch makes its labels ragged, too, where they are not.
    ready = batched.map(lambda x, y: finish(x, y.to_tensor() if hasattr(y, "to_tensor") else y), tf.data.AUTOTUNE)
    return lambda: ready.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def prepared(kind: str, folder: Path) -> tuple[Any, Any]:
    """The rows that the data stage keeps, made before the clock runs, and their labels."""
    import numpy as np

    from mltkbuild.data import prepared as store
    from mltkbuild.stages import prepare

    model = spec_model(kind)
    plan = prepare.plan_of(model)
    scratch = folder / f"{kind}-prepared"
    preparation = plan.preparation(model, "training", str(folder / KINDS[kind][0]))
    if not scratch.is_dir():
        source = prepare.find(model, str(folder), test=False)
        arguments = ("training", source.of("training"), preparation, source.read)
        store.write(scratch, *arguments, random=True, skip_bad=False, progress=lambda done, count: None)
        store.fit(scratch, preparation)
    lazy = store.load(lambda name: scratch / name, "training", preparation, random=True, settings="")
    return lazy, np.eye(len(CLASSES), dtype=np.float32)[lazy.labels]


def spec_model(kind: str) -> Any:
    """A model as a spec makes it."""
    import mltkbuild

    mixin = mltkbuild.ImageDatasetMixin if kind == "images" else mltkbuild.AudioDatasetMixin

    bases = (mltkbuild.MltkModel, mltkbuild.TrainMixin, mixin, mltkbuild.EvaluateClassifierMixin)
    model: Any = type("Model", bases, {})()
    model.classes, model.dataset = CLASSES, KINDS[kind][0]
    if kind == "images":
        model.input_shape = (*SIZE, 1)
        model.datagen = mltkbuild.ParallelImageDataGenerator(**IMAGES)
    else:
        settings = mltkbuild.AudioFeatureGeneratorSettings(**FRONT)
        model.datagen = mltkbuild.ParallelAudioDataGenerator(frontend_settings=settings, **KINDS[kind][1])
    return model


def main() -> None:
    """Measure one side and print the figures."""
    side, kind, folder, seconds = sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
    import tensorflow as tf

    if side != "mltk":
        if side == "mltkbuild":
            # As the train stage has it by default.
            tf.config.experimental.enable_op_determinism()
        # Preparing is the data stage's work, done once.
        prepared(kind, folder)
    tf.constant(1) + 1
    make = {"mltk": of_mltk, "mltkbuild": of_mltkbuild, "plain": of_plain}[side]
    start = time.perf_counter()
    batches = make(kind, folder)()
    next(batches)
    first = time.perf_counter() - start
    # The first batches come from what was made ahead while nobody waited.
    for _ in range(20):
        next(batches)
    start, count = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < seconds:
        count += len(next(batches)[0])
    sys.stdout.write(json.dumps({"first": first, "rate": count / took}) + "\n")
    sys.stdout.flush()
    # MLTK's worker processes need not be asked.
    os._exit(0)


if __name__ == "__main__":
    main()
