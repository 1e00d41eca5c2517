"""`freehold bench storage`, top to bottom: room, data, every measurement, verdict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from freehold.errors import BadInput
from freehold.sizing.bench import (
    checkpointing,
    laying,
    loading,
    profiles,
    random_reads,
    room,
    spill,
    training,
    vectors,
    verdict,
)
from freehold.sizing.bench.cache import COLD
from freehold.sizing.bench.checkpointing import Checkpointing
from freehold.sizing.bench.energy import Energy, Meter
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.loading import Loaded
from freehold.sizing.bench.places import Bucket, Folder, Place
from freehold.sizing.bench.profiles import Checkpoint, Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import Provenance, available, disk, memory, provenance
from freehold.sizing.bench.random_reads import Reads
from freehold.sizing.bench.room import amount
from freehold.sizing.bench.spill import Spilled
from freehold.sizing.bench.training import Reading, Wanted
from freehold.sizing.bench.vectors import Searched

CHECKS = ("train", "scale", "checkpoint", "load", "random", "vectors", "spill")
IN_BUCKETS = ("train", "scale", "checkpoint")
"""What can be measured where there are no files of our own to map and no cache to empty."""
MEMORY = Path("/dev/shm")  # noqa: S108  # not a temporary file: memory that looks like a folder
SMALL_READS = 2000


class NothingToRead(BadInput):
    """`{layout}` cannot be read from a bucket"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to know."""

    jobs: tuple[Profile, ...]
    checks: tuple[str, ...] = CHECKS
    size: int = 1_000_000_000
    """Bytes of data of each job."""
    accelerators: int = 1
    """Emulated here."""
    planned: int = 0
    """Accelerators of the cluster to judge for; 0: as many as are emulated."""
    readers: int = 4
    """Of each accelerator."""
    steps: int = 8
    runs: int = 5
    seed: int = 1
    layout: str = ""
    """In place of the job's own."""
    checkpoint: Checkpoint = profiles.CHECKPOINTS["llama3-8b"]
    writers: int = 4
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One job, read from one place."""

    job: Profile
    here: Reading
    memory: Reading | None
    """From memory that looks like a disk; else from the cache."""
    memory_where: str
    scale: tuple[tuple[int, float], ...]
    """(readers, bytes a second), for an accelerator that takes whatever they bring."""
    memory_brings: float | None
    """Bytes a second, the same from memory: what processors, format and loader can do at all."""
    energy: Energy
    """Of the runs from the disk."""
    rules: int
    """Bytes that MLPerf's rules ask for."""

    @property
    def best(self) -> float:
        """Bytes a second with as many readers as it took."""
        return max([self.here.rate.mean, *(rate for _, rate in self.scale)])

    @property
    def energy_a_gigabyte(self) -> float:
        """Joules."""
        return self.energy.joules / max(1e-9, sum(run.size for run in self.here.runs) / 1e9)

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
        if self.here.stayed > COLD:
            said.append(f"not cold: {100 * self.here.stayed:.0f} % of the data was in memory before")
        return tuple(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything measured of one place."""

    place: str
    trained: tuple[Trained, ...] = ()
    checkpoint: Checkpointing | None = None
    loaded: tuple[Loaded, ...] = ()
    random: tuple[Reads, ...] = ()
    searched: tuple[Searched, ...] = ()
    spilled: Spilled | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and what it means."""

    says: str
    provenance: Provenance
    found: tuple[Found, ...]
    verdicts: tuple[tuple[str, verdict.Verdict], ...]
    """(place, verdict)"""


def needed(asked: Asked) -> int:
    """Bytes that are on the disk at most: one job's data at a time, and everything else is smaller."""
    largest = max(
        [laying.files_for(job, asked.size) * job.per_file * job.record for job in asked.jobs] or [0]
    )
    return max(largest if _reads(asked) else 0, asked.size)


def _reads(asked: Asked) -> bool:
    return "train" in asked.checks or "scale" in asked.checks


def measure(where: Sequence[str], asked: Asked, progress: Progress) -> Report:
    """One place after the other. Raises NoRoom, NoSuchFolder, AskedFirst before anything is written."""
    folders = {name: Path(name) for name in where if not _is_bucket(name)}
    for folder in folders.values():
        room.check(folder, needed(asked), yes=asked.yes)
    if not asked.yes:
        room.ask(needed(asked))  # into a bucket, too
    papers = provenance(_plain(asked), folders)
    _expect(asked, len(where), progress)
    found = []
    for name in where:
        with _somewhere(name) as place:
            found.append(_place(name, place, asked, progress))
    verdicts = [(one.place, judged) for one in found for judged in _judged(one, asked)]
    return Report(says=profiles.SAYS, provenance=papers, found=tuple(found), verdicts=tuple(verdicts))


def _is_bucket(name: str) -> bool:
    return "://" in name


@contextmanager
def _somewhere(name: str) -> Iterator[Place]:
    """Something of our own below `name`, gone at the end."""
    if not _is_bucket(name):
        with room.scratch(Path(name)) as folder:
            yield Folder(folder)
        return
    bucket = Bucket.below(name)
    try:
        yield bucket
    finally:
        bucket.remove_all()


def _expect(asked: Asked, places: int, progress: Progress) -> None:
    """About how many bytes will be moved: what was read is exact, the rest is near enough for a clock."""
    for job in asked.jobs:
        laid = Laid(
            files=tuple(str(n) for n in range(laying.files_for(job, asked.size))),
            per_file=job.per_file,
            size=laying.files_for(job, asked.size) * job.per_file * job.record,
        )
        once = training.expected(_wanted(asked, job), laid) / (asked.runs + 1)
        if "train" in asked.checks:
            progress.expect(places * (laid.size + once * (asked.runs + 1 + _few(asked) + 1)))
        progress.expect(places * once * (len(_scale(asked)) + 1))
    if "checkpoint" in asked.checks:
        progress.expect(places * 2 * (asked.runs + 1) * asked.size / 2)
    if "load" in asked.checks:
        progress.expect(places * asked.size / 4 * 1.25 * (1 + 3 * (_few(asked) + 1)))


def _few(asked: Asked) -> int:
    return min(3, asked.runs)


def _place(name: str, place: Place, asked: Asked, progress: Progress) -> Found:
    remote = not isinstance(place, Folder)
    left_out = tuple(check for check in asked.checks if remote and check not in IN_BUCKETS)
    asked = replace(asked, checks=tuple(check for check in asked.checks if check not in left_out))
    found = Found(place=name, left_out=left_out)
    if _reads(asked):
        trained = tuple(_trained(name, place, asked, job, progress) for job in asked.jobs)
        found = replace(found, trained=trained)
    if "checkpoint" in asked.checks:
        progress.stage(f"{name}: checkpoints")
        one = checkpointing.measure(
            place, asked.checkpoint, asked.size // 2, asked.writers, asked.runs, asked.seed, progress
        )
        found = replace(found, checkpoint=one)
    return _files(found, place, asked, progress) if isinstance(place, Folder) else found


_STAGES = {
    "load": "weights from cold",
    "random": "small reads",
    "vectors": "vectors",
    "spill": "attention cache",
}


def _files(found: Found, place: Folder, asked: Asked, progress: Progress) -> Found:
    """What needs files of our own; each measurement removes its own."""
    for check in asked.checks:
        with _below(place.path, check) as folder:
            if check in _STAGES:
                progress.stage(f"{found.place}: {_STAGES[check]}")
            if check == "load":
                loaded = loading.measure(folder, asked.size // 4, _few(asked), asked.seed, progress)
                found = replace(found, loaded=loaded)
            elif check == "random":
                path = folder / "random.bin"
                loading.write_weights(path, max(asked.size // 4, 1 << 20), 1, asked.seed)
                reads = random_reads.measure(path, SMALL_READS, asked.readers, asked.seed)
                found = replace(found, random=reads)
            elif check == "vectors":
                searched = vectors.measure(folder, min(asked.size // 8, 200_000_000), 100, asked.seed)
                found = replace(found, searched=searched)
            elif check == "spill":
                found = replace(found, spilled=spill.measure(folder, asked.size // 8, asked.seed))
    return found


@contextmanager
def _below(path: Path, name: str) -> Iterator[Path]:
    folder = path / name
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- reading for training ---------------------------------------------------------------------------


def _wanted(asked: Asked, job: Profile) -> Wanted:
    return Wanted(
        job=job,
        layout=asked.layout or job.layout,
        accelerators=asked.accelerators,
        readers=asked.readers,
        steps=asked.steps,
        runs=asked.runs,
        seed=asked.seed,
    )


def _trained(name: str, place: Place, asked: Asked, job: Profile, progress: Progress) -> Trained:
    wanted = _wanted(asked, job)
    if wanted.layout == "huggingface" and not isinstance(place, Folder):
        raise NothingToRead(
            layout=wanted.layout,
            why="the library maps its files into memory",
            hint="take parquet or webdataset",
        )
    progress.stage(f"{name}: writing data of {job.name}")
    laid = laying.lay(place, job, wanted.layout, laying.files_for(job, asked.size), asked.seed, progress)
    progress.stage(f"{name}: {job.name}")
    meter = Meter()
    here = training.measure(place, laid, wanted, progress)
    energy = meter.used(sum(run.cpu for run in here.runs))
    scale = tuple(_at(place, laid, wanted, n, progress) for n in _scale(asked))
    ceiling, brings, where = _from_memory(place, laid, replace(wanted, runs=_few(asked)), progress)
    if isinstance(place, Folder):
        shutil.rmtree(place.path / "train", ignore_errors=True)
    return Trained(
        job=job,
        here=here,
        memory=ceiling,
        memory_where=where,
        memory_brings=brings,
        scale=scale,
        energy=energy,
        rules=profiles.by_the_rules(job, asked.accelerators, memory()),
    )


def _scale(asked: Asked) -> tuple[int, ...]:
    """1, 2, 4 … readers, to twice as many as are asked for; or as many as are asked for alone."""
    every = asked.readers * asked.accelerators
    powers = [2**power for power in range(9) if 2**power <= 2 * every]
    return tuple(sorted({every, *(powers if "scale" in asked.checks else ())}))


def _at(
    place: Place, laid: Laid, wanted: Wanted, readers: int, progress: Progress, *, cold: bool = True
) -> tuple[int, float]:
    """One run with so many readers and an accelerator that never computes: all that they bring."""
    idle = replace(wanted.job, compute=0.0)
    one = replace(wanted, readers=readers, runs=0, job=idle, accelerators=1)
    run = training.once(place, laid, one, progress, cold=cold)
    return readers, run.rate


def _from_memory(
    place: Place, laid: Laid, wanted: Wanted, progress: Progress
) -> tuple[Reading | None, float | None, str]:
    """The same job where no disk is asked: what the processors, the format and the loader allow."""
    least = wanted.job.per_file * wanted.job.record
    if MEMORY.is_dir() and disk(MEMORY).system == "tmpfs":
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


# -- what it means ----------------------------------------------------------------------------------


def _judged(found: Found, asked: Asked) -> Iterator[verdict.Verdict]:
    planned = asked.planned or asked.accelerators
    writes = found.checkpoint.writing.mean if found.checkpoint else None
    for one in found.trained:
        yield verdict.for_reading(
            verdict.Cluster(job=one.job, accelerators=planned),
            verdict.Measured(
                reads=one.best,
                memory=one.memory_brings,
                one_reader=dict(one.scale).get(1),
                writes=writes,
            ),
        )
    if writes is not None:
        cluster = verdict.Cluster(
            job=asked.jobs[0] if asked.jobs else profiles.PROFILES["unet3d-h100"],
            accelerators=planned,
            checkpoint=asked.checkpoint,
        )
        yield verdict.for_checkpoints(cluster, writes)


def _plain(asked: Asked) -> dict[str, object]:
    """The options as JSON takes them."""
    return {
        "jobs": [job.name for job in asked.jobs],
        "checks": list(asked.checks),
        "size": asked.size,
        "accelerators": asked.accelerators,
        "planned": asked.planned,
        "readers": asked.readers,
        "steps": asked.steps,
        "runs": asked.runs,
        "seed": asked.seed,
        "layout": asked.layout or "the job's own",
        "checkpoint": asked.checkpoint.name,
        "writers": asked.writers,
    }
