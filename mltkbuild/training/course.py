"""The course of one training: what happens around its epochs so that it can stop anywhere and go on exactly."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from mltkbuild import keras_private
from mltkbuild.data.batches import Batches
from mltkbuild.disk.checkpoints import Position
from mltkbuild.errors import SpecError, StageError, Stopped
from mltkbuild.events import EpochProgress
from mltkbuild.training import csv_log, devices, training_state
from mltkbuild.training.history import last_metrics, plain
from mltkbuild.training.keeper import Best, Keeper, Rules

# The parts of a course, for those who begin one.


class _Params(dict[str, Any]):
    """What Keras tells callbacks about the training; notices who asks for the number of epochs."""

    asked = False

    def __getitem__(self, name: str) -> Any:
        self.asked = self.asked or name == "epochs"
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked = self.asked or name == "epochs"
        return super().get(name, default)

    def keys(self) -> Any:
        self.asked = True
        return super().keys()

    def values(self) -> Any:
        self.asked = True
        return super().values()

    def items(self) -> Any:
        self.asked = True
        return super().items()

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return super().__iter__()

    def copy(self) -> dict[str, Any]:
        self.asked = True
        return super().copy()


class Course(keras.callbacks.CallbackList):
    """Keras' list of callbacks, which takes and restores checkpoints around them.

    Args:
        keras_model: The compiled model.
        callbacks: The spec's callbacks and rules.
        rules: What the training goes by.
        keeper: Where checkpoints go.
        state: The state to go on from; None to begin.
    """

    def __init__(
        self,
        keras_model: Any,
        callbacks: list[Any],
        rules: Rules,
        keeper: Keeper,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(callbacks, add_history=True, model=keras_model)
        # What is done here at a step's end must be done before the next step begins.
        keras_private.run_in_order(self)
        self._params = _Params(verbose=0, epochs=rules.epochs, steps=rules.steps)
        self.set_params(self._params)
        self._rules, self._keeper, self._progress = rules, keeper, keeper.progress
        self._state = state
        self._batches, self._steps = rules.batches, rules.steps
        self._own = list(self.callbacks)
        self._history = next(item for item in reversed(self._own) if isinstance(item, keras.callbacks.History))
        self._listens = any(not keras_default(callback) for callback in self._own)
        self._at_begin: list[dict[str, Any]] = []
        self._begun = False
        self.last_part = True
        self.best = Best(**state["best"]) if state else Best()
        self.best_weights: Mapping[str, Any] | None = None
        self.stopped = bool(state and state["stopped"])
        self.lost: str | None = state["lost"] if state else rules.not_exact
        self.position = Position(*state["position"]) if state else Position(0)
        self.segments: list[dict[str, Any]] = [*state["segments"]] if state else []
        self.segments.append({"from": list(self.position)})
        self._earlier_seconds = float(state["seconds"]) if state else 0.0
        self._since = self._saved = time.monotonic()
        # Where an epoch was begun by an earlier process its steps count from there.
        self._offset = self.position.step
        self._looked = False
        self._judged = 0

    # -- around the whole ----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin, and restore the state that the training resumes from."""
        if self._begun:
            return
        self._begun = True
        if self._state is not None:
            csv_log.go_on(self._own, self.position.epoch)
        super().on_train_begin(logs)
        self._at_begin = [dict(vars(callback)) for callback in self._own]
        headers = csv_log.needing_header(self._own)
        if self._state is not None:
            self._take_up(self._state)
        for callback, is_needed in headers:
            # What was kept of it is of the file's first line.
            callback.append_header = is_needed

    def _take_up(self, state: Mapping[str, Any]) -> None:
        if not devices.is_distributed(self.model):
            build_all(self.model, self._batches)
        without = () if self._offset else ("metrics",)
        training_state.assign(self.model, state["variables"], without)
        for callback, (_, saved) in zip(self._own, state["callbacks"], strict=True):
            training_state.restore_callback(callback, saved)
        self._judged = len(plain(self._history.history).get(self.best.monitor, ()))
        if self.best.epoch:
            self.best_weights = state["best_weights"] or state["variables"]

    def _weights_beside(self) -> dict[str, Any] | None:
        """The weights of the best epoch, unless they are those of this very moment."""
        if self.best_weights is None or self.position == Position(self.best.epoch):
            return None
        return {name: value for name, value in self.best_weights.items() if name.startswith("model ")}

    def on_train_end(self, logs: Any = None) -> None:
        """End, unless only a part of the training is over."""
        if self.last_part:
            super().on_train_end(logs)

    @property
    def seconds(self) -> float:
        """How long the training took so far, with the processes before this one."""
        return self._earlier_seconds + time.monotonic() - self._since

    @property
    def earlier_seconds(self) -> float:
        """How long the processes before this one trained."""
        return self._earlier_seconds

    # -- around an epoch -----------------------------------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the random generators for this epoch; one that goes on has begun before."""
        if self._offset and self._state is not None:
            # Keras has just reset the metrics, which this epoch's first steps have filled.
            training_state.assign(self.model, self._state["variables"])
            training_state.restore_random_states(self._state["random"])
            return
        # What callbacks and streams draw is a function of the seed and the epoch, however the training got here.
        random.seed(f"{self._rules.seed} {epoch}")
        np.random.seed(random.getrandbits(32))  # nosec B311  # no secret: it must come out the same
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Let the callbacks judge the epoch, then keep it."""
        super().on_epoch_end(epoch, logs)
        self._offset, self._state = 0, None
        self.position = Position(epoch + 1)
        if not self._looked and training_state.draws_outside_keras(self.model):
            self.lost = self.lost or "the model draws with tf.random, whose state can't be kept; keras.random's can"
        self._looked = True
        devices.settle(self.model)
        variables = training_state.values(self.model)
        self._judge(epoch + 1, variables)
        self.stopped = self.stopped or bool(self.model.stop_training)
        metrics = last_metrics(plain(self._history.history))
        self._checkpoint(variables)
        saved = self._keeper.shelf is not None
        self._progress(EpochProgress(epoch + 1, self._rules.epochs, metrics=metrics, checkpoint=saved))
        self._stop_if_asked()

    def _judge(self, epoch: int, variables: Mapping[str, Any]) -> None:
        """Keep the weights of the best epoch."""
        history = plain(self._history.history)
        wanted = self._rules.monitor
        if not self.best.monitor and wanted:
            names = (wanted, *self._rules.fallbacks)
            self.best = replace(self.best, monitor=next((name for name in names if name in history), ""))
            if not self.best.monitor and any(name.startswith("val_") for name in history):
                raise SpecError(
                    "checkpoint monitors a metric that the training doesn't have",
                    found=repr(wanted),
                    fix="the metrics are " + ", ".join(sorted(history)),
                )
        # With validation_freq an epoch may have no value of its own.
        values = history.get(self.best.monitor, [])
        if len(values) > self._judged:
            self._judged = len(values)
            # Weights that are no numbers have an accuracy all the same, that of a constant answer.
            if not any(math.isnan(history[name][-1]) for name in ("loss", "val_loss") if name in history):
                self.best = self.best.after(epoch, values[-1], self._rules.mode)
            if self.best.epoch == epoch:
                self.best_weights = variables

    # -- around a step -------------------------------------------------------------------------------------------------

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell the callbacks, which count from the epoch's begin."""
        if self._listens:
            super().on_train_batch_begin(batch + self._offset, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell the callbacks, look at the loss, and keep the training where that is due."""
        step = batch + self._offset + 1
        if self._listens:
            super().on_train_batch_end(step - 1, logs)
        epoch = self.position.epoch
        self._progress(EpochProgress(epoch + 1, self._rules.epochs, step, self._steps))
        if self._rules.stop_on_nan and logs is not None and "loss" in logs and not math.isfinite(float(logs["loss"])):
            raise StageError(
                f"the loss is no finite number at step {step} of epoch {epoch + 1}",
                found=f"loss {float(logs['loss'])}",
                fix="lower the learning rate, clip the gradients, or look for a division by zero in the loss; "
                f"{self._kept()}",
            )
        due = time.monotonic() - self._saved >= self._keeper.interval
        stopping = self._keeper.stopping()
        if (due or stopping) and self._rules.within and step != self._steps:
            self.position = Position(epoch, step)
            self._checkpoint(training_state.values(self.model))
            self.position = Position(epoch)
        # The last step's epoch is nearly done: its end keeps the training whole.
        if stopping and step != self._steps:
            self._stop_if_asked(Position(epoch, step) if self._rules.within else None)

    def _stop_if_asked(self, at: Position | None = None) -> None:
        if self._keeper.stopping() and self.position.epoch < self._rules.epochs:
            raise Stopped("the training was stopped", found=self._kept(at), fix="run the same command to go on")

    def _kept(self, at: Position | None = None) -> str:
        """Which checkpoint a later run goes on from."""
        if self._keeper.shelf is None:
            return "checkpoints are off, so nothing is kept"
        there = at or self._keeper.shelf.positions()[-1:]
        last = there if isinstance(there, Position) else next(iter(there), None)
        return f"the checkpoint of {last} is kept" if last else "no epoch was done"

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _checkpoint(self, variables: Mapping[str, Any]) -> None:
        self._saved = time.monotonic()
        if self._keeper.shelf is not None:
            self._keeper.put(self.position, self._snapshot(variables))

    def _snapshot(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that the training is now."""
        states = []
        for callback, at_begin in zip(self._own, self._at_begin, strict=True):
            # What TensorBoard holds is about its own files, and none of it comes back into the training.
            logs_only = isinstance(callback, keras.callbacks.TensorBoard)
            saved, lost = ({}, None) if logs_only else training_state.callback_state(callback, at_begin)
            self.lost = self.lost or lost
            states.append([type(callback).__name__, saved])
        noticed = self._keeper.noticed()
        return {
            "position": list(self.position),
            "epochs": self._rules.epochs,
            "variables": dict(variables),
            "callbacks": states,
            "random": training_state.random_states(),
            "best": vars(self.best).copy(),
            # The best epoch's own checkpoint may be dropped, for a later epoch is better; to shorten the training to
            # this epoch needs its weights all the same.
            "best_weights": self._weights_beside(),
            "stopped": self.stopped,
            "lost": self.lost,
            "segments": self.told_segments(),
            "seconds": self.seconds,
            "noticed": {
                "files": dict(noticed.files),
                "lists": list(noticed.lists),
                "properties": dict(noticed.properties),
                "reads_epochs": noticed.reads_epochs or self._params.asked,
                "answers": dict(noticed.answers),
                "own": {folder: list(names) for folder, names in noticed.own.items()},
            },
        }

    def told_segments(self) -> list[dict[str, Any]]:
        """The parts that the training ran in, each from where to where, as `[epochs, steps]`."""
        ended = {**self.segments[-1], "to": list(self.position)}
        parts = [*self.segments[:-1], ended]
        return [part for part in parts if part["from"] != part["to"]]


def keras_default(callback: Any) -> bool:
    """Say whether a callback has nothing to do around a step."""
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    base = keras.callbacks.Callback
    return all(getattr(type(callback), name, None) is getattr(base, name) for name in names)


def build_all(keras_model: Any, batches: Batches | None) -> None:
    """Make every variable that a training step makes, so that there is something to restore into."""
    if batches is None:
        optimizer = keras_model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(keras_model.trainable_variables)
        return
    batch = next(iter(batches.dataset(0)))
    # One step changes the variables, and all of them are set afterwards.
    keras_model.train_on_batch(*(batch if isinstance(batch, tuple) else (batch,)))
