"""What the Python API gives back: the results of training and of evaluation, and a spec's model in this process."""

from __future__ import annotations

import importlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from mltkbuild.api.which_model import opened_spec
from mltkbuild.disk.digests import digest_of
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import StageError
from mltkbuild.spec.model import MltkModel
from mltkbuild.training import keras_file
from mltkbuild.training.epochs import best_metric
from mltkbuild.user_code.loader import own_objects


def _rebuilt(model: MltkModel) -> Any:
    """The Keras model that a spec builds, with layer names counted from 1 as in a build."""
    # Loaded late: it loads Keras.
    building = importlib.import_module("mltkbuild.training.building")
    building.clear_names()
    return building.called(model.peek("build_model_function"), model)


class TrainingResults:
    """What a training came to.

    Args:
        state: The target, whose train stage is up to date.
        archive: The archive's path if it was brought up to date too.
        model: The spec's model if it is loaded already.

    Attributes:
        epochs: The epochs that ran, counted from 0.
        params: How the fit was called; `params["epochs"]` is how many epochs ran.
        history: For each metric its value after each epoch; None where it was no finite number.
        model_archive_path: The archive; None when the call didn't ask for it.
    """

    def __init__(self, state: TargetState, archive: str | None = None, model: MltkModel | None = None) -> None:
        record = state.record("train")
        if record is None:
            raise _gone(state)
        self._state = state
        self._name = f"{state.target}.keras"
        self._digest = record.artifacts.get(self._name)
        self._model = model
        self._document = _document(state, "train/history.json")
        self.epochs: list[int] = self._document["epochs"]
        self.params: dict[str, Any] = self._document["params"]
        self.history: dict[str, list[float | None]] = self._document["history"]
        self.model_archive_path = archive

    @cached_property
    def mltk_model(self) -> MltkModel:
        """The spec's model, as `load_mltk_model` gives it; the spec runs in this process when this is read first."""
        if self._model is not None:
            return self._model
        with opened_spec(self._state) as (_, model):
            return model

    @cached_property
    def keras_model(self) -> Any:
        """The trained Keras model, compiled; loaded in this process when this is read first.

        Raises:
            StageError: The model has been trained anew or deleted since.
        """
        path = Path(self._state.folder.artifact(self._name))
        if self._digest is None or digest_of(str(path)) != self._digest:
            raise StageError(
                "the model that this training made is no longer there",
                where=str(path),
                found="another model" if path.exists() else "no file",
                fix="read keras_model before the model is trained again, or call train_model once more",
            )
        with opened_spec(self._state) as (snapshot, model):
            self._model = self._model or model
            custom = {**own_objects(snapshot), **model.keras_custom_objects}
            loaded = keras_file.load(
                path,
                custom,
                compiled=True,
                rebuilt=lambda: _rebuilt(model),
                label=snapshot.label,
            )
            if not loaded.compiled:
                # A loss that no file can hold: the spec has it.
                weights, loaded = loaded.get_weights(), _rebuilt(model)
                loaded.set_weights(weights)
            return loaded

    @property
    def pictures(self) -> list[str]:
        """The picture of the history."""
        return [self._state.folder.artifact("train/history.png")]

    def get_best_metric(self) -> tuple[str, float]:
        """The metric that tells most, and its best value.

        That is the spec's `checkpoint["monitor"]` at the epoch that counts as the best, where there is one;
        else the first of val_accuracy, accuracy, val_loss and loss that the history has, else any metric. The best
        value of a loss or an error is its lowest, of an accuracy, AUC, precision, recall or F1 its highest.

        Raises:
            StageError: No metric ever was a finite number.
        """
        document = self._document
        found = best_metric(self.history, len(self.epochs), document.get("monitor"), document.get("best_epoch"))
        if found is None:
            raise StageError("the history has no finite value", where=self._state.folder.artifact("train/history.json"))
        return found

    def asdict(self) -> dict[str, Any]:
        """`epochs`, `params` and `history` as plain values."""
        return {"epochs": self.epochs, "params": self.params, "history": self.history}

    def __repr__(self) -> str:
        name, value = self.get_best_metric()
        return f"<TrainingResults of {self._state.target}: {len(self.epochs)} epochs, best {name} {value:.4g}>"


PICTURES = (
    *("confusion_matrix", "roc", "precision_vs_recall", "tpr_fpr", "thresholds"),
    *("overall_roc", "overall_precision_vs_recall", "class_roc", "histogram"),
)
"""The pictures of an evaluation, as far as its kind of model has them."""


class EvaluationResults(dict[str, Any]):
    """What an evaluation came to: a dict, whose keys are attributes too.

    Every result has `name`, `model_type` and `n_samples`. A classifier's `model_type` is 'classification'; it has
    `classes`, `overall_accuracy`, `class_accuracies`, `precision`, `recall`, `f1`, `confusion_matrix`, `roc_auc`,
    `roc_auc_avg`, and by class the curves `fpr`, `tpr` and `roc_thresholds`. An auto-encoder's type is 'auto_encoder';
    it has `classes`, `overall_accuracy`, `overall_roc_auc`, `threshold`, `overall_roc`, `class_stats` and `histogram`.
    Another model's type is 'generic'; it has `metrics`, and each of them by its name. A model of several outputs has
    `outputs`, too: by the name of each what a model of that output alone would have.

    Args:
        state: The target, whose evaluate stage is up to date.
        kind: 'keras' or 'tflite'.
    """

    def __init__(self, state: TargetState, kind: str) -> None:
        found = _document(state, f"eval/{kind}/results.json")
        if "roc" in found:
            curves = {name: curve for name, curve in found.pop("roc").items() if curve is not None}
            for key, column in (("fpr", "fpr"), ("tpr", "tpr"), ("roc_thresholds", "thresholds")):
                found[key] = {name: curve[column] for name, curve in curves.items()}
        metrics = found.get("metrics", {})
        model_type = "auto_encoder" if "overall_roc" in found else "classification" if "classes" in found else "generic"
        super().__init__({**metrics, **found, "name": state.target, "model_type": model_type})
        self.__dict__["_summary"] = _text(state, f"eval/{kind}/summary.txt")
        folder = Path(state.folder.artifact(f"eval/{kind}"))
        names = (f"{picture}.png" for picture in PICTURES)
        of_outputs = sorted(folder.glob("*/*.png")) if "outputs" in found else []
        self.__dict__["pictures"] = [
            str(path) for path in (*(folder / name for name in names), *of_outputs) if path.exists()
        ]

    def __getattr__(self, name: str) -> Any:
        """A figure by its name."""
        if name in self:
            return self[name]
        raise AttributeError(f"the evaluation has no {name}; it has {', '.join(self)}")

    def generate_summary(self) -> str:
        """The figures as text, as `mltk evaluate` prints them."""
        text: str = self.__dict__["_summary"]
        return text


def _gone(state: TargetState) -> StageError:
    """Somebody deleted what a call has just brought up to date."""
    fix = "call it again, when nothing else cleans this folder"
    return StageError("what was just built is gone", where=state.folder.path, fix=fix)


def _text(state: TargetState, name: str) -> str:
    try:
        return Path(state.folder.artifact(name)).read_text(encoding="utf-8")
    except OSError as error:
        raise _gone(state) from error


def _document(state: TargetState, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_text(state, name))
    return document
