"""Questions that control holds open until there is an answer: told by what commits, not by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from freehold.control.parts import Parts

UNTOLD = 10.0
"""Seconds after which it is looked again although nothing was told."""


@contextmanager
def held(parts: Parts, *tables: str, seconds: float) -> Iterator[Callable[[], Awaitable[bool]]]:
    """For a loop that looks, then waits: whether to look again, once one of the tables was changed.

    False when the time is over, or control is to leave. What commits between a look and the wait counts.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    until = loop.time() + seconds

    async def again() -> bool:
        if parts.closing.is_set() or loop.time() >= until:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, loop.time() + UNTOLD)):
                await told.wait()
        told.clear()
        return not parts.closing.is_set() and loop.time() < until

    with parts.ground.db.changes.telling(frozenset(tables), partial(_wake, loop, told)):
        yield again


def _wake(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits in it any more
        loop.call_soon_threadsafe(told.set)
