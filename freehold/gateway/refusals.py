"""What was refused and left no record: counted instead, for a flood may fill neither spools nor the ledger.

Who has no valid key is nobody: the id of somebody's key, which anybody may send, accuses no one. A caller who
was recognized is named in the log, while they keep being refused; what we failed at is nobody's doing. Named
are keys: who holds a token or certificate may be a person, whom no forgetting would find in a log.
"""

from __future__ import annotations

import logging
from collections import Counter

from freehold.errors import Failure
from freehold.gateway.elapsed import Elapsed
from freehold.gateway.tokens import TokenVoid
from freehold.gateway.who import CertificateVoid, KeyMissing, KeyOfOtherZone, KeyVoid

_log = logging.getLogger("freehold.gateway")

MINUTE = 60.0
FLOOD = 600
"""Requests of strangers in a minute, at one process, that are worth a look."""
NOTICED = 100
"""Of one caller in a minute, at one process."""
MOST = 1_000
"""Callers who are told apart in a minute."""

STRANGERS = (KeyMissing, KeyVoid, KeyOfOtherZone, TokenVoid, CertificateVoid)
"""What strangers hear; who proved who they are and hears it all the same is none."""


class Refusals:
    """The counts of one gateway process."""

    def __init__(self, elapsed: Elapsed) -> None:
        self.total: Counter[str] = Counter()
        """By reason, since it began."""
        self.flooded_since: float | None = None
        """From when on strangers came in masses; None while they do not."""
        self.strangers = 0
        """How many came in the last minute that is over."""
        self._elapsed, self._began = elapsed, elapsed()
        self._coming = 0
        self._callers: Counter[str] = Counter()
        self._noticed: Counter[str] = Counter()
        """Who was named, and how often they were refused since."""

    def add(self, failure: Failure, caller: str) -> None:
        """One more; `caller` is who was recognized, empty where nobody was."""
        self.total[failure.code] += 1
        if not caller:
            self._coming += isinstance(failure, STRANGERS)
        elif failure.status < 500 and (caller in self._callers or len(self._callers) < MOST):
            self._callers[caller] += 1

    def look(self) -> None:
        """Judge the minute that is over, if one is."""
        now = self._elapsed()
        if now < self._began + MINUTE:
            return
        self.strangers, self._coming = self._coming, 0
        flooded = self.strangers >= FLOOD
        self.flooded_since = (self.flooded_since or self._began) if flooded else None
        self._tell_callers()
        self._began = now

    def _tell_callers(self) -> None:
        """Each once when it begins and once when it is over."""
        callers, self._callers = self._callers, Counter()
        busy = {caller: count for caller, count in callers.items() if count >= NOTICED}
        for caller in self._noticed.keys() - busy.keys():
            count = self._noticed.pop(caller)
            _log.warning("%s is refused no more so often: %d times since", _shown(caller), count)
        for caller, count in busy.items():
            if caller not in self._noticed:
                _log.warning("%s was refused %d times in a minute, without a record", _shown(caller), count)
            self._noticed[caller] += count


def _shown(caller: str) -> str:
    """As the log may name them."""
    if caller.startswith("key_"):
        return caller
    return f"a caller with a {'token' if caller.startswith('tok_') else 'certificate'}"
