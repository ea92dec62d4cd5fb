"""The `mltk` command: a thin front on the same engine and the same doit tasks as `doit` itself."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO

import click

from mltkbuild import __version__
from mltkbuild.cli import archives, ask, build, init, inspect
from mltkbuild.cli.telling import tell
from mltkbuild.errors import MltkError, UsageError
from mltkbuild.front.session import INTERRUPTED, fail
from mltkbuild.search_path import search_path
from mltkbuild.stages.table import STAGES

CLOSED = 128 + 13
"""The exit code when nobody reads the output."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="mltk")
@click.option("--gpu/--no-gpu", default=True, help="Use the GPUs of this machine (default), or the CPU alone.")
@click.pass_context
def cli(context: click.Context, gpu: bool) -> None:
    """Make for TinyML models: model specs in; int8 .tflite files and archives out.

    \b
    mltk init demo && cd demo     a new workspace with a working model
    mltk build                    bring every model's archive up to date
    mltk status                   what is up to date, and why not
    """
    if not gpu:
        # The workers inherit it.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if context.invoked_subcommand is None:
        tell(context.get_help())


for command in (*build.COMMANDS, *ask.COMMANDS, *inspect.COMMANDS, archives.unpack, init.init):
    cli.add_command(command)
for stage in STAGES.values():
    if stage.command and stage.command not in cli.commands:
        cli.add_command(build.plain_command(stage))


def main() -> None:
    """Run the command line and exit: 0 done, 1 a stage failed, 2 bad spec or usage, 130 interrupted.

    141, as of a program that SIGPIPE ends, when nobody reads its output any more.
    """
    sys.path[:] = search_path()
    try:
        code = _run()
        # Here, and not at Python's own end, which would complain.
        sys.stdout.flush()
        # Click has its own exit code for that, which here is a failure's.
        code = CLOSED if code == 1 and _is_closed(sys.stdout) else code
    except BrokenPipeError:
        if not (_is_closed(sys.stdout) or _is_closed(sys.stderr)):
            raise
        with open(os.devnull, "wb") as nowhere:
            for stream in filter(_is_closed, (sys.stdout, sys.stderr)):
                os.dup2(nowhere.fileno(), stream.fileno())
        code = CLOSED
    sys.exit(code)


def _is_closed(stream: TextIO) -> bool:
    """Whether the other end of a stream's pipe is gone."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
    except (AttributeError, OSError, ValueError):
        # Windows has no poll, and a notebook's stream no file.
        return isinstance(stream, io.TextIOWrapper)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _run() -> int:
    try:
        code = cli.main(prog_name="mltk", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    except MltkError as error:
        code = fail(error)
    except click.exceptions.Abort:
        sys.stderr.write("interrupted\n")
        code = INTERRUPTED
    except click.UsageError as error:
        code = fail(_usage_error(error))
    return code if isinstance(code, int) else 0


def _usage_error(error: click.UsageError) -> UsageError:
    """What click found wrong with the command line, in the house's form."""
    text, _, guess = error.format_message().partition(" Did you mean ")
    near = getattr(error, "possibilities", None)
    if near and len(near) > 1:
        text, guess = text.partition(" (Did you mean ")[0], f"{near[0]!r}?"
    command = "mltk" if error.ctx is None else error.ctx.command_path
    fix = f"did you mean {guess}" if guess else f"see `{command} --help`"
    return UsageError(text[:1].lower() + text[1:].rstrip("."), where=command, fix=fix)


if __name__ == "__main__":
    main()
