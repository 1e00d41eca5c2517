"""What the routes work with: made once by `app`, passed by hand, never global."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from freehold.control.anchoring import Anchored
from freehold.control.checking import Checked
from freehold.control.doubting import Doubt
from freehold.control.objectives import Objectives
from freehold.control.trusting import Trusted
from freehold.control.watching import Watching
from freehold.errors import Failure
from freehold.ledger.sequencer import Sequencer
from freehold.policy.decide import Policies
from freehold.spec.config import Config
from freehold.store.ground import Ground
from freehold.store.home import Home


@dataclass(slots=True)
class Intake:
    """Whether gateways' records are taken in: the word of the last try. Owned by the border's route."""

    refused_since: int | None = None
    """Microseconds UTC."""
    why: str = ""
    hint: str = ""

    def refused(self, at: int, failure: Failure) -> None:
        """It failed; since when stays what it was when it failed before."""
        self.refused_since = self.refused_since or at
        self.why, self.hint = f"{failure.what}, {failure.why}", failure.hint

    def taken(self) -> None:
        """It did not."""
        self.refused_since = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The concrete parts of one control process."""

    home: Home
    config: Config
    ground: Ground
    sequencer: Sequencer
    policies: Policies
    wake: Callable[[], None] = lambda: None
    """Tells the runner that a journey may be able to go on."""
    intake: Intake = field(default_factory=Intake)
    checked: Checked = field(default_factory=Checked)
    """How control's last look at its own ledger went."""
    anchored: Anchored = field(default_factory=Anchored)
    """How far the second place for checkpoints has come."""
    doubt: Doubt = field(default_factory=Doubt)
    """Whether the clock may be believed by what takes things away."""
    watching: Watching = field(default_factory=Watching)
    """Who looks like an attacker."""
    objectives: Objectives = field(default_factory=Objectives)
    """How services keep their objectives."""
    trusted: Trusted = field(default_factory=Trusted)
    """How the last look at identity providers' keys went."""
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when control is told to leave (`leave`)."""

    def leave(self) -> None:
        """Control is told to leave: nobody holds a question open any longer."""
        self.closing.set()
        self.ground.db.changes.tell_all()
