"""Lists of the samples in a folder by class, as `mltk.core.preprocess.utils` makes them, without its index files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mltkbuild.data.listing import folders_of, list_files
from mltkbuild.errors import DataError

_SEED, _GROUP_SEED = 43, 42
"""MLTK's, when a spec gives none."""
_NO_CLASS = ("_", "~")


def list_dataset_directory(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    directory: str,
    classes: Sequence[str],
    unknown_class_percentage: float | None = 1.0,
    unknown_class_label: str | None = None,
    empty_class_percentage: float | None = 1.0,
    empty_class_label: str | None = None,
    class_counts: dict[str, int] | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    split: tuple[float, float] | None = None,
    max_samples_per_class: int = -1,
    white_list_formats: Sequence[str] | None = None,
    follow_links: bool = False,
    shuffle_index_directory: str | None = None,
    return_absolute_paths: bool = False,
    list_valid_filenames_in_directory_function: Callable[..., tuple[str, list[str]]] | None = None,
    process_samples_function: Callable[..., None] | None = None,
) -> tuple[list[str | None], list[int]]:
    """List the samples of some classes.

    Args:
        directory: A folder with a folder for each class.
        classes: The labels; their order gives the class ids.
        unknown_class_percentage: How many unknown samples there are, by the mean of the other classes; None for none.
        unknown_class_label: The class whose samples come from the folders of no class.
        empty_class_percentage: The same for samples without a file.
        empty_class_label: Their class.
        class_counts: Takes how many samples each class has.
        shuffle: Whether the list is shuffled, which depends on `seed` alone.
        seed: For what is drawn; 43 when None.
        split: The first and the last share of each class to list, from 0 to 1; None for all.
        max_samples_per_class: How many of each class at most; -1 for all.
        white_list_formats: Endings of the names of samples; None for every file.
        follow_links: Whether folders behind symbolic links are searched.
        shuffle_index_directory: MLTK's place for its index; there is none, and nothing is written.
        return_absolute_paths: Whether the paths begin with `directory`.
        list_valid_filenames_in_directory_function: Instead of the function of that name.
        process_samples_function: Takes the paths by class before they are put together, and may change them.

    Returns:
        Paths, None for empty samples; and class ids.

    Raises:
        DataError: The folder can't be read, or a class has no samples.
    """
    seed = seed or _SEED
    lister = list_valid_filenames_in_directory_function or list_valid_filenames_in_directory
    endings = list(white_list_formats) if white_list_formats else None

    def listed(label: str) -> list[str]:
        return lister(
            base_directory=directory,
            search_class=label,
            white_list_formats=endings,
            split=split,
            follow_links=follow_links,
            shuffle_index_directory=shuffle_index_directory,
        )[1]

    special = {
        label
        for label, share in (
            (unknown_class_label, unknown_class_percentage),
            (empty_class_label, empty_class_percentage),
        )
        if share and label in classes
    }
    samples: dict[str, list[str | None]] = {label: [] for label in classes}
    for label in classes:
        if label not in (unknown_class_label, empty_class_label):
            samples[label] = list(_most(listed(label), max_samples_per_class))
    mean = sum(map(len, samples.values())) // max(1, len(classes) - len(special))
    if unknown_class_label in special:
        wanted = max(1, int(mean * (unknown_class_percentage or 0)))
        samples[str(unknown_class_label)] = list(_unknown(directory, classes, listed, wanted, seed))
    if empty_class_label in special:
        samples[str(empty_class_label)] = [None] * max(1, int(mean * (empty_class_percentage or 0)))
    if process_samples_function is not None:
        process_samples_function(
            directory=directory,
            sample_paths=samples,
            split=split,
            follow_links=follow_links,
            white_list_formats=endings,
            shuffle=shuffle,
            seed=seed,
        )
    samples = {label: list(_most(paths, max_samples_per_class)) for label, paths in samples.items()}
    if class_counts is not None:
        class_counts.update({label: len(paths) for label, paths in samples.items()})
    return _together(directory, samples, list(classes), seed if shuffle else None, return_absolute_paths)


def _together(
    directory: str, samples: dict[str, list[str | None]], classes: list[str], seed: int | None, absolute: bool
) -> tuple[list[str | None], list[int]]:
    """The samples of all classes in one list, with their class ids."""
    missing = [label for label, paths in samples.items() if not paths]
    if missing:
        fix = "put samples there, or take the class out of the list"
        raise DataError("a class has no samples", where=directory, found=", ".join(missing), fix=fix)
    pairs = [(path, classes.index(label)) for label, paths in samples.items() for path in paths]
    if seed is not None:
        order = np.random.RandomState(seed).permutation(len(pairs))
        pairs = [pairs[place] for place in order]
    paths = [os.path.join(directory, path) if absolute and path else path for path, _ in pairs]
    return paths, [label for _, label in pairs]


def _unknown(
    directory: str, classes: Sequence[str], listed: Callable[[str], list[str]], wanted: int, seed: int
) -> list[str]:
    """So many samples of the folders that are no class, as evenly from each as can be."""
    others = [name for name in folders_of(directory) if name not in classes and not name.startswith(_NO_CLASS)]
    found = {name: paths for name in others if (paths := listed(name))}
    if not found:
        fix = "add a folder with other samples, or take the class for unknown samples out of the list"
        raise DataError("there is no folder with unknown samples", where=directory, fix=fix)
    # In turn from each, so that no folder is left out because others come first.
    shuffled = [list(np.random.RandomState(seed).permutation(paths)) for paths in found.values()]
    longest = max(map(len, shuffled))
    in_turn = [str(paths[place]) for place in range(longest) for paths in shuffled if place < len(paths)]
    return sorted(in_turn[:wanted])


def _most(paths: Sequence[Any], limit: int) -> Sequence[Any]:
    return paths if limit == -1 else paths[:limit]


def list_valid_filenames_in_directory(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    base_directory: str,
    search_class: str,
    white_list_formats: Sequence[str] | None = None,
    split: tuple[float, float] | None = None,
    follow_links: bool = False,
    shuffle_index_directory: str | None = None,
) -> tuple[str, list[str]]:
    """List the files of one class, in an order that depends on their names alone.

    Args:
        base_directory: The data set's folder.
        search_class: The class, which is a folder in it.
        white_list_formats: Endings of the names of samples; None for every file.
        split: The first and the last share to list, from 0 to 1; None for all.
        follow_links: Whether folders behind symbolic links are searched.
        shuffle_index_directory: MLTK's place for its index; there is none.

    Returns:
        The class, and its files relative to the data set's folder.
    """
    endings = tuple(ending.lower() for ending in white_list_formats or ("",))
    files = list_files(base_directory, search_class, endings, follow_links=follow_links)
    mixed = [files[place] for place in np.random.RandomState(_SEED).permutation(len(files))]
    return search_class, split_file_list(mixed, split)


def split_file_list(paths: Sequence[str], split: tuple[float, float] | None = None) -> list[str]:
    """A part of a list.

    Args:
        paths: The list.
        split: Where the part begins and ends, from 0 to 1; None for all. Parts that touch have no path in common.
    """
    if not split:
        return list(paths)
    start, stop = (math.ceil(share * len(paths)) for share in split)
    return list(paths[start:stop])


def shuffle_file_list_by_group(
    paths: Sequence[str], group_callback: Callable[[str], str], seed: int = _GROUP_SEED
) -> list[str]:
    """Shuffle a list so that paths of one group stay together: a split then tears at most one group apart.

    Args:
        paths: The list, in any order.
        group_callback: Gives a path's group.
        seed: What the order of the groups depends on.
    """
    groups: dict[str, list[str]] = {}
    for path in sorted(paths):
        groups.setdefault(group_callback(path), []).append(path)
    names = sorted(groups)
    np.random.RandomState(seed).shuffle(names)
    return [path for name in names for path in groups[name]]
