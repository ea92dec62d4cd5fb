"""What a target's stages would read now, and what lies on the disk: the facts that `reasons_to_run` judges."""

from __future__ import annotations

import functools
import operator
import os
import threading
from collections.abc import Iterable

from mltkbuild.disk import file_lists, store
from mltkbuild.disk.answers import answer
from mltkbuild.disk.digests import DigestMemo, digest_of
from mltkbuild.disk.folder import PENDING, RECORDS, Folder
from mltkbuild.disk.inputs import (
    ANSWERS,
    CODE,
    FILE,
    FILES,
    IMPORTS,
    LIBRARY,
    OPTION,
    PROPERTY,
    REVISION,
    TEXT,
    TOOL,
    VARIABLE,
    Input,
    of_kind,
    parse,
)
from mltkbuild.disk.open_folder import read_file
from mltkbuild.disk.records import Record, facts_of
from mltkbuild.disk.workspace import NOT_ITS_OWN, Spec, Workspace, import_folders
from mltkbuild.engine.freshness import Reason, Verdict, damaged, reasons_to_run
from mltkbuild.engine.sources import Sources, importable, names_in, read_sources
from mltkbuild.errors import RecordError
from mltkbuild.fingerprint.toolchain import reduced_version, version
from mltkbuild.fingerprint.values import digest_value
from mltkbuild.stages.protocol import Options
from mltkbuild.stages.table import STAGES, Stage, reads, slice_name, upstream


@functools.cache
def _tool_input(tool: str) -> str:
    """What records call a tool: every stage of every model asks."""
    return Input(TOOL, tool).name


class TargetState:
    """One target during one build: its folder, its records, and its sources once they are read.

    Args:
        workspace: The workspace.
        spec: The model's spec.
        target: `NAME` or `NAME-test`.
        memo: The digests of touched files.

    A front may judge one stage while another thread runs one: what they share is read once into a local name.
    """

    def __init__(self, workspace: Workspace, spec: Spec, target: str, memo: DigestMemo) -> None:
        self.workspace = workspace
        self.spec = spec
        self.target = target
        build = os.path.join(workspace.root, workspace.build_dir, target)
        archive_dir = os.path.join(workspace.root, os.path.dirname(spec.path))
        self.folder = Folder(target, build, archive_dir)
        self._memo = memo
        self._records: dict[str, Record | RecordError | None] = {}
        self._sources: Sources | None = None
        self._pending: frozenset[str] | None = None
        self._lists: file_lists.Changes = {}
        self._import_folders = import_folders(workspace, spec.path)
        self._reading = threading.Lock()
        # A thread that shows a stage holds it around the build of the stage, which holds it again.
        self.turn = threading.RLock()

    # -- records -----------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the records anew that were read so far: another build may have written new ones.

        One that is what it was stays the same object, so that a verdict which goes by it stands.
        """
        before, self._records, self._pending, self._lists = self._records, {}, None, {}
        # Another thread that judges may still put a record where it found them.
        for stage, old in tuple(before.items()):
            if self.record_or_error(stage) == old:
                self._records[stage] = old

    def record(self, stage: str) -> Record | None:
        """A stage's record; None when there is none or it can't be read."""
        found = self.record_or_error(stage)
        return None if isinstance(found, RecordError) else found

    def record_or_error(self, stage: str) -> Record | RecordError | None:
        """A stage's record, or why it can't be read."""
        records = self._records
        if stage not in records:
            try:
                records[stage] = store.load_record(self.folder, stage)
            except RecordError as error:
                records[stage] = error
        return records[stage]

    def assume(self, record: Record) -> None:
        """Judge as if a stage had this record: for plans."""
        self._records[record.stage] = record

    # -- sources -----------------------------------------------------------------------------------------------------

    @property
    def sources(self) -> Sources:
        """The spec and its modules as this build uses them: read on the first call, the same ever after.

        Raises:
            SpecError: The spec can't be read, or isn't UTF-8.
        """
        if self._sources is None:
            with self._reading:
                if self._sources is None:
                    self._sources = read_sources(self.workspace, self.spec)
        return self._sources

    def use_sources(self, sources: Sources) -> None:
        """Take the sources that another target of the same spec has read, unless there are some already."""
        with self._reading:
            self._sources = self._sources or sources

    @property
    def sources_if_read(self) -> Sources | None:
        """The sources if this build has read them."""
        return self._sources

    # -- judging -----------------------------------------------------------------------------------------------------

    def judge(self, stage_name: str, options: Options | None = None, *, asked: bool = True) -> Verdict:
        """Judge a stage; what its upstream stages may change doesn't count.

        Args:
            stage_name: The stage.
            options: Options of the command line.
            asked: Whether somebody asks for this stage, and not only for one that needs it.

        Raises:
            SpecError: The spec can't be read.
        """
        # Before the spec's text is pinned, an edit may come between this judgement and the run of a later stage.
        pinned, records = self._sources is not None, self._records
        reasons = self.reasons(stage_name, options)
        reasons = reasons if asked or not reasons or self.is_due(stage_name) else ()
        basis = self._basis(stage_name) if reasons else ()
        if self._records is not records:
            # Another thread has published meanwhile, which the basis may know and the reasons don't.
            basis = ()
        return Verdict(self.target, stage_name, options or {}, reasons, pinned, basis)

    def stands(self, verdict: Verdict) -> bool:
        """Whether no other build has published anything since that a verdict with reasons goes by."""
        now = self._basis(verdict.stage)
        return len(now) == len(verdict.basis) and all(map(operator.is_, now, verdict.basis))

    def _basis(self, stage_name: str) -> tuple[object, ...]:
        """What a judgement goes by that other builds write: the records, and what waits to be published."""
        return (*map(self.record_or_error, upstream(stage_name)), self._is_pending(stage_name))

    def reasons(self, stage_name: str, options: Options | None = None) -> tuple[Reason, ...]:
        """Why a stage must run; empty when it is up to date. What its upstream stages may change doesn't count."""
        found = self.record_or_error(stage_name)
        if isinstance(found, RecordError):
            return (Reason("bad record", found.where or "", found.found, None),)
        if self._is_pending(stage_name):
            return (Reason("unfinished"),)
        if found is None:
            return reasons_to_run(None, {}, {})
        try:
            compared = file_lists.compare(found, self.folder, self.workspace.root, self._memo, self._lists)
        except RecordError as error:
            return (Reason("bad record", error.where or "", error.found, None),)
        record = compared.record
        reasons = reasons_to_run(record, self.inputs(stage_name, record, options), self.artifacts(record))
        return (*reasons, Reason("input changed", f"{compared.more:,} more files")) if compared.more else reasons

    def is_due(self, stage_name: str, options: Options | None = None) -> bool:
        """Whether a stage is worth running for others: one that looks ahead of another stage is only ahead of a run.

        What it has made stays whole all the same: an artifact or a record that is damaged is made again.

        Args:
            stage_name: The stage.
            options: Options of the stage that it looks ahead of.
        """
        ahead = STAGES[stage_name].before
        if not ahead or self.record(ahead) is None:
            return True
        own = self.record_or_error(stage_name)
        if isinstance(own, RecordError) or (own is not None and damaged(own, self.artifacts(own))):
            return True
        return bool(self.reasons(ahead, options))

    def _is_pending(self, stage_name: str) -> bool:
        pending = self._pending
        if pending is None:
            try:
                names = os.listdir(os.path.join(self.folder.path, RECORDS))
            except OSError:
                names = []
            pending = self._pending = frozenset(name for name in names if name.endswith(PENDING))
        return bool(pending) and stage_name + PENDING in pending

    def damage(self, stage_name: str) -> tuple[Reason, ...]:
        """Why a stage must run again although its inputs stand: its artifacts are not what its record says."""
        record = self.record(stage_name)
        return (Reason("never built"),) if record is None else damaged(record, self.artifacts(record))

    def inputs(self, stage_name: str, record: Record | None, options: Options | None = None) -> dict[str, str | None]:
        """Digests of all that a stage would read now: what the stage table says, and what its last run noticed."""
        stage = STAGES[stage_name]
        found: dict[str, str | None] = {REVISION: str(stage.revision)}
        for tool in stage.tools:
            found[_tool_input(tool)] = self._tool(tool)
        for name in reads(stage, self.target):
            found[name] = self.artifact_digest(name, stage)
        if stage.sources == "code":
            self._add_code(found, record)
        elif stage.sources == "text":
            self._add_everything(found, stage, record)
        if stage.options and options:
            found.update(self._options(stage, options))
        if record is not None:
            self._add_noticed(found, record)
        return found

    def artifacts(self, record: Record) -> dict[str, str | None]:
        """Digests of a record's artifacts as they lie on the disk."""
        digest, stamps, path = self._memo.artifact, record.stamps, self.folder.artifact
        return {name: digest(path(name), stamps, name, old) for name, old in record.artifacts.items()}

    def slice_text(self, stage_name: str) -> str:
        """What a stage reads of the spec, as the spec stage wrote it."""
        return read_file(self.folder.artifact(slice_name(STAGES[stage_name].slice))).decode()

    def artifact_digest(self, name: str, reader: Stage) -> str | None:
        """The digest of an artifact of an earlier stage, as that stage's record has it."""
        for needed in reader.needs:
            record = self.record(needed)
            if record is not None and name in record.artifacts:
                return record.artifacts[name]
        return None

    def _tool(self, tool: str) -> str:
        return reduced_version(tool, version(tool), self.workspace.toolchain)

    def _add_code(self, found: dict[str, str | None], record: Record | None) -> None:
        """The spec's code by meaning: from the record while no file has changed, else read anew."""
        if self._sources is None and record is not None and self._finds_the_same(record):
            recorded = dict(of_kind(record.inputs, CODE))
            current = {
                path: self._memo.digest(self.workspace.path(path), record.stamps, path, digest, "code")
                for path, digest in recorded.items()
            }
            outside = facts_of(record).get("outside")
            imports = self.shadowed(outside) if isinstance(outside, list) else None
            if current == recorded and imports == record.inputs.get(IMPORTS):
                found.update({Input(CODE, path).name: digest for path, digest in current.items()})
                found[IMPORTS] = imports
                return
        found.update(self.sources.digests(CODE))
        found[IMPORTS] = self.shadowed(self.sources.outside)

    def _add_everything(self, found: dict[str, str | None], stage: Stage, record: Record | None) -> None:
        """For the archive: every artifact so far, and every byte of the sources."""
        for needed in stage.needs:
            upstream = self.record(needed)
            if upstream is not None:
                found.update(upstream.artifacts)
        spec_record = self.record("spec")
        if self._sources is not None or record is None or spec_record is None:
            found.update(self.sources.digests(TEXT))
            return
        for path, _ in of_kind(spec_record.inputs, CODE):
            name = Input(TEXT, path).name
            old = record.inputs.get(name, "")
            found[name] = self._memo.digest(self.workspace.path(path), record.stamps, path, old)

    def _add_noticed(self, found: dict[str, str | None], record: Record) -> None:
        """What the last run noticed: files that user code read, properties, library versions.

        Of a list of files, those that have changed stand beside it, as `file_lists.compare` has found them.
        """
        for name, old in record.inputs.items():
            if name in found:
                # What the stage table says, which is most of it.
                continue
            kind, subject = parse(name)
            if kind == FILES:
                found[name] = old
            elif kind == FILE:
                found[name] = self._memo.digest(self.workspace.path(subject), record.stamps, subject, old)
            elif kind == PROPERTY:
                found[name] = self.property_digest(subject)
            elif kind == LIBRARY:
                found[name] = self._tool(subject)
            elif kind in ANSWERS:
                asked = subject if kind == VARIABLE else self.workspace.path(subject)
                found[name] = answer(Input(kind, asked), os.environ)

    def _options(self, stage: Stage, options: Options) -> dict[str, str | None]:
        """Options that differ from what the spec says, a file by its digest; a dry run has its own epochs."""
        found: dict[str, str | None] = {}
        for name in stage.options:
            value = options.get(name)
            if name == "weights" and value is not None:
                found[Input(OPTION, name).name] = digest_of(self.workspace.path(str(value)))
            elif value is not None and self.target == self.spec.name and self._differs(name, value):
                found[Input(OPTION, name).name] = str(value)
        return found

    def _differs(self, name: str, value: object) -> bool:
        return self.property_digest(name) != digest_value(value)

    def property_digest(self, name: str) -> str | None:
        """The digest of a property as the spec stage found it; of the whole code for one that has none."""
        record = self.record("spec")
        if record is None:
            return None
        digests = facts_of(record).get("properties")
        found = digests.get(name, "default") if isinstance(digests, dict) else None
        if found is not None:
            return str(found)
        found = {Input(CODE, path).name: digest for path, digest in of_kind(record.inputs, CODE)}
        return digest_value(dict(sorted(found.items())))

    def shadowed(self, outside: object) -> str:
        """The modules that the spec takes from elsewhere although the workspace now has files of these names."""
        if not isinstance(outside, list | frozenset):
            return ""
        listed = self._listed()
        known = {name for name in outside if isinstance(name, str)}
        here = {name for name in known if any(name in names or name + ".py" in names for names in listed)}
        return ", ".join(sorted(here - NOT_ITS_OWN))

    def packages(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """What lies in the packages that some modules belong to: a file added there may be what is imported next."""
        parents = {os.path.dirname(path) for path in paths}.difference(self._import_folders)
        return {parent: sorted(filter(importable, names_in(self.workspace.path(parent)))) for parent in parents}

    def _listed(self) -> list[frozenset[str]]:
        """The names in each folder that the spec imports from."""
        return [names_in(self.workspace.path(folder)) for folder in self._import_folders]

    def _finds_the_same(self, record: Record) -> bool:
        """Say whether the imports surely lead to the files of a record; when in doubt they are followed anew."""
        paths = [path for path, _ in of_kind(record.inputs, CODE)]
        if self.spec.path not in paths or self.packages(paths) != facts_of(record).get("packages", {}):
            return False
        listed = self._listed()
        paths.remove(self.spec.path)
        for path in paths:
            for number, folder in enumerate(self._import_folders):
                start = len(folder) + 1 if folder else 0
                if start and not path.startswith(folder + "/"):
                    continue
                top, below, _ = path[start:].removesuffix(".py").partition("/")
                if (top + ".py" if below else top) in listed[number]:
                    return False
                if any(top in names or top + ".py" in names for names in listed[:number]):
                    return False
        return True
