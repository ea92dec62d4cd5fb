"""What a spec's own evaluation gives back, by MLTK's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from mltkbuild.errors import SpecError
from mltkbuild.evaluation import evaluate
from mltkbuild.evaluation.documents import ClassifierResults
from mltkbuild.from_mltk.helpers import DictObject


class EvaluationResults(DictObject):
    """What a spec's own evaluation found.

    Args:
        name: The model's name.
        model_type: What kind it is.
        figures: Further entries.
    """

    def __init__(self, name: str, model_type: str = "generic", **figures: Any) -> None:
        super().__init__(name=name, model_type=model_type, **figures)


class ClassifierEvaluationResults(EvaluationResults):
    """What a spec's own evaluation of a classifier found; the stage writes its report and its pictures.

    Args:
        name: The model's name.
        classes: The labels in the order of the class ids.
        model_type: What kind it is.
        figures: Further entries.
    """

    def __init__(self, name: str, classes: Sequence[str], model_type: str = "classification", **figures: Any) -> None:
        super().__init__(name=name, model_type=model_type, classes=list(classes), **figures)

    def calculate(self, y: Any, y_pred: Any) -> None:
        """Count what was right; the figures are entries then.

        Args:
            y: Class ids of shape (n,) or one-hot rows.
            y_pred: Scores of shape (n, classes), or of shape (n,) for two classes: the probability of the second.

        Raises:
            DataError: There are no samples, or `y` names no classes.
            StageError: `y_pred` doesn't fit the classes.
        """
        count = len(self["classes"])
        scores = evaluate.scores_of(np.asarray(y_pred), count)
        self.update(evaluate.classifier_results(evaluate.labels_of(np.asarray(y), count), scores, self["classes"]))

    @property
    def document(self) -> ClassifierResults:
        """The figures, as the stage writes them.

        Raises:
            SpecError: `calculate` wasn't called.
        """
        if "overall_accuracy" not in self:
            fix = "call results.calculate(y=..., y_pred=...) before the function returns them"
            raise SpecError("the results of eval_custom_function have no figures", fix=fix)
        own = {name: value for name, value in self.items() if name not in ("name", "model_type")}
        return cast(ClassifierResults, own)

    def generate_plots(self, **_: Any) -> None:
        """Nothing: the stage draws them into the same folder."""

    def generate_summary(self) -> str:
        """The accuracy of each class, one a line."""
        accuracies = {"overall": self.document["overall_accuracy"], **self["class_accuracies"]}
        return "\n".join(
            f"{label}: {'-' if value is None else format(value, '.3%')}" for label, value in accuracies.items()
        )
