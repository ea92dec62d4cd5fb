"""What an installation goes by: one version, pinned dependencies, and a page on security that names what there is."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version as installed

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mltkbuild
from mltkbuild.fingerprint.toolchain import version

from .conftest import REPOSITORY

_PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, TOOLS = _PYPROJECT["project"], _PYPROJECT["tool"]
PYTHONS = ("3.11", "3.12", "3.13")
RENEW = "renew constraints.txt, as CONTRIBUTING.md says"


def pinned(python: str) -> dict[str, str]:
    """The versions that constraints.txt gives a Python on Linux."""
    environment: dict[str, str] = {"python_version": python, "python_full_version": f"{python}.0"}
    found: dict[str, str] = {}
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                (specifier,) = requirement.specifier
                assert "==" == specifier.operator
                found[canonicalize_name(requirement.name)] = specifier.version
    return found


def declared() -> list[Requirement]:
    """All that `pip install -e ".[dev]"` asks for."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["test"], *extras["dev"]]
    return [found for found in map(Requirement, lines) if found.name != PROJECT["name"]]


def test_version_stands_in_one_place() -> None:
    """The installed version, which fingerprints and archives name, is the package's own."""
    assert ["version"] == PROJECT["dynamic"]
    assert mltkbuild.__version__ == installed("mltkbuild") == version("mltkbuild")


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_within_its_range(python: str) -> None:
    """constraints.txt has a version of each declared dependency, and the declaration allows it."""
    pins = pinned(python)
    for requirement in declared():
        if requirement.marker is None or requirement.marker.evaluate():
            found = pins.get(canonicalize_name(requirement.name))
            assert found is not None, f"{requirement.name} is not pinned: {RENEW}"
            assert requirement.specifier.contains(found, prereleases=True), f"{requirement} is not {found}: {RENEW}"


def test_every_dependency_has_a_lower_bound() -> None:
    """Each declaration says from which version on it holds, so that the lowest can be tested."""
    for requirement in declared():
        assert {">=", "=="} & {specifier.operator for specifier in requirement.specifier}, str(requirement)


def test_security_md_names_what_there_is() -> None:
    """What is trusted and how to report a hole is linked from the README, and each file that it names exists."""
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:mltkbuild|tests)/[\w/]+\.py)`", text)
    assert len(named) > 30
    assert [] == [name for name in named if not (REPOSITORY / name).is_file()]
    assert [] == [link for link in re.findall(r"\]\(([\w/.]+)", text) if not (REPOSITORY / link).is_file()]
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "](SECURITY.md)" in (REPOSITORY / page).read_text(encoding="utf-8")


def test_every_finding_that_bandit_skips_is_answered() -> None:
    """SECURITY.md has an answer to each kind of finding that is skipped, for all of the package or in one line."""
    skipped = set(TOOLS["bandit"]["skips"])
    for path in (REPOSITORY / "mltkbuild").rglob("*.py"):
        skipped |= set(re.findall(r"# nosec (B\d+)", path.read_text(encoding="utf-8")))
    answered = set(re.findall(r"B\d{3}", (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")))
    assert answered == skipped
