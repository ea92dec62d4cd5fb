"""The `.tflite` flatbuffer as objects, and back to bytes as firmware needs them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from mltkbuild.errors import StageError
from mltkbuild.tflite import claims

FILE_IDENTIFIER = b"TFL3"
# `Buffer.data` is declared force_align:16; the kernels of microcontrollers rely on it.
ALIGNMENT = 16
# Offsets are 32 bits and signed in places, so no flatbuffer is larger.
LARGEST = 2**31 - 1


def load(tflite: bytes) -> Any:
    """Read a `.tflite` file.

    Returns:
        Its `ModelT`, with at least one subgraph.

    Raises:
        StageError: These bytes are no whole `.tflite` flatbuffer, or unfold to far more than they are.
    """
    fix = "build the model again; the file must be a whole .tflite flatbuffer."
    if tflite[4:8] != FILE_IDENTIFIER:
        raise StageError("this is no .tflite model", found=f"bytes that begin with {bytes(tflite[:8])!r}", fix=fix)
    try:
        root = schema.Model.GetRootAs(bytes(tflite), 0)
        claims.check(root, len(tflite))
        model = schema.ModelT.InitFromObj(root)
    # What the flatbuffers package raises when an offset leads out of the file.
    except (struct.error, AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise StageError("this .tflite model is damaged", found=f"{len(tflite)} bytes: {error}", fix=fix) from error
    if not model.subgraphs:
        raise StageError("this .tflite model is damaged", found="no subgraph in it", fix=fix)
    return model


def pack(model: Any, size_hint: int = 0) -> bytes:
    """Write a `ModelT`; every buffer begins at a multiple of 16 bytes.

    Args:
        model: What `load` gave; its buffers are replaced by aligned ones.
        size_hint: About how many bytes it will take.

    Raises:
        StageError: It would be larger than a flatbuffer can be.
    """
    model.buffers = [_AlignedBuffer(None if buffer.data is None else bytes(buffer.data)) for buffer in model.buffers]
    size = sum(len(buffer.data or b"") for buffer in model.buffers)
    if size > LARGEST:
        raise StageError(
            "the model is too large for a .tflite file",
            found=f"{size} bytes of weights; the format holds {LARGEST}",
            fix="make the model smaller",
        )
    builder = flatbuffers.Builder(size_hint + 1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


@dataclass(frozen=True)
class _AlignedBuffer:
    """A stand-in for the schema's `BufferT`, whose `Pack` ignores the alignment that the schema demands."""

    data: bytes | None

    def Pack(self, builder: flatbuffers.Builder) -> int:
        """Write the buffer; `ModelT.Pack` calls this by its name."""
        vector = None
        if self.data is not None:
            builder.Prep(ALIGNMENT, len(self.data))
            vector = builder.CreateByteVector(self.data)
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        buffer: int = schema.BufferEnd(builder)
        return buffer
