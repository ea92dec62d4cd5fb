"""A command whose output nobody reads any more ends without a traceback, as other programs do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mltkbuild.cli.main import CLOSED

from ..conftest import ENVIRONMENT, Files

# As `... | head -0` does: the reading end is gone before anything is written.
RUN = """
import os, subprocess, sys
reading, writing = os.pipe()
os.close(reading)
both = sys.argv[1] == "both"
done = subprocess.run([sys.executable, "-m", "mltkbuild.cli.main", *sys.argv[2:]], stdout=writing,
                      stderr=writing if both else subprocess.PIPE, text=not both)
sys.stdout.write(done.stderr or "")
sys.exit(done.returncode)
"""


def piped(files: Files, ends: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the standard error of a command whose output is closed."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, ends, *arguments],
        cwd=files.root,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
@pytest.mark.parametrize("ends", ["output", "both"])
@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("list",), ("--help",), ("clean", "-n")])
def test_a_closed_pipe_is_no_traceback(workspace: Files, arguments: tuple[str, ...], ends: str) -> None:
    """The exit code is that of a program that SIGPIPE ends, whether the errors are read or not."""
    workspace.spec("kws")
    code, told = piped(workspace, ends, *arguments)
    assert ((0 if arguments[0] == "clean" else CLOSED), "") == (code, told)


def test_an_error_is_told_where_it_is_read(workspace: Files) -> None:
    """A failure keeps its code and its text when only the output is closed."""
    code, told = piped(workspace, "output", "status", "nobody")
    assert (2, True) == (code, told.startswith("error: there is no model nobody."))
    assert CLOSED == piped(workspace, "both", "status", "nobody")[0]
