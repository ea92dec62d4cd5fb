"""What is made of samples once and kept: rows in files under `data/features/`, and how they are read again."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mltkbuild.data.lazy import LazyRows, Rows, Transform
from mltkbuild.data.listing import Item
from mltkbuild.data.told import Tell, Told, unheard
from mltkbuild.errors import DataError

FOLDER = "data/features"
WORKERS = 2
_AHEAD = 8


class Preparation(Protocol):
    """How samples of one kind are prepared.

    Args:
        ragged: Whether rows that are prepared for random steps have several lengths.
    """

    ragged: bool

    def row(self, item: Item, content: Any, *, random: bool, tell: Tell = unheard) -> np.ndarray:
        """Prepare one sample.

        Args:
            item: The sample.
            content: The bytes of its file, or an array; None for a sample that has neither.
            random: Whether random steps follow: then only what comes before them is done.
            tell: Takes what is wrong with the sample and was mended.

        Returns:
            An array of a shape and type that all rows have; with `random` and `ragged` one of one dimension.

        Raises:
            DataError: The content can't be read.
        """

    def statistics(self, rows: Rows) -> dict[str, np.ndarray]:
        """What the preparation must know of all training rows together, such as their mean; empty for most."""

    def with_statistics(self, found: Mapping[str, np.ndarray]) -> Preparation:
        """The same preparation, which knows what `statistics` gave."""

    def transform(self, *, random: bool, prepared_for_random: bool) -> Transform:
        """What is left to do to a row.

        Args:
            random: Whether with the random steps.
            prepared_for_random: What `row` was told.
        """


@dataclass(frozen=True)
class Bad:
    """A sample that can't be used.

    Args:
        name: Its item's name.
        why: What is wrong.
    """

    name: str
    why: str

    @classmethod
    def of(cls, item: Item, error: DataError) -> Bad:
        """What an error says of an item."""
        return cls(item.name, error.what if error.found is None else f"{error.what}: {error.found}")


@dataclass(frozen=True)
class _Made:
    """What became of one sample: its row, or what is wrong with it; and what there is to tell."""

    item: Item
    found: np.ndarray | DataError
    remarks: Sequence[str]


Read = Callable[[Item], Any]
Progress = Callable[[int, int], None]


def write(  # noqa: PLR0913  # its one caller has each from elsewhere: an object for them would be taken apart at once
    scratch: Path,
    subset: str,
    items: Sequence[Item],
    preparation: Preparation,
    read: Read,
    *,
    random: bool,
    skip_bad: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Prepare the samples of one subset and write them.

    Args:
        scratch: The stage's scratch folder.
        subset: 'training', 'validation' or 'evaluation'.
        items: The samples, in the order in which they are kept.
        preparation: How.
        read: Gives what `Preparation.row` takes as content; called in threads.
        random: Whether random steps follow when the rows are used.
        skip_bad: Whether samples that can't be used are left out; else the first is an error.
        progress: Takes how many are done, of how many.

    Returns:
        What `data/features/SUBSET.json` holds: how many rows, their digest, names, the bad ones, and the names of those
        that something is told about, by what it is.

    Raises:
        DataError: A sample can't be used, or none is left.
    """
    folder = scratch / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    ragged = random and preparation.ragged
    kept: list[Item] = []
    bad: list[Bad] = []
    told = Told()

    def rows() -> Iterator[np.ndarray]:
        for done, made in enumerate(_prepared(items, preparation, read, random), 1):
            progress(done, len(items))
            if isinstance(made.found, np.ndarray):
                kept.append(made.item)
                for text in made.remarks:
                    told.remark(text, [made.item.name])
                yield made.found
            elif skip_bad:
                bad.append(Bad.of(made.item, made.found))
            else:
                raise made.found

    path = folder / f"{subset}.npy"
    lengths, digest = _write_rows(path, rows(), len(items), ragged)
    if not kept:
        raise DataError(f"the {subset} data has no usable sample", found=f"{len(bad)} bad ones", fix=_fix_for(bad))
    if ragged:
        np.save(folder / f"{subset}_starts.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    np.save(folder / f"{subset}_labels.npy", np.array([item.label for item in kept], np.int64))
    description = {
        "samples": len(kept),
        "random": random,
        "rows": digest,
        "names": [item.name for item in kept],
        "bad": [{"name": one.name, "why": one.why} for one in bad],
        "remarks": {text: sorted(names) for text, names in told.remarks.items()},
    }
    (folder / f"{subset}.json").write_text(json.dumps(description, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    return description


def _fix_for(bad: Sequence[Bad]) -> str:
    return f"the first is {bad[0].name}: {bad[0].why}" if bad else "put samples into the data set"


def _prepared(items: Sequence[Item], preparation: Preparation, read: Read, random: bool) -> Iterator[_Made]:
    """What becomes of each item, in order, a few made ahead in threads."""

    def make(item: Item) -> _Made:
        remarks: list[str] = []
        try:
            return _Made(item, preparation.row(item, read(item), random=random, tell=remarks.append), remarks)
        except DataError as error:
            return _Made(item, error.at(item.path or item.name), remarks)

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[_Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > WORKERS * _AHEAD:
                    yield waiting.popleft().result()
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _write_rows(path: Path, rows: Iterable[np.ndarray], most: int, ragged: bool) -> tuple[list[int], str]:
    """Write rows one after another as one `.npy` file.

    Returns:
        The length of each row, and SHA-256 over types, shapes and bytes.
    """
    digest = hashlib.sha256()
    lengths: list[int] = []
    shape: tuple[int, ...] | None = None
    with path.open("wb") as file:
        for row in rows:
            kind = (row.dtype.str, row.shape[1:] if ragged else row.shape)
            if shape is None:
                shape, first = row.shape, kind
                # numpy leaves room in the header for a longer first number; most rows are as many as there can be.
                _write_header(file, row, most, ragged)
                begin = file.tell()
                digest.update(repr(kind).encode())
            if kind != first:
                raise DataError(
                    "the samples don't all have one shape", found=f"{kind} after {first}", fix="resize them"
                )
            content = np.ascontiguousarray(row)
            digest.update(str(len(row)).encode() if ragged and row.ndim else b"")
            digest.update(content.data)
            file.write(content.data)
            lengths.append(len(row) if row.ndim else 1)
        if shape is not None:
            file.seek(0)
            _write_header(file, np.empty(shape, first[0]), sum(lengths) if ragged else len(lengths), ragged)
            if file.tell() != begin:
                raise AssertionError("numpy changed the length of its header")
    return lengths, digest.hexdigest()


def _write_header(file: Any, row: np.ndarray, count: int, ragged: bool) -> None:
    shape = (count,) if ragged else (count, *row.shape)
    descr = np.lib.format.dtype_to_descr(row.dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def load(
    artifact: Callable[[str], Path], subset: str, preparation: Preparation, *, random: bool, settings: str
) -> LazyRows:
    """The prepared samples of a subset, read from the disk as they are needed.

    Args:
        artifact: Gives an artifact's path.
        subset: 'training', 'validation' or 'evaluation'.
        preparation: How they were prepared.
        random: Whether random steps are wanted.
        settings: Stands for everything but the rows: the settings and code of the preparation.
    """
    folder = f"{FOLDER}/{subset}"
    description = json.loads(artifact(f"{folder}.json").read_text(encoding="utf-8"))
    was_random = bool(description["random"])
    ragged = was_random and preparation.ragged
    preparation = fitted(artifact, preparation)
    data = np.load(artifact(f"{folder}.npy"), mmap_mode="r", allow_pickle=False)
    starts = np.load(artifact(f"{folder}_starts.npy"), allow_pickle=False) if ragged else None
    rows = Rows(data, starts)
    plain = preparation.transform(random=False, prepared_for_random=was_random)
    return LazyRows(
        rows=rows,
        labels=np.load(artifact(f"{folder}_labels.npy"), allow_pickle=False),
        transform=preparation.transform(random=True, prepared_for_random=was_random) if random else plain,
        plain=plain,
        chosen=np.arange(len(rows)),
        digest=hashlib.sha256(f"{description['rows']} {settings}".encode()).hexdigest(),
    )


def names_of(artifact: Callable[[str], Path], subset: str) -> list[str]:
    """The names of a subset's samples, in the order of their rows."""
    return list(_description(artifact, subset)["names"])


def bad_of(artifact: Callable[[str], Path], subset: str) -> list[str]:
    """The names of the samples that were left out."""
    return [str(bad["name"]) for bad in _description(artifact, subset).get("bad", ())]


def told_of(artifact: Callable[[str], Path], subset: str) -> Told:
    """What was told of a subset's samples."""
    told = Told()
    for text, names in _description(artifact, subset).get("remarks", {}).items():
        told.remark(text, names)
    return told


def _description(artifact: Callable[[str], Path], subset: str) -> dict[str, Any]:
    path = artifact(f"{FOLDER}/{subset}.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"names": []}
    return found


STATISTICS = f"{FOLDER}/statistics.npz"


def fit(scratch: Path, preparation: Preparation) -> Preparation:
    """Let a preparation know its training rows, and keep what it learned for the later stages."""
    folder = scratch / FOLDER
    starts = folder / "training_starts.npy"
    data = np.load(folder / "training.npy", mmap_mode="r", allow_pickle=False)
    rows = Rows(data, np.load(starts, allow_pickle=False) if starts.exists() else None)
    found = preparation.statistics(rows)
    # An .npz holds no clock as NumPy writes it: every entry has the zip format's first date.
    np.savez(scratch / STATISTICS, **found)  # type: ignore[arg-type]  # NumPy's stub takes its own flag for an array
    return preparation.with_statistics(found)


def fitted(artifact: Callable[[str], Path], preparation: Preparation) -> Preparation:
    """The preparation as the data stage fitted it."""
    with np.load(artifact(STATISTICS), allow_pickle=False) as found:
        return preparation.with_statistics(dict(found))
