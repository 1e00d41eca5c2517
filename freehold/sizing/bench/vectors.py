"""Searching vectors that stay on the disk: lists around centres; a question reads the nearest few."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freehold.sizing.bench.places import Folder
from freehold.sizing.bench.utilization import percentile

WIDTH = 384
"""Of a vector: that of a small sentence model."""
PROBED = 4
"""Lists a question reads."""
NEAREST = 10
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """Many questions, one after the other."""

    name: str
    """cold or warm"""
    vectors: int
    median: float
    """Seconds."""
    slow: float
    """Seconds: the 99th of a hundred."""
    a_second: float
    recall: float
    """The share of the truly nearest ten that were found."""
    read: float
    """Bytes of a question, mean."""
    stayed: float
    """The share that was in memory before the cold ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Lists of vectors in one file, each in one piece."""

    path: Path
    centres: Vectors
    starts: NDArray[np.int64]
    """Of each list and of the end, in vectors."""


def build(folder: Path, size: int, seed: int) -> tuple[Index, Vectors]:
    """About `size` bytes of vectors that crowd around centres, as texts do; and all of them, in order."""
    random = np.random.Generator(np.random.SFC64(seed))
    count = max(256, size // (4 * WIDTH))
    centres = random.standard_normal((max(16, int(count**0.5)), WIDTH), dtype=np.float32)
    belongs = np.sort(random.integers(0, len(centres), count))
    vectors = centres[belongs] + 0.7 * random.standard_normal((count, WIDTH), dtype=np.float32)
    path = folder / "vectors.f32"
    with Folder(folder).create(path.name) as file:
        file.write(vectors.tobytes())
    starts = np.searchsorted(belongs, np.arange(len(centres) + 1)).astype(np.int64)
    return Index(path=path, centres=centres, starts=starts), vectors


def measure(folder: Path, size: int, questions: int, seed: int) -> tuple[Searched, ...]:
    """Cold, every question's lists forgotten beforehand as far as they were read; then warm."""
    index, vectors = build(folder, size, seed)
    random = np.random.Generator(np.random.SFC64(seed + 1))
    asked = vectors[random.integers(0, len(vectors), questions)]
    asked = asked + 0.3 * random.standard_normal(asked.shape, dtype=np.float32)
    truth = [_nearest(vectors, one) for one in asked]
    place = Folder(folder)
    stayed = place.make_cold([index.path.name])
    return tuple(_search(place, index, asked, truth, name, stayed) for name in ("cold", "warm"))


def _search(
    place: Folder, index: Index, asked: Vectors, truth: list[set[int]], name: str, stayed: float
) -> Searched:
    took, hits, read = [], 0, 0
    for question, wanted in zip(asked, truth, strict=True):
        if name == "cold":
            place.forget(index.path.name)
        began = time.perf_counter()
        found, size = _answer(index, question)
        took.append(time.perf_counter() - began)
        hits, read = hits + len(found & wanted), read + size
    return Searched(
        name=name,
        vectors=int(index.starts[-1]),
        median=percentile(took, 0.5),
        slow=percentile(took, 0.99),
        a_second=len(took) / sum(took),
        recall=hits / (NEAREST * len(asked)),
        read=read / len(asked),
        stayed=stayed,
    )


def _answer(index: Index, question: Vectors) -> tuple[set[int], int]:
    far = ((index.centres - question) ** 2).sum(axis=1)
    best: list[tuple[float, int]] = []
    size = 0
    with index.path.open("rb", buffering=0) as file:
        for number in np.argpartition(far, PROBED)[:PROBED]:
            first, last = int(index.starts[number]), int(index.starts[number + 1])
            if last == first:
                continue
            file.seek(first * 4 * WIDTH)
            data = file.read((last - first) * 4 * WIDTH)
            size += len(data)
            near = ((np.frombuffer(data, np.float32).reshape(-1, WIDTH) - question) ** 2).sum(axis=1)
            best += [(float(distance), first + at) for at, distance in enumerate(near)]
    return {number for _, number in sorted(best)[:NEAREST]}, size


def _nearest(vectors: Vectors, question: Vectors) -> set[int]:
    far = ((vectors - question) ** 2).sum(axis=1)
    return {int(number) for number in np.argpartition(far, NEAREST)[:NEAREST]}
