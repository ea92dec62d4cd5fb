"""What a data set's reader tells beside errors: files that it passed over, and samples that it had to change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_MOST_NAMES = 3
NO_SUFFIX = "(no suffix)"
BROKEN_LINK = "(broken link)"
NO_FILE = "(no file)"

Tell = Callable[[str], None]
"""Takes what was found of a sample and what was done about it, such as 'cut off; what is left was read'."""


def unheard(text: str) -> None:
    """Tell nobody."""


@dataclass
class Told:
    """What is told of one data set, each with the names that it is about.

    Args:
        passed: The files that were passed over, by their suffix.
        remarks: The samples that something is said of, by what it is.
    """

    passed: dict[str, set[str]] = field(default_factory=dict)
    remarks: dict[str, set[str]] = field(default_factory=dict)

    def pass_over(self, name: str, why: str = "") -> None:
        """A file is no sample, by its suffix or for another reason."""
        suffix = why or os.path.splitext(name)[1].lower() or NO_SUFFIX
        self.passed.setdefault(suffix, set()).add(name)

    def remark(self, text: str, names: Iterable[str]) -> None:
        """Something is said of samples; of each one once, however many subsets it is in."""
        self.remarks.setdefault(text, set()).update(names)

    def about(self, name: str) -> Tell:
        """What takes remarks about one sample."""
        return lambda text: self.remark(text, [name])

    def join(self, other: Told) -> None:
        """Tell what another one tells, too."""
        for suffix, names in other.passed.items():
            self.passed.setdefault(suffix, set()).update(names)
        for text, names in other.remarks.items():
            self.remark(text, names)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many files were passed over by suffix, and how many samples have each remark; nothing of what isn't."""
        found = {
            "passed_over": self._passed_counts(),
            "remarks": {text: len(self.remarks[text]) for text in self._said},
        }
        return {name: counts for name, counts in found.items() if counts}

    def notes(self) -> list[str]:
        """The same as lines for people."""
        lines = [
            f"{counted(len(self.remarks[text]), 'sample')} {text}: {_some(self.remarks[text])}" for text in self._said
        ]
        passed = self._passed_counts()
        if passed:
            each = ", ".join(f"{count:,} {suffix}" for suffix, count in passed.items())
            lines.append(f"{counted(sum(passed.values()), 'file')} passed over: {each}")
        return lines

    @property
    def _said(self) -> list[str]:
        return sorted(self.remarks)

    def _passed_counts(self) -> dict[str, int]:
        """The most frequent suffix first."""
        counts = {suffix: len(names) for suffix, names in self.passed.items()}
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def counted(count: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _MOST_NAMES
    return ", ".join(ordered[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
