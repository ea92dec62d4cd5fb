"""The tools that the no-op is compared with: doit, ninja and make with the same graph over the same files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from gestures import Graph
from mltkbuild.disk.workspace import TEST
from mltkbuild.stages.table import BUILT

# Compiled modules are kept, as they are for everybody.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

# Plain doit: the graph as data, one loop over it, and doit's own way to say each thing.
PLAIN_DODO = '''\
import glob

DOIT_CONFIG = {{"default_tasks": ["archive"]}}
STAGES = {stages!r}
MODELS = sorted(path[7:-3] for path in glob.glob("models/model_*.py"))


def build(stage, target):
    """A stage's work; here the files are there already."""


def make(stage, name, target):
    inputs, artifacts = STAGES[stage]
    return {{
        "actions": [(build, [stage, target])],
        "file_dep": [path.format(name=name, target=target) for path in inputs],
        "targets": [path.format(name=name, target=target) for path in artifacts],
    }}


def task_models():
    for stage in STAGES:
        for name in MODELS:
            yield {{"basename": stage, "name": name, **make(stage, name, name)}}
            # Not a subtask, so that the group of a stage holds the models alone.
            yield {{"basename": f"{{stage}}:{{name}}-test", **make(stage, name, f"{{name}}-test")}}
'''


def write_plain(folder: Path, workspace: Path, graph: Graph) -> None:
    """Copy the files of a workspace without its records, and write the same graph for doit, ninja and make."""
    for name in ("models", "data", "build"):
        shutil.copytree(workspace / name, folder / name, ignore=shutil.ignore_patterns(".*"))
    (folder / "dodo.py").write_text(PLAIN_DODO.format(stages=graph), encoding="utf-8")
    ninja = ["rule make", "  command = touch $out"]
    rules = ["MAKEFLAGS += --no-builtin-rules --no-builtin-variables", ".PHONY: all", "all:"]
    archives = []
    names = sorted(path.stem for path in (folder / "models").glob("model_*.py"))
    for name in names:
        for target in (name, name + TEST):
            for stage in graph.values():
                inputs, artifacts = (" ".join(paths).format(name=name, target=target) for paths in stage)
                ninja.append(f"build {artifacts}: make {inputs}")
                rules.append(f"{artifacts} &: {inputs}\n\ttouch {artifacts}")
        archives += [path.format(target=name) for path in graph["archive"][1]]
    ninja.append(f"default {' '.join(archives)}")
    rules.append(f"all: {' '.join(archives)}")
    (folder / "build.ninja").write_text("\n".join(ninja) + "\n", encoding="utf-8")
    (folder / "Makefile").write_text("\n".join(rules) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Tool:
    """A build tool at its no-op.

    Args:
        name: For the table.
        command: The command line.
        folder: Where it runs.
        idle: Tells from the output that nothing ran.
        prepare: Whether a first run must bring it up to date.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    idle: Callable[[str], bool]
    prepare: bool = True

    def time(self) -> float:
        """Seconds of one run."""
        start = time.perf_counter()
        self.run(subprocess.DEVNULL)
        return time.perf_counter() - start

    def run(self, output: int) -> str:
        """Run it and give what it says."""
        done = subprocess.run(
            self.command, cwd=self.folder, env=ENVIRONMENT, stdout=output, stderr=output, text=True, check=True
        )
        return done.stdout or ""

    def check(self) -> None:
        """Make sure that there is nothing to do."""
        said = self.run(subprocess.PIPE)
        if not self.idle(said):
            raise SystemExit(f"{self.name} was to do nothing, but it says: {said[-500:]}")


def bare_doit(plain: Path) -> Path:
    """Make a virtual environment that holds doit alone: doit loads the plugins of all packages beside it.

    Returns:
        Its Python.
    """
    folder = plain / ".venv"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for file in distribution("doit").files or ():
        if file.parts[0].startswith("doit") and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)
    return folder / "bin" / "python"


BESIDE = """\
import sys
from pathlib import Path
import mltkbuild
sys.path.insert(0, str(Path(mltkbuild.__file__).parents[1] / "benchmarks"))
from gestures import build_workspace, write_workspace
write_workspace(Path(sys.argv[1]), int(sys.argv[2]))
build_workspace(Path(sys.argv[1]))
"""


def another_version(python: str, folder: Path, count: int) -> Tool:
    """Another checkout of mltkbuild, on a workspace that it built itself.

    Args:
        python: The Python of an environment in which that checkout is installed as editable.
        folder: Where its workspace goes.
        count: How many models.
    """
    # In a folder of its own, where Python finds no other checkout first.
    folder.mkdir()
    subprocess.run((python, "-c", BESIDE, str(folder), str(count)), cwd=folder, check=True, env=ENVIRONMENT)
    # It may have had more stages or fewer.
    idle = re.compile(r"up to date: [\d,]+ stages\n")
    return Tool(
        "mltkbuild, beside", (python, "-m", "doit"), folder, lambda out: bool(idle.fullmatch(out)), prepare=False
    )


def _does_nothing(count: int) -> Callable[[str], bool]:
    return lambda output: output == f"up to date: {count * len(BUILT)} stages\n"


def tools(workspace: Path, plain: Path, count: int) -> list[Tool]:
    """The tools to compare, each with the proof that it does nothing."""
    stages = count * len(BUILT)
    ours = (sys.executable, "-m", "doit")
    doit = (str(bare_doit(plain)), "-m", "doit")

    def skips_all(output: str) -> bool:
        lines = output.splitlines()
        return len(lines) == stages and all(line.startswith("-- ") for line in lines)

    found = [
        Tool("mltkbuild", ours, workspace, _does_nothing(count), prepare=False),
        Tool("ninja", ("ninja",), plain, lambda output: "no work to do" in output),
        Tool("make", ("make",), plain, lambda output: "Nothing to be done" in output, prepare=False),
        Tool("plain doit", doit, plain, skips_all),
        Tool("plain doit, json", (*doit, "--backend", "json", "--db-file", ".doit.json"), plain, skips_all),
    ]
    return [tool for tool in found if shutil.which(tool.command[0])]
