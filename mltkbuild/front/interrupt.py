"""Ctrl+C and SIGTERM: the workers end, a training with a checkpoint; a second one doesn't wait for that."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

Then = Callable[[int, FrameType | None, list[str]], None]


class Interrupt:
    """Answers signals while it is in force, in the main thread.

    Args:
        end: Ends the workers and gives what trainings have kept; `Builder.interrupt`.
        signals: The signals that it answers.
        then: Called when the workers have ended, with the signal, its frame, and what was kept; raises.
    """

    def __init__(self, end: Callable[[Callable[[], bool]], list[str]], signals: Sequence[int], then: Then) -> None:
        self._end = end
        self._signals = signals
        self._then = then
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """From now on the signals are answered here."""
        for number in self._signals:
            self._before[number] = signal.signal(number, self._answer)

    def over(self) -> None:
        """From now on they are answered as before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _answer(self, number: int, frame: FrameType | None) -> None:
        again: list[int] = []
        for each in self._signals:
            signal.signal(each, lambda number, frame: again.append(number))
        kept = self._end(lambda: bool(again))
        # What is left to do is short, and must not be torn.
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)
        self._then(number, frame, kept)
