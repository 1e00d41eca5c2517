"""Many callers share a sync, a full queue refuses at once, and a disk that recovers is used again."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from freehold.store.frames import Mark
from freehold.store.group_commit import PATIENCE, GroupCommit, SpoolFull, SpoolStalled
from freehold.store.spool import Note, Spool, SpoolUnwritable


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool.create(tmp_path)


class SlowDisk:
    """An fdatasync that waits until it is let go, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.entered = threading.Event(), threading.Event()
        self.syncs = 0
        self.error: OSError | None = None
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, _file: int) -> None:
        self.entered.set()
        assert self.go.wait(10)
        self.syncs += 1
        if self.error:
            raise self.error


def test_what_gathers_during_a_sync_shares_the_next_one(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool)
        futures = [commits.append(b"%d" % n) for n in range(100)]
        disk.go.set()
        await asyncio.gather(*futures)
        assert spool.durable == 100
        assert disk.syncs <= 3
        commits.close()

    asyncio.run(story())
    spool.close()


def test_what_the_loop_queues_in_one_round_takes_one_sync(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool)
        futures = [commits.append(b"the first")]
        assert not disk.entered.wait(0.2), "it is not written by itself"
        futures += [commits.append(b"%d" % n) for n in range(63)]
        disk.go.set()
        assert await asyncio.gather(*futures) == [64] * 64
        assert disk.syncs == 1
        commits.close()

    asyncio.run(story())
    spool.close()


def test_nothing_is_acknowledged_before_the_sync_returned(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool)
        future = commits.append(b"x")
        done, _ = await asyncio.wait([future], timeout=0.05)
        assert not done
        disk.go.set()
        assert await future == 1
        commits.close()

    asyncio.run(story())
    spool.close()


def test_a_queue_that_is_full_refuses_beginnings_first(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool, queue=1000)
        kept = [commits.append(b"x" * 700)]
        with pytest.raises(SpoolFull):
            commits.append(b"x" * 100, Mark.BEGINS, bytes(16))
        kept.append(commits.append(b"x" * 100, Mark.ENDS, bytes(16)))
        with pytest.raises(SpoolFull):
            commits.append(b"x" * 300, Mark.ENDS, bytes(16))
        disk.go.set()
        await asyncio.gather(*kept)
        await commits.append(b"x" * 700)
        commits.close()

    asyncio.run(story())
    spool.close()


def test_too_much_that_control_has_not_taken_in_refuses_beginnings(spool: Spool) -> None:
    async def story() -> None:
        commits = GroupCommit(spool, unshipped=100)
        await commits.append(b"x" * 200)
        with pytest.raises(SpoolFull, match="nothing more can be recorded"):
            commits.append(b"y", Mark.BEGINS, bytes(16))
        await commits.append(b"the end of one that runs", Mark.ENDS, bytes(16))
        commits.close()

    asyncio.run(story())
    spool.close()


def test_a_failing_disk_tells_every_caller_and_recovers(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    disk.go.set()

    async def story() -> None:
        commits = GroupCommit(spool)
        disk.error = OSError(errno.ENOSPC, "No space left on device")
        failed = await asyncio.gather(*(commits.append(b"x") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, SpoolUnwritable) for one in failed)
        assert "No space left" in str(failed[0])
        disk.error = None
        assert await commits.append(b"y") == 1
        commits.close()

    asyncio.run(story())
    spool.close()


def test_a_caller_that_gives_up_does_not_take_its_record_back(spool: Spool) -> None:
    async def story() -> None:
        commits = GroupCommit(spool)
        commits.append(b"given up").cancel()
        await commits.append(b"next")
        commits.close()

    asyncio.run(story())
    assert spool.durable == 2
    spool.close()


def test_turning_over_lets_the_old_segment_go(spool: Spool) -> None:
    async def story() -> None:
        commits = GroupCommit(spool)
        await commits.append(b"sealed words")
        commits.turn_over()
        commits.close()

    asyncio.run(story())
    spool.acknowledge(2)
    (segment,) = spool._folder.glob("*.frames")
    assert b"sealed words" not in segment.read_bytes()
    spool.commit([Note(b"goes on")])
    spool.close()


def test_what_still_waits_can_be_taken_back_and_what_the_disk_has_cannot(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool)
        first = commits.append(b"first")
        await asyncio.to_thread(disk.entered.wait, 10)  # the thread has it
        second, third = commits.append(b"second"), commits.append(b"third")
        assert not commits.withdraw(first)
        assert commits.withdraw(second)
        assert second.cancelled()
        disk.go.set()
        assert (await first, await third) == (1, 2)
        assert not commits.withdraw(third)
        commits.close()

    asyncio.run(story())
    assert b"third" in spool.read(0)
    assert b"second" not in spool.read(0)
    spool.close()


def test_nothing_piles_up_behind_a_disk_that_stands_still(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)

    async def story() -> None:
        commits = GroupCommit(spool)
        first = commits.append(b"first", Mark.BEGINS, bytes(16))
        await asyncio.to_thread(disk.entered.wait, 10)  # the thread has it
        waits = commits.append(b"second", Mark.BEGINS, bytes([1]) * 16)  # it may be quick again
        commits._asked_at -= PATIENCE
        with pytest.raises(SpoolStalled, match="so nothing is answered"):
            commits.append(b"third", Mark.BEGINS, bytes([2]) * 16)
        end = commits.append(b"an end", Mark.ENDS, bytes(16))
        disk.go.set()
        assert [await first, await waits, await end] == [1, 3, 3]
        await commits.append(b"fourth", Mark.BEGINS, bytes([3]) * 16)
        commits.close()

    asyncio.run(story())
    spool.close()
