"""The course of a training: which epoch is the best, and which checkpoint it goes on from."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.disk.checkpoints import Position, Shelf
from mltkbuild.disk.door import Door
from mltkbuild.errors import StageError
from mltkbuild.training import training_state
from mltkbuild.training.course import _Params, keras_default
from mltkbuild.training.keeper import NEEDED, Best, Keeper, Noticed

from ..disk.faults import fill, mounted

law = settings(deadline=None, max_examples=100, database=None)
series = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.5, math.nan, math.inf, -math.inf]) | st.floats(), max_size=12
)


def best_of(values: list[float], mode: str = "auto", monitor: str = "val_loss") -> Best:
    """The best of some epochs."""
    best = Best(monitor)
    for epoch, value in enumerate(values, 1):
        best = best.after(epoch, value, mode)
    return best


# The best epoch.


@law
@given(series, st.sampled_from(["min", "max"]))
def test_the_best_is_the_first_of_the_best_values(values: list[float], mode: str) -> None:
    """Of all finite values the least or greatest counts, of equal ones the first; with none there is no best."""
    finite = [value for value in values if math.isfinite(value)]
    best = best_of(values, mode)

    if not finite:
        assert (0, True) == (best.epoch, math.isnan(best.value))
        return
    expected = min(finite) if mode == "min" else max(finite)
    assert (values.index(expected) + 1, expected) == (best.epoch, best.value)


@law
@given(series, series)
def test_going_on_gives_the_same_best(first: list[float], second: list[float]) -> None:
    """A best that was kept and goes on is that of the whole, though the values before are gone."""
    best = Best(**vars(best_of(first)))
    for epoch, value in enumerate(second, len(first) + 1):
        best = best.after(epoch, value, "auto")

    assert repr(best_of(first + second)) == repr(best)


@pytest.mark.parametrize(
    ("monitor", "mode", "epoch"),
    [
        ("val_loss", "auto", 2),
        ("val_accuracy", "auto", 3),
        ("val_acc", "auto", 3),
        ("val_Dice", "auto", 3),
        ("val_dice_loss", "auto", 2),
        ("val_precision_loss", "auto", 2),
        ("val_mae", "auto", 2),
        ("unheard_of", "auto", 2),
        ("val_loss", "max", 3),
        ("val_accuracy", "min", 2),
    ],
)
def test_the_direction_follows_mode_and_name(monitor: str, mode: str, epoch: int) -> None:
    """A loss falls whatever else is in its name, scores rise, and mode has the last word."""
    assert epoch == best_of([2.0, 1.0, 3.0], mode, monitor).epoch


ARGUMENTS: dict[str, dict[str, Any]] = {
    "IoU": {"num_classes": 2, "target_class_ids": [0]},
    "MeanIoU": {"num_classes": 2},
    "OneHotIoU": {"num_classes": 2, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


def metrics() -> Iterator[Any]:
    """Keras' metrics that have a direction."""
    for name, kind in vars(keras.metrics).items():
        if isinstance(kind, type) and name not in ("Metric", "MeanMetricWrapper"):
            metric = kind(**ARGUMENTS.get(name, {}))
            if getattr(metric, "_direction", None):
                yield metric


def test_every_metric_of_keras_has_its_direction() -> None:
    """By their names alone all metrics of Keras rise and fall as Keras itself has it."""
    directions = {metric.name: metric._direction for metric in metrics()}
    found = {name: best_of([2.0, 1.0, 3.0], "auto", f"val_{name}").epoch for name in directions}

    assert {name: {"up": 3, "down": 2}[direction] for name, direction in directions.items()} == found
    assert len(found) > 30


# Which checkpoint a training goes on from.


def state(position: Position, epochs: int = 10, **noticed: Any) -> dict[str, Any]:
    """As much of a state as a keeper looks at."""
    return {
        "position": list(position),
        "epochs": epochs,
        "best": {"monitor": "val_loss", "epoch": 1, "value": 0.5},
        **dict.fromkeys(NEEDED - {"position", "epochs", "best"}),
        "noticed": {"files": {}, "properties": {}, "reads_epochs": False, **noticed},
        "variables": {"model 0 kernel": np.arange(2000.0)},
    }


Kept = Callable[..., tuple[Keeper, list[str]]]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Make a keeper of a training with some checkpoints, and a list of what it says."""

    def make(*positions: Position, every: int | None = 1, noticed: Mapping[str, Any] | None = None, **rest: Any) -> Any:
        said: list[str] = []
        shelf = Shelf(Door(str(tmp_path)), str(tmp_path / "checkpoints"), {"seed": 1})
        keeper = Keeper(lambda event: said.append(getattr(event, "text", "")), shelf, every, **rest)
        for position in positions:
            shelf.put(position, training_state.encode(state(position, **(noticed or {}))))
        return keeper, said

    return make


def begins(keeper: Keeper, epochs: int = 10, within: bool = True) -> Position | None:
    """Where a training begins."""
    found = keeper.start(epochs, within=within)
    return None if found is None else Position(*found["position"])


def damage(keeper: Keeper, position: Position, content: bytes | None = None) -> None:
    """Tear a checkpoint in the middle, or put something else in its place."""
    assert keeper.shelf is not None
    path = Path(keeper.shelf.path(position))
    path.write_bytes(path.read_bytes()[:8000] if content is None else content)


def test_without_checkpoints_a_training_begins_at_its_beginning(kept: Kept) -> None:
    """Where checkpoints are off, or there are none, there is nothing to go on from and nothing to say."""
    keeper, said = kept()

    assert (None, None, []) == (Keeper().start(10, within=True), keeper.start(10, within=True), said)


@pytest.mark.parametrize(
    ("epochs", "within", "expected"),
    [
        (10, True, Position(4, 7)),
        (10, False, Position(4)),
        (5, True, Position(4, 7)),
        (4, True, Position(4)),
        (3, True, Position(3)),
        (2, True, Position(1, 2)),
        (2, False, None),
    ],
)
def test_the_newest_that_fits_is_used(kept: Kept, epochs: int, within: bool, expected: Position | None) -> None:
    """Of the checkpoints the newest counts that is within the wanted epochs; one within an epoch where that will do."""
    keeper, said = kept(Position(1, 2), Position(3), Position(4), Position(4, 7))

    assert (expected, []) == (begins(keeper, epochs, within), said)


@pytest.mark.parametrize(
    "content", [None, b"", b"garbage", training_state.encode(None), training_state.encode({"a": 1})]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(kept: Kept, content: bytes | None) -> None:
    """A torn, empty, foreign or incomplete checkpoint is named and passed over; it isn't deleted."""
    keeper, said = kept(Position(1), Position(2), Position(3))
    damage(keeper, Position(3), content)

    assert Position(2) == begins(keeper)
    assert 1 == len(said)
    assert said[0].startswith("the checkpoint of epoch 3 is damaged (")
    assert said[0].endswith("the one before is used")
    assert keeper.shelf is not None
    assert 3 == len(keeper.shelf.positions())


def test_when_all_are_damaged_a_training_begins_anew(kept: Kept) -> None:
    """With no sound checkpoint the training begins at its beginning, and each damage is told."""
    keeper, said = kept(Position(1), Position(2, 5))
    for position in (Position(1), Position(2, 5)):
        damage(keeper, position)

    assert begins(keeper) is None
    assert ["step 5 of epoch 3", "epoch 1"] == [line.split(" is damaged")[0].partition("of ")[2] for line in said]


def test_a_checkpoint_that_cannot_be_read_is_passed_over(kept: Kept) -> None:
    """A folder in the place of a checkpoint is no reason to stop."""
    keeper, said = kept(Position(1))
    assert keeper.shelf is not None
    os.mkdir(keeper.shelf.path(Position(2)))

    assert Position(1) == begins(keeper)
    assert "it is a folder, not a file" in said[0]


def test_what_was_noticed_must_still_hold(kept: Kept) -> None:
    """A checkpoint whose files or properties have changed since isn't used, and what changed is named."""
    given: list[Noticed] = []

    def holds(noticed: Noticed) -> str | None:
        given.append(noticed)
        return "/data/weights.csv" if noticed.files else None

    keeper, said = kept(Position(1), Position(2), noticed={"files": {"/data/weights.csv": "abc"}}, holds=holds)

    assert begins(keeper) is None
    assert ["the checkpoint of epoch 2 is not used: /data/weights.csv has changed"] == said[:1]
    assert [Noticed({"/data/weights.csv": "abc"})] * 2 == given


def test_an_earlier_checkpoint_that_still_holds_is_used(kept: Kept) -> None:
    """A file that was read late spoils only the checkpoints since."""
    keeper, said = kept(Position(1), holds=lambda noticed: next(iter(noticed.properties), None))
    kept(Position(2), noticed={"properties": {"lr_schedule": "abc"}})

    assert Position(1) == begins(keeper)
    assert ["the checkpoint of epoch 2 is not used: lr_schedule has changed"] == said


def test_who_asked_for_the_epochs_gets_no_others(kept: Kept) -> None:
    """A checkpoint of a training that asked how many epochs there are is used for that number alone."""
    keeper, said = kept(Position(2), noticed={"reads_epochs": True})

    assert (Position(2), []) == (begins(keeper, 10), said)
    assert begins(keeper, 20) is None
    assert ["the checkpoint of epoch 2 depends on epochs = 10, and is not used"] == said


def test_an_epoch_that_is_asked_for_is_used(kept: Kept) -> None:
    """With a number exactly that epoch's end counts, and no step within one."""
    keeper, said = kept(Position(2), Position(3), Position(3, 4), Position(5), resume=3)

    assert (Position(3), []) == (begins(keeper), said)


@pytest.mark.parametrize(("resume", "epochs"), [(4, 10), (7, 10), (5, 4)])
def test_an_epoch_that_is_not_there_is_an_error(kept: Kept, resume: int, epochs: int) -> None:
    """An epoch without a checkpoint, with one only within it, or beyond the wanted ones is told with a list."""
    keeper, _ = kept(Position(2), Position(3), Position(4, 4), Position(5), resume=resume)

    with pytest.raises(StageError, match=f"there is no checkpoint of epoch {resume} to resume from") as caught:
        begins(keeper, epochs)

    assert f"checkpoints of epochs {'2, 3, 5' if epochs == 10 else '2, 3'}" == caught.value.found


def test_an_epoch_that_is_damaged_is_an_error(kept: Kept) -> None:
    """When just this one was wanted, no other takes its place."""
    keeper, said = kept(Position(2), Position(3), resume=3)
    damage(keeper, Position(3))

    with pytest.raises(StageError, match="epoch 3"):
        begins(keeper)
    assert "the checkpoint of epoch 3 is damaged" in said[0]


def test_starting_over_sets_the_checkpoints_aside(kept: Kept) -> None:
    """From the beginning means that no checkpoint counts; the old ones lie aside until the end."""
    keeper, said = kept(Position(2), Position(3), resume=0)

    assert (None, []) == (begins(keeper), said)
    assert keeper.shelf is not None
    assert () == keeper.shelf.positions()
    assert ["epoch-00002.npz", "epoch-00003.npz"] == sorted(
        name for name in os.listdir(keeper.shelf.folder + ".old") if name.endswith(".npz")
    )


# Putting.


def test_what_was_put_is_gone_on_from(kept: Kept) -> None:
    """A state that was put is the one that the training goes on from; older ones are pruned."""
    keeper, _ = kept(every=None)
    for epoch in range(1, 8):
        keeper.put(Position(epoch), state(Position(epoch)))

    assert keeper.shelf is not None
    assert (Position(1), Position(6), Position(7)) == keeper.shelf.positions()
    found = keeper.start(10, within=True)
    assert found is not None
    assert state(Position(7))["noticed"] == found["noticed"]


def test_without_a_shelf_nothing_is_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where checkpoints are off putting writes nothing, and a training begins at its beginning."""
    monkeypatch.chdir(tmp_path)
    keeper = Keeper()
    keeper.put(Position(1), state(Position(1)))

    assert (None, []) == (begins(keeper), os.listdir(tmp_path))


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    """A full disk names the checkpoint, tells what is kept and what to do."""
    with mounted(tmp_path / "small", "size=1m"):
        keeper = Keeper(shelf=Shelf(Door(str(tmp_path)), str(tmp_path / "small/checkpoints"), {"seed": 1}))
        keeper.put(Position(1), state(Position(1)))
        fill(tmp_path / "small", 4096)

        with pytest.raises(StageError, match="the checkpoint of epoch 2 can't be written") as caught:
            keeper.put(Position(2), state(Position(2)))

        assert os.strerror(errno.ENOSPC) in str(caught.value.found)
        assert "the checkpoints so far and the old artifacts are untouched" in str(caught.value.fix)
        assert Position(1) == begins(keeper)


# What callbacks ask.


@pytest.mark.parametrize(
    "ask",
    [
        lambda params: params["epochs"],
        lambda params: params.get("epochs"),
        dict,
        lambda params: {**params},
        lambda params: params.copy(),
        lambda params: list(params.items()),
        lambda params: list(params.values()),
        lambda params: params | {},
    ],
    ids=["item", "get", "dict", "unpacked", "copy", "items", "values", "or"],
)
def test_asking_for_the_epochs_is_noticed(ask: Callable[[Any], Any]) -> None:
    """However a callback reads the number of epochs, it is noticed; other questions aren't."""
    params = _Params(epochs=3, steps=5, verbose=0)
    assert (5, None, True) == (params["steps"], params.get("other"), "steps" in params)
    assert not params.asked

    ask(params)

    assert params.asked


def test_a_callback_that_listens_to_steps_is_known() -> None:
    """A callback with a method of its own around a step listens, by its new name or its old one."""

    class Steps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    class Old(keras.callbacks.Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            pass

    listening = [Steps(), Old(), type("Heir", (Steps,), {})(), keras.callbacks.TerminateOnNaN()]
    assert [False] * 4 == [keras_default(callback) for callback in listening]
    silent = [keras.callbacks.Callback(), keras.callbacks.EarlyStopping(), keras.callbacks.History()]
    assert [True] * 3 == [keras_default(callback) for callback in silent]
