"""The documentation's table of properties, made from their declarations: `python -m mltkbuild.spec.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator
from mltkbuild.spec.audio_mixin import AudioDatasetMixin
from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin
from mltkbuild.spec.generators import AUGMENT, NOTHING, PREPARE, Generator
from mltkbuild.spec.image_generator import ParallelImageDataGenerator
from mltkbuild.spec.image_mixin import ImageDatasetMixin
from mltkbuild.spec.mixins import (
    DatasetMixin,
    EvaluateAutoEncoderMixin,
    EvaluateClassifierMixin,
    EvaluateMixin,
    TrainMixin,
)
from mltkbuild.spec.model import MltkModel
from mltkbuild.spec.properties import Property

CLASSES = (
    MltkModel,
    TrainMixin,
    DatasetMixin,
    DataGeneratorDatasetMixin,
    ImageDatasetMixin,
    AudioDatasetMixin,
    EvaluateMixin,
    EvaluateClassifierMixin,
    EvaluateAutoEncoderMixin,
)
GENERATORS = (ParallelImageDataGenerator, ParallelAudioDataGenerator)
BEGIN, END = "<!-- made by python -m mltkbuild.spec.reference -->", "<!-- end -->"


def property_tables() -> str:
    """A Markdown section for each class: name, default, what it accepts, what it means, who reads it."""
    properties = (line for kind in CLASSES for line in _section(kind))
    settings = (line for kind in GENERATORS for line in _settings(kind))
    return "\n".join((*properties, *settings))


def _settings(kind: type[Generator]) -> Iterator[str]:
    yield f"### {kind.__name__}\n"
    yield "| setting | default | accepts | meaning | taken |"
    yield "|---|---|---|---|---|"
    taken = {PREPARE: "once", AUGMENT: "on the fly", NOTHING: "no effect"}
    for name, item in kind.SETTINGS.items():
        row = (f"`{name}`", f"`{item.default!r}`", _escape(item.rule.text), _escape(item.doc), taken[item.when])
        yield f"| {' | '.join(row)} |"
    yield ""


def _section(kind: type) -> Iterator[str]:
    yield f"### {kind.__name__}\n"
    yield "| property | default | accepts | meaning | read by |"
    yield "|---|---|---|---|---|"
    for name, item in vars(kind).items():
        if isinstance(item, Property):
            reads = ", ".join(item.reads) or "the builder"
            yield f"| `{name}` | {_default(item)} | {_escape(item.rule.text)} | {_escape(item.doc)} | {reads} |"
    yield ""
    for name, item in vars(kind).items():
        if isinstance(item, Property) and item.settings is not None and isinstance(item.default, dict):
            yield f"Settings of `{name}`:\n"
            yield "| setting | default | accepts |"
            yield "|---|---|---|"
            for key, rule in item.settings.items():
                yield f"| `{key}` | `{item.default[key]!r}` | {_escape(rule.text)} |"
            yield ""


def _default(item: Property[Any]) -> str:
    if item.required:
        return "must be set"
    return "see below" if item.settings is not None else f"`{item.default!r}`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def updated(document: str) -> str:
    """A document with its generated part made anew."""
    head, _, rest = document.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n\n{property_tables()}\n{END}{tail}"


if __name__ == "__main__":
    sys.stdout.write(updated(sys.stdin.read()))
