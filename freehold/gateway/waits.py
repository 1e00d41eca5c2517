"""Whoever waits for an address that says nothing to anybody: a few wait on, the others are let go.

One request that waits says little, for some answers take long. Several that have waited longer than the
beginning of an answer takes there, with not a word to anybody since, say that nobody is answered. Then the
two that have waited longest go on, and find out when it is over; to the others of them it is told at once,
and to each later one when it has waited too long, too. What is asked afterwards is the breaker's, which hears
of it by the first who was let go.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

MANY, STAY = 3, 2
"""Who have waited too long before anybody is let go; and how many wait on. The one who tries is the third."""
SOON = 5.0
"""Seconds that a stream may take to begin at least."""
LATELY = 0.95
"""What the longest wait of before counts after one more answer: a twentieth is left after sixty."""
LOOK = 1.0
"""Seconds from one look to the next at most, while several wait."""


class Waiter(Protocol):
    """A request that is on its way and has had nothing of its answer."""

    def let_go(self) -> None:
        """Wait no longer."""


class _Wait(NamedTuple):
    began: float
    allowed: float
    """Seconds without a word to anybody, before this one has waited too long."""
    of: tuple[str, bool]
    """Whose times to the beginning of an answer it counts among."""


class Waits:
    """Those who wait for one address, the longest first. Owned by the gateway's event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Waiter, _Wait] = {}
        self._heard = -math.inf
        self._longest: dict[tuple[str, bool], float] = {}
        """Seconds to the beginning of an answer lately, by what was asked and whether it begins soon."""
        self._look_at: asyncio.TimerHandle | None = None

    def begins(self, waiter: Waiter, silence: float, *, soon: bool, of: str = "") -> None:
        """A request is on its way that waits for `silence` seconds at most.

        `soon` says that its answer begins before all of it is worked out: a stream. `of` is what it asks: of
        the models behind one address each takes its own time.
        """
        loop = asyncio.get_running_loop()
        longest = self._longest.get((of, soon), 0.0)
        wait = _Wait(loop.time(), _allowed(silence, longest, soon=soon), (of, soon))
        self._waiting[waiter] = wait
        if len(self._waiting) >= MANY and self._look_at is None:
            self._look_at = loop.call_later(min(LOOK, wait.allowed / 4), self._look)

    def speaks(self, waiter: Waiter) -> None:
        """Something of an answer came: whoever asks there may be answered."""
        self._heard = now = asyncio.get_running_loop().time()
        if (wait := self._waiting.pop(waiter, None)) is not None:
            self._longest[wait.of] = max(now - wait.began, self._longest.get(wait.of, 0.0) * LATELY)

    def ends(self, waiter: Waiter) -> None:
        """It does not wait any more, however it ended."""
        self._waiting.pop(waiter, None)

    def in_vain(self, waiter: Waiter) -> None:
        """It has waited for all of its time."""
        wait = self._waiting.pop(waiter, None)
        if wait is not None and self._heard <= wait.began:
            self._let_go(tuple(self._waiting))

    def _look(self) -> None:
        loop, waits = asyncio.get_running_loop(), self._waiting
        now, heard = loop.time(), self._heard
        late = [who for who, wait in waits.items() if now - max(wait.began, heard) >= wait.allowed]
        if len(late) >= MANY:
            self._let_go(late)
        self._look_at = None
        if len(waits) >= MANY:
            soonest = min(wait.allowed for wait in waits.values())
            self._look_at = loop.call_later(min(LOOK, soonest / 4), self._look)

    def _let_go(self, waiters: Sequence[Waiter]) -> None:
        """Of these, who have waited longest first."""
        for waiter in waiters[STAY:]:
            del self._waiting[waiter]
            waiter.let_go()


def _allowed(silence: float, longest: float, *, soon: bool) -> float:
    """Seconds for one who asks now, by what the longest took lately; 0 where nothing is known."""
    if soon and longest:
        return min(silence / 2, max(SOON, 4 * longest))
    return min(silence, max(silence / 2, 2 * longest))
