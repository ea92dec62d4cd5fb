"""Assembles the page that shows a data set: samples of each class and subset, and anomalies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import audio_files
from mltkbuild.data import samples as data
from mltkbuild.data.lazy import LazyRows
from mltkbuild.data.listing import Item
from mltkbuild.data.parts import by_name as arrays_of
from mltkbuild.data.parts import first_of
from mltkbuild.data.prepared import WORKERS, bad_of, names_of, told_of
from mltkbuild.data.splits import SUBSETS
from mltkbuild.data.told import Told
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import DataError
from mltkbuild.pictures import data_page
from mltkbuild.spec.any_model import is_prepared
from mltkbuild.stages import prepare
from mltkbuild.stages.stage_run import StageRun

EACH = {"training": 4, "validation": 2, "evaluation": 2}
"""So many samples of each class are shown."""
DRAWS = 2
_MEDIA = {
    **dict.fromkeys((".wav", ".wave"), "audio/wav"),
    **dict.fromkeys((".ogg", ".oga", ".opus"), "audio/ogg"),
    **{".flac": "audio/flac", ".mp3": "audio/mpeg"},
}
"""Recordings that browsers play."""
_LARGEST_SOUND = 2 << 20


def view_data(run: StageRun) -> None:
    """Write the page."""
    parts = {subset: _part(run, subset) for subset in SUBSETS}
    labels = {subset: _labels(run, part) for subset, part in parts.items()}
    classes = list(run.data.classes or ())
    counts = {
        subset: {label: int((labels[subset] == number).sum()) for number, label in enumerate(classes)}
        if classes
        else {"all": 0 if part is None or part.is_stream else len(part)}
        for subset, part in parts.items()
    }
    source = _found(run) if is_prepared(run.model) else prepare.Source({})
    files = {item.name: item for items in source.items.values() for item in items}
    shown = [one for subset in SUBSETS for one in _shown(run, subset, parts[subset], labels[subset], files)]
    shape = next((_shape(part) for part in parts.values() if part is not None and not part.is_stream), ())
    page = data_page.Page(run.request.target, shape, counts, _findings(run, parts, source), shown)
    data_page.write(run.files.own("data_view.html"), page)
    run.outcome.facts |= {"samples": {subset: sum(part.values()) for subset, part in counts.items()}}


def _shape(part: data.Samples) -> tuple[int, ...]:
    """The shape of a sample; of several inputs that of the first."""
    return tuple(first_of(part.x).shape[1:])


def _part(run: StageRun, subset: str) -> data.Samples | None:
    """The samples of a subset as the stages get them."""
    if is_prepared(run.model):
        return run.data.prepared(subset)
    if subset == "evaluation":
        return run.data.load_evaluation()
    training, validation = run.data.load("training")
    return training if subset == "training" else validation


def _labels(run: StageRun, part: data.Samples | None) -> np.ndarray:
    if part is None:
        return np.empty(0, np.int64)
    if isinstance(part.x, LazyRows):
        return np.asarray(part.x.labels[part.x.chosen])
    found = data.labels(part) if run.data.classes is not None else None
    return np.zeros(0 if part.is_stream else len(part), np.int64) if found is None else np.asarray(found)


def _found(run: StageRun) -> prepare.Source:
    """The items of the data set, to find what the samples were made of."""
    with run.code.running("the data set", DataError, count=False):
        return run.data.find_samples()


def _shown(
    run: StageRun, subset: str, part: data.Samples | None, labels: np.ndarray, files: Mapping[str, Item]
) -> Iterator[data_page.Shown]:
    if part is None or part.is_stream:
        return
    numbered = [f"{subset} {number}" for number in range(len(part))]
    names = names_of(run.files.kept, subset) if is_prepared(run.model) else numbered
    classes = list(run.data.classes or ("all",))
    for number, label in enumerate(classes):
        chosen = np.flatnonzero(labels == number)[: EACH[subset]]
        if not len(chosen):
            continue
        rows = _seen(run, subset, part, chosen)
        for place, row in zip(chosen, rows, strict=True):
            yield data_page.Shown(names[place], label, subset, _media(files.get(names[place]), row))


def _seen(run: StageRun, subset: str, part: data.Samples, chosen: np.ndarray) -> list[list[tuple[str, np.ndarray]]]:
    """What the model sees of some samples: without randomness, and as training draws them."""
    if not isinstance(part.x, LazyRows):
        arrays = arrays_of(part.x)
        return [[(name, array[place]) for name, array in arrays.items()] for place in chosen]
    few = part.x[chosen]
    with run.code.running("the data set", DataError, count=False):
        versions = [("as it is", np.asarray(few))]
        if run.model.augments(subset):
            seed = run.peek.seed
            versions += [(f"augmented {number + 1}", few.drawn(seed + number)) for number in range(DRAWS)]
    return [[(caption, rows[place]) for caption, rows in versions] for place in range(len(chosen))]


def _media(item: Item | None, seen: Sequence[tuple[str, np.ndarray]]) -> list[Any]:
    """A sample's recording, if it has one, and its pictures."""
    suffix = Path(item.path).suffix.lower() if item is not None and item.path else ""
    kind = _MEDIA.get(suffix)
    found: list[Any] = []
    if item is not None and kind is not None and Path(item.path).stat().st_size <= _LARGEST_SOUND:
        found.append(data_page.Sound("the recording", Path(item.path).read_bytes(), kind))
    is_features = suffix in audio_files.SUFFIXES or (item is not None and not item.path and " " not in item.name)
    drawn = (data_page.picture(caption, row, is_features=is_features) for caption, row in seen)
    return [*found, *(picture for picture in drawn if picture is not None)]


# -- anomalies -------------------------------------------------------------------------------------------------------


def _findings(
    run: StageRun, parts: Mapping[str, data.Samples | None], source: prepare.Source
) -> list[data_page.Finding]:
    contents = _contents(source) if is_prepared(run.model) else _rows(parts)
    findings = [data_page.Finding("in training, and the same again in validation or evaluation", _twice(contents))]
    if is_prepared(run.model):
        bad = [name for subset in SUBSETS for name in bad_of(run.files.kept, subset)]
        findings.append(data_page.Finding("left out, for they can't be read", bad))
        items = [item for part in source.items.values() for item in part]
        findings += [
            data_page.Finding(what, names)
            for what, names in prepare.plan_of(run.model).anomalies(run.model, items).items()
        ]
        for subset in SUBSETS:
            run.data.told.join(told_of(run.files.kept, subset))
    return [*findings, *_told(run.data.told)]


def _told(told: Told) -> Iterator[data_page.Finding]:
    """What the reader of the data set's folder told, as the data stage did."""
    for text, names in sorted(told.remarks.items()):
        yield data_page.Finding(text, sorted(names))
    for suffix, names in sorted(told.passed.items()):
        yield data_page.Finding(f"passed over as no samples: {suffix}", sorted(names))


def _contents(source: prepare.Source) -> dict[str, dict[str, str]]:
    """Digests of what samples were made of, by subset and name."""

    def digest(item: Item) -> str:
        content = source.read(item)
        return (
            ""
            if content is None
            else bytes_digest(content if isinstance(content, bytes) else np.asarray(content).tobytes())
        )

    found = {}
    for subset, items in source.items.items():
        with ThreadPoolExecutor(WORKERS) as pool:
            found[subset] = {item.name: made for item, made in zip(items, pool.map(digest, items), strict=True) if made}
    return found


def _rows(parts: Mapping[str, data.Samples | None]) -> dict[str, dict[str, str]]:
    """Digests of samples in memory, by subset and name."""
    return {
        subset: {
            f"{subset} {number}": bytes_digest(b"".join(np.asarray(row).tobytes() for row in rows))
            for number, rows in enumerate(zip(*arrays_of(part.x).values(), strict=True))
        }
        for subset, part in parts.items()
        if part is not None and not part.is_stream
    }


def _twice(digests: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Samples for validation or evaluation whose content training has, too."""
    trained = digests.get("training", {})
    known = set(trained.values())
    held = {**digests.get("validation", {}), **digests.get("evaluation", {})}
    return [name for name, digest in held.items() if digest in known and name not in trained]
