"""Records on disk: the format, yesterday's file, and files that are no records."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk.records import Record, decode, encode
from mltkbuild.errors import RecordError

PATH = "build/kws/.records/train.json"
YESTERDAY = (
    '{"artifacts":{"kws.keras":"ab12"},"facts":{"epochs":3,"metrics":{"loss":0.5},"outside":["keras"]},'
    '"finished":"2025-06-01T12:00:00+00:00","host":"here","inputs":{"spec/train.yaml":"cd34","stage revision":"1"},'
    '"schema":1,"seconds":12.5,"stage":"train","stamps":{"kws.keras":[10,20,30,40]},"target":"kws",'
    '"tools":{"keras":"3.15.0"}}\n'
)
RECORD = Record(
    stage="train",
    target="kws",
    inputs={"spec/train.yaml": "cd34", "stage revision": "1"},
    artifacts={"kws.keras": "ab12"},
    stamps={"kws.keras": (10, 20, 30, 40)},
    facts={"epochs": 3, "metrics": {"loss": 0.5}, "outside": ["keras"]},
    tools={"keras": "3.15.0"},
    seconds=12.5,
    finished="2025-06-01T12:00:00+00:00",
)

TEXTS = st.text(max_size=20)
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(
    Record,
    stage=TEXTS,
    target=TEXTS,
    inputs=TABLES,
    artifacts=st.dictionaries(st.from_regex(r"[a-z_]{1,9}(/[a-z]{1,9}){0,2}\.json", fullmatch=True), TEXTS, max_size=5),
    stamps=st.dictionaries(TEXTS, st.tuples(*[st.integers(0, 2**63)] * 4), max_size=3),
    facts=st.dictionaries(TEXTS, JSON, max_size=3),
    tools=TABLES,
    seconds=NUMBERS,
    finished=TEXTS,
)


def refused(data: bytes) -> bool:
    """Say whether some bytes are refused as the house does: naming the file to delete."""
    try:
        decode(data, PATH)
    except RecordError as error:
        return error.where == PATH and f"delete {PATH}" in (error.fix or "")
    return False


@given(RECORDS)
def test_record_survives_the_disk(record: Record) -> None:
    """What is written is what is read, and its bytes are the same each time."""
    assert record == decode(encode(record), PATH)
    assert encode(record) == encode(decode(encode(record), PATH))


def test_file_of_schema_1_is_read() -> None:
    """A record that an earlier release has written is read; its host, which no record has any longer, is left out."""
    assert RECORD == decode(YESTERDAY.encode(), PATH)
    today = json.loads(encode(RECORD))
    today.pop("seal")
    yesterday = json.loads(YESTERDAY)
    yesterday.pop("host")
    assert yesterday == today


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_record_is_sealed_against_loss(end: bytes) -> None:
    """One that lost an artifact, or gained or changed a byte, is no record; an end of line more or less is nothing."""
    data = encode(RECORD)
    assert RECORD == decode(data.rstrip() + end, PATH)
    fields = json.loads(data)
    fields["artifacts"].popitem()
    for changed in (json.dumps(fields), json.dumps({**fields, "sea1": fields.pop("seal")}), data.decode().upper()):
        with pytest.raises(RecordError):
            decode(changed.encode() + end, PATH)


def test_record_of_another_version_says_which_file_to_delete() -> None:
    """A schema that this release doesn't know is refused by its number."""
    with pytest.raises(RecordError) as caught:
        decode(YESTERDAY.replace('"schema":1', '"schema":2').encode(), PATH)
    assert (PATH, "schema 2, not 1", f"delete {PATH}; its stage runs again") == (
        caught.value.where,
        caught.value.found,
        caught.value.fix,
    )


@pytest.mark.parametrize("length", range(len(YESTERDAY) - 1))
def test_truncated_record_is_refused(length: int) -> None:
    """A record that was cut anywhere but at its last line break is no record."""
    assert refused(YESTERDAY.encode()[:length])


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no record give a RecordError and never another exception."""
    assert refused(data)


@given(JSON)
def test_foreign_json_is_refused(value: object) -> None:
    """JSON that somebody else wrote is no record."""
    assert refused(json.dumps(value).encode())


@given(st.sampled_from(sorted(json.loads(YESTERDAY))), JSON)
def test_field_of_another_type_is_refused_or_read(name: str, value: object) -> None:
    """A record with any value in any field is either read or refused, and what is read can be written."""
    data = json.dumps({**json.loads(YESTERDAY), name: value}).encode()
    if not refused(data):
        encode(decode(data, PATH))


@given(st.sampled_from(sorted(json.loads(YESTERDAY).keys() - {"host"})))
def test_record_that_lacks_a_field_is_refused(name: str) -> None:
    """Every field must be there."""
    fields = json.loads(YESTERDAY)
    del fields[name]
    assert refused(json.dumps(fields).encode())


@given(st.integers(0, len(YESTERDAY) - 2), st.integers(0, 255))
def test_flipped_byte_is_refused_or_read(place: int, byte: int) -> None:
    """A record with one rotten byte is refused, or is a record all the same; nothing else is raised."""
    data = bytearray(YESTERDAY.encode())
    data[place] = byte
    if not refused(bytes(data)):
        encode(decode(bytes(data), PATH))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        YESTERDAY.replace("12.5", "1" + "0" * 400).encode(),
        YESTERDAY.replace("12.5", "1" + "0" * 5000).encode(),
        YESTERDAY.encode("utf-16")[:-3],
        b"\xff\xfe\x00",
        b"",
    ],
    ids=["deep list", "deep table", "huge number", "too many digits", "half a UTF-16", "half a BOM", "empty"],
)
def test_hostile_file_is_refused(data: bytes) -> None:
    """Files made to break a parser are refused like any other."""
    assert refused(data)
