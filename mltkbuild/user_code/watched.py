"""What watched code has read, asked and written, and what of it counts in the end."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType

from mltkbuild.disk.answers import answer
from mltkbuild.disk.digests import bytes_digest, digest_of, stamp_of, stamp_of_open
from mltkbuild.disk.inputs import EXISTS, MODIFIED, SIZE, Input
from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.disk.records import Stamp
from mltkbuild.user_code.askers import Askers
from mltkbuild.user_code.folders import Places
from mltkbuild.user_code.opened import CHANGED, Opened

MANY = 1000
"""So many questions about names in one folder become one about what is in it."""
# As it is while nothing is watched.
_stat = os.stat


@dataclass(frozen=True)
class _Before:
    """A file as it was when it was opened so that it could be written.

    Args:
        digest: Its digest.
        stamp: The stamp that it had.
        reads: Whether it is an input if nobody has changed it.
        told: Whether people are told if somebody has: the code both reads and writes it.
    """

    digest: str | None
    stamp: Stamp | None
    reads: bool
    told: bool


@dataclass
class Found:
    """What counts of what code did.

    Args:
        files: Digest of each file or folder, by absolute path.
        answers: What the system has answered, by question.
    """

    files: dict[str, str] = field(default_factory=dict)
    answers: dict[Input, str] = field(default_factory=dict)


class Watched:
    """What watched code does with files; `user_code/watch` says what counts.

    Args:
        root: The workspace.
        ignored: Absolute folders that never count.

    Attributes:
        askers: Says who asks.
        has_children: Whether it has started other processes, which may write what nobody sees.
        unseen: What was read that can't be watched, in words.
        both: Paths of the files that it both reads and writes.
        kept: Paths where it keeps samples for later runs, whatever changes meanwhile.
        opened: The files that it has read.
        places: Says where it matters who asks.
    """

    def __init__(self, root: str, ignored: tuple[str, ...]) -> None:
        self.askers = Askers(root)
        self.has_children = False
        self.unseen: dict[str, None] = {}
        self.both: dict[str, None] = {}
        self.kept: dict[str, None] = {}
        self.opened = Opened()
        self.places = Places(root, ignored)
        self._listed: dict[str, str] = {}
        self._asked: dict[Input, str] = {}
        self._before: dict[str, _Before] = {}
        self._made: set[str] = set()
        self._made_folders: set[str] = set()
        self._below_made: dict[str, bool] = {}
        self._touched: set[str] = set()
        self._final: Found | None = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def read(self, path: str, frame: FrameType | None) -> None:
        """A file is about to be opened for reading: its digest is that of now."""
        if path in self.opened or path in self._made:
            return
        if path in self._before:
            self._before[path] = replace(self._before[path], reads=True, told=True)
            return
        stamp = self._stamp(path, frame) if self._may_count(path, frame) else None
        if stamp is not None and self.opened.add(path, stamp):
            self._take()

    def is_new(self, path: str) -> bool:
        """Whether nothing is known of a file yet."""
        return not (path in self.opened or path in self._made or path in self._before)

    def read_as(self, path: str, frame: FrameType | None, content: bytes, handle: int) -> None:
        """A new file was read, all of it: who has its bytes needn't read it again.

        Args:
            path: The file.
            frame: What has read it.
            content: Its bytes.
            handle: What it is still open as.
        """
        if self._may_count(path, frame):
            self.opened.put(path, stamp_of_open(handle), bytes_digest(content))

    def read_or_write(self, path: str, frame: FrameType | None, *, reads: bool, told: bool, empties: bool) -> None:
        """A file is about to be opened so that it can be written.

        Args:
            path: The file.
            frame: What opens it.
            reads: Whether what is in it can be read.
            told: Whether people are told if it is changed.
            empties: Whether what was in it is lost.
        """
        if path in self._made or self.places.is_nobodys(path):
            return
        before = self._before.get(path)
        if before is not None:
            self._before[path] = replace(before, reads=before.reads or reads, told=before.told or told)
            return
        was_read = path in self.opened
        there = os.path.lexists(path)
        if not there or (empties and not was_read):
            self.make(path)
        elif was_read or self._may_count(path, frame):
            if was_read:
                self._take()
            digest = self.opened.digests.get(path) or (digest_of(path) if os.path.isfile(path) else None)
            self._before[path] = _Before(digest, stamp_of(path), reads or was_read, told or was_read)

    def read_with_folder(self, path: str, frame: FrameType | None) -> None:
        """A file is read, and the names beside it have led to it."""
        self.read(path, frame)
        # The folder of a file that the code wrote itself, such as the system's for temporary files, is no data set's.
        if path in self.opened:
            self.list_folder(os.path.dirname(path), frame)

    def list_folder(self, path: str, frame: FrameType | None) -> None:
        """A folder is about to be listed."""
        if path in self._listed or not self._may_count(path, frame) or self.askers.is_incidental(frame):
            return
        if not os.path.isdir(path):
            self.ask(EXISTS, path, frame)
            return
        with contextlib.suppress(OSError):
            names = os.listdir(path)
            # What it has put there itself tells it nothing; in an empty folder something may appear.
            if self._is_made(path) or (names and all(self._is_made(os.path.join(path, name)) for name in names)):
                return
            self._listed[path] = digest_of(path) or CHANGED

    def has_read(self, path: object) -> bool:
        """Whether a file's content counts, which tells that it is there and how large it is."""
        return isinstance(path, str) and path in self.opened

    def ask(self, kind: str, path: str, frame: FrameType | None, told: str | None = None) -> None:
        """The code asks the system about a path.

        Args:
            kind: EXISTS, SIZE or MODIFIED.
            path: The path.
            frame: What asks.
            told: The answer; asked now if None.
        """
        if kind in (EXISTS, SIZE) and self.has_read(path):
            return
        question = Input(kind, path)
        if question in self._asked or self.places.is_nobodys(path) or not self.askers.asks(frame, path):
            return
        if not self._is_made(path):
            self._asked[question] = answer(question, {}) if told is None else told

    def make(self, path: str) -> None:
        """The code makes a file, changes it, or removes it: that is no input, unless in the end it is as it was."""
        if self.has_read(path):
            self._take()
            self._before[path] = _Before(self.opened.digests.get(path), stamp_of(path), reads=True, told=True)
        elif path not in self._before:
            self._made.add(path)

    def make_folder(self, path: str) -> None:
        """The code makes a folder, unless there is one."""
        if not self.places.is_nobodys(path) and not os.path.lexists(path):
            self._add_made_folders(path)

    def move(self, source: str, target: str) -> None:
        """The code moves a file or folder."""
        if os.path.isdir(source):
            self._add_made_folders(source, target)
        self.make(source)
        self.make(target)

    def remove_tree(self, path: str) -> None:
        """The code removes a folder with all that is in it, or a file."""
        self._made.add(path)
        self._add_made_folders(path)

    def set_time(self, path: str) -> None:
        """The code sets the time of a file, or it would."""
        self._touched.add(path)

    # -- what counts -------------------------------------------------------------------------------------------------

    @property
    def files(self) -> Mapping[str, str]:
        """Digest of each file or folder that counts, by absolute path."""
        return self.found().files

    @property
    def answers(self) -> Mapping[Input, str]:
        """What the system has answered, by question."""
        return self.found().answers

    def own_names(self, found: Found) -> dict[str, list[str]]:
        """What the code itself has put into the folders that count, by folder."""
        folders = found.files.keys() & self._listed.keys()
        made = sorted(self._made | self._made_folders)
        return {
            folder: own
            for folder in folders
            if (own := [os.path.basename(path) for path in made if os.path.dirname(path) == folder])
        }

    def close(self) -> None:
        """Nothing more happens."""
        self._final = self.found(at_the_end=True)

    def found(self, *, at_the_end: bool = False) -> Found:
        """What counts of what it has done so far."""
        if self._final is not None:
            return self._final
        before, OWN_READING.now = OWN_READING.now, True
        try:
            self._take()
            changed = {path for path, was in self._before.copy().items() if _is_changed(path, was, at_the_end)}
            self.both |= dict.fromkeys(path for path in sorted(changed) if self._before[path].told)
            self._made |= changed
            grown = {os.path.dirname(path) for path in (*self._made, *self._made_folders)}
            found = Found(dict(self._counting_files(grown)), dict(self._counting_answers(grown)))
            self._leave_out(found)
            return found
        finally:
            OWN_READING.now = before

    def _counting_files(self, grown: set[str]) -> Iterator[tuple[str, str]]:
        """What was opened or listed; a folder that the code wrote into counts as it is now."""
        for path, digest in self.opened.digests.copy().items():
            if not self._is_made(path) and path not in self._before:
                yield path, digest
        for path, was in self._before.copy().items():
            if was.reads and was.digest is not None and not self._is_made(path):
                yield path, was.digest
        for path, digest in self._listed.copy().items():
            now = digest_of(path) if path in grown or self.has_children else digest
            if now is not None and not self._is_made(path):
                yield path, now

    def _counting_answers(self, grown: set[str]) -> Iterator[tuple[Input, str]]:
        for question, told in self._asked.copy().items():
            path = question.subject
            if self._is_made(path) or (question.kind == MODIFIED and path in self._touched):
                continue
            yield question, answer(question, {}) if path in grown or self.has_children else told

    def _leave_out(self, found: Found) -> None:
        """Drop answers that follow from others: a file's content tells that it is there, a folder's names as well."""
        for question in list(found.answers):
            kind, path = question
            told = (EXISTS, SIZE) if path in found.files else ()
            if kind in told or (kind == EXISTS and os.path.dirname(path) in found.files):
                del found.answers[question]
        folders = Counter(os.path.dirname(path) for kind, path in found.answers if kind == EXISTS)
        # What else lies beside the specs, such as the build folder, would run everything again.
        many = (folder for folder, count in folders.items() if count >= MANY)
        for folder in (folder for folder in many if not self.places.leads_to_the_workspace(folder)):
            for question in [one for one in found.answers if one.kind == EXISTS]:
                if os.path.dirname(question.subject) == folder:
                    del found.answers[question]
            names = digest_of(folder)
            if names is None:
                found.answers[Input(EXISTS, folder)] = answer(Input(EXISTS, folder), {})
            else:
                found.files[folder] = names

    # -- parts -------------------------------------------------------------------------------------------------------

    def _may_count(self, path: str, frame: FrameType | None) -> bool:
        """Whether what is read there counts: where libraries and programs have files, if the workspace asks for it."""
        needs_asking = self.places.needs_asking(path)
        return needs_asking is False or (needs_asking is True and self.askers.asks(frame, path, build=True))

    def _stamp(self, path: str, frame: FrameType | None) -> Stamp | None:
        """The stamp of a regular file; that there is none may be what the code goes by."""
        try:
            status = _stat(path)
        except (OSError, ValueError):
            self.ask(EXISTS, path, frame)
            return None
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode):
                self.ask(EXISTS, path, frame)
            return None
        return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def _is_made(self, path: str) -> bool:
        """Whether the code has made a path itself, or a folder above it."""
        if path in self._made:
            return True
        return bool(self._made_folders) and (path in self._made_folders or self._lies_in_made(os.path.dirname(path)))

    def _lies_in_made(self, folder: str) -> bool:
        """Whether the code has made a folder, or one above it: looked up once for all files in it."""
        found = self._below_made.get(folder)
        if found is None:
            above = os.path.dirname(folder)
            found = folder in self._made_folders or (above != folder and self._lies_in_made(above))
            self._below_made[folder] = found
        return found

    def _add_made_folders(self, *folders: str) -> None:
        self._made_folders.update(folders)
        self._below_made = {}

    def _take(self) -> None:
        self.opened.take(self._is_made, anyhow=self.has_children)


def _is_changed(path: str, was: _Before, at_the_end: bool) -> bool:
    """Whether a file is no longer what it was: what is mapped to memory may change and keep its stamp for a while."""
    return (at_the_end or stamp_of(path) != was.stamp) and digest_of(path) != was.digest
