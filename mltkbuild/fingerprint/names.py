"""What a function reads by name: globals, attributes of modules, and modules that it imports itself."""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Iterator
from dataclasses import dataclass, field

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint.doors import doors, doors_of

_GLOBAL_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})

Chain = tuple[str, ...]
WHOLE: frozenset[Chain] = frozenset({()})


@dataclass(frozen=True)
class LocalImport:
    """An import inside a function.

    Args:
        alias: The local name that it binds; "" when it only loads the module.
        module: The module.
        attribute: The name taken from the module, or None.
        whole: Whether any part of the module may be used, as after `import_module()`.
    """

    alias: str
    module: str
    attribute: str | None = None
    whole: bool = False


@dataclass
class Reads:
    """What a function, with all that's nested in it, reads by name.

    Args:
        globals: The global names that its code loads.
        chains: For each name, the chains of attributes read from it: `pkg.mod.f` is `("mod", "f")` of `pkg`, and a
            use of the name itself is `()`. A name without an entry is used in a way that the source doesn't show.
        imports: The imports inside it.
        loose: The names and chains whose attributes it reads by a computed name.
        doors: The names in it that lead to code, or to its text, by other ways than names.
    """

    globals: frozenset[str]
    chains: dict[str, set[Chain]] = field(default_factory=dict)
    imports: list[LocalImport] = field(default_factory=list)
    loose: set[tuple[str, Chain]] = field(default_factory=set)
    doors: frozenset[str] = frozenset()

    def chains_of(self, name: str) -> frozenset[Chain]:
        """Give the chains read from a name; all of it when the source doesn't show how it's used."""
        return frozenset(self.chains[name]) if name in self.chains else WHOLE


def reads(code: types.CodeType, node: ast.AST | None, package: str) -> Reads:
    """Find what a function reads by name.

    Args:
        code: The function's code: it tells exactly which names are globals.
        node: The function's source, which tells how they're used; None when there is none.
        package: The package that relative imports start from.
    """
    found = Reads(frozenset(_loaded(code)), doors=doors_of(code) if node is None else doors(node))
    body = getattr(node, "body", [])
    _Uses(found, package).look([*body] if isinstance(body, list) else [body])
    return found


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """List a code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def _loaded(code: types.CodeType) -> Iterator[str]:
    for part in nested(code):
        for step in dis.get_instructions(part):
            if step.opname in _GLOBAL_READS:
                yield str(step.argval)


class _Uses:
    """A walk over a function's source that fills in how its names are used."""

    def __init__(self, found: Reads, package: str) -> None:
        self.found = found
        self.package = package

    def look(self, nodes: list[ast.AST]) -> None:
        todo = nodes
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Name | ast.Attribute) and (chain := _chain(node)):
                self._use(*chain)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            if isinstance(node, ast.Call):
                todo.extend(self._call(node))
            else:
                todo.extend(ast.iter_child_nodes(node))

    def _use(self, name: str, chain: Chain) -> None:
        self.found.chains.setdefault(name, set()).add(chain)

    def _call(self, node: ast.Call) -> list[ast.AST]:
        """Note the calls that read an attribute or import a module by its name; return what's left to look at."""
        rest: list[ast.AST] = [*node.args, *node.keywords]
        called = _chain(node.func)
        module = codes.imported_by_call(node)
        if called and module:
            self.found.chains.setdefault(called[0], set())
            self.found.imports.append(LocalImport("", module, whole=True))
            return rest
        if called == ("getattr", ()) and len(node.args) > 1 and (owner := _chain(node.args[0])):
            self._use("getattr", ())
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                self._use(owner[0], (*owner[1], name.value))
                return rest[1:]
            self.found.loose.add(owner)
        return [node.func, *rest]

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds `a`, and makes sure that `a.b` is loaded.
                bound = alias.name if alias.asname else alias.name.partition(".")[0]
                self.found.imports.append(LocalImport(alias.asname or bound, bound))
                self.found.imports.append(LocalImport("", alias.name))
            return
        module = codes.absolute(node.module or "", node.level, self.package)
        for alias in node.names:
            self.found.imports.append(LocalImport(alias.asname or alias.name, module, alias.name))


def _chain(node: ast.AST) -> tuple[str, Chain] | None:
    """Give `a.b.c` as `("a", ("b", "c"))`; None when it doesn't start with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, tuple(reversed(names))) if isinstance(node, ast.Name) else None
