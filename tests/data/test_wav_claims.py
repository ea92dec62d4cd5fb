"""What recordings claim: a rate, a length, a full scale."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data import audio_files, wav_claims
from mltkbuild.errors import DataError

from .recordings import RATE, tone

SOUND = tone(440.0, 0.25)


def recorded(samples: np.ndarray = SOUND, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype=subtype)
    return file.getvalue()


WAV = recorded()
SIZE = WAV.index(b"data") + 4
HEAD = SIZE + 4


def claiming(size: int, behind: bytes = b"") -> bytes:
    """A wav file whose header counts so many bytes of samples."""
    return WAV[:SIZE] + struct.pack("<I", size) + WAV[HEAD:] + behind


def heard(content: bytes) -> tuple[np.ndarray, list[str]]:
    said: list[str] = []
    return audio_files.read(content, RATE, tell=said.append), said


def test_whole_files_have_nothing_to_tell() -> None:
    """Files of every kind as libsndfile writes them, and a chunk or padding behind the samples, are silent."""
    for kind in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3"):
        assert [] == heard(recorded(kind=kind))[1], kind
    for behind in (b"LIST\x04\0\0\0INFO", bytes(100), b"\0" * 3):
        found, said = heard(claiming(len(WAV) - HEAD, behind))
        assert ([], len(SOUND)) == (said, len(found))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (claiming(0), wav_claims.NO_LENGTH),
        (b"RIFF\0\0\0\0" + claiming(0)[8:], wav_claims.NO_LENGTH),
        (claiming(0xFFFFFFFF), wav_claims.OPEN_LENGTH),
        (claiming(0x7FFFFFFF), wav_claims.OPEN_LENGTH),
        (claiming(len(WAV) * 3), wav_claims.CUT),
    ],
)
def test_length_that_is_not_there_is_told(content: bytes, text: str) -> None:
    """A header that counts none, leaves it open or counts too many is told, and all samples are read."""
    found, said = heard(content)
    assert [text] == list(dict.fromkeys(said))
    np.testing.assert_allclose(SOUND, found, atol=1e-4)


def test_samples_that_the_header_does_not_count_are_told() -> None:
    """What lies behind the samples and is no chunk is left out, not in silence."""
    found, said = heard(claiming(1000))
    assert (500, [wav_claims.MORE]) == (len(found), said)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "NIST", "MP3"])
def test_cut_files_are_told(kind: str) -> None:
    """A file that ends in the middle is read as far as it goes."""
    content = recorded(kind=kind)
    found, said = heard(content[: len(content) * 6 // 10])
    assert [wav_claims.CUT] == list(dict.fromkeys(said))
    assert 0 < len(found) < len(SOUND)


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_cut_files_that_libsndfile_refuses_are_errors(kind: str) -> None:
    """What can't be read as far as it goes is that file's error."""
    content = recorded(kind=kind)
    with pytest.raises(DataError, match="can't be read"):
        heard(content[: len(content) * 6 // 10])


def test_rate_that_the_header_contradicts_is_told() -> None:
    """A sample rate that doesn't fit the bytes a second may be damaged."""
    place = WAV.index(b"fmt ") + 12
    found, said = heard(WAV[:place] + struct.pack("<I", 4 * RATE) + WAV[place + 4 :])
    assert (len(SOUND) // 4, [wav_claims.CONTRADICTION]) == (len(found), said)


def test_long_recording_is_told() -> None:
    """That only the first minute of a longer recording is read is no secret."""
    _, said = heard(recorded(np.zeros(61 * RATE, np.float32), "FLAC"))
    assert [audio_files.LONG] == said


@pytest.mark.parametrize(
    ("factor", "words"), [(0.5, None), (1.0, None), (1.5, "beyond full scale"), (32768.0, "far beyond full scale")]
)
def test_floats_beyond_full_scale_are_told(factor: float, words: str | None) -> None:
    """Floats that are clipped later, and those that aren't from -1 to 1 at all, are told as what they are."""
    loud = SOUND / np.abs(SOUND).max() * np.float32(factor)
    said = heard(recorded(loud, subtype="FLOAT"))[1]
    assert (words is None, 1 if words else 0) == (not said, len(said))
    assert words is None or said[0].startswith(words)


def test_mixed_channels_count() -> None:
    """Channels that are beyond full scale alone, and not together, are not clipped."""
    assert [] == heard(recorded(np.stack([SOUND * 3, -SOUND * 3], axis=1), subtype="FLOAT"))[1]


KINDS: tuple[Callable[[], bytes], ...] = tuple(
    lambda kind=kind, subtype=subtype: recorded(SOUND[:400], kind, subtype)  # type: ignore[misc]
    for kind, subtype in (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("AIFF", None), ("AU", None))
)


@settings(deadline=None, max_examples=300, database=None)
@given(st.data())
def test_any_header_is_read_or_one_error(data: st.DataObject) -> None:
    """Whatever numbers a header holds, the recording is read or is one error, in less than 500 MB more."""
    content = bytearray(data.draw(st.sampled_from(KINDS))())
    word = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 100, 767_999, 0x7FFFFFFF, 0xFFFFFFFF]))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 64), word), max_size=4)):
        content[place : place + 4] = struct.pack(data.draw(st.sampled_from("<>")) + "I", value)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(DataError):
        assert np.isfinite(audio_files.read(bytes(content), 16_000)).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10
