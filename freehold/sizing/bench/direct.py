"""Memory that is there before it is read into, and reading a large file past the page cache into it."""

from __future__ import annotations

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np

PIECE = 16 << 20
"""Bytes of a read."""
ALIGNED = 4096


def touched(size: int) -> mmap.mmap:
    """Memory whose pages are all there: to fault them in while reading costs more than a quick disk does."""
    memory = mmap.mmap(-1, size)
    for at in range(0, size, mmap.PAGESIZE):
        memory[at] = 1
    return memory


class Reused:
    """Memory of one reader, which reads into the same again and again. Not for two threads at once."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def of(self, size: int) -> memoryview:
        """So many bytes; what was read into them before is gone."""
        if self._memory is None or len(self._memory) < size:
            self._memory = touched(size + size // 4 + mmap.PAGESIZE)  # some are longer than the first
        return memoryview(self._memory)[:size]


class Pool:
    """Memory for reads of several threads, aligned and already there."""

    def __init__(self, buffers: int, size: int = PIECE) -> None:
        self._free: SimpleQueue[mmap.mmap] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(touched(size))

    def take(self) -> mmap.mmap:
        """Waits until one is free."""
        return self._free.get()

    def give(self, memory: mmap.mmap) -> None:
        """Back again."""
        self._free.put(memory)


def opened(path: Path) -> tuple[int, bool]:
    """A descriptor, and whether it goes past the cache; file systems without O_DIRECT are read through it."""
    flag = getattr(os, "O_DIRECT", 0)
    if flag:
        try:
            return os.open(path, os.O_RDONLY | flag), True
        except OSError:
            pass
    return os.open(path, os.O_RDONLY), False


def read_into(path: Path, target: memoryview, threads: int, pool: Pool) -> bool:
    """Fill `target` with the file, which is exactly as long. Returns whether it went past the cache."""
    descriptor, past = opened(path)
    try:
        with ThreadPoolExecutor(threads) as crew:
            for done in crew.map(
                lambda at: _piece(descriptor, target, at, pool), range(0, len(target), PIECE)
            ):
                if not done:
                    raise OSError(f"{path.name} is shorter than it was")
    finally:
        os.close(descriptor)
    return past


def _piece(descriptor: int, target: memoryview, at: int, pool: Pool) -> bool:
    wanted = min(PIECE, len(target) - at)
    if wanted == PIECE and _address(target) % ALIGNED == 0:
        return os.preadv(descriptor, [target[at : at + PIECE]], at) == PIECE  # nothing is copied
    memory = pool.take()  # the end of a file is no whole block, and O_DIRECT reads nothing else
    try:
        got = os.preadv(descriptor, [memory], at)
        target[at : at + wanted] = memoryview(memory)[:wanted]
    finally:
        pool.give(memory)
    return got >= wanted


def _address(target: memoryview) -> int:
    return int(np.frombuffer(target, dtype=np.uint8).ctypes.data)
