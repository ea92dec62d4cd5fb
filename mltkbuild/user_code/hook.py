"""The one audit hook of this process: it hands what Python tells to what is watched now."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType

from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.user_code.watched import Watched

Handler = Callable[[Watched, tuple[object, ...], FrameType | None], None]


class Hook:
    """Hooks can't be removed, so this one is quiet unless something is watched.

    Attributes:
        current: What is watched now.
        handlers: What to do at an event, by its name.
    """

    def __init__(self) -> None:
        self.current: Watched | None = None
        self.handlers: dict[str, Handler] = {}
        self._installed = False

    def install(self) -> None:
        """Add it to this process, once."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self)
            if hasattr(os, "register_at_fork"):
                # Nobody hears what a forked process has seen.
                os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self.current = None

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """Take an event that Python tells of."""
        watched = self.current
        if watched is None:
            return
        handler = self.handlers.get(event)
        if handler is not None and not OWN_READING.now:
            OWN_READING.now = True
            try:
                handler(watched, args, sys._getframe().f_back)
            finally:
                OWN_READING.now = False


HOOK = Hook()
