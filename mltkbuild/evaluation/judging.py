"""What the outputs of a model are, asked of their targets, and how good its answers are: batch by batch.

Of an output whose targets are classes the labels and the scores are kept, for curves need all of them; of others sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mltkbuild.errors import DataError
from mltkbuild.evaluation import evaluate
from mltkbuild.evaluation.documents import ClassifierResults, Figure, MetricResults, Results
from mltkbuild.evaluation.parity import Comparison, Parity, compare
from mltkbuild.evaluation.rates import require_finite, rounded, significant
from mltkbuild.tflite.predict import no_samples

KERAS, TFLITE = "keras", "tflite"
Answers = Mapping[str, Sequence[np.ndarray]]
"""By kind of model an array an output, of shape `(n, ...)`."""


class Errors:
    """How far answers are from targets of their shape, axes of length 1 aside, in running sums."""

    def __init__(self) -> None:
        self._fits = True
        self._count = 0
        self._squares = self._distances = 0.0
        self._binary = True
        self._outside = False
        self._right = {0.5: 0, 0.0: 0}

    def add(self, answers: np.ndarray, targets: np.ndarray) -> None:
        """Take the next batch, arrays of shape `(n, ...)`."""
        given, wanted = _squeezed(answers), _squeezed(targets)
        self._fits = self._fits and given.shape == wanted.shape
        if not self._fits:
            return
        self._count += given.size
        self._squares += float(((given - wanted) ** 2).sum())
        self._distances += float(np.abs(given - wanted).sum())
        self._binary = self._binary and bool(np.isin(wanted, (0, 1)).all())
        if self._binary:
            self._outside = self._outside or bool((given < -0.001).any() or (given > 1.001).any())
            for threshold in self._right:
                self._right[threshold] += int(((given > threshold) == (wanted == 1)).sum())

    def metrics(self, *, labels: bool) -> dict[str, Figure]:
        """The mean errors to 6 significant digits; none where the shapes differ.

        Args:
            labels: Whether targets that are all 0 or 1 are labels, several a sample, of which `binary_accuracy` tells
                the share that is on its side of 0.5, or of 0 for logits.
        """
        if not self._fits or not self._count:
            return {}
        found: dict[str, Figure] = {}
        if labels and self._binary:
            found["binary_accuracy"] = rounded(self._right[0.0 if self._outside else 0.5] / self._count)
        found["mean_squared_error"] = significant(self._squares / self._count)
        found["mean_absolute_error"] = significant(self._distances / self._count)
        return found


def _squeezed(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), *(size for size in values.shape[1:] if size != 1))


class Output:
    """One output of a model: its targets say whether it is a classifier's.

    Args:
        scale: The quantization step of the `.tflite`'s; 0.0 for none.
        classes: The labels, where the spec says that it is a classifier's.
        several_labels: Says whether a sample of that may have several of them, or none.
    """

    def __init__(
        self, scale: float, classes: Sequence[str] | None = None, *, several_labels: Callable[[], bool] = bool
    ) -> None:
        self._scale = scale
        self._classes = classes
        self._several_labels = several_labels
        self._labels: list[np.ndarray] = []
        self._kept: dict[str, list[np.ndarray]] = {}
        self._errors: dict[str, Errors] = {}
        self._comparison = Comparison(scale)
        self._may_be_classes = True
        self._width = 0

    def add(self, y: Any, answers: Mapping[str, np.ndarray]) -> None:
        """Take the next batch: its targets, None for none, and each model's answers.

        Raises:
            DataError: The targets name no class of a classifier.
            StageError: An answer isn't finite.
        """
        for found in answers.values():
            require_finite(found)
        first = next(iter(answers.values()))
        self._width = int(np.prod(first.shape[1:]))
        ids = self._ids(y)
        if ids is None:
            self._forget_classes()
            self._compare(answers)
        else:
            self._labels.append(ids)
            for kind, found in answers.items():
                self._kept.setdefault(kind, []).append(np.asarray(found, np.float32))
        if y is not None:
            for kind, found in answers.items():
                self._errors.setdefault(kind, Errors()).add(found, y)

    def _ids(self, y: Any) -> np.ndarray | None:
        if y is None or not self._may_be_classes:
            return None
        if not self._classes:
            return evaluate.ids_of(np.asarray(y), self._width)
        try:
            return evaluate.labels_of(y, len(self._classes))
        except DataError:
            if self._several_labels():
                return None
            raise

    def _forget_classes(self) -> None:
        """Targets that were classes so far are none: what was kept is compared and let go."""
        self._may_be_classes = False
        kept, self._kept, self._labels = self._kept, {}, []
        for column in zip(*kept.values(), strict=True):
            self._compare(dict(zip(kept, column, strict=True)))

    def _compare(self, answers: Mapping[str, np.ndarray]) -> None:
        if KERAS in answers and TFLITE in answers:
            self._comparison.add(answers[KERAS], answers[TFLITE])

    @property
    def class_count(self) -> int:
        """How many classes the output has; 0 for one that is no classifier's."""
        if not self._labels:
            return 0
        return len(self._classes) if self._classes else max(self._width, 2)

    def classified(self, kind: str, names: Sequence[str]) -> ClassifierResults:
        """What a model gets right, by class."""
        scores = evaluate.scores_of(np.concatenate(self._kept[kind]), self.class_count)
        return evaluate.classifier_results(np.concatenate(self._labels), scores, names)

    def metrics(self, kind: str) -> dict[str, Figure]:
        """A model's figures without classes: `accuracy` of targets that are classes, errors where shapes agree."""
        errors = self._errors[kind].metrics(labels=not self._labels and self._width > 1) if self._errors else {}
        if not self._labels:
            return errors
        scores = evaluate.scores_of(np.concatenate(self._kept[kind]), self.class_count)
        return {"accuracy": rounded(float(np.mean(scores.argmax(axis=1) == np.concatenate(self._labels)))), **errors}

    def parity(self, names: Sequence[str] | None) -> Parity:
        """How well both models agree; with the names of the classes, where it has some."""
        if not self._labels:
            return self._comparison.result()
        exact, found = (np.concatenate(self._kept[kind]) for kind in (KERAS, TFLITE))
        labels = np.concatenate(self._labels)
        return compare(exact, found, scale=self._scale, classes=names, labels=labels if names else None)


class Judge:
    """All outputs of a model.

    Args:
        names: Their names, in Keras' order.
        scales: Their quantization steps in the `.tflite`.
        classes: The class labels that the spec or the file has; None for none.
        is_classifier: Whether the one output is a classifier's, of these classes.
        by_targets: Whether it is one without them where its targets are classes.
        several_labels: Says whether a sample of that may have several of them, or none.
    """

    def __init__(  # noqa: PLR0913  # what is known of the outputs, each by its name
        self,
        names: Sequence[str],
        scales: Sequence[float],
        classes: Sequence[str] | None,
        *,
        is_classifier: bool,
        by_targets: bool = False,
        several_labels: Callable[[], bool] = bool,
    ) -> None:
        self._classes = classes
        self._is_classifier = is_classifier and len(names) == 1
        self._by_targets = by_targets
        given = classes if self._is_classifier else None
        self._outputs = {
            name: Output(scale, given, several_labels=several_labels) for name, scale in zip(names, scales, strict=True)
        }
        self.count = 0

    def add(self, targets: Sequence[Any] | None, answers: Answers) -> None:
        """Take the next batch.

        Args:
            targets: An array an output, or None for one that has none; None for none at all.
            answers: What each model gave.

        Raises:
            DataError: The targets name no class of a classifier; names the output of several.
            StageError: An answer isn't finite.
        """
        given = targets if targets is not None else [None] * len(self._outputs)
        for place, (output, y) in enumerate(zip(self._outputs.values(), given, strict=True)):
            output.add(y, {kind: found[place] for kind, found in answers.items()})
        self.count += len(next(iter(answers.values()))[0])

    def results(self, kind: str, compiled: Mapping[str, Figure] | None = None) -> Results:
        """The document of a model.

        Args:
            kind: Which one.
            compiled: Its own metrics, which have their places beside those that are counted here.

        Raises:
            DataError: There are no samples.
        """
        if not self.count:
            raise no_samples()
        more = compiled or {}
        outputs = list(self._outputs.values())
        if len(outputs) == 1 and outputs[0].class_count and (self._is_classifier or self._by_targets):
            return outputs[0].classified(kind, self._names_of(outputs[0]))
        if len(outputs) == 1:
            return {"n_samples": self.count, "metrics": {**outputs[0].metrics(kind), **more}}
        sections = {name: self._section(name, kind) for name in self._outputs}
        metrics = {
            f"{name}_{metric}": value for name, section in sections.items() for metric, value in _told(section).items()
        }
        return {"n_samples": self.count, "metrics": {**metrics, **more}, "outputs": sections}

    def _section(self, name: str, kind: str) -> ClassifierResults | MetricResults:
        output = self._outputs[name]
        if output.class_count:
            return output.classified(kind, self._names_of(output))
        return {"n_samples": self.count, "metrics": output.metrics(kind)}

    def _names_of(self, output: Output) -> list[str]:
        """The labels of an output's classes: the spec's, where they are of this output alone, else numbers."""
        alike = [one for one in self._outputs.values() if one.class_count == output.class_count]
        if self._classes and len(self._classes) == output.class_count and len(alike) == 1:
            return list(self._classes)
        return [str(number) for number in range(output.class_count)]

    @property
    def knows_classes(self) -> bool:
        """Whether the labels that were given are those of an output."""
        known = (one for one in self._outputs.values() if one.class_count)
        return any(self._names_of(one) == list(self._classes or ()) for one in known)

    def parities(self) -> dict[str, Parity]:
        """How well both models agree, by output."""
        told = self._is_classifier or self._by_targets or len(self._outputs) > 1
        return {
            name: output.parity(self._names_of(output) if told and output.class_count else None)
            for name, output in self._outputs.items()
        }


def _told(section: ClassifierResults | MetricResults) -> Mapping[str, Figure]:
    """The figures of one output that stand in the table of all."""
    return section["metrics"] if "metrics" in section else {"accuracy": section["overall_accuracy"]}
