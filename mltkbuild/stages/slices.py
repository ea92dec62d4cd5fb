"""The spec stage: what each later stage reads of a spec, and the Keras model that it builds, as canonical text."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

import yaml

from mltkbuild.fingerprint.kinds import recorded_module, steady
from mltkbuild.fingerprint.parts import Inexact
from mltkbuild.fingerprint.reach import Sources, reach
from mltkbuild.fingerprint.values import Unfingerprintable, digest_value, is_plain, order, readable
from mltkbuild.shown import shown_lines
from mltkbuild.spec.generators import Generator
from mltkbuild.spec.meanings import by_name
from mltkbuild.spec.model import ARCHIVE_FILES, PARAMETERS, MltkModel
from mltkbuild.spec.properties import Settings, name_of_constant, properties_of
from mltkbuild.stages.model_parts import code_of, states_of
from mltkbuild.stages.table import DATA, PARAMS, SLICES, STAGES

INEXACT = "inexact "
WHOLE = "whole spec and its modules"
NOTHING: Mapping[str, object] = MappingProxyType({})


def slice_of(
    model: MltkModel, stage: str, sources: Sources, whole: str, outside: Mapping[str, object] = NOTHING
) -> dict[str, Any]:
    """What one stage reads of a spec.

    Args:
        model: The spec's model, before any data set is loaded.
        stage: The stage's name.
        sources: The workspace code.
        whole: Digest of the spec's whole code, which counts where something can't be fingerprinted exactly.
        outside: Rows of what the spec does outside of its own modules, for the stages that run its code.

    Returns:
        `{"properties": {name: value}, "code": {label: value}}`, readable and canonical.
    """
    values: dict[str, Any] = {}
    code: dict[str, object] = {}
    for name, item in sorted(properties_of(type(model)).items()):
        if item.added and not model.is_set(name):
            continue
        if not STAGES[stage].parts.isdisjoint(item.reads):
            value = item.meaning(plain(model.peek(name)))
            if isinstance(value, Generator):
                value = by_name(value.read_by(stage))
            # Only what can't hide code is told by its value: a schedule inside an optimizer counts by its source.
            if is_plain(value):
                values[name] = readable(value)
                if told := order(values[name]):
                    values[f"{name} (order)"] = told
            else:
                code[name] = value
    code.update(_methods(model, stage, sources))
    if STAGES[stage].user_code:
        code.update({f"attribute {name}": value for name, value in _attributes(model, sources)})
    if stage == PARAMS.slice:
        values["model_parameters"] = {key: readable(value) for key, value in sorted(model.embedded_parameters.items())}
    reached = reach(code, sources)
    if STAGES[stage].user_code:
        reached.update(outside)
    return {"properties": values, "code": exactly(reached, whole)}


def exactly(reached: Mapping[str, object], whole: str) -> dict[str, object]:
    """Add the digest of the whole code where a fingerprint says that it is not exact."""
    result = dict(reached)
    if any(label.startswith(INEXACT) for label in result):
        result[WHOLE] = whole
    return result


def _methods(model: MltkModel, stage: str, sources: Sources) -> Iterator[tuple[str, object]]:
    """The methods that the spec's own classes define.

    `load_dataset` and its like belong to the data stage, others to every stage that may call them.
    """
    for kind in type(model).__mro__:
        for name, value in vars(kind).items():
            function = getattr(value, "__func__", value)
            function = getattr(function, "fget", function)
            filename = getattr(getattr(function, "__code__", None), "co_filename", None)
            if filename is None or sources.label(filename) is None:
                continue
            if stage == DATA.slice if name.endswith("_dataset") else STAGES[stage].user_code:
                yield f"method {name}", function


def _attributes(model: MltkModel, sources: Sources) -> Iterator[tuple[str, object]]:
    """What the spec's own classes and its model hold beside properties and methods: a loader may read it by `self`."""
    for kind in reversed(type(model).__mro__):
        if sources.label(getattr(sys.modules.get(kind.__module__), "__file__", None) or "") is not None:
            held = vars(kind).items()
            yield from ((name, value) for name, value in held if not name.startswith("__") and not _is_method(value))
    yield from model.own_attributes().items()


def _is_method(value: object) -> bool:
    return isinstance(value, property | staticmethod | classmethod | FunctionType)


def plain(value: object) -> object:
    """A value without the guard of its known keys, and TensorFlow's constants by their names."""
    if isinstance(value, Settings):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and any(hasattr(item, "name") for item in value):
        return [name_of_constant(item) for item in value]
    is_constant = type(value).__module__.startswith("tensorflow") and hasattr(value, "name")
    is_constant = is_constant or (isinstance(value, type) and value.__module__ == "numpy")
    return name_of_constant(value) if is_constant else value


def property_digests(model: MltkModel) -> dict[str, str | None]:
    """A digest of each property that the spec set, for the stages whose user code reads properties by itself.

    Returns:
        Digests by name; None for a value that has none: a stage that reads it counts the whole spec instead. A property
        that is left out has its default; those that an option can override are always there.
    """
    digests: dict[str, str | None] = {}
    optional = {name for stage in STAGES.values() for name in stage.options}
    for name, item in sorted(properties_of(type(model)).items()):
        if not model.is_set(name) and name not in optional:
            continue
        digest = _digest(plain(model.peek(name)))
        if digest is None or name in optional or digest != _digest(plain(item.default)):
            digests[name] = digest
    filled = ((PARAMETERS, model.model_parameters), (ARCHIVE_FILES, model.archive_files))
    return digests | {name: _digest(value) for name, value in filled if value}


def _digest(value: object) -> str | None:
    try:
        return digest_value(value)
    except Unfingerprintable:
        return None


def describe_keras_model(keras_model: Any, sources: Sources, whole: str) -> dict[str, Any]:
    """A Keras model as text: layers, compile settings, initial weights, and the workspace code inside it.

    Args:
        keras_model: A built and compiled model, its weights still the initial ones.
        sources: The workspace code.
        whole: Digest of the spec's whole code, for a model that can't be described exactly.

    Returns:
        `{"class", "config", "compile", "weights", "parameters", "code"}`; equal for two models that train alike.
    """
    description: dict[str, Any] = {
        "class": type(keras_model).__name__,
        "weights": weights_digest(keras_model),
        "parameters": int(keras_model.count_params()),
    }
    code = _code_of(keras_model, sources)
    try:
        for part, config in (("config", keras_model.get_config()), ("compile", keras_model.get_compile_config())):
            description[part] = _normal(steady(config))
            if told := order(description[part]):
                description[f"{part} (order)"] = told
    except (NotImplementedError, TypeError, ValueError, Unfingerprintable) as error:
        # Keras' get_config raises the first for a subclassed model whose arguments it can't tell, the second for an
        # argument that has no config, and a user's own refuses by any of the three. A model need not have a config:
        # then everything that could make it counts.
        reason = str(error).partition("\n")[0]
        # Where an object lies in memory is another place each time.
        code[f"{INEXACT}{type(keras_model).__name__}.get_config"] = re.sub(r" at 0x[0-9a-f]+", "", reason)
    description["code"] = exactly(code, whole)
    if states := states_of(keras_model):
        description["states"] = {name: readable(value) for name, value in states.items()}
    return description


def _code_of(keras_model: Any, sources: Sources) -> dict[str, object]:
    """The workspace code inside a Keras model, and what its config doesn't show, as rows."""
    try:
        return reach(code_of(keras_model, sources), sources)
    except Inexact:
        return {f"{INEXACT}{type(keras_model).__name__}": "it is too large to look through"}


def weights_digest(keras_model: Any) -> str:
    """SHA-256 over name, shape, type and bytes of every weight, in the model's order."""
    digest = hashlib.sha256()
    for weight in keras_model.weights:
        array = weight.numpy()
        digest.update(f"{weight.path} {array.shape} {array.dtype}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _normal(config: Any) -> Any:
    """A config as JSON has it, and classes of mltkbuild's by the names that records know them by."""
    if isinstance(config, Mapping):
        normal = {str(key): _normal(value) for key, value in config.items()}
        if isinstance(module := normal.get("module"), str):
            normal["module"] = recorded_module(module)
        return normal
    if isinstance(config, list | tuple):
        return [_normal(item) for item in config]
    if config is None or isinstance(config, str | bool | int | float):
        return config
    return readable(config)


def write(scratch: Path, slices: Mapping[str, object], description: Mapping[str, object], summary: str) -> None:
    """Write the stage's artifacts."""
    folder = scratch / "spec"
    folder.mkdir(parents=True, exist_ok=True)
    for stage in SLICES:
        text = yaml.safe_dump(slices[stage], sort_keys=True, allow_unicode=True, width=120)
        (folder / f"{stage}.yaml").write_text(text, encoding="utf-8")
    (folder / "model.json").write_text(model_text(description), encoding="utf-8")
    (scratch / "summary.txt").write_text(summary, encoding="utf-8")


def model_text(description: Mapping[str, object]) -> str:
    """The text of `spec/model.json`."""
    return json.dumps(description, indent=1, sort_keys=True) + "\n"


def summarize(keras_model: Any) -> str:
    """Keras' own summary as plain text."""
    lines: list[str] = []
    keras_model.summary(line_length=100, print_fn=_line_collector(lines))
    return "\n".join(line.rstrip() for line in shown_lines("\n".join(lines)).splitlines()).strip() + "\n"


def _line_collector(lines: list[str]) -> Callable[..., None]:
    def collect(text: str, *_: object, **__: object) -> None:
        lines.append(text)

    return collect
