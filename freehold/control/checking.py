"""Control looks at its own ledger again and again, and says when it last held.

The look is `freehold verify` in a process of its own: it shares no state with what writes, and takes at
most a twentieth of a core. While the ledger does not grow it is looked at seldom: what could have changed
is only what somebody changed behind our back.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.control.looking import Looking
from freehold.spec.ids import Clock
from freehold.store.home import Home

FIRST_AFTER = 20.0
"""Seconds from control's start to the first look."""
EVERY = 60.0
"""Seconds between two looks; more when a look itself takes long."""
QUIET = 10
"""How many times as long it is until the next look at a ledger that held and has not grown since."""
SHARE = 20
"""A look that took a second is followed by at least so many seconds without one."""
NOT_PROVED = 8
"""How `freehold verify` ends when a proof fails."""

_log = logging.getLogger("freehold.control")


@dataclass(slots=True)
class Checked:
    """How the last look went. Written by the checker alone."""

    at: int | None = None
    """Microseconds UTC; none before the first look has ended."""
    because: str = ""
    """What does not hold, and where; empty when everything does."""


_AT = "the ledger does not verify at "


def in_a_sentence(said: Sequence[str]) -> str:
    """What `freehold verify` found and why, without the words that whoever repeats it says anyway."""
    what, why = ([*said, "", ""])[:2]
    what = what.removeprefix("freehold: ").removeprefix(_AT)
    return ": ".join(filter(None, (what.strip(), why.strip().removeprefix("why:").strip())))


@dataclass(slots=True, kw_only=True)
class Checker(Looking):
    """The thread that looks. `start` and `stop` it with control."""

    name = "checker"

    home: Home
    clock: Clock
    checked: Checked
    first_after: float = FIRST_AFTER
    every: float = EVERY
    quiet: int = QUIET
    _held: bytes = b""
    """The checkpoint of the last look, when everything held."""
    _child: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """Stop looking, in the middle of a look, too."""
        self._over.set()
        if self._child is not None:
            self._child.kill()
        Looking.stop(self)

    def look(self) -> None:
        """Verify once and write down how it went; a look that could not be had leaves the last word."""
        self._held, before = b"", self._checkpoint()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "freehold", "verify"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, said = self._child.communicate()
        if self._over.is_set():
            return
        if self._child.returncode not in (0, NOT_PROVED):
            _log.error("the ledger could not be looked at: exit %d", self._child.returncode)
            return
        because = said.strip().splitlines() if self._child.returncode else []
        self.checked.because = in_a_sentence(because)
        self.checked.at = self.clock()
        self._held = b"" if because else before

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
        # its own memory of what it saw: a ledger that goes backwards does not hold either
        return {
            **kept,
            "FREEHOLD_HOME": str(self.home.root),
            "XDG_STATE_HOME": str(self.home.control / "seen"),
        }

    def _run(self) -> None:
        pause, looked = self.first_after, -math.inf
        while not self._over.wait(pause):
            began = time.monotonic()
            if not self._is_due(began - looked):
                continue
            try:
                self.look()
            except OSError as error:
                _log.error("the ledger could not be looked at: %s", error.strerror)
            looked = time.monotonic()
            pause = max(self.every, SHARE * (looked - began))

    def _is_due(self, since: float) -> bool:
        """Whether it is time for a look, `since` seconds after the last one."""
        return since >= self.quiet * self.every or not self._held or self._checkpoint() != self._held

    def _checkpoint(self) -> bytes:
        try:
            return (self.home.ledger / "checkpoint").read_bytes()
        except OSError:
            return b""
