"""Annotations that say nothing while a program runs: those of functions and of variables inside them.

In the body of a class they mean something to dataclasses, named tuples and others, so they count there, and so do those
of a module's variables and of decorated functions. Where code may look at them, all of them count.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint.doors import TEXT, doors

# Decorators that don't look at the annotations of what they are given.
_PLAIN = frozenset(
    {
        *(
            "abstractmethod",
            "cache",
            "cached_property",
            "classmethod",
            "contextmanager",
            "deleter",
            "getter",
            "lru_cache",
        ),
        *("override", "property", "setter", "staticmethod", "wraps"),
    }
)
# Packages whose functions look at the annotations of a function that they are given.
_READERS = frozenset(
    {
        *("beartype", "cattrs", "fastapi", "injector", "jaxtyping", "jsonargparse", "magicgui", "pandera", "plum"),
        *("pydantic", "simple_parsing", "typeguard", "typer", "tyro"),
    }
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def silent(tree: ast.AST) -> frozenset[int]:
    """List the functions, arguments and assignments, by their ids, whose annotations say nothing."""
    return frozenset(id(node) for node in _silent(tree))


def _silent(tree: ast.AST) -> Iterator[ast.AST]:
    todo: list[tuple[ast.AST, bool]] = [(tree, False)]
    while todo:
        node, inside = todo.pop()
        if isinstance(node, Function):
            if all(map(_is_plain, node.decorator_list)):
                yield from filter(_only_names, (node, *_arguments(node.args)))
            inside = True
        elif isinstance(node, ast.ClassDef):
            inside = False
        elif isinstance(node, ast.AnnAssign) and inside:
            # Inside a function nobody evaluates it.
            yield node
        todo.extend((child, inside) for child in ast.iter_child_nodes(node))


def _is_plain(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "id", getattr(called, "attr", None)) in _PLAIN


def _arguments(given: ast.arguments) -> Iterator[ast.arg]:
    yield from (*given.posonlyargs, *given.args, *given.kwonlyargs)
    yield from (part for part in (given.vararg, given.kwarg) if part is not None)


def _only_names(node: ast.AST) -> bool:
    """Tell an annotation that does nothing when Python evaluates it as the function is made."""
    annotation = node.returns if isinstance(node, Function) else getattr(node, "annotation", None)
    return annotation is None or not any(
        isinstance(part, ast.Call | ast.NamedExpr | ast.Await | ast.Yield) for part in ast.walk(annotation)
    )


@functools.lru_cache(maxsize=256)
def are_read(source: str) -> bool:
    """Tell whether a module may look at annotations, or hands functions to a package that does."""
    try:
        tree = codes.parse(source)
    except SyntaxError:
        return True
    used = {name.partition(".")[0] for name in codes.imported(tree)}
    return not (used.isdisjoint(_READERS) and TEXT.isdisjoint(doors(tree)))
