"""The stages as data: what each one reads and makes, and in which order they come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step from spec to archive.

    Args:
        name: Its name, and that of its doit task group.
        doc: One line for `doit list`.
        needs: The stages whose artifacts it reads.
        reads: The artifacts that it reads, with `{name}` for the target's name.
        makes: The artifacts that it always makes, with `{id}` for the target's name as an identifier; some settings
            make it write further ones.
        revision: Counts up when the stage's own code makes other artifacts of the same inputs.
        tools: The packages whose version its result depends on.
        options: The command line options that change its result.
        sources: How the spec's files count: 'code' (parsed), 'text' (every byte) or not at all ('').
    """

    name: str
    doc: str
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    revision: int = 1
    tools: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    sources: str = ""


TOOLCHAIN = ("python", "tensorflow", "keras")
MICRO = "tflite-micro"
"""The package of TensorFlow Lite Micro's interpreter, which proves, runs and measures a `.tflite` where it is."""
SLICES = ("data", "train", "quantize", "params", "evaluate")

SPEC = Stage(
    "spec",
    "run the spec, build its Keras model, write down what each stage reads",
    makes=(*(f"spec/{stage}.yaml" for stage in SLICES), "spec/model.json", "summary.txt"),
    tools=TOOLCHAIN,
    sources="code",
)
DATA = Stage(
    "data",
    "load the data set and check it",
    needs=("spec",),
    reads=("spec/data.yaml",),
    makes=(
        "data/manifest.json",
        "data/training.json",
        "data/validation.json",
        "data/evaluation.json",
        "data/calibration.json",
    ),
)
TRAIN = Stage(
    "train",
    "train the Keras model",
    needs=("spec", "data"),
    reads=("spec/train.yaml", "spec/model.json", "data/training.json", "data/validation.json"),
    makes=("{name}.keras", "train/history.json", "train/history.png", "train/log.txt"),
    revision=2,
    tools=TOOLCHAIN,
    options=("epochs", "weights"),
)
QUANTIZE = Stage(
    "quantize",
    "convert the model to int8 for TensorFlow Lite Micro",
    needs=("spec", "data", "train"),
    reads=("spec/quantize.yaml", "{name}.keras", "data/calibration.json"),
    makes=("{name}.converted.tflite", "tflm.json"),
    revision=3,
    # What only some settings use, such as ai-edge-quantizer, is noticed as a library.
    tools=(*TOOLCHAIN, MICRO),
)
PARAMS = Stage(
    "params",
    "embed the model parameters in the .tflite",
    needs=("spec", "quantize"),
    reads=("spec/params.yaml", "{name}.converted.tflite", "tflm.json"),
    makes=("{name}.tflite",),
    revision=2,
)
EVALUATE = Stage(
    "evaluate",
    "evaluate the Keras model and the quantized one",
    needs=("spec", "data", "train", "quantize"),
    reads=("spec/evaluate.yaml", "{name}.keras", "{name}.converted.tflite", "tflm.json", "data/evaluation.json"),
    makes=("eval/keras/results.json", "eval/keras/summary.txt", "eval/tflite/results.json", "eval/tflite/summary.txt"),
    revision=2,
    # Keras predicts, and TensorFlow Lite Micro does. NumPy and scikit-learn only count what these answer, by
    # definitions that don't move, and matplotlib draws it: a release of theirs is no reason to evaluate again.
    tools=(*TOOLCHAIN, MICRO),
)
PROFILE = Stage(
    "profile",
    "count what the .tflite costs: MACs, flash, working memory",
    needs=("params",),
    reads=("{name}.tflite",),
    makes=("profile.json", "profile.txt", "profile.csv"),
    tools=(MICRO,),
)
ARCHIVE = Stage(
    "archive",
    "pack everything that belongs to a model into NAME.mltk.zip",
    needs=("spec", "data", "train", "quantize", "params", "evaluate", "profile"),
    makes=("{name}.mltk.zip",),
    sources="text",
)
EXPORT = Stage(
    "export",
    "write C++ sources and an Arduino library for firmware",
    needs=("spec", "data", "quantize", "params"),
    reads=("{name}.tflite", "tflm.json", "data/evaluation.json"),
    makes=("export/{id}_model.h", "export/{id}_model.cc", "export/{id}_ops.h", "export/{id}_arduino.zip"),
    tools=(MICRO,),
)

VIEW_DATA = Stage(
    "view_data",
    "show the data set in one HTML page",
    needs=("spec", "data"),
    reads=("spec/train.yaml", "data/training.json", "data/validation.json", "data/evaluation.json"),
    makes=("data_view.html",),
)

STAGES: dict[str, Stage] = {
    stage.name: stage for stage in (SPEC, DATA, TRAIN, QUANTIZE, PARAMS, EVALUATE, PROFILE, ARCHIVE, EXPORT, VIEW_DATA)
}


def makes(stage: Stage, target: str) -> tuple[str, ...]:
    """The artifacts that a stage always makes for a target."""
    # C++ files are named like the identifiers in them, which have no hyphen.
    return tuple(name.replace("{name}", target).replace("{id}", target.replace("-", "_")) for name in stage.makes)


def reads(stage: Stage, target: str) -> tuple[str, ...]:
    """The artifacts that a stage reads for a target."""
    return tuple(name.replace("{name}", target) for name in stage.reads)


def upstream(name: str) -> tuple[str, ...]:
    """A stage and all that it needs, in the order of building."""
    wanted = {name}
    for stage in reversed(STAGES.values()):
        if stage.name in wanted:
            wanted.update(stage.needs)
    return tuple(stage for stage in STAGES if stage in wanted)


def owner(artifact: str, target: str) -> str | None:
    """The stage that always makes an artifact; None when no stage does."""
    return next((stage.name for stage in STAGES.values() if artifact in makes(stage, target)), None)


BUILT = upstream(ARCHIVE.name)
"""The stages that a build brings up to date; others are made when they are asked for."""
