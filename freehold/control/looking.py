"""What control looks at again and again, in a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(slots=True, kw_only=True)
class Looking:
    """A thread that looks. `start` and `stop` it with control."""

    name: ClassVar[str]
    leaves: ClassVar[float] = 5.0
    """Seconds that the end of a look is waited for."""

    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=self.leaves)

    def _run(self) -> None:
        """Look until `_over` is set."""
        raise NotImplementedError
