"""What isn't workspace code counts by its distribution and version, and Python by its minor version."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Mapping


def versions(module: str) -> dict[str, str]:
    """Give the distributions that a module belongs to, with their versions.

    Args:
        module: A dotted module name; its first part decides.

    Returns:
        `{"python": "3.11"}` for the standard library; several distributions for a shared namespace. A module from no
        distribution is named itself, with its `__version__`; without one it isn't known, and the result is empty.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    names = sorted(set(distributions().get(top, ())))
    if names:
        return {name: importlib.metadata.version(name) for name in names}
    version = getattr(sys.modules.get(top), "__version__", None)
    return {top: version} if isinstance(version, str) else {}


@functools.cache
def distributions() -> Mapping[str, list[str]]:
    """Give the installed distributions by top-level module, looked up once."""
    return importlib.metadata.packages_distributions()
