"""Parameters as people write them: `key=value` on the command line, and files of YAML or JSON.

Plain words are read by the core schema of YAML 1.2 (section 10.3.2 of its specification), which has no `yes`, no `off`,
no dates, no `12:30` and no octal `010`; PyYAML by itself reads those of YAML 1.1.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mltkbuild.errors import UsageError, did_you_mean

TYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float", "double"),
    *("str", "str_list", "int32_list", "float_list", "bin"),
)
"""The types that a parameter may be stored in."""
_TEXT, _TEXTS = "str", "str_list"

_CORE: tuple[tuple[str, str, str], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN"),
)


_BEYOND = {".inf": math.inf, ".nan": math.nan}


@dataclass(frozen=True)
class Changes:
    """What is to be changed in a model's parameters.

    Args:
        values: New values by key; None to remove one.
        types: The types of those for which one is chosen.
    """

    values: Mapping[str, object]
    types: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values)


def parameters_of(pairs: Sequence[str], file: str | None) -> Changes:
    """Parameters of the command line.

    Args:
        pairs: `key=value` or `key:TYPE=value`, the value as YAML 1.2 has it: `0.5`, `true`, `[a, b]`, `text`; of the
            type `str` as it stands. An empty value, and `null`, removes the key.
        file: A YAML or JSON file with a dict of them, which the pairs override.

    Raises:
        UsageError: A pair or the file is something else.
    """
    values: dict[str, object] = {}
    types: dict[str, str] = {}
    for name, read in (*_in_file(file), *map(_of_pair, pairs)):
        key, kind = _key_and_type(name)
        types.pop(key, None)
        values[key] = value = read(kind)
        if isinstance(value, _Tagged):
            values[key], kind = value.value, value.kind
        if kind:
            if values[key] is None:
                raise UsageError("a parameter has a type and no value", found=name, fix="give a value, or only the key")
            types[key] = kind
    return Changes(values, types)


_Read = Callable[[str], object]


def _of_pair(pair: str) -> tuple[str, _Read]:
    key, equals, text = pair.partition("=")
    if not equals or not key.strip():
        raise UsageError("a parameter is given as key=value", found=pair, fix="such as threshold=0.5 or count:int8=3")
    return key.strip(), functools.partial(_value, text, pair)


def _key_and_type(name: str) -> tuple[str, str]:
    key, colon, kind = name.rpartition(":")
    if not colon:
        return name, ""
    if kind not in TYPES or not key:
        fix = f"{did_you_mean(kind, TYPES, 'the types are')}; a key with a colon has its type behind it"
        raise UsageError("a parameter has an unknown type", found=name, fix=fix)
    return key, kind


def _value(text: str, pair: str, kind: str) -> object:
    """The value of a pair whose key has a type, or none."""
    yaml = importlib.import_module("yaml")
    if kind == _TEXT:
        return text
    loader = _loader(words=kind == _TEXTS)(text)
    try:
        node = loader.get_single_node()
        if node is None and not text.strip():
            return None
        # A comment, or a block that begins with | or >, would be less than what was typed.
        rest = text if node is None else text[node.end_mark.index :]
        if rest.strip() or getattr(node, "style", None) in ("|", ">"):
            raise _unread(pair, f"{rest.strip() or text.strip()!r} would be left out")
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise _unread(pair, str(error).splitlines()[0]) from error
    finally:
        loader.dispose()


def _unread(pair: str, told: str) -> UsageError:
    fix = "put text in quotes, within those of the shell, or give it the type: key:str=text"
    return UsageError("the value can't be read", found=f"{pair}: {told}", fix=fix)


def _in_file(file: str | None) -> Iterable[tuple[str, _Read]]:
    if file is None:
        return
    yaml = importlib.import_module("yaml")
    fix = "give a YAML or JSON file with keys and values"
    try:
        with open(file, encoding="utf-8") as stream:
            # PyYAML reads half of a surrogate pair where JSON has both.
            is_json = file.endswith(".json")
            found = json.load(stream, object_pairs_hook=_once) if is_json else yaml.load(stream, _loader(words=False))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        told = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UsageError("the parameters can't be read", where=file, found=told, fix=fix) from error
    if not isinstance(found, dict):
        raise UsageError("the file holds no parameters", where=file, found=type(found).__name__, fix=fix)
    for key, value in found.items():
        if not isinstance(key, str):
            raise UsageError("a key isn't text", where=file, found=repr(key), fix=f"put it in quotes: '{key}'")
        yield key, functools.partial(_as_it_is, value)


def _as_it_is(value: object, kind: str) -> object:
    return value


def _once(pairs: Iterable[tuple[Hashable, object]]) -> dict[Hashable, object]:
    """A dict of these; two values of one key are an error instead of the second."""
    found: dict[Hashable, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key} twice")
        found[key] = value
    return found


# -- YAML 1.2 --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tagged:
    """A value with a tag such as `!int8`."""

    value: object
    kind: str


@functools.cache
def _loader(*, words: bool) -> Any:
    """PyYAML's safe loader with the core schema of YAML 1.2; with `words` every scalar is text."""
    yaml = importlib.import_module("yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined,misc]  # loaded when it is needed
        """Reads plain words by the core schema."""

        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    for name, pattern, firsts in () if words else _CORE:
        firsts_or_empty = [*firsts, *([""] if name == "null" else [])]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), firsts_or_empty)
    Loader.add_constructor("tag:yaml.org,2002:int", _whole)
    Loader.add_constructor("tag:yaml.org,2002:float", _real)
    Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
    for kind in TYPES:
        Loader.add_constructor(f"!{kind}", functools.partial(_tagged, kind))
    return Loader


def _whole(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    bases = {"0o": 8, "0x": 16}
    try:
        return int(text[2:], bases[text[:2]]) if text[:2] in bases else int(text, 10)
    except ValueError:
        raise _no(node, f"{text!r} is no whole number") from None


def _real(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node)
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        found = _BEYOND.get(text.lower().lstrip("-+"), math.nan) * (-1 if text.startswith("-") else 1)
    if not math.isfinite(found) and text.lower().lstrip("-+") not in _BEYOND:
        raise _no(node, f"{text!r} is no number that a computer has")
    return found


def _mapping(loader: Any, node: Any) -> dict[Hashable, object]:
    pairs = []
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise _no(key_node, "a list or a dict can't be a key")
        pairs.append((key, loader.construct_object(value_node, deep=True)))
    try:
        return _once(pairs)
    except ValueError as error:
        raise _no(node, str(error)) from None


def _tagged(kind: str, loader: Any, node: Any) -> _Tagged:
    """The value of a node with a type for a tag."""
    yaml = importlib.import_module("yaml")
    if kind == _TEXT:
        return _Tagged(loader.construct_scalar(node), kind)
    if isinstance(node, yaml.SequenceNode):
        children = node.value
        texts = kind == _TEXTS and all(isinstance(child, yaml.ScalarNode) for child in children)
        if texts:
            return _Tagged([loader.construct_scalar(child) for child in children], kind)
        return _Tagged(loader.construct_sequence(node, deep=True), kind)
    tag = loader.resolve(yaml.ScalarNode, node.value, (True, False))
    return _Tagged(loader.construct_object(yaml.ScalarNode(tag, node.value, node.start_mark, node.end_mark)), kind)


def _no(node: Any, problem: str) -> Exception:
    constructor = importlib.import_module("yaml").constructor
    error: Exception = constructor.ConstructorError(None, None, problem, node.start_mark)
    return error
