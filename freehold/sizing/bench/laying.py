"""Data to read: records that nobody can compress, in files of a job's own layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from freehold.sizing.bench.layouts import LAYOUTS, Record
from freehold.sizing.bench.places import Place
from freehold.sizing.bench.profiles import Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.reader import Piece

PAGE = 4096
"""Bytes: a file takes whole ones."""
BESIDE = 16_384
"""Bytes of a file that are not records: head, foot, padding to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """Files that have been written."""

    files: tuple[str, ...]
    per_file: int
    size: int
    """Bytes of their records."""


def files_for(job: Profile, size: int) -> int:
    """How many files make up about `size` bytes; one at least."""
    return max(1, round(size / (job.per_file * job.record)))


def as_laid(job: Profile, layout: str) -> Profile:
    """The job in that layout, in its own where none is said: some formats hold one record a file."""
    layout = layout or job.layout
    return replace(job, layout=layout, per_file=1 if LAYOUTS[layout].one_a_file else job.per_file)


def on_disk(job: Profile, size: int) -> int:
    """Bytes that about `size` bytes of records take in the job's layout: small ones take several times that.

    Rather too many than too few: uneven lengths are cut off below, which makes their sum a little more.
    """
    layout, files = LAYOUTS[job.layout], files_for(job, size)
    beside = PAGE if layout.one_a_file else BESIDE
    each = job.per_file * layout.takes(job.record) + beside
    return int(files * math.ceil(each / PAGE) * PAGE * (1.01 if job.deviation else 1))


def lay(place: Place, job: Profile, layout: str, files: int, seed: int, progress: Progress) -> Laid:
    """Write them. The files are named as DLIO names its own, so that both can read the same."""
    random = np.random.Generator(np.random.SFC64(seed))
    lengths = _lengths(job, files, random)
    width = len(str(files))
    suffix = LAYOUTS[layout].suffix
    names = [f"train/img_{n:0{width}}_of_{files}{suffix}" for n in range(files)]
    for name, length in zip(names, lengths, strict=True):
        with place.create(name) as file:
            LAYOUTS[layout].write(file, _records(random, job.per_file, length))
        progress.moved(job.per_file * length)
    return Laid(files=tuple(names), per_file=job.per_file, size=job.per_file * sum(lengths))


def _lengths(job: Profile, files: int, random: np.random.Generator) -> list[int]:
    """Normal around the mean, drawn so that their mean is the mean."""
    if not job.deviation or files == 1:
        return [job.record] * files
    drawn = random.normal(0, job.deviation, files)
    lengths = job.record + drawn - drawn.mean()
    return [max(job.record // 10, int(length)) for length in lengths]


def _records(random: np.random.Generator, count: int, length: int) -> Iterator[Record]:
    for _ in range(count):
        yield np.frombuffer(random.bytes(length), dtype=np.uint8)


def order(laid: Laid, batch: int, accelerators: int, steps: int, seed: int) -> list[list[list[Piece]]]:
    """Batches for each accelerator: files shuffled by `seed`, gone through as often as `steps` take.

    Every accelerator gets equally many batches, at least `steps`; what is left over is not read.
    """
    records = len(laid.files) * laid.per_file
    passes = max(1, math.ceil(steps * batch * accelerators / records))
    shuffled = np.random.Generator(np.random.SFC64(seed))
    files = [laid.files[n] for _ in range(passes) for n in shuffled.permutation(len(laid.files))]
    batches = list(_batches(files, laid.per_file, batch))
    share = len(batches) // accelerators
    return [batches[rank * share : (rank + 1) * share] for rank in range(accelerators)]


def _batches(files: Sequence[str], per_file: int, batch: int) -> Iterator[list[Piece]]:
    pieces: list[Piece] = []
    missing = batch
    for file in files:
        first = 0
        while first < per_file:
            count = min(missing, per_file - first)
            pieces.append(Piece(file, first, count))
            first, missing = first + count, missing - count
            if not missing:
                yield pieces
                pieces, missing = [], batch
