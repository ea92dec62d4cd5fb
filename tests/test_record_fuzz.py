"""Whatever a file below build/ becomes, commands answer, touch nothing else, and never call wrong bytes up to date.

    python -m tests.test_record_fuzz --mutations 5000 --seed 1

The suite runs fewer mutations; this is for proofs by hand.
"""

# ruff: noqa: T201  # a script that tells what it does

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mltkbuild.disk.file_lists import LIMIT, SUFFIX
from mltkbuild.stages.table import BUILT

from .conftest import Fakes, Files, Front, written

MUTATIONS = 150
SECONDS = 30
NAMES = (
    *("../../../outside/file", "{outside}/file", "a/../../../../outside/file", "a\0b", "", ".", "..", "/", "a" * 5000),
    *("..\\..\\x", ".records/train.json", ".scratch", "other.mltk.zip", "../kws-test/x", "\ud800", "a/" * 40 + "a"),
    *("spec/train.yaml/x", "kws.keras", "train/checkpoints", "file {outside}/file", "file \0", "code ../../x", "files"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**70, 1e308, float("nan"), float("inf"), "", "0" * 64, [], {}, [[]], [1, 2, 3, 4]),
    *({"a": {"b": None}}, ["{outside}/file"], [[0, 0, 0, 0], "0" * 64], "{outside}/file", "../../../outside/file"),
)
COMMANDS = (
    *(("mltk", "status"), ("mltk", "explain", "kws"), ("mltk", "build", "--dry-run", "kws"), ("doit",)),
    *(("doit", "forget", "train:kws"), ("mltk", "clean", "--orphans"), ("doit", "clean")),
)


def prepared(root: Path) -> Files:
    """A built workspace with many samples, a training's checkpoints, a memo, and something outside."""
    files = written(root / "ws")
    for number in range(LIMIT + 1):
        files.write(f"samples/training/{number}.txt", f"sample {number}\n")
    front = Front(files, Fakes())
    assert 0 == front.doit().code
    for path in (root / "ws/samples/training").iterdir():
        os.utime(path)
    assert f"up to date: {len(BUILT)} stages\n" == front.doit().out
    for name, text in {"about.json": '{"inputs": {}, "settings": {}}', "best.txt": "epoch-00001.npz"}.items():
        files.write(f"build/kws/train/checkpoints/0123456789abcdef/{name}", text)
    files.write("build/kws/train/checkpoints/0123456789abcdef/epoch-00001.npz", "zip")
    assert list((root / "ws/build/kws/.records").glob(f"*{SUFFIX}"))
    for name in ("file", "sub/file"):
        (root / "outside" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "outside" / name).write_text("nobody's", encoding="utf-8")
    return files


def others(root: Path) -> dict[str, bytes]:
    """All that no command may touch: what lies outside, and what the user wrote."""
    found = {}
    for path in sorted((*root.glob("outside/**/*"), *root.glob("ws/*"), *root.glob("ws/[ms]*/**/*"))):
        if ".mltk.zip" not in path.name and "__pycache__" not in path.parts:
            found[path.relative_to(root).as_posix()] = path.read_bytes() if path.is_file() else b""
    return found


def artifacts(files: Files) -> dict[str, bytes]:
    """The bytes of the published files."""
    kws = files.root / "build/kws"
    paths = [path for path in kws.rglob("*") if path.is_file() and not path.relative_to(kws).as_posix().startswith(".")]
    built = [path for path in paths if "checkpoints" not in path.parts and path.suffix != ".changed"]
    return {path.relative_to(files.root).as_posix(): path.read_bytes() for path in (*built, archive(files))}


def archive(files: Files) -> Path:
    """The path of the model's archive."""
    return files.root / "models/kws.mltk.zip"


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON document: the container and the key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from nodes(value[key])


def change(container: Any, key: Any, kind: str, chance: random.Random, outside: Path) -> None:
    """Change one place of a JSON document."""

    def hostile(values: tuple[Any, ...]) -> Any:
        return json.loads(json.dumps(chance.choice(values)).replace("{outside}", str(outside)))

    if kind == "value":
        container[key] = hostile((*VALUES, *NAMES))
    elif kind == "nest":
        container[key] = [container[key]]
    else:
        old = container.pop(key)
        if kind == "key" and isinstance(container, dict):
            container[hostile(NAMES)] = old


def mutate(path: Path, chance: random.Random, outside: Path) -> str:
    """Turn a file into something else, and tell into what."""
    kind = chance.choice(
        ("value", "value", "key", "key", "key", "gone", "flip", "cut", "bytes", "link", "pipe", "nest")
    )
    with contextlib.suppress(ValueError):
        document = json.loads(path.read_bytes())
        places = list(nodes(document))
        if places and kind in ("value", "key", "gone", "nest"):
            container, key = chance.choice(places)
            change(container, key, kind, chance, outside)
            path.write_text(json.dumps(document), encoding="utf-8")
            return f"{kind} {key}"
    damage(path, kind, chance, outside)
    return kind


def damage(path: Path, kind: str, chance: random.Random, outside: Path) -> None:
    """Change a file without regard to what is in it."""
    data = path.read_bytes()
    if kind == "link":
        path.unlink()
        path.symlink_to(outside / "file")
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif kind == "cut":
        path.write_bytes(data[: chance.randrange(len(data) + 1)])
    elif kind == "bytes":
        path.write_bytes(chance.choice((b"", b"{}", b"[]", b"null", b"[" * 9000, b"\xff\xfe", chance.randbytes(99))))
    else:
        changed = bytearray(data or b"\0")
        for _ in range(chance.randrange(1, 5)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)


def check(source: Path, number: int, seed: int) -> str:
    """Mutate one file of a copy, call everything, and give what was done.

    Raises:
        AssertionError: A command has crashed, touched something else, or called wrong bytes up to date.
    """
    chance = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(source, root, dirs_exist_ok=True)
        files = Files(root / "ws")
        right, before = artifacts(files), others(root)
        made = sorted(path for path in (files.root / "build").rglob("*") if path.is_file() and path.name != ".lock")
        records = [path for path in made if ".records" in path.parts or path.name == ".memo.json"]
        path = chance.choice((chance.choice(records), chance.choice([*made, archive(files)])))
        if path.suffix == ".json" and ".records" in path.parts and chance.random() < 0.2:
            shutil.copyfile(path, path := path.with_suffix(".pending"))
        told = f"{number}: {path.relative_to(root)}: {mutate(path, chance, root / 'outside')}"
        for command in COMMANDS:
            program, *words = command
            front = Front(files, Fakes())
            result = getattr(front, program)(*words)
            where = (told, command, result)
            assert "Traceback" not in result.out + result.err, where
            assert result.code in (0, 1, 2), where
            line = next((line for line in result.out.splitlines() if line.split()[:1] == ["kws"]), "")
            is_claimed = "up to date" in line if command == ("mltk", "status") else command == ("doit",)
            if is_claimed and result.code == 0:
                assert right == {name: data for name, data in artifacts(files).items() if name in right}, where
        assert before == others(root), told
    return told


def alarm(number: int, frame: FrameType | None) -> None:
    """Let what waits fail."""
    raise TimeoutError("a command waits")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that copies are made of."""
    root = tmp_path_factory.mktemp("fuzz")
    prepared(root)
    return root


@pytest.mark.real
@pytest.mark.parametrize("part", range(3))
def test_mutated_file_is_answered(part: int, built: Path) -> None:
    """A hundred and fifty mutations of records, lists, memo and artifacts, the same each time."""
    for number in range(part, MUTATIONS, 3):
        check(built, number, 1)


def main() -> None:
    """Run mutations by hand."""
    parser = argparse.ArgumentParser(description="Mutate the files below build/, one at a time.")
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, alarm)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        prepared(Path(folder))
        for number in range(options.mutations):
            signal.alarm(SECONDS)
            try:
                check(Path(folder), number, options.seed)
            except Exception as error:  # noqa: BLE001  # each is told, and the next is tried
                failed += 1
                print(f"{number}: {type(error).__name__}: {str(error)[:1500]}", flush=True)
            signal.alarm(0)
    print(f"{options.mutations} mutations, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
