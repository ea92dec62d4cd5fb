"""The source of functions and classes: which node of a workspace file a running function or class came from."""

from __future__ import annotations

import ast
import functools
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint.annotations import are_read, silent
from mltkbuild.fingerprint.origins import Sources, texts_of

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass
class _File:
    """One parsed file: its functions by line and name, its lambdas with their statements, its classes by name."""

    tree: ast.Module
    docstrings: bool
    silent: frozenset[int]
    functions: dict[tuple[int, str], list[Function]] = field(default_factory=lambda: defaultdict(list))
    statements: dict[ast.AST, ast.AST] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=lambda: defaultdict(list))


class Locator:
    """Finds nodes in files, each parsed once.

    Args:
        sources: The workspace's code; other files have no nodes.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._files: dict[str, _File | None] = {}

    def tree(self, filename: str) -> ast.Module | None:
        """Give a whole file, or None when it can't be parsed."""
        file = self._file(filename)
        return None if file is None else file.tree

    def function(self, code: types.CodeType) -> ast.AST | None:
        """Find a function by its first line and name; None when the file doesn't have it there.

        For lambdas that share a line and can't be told apart it's the statement that holds them.
        """
        file = self._file(code.co_filename)
        found = file.functions.get((code.co_firstlineno, code.co_name), []) if file else []
        if file is None or len(found) <= 1:
            return found[0] if found else None
        spans = [(_span(node.body), node) for node in found if isinstance(node, ast.Lambda)]
        parts = list(_positions(code))
        holding = [(span, node) for span, node in spans if parts and all(_within(part, span) for part in parts)]
        if holding:
            # Of lambdas inside one another the innermost that holds all of the code is meant.
            return max(holding, key=lambda found: found[0][0])[1]
        return file.statements[found[0]]

    def classes(self, filename: str, qualname: str, lines: list[int]) -> list[ast.ClassDef]:
        """Find a class by its qualified name.

        Args:
            filename: The file.
            qualname: The class's `__qualname__`.
            lines: First lines of some of its methods, which tell classes of the same name apart.

        Returns:
            One class, or all that it could be.
        """
        file = self._file(filename)
        found = file.classes.get(qualname, []) if file else []
        narrowed = [node for node in found if lines and all(holds_line(node, line) for line in lines)]
        return narrowed or found

    def digest(self, filename: str, *nodes: ast.AST) -> str:
        """Digest nodes of a file by their meaning; docstrings count if the file reads any, annotations if any does."""
        file = self._file(filename)
        docstrings = file is not None and file.docstrings
        silent = frozenset() if file is None or self._annotations else file.silent
        return codes.text_digest("".join(codes.normalised(node, docstrings, silent) for node in nodes))

    @functools.cached_property
    def _annotations(self) -> bool:
        """Whether any workspace module may look at annotations."""
        return any(map(are_read, texts_of(self._sources)))

    def _file(self, filename: str) -> _File | None:
        if filename not in self._files:
            self._files[filename] = self._parsed(filename)
        return self._files[filename]

    def _parsed(self, filename: str) -> _File | None:
        if self._sources.label(filename) is None:
            return None
        try:
            return _indexed(codes.parse(self._sources.source(filename)))
        except SyntaxError:
            return None


def written_in(nodes: Iterable[ast.ClassDef]) -> set[str]:
    """List the names that the bodies of classes mention; what a class has beside them was put in from outside."""
    return {
        name
        for part in (part for node in nodes for part in ast.walk(node))
        for name in (getattr(part, "id", None), getattr(part, "name", None))
        if isinstance(name, str)
    }


def holds_line(node: ast.AST, line: int) -> bool:
    """Tell whether a line lies within a node."""
    return _first_line(node) <= line <= int(getattr(node, "end_lineno", 0))


def _first_line(node: ast.AST) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([int(getattr(node, "lineno", 0)), *(item.lineno for item in decorators)])


def _indexed(tree: ast.Module) -> _File:
    file = _File(tree, codes.reads_docstrings(tree), silent(tree))
    todo: list[tuple[ast.AST, str, ast.AST]] = [(tree, "", tree)]
    while todo:
        node, prefix, statement = todo.pop()
        if isinstance(node, ast.stmt):
            statement = node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            file.functions[_first_line(node), node.name].append(node)
            file.statements[node] = node
            prefix = f"{prefix}{node.name}.<locals>."
        elif isinstance(node, ast.Lambda):
            file.functions[node.lineno, "<lambda>"].append(node)
            file.statements[node] = statement
            prefix = f"{prefix}<lambda>.<locals>."
        elif isinstance(node, ast.ClassDef):
            file.classes[prefix + node.name].append(node)
            prefix = f"{prefix}{node.name}."
        # Reversed, because the last one in is the first one out: the index keeps the file's order.
        todo.extend((child, prefix, statement) for child in reversed(list(ast.iter_child_nodes(node))))
    return file


Place = tuple[int, int]


def _span(node: ast.expr) -> tuple[Place, Place]:
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)


def _within(part: tuple[Place, Place], span: tuple[Place, Place]) -> bool:
    return span[0] <= part[0] and part[1] <= span[1]


def _positions(code: types.CodeType) -> Iterator[tuple[Place, Place]]:
    """List where the instructions of a function stand, those that stand for no text left out."""
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None:
            continue
        if (line, column) != (end_line, end_column):
            yield (line, column), (end_line, end_column)
