"""What is under way, and how long it still takes: told while it happens, to whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A moment of a measurement."""

    stage: str
    done: float
    """Of all the work, 0 to 1."""
    left: float | None
    """Seconds; None while nobody can say."""


class Progress:
    """Counts what is done (bytes moved, seconds passed) against what is to be done in all."""

    def __init__(self, tell: Callable[[Told], None] | None = None) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self._total = 0.0
        self._done = 0.0
        self._stage = ""

    def expect(self, size: float) -> None:
        """There is so much more to do than was known."""
        self._total += size

    def stage(self, name: str) -> None:
        """Something else begins."""
        self._stage = name
        self._say()

    def moved(self, size: float) -> None:
        """So much has been done."""
        self._done += size
        self._say()

    def _say(self) -> None:
        if self._tell is None:
            return
        share = min(1.0, self._done / self._total) if self._total else 0.0
        passed = time.monotonic() - self._began
        left = passed * (1 - share) / share if share > 0.02 else None
        self._tell(Told(stage=self._stage, done=share, left=left))
