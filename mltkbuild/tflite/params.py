"""Stage `params`: put the model parameters that firmware reads into the `.tflite` file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from mltkbuild.disk.facts import Facts
from mltkbuild.errors import SpecError, StageError
from mltkbuild.tflite import flatbuffer, kept
from mltkbuild.tflite.dictionary import Typed, checked_text, decode, decode_typed, encode

__all__ = ["TAG", "Typed", "decode", "embed", "encode", "extract", "extract_typed", "model_hash", "run"]

TAG = "SL_PARAMSv1"
_RESERVED = ("hash", "name", "version")


def run(  # noqa: PLR0913  # a stage body's signature is its dependency list
    converted: Path,
    scratch_file: Path,
    *,
    name: str,
    version: int,
    classes: Sequence[str] | None,
    description: str,
    parameters: Mapping[str, object],
    arena: int | None = None,
    date: str | None = None,
) -> Facts:
    """Write a converted model with its parameters.

    Args:
        converted: The `.tflite` file of the conversion.
        scratch_file: Where to write.
        name: The model's name.
        version: The model's version.
        classes: The labels of its outputs, if it has any.
        description: One text for the flatbuffer's own description.
        parameters: The user's, added to name, version, classes, hash and runtime_memory_size. All but name, version
            and hash may be replaced.
        arena: Bytes that the model needs to run; None when that isn't known.
        date: A time to embed; None for none, as it makes equal builds give unequal files.

    Returns:
        The number of parameters, the size of the file in bytes, and the model's hash.

    Raises:
        SpecError: A parameter can't be stored or is one that only the build sets.
        StageError: The converted file can't be read.
    """
    for key in _RESERVED:
        if key in parameters:
            raise SpecError(
                f"parameter {key!r} is set by the build",
                found=repr(parameters[key]),
                fix="remove it, or choose another key; the version is that of the model.",
            )
    entries: dict[str, object] = {"name": name, "version": version}
    if classes is not None:
        entries["classes"] = Typed(list(classes), "str_list")
    if arena is not None:
        entries["runtime_memory_size"] = arena
    if date is not None:
        entries["date"] = date
    entries.update(parameters)
    model = converted.read_bytes()
    entries["hash"] = model_hash(model, entries, description)
    embedded = embed(model, entries, description)
    scratch_file.write_bytes(embedded)
    return {"parameters": len(entries), "bytes": len(embedded), "hash": str(entries["hash"])}


def embed(tflite: bytes, parameters: Mapping[str, object], description: str | None = None) -> bytes:
    """Return a model with these parameters in place of any that it had.

    Everything else is kept: operators, tensors, buffer indices, signatures, other metadata, and what lies behind the
    flatbuffer, such as associated files. Every buffer begins at a multiple of 16 bytes. Embedding the same parameters
    once more gives the same bytes.

    Args:
        tflite: A model.
        parameters: Values by key, as for `encode`.
        description: The model's own description; None keeps the one it has.

    Raises:
        SpecError: A parameter or the description can't be stored.
        StageError: The model can't be read, keeps data outside the flatbuffer, or holds what would be lost.
    """
    model = flatbuffer.load(tflite)
    _refuse_outside_data(model)
    tail, start = kept.behind(tflite)
    _set_metadata(model, encode(parameters))
    if description is not None:
        model.description = checked_text("the model's description", description)
    written = flatbuffer.pack(model, len(tflite))
    _check_kept(flatbuffer.load(tflite), flatbuffer.load(written), described=description is not None)
    return kept.joined(written, tail, start)


def extract(tflite: bytes) -> dict[str, object]:
    """Return the parameters in a model, `{}` if it has none.

    Raises:
        StageError: The model or its parameters can't be read.
    """
    return {key: item.value for key, item in extract_typed(tflite).items()}


def extract_typed(tflite: bytes) -> dict[str, Typed]:
    """Return the parameters in a model with their types, `{}` if it has none.

    Raises:
        StageError: The model or its parameters can't be read.
    """
    model = flatbuffer.load(tflite)
    buffers = model.buffers or []
    for entry in model.metadata or []:
        if entry.name == TAG.encode():
            data = buffers[entry.buffer].data if entry.buffer < len(buffers) else None
            return decode_typed(b"" if data is None else bytes(data))
    return {}


def model_hash(tflite: bytes, parameters: Mapping[str, object], description: str | None) -> str:
    """Return the MD5 of a model with these parameters, in hex; their own `hash` counts as empty.

    As in MLTK, but without a date: the same model and parameters have the same hash at any time.
    """
    return hashlib.md5(embed(tflite, {**parameters, "hash": ""}, description), usedforsecurity=False).hexdigest()


def _refuse_outside_data(model: Any) -> None:
    buffers = sum(1 for buffer in model.buffers or [] if buffer.offset or buffer.size)
    operators = [operator for graph in model.subgraphs or [] for operator in graph.operators or []]
    options = sum(1 for operator in operators if operator.largeCustomOptionsOffset or operator.largeCustomOptionsSize)
    files = len(model.externalBuffers or [])
    if buffers or options or files:
        raise StageError(
            "the model keeps data outside its flatbuffer, which firmware can't read",
            found=f"{buffers} buffers and {options} operators with data after it, {files} buffers in other files",
            fix="make the model smaller than 2 GB, or convert it without external buffers.",
        )


def _set_metadata(model: Any, payload: bytes) -> None:
    """Make `payload` the data of the one entry with our tag; reuse its buffer, or append one."""
    tag = TAG.encode()
    metadata, buffers = model.metadata or [], model.buffers or []
    ours = [entry for entry in metadata if entry.name == tag] or [schema.MetadataT(name=tag)]
    users = _buffer_users(model)
    for entry in ours:
        # Buffer 0 is the one that means "no data". An index must not move, so a buffer is emptied, never deleted.
        if not 0 < entry.buffer < len(buffers) or users[entry.buffer] > 1:
            entry.buffer = 0
        else:
            buffers[entry.buffer] = schema.BufferT()
    keeper = ours[0]
    if not keeper.buffer:
        buffers = buffers or [schema.BufferT()]
        keeper.buffer = len(buffers)
        buffers.append(schema.BufferT())
    buffers[keeper.buffer].data = payload
    kept = [entry for entry in metadata if entry.name != tag or entry is keeper]
    model.metadata = kept if any(entry is keeper for entry in kept) else [*kept, keeper]
    model.buffers = buffers


def _check_kept(old: Any, new: Any, *, described: bool) -> None:
    """Compare two models but for our own metadata entry, its buffer and a new description."""
    for model in (old, new):
        ours = [entry for entry in model.metadata or [] if entry.name == TAG.encode()]
        users = _buffer_users(model)
        for entry in ours:
            if 0 < entry.buffer < len(model.buffers or []) and users[entry.buffer] == 1:
                model.buffers[entry.buffer] = schema.BufferT()
        model.metadata = [entry for entry in model.metadata or [] if entry not in ours]
        model.description = None if described else model.description
    # The payload's buffer comes last where there was none.
    new.buffers = new.buffers[: max(len(old.buffers or []), 1)]
    old.buffers = old.buffers or [schema.BufferT()]
    kept.check(old, new)


def _buffer_users(model: Any) -> Counter[int]:
    """Count how many tensors and metadata entries use each buffer."""
    users = Counter(tensor.buffer for graph in model.subgraphs or [] for tensor in graph.tensors or [])
    users.update(entry.buffer for entry in model.metadata or [])
    users.update(int(index) for index in (() if model.metadataBuffer is None else model.metadataBuffer))
    return users
