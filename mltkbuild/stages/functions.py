"""Which function runs a stage in a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mltkbuild.stages import archive, data, evaluate, preflight, spec, tflite, train, view_data
from mltkbuild.stages.stage_run import StageRun

RUNS: Mapping[str, Callable[[StageRun], None]] = {
    "spec": spec.make_slices,
    "data": data.load_data,
    "preflight": preflight.check,
    "train": train.train_model,
    "quantize": tflite.quantize,
    "params": tflite.params,
    "evaluate": evaluate.evaluate_model,
    "profile": tflite.profile,
    "export": tflite.export,
    "view_data": view_data.view_data,
    "archive": archive.archive,
}
