"""Writing a checkpoint and reading it back: several writers, each its own file, each forced to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from freehold.sizing.bench.places import Place
from freehold.sizing.bench.profiles import Checkpoint
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.utilization import Spread

PIECE = 8_000_000
"""Bytes written at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One checkpoint written and read: seconds of each writer."""

    written: tuple[float, ...]
    read: tuple[float, ...]
    stayed: float
    """The share that was still in memory when reading began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointing:
    """Several turns after a warm-up."""

    shape: Checkpoint
    size: int
    """Bytes of the scaled checkpoint, all writers together."""
    writers: int
    turns: tuple[Turn, ...]

    @property
    def writing(self) -> Spread:
        """Bytes a second until the slowest writer is done."""
        return Spread(values=tuple(self.size / max(turn.written) for turn in self.turns))

    @property
    def reading(self) -> Spread:
        return Spread(values=tuple(self.size / max(turn.read) for turn in self.turns))

    @property
    def unevenness(self) -> tuple[float, float]:
        """Seconds of the quickest and of the slowest writer, over all turns."""
        every = [seconds for turn in self.turns for seconds in turn.written]
        return min(every), max(every)

    def whole(self) -> float:
        """Seconds that the whole checkpoint takes at the rate measured, from this machine."""
        return self.shape.size / self.writing.mean


def measure(
    place: Place,
    shape: Checkpoint,
    size: int,
    writers: int,
    runs: int,
    seed: int,
    progress: Progress,
    ready: Callable[[], object] = tuple,
) -> Checkpointing:
    """`size` bytes in all, split evenly; the first turn is a warm-up and left out.

    `ready` is called before each turn: it may wait for other machines.
    """
    each = size // writers
    data = np.random.Generator(np.random.SFC64(seed)).bytes(min(each, 64_000_000) + PIECE)
    names = [f"checkpoint/rank-{rank}.bin" for rank in range(writers)]
    turns = []
    for number in range(runs + 1):
        ready()
        turns.append(_turn(place, names, each, data, number, progress))
    return Checkpointing(shape=shape, size=each * writers, writers=writers, turns=tuple(turns[1:]))


def _turn(
    place: Place, names: Sequence[str], each: int, data: bytes, number: int, progress: Progress
) -> Turn:
    written = _all(names, lambda name: _write(place, name, each, data, number))
    progress.moved(each * len(names))
    stayed = place.make_cold(names)
    read = _all(names, lambda name: _read(place, name, each))
    progress.moved(each * len(names))
    return Turn(written=written, read=read, stayed=stayed)


def _all(names: Sequence[str], work: Callable[[str], None]) -> tuple[float, ...]:
    """Every one in a thread of its own, begun together; seconds of each."""

    def timed(name: str) -> float:
        began = time.perf_counter()
        work(name)
        return time.perf_counter() - began

    with ThreadPoolExecutor(len(names)) as crew:
        return tuple(crew.map(timed, names))


def _write(place: Place, name: str, size: int, data: bytes, number: int) -> None:
    """Pieces from ever other offsets: no two of them alike."""
    view, span = memoryview(data), len(data) - PIECE
    done, at = 0, 4096 * number % max(1, span)
    with place.create(name) as file:
        while done < size:
            wanted = min(PIECE, size - done)
            file.write(view[at : at + wanted])
            done, at = done + wanted, (at + PIECE + 511) % max(1, span)


def _read(place: Place, name: str, size: int) -> None:
    buffer = memoryview(bytearray(min(PIECE, size)))
    with place.open(name) as file:
        done = 0
        while done < size and (got := file.readinto(buffer)):  # type: ignore[attr-defined]
            done += got
    if done < size:
        raise OSError(f"{name} is shorter than it was written")
