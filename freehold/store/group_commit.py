"""Many callers, one sync: a thread that writes what has gathered while the disk was busy.

A batch is whatever the event loop queued in one round, and under load whatever arrived during the last
fdatasync, so the disk is asked once for many records and nobody waits longer than two of its turns. The
queue is bounded: when the disk cannot follow, callers are refused at once instead of piling up in memory.
When the disk is full, the ballast is given up for the ends of what has begun, and nothing new begins until
it fits again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass

from freehold.errors import Failure, Unavailable
from freehold.store.ballast import Ballast
from freehold.store.frames import NO_MATTER, Mark
from freehold.store.spool import Note, Spool, SpoolUnwritable

BATCH = 512
QUEUE = 64 << 20
"""Bytes waiting for the disk; beginnings are refused at three quarters, so that ends still fit."""
PATIENCE = 5.0
"""Seconds the disk may take for one batch before it counts as stuck."""
UNSHIPPED = 4 << 30
"""Bytes on disk that control has not taken in; beyond it nothing new begins."""


class SpoolFull(Unavailable):
    """nothing more can be recorded for now, so nothing is answered"""

    retry_after = 1
    recorded = True
    """False where not even the beginning was taken: nobody should look for a record."""


class SpoolStalled(Unavailable):
    """the record did not reach the disk in {seconds} seconds, so nothing is answered"""

    retry_after = 5
    recorded = True
    """As of SpoolFull."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The disk takes nothing."""

    seconds: float
    """For how long."""
    why: str


Waiting = tuple[Note, "asyncio.Future[int]"]


class GroupCommit:
    """Appends to one spool from an event loop. Owned by that loop; the thread only sees the queue."""

    def __init__(
        self, spool: Spool, *, queue: int = QUEUE, unshipped: int = UNSHIPPED, ballast: Ballast | None = None
    ) -> None:
        self.spool = spool
        self._ballast = ballast
        self._loop = asyncio.get_running_loop()
        self.grown = asyncio.Event()
        """Set whenever more is on disk; whoever waits for that clears it first."""
        self._room = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._queue, self._unshipped = queue, unshipped
        self._leaving = self._turn_over = self._waking = False
        self._refused_since = self._asked_at = 0.0
        self._refusal = ""
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def append(
        self, payload: bytes, mark: Mark = Mark.NOTE, matter: bytes = NO_MATTER
    ) -> asyncio.Future[int]:
        """Queue a record; the future brings its batch's last sequence once it is durable, or the failure.

        The record is queued when this returns, whether or not anyone awaits the future. Raises
        SpoolFull at once when there is no room, and SpoolStalled for what would begin while the disk
        says nothing: what waits for it must not pile up.
        """
        self._refuse_when_full(len(payload), mark)
        if mark is Mark.BEGINS:
            self._refuse_when_stalled()
        future: asyncio.Future[int] = self._loop.create_future()
        with self._room:
            self._waiting.append((Note(payload, mark, matter), future))
            self._bytes += len(payload)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        return future

    def _wake(self) -> None:
        """Have the thread write what the loop queued in this round.

        Told at once it would write the first one by itself, of which nobody hears before the next round.
        """
        self._waking = False
        with self._room:
            self._room.notify()

    def _refuse_when_full(self, size: int, mark: Mark) -> None:
        bound = self._queue * 3 // 4 if mark is Mark.BEGINS else self._queue
        if self._bytes + size > bound or self._leaving:
            raise SpoolFull(why="the disk does not keep up with what is asked", hint="ask again in a moment")
        if mark is Mark.BEGINS and self.spool.size > self._unshipped:
            raise SpoolFull(
                why="control has not taken in what was recorded",
                hint="see why control is away: `freehold status`",
            )

    def _refuse_when_stalled(self) -> None:
        asked = self._asked_at
        if asked and (waited := time.monotonic() - asked) > PATIENCE:
            raise SpoolStalled(
                seconds=int(waited),
                why="the disk does not answer",
                hint="it goes on by itself when the disk does",
            )

    def at_once(self) -> threading.Condition:
        """To be entered: what is queued inside reaches the disk together, or not at all."""
        return self._room

    def withdraw(self, future: asyncio.Future[int]) -> bool:
        """Take a record back that is still waiting for the disk; False when the disk has it already."""
        with self._room:
            for note, queued in self._waiting:
                if queued is future:
                    self._waiting.remove((note, queued))
                    self._bytes -= len(note.payload)
                    future.cancel()
                    return True
        return False

    def stuck(self, patience: float = PATIENCE) -> Stuck | None:
        """Since when the disk refuses what is written, or says nothing; None while it takes it."""
        asked, refused = self._asked_at, self._refused_since
        if refused:
            return Stuck(seconds=time.monotonic() - refused, why=self._refusal)
        if asked and time.monotonic() - asked > patience:
            return Stuck(seconds=time.monotonic() - asked, why="the disk does not answer")
        return None

    def filled(self) -> float:
        """How much of what may lie here before control has taken it in does; from 1 on nothing begins."""
        return self.spool.size / self._unshipped

    def turn_over(self) -> None:
        """Ask for a new segment when the queue is empty next, so that the old one can be trimmed."""
        with self._room:
            self._turn_over = True
            self._room.notify()

    def close(self) -> None:
        """Write what waits, then stop. Blocks as long as that takes."""
        with self._room:
            self._leaving = True
            self._room.notify()
        self._thread.join()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            if not batch:
                self.spool.turn_over()
                self._loop.call_soon_threadsafe(self.grown.set)
                continue
            self._asked_at = time.monotonic()
            results = self._write([note for note, _ in batch])
            self._remember(next((r for r in results if isinstance(r, Failure)), 0))
            with self._room:
                self._bytes -= sum(len(note.payload) for note, _ in batch)
            told = [(future, result) for (_, future), result in zip(batch, results, strict=True)]
            self._loop.call_soon_threadsafe(self._tell, told)

    def _write(self, notes: list[Note]) -> list[int | Failure]:
        """What became of each: all of them are on disk, or none; on a full disk those that end something."""
        if self._ballast is None:
            return [self._commit(notes)] * len(notes)
        result: int | Failure = _no_room()
        if self._ballast.hold() or not any(note.mark is Mark.BEGINS for note in notes):
            result = self._commit(notes)
        if not getattr(result, "full", False):
            return [result] * len(notes)
        self._ballast.give_up()
        begun = {note.matter for note in notes if note.mark is Mark.BEGINS}
        ends = [note.mark is Mark.ENDS and note.matter not in begun for note in notes]
        kept = [note for note, is_end in zip(notes, ends, strict=True) if is_end]
        last = self._commit(kept) if kept else result
        return [last if is_end else result for is_end in ends]

    def _commit(self, notes: list[Note]) -> int | Failure:
        try:
            return self.spool.commit(notes)
        except Failure as failure:
            return failure
        except Exception as error:
            # whatever it is, the callers must learn of it and this thread must live on
            return SpoolUnwritable(why=f"writing failed: {type(error).__name__}")

    def _remember(self, result: int | Failure) -> None:
        """Since when it is refused: from the first refusal to the next batch that is taken."""
        asked, self._asked_at = self._asked_at, 0.0
        if isinstance(result, Failure):
            self._refusal = result.why
            self._refused_since = self._refused_since or asked
        else:
            self._refused_since = 0.0

    def _next(self) -> list[Waiting] | None:
        """What gathered; an empty list asks for a new segment; None means leave."""
        with self._room:
            while not (self._waiting or self._leaving or self._turn_over):
                self._room.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if batch:
                return batch
            if self._turn_over:
                self._turn_over = False
                return []
            return None

    def _tell(self, told: list[tuple[asyncio.Future[int], int | Failure]]) -> None:
        """What became of each, in the event loop."""
        self.grown.set()
        for future, result in told:
            if future.done():  # its caller gave up; the record stands all the same
                continue
            if isinstance(result, Failure):
                future.set_exception(result)
                future.exception()  # looked at: nobody has to await a beginning that was cut off
            else:
                future.set_result(result)


def _no_room() -> SpoolUnwritable:
    failure = SpoolUnwritable(
        why="the disk is full: what had begun is brought to its end, nothing new begins",
        hint="free space; it goes on by itself",
    )
    failure.full = True
    return failure
