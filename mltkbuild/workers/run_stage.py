"""Runs one stage in a worker process: loads the spec from its snapshot and turns what happens into an outcome."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from mltkbuild.errors import MltkError, StageError
from mltkbuild.events import Listener
from mltkbuild.fingerprint.effect_rows import lasting
from mltkbuild.fingerprint.origins import Origins
from mltkbuild.fingerprint.toolchain import version
from mltkbuild.spec.any_model import any_model
from mltkbuild.stages.functions import RUNS
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.running_code import told
from mltkbuild.stages.spec_log import telling
from mltkbuild.stages.stage_data import DATA_SEED
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.stages.table import SPEC, STAGES
from mltkbuild.training import devices
from mltkbuild.user_code import process_state, variables
from mltkbuild.user_code.loader import Snapshot, loaded_spec, relative
from mltkbuild.user_code.system_errors import system_error
from mltkbuild.user_code.watch import watch

# Keras has the garbage collector look through everything whenever a stage begins. What TensorFlow and Keras are made of
# lives as long as the process, and is most of it; so does the picture of it that shows what a spec has changed.
process_state.learn()
gc.freeze()


def run_stage(request: Request, progress: Listener, stopping: Callable[[], bool] = bool) -> Outcome:
    """Run one stage in this process.

    Args:
        request: What to run.
        progress: Takes events while it runs.
        stopping: Says whether the stage is asked to stop; only a training looks.

    Returns:
        The outcome; a failure is its `error`, never an exception of the stage's.
    """
    started = time.perf_counter()
    variables.adopt(request.environment)
    devices.configure()
    if request.alone:
        # A strategy across processes must be there before anything else of TensorFlow's.
        with contextlib.suppress(MltkError):
            devices.strategy(request.distribute)
    if request.deterministic:
        tf.config.experimental.enable_op_determinism()
    snapshot = Snapshot(request.root, request.spec_path, request.import_folders, request.sources)
    outcome = Outcome()
    before = process_state.remember()
    try:
        with _keras_as_before():
            outcome = _run(request, snapshot, progress, stopping)
    except Exception as error:  # noqa: BLE001  # whatever a stage's libraries raise is that stage's failure
        outcome.error = _answer(request, snapshot, error)
    outcome.spent = _spent(snapshot, before)
    outcome.tools = {name: version(name) for name in ("python", "tensorflow", "keras", "numpy", "mltkbuild")}
    outcome.seconds += time.perf_counter() - started
    return outcome


def _spent(snapshot: Snapshot, before: process_state.Before) -> str:
    """What the spec has changed in this process, or may have; what can be undone is undone."""
    seen = process_state.give_back(before, Origins(snapshot).is_ours, snapshot.root)
    spent = seen or lasting(snapshot.all_files)
    if spent:
        sys.stdout.write(f"nothing else runs in this process: the spec has changed it ({spent})\n")
    return spent


def _run(request: Request, snapshot: Snapshot, progress: Listener, stopping: Callable[[], bool]) -> Outcome:
    with watch(request.ignored, request.root) as seen, variables.watch(request.root) as asked:
        # A spec may draw random numbers while it is imported, too.
        keras.utils.set_random_seed(DATA_SEED)
        with loaded_spec(snapshot, request.name, request.folder, request.test) as model:
            imported, notes = dict(seen.files), told(request, seen)
            questions, named = dict(seen.answers), asked.answers(request.environment)
            given = (*imported.values(), *questions.values(), *named.values())
            run = StageRun(request, any_model(model), snapshot, progress, given, stopping)
            with telling(f"{request.stage}:{request.target}", progress):
                RUNS[request.stage](run)
            run.outcome.artifacts = _files_below(request.scratch)
    if STAGES[request.stage] is SPEC:
        run.outcome.files |= {path: digest for path, digest in seen.files.items() if path in imported}
        run.outcome.answers |= {question: told for question, told in seen.answers.items() if question in questions}
        run.outcome.answers |= named
        if asked.everything:
            notes = [*notes, f"the spec {variables.ALL_TOLD}"]
        run.outcome.notes = tuple(dict.fromkeys((*notes, *run.outcome.notes)))
    return run.outcome


@contextmanager
def _keras_as_before() -> Iterator[None]:
    """Begin with a new Keras session, and undo afterwards what a spec may have set for the whole process."""
    keras.backend.clear_session()
    config, objects = keras.config, keras.saving.get_custom_objects()
    floatx, epsilon, layout = config.floatx(), config.epsilon(), config.image_data_format()
    eagerly, policy, known = tf.config.functions_run_eagerly(), config.dtype_policy(), dict(objects)
    try:
        yield
    finally:
        config.set_floatx(floatx)
        config.set_epsilon(epsilon)
        config.set_image_data_format(layout)
        config.set_dtype_policy(policy)
        tf.config.run_functions_eagerly(eagerly)
        # What a library registered when it was first imported it won't register again: its module stays loaded.
        lasting = {name: item for name, item in objects.items() if getattr(item, "__module__", None) in sys.modules}
        objects.clear()
        objects.update(lasting | known)


def _answer(request: Request, snapshot: Snapshot, error: Exception) -> MltkError:
    """The one error that a stage's failure becomes."""
    stage = f"{request.stage}:{request.target}"
    if isinstance(error, MltkError):
        answer = error
    elif (refused := system_error(error, "the stage", stage)) is not None:
        answer = refused
    elif isinstance(error, OSError):
        answer = StageError(
            "the stage can't read or write a file",
            where=stage,
            found=f"{error.strerror or error}: {error.filename or ''}".rstrip(": "),
            fix="check the disk and run the same command again; the old artifacts are untouched",
        )
    else:
        traceback.print_exception(error)
        answer = StageError(
            f"the stage failed with {type(error).__name__}",
            where=stage,
            found=str(error).strip()[:500] or None,
            fix=f"see {os.path.relpath(request.log, request.root)}",
        )
    answer.where = relative(snapshot, answer.where) if answer.where else stage
    answer.found = relative(snapshot, answer.found) if answer.found else None
    return answer


def _files_below(folder: str) -> tuple[str, ...]:
    """The files in a folder and below it, with forward slashes, in alphabetical order."""
    found = []
    for parent, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/") for name in names]
    return tuple(sorted(found))
