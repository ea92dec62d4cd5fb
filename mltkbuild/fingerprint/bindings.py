"""Which names in a file lead to something that is not the workspace's own: a library's module, or what it holds."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from mltkbuild.fingerprint import code as codes

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# What gives something that was there before, in place of a new object that only the caller has.
_GETTERS = ("get", "_get", "current", "default", "import_module", "root")
_LOOKERS = frozenset({"vars", "getattr", "__import__", "globals"})
_STAR = "*"


class Scope:
    """The names of a module, or of a function with all that is nested in it.

    Args:
        nodes: Its statements.
        package: The package that relative imports start from.
        is_library: Says whether a module's name is a library's.
        outer: The module's scope, for a function.
    """

    def __init__(
        self,
        nodes: Sequence[ast.AST],
        package: str,
        is_library: Callable[[str], bool],
        outer: Scope | None = None,
    ) -> None:
        self.outer = outer
        self._package = package
        self._is_library = is_library
        self.imports: dict[str, str] = {}
        self.given: dict[str, list[ast.expr | None]] = defaultdict(list)
        todo = list(nodes)
        while todo:
            node = todo.pop()
            self._bind(node)
            if outer is not None or not isinstance(node, FUNCTIONS):
                todo.extend(ast.iter_child_nodes(node))

    def path(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> str | None:
        """The dotted name of what an expression leads to, if that is a library's: `numpy.random` for `np.random`.

        Calls on the way that give what was there before count as the name of what they give.
        """
        if isinstance(node, ast.Name):
            return self._path_of_name(node.id, seen)
        if isinstance(node, ast.Attribute):
            base = self.path(node.value, seen)
            return None if base is None else f"{base}.{node.attr}"
        if isinstance(node, ast.Call):
            return self._path_of_call(node, seen)
        return next(filter(None, (self.path(part, seen) for part in _same_as(node))), None)

    def owner(self, node: ast.AST) -> str | None:
        """As `path`, but whatever a library's call gives is taken for its own: for what is stored into."""
        if isinstance(node, ast.Attribute | ast.Subscript):
            return self.path(node) or self.owner(node.value)
        if isinstance(node, ast.Call):
            return self.path(node) or self.owner(node.func)
        return self.path(node)

    def is_imported(self, name: str) -> bool:
        """Say whether a name is what `from library import name` brought."""
        scope = self if name in self.given or name in self.imports else self.outer
        return scope is not None and name in scope.imports

    def _path_of_name(self, name: str, seen: frozenset[str]) -> str | None:
        if name in seen:
            return None
        if name in self.imports:
            return self.imports[name]
        if name in self.given:
            found = (self.path(value, seen | {name}) for value in self.given[name] if value is not None)
            return next(filter(None, found), None)
        if self.outer is not None:
            return self.outer._path_of_name(name, seen)
        if name == "__builtins__":
            return "builtins"
        return name if _STAR in self.imports and not hasattr(builtins, name) else None

    def _path_of_call(self, node: ast.Call, seen: frozenset[str]) -> str | None:
        if isinstance(node.func, ast.Name) and node.func.id in _LOOKERS and node.args:
            constant = node.args[0]
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                return constant.value if self._is_library(constant.value) else None
            return self.path(constant, seen)
        found = self.path(node.func, seen)
        if found is None or not found.rpartition(".")[2].startswith(_GETTERS):
            return None
        module = codes.imported_by_call(node)
        return found if module is None else module if self._is_library(module) else None

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._bind_import(node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind_target(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._bind_target(node.target, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._bind_loop(node.target, node.iter)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._bind_target(node.optional_vars, None)
        elif isinstance(node, ast.arguments) and self.outer is not None:
            self._bind_arguments(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.given[node.name].append(None)

    def _bind_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                self._import(alias.asname or name, name, name)
            return
        module = codes.absolute(node.module or "", node.level, self._package)
        for alias in node.names:
            self._import(alias.asname or alias.name, module, f"{module}.{alias.name}")

    def _import(self, name: str, module: str, path: str) -> None:
        if module and self._is_library(module):
            self.imports[name] = path
        else:
            self.given[name].append(None)

    def _bind_target(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self.given[target.id].append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            parts: Iterable[ast.expr | None] = [None] * len(target.elts)
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                parts = value.elts
            for inner, part in zip(target.elts, parts, strict=True):
                self._bind_target(inner, part)

    def _bind_loop(self, target: ast.expr, items: ast.expr) -> None:
        for item in items.elts if isinstance(items, ast.Tuple | ast.List | ast.Set) else [None]:
            self._bind_target(target, item)

    def _bind_arguments(self, node: ast.arguments) -> None:
        plain = [*node.posonlyargs, *node.args]
        defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(node.defaults)), *node.defaults]
        pairs = [*zip(plain, defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for argument, default in pairs:
            self.given[argument.arg].append(default)
        for more in (node.vararg, node.kwarg):
            if more is not None:
                self.given[more.arg].append(None)


def _same_as(node: ast.AST) -> list[ast.expr]:
    """What an expression has as its value, or is a part of."""
    if isinstance(node, ast.Subscript | ast.Starred | ast.Await | ast.NamedExpr):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    return node.values if isinstance(node, ast.BoolOp) else []


def top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run as a module is imported, the bodies of its classes opened."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from top_level(statement.body)
        elif not _is_script(statement):
            yield statement


def _is_script(statement: ast.stmt) -> bool:
    """Tell `if __name__ == "__main__":`, which no import runs."""
    if not isinstance(statement, ast.If) or not isinstance(statement.test, ast.Compare):
        return False
    sides = (statement.test.left, *statement.test.comparators)
    texts = {getattr(side, "id", getattr(side, "value", None)) for side in sides}
    return texts == {"__name__", "__main__"} and not statement.orelse
