"""The documentation's table of properties is the declarations'."""

from __future__ import annotations

from mltkbuild.spec.reference import updated

from ..conftest import REPOSITORY


def test_property_table_of_the_documentation_is_up_to_date() -> None:
    """docs/specs.md holds what `python -m mltkbuild.spec.reference` makes of the declarations."""
    document = (REPOSITORY / "docs/specs.md").read_text(encoding="utf-8")
    assert updated(document) == document


def test_template_of_a_new_workspace_is_the_reference_model() -> None:
    """`mltk init` gives the same model and the same dodo.py as the repository has."""
    for template, place in (("digits_v1.py", "models/digits_v1.py"), ("dodo.py", "dodo.py")):
        expected = (REPOSITORY / place).read_text(encoding="utf-8")
        assert expected == (REPOSITORY / "mltkbuild/templates" / template).read_text(encoding="utf-8")
