"""Versions of Python and of installed packages, read from their metadata without importing them."""

from __future__ import annotations

import functools
import importlib.metadata
import sys

POLICED = ("python", "tensorflow", "keras")


@functools.cache
def version(package: str) -> str:
    """The version of Python or of an installed package; 'none' when it isn't installed."""
    if package == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def reduced_version(package: str, found: str, policy: str) -> str:
    """A version as the workspace's `toolchain` policy lets it count.

    Args:
        package: The package; only Python, TensorFlow and Keras are subject to the policy.
        found: Its full version.
        policy: 'minor' counts major and minor, 'exact' everything, 'ignore' nothing.
    """
    if package not in POLICED or policy == "exact":
        return found
    return "any" if policy == "ignore" else ".".join(found.split(".")[:2])
