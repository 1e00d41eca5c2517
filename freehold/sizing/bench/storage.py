"""`freehold bench storage`, top to bottom: room, data, every measurement, verdict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from freehold.errors import Failure, Unavailable
from freehold.sizing.bench import (
    checkpointing,
    emulation,
    laying,
    loading,
    profiles,
    random_reads,
    room,
    spill,
    together,
    training,
    vectors,
    verdict,
)
from freehold.sizing.bench.checkpointing import Checkpointing
from freehold.sizing.bench.emulation import Trained
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.loaders import OWN
from freehold.sizing.bench.loading import Loaded
from freehold.sizing.bench.places import Bucket, Folder, Place
from freehold.sizing.bench.profiles import Checkpoint, Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import Provenance, available, provenance
from freehold.sizing.bench.random_reads import Reads
from freehold.sizing.bench.spill import Spilled
from freehold.sizing.bench.together import Client, Meeting, counts
from freehold.sizing.bench.training import Wanted
from freehold.sizing.bench.vectors import Searched

CHECKS = ("train", "scale", "checkpoint", "load", "random", "vectors", "spill")
ANYWHERE = ("train", "scale", "checkpoint")
"""What can be measured where there are no files of our own to map, and by several machines at once."""
SMALL_READS = 2000
SEEDS = 1_000_000
"""Between those of two machines: storage that keeps equal blocks once would be measured at that."""


class PlaceFailed(Unavailable):
    """`{place}` could not be measured to the end"""


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
    loader: str = OWN
    """One of loaders.LOADERS."""
    steps: int = 0
    """Of a run, at least; 0: four times as many as there are readers."""
    runs: int = 5
    seed: int = 1
    layout: str = ""
    """In place of the job's own."""
    checkpoint: Checkpoint = profiles.CHECKPOINTS["llama3-8b"]
    writers: int = 4
    model: int = 0
    """Bytes of a model that shall stand there; 0: none."""
    client: Client | None = None
    """One of several machines that measure the same place at once."""
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything measured of one place."""

    place: str
    trained: tuple[Trained, ...] = ()
    checkpoint: Checkpointing | None = None
    written: float = 0.0
    """Bytes a second of checkpoints, by all machines that wrote at once."""
    loaded: tuple[Loaded, ...] = ()
    random: tuple[Reads, ...] = ()
    searched: tuple[Searched, ...] = ()
    spilled: Spilled | None = None
    left_out: tuple[str, ...] = ()
    free: int = 0
    """Bytes that may be used there; 0 where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and what it means."""

    says: str
    provenance: Provenance
    found: tuple[Found, ...]
    verdicts: tuple[tuple[str, verdict.Verdict], ...]
    """(place, verdict)"""


def needed(asked: Asked) -> int:
    """Bytes that are on the disk at most: one job's data at a time, and everything else is smaller.

    All machines' where there are several.
    """
    jobs = [laying.as_laid(job, asked.layout) for job in asked.jobs]
    largest = max([laying.on_disk(job, _data(asked, job)) for job in jobs] or [0])
    return _clients(asked) * max(largest if _reads(asked) else 0, asked.size)


def _clients(asked: Asked) -> int:
    return asked.client.clients if asked.client else 1


def _seed(asked: Asked) -> int:
    """Another one on each machine: nobody reads what somebody else wrote, nor anything like it."""
    return asked.seed + (SEEDS * asked.client.number if asked.client else 0)


def _data(asked: Asked, job: Profile) -> int:
    """Bytes of a job's data."""
    return min(asked.size, job.most) if job.most else asked.size


def _in_memory(size: int) -> int:
    """So many bytes, at most a quarter of what may be used: they are held in memory as a whole."""
    return min(size, available() // 4)


def _reads(asked: Asked) -> bool:
    return "train" in asked.checks or "scale" in asked.checks


def measure(where: Sequence[str], asked: Asked, progress: Progress) -> Report:
    """One place after the other.

    Raises NoRoom, NoSuchFolder, AskedFirst, NotAnAddress and NoS3 before anything is written; PlaceFailed and
    ReadFailed, and what S3 raises, while it is measured.
    """
    asked = replace(asked, jobs=tuple(laying.as_laid(job, asked.layout) for job in asked.jobs))
    folders = {name: Path(name) for name in where if not _is_bucket(name)}
    for folder in folders.values():
        room.sweep(folder)  # or what a killed one left would be in the way
        room.check(folder, needed(asked), yes=asked.yes)
    for name in where:
        if _is_bucket(name):
            Bucket.below(name)
    if not asked.yes:
        room.ask(needed(asked))  # into a bucket, too
    papers = provenance(_plain(asked), folders)
    _expect(asked, len(where), 0 if asked.client else len(folders), progress)
    found = []
    for name in where:
        try:
            with _meeting(name, asked, papers) as meeting, _somewhere(name) as place:
                found.append(_place(name, place, asked, progress, meeting))
        except OSError as error:
            raise PlaceFailed(
                place=name,
                why=error.strerror or type(error).__name__,
                hint="what was written is gone again; does somebody else fill the disk, or is it broken?",
            ) from error
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
    except BaseException:
        with suppress(Failure):  # why it ended is what is told
            bucket.remove_all()
        raise
    bucket.remove_all()


@contextmanager
def _meeting(name: str, asked: Asked, papers: Provenance) -> Iterator[Meeting | None]:
    """With the other machines, where there are any; they have agreed on what is measured."""
    if asked.client is None:
        yield None
        return
    with Meeting(name, asked.client) as meeting:
        meeting.agree({**papers.asked, "client": None})
        yield meeting


def _expect(asked: Asked, places: int, folders: int, progress: Progress) -> None:
    """About how many bytes will be moved: what was read is exact, the rest is near enough for a clock."""
    for job in asked.jobs if _reads(asked) else ():
        files = laying.files_for(job, _data(asked, job))
        laid = Laid(
            files=tuple(str(n) for n in range(files)),
            per_file=job.per_file,
            size=files * job.per_file * job.record,
        )
        once = training.expected(_wanted(asked, job), laid) / (asked.runs + 1)
        progress.expect(places * (laid.size + once * (asked.runs + 1 + _few(asked) + 1)))
        scale = "scale" in asked.checks
        turns = sum(asked.client.number <= n for n in counts(asked.client.clients)) if asked.client else 0
        progress.expect(places * emulation.bites(_wanted(asked, job), laid, scale=scale, turns=turns))
    if "checkpoint" in asked.checks:
        progress.expect(places * 2 * (asked.runs + 1) * asked.size / 2)
    if "load" in asked.checks:
        progress.expect(folders * _in_memory(asked.size // 4) * 1.25 * (1 + 3 * (_few(asked) + 1)))
    progress.expect(folders * sum(_beside(asked, check) for check in asked.checks))


def _beside(asked: Asked, check: str) -> float:
    """Bytes as a clock, of what is told when it is over: searched vectors are compared many times."""
    amounts = {
        "random": _in_memory(asked.size // 4),
        "vectors": 20 * _vectors(asked),
        "spill": asked.size // 4,
    }
    return amounts.get(check, 0)


def _vectors(asked: Asked) -> int:
    """Bytes of vectors that are searched."""
    return min(asked.size // 8, 200_000_000)


def _few(asked: Asked) -> int:
    return min(3, asked.runs)


def _place(name: str, place: Place, asked: Asked, progress: Progress, meeting: Meeting | None) -> Found:
    remote = not isinstance(place, Folder)
    shared = remote or meeting is not None
    left_out = tuple(check for check in asked.checks if shared and check not in ANYWHERE)
    asked = replace(asked, checks=tuple(check for check in asked.checks if check not in left_out))
    free = room.free(place.path) if isinstance(place, Folder) else 0
    found = Found(place=name, left_out=left_out, free=free)
    if _reads(asked):
        trained = tuple(_trained(name, place, asked, job, progress, meeting) for job in asked.jobs)
        found = replace(found, trained=trained)
    if "checkpoint" in asked.checks:
        progress.stage(f"{name}: checkpoints")
        size = (
            _in_memory(asked.size // 2) if remote else asked.size // 2
        )  # objects are sent and fetched whole
        ready = meeting.meet if meeting else tuple
        one = checkpointing.measure(
            place, asked.checkpoint, size, asked.writers, asked.runs, _seed(asked), progress, ready
        )
        rate = one.writing.mean
        written = together.total(meeting.meet(rate)) if meeting else rate
        found = replace(found, checkpoint=one, written=written)
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
                size = _in_memory(asked.size // 4)
                loaded = loading.measure(folder, size, _few(asked), asked.seed, progress)
                found = replace(found, loaded=loaded)
            elif check == "random":
                path = folder / "random.bin"
                loading.write_weights(path, max(_in_memory(asked.size // 4), 1 << 20), 1, asked.seed)
                reads = random_reads.measure(path, SMALL_READS, asked.readers, asked.seed)
                found = replace(found, random=reads)
            elif check == "vectors":
                searched = vectors.measure(folder, _vectors(asked), 100, asked.seed)
                found = replace(found, searched=searched)
            elif check == "spill":
                found = replace(found, spilled=spill.measure(folder, asked.size // 8, asked.seed))
            progress.moved(_beside(asked, check))
    return found


@contextmanager
def _below(path: Path, name: str) -> Iterator[Path]:
    folder = path / name
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trained(
    name: str, place: Place, asked: Asked, job: Profile, progress: Progress, meeting: Meeting | None
) -> Trained:
    scale = "scale" in asked.checks
    wanted, size = _wanted(asked, job), _data(asked, job)
    return emulation.emulate(name, place, wanted, size, scale=scale, progress=progress, meeting=meeting)


def _wanted(asked: Asked, job: Profile) -> Wanted:
    return Wanted(
        job=job,
        layout=job.layout,
        accelerators=asked.accelerators,
        readers=asked.readers,
        loader=asked.loader,
        steps=asked.steps or emulation.AHEAD * asked.readers,
        runs=asked.runs,
        seed=_seed(asked),
    )


# -- what it means ----------------------------------------------------------------------------------


def _judged(found: Found, asked: Asked) -> Iterator[verdict.Verdict]:
    emulated = asked.accelerators * _clients(asked)
    planned = asked.planned or emulated
    writes = found.written if found.checkpoint else None
    for one in found.trained:
        yield verdict.for_reading(
            verdict.Cluster(job=one.job, accelerators=planned),
            verdict.Measured(
                reads=one.most,
                clients=one.clients,
                memory=one.memory_brings,
                memory_where=one.memory_where,
                one_reader=dict(one.scale).get(1),
                writes=writes,
                busy=one.here.utilization.mean if planned == emulated else None,
                stayed=one.here.stayed,
            ),
        )
    if asked.model and found.free:
        loads = max((one.rate for one in found.loaded), default=None)
        yield verdict.for_model(asked.model, found.free, loads)
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
        "loader": asked.loader,
        "steps": asked.steps,
        "runs": asked.runs,
        "seed": asked.seed,
        "layout": asked.layout or "the job's own",
        "checkpoint": asked.checkpoint.name,
        "writers": asked.writers,
        "model": asked.model,
        "client": f"{asked.client.number}/{asked.client.clients}" if asked.client else "",
    }
