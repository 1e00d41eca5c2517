"""A reader: a process that brings batches into memory, as a data loader's worker does."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from freehold.sizing.bench.layouts import LAYOUTS
from freehold.sizing.bench.places import Place


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
    """Bytes that each record is handed on as; 0: not copied."""
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


def work(link: Connection, way: Way) -> None:
    """Read what is asked for until nobody asks any more."""
    try:
        while True:
            link.send(_read(way, link.recv()))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass  # whoever asked is gone


def _read(way: Way, pieces: list[Piece]) -> Brought | str:
    began, used = time.perf_counter(), _cpu()
    layout, size, records = LAYOUTS[way.layout], 0, 0
    try:
        for piece in pieces:
            with way.place.open(piece.file) as file:
                size += layout.read(file, piece.first, piece.count, way.length)
            records += piece.count
            if way.forget:
                way.place.forget(piece.file)
    except Exception as error:  # told to whoever asked: a reader that dies says nothing
        return f"{type(error).__name__}: {error}"
    if way.resized:
        np.stack([_resized(way.resized)] * records)  # what a loader hands on is a copy of its own
    return Brought(size=size, seconds=time.perf_counter() - began, cpu=_cpu() - used)


_RESIZED: dict[int, np.ndarray] = {}


def _resized(size: int) -> np.ndarray:
    if size not in _RESIZED:
        _RESIZED[size] = np.ones(size, dtype=np.uint8)
    return _RESIZED[size]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
