"""The time of one answer, and how much of it somebody else was waited for.

Whoever waits deep below (a connection, a retry) finds the stopwatch of the request it waits in: asking
passes through a dozen hands, and none of the others cares.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar


class Stopwatch:
    """Runs from when it is made. Owned by its request, in whose task alone it is touched."""

    __slots__ = ("_since", "began", "clock", "waited")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.began = clock()
        self.waited = self._since = 0.0

    def waits(self) -> None:
        """From here on somebody else is waited for: the caller, or upstream."""
        self._since = self.clock()

    def goes_on(self) -> None:
        """Nobody is, any more."""
        self.waited += self.clock() - self._since


_NOBODYS = Stopwatch()
"""Of what waits beside the requests, such as copies: nobody reads it."""
running: ContextVar[Stopwatch] = ContextVar("running", default=_NOBODYS)
"""The stopwatch of the request whose task this is."""
