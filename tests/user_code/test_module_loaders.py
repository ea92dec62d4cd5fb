"""Files of a workspace's packages, by all that Python offers for them, are given as in plain Python and are inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mltkbuild.user_code.loader import Snapshot, loaded_spec
from mltkbuild.user_code.watch import watch

HEAD = "from mltkbuild import MltkModel\nmy_model = MltkModel()\n"
READS: dict[str, tuple[str, str]] = {
    "files": ("importlib.resources.files('parts').joinpath('factor.txt').read_text()", "factor.txt"),
    "files below": ("(importlib.resources.files('parts') / 'more' / 'a.txt').read_text()", "more/a.txt"),
    "files by module": ("importlib.resources.files(parts).joinpath('factor.txt').read_text()", "factor.txt"),
    "as a file": (
        "importlib.resources.as_file(importlib.resources.files('parts') / 'factor.txt').__enter__().read_text()",
        "factor.txt",
    ),
    "bytes": ("importlib.resources.files('parts').joinpath('factor.txt').read_bytes().decode()", "factor.txt"),
    "get_data": ("pkgutil.get_data('parts', 'factor.txt').decode()", "factor.txt"),
    "loader of the package": (
        "parts.__loader__.get_data(os.path.join(os.path.dirname(parts.__file__), 'factor.txt')).decode()",
        "factor.txt",
    ),
    "own loader": ("__loader__.get_data(os.path.join(os.path.dirname(__file__), 'own.txt')).decode()", "../own.txt"),
    "inside the package": ("parts.inside()", "factor.txt"),
    "package below": ("importlib.resources.files('parts.more').joinpath('a.txt').read_text()", "more/a.txt"),
    "folder without __init__": ("importlib.resources.files('space').joinpath('s.txt').read_text()", "../space/s.txt"),
    "package in a folder without __init__": (
        "importlib.resources.files('space.deep').joinpath('d.txt').read_text()",
        "../space/deep/d.txt",
    ),
    "names in the package": (
        "' '.join(sorted(item.name for item in importlib.resources.files('parts').iterdir() if item.name[0] != '_'))",
        "",
    ),
}
FILES = {
    "parts/__init__.py": "import importlib.resources\n\n"
    "def inside():\n    return importlib.resources.files(__package__).joinpath('factor.txt').read_text()\n",
    "parts/factor.txt": "2.0",
    "parts/more/__init__.py": "",
    "parts/more/a.txt": "A",
    "space/s.txt": "S",
    "space/one.py": "",
    "space/deep/__init__.py": "",
    "space/deep/d.txt": "D",
    "own.txt": "own",
}
IMPORTS = "import importlib.resources, os, pkgutil\nimport parts, parts.more, space.one, space.deep\n"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of specs with packages that have files."""
    for name, text in FILES.items():
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "models"


@pytest.mark.parametrize("way", READS)
def test_files_of_packages_are_read_as_in_plain_python(models: Path, way: str) -> None:
    """A spec gets what a script gets, and what it opened is noticed."""
    read, name = READS[way]
    (models / "plain.py").write_text(f"{IMPORTS}print({read}, end='')\n")
    plain = subprocess.run((sys.executable, "-B", "plain.py"), cwd=models, capture_output=True, text=True, check=True)
    spec = f"{HEAD}{IMPORTS}my_model.description = {read}\n"
    sources = {f"models/{name}": text for name, text in FILES.items() if name.endswith(".py")}
    snapshot = Snapshot(str(models.parent), "models/kws.py", ("models", ""), {"models/kws.py": spec, **sources})
    (models / "plain.py").unlink()
    with watch((), str(models.parent)) as seen, loaded_spec(snapshot, "kws", str(models / "log"), False) as model:
        assert plain.stdout == model.peek("description")
    assert os.path.normpath(models / "parts" / name) in seen.files


def test_source_by_loader_is_the_snapshots(models: Path) -> None:
    """Whoever asks a loader for a module's own file gets the text that runs, not the one that was saved meanwhile."""
    spec = HEAD + "import parts\nmy_model.description = parts.__loader__.get_data(parts.__file__).decode()\n"
    sources = {"models/kws.py": spec, "models/parts/__init__.py": "# as it was\n"}
    snapshot = Snapshot(str(models.parent), "models/kws.py", ("models", ""), sources)
    with loaded_spec(snapshot, "kws", str(models / "log"), False) as model:
        assert "# as it was\n" == model.peek("description")
