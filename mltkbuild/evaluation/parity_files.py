"""Write how well a float model and its `.tflite` agree: JSON, text, a table and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mltkbuild.evaluation.documents import OutputsParity, ParityResults
from mltkbuild.evaluation.evaluation_files import heading
from mltkbuild.evaluation.parity import LARGEST, Parity, Row
from mltkbuild.evaluation.tables import aligned, figure_text, write_csv, write_json
from mltkbuild.pictures.columns import Panel, columns_png

VERSION = 1
COLUMNS = (
    *("output", "sample", "label", "float_answer", "float_score", "tflite_answer", "tflite_score", "difference"),
    *("difference_lsb", "answers_part"),
)


def _figure(value: float | None) -> float | None:
    return None if value is None else float(f"{float(value):.6g}")


def as_json(parity: Parity) -> ParityResults:
    """The comparison of one output as a document; `version` counts its format."""
    return {
        "version": VERSION,
        "n_samples": parity.samples,
        "agreement": _figure(parity.agreement),
        "parted": list(parity.parted),
        "largest_difference": _figure(parity.largest),
        "largest_difference_lsb": _figure(parity.largest_lsb),
        "mean_difference": _figure(parity.mean),
        "mean_difference_lsb": _figure(parity.lsb(parity.mean)),
        "percentile_99_difference": _figure(parity.percentile_99),
        "percentile_99_difference_lsb": _figure(parity.lsb(parity.percentile_99)),
        "lsb": _figure(parity.scale),
        "histogram": {
            "unit": "LSB" if parity.scale else "output",
            "up_to": [*parity.up_to, None],
            "counts": list(parity.histogram),
        },
    }


def as_text(parity: Parity, title: str) -> str:
    """The comparison of one output for people."""
    figures = [["samples compared", str(parity.samples)]]
    if parity.agreement is not None:
        figures.append(["answers that agree", f"{parity.samples - len(parity.parted)} ({_share(parity.agreement)})"])
    for name, value in (("largest", parity.largest), ("mean", parity.mean), ("99th percentile", parity.percentile_99)):
        steps = f" ({parity.lsb(value):.2f} LSB)" if parity.scale else ""
        figures.append([f"{name} difference", f"{value:.6g}{steps}"])
    lines = [*heading(title), *(f"{name.ljust(28)}{value}" for name, value in figures)]
    unit = "LSB" if parity.scale else "of the output"
    told = [[name, str(count)] for name, count in zip(_bin_names(parity), parity.histogram, strict=True) if count]
    lines += ["", *aligned([[f"difference, {unit}", "values"], *told])]
    parted = [row for row in parity.rows if row.parts]
    if parted:
        rows = [["samples whose answers part", "true", "float", "score", ".tflite", "score"]]
        rows += [_part_cells(row) for row in parted[:LARGEST]]
        lines += ["", *aligned(rows)]
        lines += [f"and {len(parted) - LARGEST} more in parity.csv"] * (len(parted) > LARGEST)
    return "\n".join([*lines, ""])


def _share(agreement: float) -> str:
    """A share in percent; 100 % only if it is all."""
    return f"{min(agreement, 0.9999):.2%}" if agreement < 1 else "100%"


def _part_cells(row: Row) -> list[str]:
    (first, second), (before, after) = row.answers or ("", ""), row.scores or (0.0, 0.0)
    return [str(row.sample), row.label or "", first, figure_text(before), second, figure_text(after)]


def _bin_names(parity: Parity) -> list[str]:
    """What each bin of the histogram holds."""
    ends = [f"{end:g}" for end in parity.up_to]
    if not parity.scale:
        return ["0", *(f"to {end}" for end in ends[1:]), f"over {ends[-1]}"]
    starts = [f"{end + 1:g}" for end in (-1, *parity.up_to)]
    pairs = zip(starts[:-1], ends, strict=True)
    return [*(start if start == end else f"{start} to {end}" for start, end in pairs), f"{starts[-1]} or more"]


def _table(parities: Mapping[str, Parity]) -> Iterator[list[object]]:
    for place, (name, parity) in enumerate(parities.items()):
        for row in parity.rows:
            answers, scores = row.answers or (None, None), row.scores or (None, None)
            told = [answers[0], _figure(scores[0]), answers[1], _figure(scores[1])]
            steps = _figure(parity.lsb(row.difference))
            # The one output was 0 before outputs had names.
            output = name if len(parities) > 1 else place
            yield [output, row.sample, row.label, *told, _figure(row.difference), steps, int(row.parts)]


def write(folder: Path, title: str, parities: Mapping[str, Parity]) -> ParityResults | OutputsParity:
    """Write `parity.json`, `parity.txt`, `parity.csv` and `parity.png`; the same values give the same bytes.

    Args:
        folder: Where the files go; it is made if it isn't there.
        title: The heading of the text and the picture.
        parities: One per output, by its name. The document of several has them as a list, `outputs`.

    Returns:
        The document.
    """
    folder.mkdir(parents=True, exist_ok=True)
    several = len(parities) > 1
    documents = [as_json(parity) for parity in parities.values()]
    found: ParityResults | OutputsParity = documents[0]
    if several:
        named = [{**one, "output": name} for name, one in zip(parities, documents, strict=True)]
        found = {"version": VERSION, "agreement": _least_agreement(parities), "outputs": named}  # type: ignore[typeddict-item]
    write_json(folder / "parity.json", found)
    texts = [as_text(one, f"{title}, output {name}" if several else title) for name, one in parities.items()]
    (folder / "parity.txt").write_text("\n".join(texts), encoding="utf-8")
    write_csv(folder / "parity.csv", COLUMNS, _table(parities))
    panels = [_panel(parity, f"output {name}" if several else "") for name, parity in parities.items()]
    columns_png(folder / "parity.png", panels, title=title)
    return found


def _least_agreement(parities: Mapping[str, Parity]) -> float | None:
    """The agreement of the output whose answers part most; None without classes."""
    known = [parity.agreement for parity in parities.values() if parity.agreement is not None]
    return _figure(min(known, default=None))


def _panel(parity: Parity, name: str) -> Panel:
    """The histogram of one output, without the empty bins after the last one that has values."""
    used = max((place for place, count in enumerate(parity.histogram) if count), default=0) + 1
    unit = "LSB" if parity.scale else "units of the output"
    below = f"difference of an output value, {unit}"
    return Panel(name, _bin_names(parity)[:used], parity.histogram[:used], below, "output values")
