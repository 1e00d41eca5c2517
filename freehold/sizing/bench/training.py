"""Reading for training: how busy an emulated accelerator is kept, by this place and by memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from freehold.sizing.bench import laying
from freehold.sizing.bench.laying import Laid
from freehold.sizing.bench.loader import Batch
from freehold.sizing.bench.loaders import OWN, loader_of
from freehold.sizing.bench.places import Place
from freehold.sizing.bench.profiles import Profile
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.reader import Brought, Way
from freehold.sizing.bench.utilization import Spread, Step, utilization


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to emulate."""

    job: Profile
    layout: str
    accelerators: int
    readers: int
    """Of each accelerator."""
    steps: int
    """At least so many a run; the data is gone through several times where it holds fewer."""
    runs: int
    seed: int
    loader: str = OWN
    """One of loaders.LOADERS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pass."""

    utilization: float
    """Mean over the accelerators, 0 to 1."""
    rate: float
    """Bytes a second into memory, all accelerators together, first steps left out."""
    brings: float
    """Bytes a second once each reader has brought a batch: nothing of that was read ahead."""
    steps: int
    """Of each accelerator, the first one included."""
    seconds: float
    cpu: float
    """CPU seconds of the readers."""
    size: int
    """Bytes read, first steps included."""
    stayed: float
    """The share of the data that was in memory when it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Several runs after a warm-up."""

    wanted: Wanted
    laid: int
    """Bytes of data there were."""
    warm_up: Run
    """In no figure but energy, whose meter cannot leave it out."""
    runs: tuple[Run, ...]

    @property
    def every(self) -> tuple[Run, ...]:
        return (self.warm_up, *self.runs)

    @property
    def utilization(self) -> Spread:
        return Spread(values=tuple(run.utilization for run in self.runs))

    @property
    def rate(self) -> Spread:
        return Spread(values=tuple(run.rate for run in self.runs))

    @property
    def stayed(self) -> float:
        """The worst."""
        return max(run.stayed for run in self.runs)


def expected(wanted: Wanted, laid: Laid) -> float:
    """Bytes that `measure` will read."""
    batches = laying.order(laid, wanted.job.batch, wanted.accelerators, wanted.steps, wanted.seed)
    each = sum(len(rank) for rank in batches) * wanted.job.batch * laid.size
    return (wanted.runs + 1) * each / (len(laid.files) * laid.per_file)


def measure(
    place: Place,
    laid: Laid,
    wanted: Wanted,
    progress: Progress,
    *,
    cold: bool = True,
    ready: Callable[[], object] = tuple,
) -> Reading:
    """A warm-up and `runs` runs, each with a seed of its own; raises ReadFailed.

    `cold`: nothing is in memory when a run begins, and a file is forgotten once it is read. `ready` is called
    before each run: it may wait for other machines.
    """
    runs = []
    for number in range(wanted.runs + 1):
        ready()
        runs.append(once(place, laid, wanted, progress, number, cold=cold))
    return Reading(wanted=wanted, laid=laid.size, warm_up=runs[0], runs=tuple(runs[1:]))


def once(
    place: Place, laid: Laid, wanted: Wanted, progress: Progress, number: int = 0, *, cold: bool = True
) -> Run:
    """One run, number `number`."""
    one_pass = laying.order(laid, wanted.job.batch, wanted.accelerators, 0, 0)
    way = Way(
        place=place,
        layout=wanted.layout,
        length=wanted.job.record,
        resized=wanted.job.resized,
        forget=cold and len(one_pass[0]) < wanted.steps,
    )
    stayed = place.make_cold(laid.files) if cold else 1.0
    batches = laying.order(
        laid, wanted.job.batch, wanted.accelerators, wanted.steps, wanted.seed + 1 + number
    )
    ranks = _ranks(way, wanted, batches, progress)
    return _summed(wanted, ranks, stayed)


@dataclass(slots=True)
class _Rank:
    """One accelerator. Owned by its thread until that has ended."""

    steps: list[Step]
    brought: list[Brought]
    arrived: list[float]
    """When each batch did."""
    whole: float = 0.0
    failed: BaseException | None = None


def _ranks(way: Way, wanted: Wanted, batches: Sequence[Sequence[Batch]], progress: Progress) -> list[_Rank]:
    """Every accelerator in a thread of its own; after each step they wait for each other (all-reduce)."""
    barrier = threading.Barrier(wanted.accelerators)
    ranks = [_Rank(steps=[], brought=[], arrived=[]) for _ in batches]
    lock = threading.Lock()

    def told(brought: Brought) -> None:
        with lock:
            progress.moved(brought.size)

    def run(rank: _Rank, mine: Sequence[Batch]) -> None:
        try:
            began = loading = time.perf_counter()  # starting readers is part of the first step
            with loader_of(wanted.loader, way, wanted.readers) as loader:
                for brought in loader.batches(mine):
                    rank.arrived.append(time.perf_counter())
                    time.sleep(wanted.job.compute)
                    taken = time.perf_counter() - loading
                    rank.steps.append(Step(load=taken - wanted.job.compute, compute=wanted.job.compute))
                    rank.brought.append(brought)
                    told(brought)
                    barrier.wait()
                    loading = time.perf_counter()
                    rank.whole = loading - began  # to the end of the last step: readers that end are none
        except BaseException as error:
            rank.failed = error
            barrier.abort()

    threads = [
        threading.Thread(target=run, args=(rank, mine), daemon=True)
        for rank, mine in zip(ranks, batches, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [rank.failed for rank in ranks if rank.failed is not None]
    for error in failed:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return ranks


def _summed(wanted: Wanted, ranks: Sequence[_Rank], stayed: float) -> Run:
    brought = [one for rank in ranks for one in rank.brought]
    rate = sum(
        sum(one.size for one in rank.brought[1:])
        / max(1e-9, rank.whole - rank.steps[0].load - rank.steps[0].compute)
        for rank in ranks
    )
    return Run(
        utilization=fmean(utilization(rank.steps, rank.whole) for rank in ranks),
        rate=rate,
        brings=sum(_brings(rank, wanted.readers) for rank in ranks),
        steps=len(ranks[0].steps),
        seconds=max(rank.whole for rank in ranks),
        cpu=sum(one.cpu for one in brought),
        size=sum(one.size for one in brought),
        stayed=stayed,
    )


def _brings(rank: _Rank, readers: int) -> float:
    """Bytes a second after each reader's first batch; 0 where there was no other."""
    later = rank.brought[readers:]
    if not later:
        return 0.0
    return sum(one.size for one in later) / max(1e-9, rank.arrived[-1] - rank.arrived[readers - 1])
