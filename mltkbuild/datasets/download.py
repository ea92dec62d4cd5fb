"""Downloads a file once: goes on where it was cut off, tries again, checks its digest, and never leaves half of it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from mltkbuild.disk.door import Door
from mltkbuild.disk.names import name_fault
from mltkbuild.disk.open_folder import foreign, read_file
from mltkbuild.errors import DataError, ForeignError
from mltkbuild.events import Counted
from mltkbuild.shown import shown

MIRROR = "MLTK_DATASETS_MIRROR"
"""The environment variable that names a folder or a base URL where files are looked for first, by their names."""
WAITS = (1.0, 2.0, 5.0, 15.0)
"""Seconds before each further try."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as cut."""
LARGEST = 64 << 30
"""More bytes than any of these data sets has."""
_CHUNK = 1 << 18

Progress = Callable[[Counted], None]


@dataclass(frozen=True)
class Source:
    """A file on the network.

    Args:
        url: Where it is.
        digest: `ALGORITHM:HEX` of its bytes, such as `sha256:...`; empty where nobody publishes one.
        name: Its name here; that in the URL when empty.
        size: Its size in bytes; 0 where it isn't known.
    """

    url: str
    digest: str = ""
    name: str = ""
    size: int = 0

    @property
    def file_name(self) -> str:
        """The file's name here."""
        return self.name or urlsplit(self.url).path.rsplit("/", 1)[-1]


class _Refused(Exception):
    """The server says that there is no such file, or has one that can't be; trying again doesn't help."""


class _TooMuch(_Refused):
    """The server has more bytes than the file may have."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a file that has moved, but not from a connection that nobody listens to, to one where anybody may."""

    def redirect_request(self, *args: Any, **named: Any) -> Any:
        """The request for the new place."""
        request = super().redirect_request(*args, **named)
        if request is not None and args[0].type == "https" != request.type:
            raise _Refused(f"the server leads from https to {shown(public(request.full_url), 200)}")
        return request


def public(url: str) -> str:
    """A URL without the name and the password that it may hold."""
    return re.sub("^([^/?#]*://)[^/?#]*@", r"\1", url)


def fetch(source: Source, folder: Path, progress: Progress | None = None) -> Path:
    """Bring a file into a folder, unless it is there.

    A file that somebody else put there is used when its digest is right. Of several processes one downloads, the others
    wait for it.

    Args:
        source: The file.
        folder: Where it goes.
        progress: Takes `Counted` bytes; None prints a line now and then.

    Returns:
        The file's absolute path.

    Raises:
        DataError: It can't be downloaded or written, or it isn't the one that its digest names.
    """
    _require_name(source)
    folder = folder.absolute()
    path = folder / source.file_name
    door = Door(str(folder))
    try:
        if _is_checked(path, source):
            return path
        with door.locked(_beside(path, ".lock")):
            if not _is_checked(path, source):
                if not path.exists():
                    _download(door, source, path, progress or _printing())
                _check(path, source)
                _mark(path, source)
    except OSError as error:
        if isinstance(error, urllib.error.URLError | http.client.HTTPException | TimeoutError):
            raise
        raise DataError(
            "a data set can't be written",
            where=str(folder),
            found=error.strerror or str(error),
            fix="free some space, or set MLTK_DATASETS to a folder that can be written",
        ) from error
    return path


def _require_name(source: Source) -> None:
    """Raise a DataError unless a file's name is one for a file in its folder."""
    fault = "names a folder" if "/" in source.file_name else name_fault(source.file_name)
    if fault is not None:
        found = f"{shown(source.file_name, 100)!r}: {fault}"
        raise DataError("a download needs a name", where=shown(source.url), found=found, fix="name its file")


def _beside(path: Path, what: str) -> str:
    """The path of something about a file, which lies beside it."""
    return str(path.with_name(f".{path.name}{what}"))


def _is_checked(path: Path, source: Source) -> bool:
    """Whether the file is the one whose digest was checked before: no byte of it was written since."""
    try:
        return path.is_file() and bool(json.loads(read_file(str(_mark_of(path)))) == _state(path, source))
    except (OSError, ValueError, RecursionError):
        return False


def _mark(path: Path, source: Source) -> None:
    """Note that a file was checked; where that can't be kept, it is checked again."""
    mark = _mark_of(path)
    with suppress(OSError, ForeignError):
        Door(str(mark.parent)).write(str(mark), json.dumps(_state(path, source)).encode())


def _mark_of(path: Path) -> Path:
    """Where it is kept that a file was checked: not beside the file, where whoever has put it there may write too."""
    return Path.home() / ".cache/mltkbuild/checked" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"


def _state(path: Path, source: Source) -> dict[str, str | int]:
    """What changes with a file's bytes; nobody can set the time of the last change of its status."""
    status = path.stat()
    times = {"mtime": status.st_mtime_ns, "ctime": status.st_ctime_ns}
    return {"digest": source.digest, "size": status.st_size, "inode": status.st_ino, "device": status.st_dev, **times}


def _check(path: Path, source: Source) -> None:
    """Raise a DataError unless a file is what its source says."""
    if not path.is_file():
        raise foreign(str(path), path.lstat())
    size = path.stat().st_size
    if not path.is_file():
        found, wanted = "no regular file", "one"
    elif source.size and size != source.size:
        found, wanted = f"{size:,} bytes", f"{source.size:,} bytes"
    elif source.digest:
        algorithm, _, wanted = source.digest.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found == wanted.lower():
            return
    elif size:
        return
    else:
        found, wanted = "no bytes", "a file"
    raise DataError(
        "a downloaded file is not the one that was published",
        where=str(path),
        found=f"{found}, not {wanted}",
        fix=f"delete it, and it is downloaded again from {public(source.url)}",
    )


def _download(door: Door, source: Source, path: Path, progress: Progress) -> None:
    """Download to a file beside the final one, check that, and give it its name."""
    part = Path(_beside(path, ".part"))
    reasons = []
    for url in _places(source):
        try:
            _try_often(door, url, part, source, progress)
        except (_Refused, urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reasons.append(f"{public(url)}: {_told(error)}")
            if isinstance(error, _TooMuch):
                door.remove(str(part))
            continue
        try:
            _check(part, source)
        except DataError as error:
            door.remove(str(part))
            door.remove(_begun_by(part))
            error.where = public(url)
            error.fix = f"try again later, or put the right file at {path}"
            raise
        door.rename(str(part), str(path))
        door.remove(_begun_by(part))
        door.flush_root()
        return
    raise DataError(
        "a data set can't be downloaded",
        where=public(source.url),
        found="; ".join(reasons),
        fix=f"connect this machine, set {MIRROR} to a folder or URL that has {source.file_name}, or put the file at "
        f"{path}",
    )


def _begun_by(part: Path) -> str:
    """The path of what is known about an unfinished download."""
    return f"{part}.json"


def _told(error: Exception) -> str:
    return shown(str(getattr(error, "reason", "") or error) or type(error).__name__, 200)


def _places(source: Source) -> Iterator[str]:
    mirror = os.environ.get(MIRROR)
    if mirror:
        base = mirror if "://" in mirror else Path(mirror).expanduser().absolute().as_uri()
        yield f"{base.rstrip('/')}/{source.file_name}"
    yield source.url


def _try_often(door: Door, url: str, part: Path, source: Source, progress: Progress) -> None:
    for wait in (*WAITS, None):
        try:
            _go_on(door, url, part, source, progress)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 416, 429):
                raise _Refused(f"the server answers {error.code} {_told(error)}") from error
            if isinstance(getattr(error, "reason", None), socket.gaierror):
                raise _Refused(f"there is no way to this host: {_told(error)}") from error
            if wait is None:
                raise
            time.sleep(wait)
        else:
            return


def _go_on(door: Door, url: str, part: Path, source: Source, progress: Progress) -> None:
    """Download what is still lacking."""
    place = public(url)
    have, tag = _begun(door, part, place)
    request = urllib.request.Request(place, headers={"User-Agent": "mltkbuild"})  # noqa: S310  # the spec's or a data set's own
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if at:
        secret = base64.b64encode(unquote(user).encode()).decode()
        # Not told to a place that the server leads to.
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        response: Any = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # More is here than there is there: begin anew.
            door.remove(str(part))
        raise
    with response:
        if getattr(response, "status", 200) != 206:
            have = 0
        headers = response.headers
        tag = headers.get("ETag") or headers.get("Last-Modified") or ""
        door.write(_begun_by(part), json.dumps({"url": place, "tag": tag}).encode())
        length = headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdecimal() else 0
        limit = source.size or LARGEST
        if total > limit:
            raise _TooMuch(f"the server has {total:,} bytes, more than the file may have")
        with (door.append if have else door.create)(str(part)) as partial:
            got = have
            for count in _copied(response, partial, limit - have):
                got += count
                progress(Counted(source.file_name, got, total))
        if total and got < total:
            raise ConnectionError(f"the connection was cut after {got:,} of {total:,} bytes")


def _begun(door: Door, part: Path, url: str) -> tuple[int, str]:
    """How many bytes an earlier try has left, and the version that they belong to; 0 where that can't be known."""
    try:
        found = json.loads(read_file(_begun_by(part)))
    except (OSError, ValueError, RecursionError):
        return 0, ""
    have = door.size(str(part))
    tag = found.get("tag") if isinstance(found, dict) and found.get("url") == url else ""
    # A weak tag doesn't promise the same bytes.
    return (have, tag) if isinstance(tag, str) and tag.isprintable() and tag and not tag.startswith("W/") else (0, "")


def _copied(response: IO[bytes], file: IO[bytes], most: int) -> Iterator[int]:
    """Copy piece by piece, and say how many bytes each has."""
    try:
        while chunk := response.read(_CHUNK):
            most -= len(chunk)
            if most < 0:
                raise _TooMuch("the server sends more bytes than the file may have")
            file.write(chunk)
            yield len(chunk)
    except http.client.IncompleteRead as error:
        file.write(error.partial[: max(most, 0)])
        raise


def _printing() -> Progress:
    """Prints every tenth part of a download."""
    told = -1

    def tell(event: Counted) -> None:
        nonlocal told
        tenth = event.done * 10 // event.of if event.of else event.done >> 26
        if told != tenth:
            told = tenth
            of = f" of {event.of / 2**20:,.1f} MiB" if event.of else " MiB"
            sys.stderr.write(f"{shown(event.doing)}: {event.done / 2**20:,.1f}{of}\n")

    return tell
