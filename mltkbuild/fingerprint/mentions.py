"""The names of attributes that workspace code mentions: what a library's object has by these names counts."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint.origins import Sources, texts_of

_READING = frozenset({"getattr", "hasattr", "attrgetter", "methodcaller"})
_SETTING = frozenset({"setattr", "delattr"})
# What Keras' layers take as an argument and no config of theirs has.
_UNTOLD = frozenset({"autocast"})
_ALL = frozenset({"vars", "__dict__", "__getstate__", "getmembers"})


@dataclass(frozen=True)
class Mentions:
    """What workspace code may read and set of an object that it is given.

    Args:
        read: Names whose values it reads, and texts that `getattr` may get.
        set: Names that it sets.
        reads_any: Whether it also makes names at run time, or takes all that there are.
        sets_any: Whether it sets attributes by names that it makes at run time.
    """

    read: frozenset[str]
    set: frozenset[str]
    reads_any: bool
    sets_any: bool


def mentions(sources: Sources) -> Mentions:
    """Look through all workspace modules."""
    read: set[str] = set()
    put: set[str] = set()
    reads_any = sets_any = False
    for text in texts_of(sources):
        try:
            tree = codes.parse(text)
        except SyntaxError:
            # What can't be parsed can't be imported either.
            continue
        for node in ast.walk(tree):
            reads_any = reads_any or _is_computed(node, _READING)
            sets_any = sets_any or _is_computed(node, _SETTING)
            read.update(_read(node))
            put.update(_set(node))
    return Mentions(frozenset(read), frozenset(put), reads_any, sets_any)


def _is_computed(node: ast.AST, calls: frozenset[str]) -> bool:
    if isinstance(node, ast.Call):
        called = getattr(node.func, "id", getattr(node.func, "attr", None))
        names = node.args if called in ("attrgetter", "methodcaller") else node.args[1:2]
        return called in calls and not all(isinstance(name, ast.Constant) for name in names)
    return getattr(node, "id", getattr(node, "attr", None)) in _ALL


def _read(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
        return [node.attr]
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
        return [node.target.attr]
    if isinstance(node, ast.MatchClass):
        return node.kwd_attrs
    # As `getattr` takes it, and `attrgetter` with its dots.
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
        return [name for name in node.value.split(".") if name.isidentifier()]
    return []


def _set(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr]
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "setattr":
        return [name for part in node.args[1:2] for name in _read(part)]
    return [node.arg] if isinstance(node, ast.keyword) and node.arg in _UNTOLD else []
