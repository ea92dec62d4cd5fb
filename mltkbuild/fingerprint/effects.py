"""What workspace code does outside of its own modules: to the process, to libraries, to what is built in.

A later stage may depend on it, and nothing that the stage calls leads there. So each such statement is found in the
source, and counts for every stage that runs user code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mltkbuild.fingerprint.bindings import FUNCTIONS, Scope, top_level

# The last name of a call that sets something, wherever the call stands.
_SETTERS = re.compile(
    r"(?:un|re)?set(?!diff|xor)\w*|_*set(?:item|attr)_*|putenv|use|(?:un)?register\w*|(?:enable|disable|config|install"
    r"|reset|seed|patch|init|override|run_functions_eagerly)(?:_\w+|ure\w*|ialize\w*|_)?|monkey_?patch\w*"
    r"|filterwarnings|simplefilter|basicConfig|rc|umask|chdir|load_dotenv|pop|popitem|experimental_\w*(?:set|enable)\w*"
)
# That of one which changes a list or a dict; functions of these names, such as `np.append`, give a result.
_MUTATORS = re.compile(r"append(?:left)?|extend|insert|update|remove|add(?:Handler)?|discard|clear|sort|reverse")
_SETS_ATTRIBUTES = ("setattr", "delattr")
# Known to have no result that a model or a sample could depend on, or to be counted elsewhere.
_IGNORED = re.compile(
    r"(?:tensorflow\.)?keras\.(?:src\.)?(?:saving|utils)\.\w*(?:get_custom_objects|register_keras_serializable)\b.*"
    r"|tensorflow\.(?:keras\.)?utils\.register_keras_serializable"
)
_IGNORED_IN_FUNCTIONS = re.compile(
    r"(?:absl\.|tensorflow\.compat\.v1\.)?(?:warnings|logging)\.\w.*|(?:numpy\.)?random\.seed"
    r"|tensorflow\.(?:random\.set_seed|get_logger\b.*|autograph\.set_verbosity)"
    r"|(?:tensorflow\.)?keras\.utils\.(?:set_random_seed|\w+_interactive_logging)|sys\.std(?:out|err)\..*"
)
RESTORED = re.compile(
    r"os\.(?!putenv|unsetenv|umask|nice)\w.*|(?:pathlib|shutil|subprocess)\..*|time\.sleep|gc\.collect"
    r"|sys\.(?:path|argv|setrecursionlimit)\b.*|locale\.setlocale|decimal\.[gs]etcontext\b.*|dotenv\.load_dotenv"
    r"|numpy\.(?:seterr|set_printoptions)|sklearn\.set_config"
    r"|matplotlib\.(?:pyplot\.)?(?:use|rc|rcParams\b.*|style\.use)"
    r"|tensorflow\.config\.run_functions_eagerly|(?:tensorflow\.)?keras\.(?:saving\..*|mixed_precision\.set_global_policy"
    r"|(?:config|backend)\.(?:set_(?:floatx|epsilon|image_data_format|dtype_policy)|clear_session|\w+_interactive_logging))"
    rf"|{_IGNORED.pattern}|{_IGNORED_IN_FUNCTIONS.pattern}"
)
"""What a process can be given back exactly after a stage: see `user_code/process_state`."""
# Libraries whose settings read no file, unless a name says so.
_READ_NOTHING = re.compile(
    r"(?:builtins|decimal|faulthandler|gc|keras|locale|logging|matplotlib|numpy|random|sklearn|sys|tensorflow|time|warnings)\b"
    r"(?!.*(?:file|style|load|\bread|_read|open|from|expand|getenv|popen|system|urandom|time|listdir))"
)
_PURE = re.compile(
    r"abs|bool|bytes|complex|dict|divmod|enumerate|float|frozenset|int|isinstance|len|list|max|min|pow|print|range|repr"
    r"|reversed|round|set|slice|sorted|str|sum|tuple|type|vars|zip|[gs]etattr|delattr"
)
_OF_PATHS = frozenset(
    ("pathlib.Path", "pathlib.PurePath", "os.path.join", "os.path.dirname", "os.path.abspath", "os.path.basename")
)


@dataclass(frozen=True)
class Effect:
    """A statement that changes something which isn't the workspace's.

    Args:
        name: What it changes, as the source says it.
        path: The same by the names of libraries: `numpy.seterr` for `np.seterr`.
        node: The code that decides it: the statement at the top of the module, or the function that holds it.
        at_import: Whether it runs while the module is imported.
        constant: Whether nothing in it can read a file or ask the system.
    """

    name: str
    path: str
    node: ast.AST
    at_import: bool
    constant: bool


def effects(tree: ast.Module, package: str, is_library: Callable[[str], bool]) -> Iterator[Effect]:
    """Find what a module, and the functions in it, change outside of the workspace's modules.

    Args:
        tree: The module.
        package: The package that its relative imports start from.
        is_library: Says whether a module's name is a library's.
    """
    module = Scope(tree.body, package, is_library)
    for statement in top_level(tree.body):
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _of_statement(statement, module)
        for function in _functions(statement):
            yield from _of_function(function, Scope([function], package, is_library, module))


def _functions(node: ast.AST) -> Iterator[ast.AST]:
    """The outermost functions in a statement."""
    if isinstance(node, FUNCTIONS):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _functions(child)


def _of_statement(statement: ast.stmt, scope: Scope) -> Iterator[Effect]:
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop(0)
        if isinstance(node, FUNCTIONS):
            continue
        for name, path in dict([*_changes(node, scope), *_calls_for_effect(node, scope)]).items():
            if not _IGNORED.fullmatch(path):
                yield Effect(name, path, statement, True, _is_constant(statement, scope))
        todo.extend(ast.iter_child_nodes(node))


def _of_function(function: ast.AST, scope: Scope) -> Iterator[Effect]:
    for node in ast.walk(function):
        for name, path in dict(_changes(node, scope)).items():
            if not _IGNORED.fullmatch(path) and not _IGNORED_IN_FUNCTIONS.fullmatch(path):
                yield Effect(name, path, function, False, True)


def _changes(node: ast.AST, scope: Scope) -> Iterator[tuple[str, str]]:
    """What a node changes by itself, wherever it stands."""
    for target in _targets(node):
        path = scope.owner(target.value) if isinstance(target, ast.Attribute | ast.Subscript) else None
        if path is not None:
            yield _shown(target), f"{path}.{target.attr}" if isinstance(target, ast.Attribute) else path
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and scope.is_imported(node.target.id):
        yield node.target.id, scope.path(node.target) or node.target.id
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        path = (
            scope.path(called.value) if isinstance(called, ast.Attribute) and _MUTATORS.fullmatch(called.attr) else None
        )
        if path is not None and path not in sys.modules:
            yield _shown(called), f"{path}.{called.attr}"  # type: ignore[attr-defined]  # an attribute has led here
    if isinstance(node, ast.Call):
        yield from _sets(node, scope)
    for decorator in getattr(node, "decorator_list", ()):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        path = scope.path(called)
        if path is not None and "register" in path.rpartition(".")[2].lower():
            yield _shown(called), path


def _sets(node: ast.Call, scope: Scope) -> Iterator[tuple[str, str]]:
    """What a call sets, by its name."""
    if isinstance(node.func, ast.Name) and node.func.id in _SETS_ATTRIBUTES and node.args:
        if (path := scope.owner(node.args[0])) is not None:
            yield _shown(node), path
        return
    path = scope.path(node.func)
    names = path.split(".")[1:] if path is not None else []
    if path is not None and names and (_SETTERS.fullmatch(names[-1]) or "patch" in names):
        yield _shown(node.func), path


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement stores into or deletes."""
    given: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        given = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor) or (isinstance(node, ast.AnnAssign) and node.value):
        given = [node.target]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        given = [node.optional_vars]
    for target in given:
        yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _calls_for_effect(node: ast.AST, scope: Scope) -> Iterator[tuple[str, str]]:
    """A call at the top of a module that nobody takes the result of: of a library, or with a library's module."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return
    call = node.value
    if isinstance(call.func, ast.Name) and call.func.id in _SETS_ATTRIBUTES:
        return
    path = scope.owner(call.func)
    handed = next(filter(None, (scope.path(given) for given in call.args if isinstance(given, ast.Name))), None)
    if path is None and isinstance(call.func, ast.Name) and call.func.id in ("exec", "eval"):
        path = f"builtins.{call.func.id}"
    if path is not None or handed is not None:
        yield _shown(call.func), path or str(handed)


def _is_constant(statement: ast.stmt, scope: Scope) -> bool:
    """Say whether nothing in a statement can read a file or ask the system, so that its text and names say it all."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and not _reads_nothing(node.func, scope):
            return False
        if isinstance(node, ast.Name | ast.Attribute) and scope.path(node) == "os.environ":
            return False
    return True


def _reads_nothing(called: ast.expr, scope: Scope) -> bool:
    if isinstance(called, ast.Name) and _PURE.fullmatch(called.id):
        return True
    path = scope.path(called)
    return path is not None and (path in _OF_PATHS or _READ_NOTHING.match(path) is not None)


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 80 else text[:77] + "..."
