"""Attention caches that do not fit into memory: written out block by block, fetched again in any order."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.sizing.bench import cache
from freehold.sizing.bench.utilization import percentile

TOKEN = 131_072
"""Bytes of one token's cache: Llama-3-8B in 16 bit."""
TOKENS = 16
"""Of one block, as engines page them."""
BLOCK = TOKEN * TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """Blocks out and in again."""

    blocks: int
    out: float
    """Bytes a second, until they are on the disk."""
    back: float
    """Bytes a second, cold."""
    slow: float
    """Seconds: the 99th of a hundred fetches of a block."""
    stayed: float

    @property
    def tokens(self) -> float:
        """Tokens a second that come back; where prompts are computed faster, spilling is in vain."""
        return self.back / TOKEN


def measure(folder: Path, size: int, seed: int) -> Spilled:
    """About `size` bytes, in blocks of 16 tokens."""
    random = np.random.Generator(np.random.SFC64(seed))
    blocks = max(4, size // BLOCK)
    path = folder / "cache.kv"
    block = bytearray(random.bytes(BLOCK))
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for number in range(blocks):
            block[:8] = number.to_bytes(8, "little")
            file.write(block)
        os.fsync(file.fileno())
    out = blocks * BLOCK / (time.perf_counter() - began)
    stayed = cache.make_cold([path])
    took = _fetched(path, random.permutation(blocks).tolist())
    return Spilled(
        blocks=blocks,
        out=out,
        back=blocks * BLOCK / sum(took),
        slow=percentile(took, 0.99),
        stayed=stayed,
    )


def _fetched(path: Path, order: list[int]) -> list[float]:
    took = []
    memory = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        for number in order:
            began = time.perf_counter()
            file.seek(number * BLOCK)
            file.readinto(memory)
            took.append(time.perf_counter() - began)
            if int.from_bytes(memory[:8], "little") != number:
                raise OSError("another block came back than was asked for")
    return took
