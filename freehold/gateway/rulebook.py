"""The rules in force: taken from control's news, kept on disk, swapped by pointer."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import Failure, Unavailable
from freehold.gateway.rules import Rules, read_rules
from freehold.store.home import write_atomically


class NoRules(Unavailable):
    """the gateway has no rules to decide by yet"""

    retry_after = 1


class Rulebook:
    """What one gateway decides by. Owned by its event loop.

    `current.json` in `folder` is the newest signed snapshot; its modification time says when control
    was heard last, so that a restart does not make old rules fresh.
    """

    def __init__(self, folder: Path, public: Ed25519PublicKey, private: bytes) -> None:
        self._path = folder / "current.json"
        self._public, self._private = public, private
        self._rules: Rules | None = None
        self._heard = -math.inf

    def rules(self) -> Rules:
        """The rules in force. Raises NoRules before the first snapshot."""
        if self._rules is None:
            raise NoRules(
                why="nothing was heard from control", hint="see that control runs: `freehold status`"
            )
        return self._rules

    @property
    def ix(self) -> int:
        """The newest snapshot's index; 0 when there is none."""
        return self._rules.snapshot.ix if self._rules else 0

    def silence(self) -> float:
        """Seconds since control was heard."""
        return time.monotonic() - self._heard

    def load(self) -> Failure | None:
        """Begin with what an earlier process kept; what does not verify is left alone and returned."""
        try:
            kept = self._path.read_bytes()
            age = max(0.0, time.time() - self._path.stat().st_mtime)
            self._rules = read_rules(kept, self._public, self._private)
        except FileNotFoundError:
            return None
        except Failure as failure:
            return failure
        self._heard = time.monotonic() - age
        return None

    def read(self, envelope: bytes) -> Rules | None:
        """Verify a newer snapshot and keep it on disk, slowly; None for one that is not newer.

        Raises SignatureWrong or SnapshotStrange; then the old one goes on.
        """
        rules = read_rules(envelope, self._public, self._private)
        if rules.snapshot.ix <= self.ix:
            return None
        write_atomically(self._path, envelope)
        return rules

    def swap(self, rules: Rules) -> None:
        """Decide by `rules` from now on: stops, keys and withdrawals at once; routes wait for engines."""
        before = self._rules.routes if self._rules else {}
        self._rules = rules.with_ready(before, lambda _digest: False)
        self.heard()

    def heard(self) -> None:
        """Control was heard just now: what we have is the newest."""
        self._heard = time.monotonic()
        if self._rules is not None:
            os.utime(self._path)

    def settle(self, ready: Callable[[str], bool]) -> bool:
        """Bring routes in force whose engines are ready; whether that changed anything."""
        if self._rules is None:
            return False
        settled = self._rules.with_ready(self._rules.routes, ready)
        changed, self._rules = settled is not self._rules, settled
        return changed
