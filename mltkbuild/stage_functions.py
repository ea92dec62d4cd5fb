"""Which function runs a stage in a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mltkbuild import (
    assembling,
    assembling_archive,
    assembling_data,
    assembling_evaluate,
    assembling_tflite,
    assembling_train,
    assembling_view,
)
from mltkbuild.stage_runs import StageRun

RUNS: Mapping[str, Callable[[StageRun], None]] = {
    "spec": assembling.make_slices,
    "data": assembling_data.load_data,
    "train": assembling_train.train_model,
    "quantize": assembling_tflite.quantize,
    "params": assembling_tflite.params,
    "evaluate": assembling_evaluate.evaluate_model,
    "profile": assembling_tflite.profile,
    "export": assembling_tflite.export,
    "view_data": assembling_view.view_data,
    "archive": assembling_archive.archive,
}
