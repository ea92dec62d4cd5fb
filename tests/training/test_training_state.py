"""A training's state as bytes: nothing changes on the way, damage is noticed, and what can't be kept is told."""

from __future__ import annotations

import io
import json
import math
import operator
import random
import zipfile
from collections import OrderedDict, deque
from enum import StrEnum
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mltkbuild.errors import StageError
from mltkbuild.training import training_state
from mltkbuild.training.training_state import Damaged, NotPlain, decode, encode

# NumPy says so of TensorFlow's variables whenever Keras reads one.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
law = settings(deadline=None, max_examples=60, database=None)

TYPES = ["?", "b", "B", "h", "I", "l", "L", "e", "f", "d", "F", "D", "S3", "U2", ">i4", ">f8", "m8[s]", "M8[ns]"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=2**200)
    | st.floats()
    | st.text()
    | st.text(alphabet="\ud83d\ude00a")
    | st.binary(max_size=20)
)
contents = st.sampled_from(TYPES).flatmap(
    lambda kind: arrays(np.dtype(kind), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
plain_values = st.recursive(
    scalars | contents | contents.filter(lambda array: array.ndim == 0).map(lambda array: array[()]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashable, max_size=3)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Say whether two values are of the same types and equal to the bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(any(same(item, found) for found in other) for item in one)
    return bool(bits(one) == bits(other))


def bits(value: Any) -> Any:
    """What tells values apart that only look alike, such as -0.0 and 0.0."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, float):
        return str(value)
    return value


def raised(value: Any) -> str:
    with pytest.raises(NotPlain) as caught:
        encode(value)
    return str(caught.value)


# Plain values.


@law
@given(plain_values)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    """Nested values of every plain kind keep their types, their order and their bits."""
    assert same(value, decode(encode(value)))


@pytest.mark.parametrize(
    "value",
    [
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        5e-324,
        2**64,
        -(2**64),
        True,
        {1: "int", "1": "text", 1.5: "float", None: "none", (1, (2,)): "tuple", True + 1: "two"},
        {"$": "dict", "items": [], "at": 0},
        {"meta": np.arange(3), "file": np.arange(2)},
        [],
        (),
        {},
        set(),
        b"",
        b"\0\0",
        np.zeros((0, 3), np.float32),
        np.array(2.5),
        np.float32(2.5),
        np.int64(-1),
        np.bool_(True),
        np.str_("text"),
        np.bytes_(b"bytes"),
        np.array([b"ab", b""], "S2"),
        np.array(["ä", ""], "U1"),
        np.array([1, 2], ">i2"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::-2],
        np.array([np.nan, -np.nan, -0.0, np.inf]),
        np.arange(3).astype(ml_dtypes.bfloat16),
        np.array(1.5, ml_dtypes.bfloat16),
        ml_dtypes.bfloat16(1.5),
        np.arange(3).astype(ml_dtypes.float8_e4m3fn),
        np.arange(3).astype(ml_dtypes.int4),
    ],
)
def test_rare_values_come_back_as_they_were(value: Any) -> None:
    """The corners of each kind: signed zeros, numbers without an end, empty and strided arrays, bfloat16."""
    assert same(value, decode(encode(value)))


def test_numbers_of_any_length_come_back() -> None:
    """A number with more digits than Python would print is kept all the same."""
    assert [10**5000, -(3**9999)] == decode(encode([10**5000, -(3**9999)]))


def test_nan_keeps_its_bits_in_arrays() -> None:
    """A NaN's payload stays."""
    value = np.array([0x7FC00001, 0xFFC12345], np.uint32).view(np.float32)

    assert value.tobytes() == decode(encode(value)).tobytes()


@pytest.mark.parametrize(
    "value", [np.less, np.add, math.sqrt, operator.lt, keras.activations.relu, json.dumps, float, OrderedDict, Path]
)
def test_functions_and_classes_come_back_by_name(value: Any) -> None:
    """What a module has under its own name comes back as the very same object."""
    assert value is decode(encode({"of": [value]}))["of"][0]


def test_tensors_come_back_as_tensors() -> None:
    """A tensor is kept by its value and type, and still is one."""
    found = decode(encode([tf.constant([1.5, 2.5]), tf.constant(1, tf.bfloat16)]))

    assert [tf.float32, tf.bfloat16] == [tensor.dtype for tensor in found]
    assert ([1.5, 2.5], 1) == (found[0].numpy().tolist(), found[1].numpy())


class Mode(StrEnum):
    """Texts that are more than texts."""

    MIN = "min"


def holding_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (object(), "object"),
        (lambda: 0, "function"),
        ([{"deep": (object(),)}], "object"),
        ({object: {3: io.BytesIO()}}, "BytesIO"),
        (deque([1]), "deque"),
        (OrderedDict(a=1), "OrderedDict"),
        (Mode.MIN, "Mode"),
        (np.array([None]), "ndarray of object"),
        (np.zeros(2, [("a", int)]), "ndarray of"),
        (np.zeros(2, "V3"), "ndarray of"),
        (np.ma.masked_array([1, 2], [True, False]), "MaskedArray"),
        ([].append, "builtin_function_or_method"),
        (math, "module"),
        (tf.Variable(1.0), "ResourceVariable"),
        (holding_itself(), "list"),
        (1j, "complex"),
        (range(3), "range"),
    ],
)
def test_other_values_are_refused(value: Any, found: str) -> None:
    """What would come back as something else, or not at all, is an error that names its type."""
    assert found in raised(value)


def test_a_number_of_a_class_of_its_own_is_refused() -> None:
    """Subclasses of numbers and texts would lose their class."""
    assert "Level" == raised(type("Level", (int,), {})(3))
    assert "Name" == raised([type("Name", (str,), {})("a")])


# Damage.


def example() -> bytes:
    rng = np.random.default_rng(1)
    return encode(
        {
            "variables": {"model 0 kernel": rng.normal(size=(64, 64)).astype("float32"), "model 1 bias": np.arange(9)},
            "best": {"epoch": 3, "value": 0.25},
            "random": (3, tuple(range(40)), None),
            "bits": np.arange(3).astype(ml_dtypes.bfloat16),
        }
    )


DATA = example()
VALUE = decode(DATA)


def check_damaged(data: bytes) -> None:
    """Bytes are either no checkpoint or the same one."""
    try:
        found = decode(data)
    except Damaged:
        return
    assert same(VALUE, found)


@pytest.mark.parametrize("share", range(4))
def test_a_torn_file_is_damaged(share: int) -> None:
    """No beginning of a file is a checkpoint, and none is any other error."""
    ends = [*range(0, 64), *range(64, len(DATA) - 64, 61), *range(len(DATA) - 64, len(DATA))]
    for end in ends[share::4]:
        with pytest.raises(Damaged):
            decode(DATA[:end])


def test_flipped_bits_are_noticed() -> None:
    """Flipped bits make a file damaged or change nothing, in the headers of its arrays as everywhere else."""
    rng = random.Random(1)
    headers = [place for place in range(len(DATA)) if DATA.startswith(b"\x93NUMPY", place)]
    directory = DATA.index(b"PK\x01\x02")
    near = [place + offset for place in headers for offset in (*range(-40, 0), *range(6, 90))]
    near += range(directory, len(DATA))
    for _ in range(600):
        damaged = bytearray(DATA)
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            place = rng.choice(near) if rng.random() < 0.8 else rng.randrange(len(DATA))
            damaged[place] ^= 1 << rng.randrange(8)
        check_damaged(bytes(damaged))


def test_an_array_cut_short_by_its_own_header_is_damaged() -> None:
    """A header that tells of fewer rows than there are isn't believed, though NumPy would read no further."""
    for told in (b"(64, 64)", b"(24, 64)", b"(44, 64)", b"(64, 60)"):
        data = DATA.replace(b"(64, 64)", told)
        assert len(DATA) == len(data)
        check_damaged(data)
        if data != DATA:
            with pytest.raises(Damaged, match="CRC"):
                decode(data)


@law
@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_damaged(data: bytes, zipped: bool) -> None:
    """Bytes of no format, beginning as a zip file does or not, are damaged."""
    with pytest.raises(Damaged):
        decode(b"PK\x03\x04" * zipped + data)


def zipped(**members: Any) -> bytes:
    file = io.BytesIO()
    found: dict[str, Any] = {name: np.frombuffer(data, np.uint8) for name, data in members.items()}
    np.savez(file, **found)
    return file.getvalue()


def meta(state: Any, version: int = 1) -> bytes:
    return json.dumps({"format": version, "state": state}).encode()


@pytest.mark.parametrize(
    "data",
    [
        zipped(other=b""),
        zipped(meta=b"{"),
        zipped(meta=b"[]"),
        zipped(meta=b"\xff"),
        zipped(meta=b"[" * 100_000),
        zipped(meta=b'{"format": 1}'),
        zipped(meta=meta(None, version=2)),
        zipped(meta=meta({})),
        zipped(meta=meta({"$": "unknown"})),
        zipped(meta=meta({"$": "array", "at": 0})),
        zipped(meta=meta({"$": "array", "at": "../x"})),
        zipped(meta=meta({"$": "dict", "items": [1]})),
        zipped(meta=meta({"$": "dict", "items": [[{"$": "list", "items": []}, 1]]})),
        zipped(meta=meta({"$": "set", "items": 3})),
        zipped(meta=meta({"$": "int", "hex": "x"})),
        zipped(meta=meta({"$": "code", "module": "no.such", "name": "thing"})),
        zipped(meta=meta({"$": "code", "module": "math", "name": "no_such"})),
        zipped(meta=meta({"$": "array", "at": "meta", "type": "no type"})),
    ],
)
def test_files_of_another_kind_are_damaged(data: bytes) -> None:
    """An npz file of something else, of another version or with a wrong description is damaged."""
    with pytest.raises(Damaged):
        decode(data)


def test_members_that_encode_never_writes_are_damaged() -> None:
    """A compressed member, or one that is called encrypted, is refused before it is read."""
    file = io.BytesIO()
    np.savez_compressed(file, meta=np.frombuffer(meta(None), np.uint8))
    encrypted = bytearray(DATA)
    encrypted[DATA.index(b"PK\x01\x02") + 8] |= 1

    for data in (file.getvalue(), bytes(encrypted)):
        with pytest.raises(Damaged, match="no plain member"):
            decode(data)


def test_another_version_is_named() -> None:
    """A later format says which."""
    with pytest.raises(Damaged, match="format 2, not 1"):
        decode(zipped(meta=meta(None, version=2)))


def test_pickled_arrays_are_not_loaded() -> None:
    """No code of a file runs: an array of objects is refused before it is unpickled."""
    file = io.BytesIO()
    members: dict[str, Any] = {"0": np.array([Trap()], object)}
    np.savez(file, meta=np.frombuffer(meta({"$": "array", "at": 0}), np.uint8), **members)

    with pytest.raises(Damaged, match="allow_pickle"):
        decode(file.getvalue())


class Trap:
    """What pickle would run."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("code of the file was run",)


def test_the_file_is_one_of_numpy() -> None:
    """Anyone can open a checkpoint with NumPy."""
    with np.load(io.BytesIO(DATA), allow_pickle=False) as members:
        assert {"meta", "0", "1", "2"} == set(members.files)
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        assert archive.testzip() is None


# Callbacks.


@pytest.fixture(scope="module")
def model() -> Any:
    """A small compiled model."""
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    built.compile("adam", "mse", metrics=["mae"])
    return built


def begun(callback: Any, model: Any) -> dict[str, Any]:
    """Begin a training, and give what the callback knows then."""
    callback.set_params({"epochs": 9})
    callback.set_model(model)
    callback.on_train_begin()
    return dict(vars(callback))


def resumed(callback: Any, fresh: Any, model: Any, at_begin: dict[str, Any]) -> str | None:
    """Give a fresh callback what another one knows, by way of bytes; say what got lost."""
    state, lost = training_state.callback_state(callback, at_begin)
    begun(fresh, model)
    training_state.restore_callback(fresh, decode(encode(state)))
    return lost


LOSSES = [3.0, 2.0, 2.5, 1.9, 2.1, 2.2, 2.3, 2.4]


def after(callback: Any, epochs: range, model: Any) -> list[Any]:
    """What a callback does in some epochs, as the model shows it."""
    seen = []
    model.stop_training = False
    for epoch in epochs:
        callback.on_epoch_begin(epoch)
        for batch in range(3):
            callback.on_train_batch_end(batch, {"loss": LOSSES[epoch]})
        callback.on_epoch_end(epoch, {"loss": LOSSES[epoch], "val_loss": LOSSES[epoch]})
        seen.append((model.stop_training, float(model.optimizer.learning_rate.numpy())))
    return seen


def halved(epoch: int, rate: float) -> float:
    return rate / 2


class Counter(keras.callbacks.Callback):
    """A callback with plain attributes of its own, which it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Any, Any] = {"losses": [], "last": (None, np.zeros(2))}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Count."""
        self.seen["losses"].append(logs["loss"])
        self.seen[epoch] = np.float32(logs["loss"])
        self.model.stop_training = len(self.seen["losses"]) >= 6


MADE: dict[str, Any] = {
    "early": lambda folder: keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
    "early, rising": lambda folder: keras.callbacks.EarlyStopping("loss", mode="max", start_from_epoch=2, baseline=2.0),
    "plateau": lambda folder: keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, cooldown=1),
    "schedule": lambda folder: keras.callbacks.LearningRateScheduler(halved),
    "schedule, lambda": lambda folder: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
    "save": lambda folder: keras.callbacks.ModelCheckpoint(folder / "m-{epoch}.keras", "loss", save_best_only=True),
    "save, steps": lambda folder: keras.callbacks.ModelCheckpoint(folder / "s.keras", save_freq=4),
    "counter": lambda folder: Counter(),
    "history": lambda folder: keras.callbacks.History(),
    "nan": lambda folder: keras.callbacks.TerminateOnNaN(),
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("at", [1, 3, 4])
def test_callbacks_go_on_as_if_nothing_had_been(tmp_path: Path, model: Any, kind: str, at: int) -> None:
    """A callback restored after some epochs does in the later ones what it would have done, and nothing is lost."""
    rate = model.optimizer.learning_rate.numpy()
    whole = MADE[kind](tmp_path)
    begun(whole, model)
    expected = after(whole, range(6), model)
    model.optimizer.learning_rate.assign(rate)

    first, second = MADE[kind](tmp_path), MADE[kind](tmp_path)
    at_begin = begun(first, model)
    found = after(first, range(at), model)
    assert resumed(first, second, model, at_begin) is None
    found += after(second, range(at, 6), model)
    model.optimizer.learning_rate.assign(rate)

    assert expected == found
    known = [training_state.callback_state(callback, {})[0] for callback in (whole, second)]
    assert same(known[0], known[1])


def test_model_and_params_are_no_state(model: Any) -> None:
    """What Keras gives a callback anew isn't kept."""
    callback = Counter()
    at_begin = begun(callback, model)

    assert {"seen", "validation_data"} >= set(training_state.callback_state(callback, at_begin)[0]) >= {"seen"}


class Telling(keras.callbacks.Callback):
    """A callback that tells its state itself, beside what can't be kept."""

    def __init__(self, told: Any) -> None:
        super().__init__()
        self.told = told
        self.file = io.StringIO()

    def get_state(self) -> Any:
        """What to keep."""
        return self.told

    def set_state(self, state: Any) -> None:
        """Take it back."""
        self.told = ("taken", state)


def test_a_callback_may_tell_its_state(model: Any) -> None:
    """With get_state and set_state nothing else is looked at, and nothing is lost."""
    callback, fresh = Telling({"best": 3}), Telling(None)

    assert resumed(callback, fresh, model, begun(callback, model)) is None
    assert ("taken", {"best": 3}) == fresh.told


@pytest.mark.parametrize("told", [object(), {"file": io.StringIO()}, holding_itself()], ids=["object", "file", "cycle"])
def test_a_state_that_is_not_plain_is_refused(model: Any, told: Any) -> None:
    """A get_state that returns what can't be kept is an error of the spec."""
    with pytest.raises(StageError, match=r"Telling\.get_state must return") as caught:
        training_state.callback_state(Telling(told), {})

    assert "return what set_state needs as such values" == caught.value.fix


def test_a_state_without_a_way_back_is_left() -> None:
    """A callback with get_state alone says that it needs nothing back."""

    class Silent(keras.callbacks.Callback):
        def get_state(self) -> None:
            pass

    callback = Silent()
    before = dict(vars(callback))
    training_state.restore_callback(callback, {"anything": 1})

    assert before == vars(callback)


def test_what_cannot_be_kept_is_told(tmp_path: Path, model: Any) -> None:
    """An open file, an object, or code that has changed since the beginning gets lost, which is said by its name."""
    callback = Counter()
    callback.size = 3
    with (tmp_path / "log").open("w") as file:
        callback.file = file
        at_begin = begun(callback, model)
        state, lost = training_state.callback_state(callback, at_begin)

    assert ("Counter.file is a TextIOWrapper", 3) == (lost, state["size"])
    assert "file" not in state


def test_constants_are_not_lost(tmp_path: Path, model: Any) -> None:
    """Functions, layers, paths and choices that stay the same need no keeping; one put in their place later does."""
    callback = Counter()
    callback.function, callback.layer = (lambda: 0), model.layers[0]
    callback.path, callback.choice = tmp_path, Mode.MIN
    at_begin = begun(callback, model)
    assert training_state.callback_state(callback, at_begin)[1] is None

    callback.function = lambda: 1
    assert "Counter.function is a function" == training_state.callback_state(callback, at_begin)[1]


# Variables and random generators.


def trained() -> Any:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    built.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"], run_eagerly=True)
    built.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    return built


@pytest.mark.real
def test_a_training_goes_on_from_its_variables() -> None:
    """With all variables set a model of the same build trains on to the same bits, dropout and metrics too."""
    x, y = np.ones((4, 2)), np.ones((4, 1))
    first = trained()
    saved = decode(encode(training_state.values(first)))
    expected = [first.train_on_batch(x, y, return_dict=True) for _ in range(2)]
    end = training_state.values(first)

    second = trained()
    second.train_on_batch(x * 3, y)
    training_state.assign(second, saved)
    found = [second.train_on_batch(x, y, return_dict=True) for _ in range(2)]

    assert str(expected) == str(found)
    assert same(list(end.values()), list(training_state.values(second).values()))
    groups = {name.partition(" ")[0] for name in saved}
    assert {"model", "optimizer", "metrics", "generator"} == groups


@pytest.mark.real
def test_the_state_of_another_model_is_damaged() -> None:
    """Values of other shapes, too many or too few of them, are refused before any is set."""
    built = trained()
    before = training_state.values(built)
    first = next(iter(before))
    for wrong in ({**before, first: np.zeros(3)}, {**before, "model 9 more": np.zeros(3)}, {first: before[first]}, {}):
        with pytest.raises(Damaged, match="not those of the model"):
            training_state.assign(built, {name: value * 2 for name, value in wrong.items()})

    assert same(before, training_state.values(built))


@pytest.mark.real
def test_groups_can_be_left_out() -> None:
    """Metrics stay when they are left out, and weights alone can be set."""
    built = trained()
    changed = {name: np.ones_like(value) * 7 for name, value in training_state.values(built).items()}

    def sevens() -> set[str]:
        return {name.partition(" ")[0] for name, value in training_state.values(built).items() if (value == 7).all()}

    training_state.assign_weights(built, changed)
    assert {"model"} == sevens()
    training_state.assign(built, changed, ("metrics",))
    assert {"model", "optimizer", "generator"} == sevens()


def test_values_are_copies() -> None:
    """What was read stays as it was while the training goes on."""
    built = trained()
    saved = training_state.values(built)
    before = {name: value.copy() for name, value in saved.items()}
    built.train_on_batch(np.ones((4, 2)), np.zeros((4, 1)))

    assert same(before, saved)


def test_an_optimizer_of_ones_own_is_kept() -> None:
    """A model with an optimizer for each part, in attributes of its own, has them all in its state, each once."""
    built = trained()
    built.second = keras.optimizers.SGD(0.1, momentum=0.9)
    built.second.build(built.trainable_variables)
    found = training_state.variables(built)

    assert any(name.startswith("optimizer second ") for name in found)
    assert len(found) == len({id(variable) for variable in found.values()})


@law
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.booleans())
def test_random_generators_go_on(seed: int, drawn: int, odd: bool) -> None:
    """Python's and NumPy's generators go on from where they were, in the middle of a pair of normal numbers too."""

    def draws() -> list[Any]:
        return [random.random(), random.gauss(0, 1), np.random.standard_normal(), *np.random.randint(0, 99, 3)]

    random.seed(seed)
    np.random.seed(seed)
    for _ in range(drawn):
        draws()
    if odd:
        np.random.standard_normal()
        random.gauss(0, 1)
    data = encode(training_state.random_states())
    expected = draws()
    random.seed(1)
    np.random.seed(1)

    training_state.restore_random_states(decode(data))

    assert expected == draws()


class Noisy(keras.layers.Layer):
    """Draws in a way that can be resumed, or in one that can't."""

    def __init__(self, exact: bool) -> None:
        super().__init__()
        self.exact, self.seed = exact, keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        """Add noise."""
        if self.exact:
            return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)
        return x + tf.random.normal(tf.shape(x))


@pytest.mark.real
@pytest.mark.parametrize("exact", [True, False])
def test_draws_outside_keras_are_found(exact: bool) -> None:
    """A layer that draws with tf.random is found in the graph that was trained; one with keras.random isn't one."""
    built = keras.Sequential([keras.Input((2,)), Noisy(exact), keras.layers.Dropout(0.1), keras.layers.Dense(1)])
    assert not training_state.draws_outside_keras(built)
    built.compile("sgd", "mse", jit_compile=False)
    built.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)

    assert (not exact) == training_state.draws_outside_keras(built)
