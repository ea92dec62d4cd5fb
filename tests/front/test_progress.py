"""What a running build shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from mltkbuild.events import EpochProgress, Note
from mltkbuild.front import progress
from mltkbuild.front.progress import LiveDisplay, QuietDisplay, make_display

from ..conftest import REPOSITORY, Files


def quiet(width: int = 24) -> tuple[QuietDisplay, io.StringIO]:
    """A display that writes into a file."""
    out = io.StringIO()
    return QuietDisplay(Console(file=out), width), out


def live(columns: int) -> tuple[LiveDisplay, io.StringIO]:
    """A display on a terminal of some columns, whose moving lines are read with `moving`."""
    out = io.StringIO()
    return LiveDisplay(Console(file=out, force_terminal=True, width=columns, color_system=None), 24), out


def moving(display: LiveDisplay, columns: int) -> list[str]:
    """The moving lines as they stand."""
    console = Console(file=io.StringIO(), width=columns, color_system=None)
    with console.capture() as capture:
        console.print(display._progress.get_renderable())
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [100.0]
    monkeypatch.setattr("mltkbuild.front.progress.time.monotonic", lambda: now[0])
    return now


def test_quiet_display_prints_one_line_a_stage(clock: list[float]) -> None:
    """A stage has one line, when it is done: its name, how long it took, what came of it and why it ran."""
    display, out = quiet()
    display.begin("train:kws", "never built")
    display.event("train:kws", EpochProgress(1, 3, metrics={"loss": 1.0}))
    clock[0] += 125
    display.end("train:kws", "3 epochs, loss 0.5000  (never built)")
    display.begin("spec:kws", "never built")
    display.end("spec:kws", "never built")
    assert [
        "train:kws                   2 min 5 s  3 epochs, loss 0.5000  (never built)",
        "spec:kws                        0.0 s  never built",
    ] == out.getvalue().splitlines()


def test_quiet_display_prints_notes_and_is_silent_about_interrupted_stages() -> None:
    """Notes have a line of their own; a stage without a text has none."""
    display, out = quiet()
    display.begin("train:kws", "never built")
    display.event("train:kws", Note("waiting for another build of kws"))
    display.end("train:kws", None)
    display.note("  [bold]a spec's own words[/bold]")
    display.close()
    assert ["waiting for another build of kws", "  [bold]a spec's own words[/bold]"] == out.getvalue().splitlines()


def test_lines_in_a_file_are_cut_at_a_generous_width() -> None:
    """A reason of thousands of characters stays a line that can be read."""
    display, out = quiet()
    display.begin("train:kws", "x")
    display.end("train:kws", "code of " + "word " * 1000)
    assert 1 == out.getvalue().count("\n")
    assert out.getvalue().rstrip("\n").endswith("word...")
    assert len(out.getvalue()) <= progress.WIDEST + 1


def test_columns_stay_aligned_with_long_names() -> None:
    """The first column is as wide as the display was told, so that times stand below each other."""
    display, out = quiet(42)
    for label in ("quantize:a_rather_long_name_of_a_model_v12", "spec:kws"):
        display.begin(label, "x")
        display.end(label, "done")
    assert {57} == {line.index("done") for line in out.getvalue().splitlines()}


def test_narrow_terminal_keeps_figures_and_drops_the_reason() -> None:
    """Where not everything fits in 80 columns, what came of a stage goes before why it ran."""
    display, out = live(80)
    for why in ("never built", "code of augment() in models/parts.py (and 2 more)"):
        display.begin("train:kws", why)
        display.end("train:kws", f"40 epochs, val_accuracy 0.9861  ({why})")
    display.begin("quantize:kws", "x")
    display.end("quantize:kws", "code of models/a_name_that_is_very_long_for_a_model_spec_v12.py changed")
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).splitlines() if "0.0 s" in line]
    assert [
        "train:kws                       0.0 s  40 epochs, val_accuracy 0.9861",
        "train:kws                       0.0 s  40 epochs, val_accuracy 0.9861",
        "quantize:kws                    0.0 s  code of models/a_name_that_is_very_lon...",
    ] == [line[line.index(":") - 8 :].lstrip(" \r") for line in (" " * 8 + line.strip("\r") for line in lines)]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("columns", [80, 110, 120])
def test_moving_line_shows_epochs_time_left_and_metric(clock: list[float], columns: int) -> None:
    """While a model trains, its line tells how far it is, how long it takes yet, and its best known figure."""
    display, _ = live(columns)
    display.begin("train:kws", "never built")
    assert "never built" in moving(display, columns)[0]
    display.event("train:kws", EpochProgress(1, 40, metrics={"accuracy": 0.5, "val_accuracy": 0.25}))
    clock[0] += 2
    display.event("train:kws", EpochProgress(2, 40, metrics={"accuracy": 0.5, "val_accuracy": 0.75}))
    line = moving(display, columns)[0]
    assert "train:kws" in line
    assert "epoch 2/40, 1 min 16 s left, val_accuracy 0.7500" in line
    assert columns >= progress.ROOMY or len(line) <= columns - progress.ECHO
    display.end("train:kws", None)
    assert [] == [line for line in moving(display, columns) if line]


def test_moving_line_within_an_epoch_and_without_metrics(clock: list[float]) -> None:
    """Steps move the line on between epochs; an epoch that has just begun is not counted as done."""
    assert (2.5, 4.0) == progress._fraction(EpochProgress(3, 4, 5, 10))
    assert (2.0, 4.0) == progress._fraction(EpochProgress(3, 4))
    assert (3.0, 4.0) == progress._fraction(EpochProgress(3, 4, metrics={}))
    assert ("", ", loss 0.5000") == (progress._metric({}), progress._metric({"loss": 0.5}))
    display, _ = live(80)
    display.event("train:gone", EpochProgress(1, 2))
    display.begin("train:kws", "x")
    display.event("train:kws", EpochProgress(11, 20))
    assert "epoch 11/20" in moving(display, 80)[0]


def test_moving_line_marks_checkpoints_and_counts_steps(clock: list[float]) -> None:
    """An epoch whose checkpoint is on the disk has its mark; a wide terminal shows steps; epochs may be unlimited."""
    display, _ = live(120)
    display.begin("train:kws", "x")
    display.event("train:kws", EpochProgress(1, 99999, metrics={"loss": 0.5}, checkpoint=True))
    assert "epoch 1/?, loss 0.5000 \N{CHECK MARK}" in moving(display, 120)[0]
    display.event("train:kws", EpochProgress(2, 99999, 3, 20))
    assert "epoch 2/?, step 3/20, loss 0.5000 \N{CHECK MARK}" in moving(display, 120)[0]
    display.event("train:kws", EpochProgress(2, 99999, metrics={"loss": 0.25}, checkpoint=False))
    assert "loss 0.2500" in moving(display, 120)[0]
    assert "\N{CHECK MARK}" not in moving(display, 120)[0]


def test_live_display_serves_several_threads() -> None:
    """Stages that run side by side share the display; each has one closing line."""
    display, out = live(100)

    def stage(number: int) -> None:
        label = f"train:m{number}"
        display.begin(label, "x")
        for epoch in range(1, 20):
            display.event(label, EpochProgress(epoch, 20, metrics={"loss": 1.0}))
        display.end(label, f"done {number}")

    threads = [threading.Thread(target=stage, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    display.close()
    assert [1] * 6 == [len(re.findall(rf"done {number}\b", out.getvalue())) for number in range(6)]


def test_display_fits_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines move on a terminal alone; a dumb one, a pipe or a file gets quiet lines."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert QuietDisplay is type(make_display())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert LiveDisplay is type(make_display())
    monkeypatch.setenv("TERM", "dumb")
    assert QuietDisplay is type(make_display())


@pytest.mark.real
def test_real_terminal_shows_training_and_no_noise(workspace: Files) -> None:
    """On a terminal of 80 columns a real training shows epochs, time left and metric, and nothing of TensorFlow's."""
    text = (REPOSITORY / "models/digits_v1.py").read_text(encoding="utf-8")
    workspace.spec("digits", text.replace("epochs = 40", "epochs = 6"))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", "train:digits"],
        cwd=workspace.root,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        seen += part
    os.close(master)
    assert 0 == process.wait()
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"train:digits +epoch [1-6]/6, \d+ s left, val_accuracy [01]\.\d{4}", screen)
    closing = [line.split("\r")[-1] for line in screen.splitlines() if re.search(r"\d\.\d s  |^done", line)]
    stages = ["spec:digits", "data:digits", "preflight:digits", "train:digits", "done:"]
    assert stages == [line.split()[0] for line in closing]
    for noise in ("WARNING", "oneDNN", "cuda", "I0000", "tensorflow", "Traceback", "100%"):
        assert noise.lower() not in screen.lower()
