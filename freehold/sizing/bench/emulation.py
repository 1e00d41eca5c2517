"""One job, emulated at one place: how busy its accelerators are, and what readers and memory bring."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from freehold.errors import BadInput
from freehold.sizing.bench import laying, profiles, room, training
from freehold.sizing.bench.cache import COLD
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.places import Bucket, Folder, Place
from freehold.sizing.bench.profiles import Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import available, disk, memory
from freehold.sizing.bench.room import amount
from freehold.sizing.bench.training import Reading, Wanted

MEMORY = Path("/dev/shm")  # noqa: S108  # not a temporary file: memory that looks like a folder
AHEAD = 4
"""Steps for each reader: what is read ahead in the first step, which does not count, weighs little then."""
BITE = 64_000_000
"""Bytes of a batch where only the readers' speed is looked at."""


class NothingToRead(BadInput):
    """`{layout}` cannot be read from a bucket"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One job, read from one place."""

    job: Profile
    here: Reading
    memory: Reading | None
    """From memory that looks like a disk; else from the cache."""
    memory_where: str
    scale: tuple[tuple[int, float], ...]
    """(readers, bytes a second), for an accelerator that takes whatever they bring; medians of a few runs."""
    memory_brings: float | None
    """Bytes a second, the same from memory: what processors, format and loader can do at all."""
    energy: Energy
    """Of the runs from the disk, the warm-up included."""
    rules: int
    """Bytes that MLPerf's rules ask for."""

    @property
    def best(self) -> float:
        """Bytes a second with as many readers as it took."""
        return max([self.here.rate.mean, *(rate for _, rate in self.scale)])

    @property
    def energy_a_gigabyte(self) -> float:
        """Joules."""
        return self.energy.joules / max(1e-9, sum(run.size for run in self.here.every) / 1e9)

    @property
    def stamps(self) -> tuple[str, ...]:
        """Why it is a what-if; empty when MLPerf's rules of size are kept."""
        said = []
        steps = self.here.runs[0].steps
        if self.here.laid < self.rules:
            asked = f"{profiles.MEMORY_MULTIPLE} x memory and {profiles.MIN_STEPS} steps"
            said.append(
                f"what-if: {amount(self.here.laid)} of data and {steps} steps; "
                f"the rules ask for {amount(self.rules)} ({asked})"
            )
        if steps < AHEAD * self.here.wanted.readers:
            said.append(f"{steps} steps: much of what they took was read ahead while the first one waited")
        if self.here.stayed > COLD:
            said.append(f"not cold: {100 * self.here.stayed:.0f} % of the data was in memory before")
        return tuple(said)


def emulate(
    name: str, place: Place, wanted: Wanted, size: int, *, scale: bool, progress: Progress
) -> Trained:
    """Write about `size` bytes, measure, and remove them. `name` is the place's, for whoever watches.

    Raises NothingToRead, ReadFailed.
    """
    job = wanted.job
    if wanted.layout == "huggingface" and not isinstance(place, Folder):
        raise NothingToRead(
            layout=wanted.layout,
            why="the library maps its files into memory",
            hint="take parquet or webdataset",
        )
    progress.stage(f"{name}: writing data of {job.name}")
    laid = laying.lay(place, job, wanted.layout, laying.files_for(job, size), wanted.seed, progress)
    progress.stage(f"{name}: {job.name}")
    meter = Meter()
    here = training.measure(place, laid, wanted, progress)
    energy = meter.used(sum(run.cpu for run in here.every))
    brought = tuple(_at(place, laid, wanted, n, progress) for n in sweep(wanted, scale=scale))
    ceiling, brings, where = _from_memory(place, laid, replace(wanted, runs=few(wanted)), progress)
    if isinstance(place, Folder):
        shutil.rmtree(place.path / "train", ignore_errors=True)
    elif isinstance(place, Bucket):
        place.remove_all()  # one job's data at a time
    return Trained(
        job=job,
        here=here,
        memory=ceiling,
        memory_where=where,
        memory_brings=brings,
        scale=brought,
        energy=energy,
        rules=profiles.by_the_rules(job, wanted.accelerators, memory()),
    )


def sweep(wanted: Wanted, *, scale: bool) -> tuple[int, ...]:
    """1, 2, 4 … readers, to twice as many as are asked for; or as many as are asked for alone."""
    every = wanted.readers * wanted.accelerators
    powers = [2**power for power in range(9) if 2**power <= 2 * every]
    return tuple(sorted({every, *(powers if scale else ())}))


def bites(wanted: Wanted, laid: Laid, *, scale: bool) -> float:
    """Bytes that looking at the readers alone reads, here and in memory."""
    every = (*sweep(wanted, scale=scale), wanted.readers * wanted.accelerators)
    once = sum(max(laid.size, AHEAD * n * _bite(wanted.job) * wanted.job.record) for n in every)
    return few(wanted) * once


def few(wanted: Wanted) -> int:
    """Runs where many different ones are looked at."""
    return min(3, wanted.runs)


def _bite(job: Profile) -> int:
    """Records."""
    return max(1, min(job.batch, BITE // job.record))


def _at(
    place: Place, laid: Laid, wanted: Wanted, readers: int, progress: Progress, *, cold: bool = True
) -> tuple[int, float]:
    """So many readers, an accelerator that never computes: all that they bring, the median of a few runs."""
    idle = replace(wanted.job, compute=0.0, batch=_bite(wanted.job))
    one = replace(wanted, readers=readers, runs=0, job=idle, accelerators=1, steps=AHEAD * readers)
    runs = [training.once(place, laid, one, progress, n, cold=cold).brings for n in range(few(wanted))]
    return readers, median(runs)


def _from_memory(
    place: Place, laid: Laid, wanted: Wanted, progress: Progress
) -> tuple[Reading | None, float | None, str]:
    """The same job where no disk is asked: what the processors, the format and the loader allow."""
    if MEMORY.is_dir() and disk(MEMORY).system == "tmpfs":
        room.sweep(MEMORY)
        least = laying.on_disk(wanted.job, 1)
        fits = min(room.free(MEMORY), available() // 3)
        if files := min(len(laid.files), fits // (2 * least)):
            with room.scratch(MEMORY) as folder:
                there = Folder(folder)
                copy = laying.lay(there, wanted.job, wanted.layout, files, wanted.seed, progress)
                return *_without_disk(there, copy, wanted, progress), "tmpfs"
    if isinstance(place, Folder) and laid.size < available() // 3:
        return *_without_disk(place, laid, wanted, progress), "the page cache"
    return None, None, ""


def _without_disk(place: Place, laid: Laid, wanted: Wanted, progress: Progress) -> tuple[Reading, float]:
    progress.stage(f"{wanted.job.name}, from memory")
    reading = training.measure(place, laid, wanted, progress, cold=False)
    every = wanted.readers * wanted.accelerators
    return reading, _at(place, laid, wanted, every, progress, cold=False)[1]
