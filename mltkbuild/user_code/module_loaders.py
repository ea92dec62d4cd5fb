"""Loaders of workspace modules: their code comes from a snapshot, the files of their packages from the disk.

What Python offers for such files (`importlib.resources`, `pkgutil.get_data`, `__loader__.get_data`) opens them as any
code would, so that they are noticed like other files.
"""

from __future__ import annotations

import importlib.abc
import linecache
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.resources.abc import Traversable, TraversableResources
from importlib.resources.readers import MultiplexedPath
from pathlib import Path
from types import CodeType, ModuleType


class ModuleLoader(importlib.abc.ExecutionLoader):
    """Loads one module, as `importlib.machinery.SourceFileLoader` would.

    Args:
        name: The module's full name.
        path: Absolute path of its file.
        is_package: Whether it is a package's `__init__.py`.
        source: Gives the text of a workspace file by its absolute path, None for any other file.
    """

    def __init__(self, name: str, path: str, is_package: bool, source: Callable[[str], str | None]) -> None:
        self.name = name
        self.path = path
        self._is_package = is_package
        self._source = source

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a package."""
        return self._is_package

    def get_filename(self, fullname: str) -> str:
        """The module's file."""
        return self.path

    def get_source(self, fullname: str) -> str:
        """The module's text as the snapshot has it."""
        return self._source(self.path) or ""

    def get_data(self, path: str) -> bytes:
        """The bytes of a file, such as one that lies in the package."""
        text = self._source(path)
        if text is not None:
            return text.encode()
        with open(path, "rb") as file:
            return file.read()

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """The files beside the module, for `importlib.resources`."""
        return _Files(Path(self.path).parent)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        run_source(module, self.path, self.get_source(self.name))


class NamespaceLoader(importlib.abc.InspectLoader):
    """Stands for a package without `__init__.py`.

    Args:
        folders: Absolute paths of the folders that it consists of.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def is_package(self, fullname: str) -> bool:
        """It is one."""
        return True

    def get_source(self, fullname: str) -> str:
        """It has no code."""
        return ""

    def get_code(self, fullname: str) -> CodeType:
        """It has no code."""
        return compile("", "<namespace>", "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is to be run."""

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """The files in the package's folders, for `importlib.resources`."""
        return _Files(MultiplexedPath(*map(Path, self._folders)))


class _Files(TraversableResources):
    def __init__(self, folder: Traversable) -> None:
        self._folder = folder

    def files(self) -> Traversable:
        """The folder, or several as one."""
        return self._folder


def namespace(fullname: str, folders: list[str]) -> ModuleSpec:
    """Describe a package without `__init__.py`."""
    spec = ModuleSpec(fullname, NamespaceLoader(folders), is_package=True)
    spec.submodule_search_locations = folders
    return spec


def run_source(module: ModuleType, filename: str, text: str) -> None:
    """Execute source in a module, known to tracebacks and `inspect` under its real file name."""
    text = text.removeprefix("\ufeff")
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # running specs is the job
