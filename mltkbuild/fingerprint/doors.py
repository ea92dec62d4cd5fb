"""The names by which code gets at code, or at its text, in other ways than by the names of what it uses."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
import types
from collections.abc import Iterator

from mltkbuild.fingerprint import code as codes
from mltkbuild.fingerprint import kinds

# Whatever they are asked for, the answer is code or a name that no source shows.
_DYNAMIC: tuple[object, ...] = (
    builtins.eval,
    builtins.exec,
    builtins.compile,
    builtins.globals,
    builtins.__import__,
    importlib.import_module,
    sys.modules,
)
# Who has such a module as a value may ask it for anything.
_MODULES = frozenset({"builtins", "gc", "importlib", "inspect", "linecache", "pkgutil", "pydoc", "runpy", "sys"})
_ASKING = frozenset(
    {"dis", "gc", "inspect", "linecache", "numexpr.necompiler", "pkgutil", "pydoc", "runpy", "traceback", "typing"}
)
"""Modules whose functions count as doors by these names, which elsewhere mean something else."""
_ASKED = frozenset(
    {
        "dis",
        "evaluate",
        "get_instructions",
        "getattr_static",
        "getline",
        "getlines",
        "getmembers_static",
        "stack",
        "trace",
    }
)

# What shows the text of code, docstrings, the numbers of lines, or annotations: two texts of one meaning differ in it.
TEXT = frozenset(
    {
        *("__annotations__", "__code__", "__doc__", "__signature__", "__text_signature__", "__type_params__"),
        *(
            "_current_frames",
            "_getframe",
            "cleandoc",
            "co_code",
            "co_consts",
            "co_firstlineno",
            "co_lines",
            "co_linetable",
        ),
        *("co_lnotab", "co_positions", "currentframe", "extract_stack", "extract_tb", "f_lineno", "findsource"),
        *("format_stack", "format_tb", "get_annotations", "get_type_hints", "getargspec", "getargvalues", "getblock"),
        *(
            "get_source",
            "getcomments",
            "getdoc",
            "getframeinfo",
            "getfullargspec",
            "getinnerframes",
            "getouterframes",
            "getsource",
        ),
        *("getsourcelines", "signature", "tb_lineno", "walk_stack", "walk_tb"),
    }
)
# What leads to classes, functions or modules without their names.
CODE = frozenset(
    {
        *(
            "__base__",
            "__bases__",
            "__globals__",
            "__mro__",
            "__subclasses__",
            "SourceFileLoader",
            "SourcelessFileLoader",
        ),
        *(
            "classify_class_attrs",
            "CustomObjectScope",
            "custom_object_scope",
            "deserialize_keras_object",
            "entry_points",
            "exec_module",
            "f_back",
            "f_builtins",
        ),
        *("f_globals", "f_locals", "get_custom_objects", "get_objects", "get_referents", "get_referrers"),
        *(
            "get_registered_object",
            "getclasstree",
            "getclosurevars",
            "getmembers",
            "getmodule",
            "getmro",
            "iter_modules",
        ),
        *("load_model", "load_module", "load_source", "locate", "model_from_json", "module_from_spec", "mro"),
        *("resolve_name", "run_module", "run_path", "spec_from_file_location", "tb_frame", "walk_packages"),
    }
)
# Names that other things have, too: they count where the value is known, or where they were imported from.
_COMMON = frozenset({"cleandoc", "getblock", "locate", "mro", "signature"})
_BY_ATTRIBUTE = (TEXT | CODE) - _COMMON | {"mro"}


def is_dynamic(value: object) -> bool:
    """Tell what runs code, or gives access to names, that no source shows: `eval`, `import_module`, `sys.modules`."""
    return any(value is known for known in _DYNAMIC) or _asks(value)


def _asks(value: object) -> bool:
    """Tell one of the library's functions that look at code, under whatever name it was imported."""
    if not kinds.really(value, types.FunctionType):
        return False
    module, name = value.__module__, value.__name__
    return module in _ASKING and name in TEXT | CODE | _ASKED


def is_door(module: types.ModuleType) -> bool:
    """Tell a module that leads to all code."""
    return module.__name__ in _MODULES


def doors(node: ast.AST) -> frozenset[str]:
    """List the doors to other code, or to the text of code, that a piece of code names."""
    found = {name for part in ast.walk(node) for name in _named(part) if name in TEXT or name in CODE}
    return frozenset(found | {name for part in ast.walk(node) for name in _by_text(part)})


def doors_of(code: types.CodeType) -> frozenset[str]:
    """List the doors that a function names whose source isn't known."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return (_BY_ATTRIBUTE & frozenset(code.co_names)).union(*map(doors_of, inner))


def _by_text(node: ast.AST) -> Iterator[str]:
    """A table of pandas' takes a text, in which `@name` means a variable of who calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("query", "eval"):
        texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
        if len(texts) < len(node.args) or any("@" in str(text) for text in texts):
            yield f"{node.func.attr}()"


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and node.attr in _BY_ATTRIBUTE:
        yield node.attr
    elif isinstance(node, ast.ImportFrom) and node.module in _ASKING | {"sys", "importlib.util", "importlib.machinery"}:
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # As getattr() takes it; words without underscores are words.
        yield from (name for name in node.value.split(".") if name.startswith("_") or name.startswith("co_"))


def reads_text(source: str) -> bool:
    """Tell whether a module may look at the text of code: then the text counts, not what it means alone."""
    if not any(name in source for name in (*TEXT, ".py", "__file__")):
        return False
    try:
        tree = codes.parse(source)
    except SyntaxError:
        return False
    return not TEXT.isdisjoint(doors(tree)) or any(map(_opens_code, ast.walk(tree)))


def _opens_code(node: ast.AST) -> bool:
    """Tell what reads a module as a file: a name of one, or `__file__` itself."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.endswith(".py")
    if isinstance(node, ast.Call) and "open" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
        return any(_is_own_file(part) for part in node.args)
    return isinstance(node, ast.Attribute) and node.attr in ("open", "read_bytes", "read_text") and _is_own_file(node)


def _is_own_file(node: ast.AST) -> bool:
    names = {getattr(part, "id", getattr(part, "attr", None)) for part in ast.walk(node)}
    elsewhere = {"dirname", "join", "joinpath", "parent", "parents", "with_name", "with_suffix"}
    return "__file__" in names and names.isdisjoint(elsewhere)
