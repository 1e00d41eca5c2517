"""Small reads from anywhere: how long the usual one and the slow one take, from the disk and from memory."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.sizing.bench import cache
from freehold.sizing.bench.direct import opened
from freehold.sizing.bench.utilization import percentile

BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Many reads of one size."""

    name: str
    """cold or warm"""
    threads: int
    block: int
    median: float
    """Seconds."""
    slow: float
    """Seconds: the 99th of a hundred."""
    a_second: float
    past_cache: bool
    """The cache was left aside (O_DIRECT), so that every read is one of the disk."""


def measure(path: Path, reads: int, threads: int, seed: int, block: int = BLOCK) -> tuple[Reads, ...]:
    """Cold with one thread and with `threads`, then warm; the file is long enough for `reads` blocks."""
    blocks = path.stat().st_size // block
    random = np.random.Generator(np.random.SFC64(seed))
    cache.make_cold([path])
    found = [_reads(path, "cold", random, blocks, reads, count, block) for count in sorted({1, threads})]
    path.read_bytes()  # into the cache
    return (*found, _reads(path, "warm", random, blocks, reads, 1, block))


def _reads(
    path: Path, name: str, random: np.random.Generator, blocks: int, reads: int, threads: int, block: int
) -> Reads:
    descriptor, past = opened(path) if name == "cold" else (os.open(path, os.O_RDONLY), False)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # nothing is fetched unasked
        shares = [random.integers(0, blocks, reads // threads).tolist() for _ in range(threads)]
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as crew:
            took = [seconds for one in crew.map(_reader(descriptor, block), shares) for seconds in one]
        whole = time.perf_counter() - began
    finally:
        os.close(descriptor)
    return Reads(
        name=name,
        threads=threads,
        block=block,
        median=percentile(took, 0.5),
        slow=percentile(took, 0.99),
        a_second=len(took) / whole,
        past_cache=past,
    )


def _reader(descriptor: int, block: int) -> Callable[[list[int]], list[float]]:
    def run(numbers: list[int]) -> list[float]:
        took = []
        with mmap.mmap(-1, block) as memory:  # aligned, as O_DIRECT wants it
            for number in numbers:
                began = time.perf_counter()
                os.preadv(descriptor, [memory], number * block)
                took.append(time.perf_counter() - began)
        return took

    return run
