"""The rows of what workspace code does outside of its own modules: for each stage that runs user code."""

from __future__ import annotations

import ast
import functools
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint import names
from mltkbuild.fingerprint.bindings import FUNCTIONS, top_level
from mltkbuild.fingerprint.effects import RESTORED, Effect, effects
from mltkbuild.fingerprint.origins import Sources
from mltkbuild.fingerprint.reach import reach_reads
from mltkbuild.fingerprint.rows import short

VARIABLES = "os.environ"
"""What a spec sets there while it is imported is known by its values."""


def effect_rows(files: Mapping[str, str], sources: Sources, *, asked: bool) -> dict[str, object]:
    """Describe what a spec and its modules do outside of themselves, while the spec is loaded.

    Args:
        files: Their texts, by path in the workspace.
        sources: The workspace's code.
        asked: Whether a file or the system was read while they were imported, so that not every value is in a text.

    Returns:
        Rows as `reach` gives them: `effect FILE:NAME`, and what the statements read.
    """
    loaded, is_library = _loaded(sources), _libraries(files, sources.label)
    rows: dict[str, object] = {}
    pieces: list[tuple[str, names.Reads, dict[str, object]]] = []
    for file in sorted(files):
        module = loaded.get(file)
        tree = _parsed(files[file])
        if tree is None:
            continue
        found = _effects(tree, module, is_library)
        groups: dict[str, list[Effect]] = defaultdict(list)
        for effect in found:
            groups[effect.name].append(effect)
        docstrings = codes.reads_docstrings(tree)
        for name, group in groups.items():
            texts = [codes.normalised(effect.node, docstrings) for effect in group]
            rows[f"effect {file}:{name}"] = short(codes.text_digest("".join(texts)))
            why = _inexact(group, tree, asked)
            if why:
                rows[f"inexact {file}: {name}"] = why
        if module is not None:
            nodes = {id(effect.node): effect.node for effect in found}
            pieces += [(file, _reads(node, module), vars(module)) for node in nodes.values()]
    return {**reach_reads(pieces, sources), **rows} if rows else {}


def lasting(files: Mapping[str, str]) -> str:
    """The first thing that a spec or its modules do to the process that nothing surely undoes; empty for none.

    Args:
        files: Their texts, by path in the workspace; none of them is loaded any more.
    """
    return _lasting(tuple(sorted(files.items())))


@functools.lru_cache(maxsize=16)
def _lasting(files: tuple[tuple[str, str], ...]) -> str:
    is_library = _libraries([file for file, _ in files], lambda _: None)
    for file, text in files:
        tree = _parsed(text)
        for effect in effects(tree, "", is_library) if tree is not None else ():
            if not RESTORED.fullmatch(effect.path):
                return f"{file}: {effect.name}"
    return ""


def _effects(tree: ast.Module, module: types.ModuleType | None, is_library: Callable[[str], bool]) -> list[Effect]:
    package = str(getattr(module, "__package__", None) or "")
    found = effects(tree, package, is_library)
    return [effect for effect in found if not (effect.at_import and effect.path.startswith(VARIABLES))]


def _parsed(text: str) -> ast.Module | None:
    try:
        return codes.parse(text)
    except SyntaxError:
        return None


def _loaded(sources: Sources) -> dict[str, types.ModuleType]:
    """The loaded modules of the workspace by their files."""
    files = ((getattr(module, "__file__", None), module) for module in list(sys.modules.values()))
    labels = ((sources.label(file), module) for file, module in files if isinstance(file, str))
    return {label: module for label, module in labels if label is not None}


def _libraries(files: Iterable[str], label: Callable[[str], str | None]) -> Callable[[str], bool]:
    """What says whether a module's name is a library's."""
    ours: set[str] = set()
    for file in files:
        parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
        ours.update(".".join(parts[start:end]) for end in range(1, len(parts) + 1) for start in range(end))

    def is_library(name: str) -> bool:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            return label(file) is None
        return name.partition(".")[0] in sys.stdlib_module_names or name not in ours

    return is_library


def _reads(node: ast.AST, module: types.ModuleType) -> names.Reads:
    """What a statement, or a function, reads by name."""
    statement = node if isinstance(node, ast.stmt) else ast.Expr(node)  # type: ignore[arg-type]  # else it is a lambda
    tree = ast.fix_missing_locations(ast.Module(body=[statement], type_ignores=[]))
    code = compile(tree, str(module.__file__), "exec", dont_inherit=True)
    return names.reads(code, tree, str(module.__package__ or ""))


def _inexact(group: list[Effect], tree: ast.Module, asked: bool) -> str:
    """Why the texts and the values at the end of the import don't say what was done; empty when they do."""
    if any(effect.path in ("builtins.exec", "builtins.eval") for effect in group):
        return "runs code that no source shows"
    if asked and not all(effect.constant for effect in group):
        return "may have read a file or a variable of the environment"
    bound = _bindings(tree)
    for effect in group:
        used = {node.id for node in ast.walk(effect.node) if isinstance(node, ast.Name)} if effect.at_import else ()
        if any(len(bound[name] - {id(effect.node)}) > 1 for name in used):
            return "uses a name that is set more than once"
    return ""


def _bindings(tree: ast.Module) -> Mapping[str, set[int]]:
    """The statements at the top of a module that set each name, and functions that declare it `global`."""
    found: dict[str, set[int]] = defaultdict(set)
    for statement in top_level(tree.body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        todo: list[ast.AST] = [statement]
        while todo:
            node = todo.pop()
            if isinstance(node, FUNCTIONS):
                declared = (inner for inner in ast.walk(node) if isinstance(inner, ast.Global))
                for name in (name for inner in declared for name in inner.names):
                    found[name] |= {id(statement), id(node)}
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                found[node.id].add(id(statement))
            todo.extend(ast.iter_child_nodes(node))
    return found
