"""A reader: a process that brings batches into memory, as a data loader's worker does."""

from __future__ import annotations

import mmap
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

from freehold.sizing.bench.layouts import LAYOUTS
from freehold.sizing.bench.places import Place

FEW = 1024
"""Bytes; what DLIO hands on where a job does not say how much."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of one file that belong to a batch."""

    file: str
    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a reader reads."""

    place: Place
    layout: str
    length: int
    """Bytes of a record where they are all alike."""
    resized: int
    """Bytes that each record is handed on as; 0: few."""
    forget: bool
    """Drop a file from the cache once it is read: the data is gone through more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What became of a batch."""

    size: int
    """Bytes read."""
    seconds: float
    cpu: float
    """CPU seconds."""
    batch: Any = None
    """Where to fetch the descriptor of what is handed on, while it is under way."""


UP = "up"
"""What a reader says before anything is asked of it."""


def work(link: Connection, way: Way) -> None:
    """Say that it is up, then read what is asked for until nobody asks any more."""
    try:
        link.send(UP)
        while True:
            link.send(_read(way, link.recv()))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass  # whoever asked is gone


def _read(way: Way, pieces: list[Piece]) -> Brought | str:
    began, used = time.perf_counter(), cpu()
    try:
        size, records = gathered(way, pieces)
    except Exception as error:  # told to whoever asked: a reader that dies says nothing
        return f"{type(error).__name__}: {error}"
    batch = _handed_on(way.resized or FEW, records)
    return Brought(size=size, seconds=time.perf_counter() - began, cpu=cpu() - used, batch=batch)


def gathered(way: Way, pieces: Sequence[Piece]) -> tuple[int, int]:
    """Bytes and records that were read into memory and let go again; raises what the place and format do."""
    layout, size, records = LAYOUTS[way.layout], 0, 0
    for piece in pieces:
        with way.place.open(piece.file) as file:
            size += layout.read(file, piece.first, piece.count, way.length)
        records += piece.count
        if way.forget:
            way.place.forget(piece.file)
    return size, records


def _handed_on(size: int, records: int) -> Any:
    """A batch in shared memory whose descriptor is fetched: the way of torch's DataLoader, at its cost."""
    descriptor = os.memfd_create("batch")
    try:
        os.ftruncate(descriptor, size * records)
        shared = mmap.mmap(descriptor, size * records)
        np.stack([resized(size)] * records, out=np.frombuffer(shared, np.uint8).reshape(records, size))
        shared.close()
        return DupFd(descriptor)
    finally:
        os.close(descriptor)


_RESIZED: dict[int, np.ndarray] = {}


def resized(size: int) -> np.ndarray:
    """What a record is handed on as."""
    if size not in _RESIZED:
        _RESIZED[size] = np.ones(size, dtype=np.uint8)
    return _RESIZED[size]


def cpu() -> float:
    """Seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
