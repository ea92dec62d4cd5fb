"""The files of a data set folder by class: found in one order everywhere, links followed at most once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mltkbuild.data.told import BROKEN_LINK, NO_FILE, Told
from mltkbuild.errors import DataError, did_you_mean


@dataclass(frozen=True, order=True)
class Item:
    """One sample of a data set.

    Args:
        name: What stands for it whatever machine it lies on: its path below the data set's folder, with `/`.
        path: Its file; empty for a sample that has none.
        label: Its class id.
    """

    name: str
    path: str
    label: int


def list_classes(
    folder: str,
    classes: Sequence[str],
    suffixes: Sequence[str],
    *,
    follow_links: bool = True,
    told: Told | None = None,
) -> dict[str, list[str]]:
    """The sample files of each class.

    Args:
        folder: The data set's folder, with a folder for each class.
        classes: The labels whose files are wanted.
        suffixes: Endings of the names of sample files, in lower case, with the dot.
        follow_links: Whether folders behind symbolic links are searched.
        told: Takes the files that are passed over.

    Returns:
        For each class the names of its files, relative to `folder`, sorted.

    Raises:
        DataError: There is no such folder, or a class has no folder or no file.
    """
    found = folders_of(folder)
    if not found:
        raise DataError("the data set's folder has no class folders", where=folder, fix="make a folder for each class")
    told = Told() if told is None else told
    listed: dict[str, list[str]] = {}
    for label in classes:
        if label not in found:
            fix = did_you_mean(label, found, "its folders are")
            raise DataError(f"the data set has no folder for the class {label!r}", where=folder, fix=fix)
        here = Told()
        listed[label] = list_files(folder, label, suffixes, follow_links=follow_links, told=here)
        if not listed[label]:
            raise DataError(
                f"the class {label!r} has no samples",
                where=os.path.join(folder, label),
                found="; ".join(["no file that ends as one", *here.notes()]),
                fix=f"put its samples there ({', '.join(suffixes)}), or take the class out of my_model.classes",
            )
        told.join(here)
    return listed


def folders_of(folder: str, *, fix: str = "set my_model.dataset to a folder that exists and can be read") -> list[str]:
    """The names of the folders in a folder, sorted, hidden ones left out.

    Raises:
        DataError: There is no such folder, or it can't be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError("the data set's folder can't be read", where=folder, found=error.strerror, fix=fix) from error


def list_files(
    folder: str, top: str, suffixes: Sequence[str], *, follow_links: bool = True, told: Told | None = None
) -> list[str]:
    """The files below one folder of a data set, relative to the data set's folder, sorted.

    Hidden files and folders are left out; other files whose names don't end as those of samples, and links that lead
    nowhere, are told as passed over.
    """
    endings = tuple(suffixes)
    told = Told() if told is None else told
    found = []
    for name in _walk(folder, top, follow_links, told):
        if name.lower().endswith(endings):
            found.append(name)
        else:
            told.pass_over(name)
    return sorted(found)


def _walk(
    folder: str, top: str, follow_links: bool, told: Told, above: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """The files below a folder; a link back to a folder above ends there."""
    path = os.path.join(folder, *top.split("/"))
    try:
        status = os.stat(path)
        with os.scandir(path) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        fix = "make it readable, or take it out of the data set"
        raise DataError("a folder of the data set can't be read", where=path, found=error.strerror, fix=fix) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith(".") or (entry.is_symlink() and entry.is_dir() and not follow_links):
            continue
        name = f"{top}/{entry.name}"
        if entry.is_dir():
            yield from _walk(folder, name, follow_links, told, (*above, here))
        elif entry.is_file():
            yield name
        else:
            told.pass_over(name, BROKEN_LINK if entry.is_symlink() else NO_FILE)


def take_per_class(items: Sequence[Item], limit: int, key: Callable[[str], float]) -> list[Item]:
    """At most so many items of each class, in their order; which ones doesn't change when others are added.

    Args:
        items: The items.
        limit: How many of each class; -1 for all.
        key: What of an item's name decides who stays: the lowest do.
    """
    if limit < 0:
        return list(items)
    members: dict[int, list[Item]] = {}
    for item in items:
        members.setdefault(item.label, []).append(item)
    kept = {item for group in members.values() for item in sorted(group, key=lambda one: key(one.name))[:limit]}
    return [item for item in items if item in kept]


def as_items(folder: str, listed: Mapping[str, Sequence[str]], classes: Sequence[str]) -> list[Item]:
    """Listed files as items with class ids, in the order of their names."""
    ids = {label: number for number, label in enumerate(classes)}
    found = [
        Item(name, os.path.join(folder, *name.split("/")), ids[label])
        for label, names in listed.items()
        for name in names
    ]
    return sorted(found)
