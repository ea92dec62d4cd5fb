"""`mltk init`: a new workspace that works at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mltkbuild.disk.workspace import configure, list_specs
from mltkbuild.stages.table import STAGES

from ..conftest import REPOSITORY, Files, command

LAYOUT = {"dodo.py", "pyproject.toml", ".gitignore", "models/digits_v1.py"}


def test_init_makes_a_workspace_that_doit_understands(tmp_path: Path) -> None:
    """The new folder has the example model, its configuration is valid, and `doit list` works in it."""
    result = command("mltk", "init", "demo", cwd=tmp_path)
    assert (0, "made demo with the model digits_v1\nnext: cd demo && doit\n", "") == tuple(vars(result).values())
    root = tmp_path / "demo"
    assert LAYOUT == {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert ["digits_v1"] == list(list_specs(configure(str(root))).specs)
    assert len(STAGES) == len(command("doit", "list", cwd=root).out.splitlines())
    assert "digits_v1" in command("mltk", "status", cwd=root / "models").out


def test_example_is_the_reference_model() -> None:
    """The model that `mltk init` writes is the one that this repository builds."""
    template = REPOSITORY / "mltkbuild/templates/digits_v1.py"
    assert (REPOSITORY / "models/digits_v1.py").read_text() == template.read_text()


def test_init_here_keeps_what_is_there(tmp_path: Path) -> None:
    """A project with a `pyproject.toml` and a `.gitignore` becomes a workspace; its files stay as they are."""
    files = Files(tmp_path)
    files.write("pyproject.toml", "[project]\n")
    files.write("models/digits_v1.py", "# mine\n")
    result = command("mltk", "init", ".", cwd=tmp_path)
    assert "made . with the model digits_v1; kept pyproject.toml, models/digits_v1.py\nnext: doit\n" == result.out
    assert ("[project]\n", "# mine\n") == (
        (tmp_path / "pyproject.toml").read_text(),
        (tmp_path / "models/digits_v1.py").read_text(),
    )
    assert (tmp_path / "dodo.py").exists()


def test_init_leaves_a_doit_project_alone(tmp_path: Path) -> None:
    """A folder with a `dodo.py` is somebody's project already: code 2, and nothing is written."""
    Files(tmp_path).write("demo/dodo.py", "x = 1\n")
    result = command("mltk", "init", "demo", cwd=tmp_path)
    assert (2, "") == (result.code, result.out)
    assert "error: demo: this folder is a doit project already.\n  found: dodo.py\n" in result.err
    assert ["dodo.py"] == os.listdir(tmp_path / "demo")


@pytest.mark.parametrize("place", ["taken", "taken/inner"])
def test_init_where_nothing_can_be_written_is_an_error(tmp_path: Path, place: str) -> None:
    """A path that is a file, or below one, ends in an error of one piece."""
    (tmp_path / "taken").write_text("a file")
    result = command("mltk", "init", place, cwd=tmp_path)
    assert (2, "") == (result.code, result.out)
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert "a file" == (tmp_path / "taken").read_text()
