"""One job, emulated at one place: how busy its accelerators are, and what readers and memory bring."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from statistics import median

from freehold.errors import BadInput
from freehold.sizing.bench import laying, profiles, room, together, training
from freehold.sizing.bench.cache import COLD
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.places import Bucket, Folder, Place
from freehold.sizing.bench.profiles import Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import available, disk, memory
from freehold.sizing.bench.room import amount
from freehold.sizing.bench.together import Meeting
from freehold.sizing.bench.training import Reading, Wanted

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
    together: tuple[tuple[int, float], ...] = ()
    """(clients, bytes a second of all), where several machines read at once; medians of a few runs."""

    @property
    def best(self) -> float:
        """Bytes a second with as many readers as it took, on this machine alone."""
        return max([self.here.rate.mean, *(rate for _, rate in self.scale)])

    @property
    def most(self) -> float:
        """The same, with as many machines as there were."""
        return max([self.best, *(rate for _, rate in self.together)])

    @property
    def clients(self) -> int:
        """Machines that read at once at most."""
        return max((clients for clients, _ in self.together), default=1)

    @property
    def of_one(self) -> float:
        """Bytes a second that one machine gets while all of them read."""
        return min(self.best, dict(self.together).get(self.clients, self.best * self.clients) / self.clients)

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
    name: str,
    place: Place,
    wanted: Wanted,
    size: int,
    *,
    scale: bool,
    progress: Progress,
    meeting: Meeting | None = None,
) -> Trained:
    """Write about `size` bytes, measure, and remove them. `name` is the place's, for whoever watches.

    With a `meeting` all machines read at once, and then ever more of them, in the place of ever more readers.
    Raises NothingToRead, ReadFailed, NobodyCame.
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
    here = training.measure(place, laid, wanted, progress, ready=meeting.meet if meeting else tuple)
    energy = meter.used(sum(run.cpu for run in here.every))
    readers = () if meeting else sweep(wanted, scale=scale)
    brought = tuple(_at(place, laid, wanted, count, progress) for count in readers)
    several = _together(name, place, laid, wanted, progress, meeting) if meeting else ()
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
        together=several,
    )


def sweep(wanted: Wanted, *, scale: bool) -> tuple[int, ...]:
    """1, 2, 4 … readers, to twice as many as are asked for; or as many as are asked for alone."""
    every = wanted.readers * wanted.accelerators
    powers = [2**power for power in range(9) if 2**power <= 2 * every]
    return tuple(sorted({every, *(powers if scale else ())}))


def _together(
    name: str, place: Place, laid: Laid, wanted: Wanted, progress: Progress, meeting: Meeting
) -> tuple[tuple[int, float], ...]:
    progress.stage(f"{name}: with {meeting.client.clients} clients")
    every = wanted.readers * wanted.accelerators
    return together.curve(
        meeting, lambda number: _brought(place, laid, wanted, every, progress, number), few(wanted)
    )


def bites(wanted: Wanted, laid: Laid, *, scale: bool, turns: int = 0) -> float:
    """Bytes that looking at the readers alone reads, in memory and here; beside other machines in `turns`."""
    here = (wanted.readers * wanted.accelerators,) * turns or sweep(wanted, scale=scale)
    every = (*here, wanted.readers * wanted.accelerators)
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
    """So many readers, and what they bring: the median of a few runs."""
    runs = [_brought(place, laid, wanted, readers, progress, n, cold=cold) for n in range(few(wanted))]
    return readers, median(runs)


def _brought(
    place: Place,
    laid: Laid,
    wanted: Wanted,
    readers: int,
    progress: Progress,
    number: int,
    *,
    cold: bool = True,
) -> float:
    """Bytes a second, for an accelerator that never computes."""
    idle = replace(wanted.job, compute=0.0, batch=_bite(wanted.job))
    one = replace(wanted, readers=readers, runs=0, job=idle, accelerators=1, steps=AHEAD * readers)
    return training.once(place, laid, one, progress, number, cold=cold).brings


def _from_memory(
    place: Place, laid: Laid, wanted: Wanted, progress: Progress
) -> tuple[Reading | None, float | None, str]:
    """The same job where no disk is asked: what the processors, the format and the loader allow."""
    if room.MEMORY.is_dir() and disk(room.MEMORY).system == "tmpfs":
        room.sweep(room.MEMORY)
        least = laying.on_disk(wanted.job, 1)
        fits = min(room.free(room.MEMORY), available() // 3)
        if files := min(len(laid.files), fits // (2 * least)):
            with room.scratch(room.MEMORY) as folder:
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
