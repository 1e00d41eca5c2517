"""Waiting for something, or doing it, but not for ever: one timer for all who may take equally long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
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


class Blocks:
    """Blocks of code, each in its task, that have to be over in time. Owned by one event loop.

    As `asyncio.timeout`, which sets and drops a timer for each.
    """

    def __init__(self, seconds: float, late: Callable[[], Exception]) -> None:
        """`late` makes what is raised from one that takes longer than `seconds`."""
        self.seconds, self.late = seconds, late
        self.running: dict[Block, float] = {}
        """When each has to be over, the first to end first."""
        self._timer: asyncio.TimerHandle | None = None

    def within(self) -> Block:
        """To be entered by `async with`."""
        return Block(self)

    def begin(self, block: Block) -> None:
        """A block begins now."""
        loop = asyncio.get_running_loop()
        self.running[block] = until = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(until, self._end, loop)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop those whose time is over; then wait for the next one's."""
        self._timer = None
        for block, until in list(self.running.items()):
            if until > loop.time():
                self._timer = loop.call_at(until, self._end, loop)
                return
            del self.running[block]
            block.stop()


class Block:
    """One of them."""

    __slots__ = ("_blocks", "_cancelling", "_stopped", "_task")

    def __init__(self, blocks: Blocks) -> None:
        self._blocks, self._stopped = blocks, False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._blocks.begin(self)

    def stop(self) -> None:
        """Its time is over."""
        self._stopped = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._blocks.running.pop(self, None)
        if not self._stopped:
            return
        ours = self._task.uncancel() <= self._cancelling  # nobody else has cancelled it meanwhile
        if ours and kind is asyncio.CancelledError:
            raise self._blocks.late() from error


def _pass_on(waiter: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    if waiter.done():
        return
    if future.cancelled():
        waiter.cancel()
    elif (error := future.exception()) is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(future.result())
