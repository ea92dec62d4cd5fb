"""The canonical encoding behind `values.digest_value`: a tree of sha256 digests.

A leaf is a type tag and its content; a container is a type tag and the digests of its parts. Every part has its length
before it, so that no two values share an encoding.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import hashlib
import pathlib
import re
import types
import uuid
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mltkbuild.fingerprint import kinds

_CHUNK = 1 << 18


class Unfingerprintable(Exception):
    """A value has no exact digest.

    Args:
        kind: The type that can't be digested, `module.Class`.
        path: Where inside the value it was found, such as `value['layers'][3].activation`.
        why: What stands in the way, when it's more than the type.
    """

    def __init__(self, kind: str, path: str, why: str = "") -> None:
        super().__init__(kind, path, why)
        self.kind = kind
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"can't fingerprint a {self.kind} at {self.path}" + (f": {self.why}" if self.why else "")


class Encoder:
    """One walk over one value: who's above (for cycles), and what's done (so that shared parts are walked once)."""

    def __init__(self, opaque: Callable[[object], object] | None) -> None:
        self.opaque = opaque
        self.above: dict[int, int] = {}
        self.done: dict[int, tuple[object, bytes]] = {}
        # The outermost depth that a back reference from inside the current container points to.
        self.lowest = 0

    def encode(self, value: object, path: str) -> bytes:
        """Digest one part, found at `path`."""
        leaf = LEAVES.get(type(value))
        if leaf is not None:
            return _pack(kinds.type_name(value), leaf(value))
        key = id(value)
        if key in self.done:
            return self.done[key][1]
        depth = len(self.above)
        if key in self.above:
            self.lowest = min(self.lowest, self.above[key])
            return _pack("cycle", b"%d" % (depth - self.above[key]))
        outer, self.lowest = self.lowest, depth
        self.above[key] = depth
        digest = self._composite(value, path)
        del self.above[key]
        if self.lowest >= depth:
            # Holding the value keeps its id from being given to another.
            self.done[key] = value, digest
        self.lowest = min(outer, self.lowest)
        return digest

    def _composite(self, value: Any, path: str) -> bytes:
        kind = type(value)
        if issubclass(kind, type):
            return self._class(value, path)
        for encode in (self._standard, self._numeric, self._keras):
            digest = encode(value, path)
            if digest is not None:
                return digest
        content = self._content(value, path)
        if content is not None and kind in _EXACT:
            return _pack(kinds.type_name(value), content)
        if content is not None or hasattr(kind, "__dataclass_fields__"):
            return self._instance(value, content, path)
        return self._stand_in(value, path)

    def _content(self, value: Any, path: str) -> bytes | None:
        """Encode what a value holds as one of the built-in containers or scalars, whatever its subclass."""
        kind = type(value)
        for base, encode in _CONTENTS:
            if issubclass(kind, base):
                return encode(self, value, path)
        for scalar in (int, float, complex, str, bytes, bytearray):
            if issubclass(kind, scalar):
                return LEAVES[scalar](value)
        return None

    def _list(self, value: list[object], path: str) -> bytes:
        return self._items("list", list.__iter__(value), path)

    def _tuple(self, value: tuple[object, ...], path: str) -> bytes:
        return self._items("tuple", tuple.__iter__(value), path)

    def _deque(self, value: deque[object], path: str) -> bytes:
        return self._items(f"deque {value.maxlen}", value, path)

    def _items(self, tag: str, items: Iterable[object], path: str) -> bytes:
        return _pack(tag, *[self.encode(item, f"{path}[{at}]") for at, item in enumerate(items)])

    def _set(self, value: Iterable[object], path: str) -> bytes:
        return _pack("set", *sorted(self.encode(item, f"{path}{{{show(item)}}}") for item in value))

    def _ordered(self, value: Mapping[object, object], path: str) -> bytes:
        return _pack("ordered", *[self._pair(key, item, path) for key, item in value.items()])

    def _dict(self, value: dict[object, object], path: str) -> bytes:
        pairs = [self._pair(key, item, path) for key, item in dict.items(value)]
        # The order that goes without saying has the digest that dicts had before their order counted.
        return _pack("dict", *sorted(pairs)) if kinds.is_sorted(dict.keys(value)) else _pack("dict in order", *pairs)

    def _default(self, value: defaultdict[object, object], path: str) -> bytes:
        factory = self.encode(value.default_factory, f"{path}.default_factory")
        return _pack("default", factory, self._dict(value, path))

    def _proxy(self, value: types.MappingProxyType[object, object], path: str) -> bytes:
        return self._dict(dict(value), path)

    def _steps(self, value: Any, path: str) -> bytes:
        return self._items("steps", (value.start, value.stop, value.step), path)

    def _pair(self, key: object, item: object, path: str) -> bytes:
        place = f"{path}[{show(key)}]"
        return _pack("pair", self.encode(key, f"{place} (the key)"), self.encode(item, place))

    def _class(self, value: type, path: str) -> bytes:
        if value.__module__ == "builtins":
            return _pack("class", value.__qualname__.encode())
        return self._stand_in(value, path)

    def _standard(self, value: Any, path: str) -> bytes | None:
        """Encode the standard library's types that are made of others."""
        if isinstance(value, enum.Enum):
            member = self.encode(value.name, path), self.encode(value._value_, f"{path}.value")
            return _pack("enum " + kinds.type_name(value), *member)
        if isinstance(value, pathlib.PurePath):
            # Its module depends on the version of Python.
            return _pack(f"path {type(value).__name__}", _text(str(value)))
        if type(value) in (datetime.datetime, datetime.time):
            zone = self.encode(value.tzinfo, f"{path}.tzinfo")
            return _pack(kinds.type_name(value), _text(value.isoformat()), b"%d" % value.fold, zone)
        if isinstance(value, datetime.tzinfo):
            # A ZoneInfo is known by its key; a fixed offset by its repr, which is exact.
            name = repr(value) if type(value) is datetime.timezone else getattr(value, "key", None)
            return _pack(kinds.type_name(value), _text(name)) if isinstance(name, str) else None
        return None

    def _numeric(self, value: Any, path: str) -> bytes | None:
        """Encode NumPy's and TensorFlow's arrays, scalars and dtypes."""
        kind = type(value)
        if kinds.is_array(kind):
            digest = _pack(kinds.class_name(kind), self._array(value, path))
            more = kinds.attributes_of_array(value)
            return _pack("attributed", digest, self.encode(more, f"{path}.__dict__")) if more else digest
        if kinds.is_numpy_scalar(kind):
            return _pack("scalar", self._array(value.__array__(), path))
        if kinds.is_dtype(kind):
            return _pack("dtype", _dtype(value))
        if kinds.is_tf_dtype(kind) or kinds.is_tf_spec(kind):
            return _pack(f"tf.{kind.__name__}", _text(repr(value)))
        if kinds.is_tensor(kind):
            try:
                content = value.numpy()
            except Exception as error:
                # A symbolic tensor; each kind has its own exception for it.
                raise Unfingerprintable(kinds.type_name(value), path, "its content can't be read") from error
            return _pack("tensor " + kind.__name__, self.encode(content, path))
        return None

    def _array(self, value: Any, path: str) -> bytes:
        head = _dtype(value.dtype), repr(tuple(value.shape)).encode()
        if hasattr(value, "mask"):
            return _pack("masked", *head, self._array(value.filled(), path), self._array(value.mask, path))
        if value.dtype.names is not None:
            # Field by field: the padding between fields holds whatever was in memory.
            fields = [self._array(value[name], f"{path}[{name!r}]") for name in value.dtype.names]
            return _pack("structured", *head, *fields)
        flat = value.reshape(-1)
        if value.dtype.kind in "OT":
            return _pack("objects", *head, self._items("items", flat.tolist(), path))
        if value.dtype.char in "gG":
            # An extended float is padded with whatever was in memory, too.
            return _pack("extended", *head, *[_text(str(item)) for item in flat])
        state = hashlib.sha256()
        for start in range(0, len(flat), _CHUNK):
            state.update(flat[start : start + _CHUNK].tobytes())
        return _pack("array", *head, state.digest())

    def _keras(self, value: Any, path: str) -> bytes | None:
        """Encode a Keras object by its class, its config, and its weights where it has some."""
        if not kinds.is_keras(value):
            return None
        config, weights = keras_state(value, path)
        parts = self.encode(config, f"{path}.get_config()"), self.encode(weights, f"{path}.get_weights()")
        return _pack("keras " + kinds.type_name(value), *parts)

    def _instance(self, value: object, content: bytes | None, path: str) -> bytes:
        """Encode an instance of a dataclass, or of a subclass of a built-in type: content and attributes."""
        attributes = kinds.attributes_of(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            attributes["_fields"] = value._fields
        parts = [_pack(name, self.encode(item, f"{path}.{name}")) for name, item in attributes.items()]
        return _pack("instance " + kinds.type_name(value), content or b"", *parts)

    def _stand_in(self, value: object, path: str) -> bytes:
        stand_in = value if self.opaque is None else self.opaque(value)
        if stand_in is value:
            raise Unfingerprintable(kinds.type_name(value), path)
        return _pack("opaque", self.encode(stand_in, path))


def keras_state(value: Any, path: str, lambdas: bool = False) -> tuple[object, object]:
    """Give a Keras object's config and weights.

    Args:
        value: A Keras object with `get_config()`.
        path: Where it was found.
        lambdas: Whether lambdas in the config may go without their code, because the caller looks at them itself.

    Raises:
        Unfingerprintable: It can't give its config, or that holds a lambda, which Keras writes with its file's path.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = value.get_config()
        weights = value.get_weights() if hasattr(value, "get_weights") else _preset(value)
    except Exception as error:
        # Code of Keras or of a user, which may raise anything; the cause stays attached.
        why = f"get_config() raised {type(error).__name__}"
        raise Unfingerprintable(kinds.type_name(value), path, why) from error
    if not lambdas and kinds.holds_lambda(config):
        raise Unfingerprintable(kinds.type_name(value), path, "its config holds a lambda")
    return kinds.steady(config), weights


def _preset(value: Any) -> list[Any]:
    """Give the variables of an optimizer or a metric, unless they are as Keras makes them: all zero but the rate."""
    found = [part.numpy() for part in getattr(value, "variables", ()) if part.name != "learning_rate"]
    return found if any(array.any() for array in found) else []


def show(value: object) -> str:
    """Show a key or a member in a path, cut to what a line can hold."""
    text = repr(value) if type(value) in LEAVES else kinds.type_name(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _pack(tag: str, *parts: bytes) -> bytes:
    head = _text(tag)
    state = hashlib.sha256(b"%d:%b" % (len(head), head))
    for part in parts:
        state.update(b"%d:" % len(part))
        state.update(part)
    return state.digest()


def _dtype(value: Any) -> bytes:
    if value.subdtype is not None:
        base, shape = value.subdtype
        return _pack("sub", _dtype(base), repr(shape).encode())
    if value.names is None:
        return _pack("simple", _text(value.str), _text(value.name))
    parts: list[bytes] = [b"%d" % value.itemsize]
    for name in value.names:
        field, offset = value.fields[name][:2]
        parts.append(_pack(name, _dtype(field), b"%d" % offset))
    return _pack("fields", *parts)


def _text(value: str) -> bytes:
    return str.encode(value, "utf-8", "surrogatepass")


def _pattern(value: Any) -> bytes:
    text = value.pattern
    head = f"{type(text).__name__} {value.flags}:".encode()
    return head + (text if isinstance(text, bytes) else _text(text))


# The values with nothing inside, and their content. Only for exactly these types.
LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"",
    type(...): lambda _: b"",
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: int.__format__(value, "x").encode(),
    float: lambda value: float.hex(value).encode(),
    complex: lambda value: f"{value.real.hex()},{value.imag.hex()}".encode(),
    str: _text,
    bytes: bytes,
    bytearray: bytes,
    datetime.date: lambda value: value.isoformat().encode(),
    datetime.timedelta: lambda value: f"{value.days},{value.seconds},{value.microseconds}".encode(),
    decimal.Decimal: lambda value: str(value).encode(),
    fractions.Fraction: lambda value: f"{value.numerator:x}/{value.denominator:x}".encode(),
    uuid.UUID: lambda value: value.bytes,
    re.Pattern: _pattern,
}
_CONTENTS: tuple[tuple[type, Callable[[Encoder, Any, str], bytes]], ...] = (
    (list, Encoder._list),
    (tuple, Encoder._tuple),
    (deque, Encoder._deque),
    (set, Encoder._set),
    (frozenset, Encoder._set),
    (OrderedDict, Encoder._ordered),
    (defaultdict, Encoder._default),
    (dict, Encoder._dict),
    (types.MappingProxyType, Encoder._proxy),
    (range, Encoder._steps),
    (slice, Encoder._steps),
)
_EXACT = frozenset({*(kind for kind, _ in _CONTENTS), Counter})
