"""Laws of the digests of values: the same for equal values, different for any others, from run to run."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import itertools
import os
import pathlib
import re
import subprocess
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mltkbuild.fingerprint.values import Unfingerprintable, digest_file, digest_value, is_plain, order, readable


class Color(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    """An enum whose members are equal to numbers."""

    ONE = 1


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Other(NamedTuple):
    """A named tuple of the same values."""

    x: int
    y: int


@dataclasses.dataclass
class Box:
    """A dataclass."""

    x: object
    y: object = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """A dataclass without `__dict__`."""

    x: object
    y: object = 0


class Words(list[str]):
    """A list with an attribute."""


def words(*items: str, lang: str) -> Words:
    """Make a list with its attribute."""
    made = Words(items)
    made.lang = lang  # type: ignore[attr-defined]  # an attribute that only some have
    return made


structured = np.dtype([("a", "i1"), ("b", "f4")])
ZURICH = zoneinfo.ZoneInfo("Europe/Zurich")
NOON = datetime.datetime(2024, 1, 1, 12)
UTC = datetime.UTC

# Each differs from every other, however alike they are.
DIFFERENT: list[object] = [
    *(None, ..., True, False, 0, 1, -1, 2**200, 0.0, -0.0, 1.0, 1e-300, float("inf"), float("nan"), 1j, 1 + 0j, 0j),
    *(complex(0, -0.0), "", "1", "None", "a", "é", "\ud800", b"", b"1", b"a", bytearray(b"a"), b"a\0b", "a\0b"),
    *([], (), {}, set(), frozenset(), collections.deque(), collections.deque(maxlen=3), [[]], [()], ([],), [[], []]),
    *([1], (1,), {1}, frozenset({1}), {1: None}, collections.deque([1]), [1.0], [True], ["1"], [1, 1], [[1], 1]),
    *([1, [1]], ["a", "b"], ["ab"], ["ab", ""], ["", "ab"], [["a"], "b"], [["a", "b"]], "ab", ("a", "b"), {"a", "b"}),
    *({"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {1: "a"}, {"a": {"b": 1}}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
    *([("a", 1)], types.MappingProxyType({"a": 1}), collections.OrderedDict(a=1), collections.Counter("a")),
    *(collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), collections.defaultdict(int, a=1)),
    *(collections.defaultdict(list, a=["1"]), collections.defaultdict(None, a=1), int, float, list),
    *(range(0), range(3), range(0, 3, 2), slice(3), slice(0, 3), slice(None)),
    *(Color.RED, Color.BLUE, Level.ONE, Point(1, 2), Other(1, 2), Point(2, 1), (1, 2), Box(1), Box(1.0), Box(1, 1)),
    *(Slotted(1), Slotted(2), Box([1]), words("a", lang="en"), words("a", lang="de"), Words(["a"]), ["a"]),
    *(pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), pathlib.PurePosixPath("a/b"), pathlib.Path("a")),
    *(NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=ZURICH), NOON.date(), NOON.time()),
    *(
        datetime.timedelta(1),
        datetime.timedelta(seconds=1),
        UTC,
        datetime.timezone(datetime.timedelta(hours=1)),
        ZURICH,
    ),
    *(decimal.Decimal(1), decimal.Decimal("1.0"), fractions.Fraction(1), fractions.Fraction(1, 3), uuid.UUID(int=1)),
    *(re.compile("a"), re.compile(b"a"), re.compile("a", re.I)),
    *(np.float32(1), np.float64(1), np.int8(1), np.int16(1), np.bool_(True), np.str_("1"), np.bytes_(b"1")),
    *(np.dtype("f4"), np.dtype("f8"), np.dtype(">f4"), structured, np.dtype(("f4", (2,))), np.dtype("U1")),
    *(np.zeros(0), np.zeros((0, 1)), np.zeros(1), np.zeros((1, 1)), np.array(0.0), np.array(-0.0), np.zeros(1, "f4")),
    *(np.zeros(1, "i1"), np.zeros(1, "i2"), np.zeros(1, "u1"), np.zeros(1, ">i2"), np.zeros(1, bool), np.zeros(1, "G")),
    *(np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2), np.arange(6), np.arange(6).reshape(2, 3).T),
    *(np.array(["a"]), np.array([b"a"]), np.array(["a"], object), np.array([b"a"], object), np.array([[1], 2], object)),
    *(np.zeros(1, structured), np.ones(1, structured), np.array(["2020"], "M8[D]"), np.array([1], "m8[s]")),
    *(
        np.array([1], "m8[ms]"),
        np.ma.masked_array([1, 2], [False, True]),
        np.ma.masked_array([1, 2], [False, False]),
        np.array([1, 2]),
    ),
    *(np.array(["a"], np.dtypes.StringDType()), np.float64("nan"), np.longdouble(1)),
]


def test_values_that_differ_have_different_digests() -> None:
    """No two values of the table share a digest: type, order, nesting, dtype, shape and sign of zero all count."""
    digests = {digest_value(value) for value in DIFFERENT}

    assert len(DIFFERENT) == len(digests)
    assert {64} == {len(digest) for digest in digests}


def test_values_that_differ_have_different_readable_forms() -> None:
    """No two values of the table look the same to people, and YAML keeps every form as it is."""
    forms = [repr(readable(value)) for value in DIFFERENT]
    written = yaml.safe_dump([readable(value) for value in DIFFERENT], allow_unicode=True)

    assert len(DIFFERENT) == len(set(forms))
    assert forms == [repr(form) for form in yaml.safe_load(written)]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.decimals(allow_nan=False)
    | st.dates()
)
keys = st.integers() | st.text(max_size=3) | st.tuples(st.booleans(), st.text(max_size=2))


def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make containers of what a strategy makes."""
    return (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.builds(Box, inner)
    )


values = st.recursive(scalars, nest, max_leaves=12)


def remade(value: Any, moved: Callable[[list[Any]], list[Any]]) -> Any:
    """Make an equal value anew, sets in another order."""
    if isinstance(value, dict):
        return {key: remade(item, moved) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return type(value)(moved(list(value)))
    if isinstance(value, list | tuple):
        return type(value)(remade(item, moved) for item in value)
    if isinstance(value, Box):
        return Box(remade(value.x, moved))
    return value


def spelled(value: Any) -> str:
    """Write a value so that two are alike only if their types are, all the way down."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{spelled(key)}:{spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, frozenset):
        return "frozenset{" + ",".join(sorted(map(spelled, value))) + "}"
    if isinstance(value, list | tuple):
        return type(value).__name__ + "(" + ",".join(map(spelled, value)) + ")"
    return f"Box({spelled(value.x)})" if isinstance(value, Box) else f"{type(value).__name__} {value!r}"


@given(values)
def test_the_order_of_making_does_not_count(value: object) -> None:
    """Law: equal values of equal types have equal digests and forms, whatever order sets were filled in."""
    other = remade(value, lambda items: items[::-1])

    assert digest_value(value) == digest_value(other)
    assert readable(value) == readable(other)


def made(kind: str, items: list[tuple[Any, Any]]) -> Any:
    """Make a mapping of a kind, or an object with these attributes, filled in this order."""
    if kind in ("SimpleNamespace", "Bag"):
        bag = types.SimpleNamespace() if kind == "SimpleNamespace" else Words()
        for key, item in items:
            setattr(bag, f"a{key}", item)
        return vars(bag) if kind == "SimpleNamespace" else bag
    filled = dict(items)
    if kind == "proxy":
        return types.MappingProxyType(filled)
    makers: dict[str, Callable[[Any], Any]] = {
        "dict": dict,
        "Counter": lambda pairs: collections.Counter(dict(pairs)),
        "defaultdict": lambda pairs: collections.defaultdict(list, pairs),
        "OrderedDict": collections.OrderedDict,
    }
    return makers[kind](filled.items())


@pytest.mark.parametrize("kind", ["dict", "Counter", "defaultdict", "OrderedDict", "proxy", "SimpleNamespace", "Bag"])
@settings(deadline=None)  # a busy machine is no failure
@given(st.dictionaries(keys, scalars, max_size=5), st.data())
def test_the_order_of_a_mapping_counts_and_nothing_else_of_its_making(
    kind: str, filled: dict[Any, Any], data: st.DataObject
) -> None:
    """Law: the same items in another order are another value, wherever they lie; in the same order they are not."""
    items = list(filled.items())
    other = data.draw(st.permutations(items))
    one, same, moved = made(kind, items), made(kind, list(items)), made(kind, other)

    assert digest_value(one) == digest_value(same)
    assert (items == other) == (digest_value(one) == digest_value(moved))
    assert (items == other) == (digest_value([{"a": one}]) == digest_value([{"a": moved}]))
    assert (items == other) == (repr(readable(one)) == repr(readable(moved)))


@pytest.mark.parametrize(
    "value", [{"b": 1, "a": 2}, {"b": {"z": 1, "y": 2}, "a": 3}, [{2: "a", 1: "b"}], {"a": [{"c": 1, "b": 2}]}]
)
def test_the_order_of_a_form_is_told_where_it_is_sorted(value: Any) -> None:
    """YAML and JSON sort by key, and dicts compare without order: another order is told in words."""

    def backwards(part: Any) -> Any:
        if isinstance(part, list):
            return [backwards(item) for item in part]
        return {key: backwards(part[key]) for key in reversed(part)} if isinstance(part, dict) else part

    assert readable(value) == readable(backwards(value))
    assert order(readable(value))
    assert [] == order(readable(backwards(value)))


def test_the_order_of_a_form_names_each_key() -> None:
    """An alphabetical order goes without saying, at every depth."""
    assert [] == order(readable({"a": 1, "b": {"c": 2, "d": 3}}))
    assert ["['b']", "['a']"] == order(readable({"b": {"c": 2, "d": 3}, "a": 1}))


@given(values, values)
def test_digests_and_forms_are_equal_only_for_alike_values(one: object, other: object) -> None:
    """Law: two values share a digest, or a readable form, exactly if they are alike down to their types."""
    alike = spelled(one) == spelled(other)

    assert alike == (digest_value(one) == digest_value(other))
    assert alike == (repr(readable(one)) == repr(readable(other)))


@given(values)
def test_a_container_is_not_what_it_holds(value: object) -> None:
    """Law: every container around a value gives a digest of its own."""
    around = [value, [value], (value,), {"a": value}, Box(value), [value, value], [[value]], {"b": value}, [(value,)]]

    assert len(around) == len({digest_value(item) for item in around})


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_parts_do_not_run_together(one: list[str], other: list[str]) -> None:
    """Law: two lists of strings share a digest only if they are equal, however the strings are cut."""
    assert (one == other) == (digest_value(one) == digest_value(other))
    assert (one == other) == (digest_value("".join(one)) == digest_value("".join(other)) and one == other)


dtypes = hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.boolean_dtypes()
arrays = hnp.arrays(dtypes, hnp.array_shapes(max_dims=3, max_side=4))


@given(arrays)
def test_the_memory_layout_of_an_array_does_not_count(array: Any) -> None:
    """Law: C order, Fortran order, copies and views of the same content have equal digests."""
    big = np.empty((*array.shape, 2), array.dtype)
    big[..., 0] = array

    assert {digest_value(array)} == {
        digest_value(other)
        for other in (np.asfortranarray(array), array.copy(), big[..., 0], array[..., ::-1][..., ::-1])
    }


@given(arrays, st.data())
def test_an_element_of_an_array_counts(array: Any, data: st.DataObject) -> None:
    """Law: another dtype, shape or element gives another digest."""
    other = array.copy()
    at = data.draw(st.integers(0, array.size - 1))
    other.flat[at] = data.draw(hnp.from_dtype(array.dtype))
    assume(other.tobytes() != array.tobytes())

    assert digest_value(array) != digest_value(other)
    assert digest_value(array) != digest_value(array[None])
    assert digest_value(array) != digest_value(array.astype("O"))


def test_padding_in_a_structured_array_does_not_count() -> None:
    """Bytes between the fields hold whatever was in memory."""
    dtype = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    one, other = np.zeros(2, dtype), np.frombuffer(b"\xff" * 32, dtype).copy()
    other["a"], other["b"] = 0, 0

    assert digest_value(one) == digest_value(other)


def test_a_value_that_holds_itself_has_a_digest() -> None:
    """Lists and dicts that contain themselves end, and differ by their content."""

    def loop(item: object) -> list[object]:
        made: list[object] = [item]
        made.append(made)
        return made

    around: dict[str, object] = {}
    around["me"] = [around]

    assert digest_value(loop(1)) == digest_value(loop(1))
    assert 4 == len({digest_value(value) for value in (loop(1), loop(2), around, [loop(1)])})


def test_a_shared_part_counts_as_two_equal_ones() -> None:
    """Whether two places hold one object or two equal ones doesn't count, and sharing costs no time."""
    shared: list[object] = ["a"]
    deep: list[object] = []
    for _ in range(100):
        deep = [deep, deep]

    assert digest_value([["a"], ["a"]]) == digest_value([shared, shared])
    assert digest_value(deep) != digest_value([deep])


def test_digests_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Two processes with other hash seeds and working folders agree."""
    program = (
        "import numpy as np, pathlib; from mltkbuild.fingerprint.values import digest_value, readable\n"
        "v = {'s': {'x', 'y', 'z'}, 'f': frozenset('abc'), 'p': pathlib.Path('a'), 'n': np.arange(3)}\n"
        "print(digest_value(v), readable(v), digest_value({(1, 'a'): {'q', 'r'}}))\n"
    )
    outputs = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        env = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(os.path.abspath(p) for p in sys.path),
        }
        command = [sys.executable, "-c", program]
        outputs.add(subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True).stdout)

    assert len(outputs) == 1


def test_digests_stay_the_same_from_version_to_version() -> None:
    """Records on disk hold digests, so the encoding can't drift unnoticed."""
    expected = "df15426838d282b0aa8c15c60840cd79d011c8e9cc73f4115ec871d548ceb75b"

    assert expected == digest_value([1, "a", {"b": (2.5, None)}, {3}, np.arange(3, dtype="<i4")])


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        (object(), "value", "object"),
        ([1, {"a": (object(),)}], "value[1]['a'][0]", "object"),
        ({"a": lambda: 0}, "value['a']", "function"),
        (Box(1, iter([])), "value.y", "list_iterator"),
        ({Color}, "value{enum.EnumType}", "enum.EnumType"),
        (np.array([1, object()]), "value[1]", "object"),
        (collections.defaultdict(lambda: 0), "value.default_factory", "function"),
    ],
)
def test_what_has_no_digest_is_named_with_its_place(value: object, path: str, kind: str) -> None:
    """An unsupported part is reported by its type and the way to it."""
    with pytest.raises(Unfingerprintable) as caught:
        digest_value(value)

    assert (path, kind) == (caught.value.path, caught.value.kind)
    assert f"can't fingerprint a {kind} at {path}" == str(caught.value)


def test_nesting_without_end_is_refused() -> None:
    """A value nested deeper than Python's stack is reported, not crashed on."""
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]

    with pytest.raises(Unfingerprintable, match="nested too deep"):
        digest_value(deep)


def test_opaque_stands_in_for_what_has_no_digest() -> None:
    """A stand-in decides the digest, and isn't taken for a value that is equal to it."""

    def named(value: object) -> object:
        return getattr(value, "__name__", value)

    assert digest_value([len], named) == digest_value([len], named)
    assert 3 == len({digest_value([item], named) for item in (len, abs, "len")})
    with pytest.raises(Unfingerprintable):
        digest_value([object()], named)


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """A file's digest is the sha256 of its bytes, for any size."""
    data = bytes(range(256)) * 5000
    file = tmp_path / "file"
    file.write_bytes(data)

    assert hashlib.sha256(data).hexdigest() == digest_file(str(file))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        -0.5,
        "relu",
        [1, 2, 3],
        {"a": [1, {"b": None}]},
        {0: 1.5, 1: 2},
        [],
        {},
        list(range(20)),
        "x" * 200,
    ],
)
def test_short_values_are_readable_as_they_are(value: object) -> None:
    """Scalars, and small lists and dicts of them, are kept."""
    assert repr(value) == repr(readable(value))


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ((3, 3), "tuple (3, 3)"),
        (np.zeros((17, 8), "f4"), "ndarray float32 (17, 8)"),
        (np.float32(0.5), "float32 0.5"),
        (list(range(21)), "list of 21"),
        ([[0] * 10] * 2, "list of 2"),
        ("x" * 201, "str of 201"),
        ("list of 1000 sha256:0123456789ab", "str of 32"),
        (2**300, "int of 301 bits"),
        (pathlib.PurePosixPath("a/b"), "PurePosixPath a/b"),
        (Color.RED, "Color.RED"),
        (Box(1), "Box"),
        ({1: 2, "a": 3}, "dict of 2"),
    ],
)
def test_other_values_are_readable_with_a_digest(value: object, start: str) -> None:
    """What's too long or isn't plain is one line: its kind, a glimpse, and its short digest."""
    assert f"{start} sha256:{digest_value(value)[:12]}" == readable(value)


def test_a_short_value_shows_its_long_parts_by_digest() -> None:
    """Inside a small dict only the parts that don't fit become lines."""
    value = {"size": (3, 3), "name": "conv"}

    assert {"name": "conv", "size": f"tuple (3, 3) sha256:{digest_value((3, 3))[:12]}"} == readable(value)


def test_plain_values_hold_no_code() -> None:
    """Built-in types, the standard library's leaves and arrays are plain; functions and instances aren't."""
    loop: list[object] = []
    loop.append(loop)
    plain = [1, [{"a": ({1.5}, b"")}], np.zeros(3), np.int8(1), pathlib.Path("a"), loop, collections.Counter("a")]

    assert all(map(is_plain, plain))
    assert not any(map(is_plain, [len, [len], Box(1), {"a": Point(1, 2)}, np.array([len]), Color.RED, int]))


def test_tensorflow_and_keras_objects_count_by_content_and_config() -> None:
    """Tensors, dtypes, layers and optimizers have digests, and any setting or weight counts."""
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")

    def dense(units: int, *, build: bool = False, kernel: str = "zeros") -> object:
        layer = keras.layers.Dense(units, name="dense", kernel_initializer=kernel)
        if build:
            layer.build((None, 2))
        return layer

    different = [
        *(tf.float32, tf.int8, np.dtype("f4"), tf.constant(1.0), tf.constant([1.0]), tf.constant(1), np.float32(1)),
        *(tf.TensorShape((1,)), tf.TensorShape(None), tf.TensorSpec((1,)), tf.constant("a"), tf.Variable(1.0)),
        *(dense(3), dense(4), dense(3, build=True)),
        *(keras.optimizers.SGD(0.5, name="o"), keras.optimizers.SGD(0.25, name="o"), keras.losses.MeanSquaredError()),
    ]
    ones, twos = dense(3, build=True), dense(3, build=True)
    twos.set_weights([np.ones((2, 3)), np.ones(3)])  # type: ignore[attr-defined]  # a Keras layer

    assert len(different) == len({digest_value(item) for item in different})
    assert digest_value(dense(3)) == digest_value(dense(3))
    assert digest_value(ones) == digest_value(dense(3, build=True))
    assert digest_value(ones) != digest_value(twos)
    assert digest_value(tf.constant([[1, 2]])) == digest_value(tf.constant([[1, 2]]))
    with pytest.raises(Unfingerprintable, match="its config holds a lambda"):
        digest_value(keras.metrics.MeanMetricWrapper(lambda a, b: a, name="m"))
    with pytest.raises(Unfingerprintable, match="KerasTensor"):
        digest_value(keras.Input((2,)))


def test_every_pair_of_the_table_stays_different_inside_a_list() -> None:
    """The table's values differ as parts of a container, too."""
    pairs = itertools.pairwise(DIFFERENT)

    assert len(DIFFERENT) - 1 == len({digest_value(list(pair)) for pair in pairs})
