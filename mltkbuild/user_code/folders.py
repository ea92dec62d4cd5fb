"""Folders in which files belong to Python, a library, the system or a program's own settings."""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig

_SYSTEM = ("/dev", "/etc", "/usr/lib", "/usr/share/zoneinfo", "/usr/share/fonts", "/usr/share/locale")
NOBODYS = ("/proc", "/sys", "/usr/share/zoneinfo")
"""What the kernel answers is no file's content, and time zones are read by nobody but Python."""
_METADATA = (".egg-info", ".dist-info")


def is_library(filename: str, root: str) -> bool:
    """Say whether a module's file belongs to Python, an installed package or this one.

    Args:
        filename: Absolute path.
        root: The workspace; no library's, even where it lies in a folder of Python's.
    """
    # A warm worker asks for each of its thousands of modules around every stage; they lie in far fewer folders.
    return _is_library_folder(os.path.dirname(filename), root) or filename in never_inputs(root)


@functools.lru_cache(maxsize=8192)
def _is_library_folder(folder: str, root: str) -> bool:
    return is_below(folder, never_inputs(root))


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Say whether a path is one of some folders, or lies in it."""
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def is_metadata(path: str) -> bool:
    """Say whether a path bears the name of an installed package's metadata, which may lie beside its source."""
    return "-info" in path and any(mark in path for mark in _METADATA)


def package() -> str:
    """The folder of this package."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@functools.cache
def never_inputs(root: str) -> tuple[str, ...]:
    """Folders whose files count by library version, or not at all, unless the workspace's code asks for them."""
    home = os.path.expanduser("~")
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()]
    caches = [os.path.join(home, name) for name in (".cache", ".config", ".local", ".matplotlib", ".keras/keras.json")]
    system = (*_SYSTEM, *NOBODYS)
    # A Python that is installed as the system's own has the prefix /usr, below which users do keep data.
    folders = {os.path.abspath(folder) for folder in (*python, *caches, *system, package())} - {
        "/",
        "/usr",
        "/usr/local",
        home,
    }
    return tuple(sorted(folder for folder in folders if not root or not is_below(root, (folder,))))


class Places:
    """Says where it matters who asks, in one workspace.

    Args:
        root: The workspace.
        ignored: Absolute folders that never count.
    """

    def __init__(self, root: str, ignored: tuple[str, ...]) -> None:
        self._root = root
        self._ignored = (*ignored, *NOBODYS)
        self._never = never_inputs(root)
        self._known: dict[str, bool | None] = {}

    def needs_asking(self, path: str) -> bool | None:
        """Whether a path counts only if the workspace asks for it; None for one that never counts."""
        folder = path[: path.rfind(os.sep)]
        if folder not in self._known:
            self._known[folder] = None if is_below(folder, self._ignored) else is_below(folder, self._never)
        found = self._known[folder]
        if found is False:
            return None if path in self._ignored else is_metadata(path) or path in self._never
        return found

    def is_nobodys(self, path: str) -> bool:
        """Whether a path never counts, whoever asks."""
        return self.needs_asking(path) is None

    def is_ordinary(self, path: str) -> bool:
        """Whether a path counts whoever reads it: it lies where neither libraries nor programs have files."""
        return self.needs_asking(path) is False

    def leads_to_the_workspace(self, path: str) -> bool:
        """Whether the workspace lies below a path, or is it."""
        return is_below(self._root, (path,))
