"""Packages that a stage uses for some settings alone: their versions are inputs where they were used."""

from __future__ import annotations

from mltkbuild.fingerprint.toolchain import reduced_version, version
from mltkbuild.stages.protocol import Outcome


def notice(outcome: Outcome, toolchain: str, *names: str) -> None:
    """Make the versions of packages inputs of the stage.

    Args:
        outcome: What the stage gives.
        toolchain: The workspace's policy.
        names: The packages that it has used.
    """
    outcome.libraries |= {name: reduced_version(name, version(name), toolchain) for name in names}
