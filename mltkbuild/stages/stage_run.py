"""One stage at work in a worker: what is asked of it, and its parts: code, files, data, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mltkbuild.events import Listener
from mltkbuild.spec.any_model import AnyModel, any_model, peek_at
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.running_code import RunningCode
from mltkbuild.stages.stage_data import StageData
from mltkbuild.stages.stage_files import StageFiles
from mltkbuild.stages.stage_models import StageModels
from mltkbuild.user_code.loader import Snapshot, loaded_spec


@dataclass
class StageRun:
    """One stage at work.

    Args:
        request: What to run.
        model: The spec's model; where user code runs, what is read of it is noticed.
        snapshot: The workspace code.
        progress: Takes events.
        imported: Digests of the files that the spec read while it was imported, and of the answers that it was given.
        stopping: Says whether the stage is asked to stop.
        outcome: Takes what the stage gives.
        peek: The model's properties, read without being noticed.
        code: Runs the spec's code.
        files: The artifacts of earlier stages and the stage's own.
        data: Loads the samples.
        models: Builds and loads the Keras model.
    """

    request: Request
    model: AnyModel
    snapshot: Snapshot
    progress: Listener
    imported: Sequence[str] = ()
    stopping: Callable[[], bool] = bool
    outcome: Outcome = field(default_factory=Outcome)
    peek: AnyModel = field(init=False)
    code: RunningCode = field(init=False)
    files: StageFiles = field(init=False)
    data: StageData = field(init=False)
    models: StageModels = field(init=False)

    def __post_init__(self) -> None:
        request, model, outcome = self.request, self.model, self.outcome
        self.peek = peek_at(model)
        self.code = RunningCode(request, model, self.snapshot, self.imported, outcome)
        self.files = StageFiles(request)
        self.data = StageData(request, model, self.code, self.files, outcome)
        self.models = StageModels(request, model, self.code, self.files)

    @contextmanager
    def afresh(self) -> Iterator[StageRun]:
        """The same stage with the spec run anew, so that a loader is in the state in which later stages call it."""
        request = self.request
        with loaded_spec(self.snapshot, request.name, request.folder, request.test) as model:
            if self.model.is_set("classes") and not model.is_set("classes"):
                model.classes = self.peek.classes
            again = any_model(model)
            yield StageRun(request, again, self.snapshot, self.progress, self.imported, self.stopping, self.outcome)
