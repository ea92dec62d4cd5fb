"""The import table: layers point down, doit and click each have one door, nobody imports the package root."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PACKAGE = REPOSITORY / "mltkbuild"
PURE, DISK, BODIES, ENGINE, FRONTS = range(5)

ARCHIVE_FILES = ("archive_file", "archive_writing", "member_names")
ASSEMBLING = (
    "assembling",
    "assembling_data",
    "assembling_train",
    "assembling_tflite",
    "assembling_evaluate",
    "assembling_view",
    "assembling_archive",
    "stage_functions",
)
# DESIGN.md, section 7, as the modules are. `bodies` and `data` run in workers, below the engine that starts them.
LAYERS: Mapping[int, tuple[str, ...]] = {
    PURE: (
        *(
            "errors",
            "extras",
            "properties",
            "model",
            "mixins",
            "fingerprint",
            "freshness",
            "stages",
            "scoring",
            "epochs",
            "records",
            "process",
        ),
        *("generators", "data_mixin", "image_generator", "image_mixin", "foreign_mixins"),
        *("audio_generator", "audio_mixin", "audio_settings"),
    ),
    DISK: (
        *("durable", "files", "file_scan", "file_lists", "store", "checkpoints"),
        *("workspace", "toolchain", *ARCHIVE_FILES),
    ),
    BODIES: ("architectures", "bodies", "data", "datasets", "ported"),
    ENGINE: (
        *(
            "state",
            "protocol",
            "loader",
            "watch",
            "compat",
            "stage_runs",
            "preparing",
            "image_plans",
            "audio_plans",
            "worker",
            "entry",
            "executor",
        ),
        *ASSEMBLING,
        "builder",
        "file_jobs",
        *("provenance", "archive_contents", "unpacking"),
        *("plan", "explain", "orphans"),
    ),
    FRONTS: (
        *("api", "api_workers", "which_model"),
        *("report", "progress", "session", "tasks", "doit_plugins", "cli", "reference", "calls", "results"),
    ),
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names}
ROOT = "mltkbuild"


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its file; templates are files of other people's workspaces."""
    for path in sorted(set(PACKAGE.rglob("*.py")) - set(PACKAGE.glob("templates/*"))):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join((ROOT, *(part for part in parts if part != "__init__"))), path


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a file imports, wherever in it, and whether that happens as it is loaded itself.

    `importlib.import_module` with a literal counts; what stands under `if TYPE_CHECKING:` is never imported.
    """
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
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
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
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


MODULES = dict(modules())


def part_of(module: str) -> str:
    """The module or package right below the root that a module belongs to."""
    return module.removeprefix(ROOT).lstrip(".").partition(".")[0]


def test_every_module_has_a_layer() -> None:
    """A new module is put into the table before it is imported by anything."""
    assert set(LAYER) >= {part_of(module) for module in MODULES if module != ROOT}


@pytest.mark.parametrize("module", [module for module in MODULES if module != ROOT])
def test_imports_point_down(module: str) -> None:
    """A module imports from its own layer and those below it, and never the package's root."""
    found = {name for name, _ in imports(MODULES[module]) if name.partition(".")[0] == ROOT}
    assert ROOT not in found - ALLOWED_ROOT.get(module, set())
    assert [] == sorted(name for name in found - {ROOT} if LAYER[part_of(name)] > LAYER[part_of(module)])


# The version is a fact of the package itself.
ALLOWED_ROOT = {"mltkbuild.cli.main": {ROOT}}


def test_one_door_to_doit_and_one_to_click() -> None:
    """Doit is imported by `tasks` and its plugins alone, click by `cli`."""
    users: dict[str, set[str]] = {"doit": set(), "click": set()}
    for module, path in MODULES.items():
        for name, _ in imports(path):
            if name.partition(".")[0] in users:
                users[name.partition(".")[0]].add(part_of(module))
    assert {"doit": {"tasks", "doit_plugins"}, "click": {"cli"}} == users


def test_plugins_don_t_load_the_package() -> None:
    """What doit loads for every project in the environment needs the stage table and a spelling hint, no engine."""
    found = {name for name, _ in imports(MODULES["mltkbuild.doit_plugins"]) if name.startswith(ROOT)}
    assert {"mltkbuild.errors", "mltkbuild.stages"} == found


def test_no_import_cycles() -> None:
    """No module comes back to itself by what is imported while it is loaded."""
    graph = {
        module: {name for name, at_load in imports(path) if at_load and name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    while True:
        leaves = {module for module, needed in graph.items() if not needed}
        if not leaves:
            break
        graph = {module: needed - leaves for module, needed in graph.items() if module not in leaves}
    assert {} == graph


def test_heavy_libraries_are_imported_where_they_run() -> None:
    """TensorFlow and its company are imported by what runs in workers alone."""
    heavy = {"tensorflow", "keras", "numpy", "sklearn", "matplotlib", "ai_edge_litert", "h5py", "flatbuffers"}
    users = {
        part_of(module)
        for module, path in MODULES.items()
        for name, at_load in imports(path)
        if at_load and name.partition(".")[0] in heavy
    }
    assert users <= {
        "architectures",
        "bodies",
        "data",
        "datasets",
        "ported",
        "worker",
        "stage_runs",
        "preparing",
        "image_plans",
        "audio_plans",
        *ASSEMBLING,
    }
