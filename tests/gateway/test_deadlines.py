"""Who waits too long is told, each at their own time; who gives up takes nothing from the others."""

from __future__ import annotations

import asyncio

import pytest

from freehold.gateway.deadlines import Deadlines


def test_what_comes_in_time_is_brought_and_so_is_a_failure() -> None:
    async def story() -> None:
        deadlines, loop = Deadlines(60), asyncio.get_running_loop()
        good, bad = loop.create_future(), loop.create_future()
        waiting = [asyncio.ensure_future(deadlines.wait(one)) for one in (good, bad, good)]
        await asyncio.sleep(0)
        good.set_result(7)
        bad.set_exception(OSError("full"))
        assert await waiting[0] == await waiting[2] == 7
        with pytest.raises(OSError, match="full"):
            await waiting[1]
        assert await deadlines.wait(good) == 7

    asyncio.run(story())


def test_what_does_not_come_is_given_up_and_may_come_later() -> None:
    async def story() -> None:
        deadlines, loop = Deadlines(0.01), asyncio.get_running_loop()
        for _ in range(2):  # the timer begins again
            late = loop.create_future()
            several = [deadlines.wait(late) for _ in range(3)]
            ended = await asyncio.gather(*several, return_exceptions=True)
            assert [type(one) for one in ended] == [TimeoutError] * 3
            assert not late.done()
            late.set_result(1)

    asyncio.run(story())


def test_who_gives_up_waiting_cancels_nothing_for_the_others() -> None:
    async def story() -> None:
        deadlines, loop = Deadlines(60), asyncio.get_running_loop()
        future = loop.create_future()
        one, other = (asyncio.ensure_future(deadlines.wait(future)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        future.set_result(1)
        assert await other == 1

    asyncio.run(story())
