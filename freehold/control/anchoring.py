"""Control keeps its checkpoints in a second place, and says so when the two do not fit together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from freehold.control.looking import Looking
from freehold.errors import Failure
from freehold.ledger.anchor import Anchor, check
from freehold.ledger.sequencer import Sequencer
from freehold.spec.ids import Clock
from freehold.spec.notes import read_checkpoint

EVERY = 30.0
"""Seconds between two looks: what is younger could still be rewritten unnoticed by the second place."""

_log = logging.getLogger("freehold.control")


@dataclass(slots=True)
class Anchored:
    """How far the second place has come. Written by the thread that anchors, alone."""

    place: str = ""
    at: int | None = None
    """Microseconds UTC of the last look that went well."""
    entries: int = 0
    """How many entries the checkpoint covers that is kept there."""
    because: str = ""
    """Why it does not go on; empty when it does."""


@dataclass(slots=True, kw_only=True)
class Anchoring(Looking):
    """The thread that anchors. `start` and `stop` it with control."""

    name = "anchor"
    leaves = 10.0

    sequencer: Sequencer
    anchor: Anchor
    clock: Clock
    anchored: Anchored
    every: float = EVERY

    def start(self) -> None:
        self.anchored.place = self.anchor.place
        Looking.start(self)

    def once(self) -> None:
        """Look at what is anchored; add the newest checkpoint when it continues that. Raises AnchorAway,
        AnchorBroken, or what reading the ledger raises."""
        before = self.anchor.newest()  # first: another control may anchor a newer one meanwhile
        note = self.sequencer.newest()
        if note is None:
            return
        now = read_checkpoint(note, self.sequencer.public)
        if before is not None:
            check(before, now, self.sequencer.public, self.sequencer.tiles, self.anchor.place)
        if note != before:
            self.anchor.keep(note)
        self.anchored.at, self.anchored.entries = self.clock(), now.size

    def _run(self) -> None:
        """Until the end, and once more then: what is there by that time is anchored, too."""
        while True:
            self._attempt()
            if self._over.wait(self.every):
                self._attempt()
                return

    def _attempt(self) -> None:
        try:
            self.once()
            because = ""
        except Failure as failure:
            because = f"{failure.what}: {failure.why}"
        except Exception as error:  # the thread must outlive whatever a second place does
            because = f"checkpoints cannot be anchored: {type(error).__name__}"
        if because and because != self.anchored.because:
            _log.error("%s", because)
        elif self.anchored.because and not because:
            _log.warning("checkpoints are anchored again")
        self.anchored.because = because
