"""The Keras models of a stage: built by the spec's function, or loaded as they were saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras

from mltkbuild.errors import SpecError
from mltkbuild.spec.any_model import AnyModel, if_any, peek_at
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.stages.protocol import Request
from mltkbuild.stages.running_code import RunningCode
from mltkbuild.stages.stage_files import StageFiles
from mltkbuild.stages.table import STAGES
from mltkbuild.training import devices, keras_file
from mltkbuild.training.building import called, check_model, clear_names


class StageModels:
    """Builds and loads the Keras models of one stage.

    Args:
        request: What runs.
        model: The spec's model.
        code: Runs the spec's code.
        files: The stage's files.
    """

    def __init__(self, request: Request, model: AnyModel, code: RunningCode, files: StageFiles) -> None:
        self._request = request
        self._model = model
        self._peek = peek_at(model)
        self._code = code
        self._files = files

    def build(self, *, count: bool = False, plain: bool = False) -> Any:
        """Build the Keras model from the seed and check what the spec's builder returned.

        Args:
            count: Whether what the builder reads is an input.
            plain: Build it for one device and, where `mixed_precision` is set, in float32.
        """
        builder = if_any(self._model, TrainMixin.build_model_function)
        if builder is None:
            raise SpecError(
                "the spec sets no build_model_function",
                where=self._request.spec_path,
                fix="set my_model.build_model_function to a function that returns a compiled Keras model",
            )
        if isinstance(builder, keras.Model):
            raise SpecError(
                "build_model_function must be the function, not the model that it returns",
                where=self._code.place("build_model_function"),
                found=f"{type(builder).__name__} {builder.name}",
                fix="leave the parentheses away: my_model.build_model_function = my_builder",
            )
        clear_names()
        keras.utils.set_random_seed(self._peek.seed)
        with (
            self._devices(plain),
            self._precision(plain),
            self._code.running("build_model_function", SpecError, count=count),
        ):
            keras_model = called(builder, self._model)
        with self._code.at("build_model_function"):
            check_model(keras_model)
        return keras_model

    def _devices(self, plain: bool) -> AbstractContextManager[Any]:
        """The devices to build on: only training is distributed."""
        distribute = self._peek.distribute if STAGES[self._request.stage].resumable else None
        if plain or distribute is None:
            return nullcontext()
        with self._code.at("distribute"):
            scope: AbstractContextManager[Any] = devices.strategy(distribute).scope()
            return scope

    @contextmanager
    def _precision(self, plain: bool) -> Iterator[None]:
        """The number type to build with; the spec may also have set one for the whole process."""
        chosen = self._peek.mixed_precision
        before = keras.config.dtype_policy()
        if chosen is not None:
            keras.config.set_dtype_policy("float32" if plain else chosen)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def as_saved(self, keras_model: Any) -> Any:
        """A trained model as it is saved: for one device, in float32."""
        if self._peek.mixed_precision is None and self._peek.distribute is None:
            return keras_model
        plain = self.build(plain=True)
        plain.set_weights(keras_model.get_weights())
        return plain

    def load(self, *, compiled: bool = False, path: Path | None = None) -> Any:
        """The trained model, with the spec's own classes and functions known by name.

        Args:
            compiled: Whether losses, metrics and the optimizer are wanted too.
            path: The file; None for the published one.
        """
        clear_names()
        with self._code.running("loading the saved model", count=False, count_variables=True):
            return keras_file.load(
                self._files.artifact("{name}.keras") if path is None else path,
                self._code.custom_objects(),
                compiled=compiled,
                rebuilt=lambda: self.build(plain=True),
                label=self._code.snapshot.label,
            )
