"""One call of the Python API: which model it means, its build, its workers, and what Ctrl+C does meanwhile."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mltkbuild import compat, session, state
from mltkbuild.builder import Builder
from mltkbuild.errors import MltkError, UsageError
from mltkbuild.executor import Executor
from mltkbuild.model import MltkModel
from mltkbuild.properties import properties_of, short
from mltkbuild.protocol import RESUME, Listener, Options, Outcome, Request, Start
from mltkbuild.results import opened_spec
from mltkbuild.stages import STAGES, upstream
from mltkbuild.workspace import TEST, Workspace, find_workspace

Model = str | os.PathLike[str] | MltkModel
"""How a call names a model: `NAME`, `NAME-test`, the path of its spec, or what `load_mltk_model` gave."""

_NO_SPECS = (".tflite", ".h5", ".keras", ".zip")

# -- one call --------------------------------------------------------------------------------------------------------


class Workers:
    """The worker processes of all calls: the first call that needs one starts it, the next one finds it warm."""

    def __init__(self) -> None:
        self._executor: Executor | None = None
        self._lock = threading.Lock()

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage in one of them."""
        with self._lock:
            executor = self._executor = self._executor or Executor()
        return executor.run(request, listener)

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """End them, a training when it has kept where it is; for a signal handler. Only `stop` lets new ones start.

        Args:
            hurry: Says whether not to wait for that any longer.

        Returns:
            What the trainings have kept, a line each.
        """
        return [] if self._executor is None else self._executor.interrupt(hurry)

    def stop(self) -> None:
        """End them at once; the next call starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.stop()

    def forget(self) -> None:
        """Leave them to the process that this one was forked from."""
        self._executor, self._lock = None, threading.Lock()


workers = Workers()
atexit.register(workers.stop)
os.register_at_fork(after_in_child=workers.forget)


class Call(session.Session):
    """One call: a build of its own, so that it sees every edit made before it.

    Args:
        builder: The engine.
        found: The target.
        verbose: True shows each epoch, False nothing.
    """

    def __init__(self, builder: Builder, found: state.TargetState, verbose: bool | None) -> None:
        super().__init__(found.workspace, builder)
        self.state = found
        self.target = found.target
        self.brought: set[str] = set()
        self.verbose = bool(verbose)
        if verbose is False:
            self._display = session.Display()

    def guard(self) -> None:
        """Nothing: the process belongs to the caller; `_interruptible` answers Ctrl+C while the call runs."""


@contextmanager
def begin(name: str, model: Model, test: bool, verbose: bool | None = None) -> Iterator[Call]:
    """Begin a call on a model, and end it however it ends."""
    compat.refuse_in_spec(name)
    call = Call(*target_state(model, test), verbose=verbose)
    with _interruptible() as kept:
        waited_for = False
        try:
            yield call
            call.display.note(call.summary())
            waited_for = True
        except MltkError:
            waited_for = True
            raise
        finally:
            if not waited_for:
                # Ctrl+C, or whatever else: the stage that runs belongs to a call that nobody waits for any more.
                workers.stop()
                for text in kept:
                    call.display.note(f"{text}; the same call goes on from there")
            call.close()


@contextmanager
def _interruptible() -> Iterator[list[str]]:
    """Let Ctrl+C end the workers before it raises KeyboardInterrupt, so that none works on in a dropped folder.

    Gives the list that takes what interrupted trainings have kept.
    """
    kept: list[str] = []
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if in_main else None
    if not callable(before):
        yield kept
        return
    answer = before

    def interrupt(number: int, frame: FrameType | None) -> None:
        again: list[int] = []
        # A second one doesn't wait for checkpoints.
        signal.signal(signal.SIGINT, lambda number, frame: again.append(number))
        kept.extend(workers.interrupt(lambda: bool(again)))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        answer(number, frame)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield kept
    finally:
        signal.signal(signal.SIGINT, answer)


def bring(call: Call, stage: str, options: Options | None = None, start: Start = RESUME) -> None:
    """Bring a stage and all that it needs up to date: the one place where calls reach the engine.

    Args:
        call: The call.
        stage: The stage.
        options: Options that change results; each stage takes its own.
        start: Whether this stage runs even when it is up to date, and from where a training begins.
    """
    # Reading the spec's text once, first, makes every judgement of this call one about this text.
    _ = call.state.sources
    for needed in upstream(stage):
        chosen = {name: value for name, value in (options or {}).items() if name in STAGES[needed].options}
        begin_at = start if needed == stage else RESUME
        if begin_at.forces(needed) or call.reasons(call.target, needed, chosen):
            call.run(call.target, needed, chosen, start=begin_at)
        elif needed not in call.brought:
            call.fresh += 1
        call.brought.add(needed)


# -- which model -----------------------------------------------------------------------------------------------------

_loaded: weakref.WeakValueDictionary[tuple[str, str], MltkModel] = weakref.WeakValueDictionary()
_as_loaded: weakref.WeakKeyDictionary[MltkModel, dict[str, Any]] = weakref.WeakKeyDictionary()


def load(model: Model, test: bool, reload: bool) -> MltkModel:
    """Run a spec in this process and give its model; without `reload` the one that is loaded already."""
    _, found = target_state(model, test)
    key = (found.workspace.root, found.target)
    known = None if reload else _loaded.get(key)
    if known is None:
        with opened_spec(found) as (_, known):
            _loaded[key] = known
            _as_loaded[known] = _values(known)
    return known


def target_state(model: Model, test: bool) -> tuple[Builder, state.TargetState]:
    """The engine for a call and the target that it names."""
    state.forget_folders()
    workspace, name, path = _located(model)
    builder = Builder(workspace, run=workers.run)
    stem = name.removesuffix(TEST)
    if path is not None and stem not in builder.listing.problems:
        spec = builder.listing.specs.get(stem)
        if spec is None or os.path.realpath(workspace.path(spec.path)) != os.path.realpath(path):
            raise UsageError(
                "this file is no spec of its workspace",
                where=path,
                found=f"the workspace {workspace.root}",
                fix=f"keep it below {workspace.models_dir}, with the line `# @mltk_model` above its class",
            )
    is_test = test or name.endswith(TEST) or (isinstance(model, MltkModel) and model.test_mode_enabled)
    return builder, builder.state(stem + TEST * is_test)


def _located(model: Model) -> tuple[Workspace, str, str | None]:
    """The workspace, the name, and the path if the model is given by one."""
    if isinstance(model, MltkModel):
        _check_as_loaded(model)
        path = model.model_specification_path
        return find_workspace(os.path.dirname(path)), model.name, path
    if not isinstance(model, str | os.PathLike):
        fix = "give its name, the path of its spec, or what load_mltk_model gave"
        raise UsageError("this is no model", found=f"{short(model)}, a {type(model).__name__}", fix=fix)
    text = os.fspath(model)
    if text.endswith(_NO_SPECS):
        raise UsageError("a model is given by its name or its spec", found=text, fix="such as 'kws' or 'models/kws.py'")
    if isinstance(model, str) and not text.endswith(".py") and os.sep not in text:
        return find_workspace(), text, None
    if not os.path.isfile(text):
        raise UsageError("there is no such spec", found=text, fix="give the path of a `.py` file, or a model's name")
    path = os.path.abspath(text)
    return find_workspace(os.path.dirname(path)), Path(path).stem, path


def _check_as_loaded(model: MltkModel) -> None:
    """Raise a UsageError for a model that is not, or no longer, what its spec says: workers run the spec."""
    if model not in _as_loaded:
        raise UsageError(
            "this model wasn't loaded by load_mltk_model",
            found=f"a {type(model).__name__}",
            fix="write it as a spec, models/NAME.py, and give its name",
        )
    before, now = _as_loaded[model], _values(model)
    changed = [name for name in sorted({*before, *now}) if not _same(before.get(name), now.get(name))]
    if changed:
        raise UsageError(
            "properties of a loaded model can't be changed for a build, which runs its spec",
            where=model.model_specification_path,
            found=f"{changed[0]} was changed to {short(now.get(changed[0]))}",
            fix="change the spec, or load the model again",
        )


def _values(model: MltkModel) -> dict[str, Any]:
    """A model's properties, set or not, but for those that its data loader fills."""
    items = properties_of(type(model))
    ours = {
        name: _copy(model.peek(name)) for name, item in items.items() if not item.loaded and name != "loaded_subset"
    }
    return {**ours, "model_parameters": dict(model.model_parameters), "archive_files": list(model.archive_files)}


def _copy(value: Any) -> Any:
    """A value whose lists and dicts don't change with those of the model."""
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if type(value) is list else value


def _same(old: Any, new: Any) -> bool:
    """Say whether a value is what it was; an object that is not the same one counts as changed."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(value, new[key]) for key, value in old.items())
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return old is new or (isinstance(old, str | bytes | int | float) and old == new)
