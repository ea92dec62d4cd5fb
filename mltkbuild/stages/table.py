"""The stages as data: what each one reads and makes, and in which order they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

from mltkbuild.disk.folder import ARCHIVE_SUFFIX


@dataclass(frozen=True)
class Figure:
    """One figure of a stage: the same one on the terminal, in `mltk status`, of an archive and in JSON.

    Args:
        name: What JSON calls it, and with spaces people.
        fact: The keys that lead to it in the record's facts; empty where it is told of archives alone.
        member: The artifact that holds it and the keys that lead to it there; of a list its length.
        unit: 'count', 'bytes', 'rate' (four decimals), 'metric' (of a training's metrics, the one that tells most), or
            'metrics' (of an evaluation's, the one that tells most of each output).
        shown: How the line of a stage on the terminal says it; empty where it doesn't.
        column: Its column in `mltk status`, which it may share with another one; empty for none.
    """

    name: str
    fact: tuple[str, ...] = ()
    member: tuple[str, ...] = ()
    unit: str = "count"
    shown: str = ""
    column: str = ""

    @property
    def words(self) -> str:
        """Its name for people."""
        return self.name.replace("_", " ")


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
        slice: Which part of the spec it reads, `spec/SLICE.yaml`; empty for none.
        ahead_of: Stages whose properties it reads too, as it tries beforehand what they will do.
        before: The stage that alone it is run for: it is due only where that one has reasons to run, or where somebody
            asks for it. What it makes nothing else reads.
        revision: Counts up when the stage's own code makes other artifacts of the same inputs.
        tools: The packages whose version its result depends on.
        options: The command line options that change its result.
        sources: How the spec's files count: 'code' (parsed), 'text' (every byte) or not at all ('').
        user_code: Whether methods and attributes of the spec's own classes, which its functions may use, count.
        resumable: Whether it can be stopped, and goes on from its own checkpoint.
        figures: What its record tells people.
        command: The `mltk` command that asks for it; empty for none. Unless `cli` has more to say, it only brings the
            stage up to date.
    """

    name: str
    doc: str
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    slice: str = ""
    ahead_of: tuple[str, ...] = ()
    before: str = ""
    revision: int = 1
    tools: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    sources: str = ""
    user_code: bool = False
    resumable: bool = False
    figures: tuple[Figure, ...] = ()
    command: str = ""

    # Thousands of tasks ask.

    @cached_property
    def all_reads(self) -> tuple[str, ...]:
        """The artifacts that it reads, its slice of the spec first."""
        return (slice_name(self.slice), *self.reads) if self.slice else self.reads

    @cached_property
    def parts(self) -> frozenset[str]:
        """The stages whose properties it reads, itself first of all."""
        return frozenset((self.name, *self.ahead_of))

    @cached_property
    def names_target(self) -> bool:
        """Whether an artifact that it makes has the target in its name."""
        return any("{" in name for name in self.makes)


TOOLCHAIN = ("python", "tensorflow", "keras")
_BYTES = Figure("tflite_bytes", ("bytes",), unit="bytes", shown="{}")
MICRO = "tflite-micro"
"""The package of TensorFlow Lite Micro's interpreter, which proves, runs and measures a `.tflite` where it is."""

DATA = Stage(
    "data",
    "load the data set and check it",
    needs=("spec",),
    makes=(
        "data/manifest.json",
        "data/training.json",
        "data/validation.json",
        "data/evaluation.json",
        "data/calibration.json",
    ),
    slice="data",
    revision=2,
    user_code=True,
    figures=(
        Figure("training_samples", ("samples", "training"), ("data/manifest.json", "training", "samples")),
        Figure("evaluation_samples", ("samples", "evaluation"), ("data/manifest.json", "evaluation", "samples")),
    ),
)
PREFLIGHT = Stage(
    "preflight",
    "check what can be told before the first epoch",
    needs=("spec", "data"),
    reads=("spec/model.json", "data/training.json", "data/validation.json", "data/calibration.json"),
    makes=("preflight.json",),
    slice="preflight",
    ahead_of=("train", "quantize"),
    before="train",
    tools=(*TOOLCHAIN, MICRO),
    user_code=True,
    command="check",
)
TRAIN = Stage(
    "train",
    "train the Keras model",
    needs=("spec", "data", "preflight"),
    reads=("spec/model.json", "data/training.json", "data/validation.json"),
    makes=("{name}.keras", "train/history.json", "train/history.png", "train/log.txt"),
    slice="train",
    revision=2,
    tools=TOOLCHAIN,
    options=("epochs", "weights"),
    user_code=True,
    resumable=True,
    figures=(
        Figure("epochs", ("epochs",), ("train/training-history.json", "epochs"), shown="{} epochs"),
        Figure("best_epoch", ("best_epoch",), ("train/training-history.json", "best_epoch")),
        Figure("metrics", ("metrics",), unit="metric", shown="{}"),
    ),
    command="train",
)
QUANTIZE = Stage(
    "quantize",
    "convert the model to int8 for TensorFlow Lite Micro",
    needs=("spec", "data", "train"),
    reads=("{name}.keras", "data/calibration.json"),
    makes=("{name}.converted.tflite", "tflm.json"),
    slice="quantize",
    revision=5,
    # What only some settings use, such as ai-edge-quantizer, is noticed as a library.
    tools=(*TOOLCHAIN, MICRO),
    user_code=True,
    figures=(_BYTES,),
    command="quantize",
)
PARAMS = Stage(
    "params",
    "embed the model parameters in the .tflite",
    needs=("spec", "quantize"),
    reads=("{name}.converted.tflite", "tflm.json"),
    makes=("{name}.tflite",),
    slice="params",
    revision=2,
    figures=(replace(_BYTES, column="size"),),
)
EVALUATE = Stage(
    "evaluate",
    "evaluate the Keras model and the quantized one",
    needs=("spec", "data", "train", "quantize"),
    reads=("{name}.keras", "{name}.converted.tflite", "tflm.json", "data/evaluation.json"),
    makes=("eval/keras/results.json", "eval/keras/summary.txt", "eval/tflite/results.json", "eval/tflite/summary.txt"),
    slice="evaluate",
    revision=3,
    # Keras predicts, and TensorFlow Lite Micro does. NumPy and scikit-learn only count what these answer, by
    # definitions that don't move, and matplotlib draws it: a release of theirs is no reason to evaluate again.
    tools=(*TOOLCHAIN, MICRO),
    user_code=True,
    figures=(
        Figure(
            "float_accuracy",
            ("keras_accuracy",),
            ("eval/keras/eval-results.json", "overall_accuracy"),
            unit="rate",
            shown="float {}",
            column="float",
        ),
        Figure(
            "int8_accuracy",
            ("tflite_accuracy",),
            ("eval/tflite/eval-results.json", "overall_accuracy"),
            unit="rate",
            shown="int8 {}",
            column="int8",
        ),
        Figure(
            "float_metrics",
            ("keras_metrics",),
            ("eval/keras/eval-results.json", "metrics"),
            unit="metrics",
            shown="float {}",
            column="float",
        ),
        Figure(
            "int8_metrics",
            ("tflite_metrics",),
            ("eval/tflite/eval-results.json", "metrics"),
            unit="metrics",
            shown="int8 {}",
            column="int8",
        ),
        Figure("agreement", ("parity",), ("eval/parity.json", "agreement"), unit="rate"),
    ),
    command="evaluate",
)
PROFILE = Stage(
    "profile",
    "count what the .tflite costs: MACs, flash, working memory",
    needs=("params",),
    reads=("{name}.tflite",),
    makes=("profile.json", "profile.txt", "profile.csv"),
    revision=2,
    tools=(MICRO,),
    figures=(
        Figure("macs", ("macs",), ("profile.json", "macs"), shown="{} MACs"),
        Figure("parameters", (), ("profile.json", "parameters")),
        Figure("flash_bytes", ("flash",), ("profile.json", "flash"), unit="bytes"),
        Figure("arena_bytes", ("arena",), ("profile.json", "arena", "total"), unit="bytes", shown="{} of RAM"),
    ),
    command="profile",
)
ARCHIVE = Stage(
    "archive",
    "pack everything that belongs to a model into NAME.mltk.zip",
    needs=("spec", "data", "train", "quantize", "params", "evaluate", "profile"),
    makes=("{name}" + ARCHIVE_SUFFIX,),
    sources="text",
)
EXPORT = Stage(
    "export",
    "write C++ sources and an Arduino library for firmware",
    needs=("spec", "data", "quantize", "params"),
    reads=("{name}.tflite", "tflm.json", "data/evaluation.json"),
    makes=("export/{id}_model.h", "export/{id}_model.cc", "export/{id}_ops.h", "export/{id}_arduino.zip"),
    revision=2,
    tools=(MICRO,),
    figures=(Figure("bytes", ("bytes",), unit="bytes", shown="{}"),),
    command="export",
)

VIEW_DATA = Stage(
    "view_data",
    "show the data set in one HTML page",
    needs=("spec", "data"),
    reads=("data/manifest.json", "data/training.json", "data/validation.json", "data/evaluation.json"),
    makes=("data_view.html",),
    slice="train",
    revision=2,
    command="view_data",
)

_AFTER_SPEC = (DATA, PREFLIGHT, TRAIN, QUANTIZE, PARAMS, EVALUATE, PROFILE, ARCHIVE, EXPORT, VIEW_DATA)
SLICES = tuple(dict.fromkeys(stage.slice for stage in _AFTER_SPEC if stage.slice))
"""The parts of a spec that stages read."""


def slice_name(part: str) -> str:
    """The artifact that holds a part of the spec."""
    return f"spec/{part}.yaml"


SPEC = Stage(
    "spec",
    "run the spec, build its Keras model, write down what each stage reads",
    makes=(*map(slice_name, SLICES), "spec/model.json", "summary.txt"),
    revision=3,
    tools=TOOLCHAIN,
    sources="code",
)
STAGES: dict[str, Stage] = {stage.name: stage for stage in (SPEC, *_AFTER_SPEC)}


def makes(stage: Stage, target: str) -> tuple[str, ...]:
    """The artifacts that a stage always makes for a target."""
    if not stage.names_target:
        return stage.makes
    # C++ files are named like the identifiers in them, which have no hyphen.
    identifier = target.replace("-", "_")
    return tuple([name.replace("{name}", target).replace("{id}", identifier) for name in stage.makes])


def reads(stage: Stage, target: str) -> tuple[str, ...]:
    """The artifacts that a stage reads for a target."""
    return tuple([name.replace("{name}", target) for name in stage.all_reads])


@cache
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
