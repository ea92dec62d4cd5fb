"""A library that got a path, however it got it, asks for the workspace's code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.user_code.folders import never_inputs
from mltkbuild.user_code.watch import watch

from .test_watch import as_library, names

LIBRARY = """
class Reader:
    def __init__(self, path):
        self.path = path

    def read(self):
        return _open(PATH)

    def later(self):
        return lambda: _open(self.path)

def _open(path):
    with open(path) as file:
        return file.read()

def read(*paths, **options):
    return _open(PATH)

def import_more():
    return _open(PATH)

back(globals())
"""
GIVES: dict[str, tuple[Callable[[Any, Path], object], bool]] = {
    "an argument": (lambda library, path: library["read"](str(path)), True),
    "a path": (lambda library, path: library["read"](path), True),
    "bytes": (lambda library, path: library["read"](os.fsencode(path)), True),
    "one of a list": (lambda library, path: library["read"]([None, 1, str(path)]), True),
    "one of a dict": (lambda library, path: library["read"]({"a": str(path)}), True),
    "by a name": (lambda library, path: library["read"](source=str(path)), True),
    "the folder": (lambda library, path: library["read"](str(path.parent)), True),
    "without its ending": (lambda library, path: library["read"](str(path.with_suffix(""))), True),
    "a pattern": (lambda library, path: library["read"](f"{path.parent}/*.txt"), True),
    "from home": (lambda library, path: library["read"]("~/.cache/mine/a.txt"), True),
    "an object's": (lambda library, path: library["Reader"](str(path)).read(), True),
    "a function's": (lambda library, path: library["Reader"](str(path)).later()(), True),
    "another one": (lambda library, path: library["read"](str(path.with_name("b.txt"))), False),
    "a word": (lambda library, path: library["read"]("training", 3, None, b"", object()), False),
    "none": (lambda library, path: library["import_more"](), False),
}


@pytest.mark.parametrize("way", GIVES)
def test_path_that_a_library_got_counts(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where programs have their files, what a library reads counts if the path is the workspace's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    never_inputs.cache_clear()
    path = tmp_path / ".cache/mine/a.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    give, counts = GIVES[way]
    with watch(()) as seen:
        as_library(LIBRARY, PATH=str(path), back=lambda library: give(library, path))
    never_inputs.cache_clear()
    assert ({".cache/mine/a.txt"} if counts else set()) == names(seen.files, tmp_path)
