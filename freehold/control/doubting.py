"""Whether the clock may be believed by what takes things away for good.

A clock that jumps ahead makes everything old at once: the battery of a machine is dead, somebody mistyped
a year. Nothing else waits for it, but what a purge destroys does not come back when the clock does. So
purges wait for a day when the clock went ahead by more than time did, or when Freehold was away for long;
until then somebody has seen what `freehold status` says, or set the clock right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

HOUR = 3_600_000_000
AHEAD = HOUR
"""Microseconds by which the clock may go ahead of the machine's own count of time."""
AWAY = 7 * 24 * HOUR
"""Microseconds for which Freehold may be away without anybody wondering."""
WAITS = 24 * 3600.0
"""Seconds of the machine's own count for which purges wait then."""


def counted() -> float:
    """The machine's own count of seconds, which nobody can set; a laptop that slept did not jump."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True)
class Doubt:
    """What is held against the clock. Owned by the thread that begins purges."""

    because: str = ""
    """Why it is not believed; empty when it is."""
    count: Callable[[], float] = counted
    _last: tuple[int, float] | None = None
    _until: float = field(default=0.0)

    def look(self, now: int, known: int | None) -> bool:
        """Whether to doubt the time `now` (microseconds UTC).

        `known` is the last time that was believed before this process began, if there was any.
        """
        counted = self.count()
        if self._last is not None:
            at, then = self._last
            ahead = now - at - round((counted - then) * 1_000_000)
            if ahead > AHEAD:
                self._wait(f"the clock went ahead by {_said(ahead)} at once", counted)
        elif known is not None and now - known > AWAY:
            self._wait(f"by the clock {_said(now - known)} passed since Freehold ran last", counted)
        self._last = now, counted
        if self.because and counted >= self._until:
            self.because = ""
        return bool(self.because)

    def _wait(self, why: str, counted: float) -> None:
        self._until = counted + WAITS
        self.because = f"{why}; purges wait for a day: set it right, or leave it if it is"


def _said(micros: int) -> str:
    hours = micros // HOUR
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
