"""What a Keras model was compiled with, measured batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.data.batches import as_keras_does
from mltkbuild.errors import StageError
from mltkbuild.evaluation.documents import Figure
from mltkbuild.evaluation.rates import significant
from mltkbuild.tflite.predict import no_samples


class CompiledMetrics:
    """The loss and the metrics that a Keras model was compiled with, batch by batch.

    Args:
        keras_model: A compiled model.
        batch_size: How many samples are run at once.
        outputs: The names of its outputs.

    Raises:
        StageError: The model isn't compiled.
    """

    def __init__(self, keras_model: Any, batch_size: int, outputs: Sequence[str] = ()) -> None:
        if not keras_model.compiled:
            raise StageError(
                "the model has no metrics to evaluate",
                found="a model that isn't compiled",
                fix="call keras_model.compile(...) with a loss and metrics where the model is built",
            )
        self._model = keras_model
        self._batch_size = batch_size
        self._loss_names = {f"{name}_loss" for name in outputs} if len(outputs) > 1 else set()
        self._losses: dict[str, float] = {}
        self._count = 0

    def add(self, count: int, x: Any, y: Any) -> None:
        """Take the next samples.

        Args:
            count: How many.
            x: What the model's inputs take, in its structure.
            y: The targets of its outputs, likewise; None for a model whose loss needs none.
        """
        for start in range(0, count, self._batch_size):
            rows = slice(start, min(start + self._batch_size, count))
            given, wanted = (parts.mapped(partial(_rows, rows=rows), part) for part in (x, y))
            before = self._totals() if self._count else {}
            if self._count:
                self._model.test_function(iter([(given, wanted, None)]))
            else:
                # This sets all metrics to zero first.
                self._model.test_on_batch(given, wanted)
            self._add_losses(before, rows.stop - rows.start)
            self._count += rows.stop - rows.start

    def _totals(self) -> dict[str, np.ndarray]:
        """The sum and the weight of each output's loss so far."""
        means = [metric for metric in self._model.metrics if metric.name in self._loss_names]
        return {mean.name: np.array([float(mean.total), float(mean.count)]) for mean in means}

    def _add_losses(self, before: Mapping[str, np.ndarray], count: int) -> None:
        """Weigh the losses of outputs by samples: Keras weighs batches alike, whatever is in them."""
        for name, now in self._totals().items():
            total, weight = now - before.get(name, np.zeros(2))
            self._losses[name] = self._losses.get(name, 0.0) + total / weight * count

    def result(self) -> dict[str, Figure]:
        """A value of 6 significant digits per name; None for one that isn't finite.

        A metric with several values counts them: `f1_score[0]`.

        Raises:
            DataError: There are no samples.
        """
        if not self._count:
            raise no_samples()
        named: dict[str, Figure] = {}
        for name, value in self._model.get_metrics_result().items():
            values = np.ravel(value)
            names = [name] if len(values) == 1 else [f"{name}[{place}]" for place in range(len(values))]
            named.update(zip(names, map(significant, values), strict=True))
        return {**named, **{name: significant(total / self._count) for name, total in self._losses.items()}}


def _rows(array: np.ndarray, rows: slice) -> np.ndarray:
    found: np.ndarray = as_keras_does(array[rows])
    return found
