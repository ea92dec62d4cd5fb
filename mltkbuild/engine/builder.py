"""The engine: brings one stage of one target up to date, whoever asks for it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mltkbuild.disk import checkpoints, failures, file_lists, store
from mltkbuild.disk.digests import RACY_NS, DigestMemo, artifact_digest, stamp_of
from mltkbuild.disk.door import Door
from mltkbuild.disk.durable import disk_error
from mltkbuild.disk.inputs import CODE, FILE, FILES, IMPORTS, LIBRARY, PROPERTY, VARIABLE, Input, of_kind
from mltkbuild.disk.open_folder import read_file
from mltkbuild.disk.records import Record, Stamp, facts_of
from mltkbuild.disk.workspace import TEST, Listing, Workspace, import_folders, list_specs
from mltkbuild.engine.freshness import Reason, Verdict
from mltkbuild.engine.provenance import course_of, parse, provenance
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import MltkError, StageError, Stopped
from mltkbuild.events import Event, Listener, Note
from mltkbuild.stages.protocol import RESUME, Options, Outcome, Request, Start
from mltkbuild.stages.table import ARCHIVE, SPEC, STAGES, makes, reads, upstream
from mltkbuild.workers.executor import Executor, Processes

if TYPE_CHECKING:
    from mltkbuild.disk.facts import Facts

# With what `explain` asks for beside a builder.
MEMO = ".memo.json"


@dataclass(frozen=True)
class Built:
    """What running a stage came to.

    Args:
        target: The target.
        stage: The stage.
        reasons: Why it ran; empty when another build had done it meanwhile.
        record: Its record.
        changed: Artifacts that somebody had edited, kept as `NAME.changed`.
        notes: Lines for people.
    """

    target: str
    stage: str
    reasons: tuple[Reason, ...]
    record: Record | None
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def quiet(event: Event) -> None:
    """A listener that doesn't listen."""


class Builder:
    """Judges and runs stages in one workspace.

    Args:
        workspace: The workspace.
        executor: Where stages run; worker processes of its own when None.
    """

    def __init__(self, workspace: Workspace, executor: Executor | None = None) -> None:
        self.workspace = workspace
        self.listing: Listing = list_specs(workspace)
        self.memo = DigestMemo(os.path.join(workspace.path(workspace.build_dir), MEMO), workspace.root)
        self._states: dict[str, TargetState] = {}
        # What this build has brought up to date or found so, with the options, judged by the text that it pinned.
        self._done: dict[tuple[str, str], Options] = {}
        # What a front goes by, with the options that it has chosen.
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self._executor = executor or Processes()
        self._stopped = False

    def state(self, target: str) -> TargetState:
        """The state of a target in this build.

        Raises:
            UsageError: There is no such model.
            SpecError: Its name is taken twice or can't be a name.
        """
        found = self._states.get(target)
        if found is None:
            new = TargetState(self.workspace, self.listing[target], target, self.memo)
            found = self._states.setdefault(target, new)
        return found

    def turn(self, target: str) -> AbstractContextManager[object]:
        """The lock of a target in this process; a thread that holds it may build."""
        return self.state(target).turn

    def judge(self, target: str, stage: str, options: Options | None = None, *, asked: bool = True) -> Verdict:
        """Judge a stage, as `TargetState.judge` does; nothing is changed by that."""
        return self.state(target).judge(stage, options, asked=asked)

    def go_by(self, verdict: Verdict) -> None:
        """Let this build go by a verdict, and by its options, when this stage or one that needs it is built."""
        key = verdict.target, verdict.stage
        self._verdicts[key] = verdict
        if verdict.pinned and not verdict.reasons:
            self._done[key] = verdict.options

    def build(
        self,
        target: str,
        stage: str,
        options: Options | None = None,
        listener: Listener = quiet,
        *,
        start: Start = RESUME,
    ) -> Built:
        """Bring a stage up to date, with all that it needs.

        Args:
            target: `NAME` or `NAME-test`.
            stage: The stage.
            options: Options that change its result, such as epochs.
            listener: Takes the progress.
            start: Whether it runs even when it is up to date, and from where a training begins.

        Returns:
            What came of this stage; `reasons` is empty when nothing had to be done.
        """
        state = self.state(target)
        waiting = Note(f"waiting for another build of {target}")
        with state.turn, store.locked(state.folder, lambda: listener(waiting)):
            recovered = store.recover(state.folder)
            if recovered:
                listener(Note(f"{target}: finished publishing {', '.join(recovered)} of an interrupted build"))
            state.reload()
            # From here on every judgement is about the text that the stages will run, not about later edits.
            self._share_sources(state)
            _ = state.sources
            for needed in upstream(stage)[:-1]:
                # What this build has brought up to date stays so for it: a later edit is the next build's. But no stage
                # may read an artifact that isn't what its record says.
                done = self._done.get((target, needed))
                given = self._verdicts.get((target, needed))
                chosen = done if done is not None else given.options if given is not None else {}
                why = state.reasons(needed, chosen) if done is None else state.damage(needed)
                if why and self._is_due(state, needed, stage, options, start):
                    self._run_stage(state, needed, chosen, listener)
                self._done[target, needed] = chosen
            reasons = self._reasons(state, stage, options or {})
            if start.forces(stage) and not reasons:
                reasons = (Reason("forced"),)
            built = Built(target, stage, (), state.record(stage))
            if reasons:
                if STAGES[stage].resumable and start.clean:
                    checkpoints.drop(state.folder.door, state.folder.checkpoints)
                built = replace(self._run_stage(state, stage, options or {}, listener, start), reasons=reasons)
            self._done[target, stage] = options or {}
            return built

    def _is_due(  # a stage, and what is asked of the one that needs it
        self, state: TargetState, needed: str, stage: str, options: Options | None, start: Start
    ) -> bool:
        """Whether a stage that this one needs is worth running."""
        ahead = STAGES[needed].before
        if ahead == stage:
            return start.forces(stage) or state.is_due(needed, options)
        given = self._verdicts.get((state.target, ahead))
        return state.is_due(needed, None if given is None else given.options)

    def _reasons(self, state: TargetState, stage: str, options: Options) -> tuple[Reason, ...]:
        """Why a stage must run: the verdict that the front goes by, if there is one that stands."""
        given = self._verdicts.get((state.target, stage))
        if given is not None and given.reasons and given.options == options and state.stands(given):
            return given.reasons
        return state.reasons(stage, options)

    def inspect(self, target: str) -> tuple[Record, dict[str, str]]:
        """Run the spec stage without publishing anything.

        Returns:
            The record that it would have, and the text of its artifacts.
        """
        state = self.state(target)
        # Outside the build folder, so that it works beside a running build and in a workspace that can't be written.
        with tempfile.TemporaryDirectory(prefix="mltkbuild-") as folder:
            scratch = os.path.join(folder, SPEC.name)
            Door(folder).make(scratch)
            started = time.time_ns()
            inputs = state.inputs(SPEC.name, None)
            request = replace(self._request(state, SPEC.name, {}, scratch), log=os.path.join(folder, "log"))
            try:
                outcome = self._execute(request, quiet)
            except StageError as error:
                error.fix = f"run `doit spec:{target}`, which keeps its log"
                raise
            record = self._record(state, request, inputs, outcome, started)
            texts = {name: Path(scratch, name).read_text(encoding="utf-8") for name in outcome.artifacts}
        return record, texts

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """End all workers; a training keeps where it is first.

        Args:
            hurry: Says whether not to wait for that any longer.

        Returns:
            What the trainings have kept, a line each.
        """
        self._stopped = True
        return self._executor.interrupt(hurry)

    def stop(self) -> None:
        """End all workers at once; safe in a signal handler."""
        self._stopped = True
        self._executor.kill()

    def close(self) -> None:
        """End the workers and keep the digests that were learned."""
        self._executor.stop()
        self.memo.save()

    # -- running -----------------------------------------------------------------------------------------------------

    def _run_stage(
        self,
        state: TargetState,
        stage: str,
        options: Options,
        listener: Listener,
        start: Start = RESUME,
    ) -> Built:
        """Run a stage, and keep why it failed until it succeeds. The target's lock is held."""
        try:
            built = self._run_and_publish(state, stage, options, listener, start)
        except MltkError as error:
            # Of a stage that was stopped whoever stopped it knows.
            if not (self._stopped or isinstance(error, Stopped)):
                failures.remember(state.folder, stage, error)
            raise
        failures.forget(state.folder, stage)
        return built

    def _run_and_publish(
        self, state: TargetState, stage: str, options: Options, listener: Listener, start: Start
    ) -> Built:
        """Run a stage in scratch and publish it; its inputs are digested first."""
        old = state.record(stage)
        inputs = state.inputs(stage, None, options)
        missing = [name for name, digest in inputs.items() if digest is None]
        if missing:
            raise StageError(
                "an artifact of an earlier stage is missing",
                where=f"{stage}:{state.target}",
                found=missing[0],
                fix=f"run `doit {stage}:{state.target}`, which makes it first",
            )
        started = time.time_ns()
        scratch = store.begin(state.folder, stage, makes(STAGES[stage], state.target))
        try:
            request = self._request(state, stage, options, scratch)
            if STAGES[stage].resumable:
                course = course_of(inputs, state.slice_text(stage))
                request = replace(request, course=course, start=start)
            outcome = self._execute(request, listener)
            self._check_unchanged(state, stage, inputs)
            record = self._record(state, request, inputs, outcome, started)
            values = json.dumps(self._values(state, stage), sort_keys=True).encode()
            record, changed = store.publish(state.folder, record, scratch, values, request.file_lists)
            if STAGES[stage].resumable:
                checkpoints.Shelf(state.folder.door, state.folder.checkpoints, request.course).finish()
        except OSError as error:
            raise disk_error(error, f"{stage}:{state.target}") from error
        finally:
            store.discard(state.folder, stage)
            state.reload()
        if old is not None and record.artifacts == old.artifacts and not changed:
            listener(Note(f"{stage}:{state.target} gave the same result as before"))
        return Built(state.target, stage, (), record, changed, outcome.notes)

    def _share_sources(self, state: TargetState) -> None:
        """Let a model and its dry run see the same text of the spec within one build."""
        name = state.spec.name
        twin = self._states.get(name if state.target != name else name + TEST)
        if state.sources_if_read is None and twin is not None and twin.sources_if_read is not None:
            state.use_sources(twin.sources_if_read)

    def _execute(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage's body and check that it made what it promised."""
        where = f"{request.stage}:{request.target}"
        outcome = self._executor.run(request, listener)
        if outcome.error is not None:
            raise outcome.error.at(where)
        lacking = [name for name in makes(STAGES[request.stage], request.target) if name not in outcome.artifacts]
        if lacking:
            raise StageError("the stage did not make what it promises", where=where, found=f"no {lacking[0]}")
        return outcome

    def _check_unchanged(self, state: TargetState, stage: str, inputs: Mapping[str, str | None]) -> None:
        """Raise a StageError when an artifact that the stage has read is no longer what its fingerprint says."""
        for needed in upstream(stage)[:-1]:
            changed = [reason.subject for reason in state.damage(needed) if reason.subject in inputs]
            if changed:
                raise StageError(
                    "an artifact was changed while this stage read it",
                    where=f"{stage}:{state.target}",
                    found=changed[0],
                    fix="run the same command again, which makes it anew first",
                )

    def _request(self, state: TargetState, stage: str, options: Options, scratch: str) -> Request:
        needs = [needed for needed in upstream(stage)[:-1] if not STAGES[needed].before]
        earlier = [record for needed in needs if (record := state.record(needed)) is not None]
        spec_record = state.record(SPEC.name)
        known = {
            self.workspace.path(path): digest for record in earlier for path, digest in of_kind(record.inputs, FILE)
        }
        return Request(
            target=state.target,
            stage=stage,
            root=self.workspace.root,
            spec_path=state.spec.path,
            import_folders=import_folders(self.workspace, state.spec.path),
            sources=state.sources.texts,
            folder=state.folder.path,
            scratch=scratch,
            log=state.folder.log_path(stage),
            ignored=(self.workspace.path(self.workspace.build_dir), scratch),
            toolchain=self.workspace.toolchain,
            artifacts={name: state.folder.artifact(name) for record in earlier for name in record.artifacts},
            options={name: options[name] for name in STAGES[stage].options if name in options},
            known_files=known,
            file_lists={
                path: record.inputs[FILES] for record in earlier for path in file_lists.list_paths(state.folder, record)
            },
            provenance=provenance(state, earlier) if STAGES[stage] is ARCHIVE else {},
            checkpoints=state.folder.checkpoints,
            deterministic=spec_record is None or bool(facts_of(spec_record).get("deterministic", True)),
            distribute=str(facts_of(spec_record).get("distribute") or "") if spec_record is not None else "",
            environment=dict(os.environ),
        )

    def _record(
        self,
        state: TargetState,
        request: Request,
        inputs: Mapping[str, str | None],
        outcome: Outcome,
        started: int,
    ) -> Record:
        """The record of a stage that has just run: the inputs as digested before, and what was noticed while it ran."""
        noticed: dict[str, str] = {}
        stamps: dict[str, Stamp] = {}
        for path, digest in outcome.files.items():
            name = self.workspace.relative(path) or path
            if Input(CODE, name).name in inputs and not outcome.by_text:
                # A library has looked for the source of a function, to compile it or to name a line.
                continue
            noticed[Input(FILE, name).name] = digest
            stamp = stamp_of(path)
            if stamp is not None and max(stamp[1], stamp[2]) < started - RACY_NS:
                stamps[name] = stamp
        noticed |= {self._question(question).name: told for question, told in outcome.answers.items()}
        noticed |= {Input(PROPERTY, name).name: state.property_digest(name) or "" for name in outcome.reads}
        noticed |= {Input(LIBRARY, name).name: found for name, found in outcome.libraries.items()}
        facts: Facts = {**outcome.facts}
        if IMPORTS in inputs:
            facts["outside"] = sorted(state.sources.outside)
            if packages := state.packages(state.sources.texts):
                facts["packages"] = packages
        if STAGES[request.stage].sources:
            stamps |= state.sources.stamps
        return Record(
            stage=request.stage,
            target=request.target,
            inputs={**{name: digest for name, digest in inputs.items() if digest is not None}, **noticed},
            artifacts={
                name: artifact_digest(os.path.join(request.scratch, name), name) or "" for name in outcome.artifacts
            },
            stamps=stamps,
            facts=facts,
            tools=outcome.tools,
            seconds=round(outcome.seconds, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _question(self, question: Input) -> Input:
        """A question as a record has it: a path in the workspace is relative."""
        if question.kind == VARIABLE:
            return question
        return Input(question.kind, self.workspace.relative(question.subject) or question.subject)

    def _values(self, state: TargetState, stage: str) -> dict[str, object]:
        """The readable content of what a stage read of its spec, for `explain`."""
        names = [name for name in reads(STAGES[stage], state.target) if name.startswith("spec/")]
        return {name: parse(read_file(state.folder.artifact(name)).decode(), name) for name in names}
