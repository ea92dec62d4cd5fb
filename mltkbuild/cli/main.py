"""The `mltk` command: a thin front on the same engine and the same doit tasks as `doit` itself."""

from __future__ import annotations

import sys

import click

from mltkbuild import __version__
from mltkbuild.cli import ask, build, init
from mltkbuild.errors import MltkError
from mltkbuild.session import INTERRUPTED, fail


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mltk")
def cli() -> None:
    """Make for TinyML models: model specs in; int8 .tflite files and archives out.

    \b
    mltk init demo && cd demo     a new workspace with a working model
    mltk build                    bring every model's archive up to date
    mltk status                   what is up to date, and why not
    """


for command in (*build.COMMANDS, *ask.COMMANDS, init.init):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit: 0 done, 1 a stage failed, 2 bad spec or usage, 130 interrupted."""
    try:
        code = cli.main(standalone_mode=False)
    except MltkError as error:
        code = fail(error)
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
