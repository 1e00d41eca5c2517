"""An event loop whose time passes only when everybody waits, and then at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class SteeredLoop(asyncio.SelectorEventLoop):
    """Minutes of waiting take no time; what happens meanwhile happens in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self._now, select = 0.0, self._selector.select  # type: ignore[attr-defined]

        def passing(timeout: float | None = None) -> Any:
            self._now += timeout or 0
            return select(0)

        self._selector.select = passing  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


def steered(story: Callable[[], Awaitable[None]]) -> None:
    """Run it on such a loop."""
    with asyncio.Runner(loop_factory=SteeredLoop) as runner:
        runner.run(story())  # type: ignore[arg-type]
