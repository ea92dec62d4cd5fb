"""Write results as JSON, CSV and aligned text: the same values give the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mltkbuild.shown import csv_cell, shown


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document with sorted keys; NaN and infinity, which JSON lacks, are a ValueError."""
    text = json.dumps(document, sort_keys=True, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table whose lines end in a line feed; None is an empty cell, and no text a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(csv_cell, row) for row in (columns, *rows))
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the cells of a table, all rows of one length: the first column to the left, the others to the right."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return lines


def figure_text(value: float | None, form: str = ".4f") -> str:
    """A figure for people; `-` for one that is undefined."""
    return "-" if value is None else format(value, form)
