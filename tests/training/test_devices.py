"""Number types and devices: mixed precision, two devices of one process, two processes on loopback."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mltkbuild.errors import StageError
from mltkbuild.training import devices

from ..conftest import REPOSITORY, Files, command

pytestmark = pytest.mark.real
# Two processes that load TensorFlow, train and wait for each other take ten seconds on two idle cores, and many times
# that beside other work; only a training that hangs takes this long.
HUNG = 900.0
MODEL = """
import keras
import numpy as np

from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin


# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    pass


def load(subset):
    rng = np.random.default_rng(0 if subset == "training" else 1)
    x = rng.normal(size=(120, 6)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype(int)


def build(model):
    layers = keras.layers
    built = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(2, activation="softmax"),
        ]
    )
    built.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return built


my_model = Model()
my_model.classes = ["low", "high"]
my_model.input_shape = (6,)
my_model.dataset = load
my_model.validation_split = 0.25
my_model.batch_size = 10
my_model.epochs = 4
my_model.build_model_function = build
"""


def workspace(folder: Path, line: str) -> Files:
    """A workspace with one small model."""
    files = Files(folder)
    files.write("dodo.py", (REPOSITORY / "dodo.py").read_text(encoding="utf-8"))
    files.spec("kws", MODEL + line + "\n")
    return files


def train(files: Files, *options: str, **environment: str) -> str:
    """Train in a process of its own; what it printed."""
    done = command("doit", "train:kws", *options, cwd=files.root, env=environment, timeout=HUNG, workers="warm")
    said = done.out + done.err
    assert 0 == done.code, said
    return said


def weights(files: Files) -> bytes:
    """The trained model."""
    return (files.root / "build/kws/kws.keras").read_bytes()


def test_two_devices_go_on_exactly(tmp_path: Path) -> None:
    """A training on two devices that is extended has the bits of one that wasn't, and its model is a plain one."""
    two = {"MLTKBUILD_LOGICAL_CPUS": "2"}
    files = workspace(tmp_path / "ws", "my_model.distribute = 'mirrored'")
    train(files, "--epochs", "2", **two)
    assert "goes on after epoch 2" in train(files, **two)
    extended = weights(files)
    train(files, "--clean", **two)
    assert extended == weights(files)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that the system gives to nobody who takes any."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def cluster(index: int, ports: list[int]) -> str:
    """One worker's TF_CONFIG."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


@pytest.mark.timeout(3 * HUNG)
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Two processes on loopback, each in its workspace, train together, go on exactly, and end with the same bits."""
    line = "my_model.distribute = 'multiworker'"
    both = [workspace(tmp_path / name, line) for name in ("first", "second")]

    def together(*options: str) -> list[str]:
        ports = free_ports(2)
        with ThreadPoolExecutor(2) as pool:
            runs = [
                pool.submit(train, files, *options, TF_CONFIG=cluster(index, ports)) for index, files in enumerate(both)
            ]
        return [run.result() for run in runs]

    together("--epochs", "2")
    assert all("goes on after epoch 2" in text for text in together())
    extended = [weights(files) for files in both]
    together("--clean")
    assert [extended[0]] * 3 == [extended[1], *map(weights, both)]


def test_mixed_precision_trains_and_saves_float32(tmp_path: Path) -> None:
    """The model trains with float16 and is saved in float32, which the converter needs."""
    files = workspace(tmp_path / "ws", "my_model.mixed_precision = 'mixed_float16'")
    train(files)
    with zipfile.ZipFile(files.root / "build/kws/kws.keras") as archive:
        config = archive.read("config.json").decode()
    assert "mixed_float16" not in config
    assert "mixed_float16" in (files.root / "build/kws/spec/model.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [None, "", "{", "{}", '{"cluster": {"worker": []}, "task": {"index": 0}}'])
def test_a_cluster_that_is_not_told_is_an_error(text: str | None) -> None:
    """'multiworker' without a whole TF_CONFIG says what to set."""
    with pytest.raises(StageError, match="TF_CONFIG") as caught:
        devices._check_cluster(text)
    assert repr(text) == caught.value.found
