"""Who waits too long is told, each at their own time; who gives up takes nothing from the others."""

from __future__ import annotations

import asyncio

import pytest

from freehold.gateway.deadlines import Blocks, Deadlines


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


class Late(Exception):
    """What is told of a block that took too long."""


def test_a_block_that_takes_too_long_is_stopped_and_others_go_on() -> None:
    async def story() -> None:
        blocks = Blocks(0.01, Late)
        over = asyncio.Event()

        async def waits() -> None:
            async with blocks.within():
                await over.wait()

        for _ in range(2):  # the timer begins again
            ended = await asyncio.gather(waits(), waits(), return_exceptions=True)
            assert [type(one) for one in ended] == [Late] * 2
        over.set()
        await waits()
        assert not blocks.running

    asyncio.run(story())


def test_who_cancels_a_block_hears_of_that_and_of_nothing_else() -> None:
    async def story() -> None:
        blocks = Blocks(60, Late)

        async def waits() -> None:
            async with blocks.within():
                await asyncio.Event().wait()

        waiting = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        (block,) = blocks.running
        waiting.cancel()
        block.stop()  # its time was over in the same moment: whoever cancelled it has the first word
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not blocks.running

    asyncio.run(story())


def test_what_a_block_raises_itself_is_what_is_heard() -> None:
    async def story() -> None:
        blocks = Blocks(60, Late)
        with pytest.raises(OSError, match="full"):
            async with blocks.within():
                raise OSError("full")

    asyncio.run(story())
