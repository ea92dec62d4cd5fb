"""The mixins that a spec inherits beside `MltkModel`, with MLTK's names, types and defaults."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mltkbuild.errors import SpecError
from mltkbuild.spec.meanings import by_name, fit_arguments, weights
from mltkbuild.spec.model import Mixin, MltkModel
from mltkbuild.spec.properties import (
    ANY,
    BOOL,
    CALLABLE,
    COUNT_OR_ALL,
    DICT,
    FRACTION,
    LABELS,
    NOT_NEGATIVE,
    POSITIVE,
    SEQUENCE,
    STR,
    Property,
    Rule,
    is_number,
    name_of_constant,
    one_of,
)
from mltkbuild.spec.scoring import scoring_for

IO_TYPE = Rule(
    "float32, int8, uint8 or int16, as a string or a number type",
    lambda value: name_of_constant(value) in {"float32", "int8", "uint8", "int16"},
)
TFLITE_OPS = (
    "TFLITE_BUILTINS",
    "TFLITE_BUILTINS_INT8",
    "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
)


def _names_of(*known: str) -> Callable[[Any], bool]:
    """A test for a list of names, given as strings or as TensorFlow's own constants."""

    def accepts(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(name_of_constant(item) in known for item in value)

    return accepts


TFLITE_CONVERTER = {
    "optimizations": Rule("a list with 'DEFAULT', or an empty list", _names_of("DEFAULT")),
    "supported_ops": Rule("a list of " + ", ".join(TFLITE_OPS), _names_of(*TFLITE_OPS)),
    "inference_input_type": IO_TYPE,
    "inference_output_type": IO_TYPE,
    "representative_dataset": Rule(
        "'generate', a generator function or None", lambda value: value in ("generate", None) or callable(value)
    ),
    "representative_dataset_max_samples": POSITIVE,
    "allow_custom_ops": BOOL,
    "experimental_new_converter": BOOL,
    "experimental_new_quantizer": BOOL,
    "experimental_enable_resource_variables": BOOL,
    "generate_unquantized": BOOL,
    "generate_quantization_report": BOOL,
    "backend": one_of("tensorflow", "ai-edge-quantizer"),
}
CHECKPOINT = {
    "monitor": STR,
    "save_best_only": BOOL,
    "save_weights_only": BOOL,
    "mode": one_of("auto", "min", "max"),
    "save_freq": Rule("'epoch' or a positive integer", lambda value: value == "epoch" or POSITIVE.accepts(value)),
    "options": ANY,
    "verbose": NOT_NEGATIVE,
}
CLASS_WEIGHTS = Rule(
    "'balanced', 'none', a dict of weights or a list of weights",
    lambda value: (
        value in ("balanced", "balance", "none") if isinstance(value, str) else isinstance(value, dict | list | tuple)
    ),
)
FREQUENCY = Rule(
    "a positive integer or a list of epochs",
    lambda value: POSITIVE.accepts(value) or (isinstance(value, list) and all(map(POSITIVE.accepts, value))),
)


class TrainMixin(Mixin):
    """What training and quantizing need: the builder, how long and how."""

    build_model_function = Property[Any](
        None, CALLABLE.or_none(), "The function that gets the spec and returns a compiled Keras model"
    )
    epochs = Property[int](
        100, COUNT_OR_ALL, "How many passes over the data; -1 trains until early_stopping ends it", reads=("train",)
    )
    batch_size = Property[int](32, POSITIVE, "How many samples one weight update sees", reads=("train",))
    optimizer = Property[Any]("adam", ANY, "The optimizer, for the builder's compile call")
    metrics = Property[list[Any]](["accuracy"], SEQUENCE, "The metrics, for the builder's compile call")
    loss = Property[Any](
        "categorical_crossentropy",
        Rule("a string or a function", lambda value: isinstance(value, str) or callable(value)),
        "The loss, for the builder's compile call",
    )
    deterministic = Property[bool](
        True, BOOL, "Whether TensorFlow may only use operations that give the same bits every time", reads=("train",)
    )
    train_callbacks = Property[list[Any]]([], SEQUENCE, "Further Keras callbacks", reads=("train",))
    lr_schedule = Property[Any](
        None,
        Rule("a dict or a function", lambda value: isinstance(value, dict) or callable(value)).or_none(),
        "The learning rate as a function of the epoch",
        reads=("train",),
        meaning=by_name,
    )
    reduce_lr_on_plateau = Property[Any](
        None, DICT.or_none(), "The arguments of Keras' ReduceLROnPlateau", reads=("train",), meaning=by_name
    )
    early_stopping = Property[Any](
        None, DICT.or_none(), "The arguments of Keras' EarlyStopping", reads=("train",), meaning=by_name
    )
    tensorboard = Property[Any](
        None, DICT.or_none(), "The arguments of Keras' TensorBoard callback", reads=("train",), meaning=by_name
    )
    checkpoints_enabled = Property[bool](
        True, BOOL, "Whether each epoch leaves a checkpoint, from which a stopped training goes on", reads=("train",)
    )
    checkpoints_keep = Property[int | None](
        10,
        POSITIVE.or_none(),
        "Keep the checkpoint of every n-th epoch, beside the last two and the best; None for only those",
        reads=("train",),
    )
    checkpoint_interval_minutes = Property[float | None](
        10,
        Rule("a positive number or None", lambda value: value is None or (is_number(value) and value > 0)),
        "Minutes between checkpoints within an epoch; None for none",
        reads=("train",),
    )
    final_weights = Property[str](
        "best",
        one_of("best", "last"),
        "Which epoch's weights the model gets: the best one's by `checkpoint`, where there is validation data, or the "
        "last one's",
        reads=("train",),
    )
    on_nan = Property[str](
        "stop", one_of("stop", "continue"), "What to do when the loss is no finite number", reads=("train",)
    )
    mixed_precision = Property[str | None](
        None,
        one_of(None, "mixed_float16", "mixed_bfloat16"),
        "Keras' dtype policy for training; the saved model is float32",
        reads=("train",),
    )
    distribute = Property[str | None](
        None,
        one_of(None, "mirrored", "multiworker"),
        "Train on several devices, by `tf.distribute`: all of this machine, or those of several processes",
        reads=("train",),
    )
    checkpoint = Property[Any](
        {
            "monitor": "val_accuracy",
            "save_best_only": True,
            "save_weights_only": True,
            "mode": "auto",
            "save_freq": "epoch",
            "options": None,
            "verbose": 0,
        },
        DICT.or_none(),
        "Which epoch counts as the best: `monitor` and `mode`; the other settings are MLTK's and change nothing",
        reads=("train",),
        settings=CHECKPOINT,
        meaning=by_name,
    )
    train_kwargs = Property[dict[str, Any]](
        {}, DICT, "Further arguments of Keras' fit, over those made here", reads=("train",), meaning=fit_arguments
    )
    on_training_complete = Property[Any](
        None, CALLABLE.or_none(), "A function that is called with the results after training", reads=("train",)
    )
    on_save_keras_model = Property[Any](
        None,
        CALLABLE.or_none(),
        "A function that gets mltk_model, keras_model and logger and returns the model to save",
        reads=("train",),
    )
    tflite_converter = Property[dict[str, Any]](
        {
            "optimizations": ["DEFAULT"],
            "supported_ops": ["TFLITE_BUILTINS_INT8"],
            "inference_input_type": "float32",
            "inference_output_type": "float32",
            "representative_dataset": "generate",
            "representative_dataset_max_samples": 1000,
            "allow_custom_ops": False,
            "experimental_new_converter": True,
            "experimental_new_quantizer": True,
            "experimental_enable_resource_variables": False,
            "generate_unquantized": True,
            "generate_quantization_report": False,
            "backend": "tensorflow",
        },
        DICT,
        "How the model becomes a `.tflite`",
        reads=("quantize",),
        settings=TFLITE_CONVERTER,
        meaning=by_name,
    )
    tflm = Property[str](
        "error",
        one_of("error", "warn", "off"),
        "What a `.tflite` that TensorFlow Lite Micro can't run is: an error, a note, or not looked at",
        reads=("quantize",),
    )
    tflite_date = Property[bool](
        False,
        BOOL,
        "Whether the date is embedded in the `.tflite`, as MLTK does; equal builds then give unequal files",
        reads=("params",),
    )


class MltkDataset:
    """A data set as a class: inherit it, write `load_dataset`, and set `my_model.dataset` to an instance."""

    def load_dataset(self, subset: str, test: bool = False, **kwargs: Any) -> Any:
        """Return the samples of one subset.

        Args:
            subset: 'training', 'validation' or 'evaluation'.
            test: True in a dry run, when a few samples will do.
            kwargs: `mltk_model` and whatever later versions add.

        Returns:
            None after setting `mltk_model.x` and so on, else `x`, `(x, y)` or `(x, None or y, validation_data)`.
        """
        raise SpecError(
            f"{type(self).__name__} has no load_dataset", fix="write load_dataset(self, subset, test, **kwargs)"
        )

    def unload_dataset(self) -> None:
        """Let go of what load_dataset holds."""

    def summarize_dataset(self) -> str:
        """A text about the loaded samples; empty when there is nothing to add."""
        return ""

    @staticmethod
    def summarize_class_counts(class_counts: dict[str, Any]) -> str:
        """The number of samples of each class as text.

        Args:
            class_counts: `{class: count}`, or one such dict for each subset.
        """
        lines = []
        for name, count in class_counts.items():
            if isinstance(count, dict):
                lines.append(f"{name}: " + ", ".join(f"{label} {n}" for label, n in count.items()))
            else:
                lines.append(f"{name}: {count}")
        return "\n".join(lines)


def count_classes(labels: Iterable[object]) -> dict[str, int]:
    """How many samples each label has."""
    return {str(label): count for label, count in sorted(Counter(labels).items(), key=lambda item: str(item[0]))}


class DatasetMixin(Mixin):
    """Where the samples come from."""

    dataset = Property[Any](
        None,
        ANY,
        "An MltkDataset, a function of (subset, test), a module or object that has load_dataset or load_data, arrays, "
        "a tf.data.Dataset, or the path of a folder",
        reads=("data",),
    )
    x = Property[Any](
        None,
        ANY,
        "The samples, an array whose first axis counts them; for several inputs a tuple, or a dict by their names",
        reads=("data",),
        loaded=True,
    )
    y = Property[Any](
        None,
        ANY,
        "The labels or target values, one a sample; for several outputs a tuple, or a dict by their names",
        reads=("data",),
        loaded=True,
    )
    validation_data = Property[Any](
        None, ANY, "The samples (and labels) that training is judged by, as (x, y)", reads=("data",), loaded=True
    )
    validation_split = Property[float](
        0.0, FRACTION, "Which part of the training samples is kept for validation", reads=("data",)
    )
    validation_stratify = Property[bool](
        False,
        BOOL,
        "Whether validation_split takes its part of each class, not of all samples",
        reads=("data",),
        added=True,
    )
    validation_split_seed = Property[int | None](
        None,
        NOT_NEGATIVE.or_none(),
        "The seed with which validation_split draws its samples; None takes the last ones",
        reads=("data",),
        added=True,
    )
    shuffle = Property[bool](True, BOOL, "Whether each epoch sees the samples in an order of its own", reads=("train",))
    class_weights = Property[Any](
        None, CLASS_WEIGHTS.or_none(), "How much each class weighs in the loss", reads=("train",), meaning=weights
    )
    class_counts = Property[Mapping[str, Mapping[str, int]]](
        {"training": {}, "validation": {}, "evaluation": {}},
        DICT,
        "How many samples each class has; filled on loading",
        loaded=True,
    )
    sample_weight = Property[Any](
        None, ANY, "How much each training sample weighs in the loss", reads=("data",), loaded=True
    )
    steps_per_epoch = Property[int | None](
        None, POSITIVE.or_none(), "How many batches make an epoch, for data without an end", reads=("train",)
    )
    validation_steps = Property[int | None](
        None, POSITIVE.or_none(), "How many batches one validation takes", reads=("train",)
    )
    validation_batch_size = Property[int | None](
        None, POSITIVE.or_none(), "The batch size of the validation", reads=("train",)
    )
    validation_freq = Property[Any](1, FREQUENCY, "After how many epochs the validation runs", reads=("train",))
    loaded_subset = Property[str | None](
        None, one_of("training", "validation", "evaluation", None), "Which subset was loaded last"
    )

    def load_dataset(self: Any, subset: str, test: bool = False, **kwargs: Any) -> None:
        """Load one subset into `x`, `y` and `validation_data`.

        Args:
            subset: 'training', 'validation' or 'evaluation'.
            test: True in a dry run.
            kwargs: Passed on to the data set's own loader.
        """
        load_into(self, subset, test, **kwargs)

    def unload_dataset(self: Any) -> None:
        """Let go of the loaded samples."""
        unload = getattr(self.dataset, "unload_dataset", None)
        if callable(unload):
            unload()
        self.x = self.y = self.validation_data = self.sample_weight = None

    def summarize_dataset(self: Any) -> str:
        """A text about the loaded samples."""
        summarize = getattr(self.dataset, "summarize_dataset", None)
        text = summarize() if callable(summarize) else ""
        return text or MltkDataset.summarize_class_counts(self.class_counts)


def load_into(model: Any, subset: str, test: bool, **kwargs: Any) -> None:
    """Call the spec's data loader and put what it returns where training finds it."""
    model.loaded_subset = subset
    dataset = model.dataset
    if dataset is None:
        return
    if isinstance(dataset, tuple | list) or hasattr(dataset, "element_spec"):
        keep_loaded(model, _of_subset(dataset, subset))
        return
    loader = loader_of(dataset)
    if loader is None:
        is_class = isinstance(dataset, type)
        raise SpecError(
            "dataset is a class, not an instance" if is_class else "dataset has no load_dataset and can't be called",
            where=model.place_of("dataset"),
            found=dataset.__name__ if is_class else f"a {type(dataset).__name__}",
            fix="set it to an MltkDataset, to a function of (subset, test), to arrays, or to a module or object that "
            "has load_dataset or load_data",
        )
    found = call_loader(loader, subset, {"test": test, "mltk_model": model, **kwargs})
    keep_loaded(model, _of_subset(found, subset) if is_train_and_test(found) else found)


def loader_of(dataset: Any) -> Callable[..., Any] | None:
    """The function that gives a data set's samples: its `load_dataset`, its `load_data`, or itself; None for none."""
    loader = getattr(dataset, "load_dataset", None) or getattr(dataset, "load_data", dataset)
    return loader if callable(loader) and not isinstance(dataset, type) else None


def takes_classes(model: Any) -> bool:
    """Whether a model's data loader can be asked for the samples of some classes, by an argument of that name."""
    overridden = type(model).load_dataset is not DatasetMixin.load_dataset
    loader = model.load_dataset if overridden else loader_of(model.dataset)
    return loader is not None and "classes" in inspect.signature(loader).parameters


def is_train_and_test(value: object) -> bool:
    """Whether samples come as Keras' own data sets do, `((x, y), (x_test, y_test))`, or as the same four in a row."""
    if not isinstance(value, tuple | list):
        return False
    if len(value) == 4:
        return all(hasattr(part, "__len__") and not isinstance(part, str) for part in value)
    if len(value) != 2 or not all(isinstance(part, tuple | list) and len(part) == 2 for part in value):
        return False
    return not _are_inputs_and_targets(*value)


def _are_inputs_and_targets(first: Any, second: Any) -> bool:
    """Whether `((a, b), (c, d))` are the inputs and targets of a model with two each: as many rows, of other kinds."""
    arrays = (*first, *second)
    if not all(hasattr(array, "shape") and len(array.shape) for array in arrays):
        return False
    if len({array.shape[0] for array in arrays}) > 1:
        return False
    rebuilt = all(one is other for one, other in zip(first, second, strict=True))
    alike = all(one.shape == other.shape and one.dtype == other.dtype for one, other in zip(first, second, strict=True))
    return rebuilt or not alike


def _of_subset(samples: Any, subset: str) -> Any:
    """The part of `((x, y), (x_test, y_test))` that belongs to a subset; other samples belong to all."""
    if not is_train_and_test(samples):
        return samples
    pairs = samples if len(samples) == 2 else (samples[:2], samples[2:])
    return tuple(pairs[0] if subset == "training" else pairs[1])


def call_loader(loader: Callable[..., Any], subset: str, offered: Mapping[str, Any]) -> Any:
    """Call a loader with the arguments that it takes.

    Args:
        loader: A function of the subset, and of any of `offered`.
        subset: 'training', 'validation' or 'evaluation'. A loader may name this first parameter as it likes.
        offered: The other arguments by name.
    """
    parameters = inspect.signature(loader).parameters
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    arguments = {name: value for name, value in offered.items() if takes_all or name in parameters}
    first = next(iter(parameters.values()), None)
    if first is None:
        return loader()
    by_position = first.kind not in (first.KEYWORD_ONLY, first.VAR_KEYWORD) and first.name not in offered
    if getattr(loader, "__name__", "") == "load_data" and first.default is not first.empty:
        # A data set of Keras' kind: its parameters say where it is kept.
        by_position = False
    if by_position and (first.name == "subset" or "subset" not in parameters):
        return loader(subset, **arguments)
    if takes_all or "subset" in parameters:
        arguments["subset"] = subset
    return loader(**arguments)


def keep_loaded(model: Any, result: object) -> None:
    """Spread a loader's result over `x`, `y` and `validation_data`."""
    if result is None:
        return
    parts = result if isinstance(result, tuple) else (result,)
    if len(parts) > 3 or not parts or any(isinstance(part, str) for part in parts):
        raise SpecError(
            "the data loader must return None, x, (x, y) or (x, y, validation_data)",
            where=model.place_of("dataset"),
            found=f"a tuple of {len(parts)}" if len(parts) != 1 else type(parts[0]).__name__,
            fix="return one of these",
        )
    model.x = parts[0]
    model.y = parts[1] if len(parts) > 1 else None
    if len(parts) == 3:
        model.validation_data = parts[2]


class EvaluateMixin(Mixin):
    """How a model of any kind is evaluated."""

    eval_steps_per_epoch = Property[int | None](
        None, POSITIVE.or_none(), "How many batches one evaluation takes, for data without an end", reads=("evaluate",)
    )
    eval_custom_function = Property[Any](
        None,
        CALLABLE.or_none(),
        "A function of (mltk_model, built_model, eval_dir, show, logger) that evaluates instead",
        reads=("evaluate",),
    )


class EvaluateClassifierMixin(EvaluateMixin):
    """How a classifier is evaluated."""

    eval_shuffle = Property[bool](False, BOOL, "Whether the evaluation samples are shuffled first", reads=("evaluate",))
    eval_augment = Property[bool](False, BOOL, "Whether the evaluation samples are augmented", reads=("evaluate",))
    eval_max_samples_per_class = Property[int](
        -1, COUNT_OR_ALL, "How many samples of each class are evaluated; -1 for all", reads=("evaluate",)
    )


class EvaluateAutoEncoderMixin(EvaluateClassifierMixin):
    """How an auto-encoder is evaluated: the worse a sample is rebuilt, the more abnormal it counts."""

    scoring_function = Property[Any](
        None,
        CALLABLE.or_none(),
        "A function of (original, rebuilt) that gives a sample's score; None for the one that belongs to the loss",
        reads=("evaluate",),
    )
    eval_classes = Property[list[str]](
        ["normal", "abnormal"],
        LABELS,
        "The classes of the evaluation data, the normal one first",
        reads=("data", "evaluate"),
    )

    def get_scoring_function(self: Any) -> Callable[..., float]:
        """The function that scores a reconstruction: the spec's own, or the one that belongs to the loss."""
        return scoring_for(self.scoring_function, getattr(self, "loss", None))


__all__ = [
    "DatasetMixin",
    "EvaluateAutoEncoderMixin",
    "EvaluateClassifierMixin",
    "EvaluateMixin",
    "MltkDataset",
    "MltkModel",
    "TrainMixin",
]
