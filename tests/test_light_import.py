"""A command with nothing to do is light: it loads no library that it doesn't need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import Front

HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "sklearn",
    "matplotlib",
    "rich",
    "ai_edge_litert",
    "h5py",
    "flatbuffers",
    "yaml",
}
MLTK, DOIT = ("-m", "mltkbuild.cli.main"), ("-m", "doit")


def loaded(front: Front, *arguments: str, code: int = 0) -> set[str]:
    """The top-level packages that a command loads in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=front.files.root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert code == done.returncode, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        DOIT,
        (*DOIT, "-n", "2"),
        (*DOIT, "list", "--all"),
        (*DOIT, "info", "train:kws"),
        (*DOIT, "clean", "-n"),
        (*MLTK, "build"),
        (*MLTK, "build", "--dry-run"),
        (*MLTK, "train", "kws"),
        (*MLTK, "clean", "-n"),
    ],
)
def test_nothing_to_do_loads_nothing_heavy(built_front: Front, arguments: tuple[str, ...]) -> None:
    """doit, a build and a clean over models that are up to date load no numerics and no display."""
    assert set() == loaded(built_front, *arguments) & HEAVY


@pytest.mark.parametrize(
    "arguments", [(*MLTK, "status"), (*MLTK, "list"), (*MLTK, "--help"), (*MLTK, "explain", "kws")]
)
def test_looking_doesn_t_load_doit(built_front: Front, arguments: tuple[str, ...]) -> None:
    """Commands that only look load neither doit nor anything heavy."""
    assert set() == loaded(built_front, *arguments) & {*HEAVY, "doit", "cloudpickle"}


def test_what_there_is_to_do_is_still_light_to_show(built_front: Front) -> None:
    """After an edit, `mltk status` judges by digests alone."""
    built_front.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    assert set() == loaded(built_front, *MLTK, "status") & HEAVY
