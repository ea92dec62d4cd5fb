"""What `mltk` does with files that no workspace made, each in a real worker process."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from mltkbuild.tflite import graph, micro, params
from mltkbuild.tflite.dictionary import Typed

from .. import warm
from ..conftest import Front
from ..tflite.test_micro import dense_model

pytestmark = pytest.mark.usefixtures("warm_workers")
MAKE = """
import sys, keras, numpy as np
L = keras.layers
folder = sys.argv[1]
keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input((6, 6, 1)), L.DepthwiseConv2D(3), L.Flatten(), L.Dense(3, activation="softmax")])
model.save(folder + "/plain.keras")
model.save(folder + "/plain.h5")
keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: x * 2), L.Dense(2)]).save(folder + "/lambda.keras")
keras.Sequential([keras.Input((5, 4)), L.LSTM(3), L.Dense(2)]).save(folder + "/looping.keras")
keras.Sequential([keras.Input((None, 4)), L.Dense(2)]).save(folder + "/open.keras")
one, two = keras.Input((4,), name="zed"), keras.Input((6,), name="alpha")
keras.Model([one, two], [L.Dense(3)(one), L.Dense(2)(two)]).save(folder + "/two.keras")
x = np.random.default_rng(1).random((40, 6, 6, 1)).astype("float32")
np.savez(folder + "/data.npz", x=x, y=model.predict(x, verbose=0).argmax(axis=1))
np.savez(folder + "/two.npz", zed=np.random.default_rng(1).normal(size=(30, 4)),
         alpha=10 * np.random.default_rng(2).normal(size=(30, 6)))
zed, alpha = np.load(folder + "/two.npz")["zed"], np.load(folder + "/two.npz")["alpha"]
mixed = L.Dense(5)(L.Concatenate()([one, two]))
pair = keras.Model([one, two], [L.Dense(3, name="kind", activation="softmax")(mixed), L.Dense(2, name="area")(mixed)])
pair.save(folder + "/pair.keras")
kind, area = pair.predict([zed, alpha], verbose=0)
targets = {"kind": kind.argmax(1), "area": area}
np.savez(folder + "/names.npz", zed=zed, alpha=alpha, **targets)
np.savez(folder + "/y_names.npz", x_zed=zed, x_alpha=alpha, **{f"y_{name}": y for name, y in targets.items()})
np.savez(folder + "/numbers.npz", x0=zed, x1=alpha, y0=targets["kind"], y1=area)
np.savez(folder + "/half.npz", zed=zed, alpha=alpha, kind=targets["kind"])
np.savez(folder + "/first.npz", zed=zed, alpha=alpha, y=targets["kind"])
np.savez(folder + "/short.npz", zed=zed, alpha=alpha, kind=targets["kind"][:3], area=area)
keras.Sequential([keras.Input((640,)), L.Dense(4), L.Dense(640)]).save(folder + "/auto.keras")
wide = np.random.default_rng(3).random((6, 640)).astype("float32")
np.savez(folder + "/auto.npz", x=wide, y=wide)
np.savez(folder + "/samples.npz", x=wide)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keras files and samples, from one process; the `.h5` as Keras 2 saved it, with `groups`."""
    folder = tmp_path_factory.mktemp("files")
    warm.python(MAKE, str(folder))
    with h5py.File(folder / "plain.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    return folder


@pytest.mark.real
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_any_keras_file_becomes_int8(front: Front, made: Path, tmp_path: Path, kind: str) -> None:
    """A `.keras`, and an `.h5` of Keras 2, become an int8 `.tflite` that runs on TensorFlow Lite Micro."""
    output = tmp_path / "out" / "model.tflite"
    result = front.mltk("quantize", str(made / f"plain.{kind}"), "--data", str(made / "data.npz"), "-o", str(output))
    assert (0, "") == (result.code, result.err)
    assert "runs on TensorFlow Lite Micro with" in result.out
    model = graph.read(output.read_bytes())
    assert ("int8", "int8") == (model.inputs[0].dtype, model.outputs[0].dtype)
    assert "DEPTHWISE_CONV_2D" in model.operator_names


@pytest.mark.real
def test_a_keras_file_is_summarized(front: Front, made: Path) -> None:
    """The summary of any Keras file is Keras' own."""
    result = front.mltk("summarize", str(made / "plain.keras"))
    assert (0, "") == (result.code, result.err)
    assert "DepthwiseConv2D" in result.out


@pytest.mark.real
def test_two_inputs_are_taken_by_name(front: Front, made: Path, tmp_path: Path) -> None:
    """A model of two inputs is calibrated from arrays by their names."""
    output = tmp_path / "two.tflite"
    assert 0 == front.mltk("quantize", str(made / "two.keras"), "--data", str(made / "two.npz"), "-o", str(output)).code
    assert 2 == len(micro.Micro(output.read_bytes()).outputs)


@pytest.mark.real
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plain.keras",), "no --data"),
        (("plain.keras", "--data", "nothing.npz"), "nothing.npz"),
        (("lambda.keras", "--float"), "--trust"),
        (("looping.keras", "--data", "two.npz"), "mltk"),
        (("open.keras", "--float"), "not fixed"),
        (("missing.keras", "--float"), "there is no such file"),
    ],
)
def test_what_can_t_be_converted_is_one_error(
    front: Front, made: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Missing samples, foreign code, open shapes and missing files are errors, and no file is left."""
    output = tmp_path / "model.tflite"
    given = [str(made / word) if "." in word else word for word in arguments]
    result = front.mltk("quantize", *given, "-o", str(output))
    assert result.code in (1, 2)
    assert result.err.startswith("error: ")
    assert words in result.err or words == "mltk"
    assert "fix:" in result.err
    assert not output.exists()


@pytest.mark.real
def test_a_trusted_lambda_is_converted(front: Front, made: Path, tmp_path: Path) -> None:
    """With --trust the code in a file runs."""
    output = tmp_path / "model.tflite"
    assert 0 == front.mltk("quantize", str(made / "lambda.keras"), "--float", "--trust", "-o", str(output)).code
    assert "float32" == graph.read(output.read_bytes()).inputs[0].dtype


@pytest.mark.real
def test_files_are_evaluated_and_compared(front: Front, made: Path, tmp_path: Path) -> None:
    """A Keras file and its `.tflite` give figures each, and how far their answers agree."""
    tflite, report = tmp_path / "model.tflite", tmp_path / "report"
    data = ("--data", str(made / "data.npz"))
    front.mltk("quantize", str(made / "plain.keras"), *data, "-o", str(tflite))
    result = front.mltk("evaluate", str(tflite), str(made / "plain.keras"), *data, "--json", "-o", str(report))
    found = json.loads(result.out)
    assert 1.0 == found["keras"]["overall_accuracy"]
    assert found["tflite"]["overall_accuracy"] > 0.8
    assert 40 == found["parity"]["n_samples"]
    assert found["parity"]["agreement"] == pytest.approx(found["tflite"]["overall_accuracy"])
    assert {"keras", "tflite", "parity.json", "parity.csv", "parity.txt"} <= {path.name for path in report.iterdir()}


def write(folder: Path) -> Path:
    """A `.tflite` made by hand, with parameters."""
    path = folder / "model.tflite"
    path.write_bytes(params.embed(dense_model(), {"a": 1, "wide": Typed(5, "int32")}, "made"))
    return path


def test_profile_prints_a_table_json_and_csv(front: Front, tmp_path: Path) -> None:
    """`mltk profile FILE` counts a dense layer's multiplications and its memory."""
    path = str(write(tmp_path))
    document = json.loads(front.mltk("profile", path, "--json").out)
    assert (8, 8, 32) == (document["macs"], document["parameters"], document["weight_bytes"])
    assert document["arena"]["total"] % 16 == 0
    assert "FULLY_CONNECTED" in front.mltk("profile", path).out
    assert 2 <= len(front.mltk("profile", path, "--csv").out.splitlines())


def test_parameters_are_shown_changed_and_removed(front: Front, tmp_path: Path) -> None:
    """`mltk update_params` changes what is asked for, keeps the types of the others, and can write a copy."""
    path, copy = write(tmp_path), tmp_path / "copy.tflite"
    assert "a: 1\nwide: 5\n" == front.mltk("update_params", str(path)).out
    changes = ("rate=0.5", "labels=[yes please, b]", "on=true", "a=", "zero=0.0")
    result = front.mltk("update_params", str(path), *changes, "-o", str(copy), "--description", "new")
    assert (0, "") == (result.code, result.err)
    found = params.extract_typed(copy.read_bytes())
    assert {"labels", "on", "rate", "wide", "zero"} == set(found)
    assert ("int32", "float", "float") == (found["wide"].type, found["zero"].type, found["rate"].type)
    assert "new" == graph.read(copy.read_bytes()).description
    assert {"a": 1, "wide": 5} == params.extract(path.read_bytes())
    assert [[3.0, 11.0]] == micro.Micro(copy.read_bytes()).invoke([np.array([[1, 0, 0, 1]], np.float32)])[0].tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rate",), "key=value"),
        (("b=[1",), "can't be read"),
        (("missing=",), "no such parameter"),
        (("--params", "nothing.yaml"), "nothing.yaml"),
        (("a=[1, x]",), "a"),
    ],
)
def test_bad_parameters_change_nothing(front: Front, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """A parameter that can't be read or stored is one error, and the file is as it was."""
    path = write(tmp_path)
    before = path.read_bytes()
    result = front.mltk("update_params", str(path), *arguments)
    assert 0 != result.code
    assert words in result.err
    assert before == path.read_bytes()


def test_options_for_files_are_refused_for_models(front: Front) -> None:
    """`--data` says nothing about a model of the workspace, whose spec has the samples."""
    result = front.mltk("quantize", "kws", "--data", "x.npz")
    assert (2, []) == (result.code, front.fakes.calls)
    assert "--data is for files" in result.err


def test_the_build_s_own_file_is_not_changed(front: Front) -> None:
    """Parameters of a model are the spec's; its `.tflite` can be changed as a copy only."""
    result = front.mltk("update_params", "kws", "a=1")
    assert 2 == result.code
    assert "my_model.model_parameters" in result.err


def test_export_of_any_file(front: Front, tmp_path: Path) -> None:
    """`mltk export FILE` writes C++ beside it, or where it is told."""
    result = front.mltk("export", str(write(tmp_path)), "-o", str(tmp_path / "firmware"))
    assert (0, "") == (result.code, result.err)
    assert {"model_model.h", "model_model.cc", "model_ops.h", "model_arduino.zip"} <= {
        path.name for path in (tmp_path / "firmware").iterdir()
    }


@pytest.mark.real
@pytest.mark.parametrize("names", ["names", "y_names", "numbers"])
def test_each_output_is_evaluated_by_the_names_that_people_gave(
    front: Front, made: Path, tmp_path: Path, names: str
) -> None:
    """Arrays of several inputs and outputs are taken by name or number, for the Keras file and the `.tflite` alike."""
    tflite, data = tmp_path / "pair.tflite", str(made / f"{names}.npz")
    assert 0 == front.mltk("quantize", str(made / "pair.keras"), "--data", data, "-o", str(tflite)).code
    result = front.mltk("evaluate", str(made / "pair.keras"), str(tflite), "--data", data, "--json")
    assert (0, "") == (result.code, result.err)
    found = json.loads(result.out)
    assert ["kind", "area"] == [one["output"] for one in found["parity"]["outputs"]]
    for kind in ("keras", "tflite"):
        assert ["kind", "area"] == list(found[kind]["outputs"])
        assert found[kind]["outputs"]["kind"]["overall_accuracy"] > 0.9
        assert found[kind]["outputs"]["area"]["metrics"]["mean_squared_error"] < 0.5
    assert 1.0 == found["keras"]["metrics"]["kind_accuracy"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            "two",
            "found: none; the outputs are kind, area\n  fix:   save an array for each in the .npz, by its name or as",
        ),
        ("short", "found: kind of type int64 and shape (3,) for 30 samples"),
        ("samples", "found: arrays x; the model takes zed, alpha"),
    ],
)
def test_targets_that_are_missing_are_named(front: Front, made: Path, data: str, told: str) -> None:
    """What was found, and what the model has."""
    result = front.mltk("evaluate", str(made / "pair.keras"), "--data", str(made / f"{data}.npz"))
    assert (2 if data != "samples" else 1, True) == (result.code, told in result.err), result.err


@pytest.mark.real
@pytest.mark.parametrize("data", ["half", "first"])
def test_outputs_without_targets_are_told(front: Front, made: Path, data: str) -> None:
    """Those that have some are evaluated; a plain `y` is the first one's."""
    result = front.mltk("evaluate", str(made / "pair.keras"), "--data", str(made / f"{data}.npz"))
    assert (0, "") == (result.code, result.err)
    assert "overall accuracy  1.0000" in result.out
    assert "note: evaluated is kind alone: there are no targets for area" in result.out


@pytest.mark.real
@pytest.mark.parametrize("data", ["auto", "samples"])
def test_an_auto_encoder_has_errors(front: Front, made: Path, data: str) -> None:
    """Rows that are no one-hot rows are not 640 classes; without targets the output is compared with the input."""
    result = front.mltk("evaluate", str(made / "auto.keras"), "--data", str(made / f"{data}.npz"))
    assert (0, "") == (result.code, result.err)
    assert "mean_squared_error" in result.out
    assert "class" not in result.out
    assert (data == "samples") == ("note: there are no targets: the outputs are compared with the inputs" in result.out)


NAMED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "the file's own classes": (("named.tflite",), 0, "overall accuracy  1.0000"),
    "given in their order": (("plain.keras", "--classes", "low,mid,high"), 0, "overall accuracy  1.0000"),
    "both files": (("plain.keras", "named.tflite"), 0, "overall accuracy  1.0000"),
    "in another order": (("plain.keras", "--classes", "mid,low,high"), 0, "overall accuracy  0.3333"),
    "nobody says": (("plain.keras",), 0, "note: nothing tells the order of the classes"),
    "a folder that is no class": (
        ("plain.keras", "--classes", "low,mid,top"),
        2,
        "found: high; the classes are low, mid, top",
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("way", NAMED)
def test_folders_meet_classes_by_name(front: Front, made: Path, tmp_path: Path, way: str) -> None:
    """Samples in folders whose alphabet is another order than that of the model's output."""
    with np.load(made / "data.npz") as file:
        samples = {name: file[name] for name in file.files}
    for label, name in enumerate(("low", "mid", "high")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, x in enumerate(samples["x"][samples["y"] == label][:3]):
            np.save(tmp_path / "data" / name / f"{number}.npy", x)
    for name in ("plain.keras", "named.tflite"):
        if name == "plain.keras":
            (tmp_path / name).write_bytes((made / name).read_bytes())
        else:
            arguments = (str(tmp_path / "plain.keras"), "--data", str(made / "data.npz"), "-o", str(tmp_path / name))
            assert 0 == front.mltk("quantize", *arguments).code
            assert 0 == front.mltk("update_params", str(tmp_path / name), "classes=[low, mid, high]").code
    files, code, told = NAMED[way]
    paths = [str(tmp_path / part) if part.endswith((".keras", ".tflite")) else part for part in files]
    result = front.mltk("evaluate", *paths, "--data", str(tmp_path / "data"))
    assert (code, True) == (result.code, told in result.out + result.err), result.out + result.err


@pytest.mark.real
def test_class_without_a_folder_is_told(front: Front, made: Path, tmp_path: Path) -> None:
    """What is missing is named, and what is there evaluated; folders that are numbers are ids."""
    with np.load(made / "data.npz") as file:
        samples = {name: file[name] for name in file.files}
    present = sorted({int(label) for label in samples["y"]})[:2]
    for kind, names in (("named", ("low", "mid", "high")), ("numbered", ("0", "1", "2"))):
        for label in present if kind == "named" else range(2):
            (tmp_path / kind / names[label]).mkdir(parents=True)
            np.save(tmp_path / kind / names[label] / "a.npy", samples["x"][samples["y"] == label][:1][0])
        arguments = ("--data", str(tmp_path / kind), "--classes", "low,mid,high")
        result = front.mltk("evaluate", str(made / "plain.keras"), *arguments)
        assert (0, True) == (result.code, "the data has no folder for high" in result.out), result.out + result.err


@pytest.mark.real
def test_folder_of_images_is_told_of(front: Front, made: Path, tmp_path: Path) -> None:
    """What a command passed over in a folder of images, and what it did to some, is a note of that command."""
    for place, name in enumerate(("high", "low", "mid")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(np.full((6, 6), 80 * place, np.uint8)).save(tmp_path / "data" / name / "1.jfif", "JPEG")
    Image.new("LA", (6, 6), (0, 0)).save(tmp_path / "data/low/clear.png")
    (tmp_path / "data/low/2.heic").write_bytes(b"")
    given = (str(made / "plain.keras"), "--data", str(tmp_path / "data"))
    for arguments in (("evaluate", *given), ("quantize", *given, "-o", str(tmp_path / "made.tflite"))):
        result = front.mltk(*arguments)
        assert 0 == result.code, result.err
        for note in ("1 file passed over: 1 .heic", "1 sample with transparent parts; they are seen over white: low"):
            assert note in result.out + result.err
