"""How often a service may be asked: exact over any 60 seconds, per gateway process."""

from __future__ import annotations

from collections import deque

from freehold.errors import OverLimit
from freehold.spec.snapshot import ServiceView

_MINUTE = 60_000_000


class TooManyRequests(OverLimit):
    """`{service}` is asked more often than it may be

    Counted and told, not recorded: a flood of refusals must not fill the ledger.
    """

    recorded = False
    retry_after = 60


class Pace:
    """The times of the last minute's requests, per service."""

    def __init__(self) -> None:
        self._times: dict[str, deque[int]] = {}

    def count(self, service: ServiceView, at: int) -> None:
        """Count one request at `at` (microseconds), or raise TooManyRequests with an honest wait."""
        if service.requests_per_minute is None:
            return
        times = self._times.setdefault(service.name, deque())
        while times and times[0] <= at - _MINUTE:
            times.popleft()
        if len(times) >= service.requests_per_minute:
            late = TooManyRequests(
                service=service.name,
                why=f"{service.requests_per_minute} requests a minute are its limit",
                hint="wait as long as `Retry-After` says",
            )
            first = times[0] if times else at
            late.retry_after = max(1, -(-(first + _MINUTE - at) // 1_000_000))
            raise late
        times.append(at)
