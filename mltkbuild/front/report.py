"""Values to text: reasons, durations, sizes, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mltkbuild.disk import inputs
from mltkbuild.disk.answers import EVERY
from mltkbuild.engine.freshness import Reason
from mltkbuild.shown import shown
from mltkbuild.stages.table import Figure, Stage
from mltkbuild.training.epochs import TELLING

_METRICS = 3
_MOST_TELLING = ("binary_accuracy", "accuracy", "mean_squared_error")
WORD = 12
"""A longer word is cut within, so that no line loses much more than it must."""

_PLAIN = frozenset({inputs.TOOL, inputs.LIBRARY, inputs.OPTION})
_OF = {
    inputs.CODE: "code",
    inputs.TEXT: "text",
    inputs.SIZE: "the size",
    inputs.MODIFIED: "the time",
    inputs.LINK: "the target",
}
_THERE = {"absent": "is gone", "link": "is gone", "file": "is a file now", "folder": "is a folder now"}


def reason_text(reason: Reason) -> str:
    """One reason in words; a record may be a stranger's, and so may the names in it."""
    return shown(_reason_text(reason))


def _reason_text(reason: Reason) -> str:
    if not reason.subject:
        words = {"forced": "asked for", "unfinished": "its publication was interrupted"}
        return words.get(reason.kind, reason.kind if reason.old is None else reason.old)
    if reason.kind == "bad record":
        return f"its record can't be read ({reason.old})"
    if reason.kind == "unreadable":
        return f"{reason.subject}: {reason.old}"
    if reason.kind == "artifact missing":
        return f"{reason.subject} is missing"
    if reason.kind == "artifact changed":
        return f"{reason.subject} is not what was built"
    return _input_text(reason)


def _input_text(reason: Reason) -> str:
    kind, subject = inputs.parse(reason.subject)
    if kind == inputs.REVISION:
        return "mltkbuild makes this stage differently now"
    if kind == inputs.IMPORTS:
        return f"the workspace now has modules that the spec imports: {reason.new or 'none'}"
    if kind in _PLAIN:
        return _plain_text(reason, subject, option=kind == inputs.OPTION)
    verb = {"input new": "is new", "input gone": "is gone"}.get(reason.kind, "changed")
    if kind in _OF:
        return f"{_OF[kind]} of {subject} {verb}"
    if kind == inputs.VARIABLE:
        # Never its value, which may be a secret.
        return f"{'the environment' if subject == EVERY else reason.subject} {verb}"
    if kind == inputs.EXISTS:
        verb = "is there now" if reason.old == "absent" else _THERE.get(str(reason.new), verb)
    return f"{reason.subject if kind == inputs.FILES else subject} {verb}"


def _plain_text(reason: Reason, name: str, *, option: bool) -> str:
    """A reason whose digests are readable values."""
    unset = "the spec's value" if option else "none"
    return f"{name}: {reason.old or unset} -> {reason.new or unset}"


def figure_value(figure: Figure, facts: Mapping[str, object]) -> object:
    """A figure as a record has it; None when it has none."""
    value: object = facts
    for key in figure.fact:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if figure.fact else None


def figure_text(figure: Figure, value: object) -> str:
    """A figure in words; empty for a value that is none."""
    if figure.unit == "metric":
        metrics = value if isinstance(value, Mapping) else {}
        name = next((name for name in TELLING if name in metrics), None)
        return f"{name} {metrics[name]:.4f}" if name else ""
    if figure.unit == "metrics":
        return metrics_text(value) if isinstance(value, Mapping) else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return {"bytes": size, "rate": "{:.4f}".format, "count": "{:,}".format}[figure.unit](value)


def metrics_text(metrics: Mapping[str, object]) -> str:
    """Of the metrics of an evaluation the ones that tell most of each output; else the first ones."""
    known = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    best: dict[str, tuple[int, str]] = {}
    for name in known:
        rank = next((rank for rank, end in enumerate(_MOST_TELLING) if f"_{name}".endswith(f"_{end}")), None)
        if rank is not None:
            output = name.removesuffix(_MOST_TELLING[rank])
            best[output] = min(best.get(output, (rank, name)), (rank, name))
    names = [name for _, name in best.values()] or list(known)
    more = f" (and {len(names) - _METRICS} more)" if len(names) > _METRICS else ""
    texts = (f"{name} {known[name]:{'.4f' if name.endswith('accuracy') else '.4g'}}" for name in names[:_METRICS])
    return ", ".join(texts) + more


def figures_text(stage: Stage, facts: Mapping[str, object]) -> str:
    """The figures of a record that people look for first."""
    texts = ((figure, figure_text(figure, figure_value(figure, facts))) for figure in stage.figures if figure.shown)
    return ", ".join(figure.shown.format(text) for figure, text in texts if text)


def reasons_text(reasons: Sequence[Reason], limit: int = 1) -> str:
    """The first reasons in words, and how many more there are."""
    return first_of([reason_text(reason) for reason in reasons], limit)


def first_of(texts: Sequence[str], limit: int = 1, between: str = "; ") -> str:
    """The first texts, and how many more there are."""
    more = len(texts) - limit
    return between.join(texts[:limit]) + (f" (and {more} more)" if more > 0 else "")


def either(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def cut(text: str, limit: int = 72) -> str:
    """A text in one line, its end cut when it is long: behind a word if one ends near."""
    text = " ".join(text.splitlines())
    if len(text) <= limit:
        return text
    head = text[: limit - 3]
    whole = head.rpartition(" ")[0] if text[limit - 3] != " " else head
    return (whole if len(head) - len(whole) <= WORD else head).rstrip(" ,;(") + "..."


def duration(seconds: float) -> str:
    """A time for people: `3.1 s`, `2 min 5 s`, `2 h 10 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """A size for people, in powers of 1024: `512 B`, `13.5 KiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} GiB"


def plural(count: int, word: str) -> str:
    """`1 stage`, `2 stages`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, each row one line, as wide as their widest cell, two spaces apart."""
    lines = [[shown(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
