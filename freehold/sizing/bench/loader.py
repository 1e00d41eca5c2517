"""Several readers for one accelerator: batches arrive in order, one read ahead by each reader.

The order is that of torch's DataLoader: batch n is read by reader n modulo readers, and a reader begins its
next batch when the one it brought has been taken. Asking is done by a thread, as there: a reader that is
woken up takes the processor from whoever woke it, and that must not be the one who computes.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType

from freehold.errors import Unavailable
from freehold.sizing.bench.reader import Brought, Piece, Way, work

Batch = Sequence[Piece]


class ReadFailed(Unavailable):
    """a reader could not read what was written for it"""


@contextmanager
def _there() -> Iterator[None]:
    """A reader that is not there any more is told of as such."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise ReadFailed(
            why="it ended by itself", hint="look for the kernel's out-of-memory killer: dmesg"
        ) from error


class Loader:
    """Owns its reader processes; use it as a context manager, which waits until all of them are up.

    A reader that still starts while others read takes their processors from them, in steps that count. DLIO's
    are forked and start in no time; ours are spawned, 0.2 CPU seconds each, all of it within the first step.
    """

    def __init__(self, way: Way, readers: int, ahead: int = 1) -> None:
        self._ahead = ahead
        """Batches that each reader may have under way."""
        self._batch: mmap.mmap | None = None
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of other threads
        self._links: list[Connection] = []
        self._processes = []
        for _ in range(readers):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, way), daemon=True)
            process.start()
            theirs.close()  # so that a reader that dies is seen as an end, not as silence
            self._links.append(ours)
            self._processes.append(process)
        self._questions: SimpleQueue[tuple[Connection, Batch] | None] = SimpleQueue()
        self._asker = threading.Thread(target=self._put, daemon=True)
        self._asker.start()

    def _put(self) -> None:
        """Hand questions on, until there are no more."""
        while (question := self._questions.get()) is not None:
            link, batch = question
            with suppress(OSError):  # that the reader is gone is seen where its answer is awaited
                link.send(list(batch))

    def batches(self, wanted: Sequence[Batch]) -> Iterator[Brought]:
        """Each batch as it arrives, in order. Raises ReadFailed."""
        readers = len(self._links)
        under_way: deque[int] = deque()
        following = iter(range(len(wanted)))
        for _ in range(readers * self._ahead):
            self._ask(wanted, following, under_way)
        while under_way:
            number = under_way.popleft()
            brought = self._taken(self._links[number % readers])
            self._ask(wanted, following, under_way)
            yield brought

    def _ask(self, wanted: Sequence[Batch], following: Iterator[int], under_way: deque[int]) -> None:
        if (number := next(following, None)) is not None:
            self._questions.put((self._links[number % len(self._links)], wanted[number]))
            under_way.append(number)

    def _taken(self, link: Connection) -> Brought:
        with _there():
            told = link.recv()
            if isinstance(told, Brought):
                return self._fetched(told)
        raise ReadFailed(why=str(told), hint="is the disk sound, and the bucket there?")

    def _fetched(self, told: Brought) -> Brought:
        """With what it hands on mapped here, until the next batch is."""
        if told.batch is None:
            return told
        descriptor = told.batch.detach()
        try:
            self._batch = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        return replace(told, batch=None)

    def __enter__(self) -> Loader:
        try:
            with _there():
                for link in self._links:
                    link.recv()  # UP
        except BaseException:
            self._end(0.5)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(5 if kind is None else 0.5)

    def _end(self, patience: float) -> None:
        self._questions.put(None)
        for link in self._links:
            link.close()
        for process in self._processes:
            process.join(patience)
            if process.is_alive():
                process.kill()
                process.join()
        self._asker.join()  # what it wrote to is gone, if it still did
