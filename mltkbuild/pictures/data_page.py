"""One HTML page that shows a data set: counts, balance, samples as they are and as the model sees them, anomalies."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mltkbuild.shown import shown

_LEAST_SIDE, _MOST_SIDE = 96, 320
_MOST_NAMES = 12


@dataclass(frozen=True)
class Picture:
    """A sample as an image.

    Args:
        caption: What it shows.
        png: A PNG file.
        width: Its width on the page, in pixels.
    """

    caption: str
    png: bytes
    width: int


@dataclass(frozen=True)
class Sound:
    """A sample as a recording.

    Args:
        caption: What it is.
        data: An audio file.
        kind: Its media type, such as `audio/wav`.
    """

    caption: str
    data: bytes
    kind: str


@dataclass(frozen=True)
class Shown:
    """One sample on the page.

    Args:
        name: The sample's name.
        label: Its class.
        subset: Its subset.
        media: What is shown of it.
    """

    name: str
    label: str
    subset: str
    media: Sequence[Picture | Sound]


@dataclass(frozen=True)
class Finding:
    """An anomaly that some samples have.

    Args:
        what: The anomaly.
        names: Which samples have it.
    """

    what: str
    names: Sequence[str]


@dataclass(frozen=True)
class Page:
    """All that the page shows.

    Args:
        title: The model's name.
        shape: The shape of one sample, as the model sees it.
        counts: How many samples of each class a subset has, by subset and class.
        findings: Anomalies; those without names are left out.
        shown: The samples.
    """

    title: str
    shape: tuple[int, ...]
    counts: Mapping[str, Mapping[str, int]]
    findings: Sequence[Finding]
    shown: Sequence[Shown]


def picture(caption: str, sample: np.ndarray, *, is_features: bool = False) -> Picture | None:
    """Draw a sample.

    Args:
        caption: What it shows.
        sample: An image of shape (height, width) or (height, width, 1, 3 or 4), or a series of shape (n,) or (n, 1);
            any finite numbers, the least one drawn dark and the greatest one bright.
        is_features: Whether it is a spectrogram of shape (time, channel): drawn in colours, time to the right.

    Returns:
        None for a sample of another shape.
    """
    values = np.asarray(sample, np.float32)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim == 1 and values.size > 1:
        return _curve(caption, values)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        return None
    low, high = float(values.min()), float(values.max())
    scaled = np.zeros_like(values) if high == low else (values - low) / (high - low)
    pixels = (scaled * 255).round().astype(np.uint8)
    return _png(caption, _in_colours(pixels.T[::-1]) if is_features and values.ndim == 2 else pixels)


def _in_colours(levels: np.ndarray) -> np.ndarray:
    from matplotlib import colormaps

    table = (colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    coloured: np.ndarray = table[levels]
    return coloured


def _png(caption: str, pixels: np.ndarray) -> Picture:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    width = pixels.shape[1] * max(1, -(-_LEAST_SIDE // max(pixels.shape[:2])))
    return Picture(caption, file.getvalue(), min(width, _MOST_SIDE))


def _curve(caption: str, values: np.ndarray) -> Picture:
    """A series as a line of pixels, as wide as the page shows pictures."""
    height, width = _LEAST_SIDE, _MOST_SIDE
    low, high = float(values.min()), float(values.max())
    places = np.interp(np.linspace(0, len(values) - 1, width), np.arange(len(values)), values)
    level = np.zeros(width) if high == low else (places - low) / (high - low)
    rows = ((1 - level) * (height - 1)).round().astype(int)
    pixels = np.full((height, width), 255, np.uint8)
    previous = rows[0]
    for column, row in enumerate(rows):
        pixels[min(previous, row) : max(previous, row) + 1, column] = 40
        previous = row
    return _png(caption, pixels)


def write(path: Path, page: Page) -> None:
    """Write the page; equal contents give equal bytes, and it needs no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(page)) + "\n", encoding="utf-8")


def _lines(page: Page) -> Iterator[str]:
    title = _text(page.title)
    yield _HEAD.format(title=title)
    total = sum(sum(counts.values()) for counts in page.counts.values())
    shape = " x ".join(map(str, page.shape))
    yield f"<h1>{title}</h1><p>{total:,} samples of {shape} values</p>"
    yield from _balance(page.counts)
    yield from _findings(page.findings)
    for subset in page.counts:
        yield from _samples(subset, [one for one in page.shown if one.subset == subset])
    yield "</main></body></html>"


def _balance(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A row for each class: its samples in every subset, as numbers and as bars."""
    labels = list(dict.fromkeys(label for subset in counts.values() for label in subset))
    most = max((count for subset in counts.values() for count in subset.values()), default=0) or 1
    yield "<h2>Samples by class</h2><table><thead><tr><th>class</th>"
    yield "".join(f"<th>{_text(subset)}</th>" for subset in counts) + "</tr></thead><tbody>"
    for label in labels:
        cells = []
        for subset in counts.values():
            count = subset.get(label, 0)
            bar = f'<span class="bar" style="width:{count / most * 8:.2f}rem"></span>'
            cells.append(f'<td>{bar}<span class="count">{count:,}</span></td>')
        yield f"<tr><th>{_text(label)}</th>{''.join(cells)}</tr>"
    sums = "".join(f"<td>{sum(subset.values()):,}</td>" for subset in counts.values())
    yield f"</tbody><tfoot><tr><th>all</th>{sums}</tr></tfoot></table>"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    found = [finding for finding in findings if finding.names]
    yield "<h2>Worth a look</h2>"
    if not found:
        yield "<p>No anomalies were found.</p>"
        return
    yield "<ul>"
    for finding in found:
        names = ", ".join(_text(name) for name in finding.names[:_MOST_NAMES])
        more = f" and {len(finding.names) - _MOST_NAMES:,} more" if len(finding.names) > _MOST_NAMES else ""
        yield f"<li><strong>{_text(finding.what)}</strong> ({len(finding.names):,}): {names}{more}</li>"
    yield "</ul>"


def _samples(subset: str, shown: Sequence[Shown]) -> Iterator[str]:
    if not shown:
        return
    yield f"<h2>{_text(subset.capitalize())}</h2>"
    for label in dict.fromkeys(one.label for one in shown):
        yield f'<h3>{_text(label)}</h3><div class="samples">'
        for one in shown:
            if one.label == label:
                media = "".join(_figure(part) for part in one.media)
                yield f'<section><div class="media">{media}</div><p class="name">{_text(one.name)}</p></section>'
        yield "</div>"


def _figure(part: Picture | Sound) -> str:
    caption = _text(part.caption)
    if isinstance(part, Sound):
        source = f"data:{part.kind};base64,{base64.b64encode(part.data).decode()}"
        return (
            f'<figure><audio controls preload="none" src="{source}"></audio><figcaption>{caption}</figcaption></figure>'
        )
    source = f"data:image/png;base64,{base64.b64encode(part.png).decode()}"
    image = f'<img src="{source}" width="{part.width}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _text(text: str) -> str:
    """A text of anybody as a part of the page."""
    return html.escape(shown(text))


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: data</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --bar: #3b78c4; --card: #8881; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 0; }}
main {{ max-width: 72rem; margin: 0 auto; padding: 1.5rem; }}
h1 {{ margin: 0; }} h2 {{ margin: 2rem 0 .5rem; }} h3 {{ margin: 1rem 0 .3rem; font-size: 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .15rem .8rem .15rem 0; text-align: left; white-space: nowrap; }}
tr {{ border-bottom: 1px solid var(--line); }}
.bar {{ display: inline-block; height: .7rem; background: var(--bar); border-radius: 2px; margin-right: .4rem; }}
.count {{ font-variant-numeric: tabular-nums; }}
.samples {{ display: flex; flex-wrap: wrap; gap: .8rem; }}
section {{ background: var(--card); border-radius: 6px; padding: .6rem; max-width: 100%; }}
.media {{ display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; }}
figure {{ margin: 0; }} figcaption, .name {{ font-size: .8rem; opacity: .75; }}
.name {{ margin: .3rem 0 0; overflow-wrap: anywhere; }}
img {{ image-rendering: pixelated; display: block; max-width: 100%; height: auto; }}
audio {{ height: 2.2rem; width: 15rem; max-width: 100%; }}
</style>
</head>
<body><main>"""
