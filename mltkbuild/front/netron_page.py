"""Netron's page for one model, from a server that gives it to nobody else.

Netron's own server also gives every file beside the model, to every page that a browser shows (by DNS rebinding), and
writes the file's name into its page as it is.
"""

from __future__ import annotations

import html
import http.server
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mltkbuild.errors import StageError, UsageError

ADDRESS = "127.0.0.1"
_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
}
"""The parts of Netron's page, by the ends of their names."""
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_VERSION = re.compile(r'<meta name="version" content="([^"]*)">')


class Server(http.server.ThreadingHTTPServer):
    """Gives Netron's page and one model, to who asks for this machine by its own name alone.

    Args:
        netron: The folder of the installed package.
        model: The model's file, read now and never again.

    Raises:
        UsageError: The model can't be read.
        StageError: Netron's page isn't the one that is known.
    """

    daemon_threads = True

    def __init__(self, netron: Path, model: Path) -> None:
        try:
            content = model.read_bytes()
        except OSError as error:
            raise UsageError("the model can't be read", where=model, found=error.strerror, fix="check it") from error
        place = f"data/model{model.suffix}"
        self.parts = {
            f"/{path.name}": (_TYPES[path.suffix], path)
            for path in netron.iterdir()
            if path.suffix in _TYPES and path.name != "index.html"
        }
        page = _page(netron / "index.html", place, model.name)
        self.made = {"/": (_TYPES[".html"], page), f"/{place}": ("application/octet-stream", content)}
        super().__init__((ADDRESS, 0), _Handler)

    @property
    def names(self) -> frozenset[str]:
        """What a request may call this server."""
        return frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.server_port}/"


def _page(index: Path, place: str, name: str) -> bytes:
    """Netron's page, told which model to show."""

    def told(found: re.Match[str]) -> str:
        values = {
            "type": "Python",
            "version": found[1],
            "file": place,
            "name": name,
            "identifier": os.path.basename(place),
        }
        return "\n".join(f'<meta name="{key}" content="{html.escape(value)}">' for key, value in values.items())

    try:
        page, count = _VERSION.subn(told, index.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        count = 0
    if count != 1:
        fix = "run `pip install 'mltkbuild[view]'`, or open the file at netron.app"
        raise StageError("the installed netron has another page than is known", where=index, fix=fix)
    return page.encode("utf-8", "replace")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    server_version = "mltk"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def parse_request(self) -> bool:
        """Refuse what isn't a reading request to this machine by its own name."""
        if not super().parse_request():
            return False
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.names:
            self.send_error(403)
        elif self.command not in ("GET", "HEAD"):
            self.send_error(405)
        else:
            return True
        self.close_connection = True
        return False

    def do_GET(self) -> None:
        """Give a part of the page, or the model."""
        path = urlsplit(self.path).path
        if path in self.server.made:
            kind, content = self.server.made[path]
        elif path in self.server.parts:
            kind, file = self.server.parts[path]
            content = file.read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Let no other page use what is given, and this one ask nobody else."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing goes to the terminal."""
