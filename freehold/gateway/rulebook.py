"""The rules in force: taken from control's news, kept on disk, swapped by pointer."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import Failure, Tampered, Unavailable
from freehold.gateway.elapsed import UNKNOWN, Elapsed, elapsed
from freehold.gateway.elapsed import boot as this_boot
from freehold.gateway.pages import Arriving
from freehold.gateway.rules import Rules, read_snapshot, rules_of
from freehold.gateway.shelf import Shelf
from freehold.spec.snapshot import Snapshot

_LINE = 96


class NoRules(Unavailable):
    """the gateway has no rules to decide by yet"""

    retry_after = 1


class ControlWentBack(Tampered):
    """control does not know the rules that it gave before"""


def told(failure: Failure | OSError) -> str:
    """Why, in one line and without the names of folders."""
    if isinstance(failure, Failure):
        return f"{failure.what}: {failure.why}"
    return f"the disk says: {failure.strerror}"


class Rulebook:
    """What one gateway decides by. Owned by its event loop.

    In `folder` lie the newest signed snapshot and its pages (`Shelf`); `heard` beside them says when control
    was heard last, so that neither a restart nor a night's sleep makes old rules fresh. It is written with
    the machine's own start and the seconds since, which no wall clock can turn back; after another
    start of the machine only its modification time is left, and one in the future says nothing: then
    the rules are as old as can be until control is heard.
    """

    def __init__(
        self,
        folder: Path,
        public: Ed25519PublicKey,
        private: bytes,
        *,
        elapsed: Elapsed = elapsed,
        boot: str | None = None,
    ) -> None:
        self._shelf, self._mark = Shelf(folder, self._read), folder / "heard"
        self._public, self._private = public, private
        self._elapsed, self._boot = elapsed, this_boot() if boot is None else boot
        self._rules: Rules | None = None
        self._heard = -math.inf
        self._unkept: Arriving | None = None
        """The rules in force, when they are not on disk."""
        self.not_kept = ""
        """Why."""
        self.trouble = ""
        """Why newer rules cannot be had, as far as that is known; empty when control is heard."""
        self.missed_since = math.inf
        """Since when, on the clock given."""

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

    def forgotten_at(self) -> int:
        """When somebody was last forgotten, as far as the rules in force say."""
        return self._rules.snapshot.forgotten_at if self._rules else 0

    @property
    def client_ca(self) -> str:
        """Who signs the certificates of callers (PEM); empty: none is asked for."""
        return self._rules.snapshot.client_ca if self._rules else ""

    def silence(self) -> float:
        """Seconds since control was heard."""
        return self._elapsed() - self._heard

    def load(self) -> Failure | None:
        """Begin with what an earlier process kept; what does not verify is left alone and returned."""
        try:
            arriving = self._kept()
            self._rules = rules_of(arriving, self._private)
        except FileNotFoundError:
            return None
        except Failure as failure:
            return failure
        self._heard = self._heard_before()
        return None

    def _kept(self) -> Arriving:
        """What lies there. Of gateways that share it one may be clearing away what was named until then: who
        lacks a page looks again for as long as something else is named."""
        envelope = self._shelf.current()
        while True:
            arriving = self._begun(envelope)
            before, envelope = envelope, self._shelf.current()
            if not arriving.lacks() or before == envelope:
                return arriving

    def _heard_before(self) -> float:
        """When an earlier process heard control, on our clock; minus infinity when nobody can say."""
        try:
            start, at = self._mark.read_text().split()
            before = time.time() - self._mark.stat().st_mtime
            if start == self._boot != UNKNOWN:
                before = self._elapsed() - float(at)
        except (OSError, ValueError):
            return -math.inf
        return self._elapsed() - before if before >= 0 else -math.inf

    def begin(self, envelope: bytes) -> Arriving | None:
        """Verify a newer snapshot, and take what is here of its pages; None for one that is not newer.

        Raises SignatureWrong or SnapshotStrange; then the old one goes on.
        """
        arriving = self._begun(envelope)
        return arriving if arriving.snapshot.ix > self.ix else None

    def must_be_ours(self, envelope: bytes) -> None:
        """Raise ControlWentBack unless this, which is not newer, is what is in force: then nothing is."""
        snapshot = read_snapshot(envelope, self._public)
        if self._rules is None or snapshot.entry != self._rules.snapshot.entry:
            raise ControlWentBack(
                why=f"it offers snapshot {snapshot.ix}, and here another one is in force, {self.ix}"
            )

    def finish(self, arriving: Arriving) -> Rules:
        """The rules it makes, and kept on disk if that can be. Raises PageMissing, SnapshotStrange."""
        rules = rules_of(arriving, self._private)
        self._unkept = arriving
        self.keep()
        return rules

    def keep(self) -> None:
        """Have on disk what could not be kept: a disk does not hold up what is void now."""
        if self._unkept is None:
            return
        try:
            self._shelf.keep(self._unkept)
        except (Unavailable, OSError) as failure:
            self.not_kept = told(failure)
        else:
            self._unkept, self.not_kept = None, ""

    def _begun(self, envelope: bytes) -> Arriving:
        snapshot = read_snapshot(envelope, self._public)
        arriving = Arriving(envelope, snapshot, self._rules.pages if self._rules else {})
        if snapshot.ix > self.ix:
            self._shelf.lay(arriving)
        return arriving

    def _read(self, envelope: bytes) -> Snapshot | None:
        try:
            return read_snapshot(envelope, self._public)
        except Failure:
            return None

    def swap(self, rules: Rules) -> None:
        """Decide by `rules` from now on: stops, keys and withdrawals at once; routes wait for engines."""
        self._rules = rules.with_ready(self._rules, lambda _digest: False)
        self.heard()

    def heard(self) -> None:
        """Control was heard just now: what we have is the newest."""
        self._heard, self.trouble, self.missed_since = self._elapsed(), "", math.inf
        if self._rules is not None and self._unkept is None:  # else what is kept would look fresh
            with suppress(OSError):  # then a restart takes the rules for older than they are
                self._write_mark()

    def missed(self, why: str) -> bool:
        """Newer rules could not be had; whether for another reason than before."""
        before, self.trouble = self.trouble, why
        self.missed_since = min(self.missed_since, self._elapsed())
        return before != why

    def _write_mark(self) -> None:
        """One line in place: it needs no room on a full disk."""
        file = os.open(self._mark, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, f"{self._boot} {self._heard:.3f}".ljust(_LINE - 1).encode() + b"\n", 0)
        finally:
            os.close(file)

    def settle(self, ready: Callable[[str], bool]) -> bool:
        """Bring routes in force whose engines are ready; whether that changed anything."""
        if self._rules is None:
            return False
        settled = self._rules.with_ready(self._rules, ready)
        changed, self._rules = settled is not self._rules, settled
        return changed
