"""`mltk view` gives one model to this machine's own browser, and nothing else to nobody else."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltkbuild.errors import StageError, UsageError
from mltkbuild.front import netron_page
from mltkbuild.front.netron_page import Server

from ..conftest import ENVIRONMENT

pytestmark = pytest.mark.real

INDEX = '<html><meta name="version" content="9.3.3"><script src="index.js"></script></html>'
NAME = 'a"><script>alert(1)<.tflite'


@pytest.fixture
def netron(tmp_path: Path) -> Path:
    """The folder of a netron."""
    folder = tmp_path / "netron"
    (folder / "inner").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX, encoding="utf-8")
    (folder / "index.js").write_text("run()", encoding="utf-8")
    (folder / "server.py").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture
def server(netron: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of one model, beside which there are other files."""
    (tmp_path / "other.tflite").write_bytes(b"other")
    (tmp_path / NAME).write_bytes(b"model")
    with Server(netron, tmp_path / NAME) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: Server, path: str, method: str = "GET", hosts: tuple[str, ...] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """Ask the server as a browser does; the code, the body and the headers."""
    connection = http.client.HTTPConnection(netron_page.ADDRESS, server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for host in hosts if hosts is not None else (f"localhost:{server.server_port}",):
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, dict(answer.getheaders())


def test_the_page_and_the_model_are_there(server: Server) -> None:
    """The page names the model, which is given whole; its own name can't break out of the page."""
    code, page, headers = ask(server, "/")
    assert 200 == code
    assert b'<meta name="file" content="data/model.tflite">' in page
    assert b"<script>alert" not in page
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "same-origin" == headers["Cross-Origin-Resource-Policy"]
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert (200, b"model") == ask(server, "/data/model.tflite")[:2]
    assert (200, b"run()") == ask(server, "/index.js")[:2]
    assert (200, b"") == ask(server, "/index.js", "HEAD")[:2]


@pytest.mark.parametrize(
    "path",
    [
        *("/other.tflite", "/data/other.tflite", "/data/", "/data", "/data/../other.tflite", "/../other.tflite"),
        *("/data/%2e%2e/other.tflite", "/server.py", "/inner", "/inner/", "/index.html", "/etc/passwd"),
        *("http://localhost/data/other.tflite", "/data/model.tflite/", "/data/model%2etflite", "*", "/\\index.js"),
    ],
)
def test_there_is_nothing_else(server: Server, path: str) -> None:
    """No file beside the model, no list of files, and no way around."""
    assert 404 == ask(server, path)[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "XYZ"])
def test_nothing_but_reading(server: Server, method: str) -> None:
    """A method that doesn't read is refused."""
    assert 405 == ask(server, "/", method)[0]


@pytest.mark.parametrize(
    "hosts",
    [
        *((), ("evil.example",), ("evil.example:PORT",), ("localhost",), ("127.0.0.1",), ("localhost:1",), ("",)),
        *(("localhost:PORT", "evil.example"), ("localhost:PORT.evil.example",), ("0.0.0.0:PORT",), ("[::1]:PORT",)),
    ],
)
def test_another_name_is_refused(server: Server, hosts: tuple[str, ...]) -> None:
    """A page whose name was made to lead to this machine gets nothing: it asks for that name."""
    given = tuple(host.replace("PORT", str(server.server_port)) for host in hosts)
    code, body, _ = ask(server, "/data/model.tflite", hosts=given)
    assert 403 == code
    assert b"model" not in body


def test_only_this_machine_reaches_it(server: Server) -> None:
    """The server listens on the loopback interface alone."""
    assert netron_page.ADDRESS == server.server_address[0] == "127.0.0.1"


def test_an_unknown_netron_is_an_error(netron: Path, tmp_path: Path) -> None:
    """A page that has no place for the model, and a model that can't be read, are said to be so."""
    with pytest.raises(UsageError, match="can't be read"):
        Server(netron, tmp_path / "missing.tflite")
    (netron / "index.html").write_text("<html>", encoding="utf-8")
    (tmp_path / "m.tflite").write_bytes(b"model")
    with pytest.raises(StageError, match="another page"):
        Server(netron, tmp_path / "m.tflite")


def test_the_command_shows_one_model_until_ctrl_c(netron: Path, tmp_path: Path) -> None:
    """`mltk view FILE` says where the page is, and ends with Ctrl+C."""
    (tmp_path / "m.tflite").write_bytes(b"model")
    (netron / "__init__.py").write_text("raise SystemExit('no code of it is needed')\n", encoding="utf-8")
    command = [sys.executable, "-m", "mltkbuild.cli.main", "view", str(tmp_path / "m.tflite")]
    env = {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{tmp_path}", "BROWSER": "true"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=netron, env=env) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.partition("http://")[2].partition("/")[0]
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/data/model.tflite")
        assert b"model" == connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(30)
