"""A rewritten `.tflite` keeps what it held, behind the flatbuffer too, or isn't written."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.errors import StageError
from mltkbuild.tflite import flatbuffer, kept, micro, params

from ..conftest import Front
from .test_micro import changed, dense_model

FILES = {"labels.txt": b"yes\nno\n", "vocabulary/words.txt": bytes(range(256)) * 9}


def with_files(content: bytes) -> bytes:
    """A model with associated files, as TensorFlow's metadata writer appends them."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def files_of(content: bytes) -> dict[str, bytes]:
    """The associated files of a model; as a strict reader does, by offsets from the file's first byte."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            assert content[entry.header_offset :][:4] == b"PK\3\4"
        end = content.rindex(b"PK\5\6")
        size, offset = struct.unpack_from("<II", content, end + 12)
        assert (b"PK\1\2", end) == (content[offset : offset + 4], offset + size)
        return {name: archive.read(name) for name in archive.namelist()}


def rich(model: Any) -> None:
    """Give a model all that others read: a signature, metadata of its own, and an entry among its buffers."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    signature.inputs[0].name, signature.outputs[0].name = b"x", b"y"
    signature.outputs[0].tensorIndex = 2
    model.signatureDefs = [signature]
    model.metadata = [schema.MetadataT(name=b"TFLITE_METADATA", buffer=len(model.buffers))]
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"\x10\0\0\0M001 about", np.uint8)))
    model.metadataBuffer = np.array([0], np.int32)


@pytest.mark.parametrize("value", ["", "long" * 4000])
def test_associated_files_are_kept(value: str) -> None:
    """They are read as before, wherever the flatbuffer ends now; the same parameters again give the same bytes."""
    found = params.embed(with_files(changed(rich)), {"text": value}, "described")
    assert FILES == files_of(found)
    assert found == params.embed(found, {"text": value}, "described")
    again = params.embed(found, {})
    assert FILES == files_of(again)
    model = flatbuffer.load(again)
    assert [b"TFLITE_METADATA", params.TAG.encode()] == [entry.name for entry in model.metadata]
    assert b"M001 about" == bytes(model.buffers[model.metadata[0].buffer].data)[4:]
    assert (b"x", b"y") == (model.signatureDefs[0].inputs[0].name, model.signatureDefs[0].outputs[0].name)
    assert [[3.0, 11.0]] == micro.Micro(again).invoke([np.array([[1, 0, 0, 1]], np.float32)])[0].tolist()


@given(st.binary(min_size=1, max_size=40).filter(lambda tail: tail[0] != 0))
def test_anything_behind_the_flatbuffer_is_kept(tail: bytes) -> None:
    """What nobody knows stays where it was: at the end, byte for byte."""
    once = params.embed(dense_model() + tail, {"a": 1})
    assert once.endswith(tail)
    assert once == params.embed(once, {"a": 1})
    assert params.embed(once, {"b": "x" * 99}).endswith(tail)
    assert {"a": 1} == params.extract(once)


def test_zeros_that_fill_up_are_no_tail() -> None:
    """A flatbuffer's own end has zeros up to a boundary, and nothing grows with each change."""
    assert b"" == kept.behind(dense_model())[0]
    assert b"" == kept.behind(params.embed(dense_model(), {"a": 1}))[0]


def test_a_zip_that_counts_from_its_own_first_byte_is_kept_as_it_is() -> None:
    """Such an archive may lie anywhere."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("labels.txt", b"yes")
    found = params.embed(dense_model() + stream.getvalue(), {"a": 1})
    assert found.endswith(stream.getvalue())
    with zipfile.ZipFile(io.BytesIO(found)) as archive:
        assert b"yes" == archive.read("labels.txt")


def with_later_field(content: bytes) -> bytes:
    """A model whose root has one more field than the schema knows."""
    root = struct.unpack_from("<I", content)[0]
    vtable = root - struct.unpack_from("<i", content, root)[0]
    size, inline = struct.unpack_from("<HH", content, vtable)
    known = len(kept._slots("Model"))
    fields = list(struct.unpack_from(f"<{(size - 4) // 2}H", content, vtable + 4))
    fields += [0] * (known - len(fields)) + [4]
    new = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), inline, *fields)
    # The vtable may stand anywhere, so also at the end.
    place = len(content)
    changed = bytearray(content + new)
    struct.pack_into("<i", changed, root, root - place)
    return bytes(changed)


def test_a_field_of_a_later_schema_is_never_lost(front: Front, tmp_path: Path) -> None:
    """What can't be written again is an error, and the file is as it was, also when a copy is asked for."""
    path = tmp_path / "later.tflite"
    path.write_bytes(with_later_field(dense_model()))
    before = path.read_bytes()
    with pytest.raises(StageError, match="can't be written again"):
        params.embed(before, {"a": 1})
    for arguments in ((), ("-o", str(tmp_path / "copy.tflite"))):
        result = front.mltk("update_params", str(path), "a=1", *arguments)
        assert (1, True) == (result.code, "a field of Model that a later version" in result.err), result.err
        assert "fix:" in result.err
    assert (before, False) == (path.read_bytes(), (tmp_path / "copy.tflite").exists())


def test_what_comes_out_another_is_named() -> None:
    """The first difference is told by its place."""
    old, new = flatbuffer.load(dense_model()), flatbuffer.load(dense_model())
    kept.check(old, new)
    new.subgraphs[0].tensors[1].name = b"other"
    with pytest.raises(StageError) as caught:
        kept.check(old, new)
    assert "subgraphs[0].tensors[1].name would come out another" == caught.value.found


def test_a_damaged_zip_and_a_large_one_are_refused() -> None:
    """Offsets that can't be moved are no reason to write wrong ones."""
    content = with_files(dense_model())
    damaged = bytearray(content)
    damaged[content.index(b"PK\1\2")] = 0
    large = bytearray(content)
    struct.pack_into("<I", large, content.rindex(b"PK\5\6") + 16, 0xFFFFFFFF)
    for broken, words in ((damaged, "a damaged zip"), (large, "the 64-bit format")):
        with pytest.raises(StageError) as caught:
            params.embed(bytes(broken), {"a": 1})
        assert words in str(caught.value.found)


def test_the_command_keeps_files_and_words(front: Front, tmp_path: Path) -> None:
    """`mltk update_params` writes what it can write again, with words as words and the type that was chosen."""
    path = tmp_path / "model.tflite"
    path.write_bytes(with_files(changed(rich)))
    result = front.mltk("update_params", str(path), "labels=[yes, no]", "mode=off", "at=12:30", "n:int32=010")
    assert (0, "") == (result.code, result.err)
    assert FILES == files_of(path.read_bytes())
    found = params.extract_typed(path.read_bytes())
    assert {"labels": ["yes", "no"], "mode": "off", "at": "12:30", "n": 10} == params.extract(path.read_bytes())
    assert ("str_list", "str", "int32") == (found["labels"].type, found["mode"].type, found["n"].type)
