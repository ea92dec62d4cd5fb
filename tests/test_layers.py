"""The order of the package's folders: imports go down only, doit and click each have one door, nothing goes round."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PACKAGE = REPOSITORY / "mltkbuild"
ROOT = "mltkbuild"

# From top to bottom, the way of a build. Each imports from those below it alone. `python -m tests.test_layers` writes
# this table into CONTRIBUTING.md.
ROOMS: Mapping[str, str] = {
    "cli": "the `mltk` command",
    "api": "the Python API",
    "tasks": "the doit front: what a `dodo.py` imports",
    "front": "a build as people see it: session, progress, text",
    "engine": "judges and orders: freshness, what a target is, builder, plan, explain",
    "workers": "where a stage runs: processes, and what they run",
    "stages": "the table of stages, and one file each: what its body needs, taken from spec, data, artifacts",
    "user_code": "a spec's code at work: loader, watch",
    "from_mltk": "MLTK's names",
    "training": "the trained model: fit, checkpoints of everything, `.keras` files",
    "evaluation": "figures and pictures of what a model answers",
    "firmware": "C++ sources, test vectors, an Arduino library",
    "tflite": "the `.tflite`: conversion, proof, cost",
    "architectures": "networks that a spec can use",
    "datasets": "public data sets that a spec can use",
    "archives": "the `.mltk.zip` format: reading, writing, unpacking",
    "pictures": "drawing, and the page of a data set",
    "spec": "what a spec is written with: model, mixins, properties",
    "data": "samples: loaded, prepared, drawn in batches",
    "keras_words": "what Keras and TensorFlow say, in fewer words",
    "keras_private": "names that Keras keeps private, and an error for each that a release lacks",
    "disk": "digests, records, the workspace's folders, publishing",
    "fingerprint": "values and code to digests; tool versions",
    "extras": "optional packages",
    "events": "what work that takes a while tells about itself",
    "errors": "what a front turns into text",
    "shown": "text of strangers, which steers no terminal",
    "process": "what this process is: one that decides, or a worker",
    "search_path": "where modules are looked for, which is not where somebody works",
}
FLOOR = {name: number for number, name in enumerate(ROOMS)}
BEGIN, END = "<!-- made by python -m tests.test_layers -->", "<!-- end -->"


def table() -> str:
    """The rooms as a table for CONTRIBUTING.md."""
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in ROOMS.items())
    return f"{BEGIN}\n| room | what it holds |\n|---|---|\n{rows}\n{END}"


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its file; templates are files of other people's workspaces."""
    for path in sorted(set(PACKAGE.rglob("*.py")) - set(PACKAGE.glob("templates/*"))):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join((ROOT, *(part for part in parts if part != "__init__"))), path


MODULES = dict(modules())


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """What a file imports, wherever in it, and whether that happens as it is loaded itself.

    A text that is the name of one of our modules counts as a later import: it is there for `import_module`. What
    stands under `if TYPE_CHECKING:` is never imported.
    """
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Constant)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) not in hidden:
            for name in _imported(node):
                yield name, id(node) not in later


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert 0 == node.level, "imports are absolute in this package"
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODULES:
        if node.value != ROOT:
            yield node.value
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def room_of(module: str) -> str:
    """The module or package right below the root that a module belongs to."""
    return module.removeprefix(ROOT).lstrip(".").partition(".")[0]


def test_every_module_has_a_room() -> None:
    """A new folder gets its place in the order before anything imports it, and no place stands empty."""
    assert set(ROOMS) == {room_of(module) for module in MODULES if module != ROOT}


@pytest.mark.parametrize("module", [module for module in MODULES if module != ROOT])
def test_imports_go_down(module: str) -> None:
    """A module imports from its own room and those below it, and never the package's root."""
    found = {name for name, _ in imports(MODULES[module]) if name.partition(".")[0] == ROOT}
    assert ROOT not in found - ALLOWED_ROOT.get(module, set())
    assert [] == sorted(name for name in found - {ROOT} if FLOOR[room_of(name)] < FLOOR[room_of(module)])


# The version is a fact of the package itself.
ALLOWED_ROOT = {"mltkbuild.cli.main": {ROOT}}


def test_contributing_shows_the_order() -> None:
    """CONTRIBUTING.md has the table that this file holds."""
    assert table() in (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_one_door_to_doit_and_one_to_click() -> None:
    """Doit is imported by `tasks` and its plugins alone, click by `cli`."""
    users: dict[str, set[str]] = {"doit": set(), "click": set()}
    for module, path in MODULES.items():
        for name, _ in imports(path):
            if name.partition(".")[0] in users:
                users[name.partition(".")[0]].add(module if room_of(module) == "front" else room_of(module))
    assert {"doit": {"tasks", "mltkbuild.front.doit_plugins"}, "click": {"cli"}} == users


def test_one_way_to_standard_output() -> None:
    """Commands print by `telling` alone, which shows what strangers wrote and obeys none of it."""
    printing = {path.name for path in (PACKAGE / "cli").glob("*.py") if "echo(" in path.read_text(encoding="utf-8")}
    assert {"telling.py"} == printing


def test_plugins_don_t_load_the_package() -> None:
    """What doit loads for every project in the environment needs the stage table and a spelling hint, no engine."""
    found = {name for name, _ in imports(MODULES["mltkbuild.front.doit_plugins"]) if name.startswith(ROOT)}
    assert {"mltkbuild.errors", "mltkbuild.stages.table"} == found


def test_no_import_circles() -> None:
    """No module comes back to itself by what it imports, at once or later."""
    graph = {
        module: {name for name, _ in imports(path) if name in MODULES and name not in {module, ROOT}}
        for module, path in MODULES.items()
        if module != ROOT
    }
    while True:
        leaves = {module for module, needed in graph.items() if not needed}
        if not leaves:
            break
        graph = {module: needed - leaves for module, needed in graph.items() if module not in leaves}
    assert {} == graph


HEAVY = {"tensorflow", "keras", "numpy", "sklearn", "matplotlib", "ai_edge_litert", "h5py", "flatbuffers"}
COMPUTING = {
    "architectures",
    "data",
    "datasets",
    "evaluation",
    "firmware",
    "from_mltk",
    "pictures",
    "tflite",
    "training",
}
LIGHT_STAGES = {"mltkbuild.stages.table", "mltkbuild.stages.protocol"}
"""What the deciding process loads of the stages."""
IN_WORKERS = {"mltkbuild.workers.run_stage", "mltkbuild.workers.file_jobs", "mltkbuild.workers.file_evaluation"}
"""What a worker alone loads of its room, so that its imports stand at the top."""


def test_heavy_libraries_are_imported_where_they_run() -> None:
    """TensorFlow and its company are imported by what runs in workers alone."""
    users = {
        module
        for module, path in MODULES.items()
        for name, at_load in imports(path)
        if at_load and name.partition(".")[0] in HEAVY and room_of(module) not in COMPUTING
    }
    in_stages = {module for module in MODULES if room_of(module) == "stages"} - LIGHT_STAGES
    assert users <= in_stages | IN_WORKERS


def test_what_workers_run_is_loaded_by_them_alone() -> None:
    """The entry of a worker imports it late, by name; nothing that the deciding process loads imports it at once."""
    importers = {
        module: {(name, at_load) for name, at_load in imports(path) if name in IN_WORKERS}
        for module, path in MODULES.items()
        if module not in IN_WORKERS
    }
    expected = {(name, False) for name in IN_WORKERS}
    assert {"mltkbuild.workers.entry": expected} == {module: names for module, names in importers.items() if names}


# -- the one door to the disk ----------------------------------------------------------------------------------------

BODIES = {"architectures", "data", "evaluation", "firmware", "pictures", "tflite", "training"}
"""They are given a folder that is new and theirs alone, and libraries write there by path."""
CHANGES = {
    "os": {
        *("chmod", "link", "makedirs", "mkdir", "mkfifo", "open", "remove", "removedirs", "rename", "renames"),
        *("replace", "rmdir", "symlink", "truncate", "unlink"),
    },
    "shutil": {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "rmtree"},
    "tempfile": {"NamedTemporaryFile", "TemporaryFile", "mkdtemp", "mktemp", "mkstemp"},
    "fcntl": {"flock", "lockf"},
}
METHODS = {"hardlink_to", "mkdir", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text"}
NO_DOOR = {
    "mltkbuild.archives.reading": {"os.open"},  # reads an archive that the user names, without waiting for a pipe
    "mltkbuild.cli.archived": {"os.makedirs"},  # in a temporary folder of its own
    "mltkbuild.cli.init": {"mkdir", "write_text"},  # a new workspace, where the user says
    "mltkbuild.cli.main": {"open"},  # the null device, for what nobody reads
    "mltkbuild.disk.file_scan": {"os.open"},  # opens folders to look at files; runs without the package
    "mltkbuild.from_mltk.downloads": {"mkdir"},  # a folder that a spec asks for
    "mltkbuild.from_mltk.media": {"open", "os.makedirs"},  # recordings that a spec writes where it wants
    "mltkbuild.front.doit_plugins": {
        "open",
        "os.open",
        "os.replace",
        "os.unlink",
    },  # doit's database, no import of ours
    "mltkbuild.stages.slices": {"mkdir", "write_text"},  # into the scratch folder
    "mltkbuild.stages.stage_files": {"mkdir", "write_text"},  # into the scratch folder
}
"""What changes the disk without the door, and why that is right."""


def changes_of_the_disk(path: Path) -> Iterator[str]:
    """The calls in a file that write, rename or delete something by its path."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        module, _, function = name.rpartition(".")
        modes = (*node.args[: 1 if module else 2], *(word.value for word in node.keywords if word.arg == "mode"))
        writes = any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax+") for mode in modes[-1:])
        if function in CHANGES.get(module, ()):
            yield name
        elif module not in CHANGES and (function in METHODS or (function == "open" and writes)):
            is_door = function in METHODS and isinstance(node.func, ast.Attribute) and "door" in module.lower()
            if not is_door:
                yield function


def test_the_door_is_the_only_way_to_change_what_is_ours() -> None:
    """Who writes, renames or deletes below `build/` and the like goes through `disk/door`; what doesn't says why."""
    found = {
        module: names
        for module, path in MODULES.items()
        if module not in {"mltkbuild.disk.door", "mltkbuild.disk.open_folder"} and room_of(module) not in BODIES
        if (names := set(changes_of_the_disk(path)))
    }
    assert found == NO_DOOR


if __name__ == "__main__":
    contributing = REPOSITORY / "CONTRIBUTING.md"
    before, _, rest = contributing.read_text(encoding="utf-8").partition(BEGIN)
    contributing.write_text(before + table() + rest.partition(END)[2], encoding="utf-8")
