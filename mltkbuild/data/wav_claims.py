"""What a recording's header claims, compared with what the file holds: libsndfile reads on in silence."""

from __future__ import annotations

import re
import struct

from mltkbuild.data.told import Tell

CUT = "cut off; what is left was read"
NO_LENGTH = "with a header that counts no samples before there are some; read to the end"
OPEN_LENGTH = "with a header that leaves the length open; read to the end"
MORE = "with more behind the samples than the header counts; that was left out"
CONTRADICTION = "with a header that contradicts itself; its sample rate was taken"
_OPEN = 0x7FFF0000
"""Programs that write to a pipe claim this much, or more."""
_HEAD, _CHUNK = 12, struct.Struct("<4sI")
_SLACK = 8
"""So many bytes are padding, of which programs keep different counts."""
_CLAIM = re.compile(r"^\s*(?:SSND|BODY|Data Size|Data length|riff)\s*:?\s*(\d+) \(?should be (\d+)", re.MULTILINE)
_FRAMES = re.compile(
    r"^\*\*\* Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)", re.MULTILINE
)
_NIST, _NIST_HEAD = re.compile(rb"\ANIST_1A.*?\nsample_count -i (\d+)", re.DOTALL), 1024
_RATE = re.compile(r"^\s*Bytes/sec\s*: \d+ \(should be ", re.MULTILINE)


def mended(content: bytes, tell: Tell) -> bytes:
    """A recording whose header counts its samples, as far as it is a RIFF file; other files stay as they are.

    A program that is killed while it records leaves a header that counts none: it is made to count what follows it.

    Args:
        content: A file.
        tell: Takes what is wrong with the header and was done.
    """
    place = _data_chunk(content)
    if place is None:
        return content
    begin = place + _CHUNK.size
    claimed, held = _CHUNK.unpack_from(content, place)[1], len(content) - begin
    if claimed > held:
        tell(OPEN_LENGTH if claimed >= _OPEN else CUT)
    elif claimed == 0 and held > _SLACK and not _is_chunk(content, begin):
        tell(NO_LENGTH)
        return content[:place] + _CHUNK.pack(b"data", min(held, _OPEN)) + content[begin:]
    elif _is_left(content, begin + claimed):
        tell(MORE)
    return content


def _data_chunk(content: bytes) -> int | None:
    """Where the chunk of the samples begins."""
    if content[:4] != b"RIFF" or content[8:_HEAD] != b"WAVE":
        return None
    place = _HEAD
    while place + _CHUNK.size <= len(content):
        name, size = _CHUNK.unpack_from(content, place)
        if name == b"data":
            return place
        place += _CHUNK.size + size + size % 2
    return None


def _is_left(content: bytes, end: int) -> bool:
    """Whether something lies behind the samples that is neither padding nor a chunk."""
    rest = content[end:]
    padded = _is_chunk(content, end) or _is_chunk(content, end + 1)
    return len(rest) > _SLACK and not padded and bool(rest.strip(b"\0"))


def _is_chunk(content: bytes, place: int) -> bool:
    if place + _CHUNK.size > len(content):
        return False
    name, size = _CHUNK.unpack_from(content, place)
    return all(32 <= byte < 127 for byte in name) and size <= len(content) - place


def tell_of_rest(content: bytes, frames: int, log: str, tell: Tell) -> None:
    """Tell of a header that claims what isn't so, as libsndfile wrote down, or didn't for a NIST SPHERE file.

    Args:
        content: The file.
        frames: How many samples libsndfile found in it.
        log: The text of its `SFC_GET_LOG_INFO`.
        tell: Takes it.
    """
    claims = [(int(claimed), int(held)) for claimed, held in _CLAIM.findall(log)]
    claims += [(int(claimed), int(held)) for held, claimed in _FRAMES.findall(log)]
    claims += [(int(claimed), frames) for claimed in _NIST.findall(content[:_NIST_HEAD])]
    if any(claimed > held + _SLACK for claimed, held in claims):
        tell(CUT)
    if _RATE.search(log):
        tell(CONTRADICTION)
