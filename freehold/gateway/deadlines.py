"""Waiting for something, but not for ever: one timer for all who may wait equally long."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlines:
    """Owned by one event loop. A timer of its own for each wait cost as much as what was waited for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """The first to end first."""
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, future: asyncio.Future[T]) -> T:
        """What `future` brings. Raises TimeoutError; whoever gives up waiting does not cancel it."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(partial(_pass_on, waiter))
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        self._waiting.append((loop.time() + self._seconds, waiter))
        if self._timer is None:
            self._timer = loop.call_at(self._waiting[0][0], self._end, loop)
        return await waiter

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those whose time is over; then wait for the next one's."""
        self._timer = None
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= loop.time()):
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._end, loop)


def _pass_on(waiter: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    if waiter.done():
        return
    if future.cancelled():
        waiter.cancel()
    elif (error := future.exception()) is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(future.result())
