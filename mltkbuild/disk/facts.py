"""The facts of a record, by name and type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Facts(TypedDict, total=False):
    """What stages leave in their records for people and for judging later, each some of these, as JSON values."""

    # the spec stage
    properties: Mapping[str, str | None]
    deterministic: bool
    distribute: str | None
    outside: Sequence[str]
    packages: Mapping[str, Sequence[str]]
    # data
    samples: Mapping[str, int | None]
    bad: int
    passed_over: Mapping[str, int]
    remarks: Mapping[str, int]
    # train
    epochs: int
    metrics: Mapping[str, float]
    final_epoch: int
    best_epoch: int
    monitor: str
    segments: Sequence[Mapping[str, object]]
    not_exact: str
    # quantize, params, export: sizes
    bytes: int
    float32_bytes: int
    parameters: int
    hash: str
    # evaluate
    keras_accuracy: float | None
    tflite_accuracy: float | None
    keras_auc: float | None
    tflite_auc: float | None
    keras_metrics: Mapping[str, float | None]
    tflite_metrics: Mapping[str, float | None]
    parity: float | None
    kernels: str
    # profile
    macs: int
    flash: int
    arena: int
    # export
    files: int
    operators: int
    vectors: int
    problem: str
    # archive
    members: int
