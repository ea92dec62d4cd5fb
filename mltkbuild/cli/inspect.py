"""The commands around the `.tflite`: profile, export, update_params, view; and around its data: view_data."""

from __future__ import annotations

import importlib
import importlib.util
import os
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from mltkbuild.cli.archived import member
from mltkbuild.cli.build import enter, known, run_doit
from mltkbuild.cli.file_commands import (
    KERAS,
    TFLITE,
    existing,
    export_file,
    is_file,
    print_profile,
    update_file,
)
from mltkbuild.cli.parameters import parameters_of
from mltkbuild.cli.telling import tell
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.errors import UsageError
from mltkbuild.shown import shown


@click.command()
@click.argument("name", metavar="NAME|FILE.tflite|NAME.mltk.zip")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the layers as CSV.")
@click.option("--text", "form", flag_value="text", default=True, help="Print a table (default).")
@click.option(
    "--vela", is_flag=False, flag_value="ethos-u55-128", metavar="[ACCELERATOR]", help="Estimate for an Ethos-U too."
)
def profile(name: str, form: str, vela: str | None) -> None:
    """Show MACs, flash and working memory by layer.

    \b
    mltk profile kws_v2
    mltk profile model.tflite --csv
    mltk profile model.tflite --vela ethos-u85-256
    """
    with _tflite(name, "profile") as path:
        print_profile(path, vela, form)


@click.command()
@click.argument("name", metavar="NAME|FILE.tflite")
@click.option("-o", "--output", metavar="FOLDER", help="Where to write; for a file NAME_export by default.")
def export(name: str, output: str | None) -> None:
    """Write C++ sources and an Arduino library.

    With a test vector, and the operators that the firmware must register.

    \b
    mltk export kws_v2           into build/kws_v2/export/
    mltk export model.tflite -o firmware/model
    """
    if is_file(name):
        stem = os.path.basename(name).removesuffix(ARCHIVE_SUFFIX).removesuffix(TFLITE)
        with _tflite(name, "export") as path:
            export_file(path, output or f"{stem}_export")
        return
    if output is not None:
        raise UsageError(
            "--output is for files", found=f"a model of the workspace: {name}", fix=f"copy build/{name}/export"
        )
    known(enter(), [name])
    raise SystemExit(run_doit("run", f"export:{name}"))


@click.command("update_params")
@click.argument("name", metavar="NAME|FILE.tflite")
@click.argument("pairs", nargs=-1, metavar="[KEY[:TYPE]=VALUE]...")
@click.option("--params", metavar="FILE", help="Read parameters from a YAML or JSON file.")
@click.option("--description", help="Set the model's own description.")
@click.option("-o", "--output", metavar="FILE.tflite", help="Write here instead of changing the file.")
def update_params(
    name: str, pairs: tuple[str, ...], params: str | None, description: str | None, output: str | None
) -> None:
    """Show or change the parameters in a .tflite.

    A value is read as YAML 1.2; an empty one removes the key. TYPE chooses how it is stored: bool, int8 to int64, uint8
    to uint64, float, double, str, str_list, int32_list, float_list or bin; of str it is taken as it stands. The .tflite
    of a model of the workspace is written to another file: what the build itself makes is changed by the spec.

    \b
    mltk update_params model.tflite threshold=0.7 "labels=[yes, no]"
    mltk update_params model.tflite count:int32=3 code:str=010 old=
    mltk update_params model.tflite --params firmware.yaml --description "door v2"
    mltk update_params kws_v2 threshold=0.7 -o kws_tuned.tflite
    """
    changes = parameters_of(pairs, params)
    path = name
    if not is_file(name):
        if (changes or description is not None) and output is None:
            raise UsageError(
                "the build makes this .tflite and would make it again",
                found=name,
                fix="set my_model.model_parameters in the spec, or write a copy with -o FILE.tflite",
            )
        output = None if output is None else os.path.abspath(output)
        path = _made(name, "params", f"{name}.tflite")
    if output is not None and not output.endswith(TFLITE):
        raise UsageError("the output must be a .tflite", found=output, fix="such as -o model.tflite")
    update_file(path, output, changes, description)


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--tflite", is_flag=True, help="Open the .tflite instead of the Keras model.")
def view(name: str, tflite: bool) -> None:
    """Open a model in netron, in the browser.

    \b
    mltk view kws_v2
    mltk view model.tflite
    """
    netron = importlib.util.find_spec("netron")
    if netron is None or not netron.submodule_search_locations:
        raise UsageError("mltk view needs netron", found="not installed", fix="run `pip install 'mltkbuild[view]'`")
    if is_file(name):
        path = existing(name, *KERAS, TFLITE)
    else:
        path = _made(name, "params" if tflite else "train", f"{name}.tflite" if tflite else f"{name}.keras")
    show_in_netron(Path(netron.submodule_search_locations[0]), Path(path))


def show_in_netron(netron: Path, model: Path) -> None:
    """Serve a model with netron's page until Ctrl+C."""
    with importlib.import_module("mltkbuild.front.netron_page").Server(netron, model) as server:
        tell(f"{shown(os.path.relpath(model))} is shown at {server.url} until Ctrl+C")
        webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@click.command("view_data")
@click.argument("name", metavar="NAME")
@click.option("--open/--no-open", "opens", default=True, help="Open the page in the browser (default).")
def view_data(name: str, opens: bool) -> None:
    """Show a model's data set in one HTML page.

    Samples of each class and subset, before and after augmentation, recordings with a player and their spectrogram as
    the model sees it, and anomalies: samples that training shares with validation, silent or clipped recordings.

    \b
    mltk view_data kws_v2
    """
    path = _made(name, "view_data", "data_view.html")
    tell(shown(os.path.relpath(path)))
    if opens and not webbrowser.open(Path(path).as_uri()):
        tell("no browser was found: open this file in one", error=True)


@contextmanager
def _tflite(name: str, stage: str) -> Iterator[str]:
    """The `.tflite` that an argument means: a file, one in an archive, or a model's when a stage is up to date."""
    if name.endswith(ARCHIVE_SUFFIX):
        with member(name, TFLITE) as found:
            yield found[0]
    else:
        yield name if is_file(name) else _made(name, stage, f"{name}.tflite")


def _made(name: str, stage: str, artifact: str) -> str:
    """The path of an artifact of the workspace, brought up to date."""
    owner = enter()
    known(owner, [name])
    code = run_doit("run", f"{stage}:{name}", terse=True)
    if code:
        raise SystemExit(code)
    return owner.builder.state(name).folder.artifact(artifact)


COMMANDS = (profile, export, update_params, view, view_data)
