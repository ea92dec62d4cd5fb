"""Where modules come from, found without running any of them."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec


def is_namespace(module: types.ModuleType) -> bool:
    """Tell a package that is only a folder."""
    return getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def find_file(name: str) -> tuple[str | None, str]:
    """Find the file of a module that isn't loaded, without importing it or its packages.

    Returns:
        The file, or None; and the package that relative imports in it start from.
    """
    spec: ModuleSpec | None = None
    path: Sequence[str] | None = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:end]), path)
        if spec is None or (end < len(parts) and spec.submodule_search_locations is None):
            return None, ""
        path = spec.submodule_search_locations
    if spec is None or not spec.has_location:
        return None, ""
    return spec.origin, name if path is not None else name.rpartition(".")[0]


def _find(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__spec__ is not None:
        return loaded.__spec__
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path, None)
        if spec is not None:
            return spec
    return None
