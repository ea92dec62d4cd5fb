"""Versions of Python and of installed packages, read from their metadata without importing them."""

from __future__ import annotations

import functools
import importlib.metadata
import sys

POLICED = ("python", "tensorflow", "keras", "tflite-micro", "ai-edge-litert", "ai-edge-quantizer")
NONE = "none"
"""The version of what isn't installed."""


@functools.cache
def version(package: str) -> str:
    """The version of Python or of an installed package; NONE when it isn't installed."""
    if package == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NONE


@functools.cache
def reduced_version(package: str, found: str, policy: str) -> str:
    """A version as the workspace's `toolchain` policy lets it count.

    Args:
        package: The package; only those in POLICED are subject to the policy.
        found: Its full version.
        policy: 'minor' counts major and minor, 'exact' everything, 'ignore' nothing but whether it is installed.

    A build of a main branch, such as tflite-micro's `0.dev20261023182759`, belongs to no minor release: under 'minor'
    its date counts, so that each build is another version.
    """
    if package not in POLICED or policy == "exact" or found == NONE:
        return found
    return "any" if policy == "ignore" else ".".join(found.split(".")[:2])
