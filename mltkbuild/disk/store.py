"""The only writer under `build/`: paths, records, locks, and publishing that a kill can't tear.

A stage works in a scratch folder. Publishing then goes through four steps, each durable before the next:

1. every file in scratch is flushed to the disk;
2. the new record, and the list of its files if they are many, is written as `STAGE.pending`;
3. each file is renamed to its final name, and artifacts that the new record doesn't have are removed;
4. the record is written as `STAGE.json`, with the stamps of the final files, and `STAGE.pending` and the file lists of
   earlier records are removed.

After a kill or a disk error at any point, `recover` finishes from step 3 when a pending record is there, and else drops
the scratch folder. No file ever has its final name before it is complete.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from mltkbuild.disk import failures, file_lists
from mltkbuild.disk.digests import artifact_digest, artifact_stamp
from mltkbuild.disk.durable import disk_error
from mltkbuild.disk.folder import ARCHIVE_SUFFIX, DONE, LOGS, PENDING, RECORDS, SCRATCH, VALUES, Folder
from mltkbuild.disk.names import name_fault
from mltkbuild.disk.open_folder import TEMPORARY, read_file
from mltkbuild.disk.records import Record, Stamp, decode, encode
from mltkbuild.errors import RecordError

LOCK = ".lock"
CHANGED_SUFFIX = ".changed"
KEPT = "the new artifacts are kept, and published then"
TICK_NS = 10_000_000
"""How coarse the clock of a file system can be."""


def load_record(folder: Folder, stage: str) -> Record | None:
    """The record of a stage's last success; None when there is none.

    Raises:
        RecordError: The file is no record, one of another version, or one of another stage or model.
    """
    path = folder.record_path(stage)
    try:
        data = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(
            "this record can't be read", where=path, found=str(error), fix="check its permissions, or delete it"
        ) from error
    record = decode(data, path)
    if (record.stage, record.target) != (stage, folder.target):
        raise RecordError(
            "this record belongs elsewhere",
            where=path,
            found=f"{record.stage}:{record.target}",
            fix=f"delete {path}; its stage runs again",
        )
    return record


def has_pending(folder: Folder, stage: str) -> bool:
    """Say whether a publication was cut off, or is under way in another process."""
    return os.path.lexists(folder.record_path(stage, PENDING))


@contextlib.contextmanager
def locked(folder: Folder, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of one target; the system frees it when the process dies.

    Args:
        folder: The target's folder.
        on_wait: Called once when another build holds the lock.

    Raises:
        StageError: The folder can't be written, or is no folder of ours.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder.door.locked(os.path.join(folder.path, LOCK), on_wait))
        except OSError as error:
            raise disk_error(error, folder.target) from error
        yield


def begin(folder: Folder, stage: str, always: Iterable[str] = ()) -> str:
    """Make an empty scratch folder for a stage and return its path; call it with the lock held, after `recover`.

    Args:
        folder: The target's folder.
        stage: The stage.
        always: The artifacts that it always makes.

    Raises:
        StageError: The disk is full or read-only.
        ForeignError: Something is in the way of what the stage will publish.
    """
    scratch = folder.scratch_path(stage)
    try:
        folder.door.require(*folder.places(stage, (*always, *_old_artifacts(folder, stage))))
        folder.door.make_new(scratch)
        folder.door.make(os.path.join(folder.path, LOGS))
    except OSError as error:
        raise disk_error(error, f"{stage}:{folder.target}") from error
    return scratch


def discard(folder: Folder, stage: str) -> None:
    """Drop a stage's scratch folder, unless a publication that was cut off needs it to be finished."""
    if has_pending(folder, stage):
        return
    _drop_scratch(folder, folder.scratch_path(stage))


def _drop_scratch(folder: Folder, scratch: str) -> None:
    """Remove a scratch folder, and the one that holds all of them if this leaves it empty."""
    with contextlib.suppress(OSError):
        folder.door.remove_tree(scratch)
    folder.door.remove_if_empty(os.path.join(folder.path, SCRATCH))


def publish(
    folder: Folder, record: Record, scratch: str, values: bytes = b"{}", earlier: Iterable[str] = ()
) -> tuple[Record, tuple[str, ...]]:
    """Give a stage's files their final names and write its record, as the module's docstring says.

    Args:
        folder: The target's folder; its lock must be held.
        record: The record without its artifacts' stamps; a long list of files is taken out of it and kept beside it.
        scratch: The folder that holds the files under their artifact names.
        values: What the stage read in readable form, for `explain`.
        earlier: Paths of the lists of files that earlier stages have, which it may share.

    Returns:
        The record as written, and the names of artifacts that somebody had changed, each kept as `NAME.changed`.

    Raises:
        StageError: The disk is full or read-only. Either nothing was published and the old artifacts stand, or
            `recover` will finish what was begun.
    """
    record, listed = file_lists.fold(record, earlier)
    try:
        file_lists.keep(folder, record, listed)
        for name in sorted(record.artifacts):
            folder.door.flush(os.path.join(scratch, name))
        folder.door.write(os.path.join(scratch, VALUES), values)
        pending = replace(record, facts={**record.facts, "scratch": os.path.basename(scratch)})
        folder.door.write(folder.record_path(record.stage, PENDING), encode(pending))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.door.remove(folder.record_path(record.stage, PENDING))
        raise disk_error(error, f"{record.stage}:{record.target}") from error
    try:
        return _finish(folder, record, scratch)
    except OSError as error:
        raise disk_error(error, f"{record.stage}:{record.target}", KEPT) from error


def recover(folder: Folder) -> tuple[str, ...]:
    """Finish the publications that were cut off and drop other processes' scratch folders; call it with the lock held.

    Returns:
        The stages whose publication was finished.

    Raises:
        StageError: The disk is full or read-only; what waits for its final name still does.
    """
    finished = []
    records = os.path.join(folder.path, RECORDS)
    try:
        names = folder.door.names(records)
    except OSError as error:
        raise disk_error(error, folder.target) from error
    for entry in names:
        if entry.endswith(PENDING):
            stage = entry.removesuffix(PENDING)
            try:
                if _recover_stage(folder, stage):
                    finished.append(stage)
            except OSError as error:
                raise disk_error(error, f"{stage}:{folder.target}", KEPT) from error
        elif entry.endswith(TEMPORARY):
            with contextlib.suppress(OSError):
                folder.door.remove(os.path.join(records, entry))
    with contextlib.suppress(OSError):
        folder.door.remove_tree(os.path.join(folder.path, SCRATCH))
    return tuple(finished)


def _recover_stage(folder: Folder, stage: str) -> bool:
    """Finish one publication; a pending record that is torn or foreign, or whose files are gone, is dropped."""
    path = folder.record_path(stage, PENDING)
    try:
        pending = decode(read_file(path), path)
    except (OSError, RecordError):
        folder.door.remove(path)
        return False
    facts = dict(pending.facts)
    named = facts.pop("scratch", None)
    is_own = isinstance(named, str) and "/" not in named and name_fault(named) is None
    if (pending.stage, pending.target) != (stage, folder.target) or not is_own:
        folder.door.remove(path)
        return False
    scratch = os.path.join(folder.path, SCRATCH, str(named))
    record = replace(pending, facts=facts)
    for name, digest in record.artifacts.items():
        source = os.path.join(scratch, name)
        if artifact_digest(source, name) == digest:
            continue
        if artifact_digest(folder.artifact(name), name) != digest:
            _drop_pending(folder, record)
            return False
        folder.door.remove(source)
    _finish(folder, record, scratch)
    return True


def _drop_pending(folder: Folder, record: Record) -> None:
    """Give up a publication whose files are gone, with the copies it was making on another file system."""
    for name in record.artifacts:
        folder.door_of(name).remove(folder.artifact(name) + TEMPORARY)
    folder.door.remove(folder.record_path(record.stage, PENDING))


def _finish(folder: Folder, record: Record, scratch: str) -> tuple[Record, tuple[str, ...]]:
    """Steps 3 and 4 of publishing; safe to do again."""
    old = _old_artifacts(folder, record.stage)
    changed = []
    for name, digest in sorted(record.artifacts.items()):
        source, final = os.path.join(scratch, name), folder.artifact(name)
        if folder.door.exists(source):
            if _keep_changed(folder, name, old.get(name), digest):
                changed.append(name)
            folder.door.move(source, folder.door_of(name), final)
    for name in sorted(old.keys() - record.artifacts.keys()):
        if _keep_changed(folder, name, old[name], ""):
            changed.append(name)
        folder.door_of(name).remove(folder.artifact(name))
    if folder.door.exists(os.path.join(scratch, VALUES)):
        folder.door.rename(os.path.join(scratch, VALUES), folder.record_path(record.stage, VALUES))
    for parent, name in {os.path.dirname(folder.artifact(name)): name for name in record.artifacts}.items():
        if parent == folder.archive_dir:
            folder.door_of(name).flush_root()
        else:
            folder.door.flush_folder(parent)
    done = replace(record, stamps={**record.stamps, **_final_stamps(folder, record)})
    folder.door.write(folder.record_path(record.stage), encode(done))
    folder.door.remove(folder.record_path(record.stage, PENDING))
    file_lists.drop_others(folder)
    folder.door.flush_folder(os.path.join(folder.path, RECORDS))
    _drop_scratch(folder, scratch)
    return done, tuple(changed)


def _final_stamps(folder: Folder, record: Record) -> dict[str, Stamp]:
    """The stamps of published files, taken when any later change will move them."""
    found = {name: artifact_stamp(folder.artifact(name)) for name in record.artifacts}
    newest = max((stamp[1] for stamp in found.values() if stamp is not None), default=0)
    since = time.time_ns() - newest
    if 0 <= since < TICK_NS:
        # An edit in the same tick of the file system's clock would leave the times as they are.
        time.sleep((TICK_NS - since) / 1e9)
    return {name: stamp for name, stamp in found.items() if stamp is not None}


def _old_artifacts(folder: Folder, stage: str) -> Mapping[str, str]:
    try:
        record = load_record(folder, stage)
    except RecordError:
        return {}
    return {} if record is None else record.artifacts


def _keep_changed(folder: Folder, name: str, recorded: str | None, coming: str) -> bool:
    """Set a file aside that is neither what the record says nor what is coming: somebody edited it.

    Below `build/` a file without a record is what an older build left. Beside the spec it may be anybody's archive. A
    link is not set aside: what it leads to stays where it is.
    """
    final = folder.artifact(name)
    found = artifact_digest(final, name)
    if found is None or found in (recorded, coming):
        return False
    if recorded is None and not final.endswith(ARCHIVE_SUFFIX):
        return False
    folder.door_of(name).rename(final, final + CHANGED_SUFFIX)
    return True


def forget(folder: Folder, stage: str) -> bool:
    """Drop a stage's record and keep its artifacts; say whether there was one."""
    found = False
    for suffix in (DONE, PENDING, VALUES):
        removed = folder.door.remove(folder.record_path(stage, suffix))
        found = found or (removed and suffix == DONE)
    failures.forget(folder, stage)
    return found


def artifacts_on_disk(folder: Folder, stage: str, always: Iterable[str]) -> tuple[str, ...]:
    """The files that a stage made and that are still there."""
    names = dict.fromkeys((*always, *_old_artifacts(folder, stage)))
    return tuple(name for name in names if folder.door_of(name).exists(folder.artifact(name)))


def clean(folder: Folder, stage: str, always: Iterable[str]) -> tuple[str, ...]:
    """Delete a stage's artifacts, its log and why it failed, and folders that this leaves empty; keep its record."""
    names = artifacts_on_disk(folder, stage, always)
    for name in names:
        folder.door_of(name).remove(folder.artifact(name))
    folder.door.remove(folder.log_path(stage))
    failures.forget(folder, stage)
    for path in (*map(folder.artifact, names), folder.log_path(stage)):
        _drop_empty_parents(folder, path)
    return names


def _drop_empty_parents(folder: Folder, path: str) -> None:
    """Remove the folders above a path that are empty, below the target's own."""
    parent = os.path.dirname(path)
    while parent.startswith(folder.path + os.sep) and folder.door.remove_if_empty(parent):
        parent = os.path.dirname(parent)
