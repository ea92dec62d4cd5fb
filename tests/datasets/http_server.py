"""A real HTTP server on this machine whose answers can be cut, slow, wrong or elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, and how it behaves.

    Args:
        files: Contents by path.
        cuts: How many further answers end too early, each after how many bytes.
        codes: Codes of further answers, in place of files.
        moved: Paths that redirect to other ones.
        ranges: Whether it obeys requests for a part of a file.
        tag: The version of all files.
        pause: Seconds before each piece of an answer.
        length: Whether it tells how long a file is.
        reason: The words beside the codes.
        secrets: The `Authorization` of each request.
        asked: The paths that were asked for, with the first byte of the wanted part.
    """

    files: dict[str, bytes]
    url: str = ""
    cuts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    tag: str = '"1"'
    pause: float = 0.0
    length: bool = True
    reason: str | None = None
    secrets: list[str] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve files by HTTP until the block ends."""
    site = Site(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing goes to the terminal."""

        def do_GET(self) -> None:
            _answer(self, site)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    wanted = handler.headers.get("Range", "")
    same = handler.headers.get("If-Range") in (None, site.tag)
    begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges and same else 0
    site.asked.append((handler.path, begin))
    site.secrets.append(handler.headers.get("Authorization", ""))
    handler.close_connection = True
    code = site.codes.pop(0) if site.codes else 0
    data = site.files.get(handler.path)
    if handler.path in site.moved:
        handler.send_response(302)
        handler.send_header("Location", site.moved[handler.path])
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    if code or data is None:
        handler.send_error(code or 404, site.reason)
        return
    part = data[begin:]
    handler.send_response(206 if begin else 200)
    if site.length:
        handler.send_header("Content-Length", str(len(part)))
    handler.send_header("ETag", site.tag)
    handler.end_headers()
    for start in range(0, len(part), 1000):
        time.sleep(site.pause)
        if site.cuts and start + 1000 > site.cuts[0]:
            handler.wfile.write(part[start : site.cuts.pop(0)])
            return
        handler.wfile.write(part[start : start + 1000])
