"""How long a model's weights take from the disk into memory: read in several ways, in 8 and in 32 bit."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.sizing.bench import cache, direct
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.utilization import Spread

TENSOR = 16_777_216
"""Elements of one tensor: 4096 x 4096."""
THREADS = min(8, 2 * (os.cpu_count() or 1))
"""Of those that read past the cache."""
WAYS = ("mapped", "read ahead", "direct")
"""mapped: as libraries map a file and touch it. read ahead: the kernel is told to fetch it first. direct:
past the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One file, loaded one way, several times."""

    bits: int
    way: str
    size: int
    """Bytes."""
    cold: Spread
    """Seconds."""
    warm: float
    """Seconds, the file in memory; of `direct`, which never asks the cache, the same as cold."""
    stayed: float
    """The share that was in memory before a cold load, at worst."""

    @property
    def rate(self) -> float:
        """Bytes a second, cold."""
        return self.size / self.cold.mean


def write_weights(path: Path, elements: int, width: int, seed: int) -> int:
    """A safetensors file with that many elements of `width` bytes; returns its size."""
    random = np.random.Generator(np.random.SFC64(seed))
    places: dict[str, object] = {}
    at = 0
    counts = [TENSOR] * (elements // TENSOR) + ([elements % TENSOR] if elements % TENSOR else [])
    for number, count in enumerate(counts):
        span = [at, at + count * width]
        places[f"layer.{number}"] = {
            "dtype": "F32" if width == 4 else "I8",
            "shape": [count],
            "data_offsets": span,
        }
        at = span[1]
    head = json.dumps(places).encode()
    head += b" " * (-(len(head) + 8) % 64)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for count in counts:
            file.write(random.bytes(count * width))
        file.flush()
        os.fsync(file.fileno())
    return path.stat().st_size


def measure(folder: Path, size: int, runs: int, seed: int, progress: Progress) -> tuple[Loaded, ...]:
    """The same number of weights twice: `size` bytes of them in 32 bit, and a quarter of that in 8.

    As many bytes are held in memory: it is for whoever asks to say how many that may be.
    """
    found = []
    for bits in (32, 8):
        path = folder / f"weights-{bits}.safetensors"
        written = write_weights(path, max(1024, size // 4), bits // 8, seed)
        progress.moved(written)
        found += [_way(path, way, bits, written, runs, progress) for way in WAYS]
        path.unlink()
    return tuple(found)


def _way(path: Path, way: str, bits: int, size: int, runs: int, progress: Progress) -> Loaded:
    load = loader(way, size)
    cold, stayed = [], []
    for _ in range(runs + 1):
        stayed.append(cache.make_cold([path]))
        cold.append(_timed(load, path))
        progress.moved(size)
    warm = _timed(load, path)
    return Loaded(
        bits=bits, way=way, size=size, cold=Spread(values=tuple(cold[1:])), warm=warm, stayed=max(stayed)
    )


def loader(way: str, size: int) -> Callable[[Path], None]:
    """A way to load; the memory the weights end up in is there before the clock runs, as an engine's is."""
    into = memoryview(direct.touched(size))
    if way == "direct":
        pool = direct.Pool(THREADS)
        return lambda path: _ignore(direct.read_into(path, into, THREADS, pool))
    return lambda path: _mapped(path, into, ahead=way == "read ahead")


def _ignore(_: object) -> None:
    pass


def _mapped(path: Path, into: memoryview, *, ahead: bool) -> None:
    with path.open("rb") as file:
        if ahead and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
            for at in range(0, len(whole), direct.PIECE):
                into[at : at + direct.PIECE] = whole[at : at + direct.PIECE]


def _timed(work: Callable[[Path], None], path: Path) -> float:
    began = time.perf_counter()
    work(path)
    return time.perf_counter() - began
