"""What the routes work with: made once by `app`, passed by hand, never global."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from freehold.ledger.sequencer import Sequencer
from freehold.policy.decide import Policies
from freehold.spec.config import Config
from freehold.store.ground import Ground
from freehold.store.home import Home


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
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when control is told to leave: whoever holds a question open answers it now."""
