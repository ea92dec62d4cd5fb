"""The one way of the commands to standard output."""

from __future__ import annotations

import click

from mltkbuild.shown import shown_lines


def tell(text: str, *, error: bool = False) -> None:
    """Print a text of one or more lines; whatever strangers have put into it steers no terminal."""
    click.echo(shown_lines(text), err=error)
