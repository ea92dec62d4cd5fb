"""Processes that user code starts: nobody sees what they read, but their program and their arguments are known."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterable, Iterator
from types import FrameType

from mltkbuild.user_code.askers import Code
from mltkbuild.user_code.hook import Handler
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.watched import Watched

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "cmd.exe"})
_PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin")
# Modules of Python's that have programs tell them about the machine.
_ABOUT_THE_MACHINE = frozenset({"platform", "uuid", "ctypes.util", "sysconfig", "_osx_support", "_aix_support"})
_SPAWNS = "_spawnvef"
"""Where Python's `os` forks for its functions `spawn...`, which no event of their own tells of."""


def _started(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """`subprocess.Popen` starts a program."""
    program, arguments, folder = args[:3]
    words = [arguments] if isinstance(arguments, str | bytes | os.PathLike) else list(_each(arguments))
    _start(watched, frame, [program, *words[1:]] if program is not None else words, absolute(folder))


def _shell(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """`os.system` has a shell start what a text says."""
    _start(watched, frame, ["sh", "-c", args[0]], None)


def _spawned(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """`os.posix_spawn` starts a program."""
    if frame is None or frame.f_globals.get("__name__") != "subprocess":
        _start(watched, frame, [args[0], *list(_each(args[1]))[1:]], None)


def _spawned_in_mode(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """`os.spawnv` starts a program, where the system can."""
    _spawned(watched, args[1:], frame)


def _forked(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """This process is doubled."""
    if frame is not None and frame.f_code.co_name == _SPAWNS and frame.f_globals.get("__name__") == "os":
        _spawned(watched, (frame.f_locals["file"], frame.f_locals["args"]), frame)
    elif frame is None or frame.f_globals.get("__name__") != "subprocess":
        _begin(watched, frame, "what a forked process reads")


def process_started(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A process of `multiprocessing` starts, by whatever method: its arguments may be paths."""
    given = [argument for part in args for argument in _each(part)]
    if _begin(watched, frame, "what a process of multiprocessing reads"):
        _take_files(watched, frame, (word for word in given if isinstance(word, str | os.PathLike)), os.getcwd())


def _start(watched: Watched, frame: FrameType | None, command: Iterable[object], folder: str | None) -> None:
    words = [os.fsdecode(word) for word in command if isinstance(word, str | bytes | os.PathLike)]
    if not words:
        return
    base = folder or os.getcwd()
    program, files = words[0], [part for word in words[1:] for part in _parts(word)]
    if os.path.basename(program) in _SHELLS:
        program = next((part for word in words[1:] for part in _spoken(word) if part[0] not in "-(<"), program)
    what = f"what the program {os.path.basename(program)} reads"
    if _begin(watched, frame, what, [os.path.join(base, file) for file in files]):
        if watched.places.is_ordinary(os.path.join(base, words[0])):
            files.append(words[0])
        _take_files(watched, frame, files, base)


def _begin(watched: Watched, frame: FrameType | None, what: str, files: Iterable[str] | None = None) -> bool:
    """Say that a process can't be watched, if it runs for the workspace's code.

    Args:
        watched: Takes it.
        frame: What starts it.
        what: What can't be watched.
        files: The files that it gets: without one, a program that a library starts tells it about the machine.
    """
    code, _ = watched.askers.nearest(frame)
    counts = code is Code.WORKSPACE or (code is Code.LIBRARY and watched.askers.is_task(frame))
    if counts and files is not None and (not watched.askers.is_direct(frame) or _is_about_the_machine(frame)):
        counts = any(os.path.isfile(path) for path in files)
    if counts:
        watched.has_children = True
        watched.unseen[what] = None
    return counts


def _is_about_the_machine(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in _ABOUT_THE_MACHINE:
            return True
        frame = frame.f_back
    return False


def _take_files(watched: Watched, frame: FrameType | None, words: Iterable[str | os.PathLike[str]], base: str) -> None:
    """Let the files and folders count that some words name; what the process changes is none of its inputs."""
    installed = {os.path.abspath(folder) for folder in (*os.get_exec_path(), *_PROGRAMS)}
    for word in words:
        path = os.path.abspath(os.path.join(base, os.fspath(word)))
        if not os.fspath(word) or os.path.dirname(path) in installed:
            continue
        for found in [path] if not glob.has_magic(path) else [os.path.dirname(path), *glob.glob(path)]:
            if os.path.isdir(found):
                watched.list_folder(found, frame)
            elif os.path.isfile(found):
                watched.read_or_write(found, frame, reads=True, told=False, empties=False)


def _parts(word: str) -> Iterator[str]:
    """What a word of a command may name: itself, a word of it for the shell, what is behind a `=`."""
    for part in (word, *_spoken(word)):
        yield part
        yield part.partition("=")[2]


def _spoken(text: str) -> list[str]:
    """The words of a text as a shell takes them."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return [word for word in lexer if word]
    except ValueError:  # a quote without its end
        return text.split()


def _each(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        yield from value


HANDLERS: dict[str, Handler] = {
    "subprocess.Popen": _started,
    "os.system": _shell,
    "os.posix_spawn": _spawned,
    "os.spawn": _spawned_in_mode,
    "os.fork": _forked,
    "os.forkpty": _forked,
}
