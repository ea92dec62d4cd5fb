"""Digests of source code by meaning, and the workspace files that a module's imports reach."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Callable, Iterator, Set

_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_ANNOTATIONS = frozenset({"annotation", "returns"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def parse(source: str) -> ast.Module:
    """Parse a module without the warnings that a look at old code would repeat.

    Raises:
        SyntaxError: As `ast.parse`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source.removeprefix("\ufeff"))


def code_digest(source: str) -> str:
    """Digest what a module's code means: comments, layout, the style of quotes and docstrings don't count.

    Docstrings count after all in a module that mentions `__doc__`.

    Raises:
        SyntaxError: As `ast.parse`.
    """
    return text_digest(normalised(parse(source)))


def text_digest(text: str) -> str:
    """Digest what `normalised` wrote."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def reads_docstrings(tree: ast.AST) -> bool:
    """Tell whether the name `__doc__` occurs in code: as a name, an attribute, or a string such as `getattr` takes."""
    return any("__doc__" in _names(node) for node in ast.walk(tree))


def _names(node: ast.AST) -> tuple[object, ...]:
    return tuple(getattr(node, field, None) for field in ("id", "attr", "value"))


def normalised(tree: ast.AST, docstrings: bool | None = None, silent: Set[int] = frozenset()) -> str:
    """Write a syntax tree as text that is the same for the same meaning, on every supported Python version.

    Args:
        tree: A module, or any node of one.
        docstrings: Whether docstrings count; None asks `reads_docstrings`.
        silent: The nodes, by their ids, whose annotations don't count.

    Returns:
        The nodes in order, with their class names and non-empty fields; constants with their types.
    """
    if docstrings is None:
        docstrings = reads_docstrings(tree)
    # A stack instead of recursion: a sum of a thousand terms is a tree a thousand deep.
    pieces: list[str] = []
    todo: list[object] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, ast.AST):
            todo.extend(reversed(_opened(_assigned(item) if id(item) in silent else item, docstrings, silent)))
    return "".join(pieces)


def _assigned(node: ast.AST) -> ast.AST:
    """Give `x: int = 1` as `x = 1`; without a value it still says that the name is a local one."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return ast.Assign([node.target], node.value)
    return node


def _opened(node: ast.AST, docstrings: bool, silent: Set[int]) -> list[object]:
    """Give a node as a list of pieces of text and of nodes still to be opened."""
    if isinstance(node, ast.Constant):
        return [_constant(node.value)]
    pieces: list[object] = [type(node).__name__, "("]
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None or value == [] or field in _SKIPPED or (field in _ANNOTATIONS and id(node) in silent):
            continue
        if isinstance(node, ast.JoinedStr):
            value = _joined(node)
        if field == "body" and isinstance(node, _DOCUMENTED) and not docstrings:
            value = _without_docstring(node)
        pieces += [field, "="]
        if isinstance(value, list):
            pieces.append("[")
            for item in value:
                pieces += [item if isinstance(item, ast.AST) else _constant(item), ","]
            pieces.append("]")
        else:
            pieces.append(value if isinstance(value, ast.AST) else _constant(value))
        pieces.append(",")
    return [*pieces, ")"]


def _without_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    first = node.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return node.body[1:] if is_text else node.body


def _joined(node: ast.JoinedStr) -> list[ast.expr]:
    """Join the texts of an f-string that stand side by side: where they're cut depends on the version of Python."""
    joined: list[ast.expr] = []
    for part in node.values:
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        else:
            joined.append(part)
    return joined


def _constant(value: object) -> str:
    if isinstance(value, float):
        text = value.hex()
    elif isinstance(value, complex):
        text = f"{value.real.hex()},{value.imag.hex()}"
    elif type(value) is int:
        text = hex(value)
    else:
        text = repr(value)
    return f"{type(value).__name__}:{text}"


def imports(source: str, package: str = "") -> frozenset[str]:
    """List every module that the import statements of a module might load, wherever in it they stand.

    `from a import b` might load `a.b`, so both are named. So is the text of `import_module("a.b")`.

    Args:
        source: The module's text.
        package: The package that holds the module, dotted, which relative imports start from; "" at the top.

    Raises:
        SyntaxError: As `ast.parse`.
    """
    return frozenset(imported(parse(source), package))


def imported(tree: ast.AST, package: str = "") -> Iterator[str]:
    """List what `imports` lists, for a tree that is parsed already."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level, package)
            if base:
                yield base
            for alias in node.names:
                if alias.name != "*":
                    yield f"{base}.{alias.name}" if base else alias.name
        elif isinstance(node, ast.Call):
            name = imported_by_call(node)
            if name:
                yield name


def absolute(module: str, level: int, package: str) -> str:
    """Resolve the module of a `from` import: `level` dots, then `module`, as seen from inside `package`."""
    if not level:
        return module
    parts = package.split(".") if package else []
    kept = parts[: max(len(parts) - level + 1, 0)]
    return ".".join([*kept, *([module] if module else [])])


def imported_by_call(node: ast.Call) -> str | None:
    """Give the module that `import_module("a.b")` names by a constant, or None for any other call."""
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)
    if called not in {"import_module", "__import__"} or not node.args:
        return None
    name = node.args[0]
    if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
        return None
    return None if name.value.startswith(".") else name.value or None


def workspace_closure(
    start: str, find: Callable[[str], str | None], read: Callable[[str], str]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Follow imports from one file through all workspace code.

    Args:
        start: The first file, relative to the workspace; a module at the top, in no package.
        find: Gives the file of a dotted module name, or None when it isn't workspace code. A package is its
            `__init__` file.
        read: Gives a file's text.

    Returns:
        The files reached, sorted, `start` among them; and the top-level names of the modules from elsewhere. A file
        with a syntax error is reached, but leads nowhere.

    Raises:
        SyntaxError: In `start` itself.
    """
    walk = _Closure(find, read)
    walk.visit(start, "", imports(read(start)))
    while walk.todo:
        file, package = walk.todo.pop()
        try:
            walk.visit(file, package, imports(read(file), package))
        except SyntaxError:
            continue
    return tuple(sorted({start, *(file for file, _ in walk.seen)})), walk.elsewhere()


class _Closure:
    """One walk over the imports: what was asked, and what's still to be read."""

    def __init__(self, find: Callable[[str], str | None], read: Callable[[str], str]) -> None:
        self.find = find
        self.read = read
        self.found: dict[str, str | None] = {}
        # A file counts once for each package it's known in: its relative imports differ.
        self.seen: set[tuple[str, str]] = set()
        self.todo: list[tuple[str, str]] = []
        self.asked: set[str] = set()

    def visit(self, file: str, package: str, names: frozenset[str]) -> None:
        self.seen.add((file, package))
        for name in sorted(names):
            self.asked.add(name)
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                self._look_up(".".join(parts[:end]))

    def _look_up(self, name: str) -> None:
        if name in self.found:
            return
        file = self.found[name] = self.find(name)
        if file is None:
            return
        is_package = file.replace("\\", "/").endswith("/__init__.py") or file == "__init__.py"
        place = file, name if is_package else name.rpartition(".")[0]
        if place not in self.seen:
            self.seen.add(place)
            self.todo.append(place)

    def elsewhere(self) -> frozenset[str]:
        """Top-level names with nothing in the workspace, neither themselves nor, for a bare folder, inside them."""
        known = [name for name, file in self.found.items() if file is not None]
        return frozenset(
            name.partition(".")[0]
            for name in self.asked
            if not any(f"{name}.".startswith(f"{other}.") or other.startswith(f"{name}.") for other in known)
        )
