"""Is it enough for the machines somebody plans: what they take in against what was measured. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from freehold.sizing.bench.cache import COLD
from freehold.sizing.bench.profiles import Checkpoint, Profile
from freehold.sizing.bench.room import amount
from freehold.spec.cadence import checkpoint_every

DRIVE = 6e9
"""Bytes a second that one NVMe drive of the fourth PCIe generation reads (MLPerf Storage v1.0)."""
MUCH = 10e9
"""Bytes a second, and bytes a checkpoint, above which one server's drives are rarely what people buy."""
STALL = 0.05
"""The share of a training that may go into writing checkpoints and into what is lost between them."""
COPIES = 2
"""Versions of a model that lie beside each other while one takes the other's place."""
FAILS_EVERY = 50_000 * 3600
"""Seconds between failures of one accelerator (Llama 3 report: 50,677 hours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is planned."""

    job: Profile
    accelerators: int
    checkpoint: Checkpoint | None = None

    @property
    def reads(self) -> float:
        """Bytes a second that keep every accelerator as busy as its job asks for."""
        return self.accelerators * self.job.rate * self.job.least


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a place gave, in bytes a second; None where it was not measured."""

    reads: float
    """With as many readers as it took."""
    memory: float | None
    """The same job read from memory: what the processors here can take in at all."""
    memory_where: str = "memory"
    """What memory that is, as the report calls it: `tmpfs`, `the page cache`."""
    one_reader: float | None = None
    writes: float | None = None
    """Checkpoints."""
    clients: int = 1
    """Machines like this one that read at once."""
    busy: float | None = None
    """The utilization of as many accelerators as are planned, where so many were emulated."""
    stayed: float = 0.0
    """The share of the data that was in memory before it was read: above COLD nothing is proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Enough or not, why, and what would do."""

    name: str
    enough: bool
    required: float
    """Bytes a second; of a model's room, bytes."""
    measured: float
    because: str
    advice: tuple[str, ...]
    proved: bool = True
    """False: what was measured may be memory and not the place, so that it is enough of nothing."""

    @property
    def word(self) -> str:
        """Of it, for a title."""
        if not self.proved:
            return "not proved"
        return "enough" if self.enough else "not enough"


def for_reading(cluster: Cluster, found: Measured) -> Verdict:
    """Enough when what was measured is at least what is required, and came from the place alone.

    Where as many accelerators were emulated as are planned, they were as busy as their job asks for, too.
    """
    required, proved = cluster.reads, found.stayed <= COLD
    idle = found.busy is not None and found.busy < cluster.job.least
    enough = found.reads >= cluster.reads and proved and not idle
    because = (
        f"{cluster.accelerators} x {cluster.job.name} take in {amount(required)}/s to be "
        f"{100 * cluster.job.least:.0f} % busy; {amount(found.reads)}/s were measured"
    )
    if found.clients > 1:
        because += f", with {found.clients} clients at once"
    if found.busy is not None:
        because += f", and they were busy {100 * found.busy:.0f} %"
    return Verdict(
        name="reading for training",
        enough=enough,
        required=required,
        measured=found.reads,
        because=because if proved else f"{because}, {100 * found.stayed:.0f} % of the data from memory",
        advice=() if enough else tuple(_for_reads(cluster, found)) if proved else (_NOT_COLD,),
        proved=proved,
    )


_CHEAP = ("tfrecord", "raw")
"""Layouts that cost the processors least."""
_NOT_COLD = "measure with `--size rules`: this file system does not let go of what it holds in memory"


def _for_reads(cluster: Cluster, found: Measured) -> list[str]:
    required = cluster.reads
    if found.reads >= required:
        return ["readers bring enough, but not in time: more of them, or less beside them on this machine"]
    said = []
    memory = None if found.memory is None else found.clients * found.memory
    if memory is not None and memory < 1.1 * found.reads:
        other = (
            ""
            if cluster.job.layout in _CHEAP
            else f", or a format that costs less to decode ({' or '.join(_CHEAP)})"
        )
        said.append(
            f"the processors are the limit, not the disk: from {found.memory_where} {amount(memory)}/s; "
            f"more cores{other}"
        )
    elif memory is not None and memory < required:
        said.append(
            f"a quicker disk helps up to {amount(memory)}/s, which is what these processors take in "
            f"from {found.memory_where}"
        )
    if found.one_reader and found.reads > 1.3 * found.one_reader:
        said.append(
            f"more readers help: one brings {amount(found.one_reader)}/s, several {amount(found.reads)}/s"
        )
    drives = math.ceil(required / DRIVE)
    said.append(f"local NVMe: {drives} drive{'s' * (drives > 1)} of {amount(DRIVE)}/s hold it")
    if required > MUCH:
        said.append(
            f"above {amount(MUCH)}/s: a parallel file system, or object storage with many connections, "
            f"with {amount(required)}/s for the whole cluster"
        )
    fits = int(found.reads / (cluster.job.rate * cluster.job.least))
    said.append(f"as it is, it keeps {fits} of {cluster.accelerators} accelerators busy")
    return said


def for_checkpoints(cluster: Cluster, writes: float) -> Verdict:
    """Enough when writing and what a failure costs take at most 5 % of the time, at the best interval."""
    assert cluster.checkpoint is not None
    size = cluster.checkpoint.size
    share = stalled(size / writes, cluster.accelerators)
    required = _required_writes(size, cluster.accelerators)
    every = checkpoint_every(size / writes, FAILS_EVERY / cluster.accelerators)
    because = (
        f"a checkpoint of {cluster.checkpoint.name} is {amount(size)} and takes {span(size / writes)} at "
        f"{amount(writes)}/s; best every {span(every)}, with {100 * share:.1f} % of the time lost"
    )
    advice = [
        f"{amount(required)}/s of writing would do for {100 * STALL:.0f} %",
        f"local NVMe in the training servers, copied on from there: {amount(size)} a checkpoint",
    ]
    if size > MUCH and required > MUCH:
        advice.append("a parallel file system: every writer has its own file, so they add up")
    return Verdict(
        name="checkpoints",
        enough=share <= STALL,
        required=required,
        measured=writes,
        because=because,
        advice=() if share <= STALL else tuple(advice),
    )


def for_model(size: float, free: float, loads: float | None) -> Verdict:
    """Whether a model fits where it shall stand, twice: a new version lies beside the old one for a while.

    `free` is what may be used there; `loads` the bytes a second from cold, where that was measured.
    """
    required = COPIES * size
    took = f"; from cold it is there after {span(size / loads)}" if loads else ""
    because = f"{COPIES} versions of {amount(size)} take {amount(required)}, {amount(free)} may be used{took}"
    advice = [
        f"weights of at most {amount(free / COPIES)}: 8 bit is half of 16, 4 bit a little over a quarter",
        f"{amount(required - free)} more room",
    ]
    return Verdict(
        name="the model",
        enough=required <= free,
        required=required,
        measured=free,
        because=because,
        advice=() if required <= free else tuple(advice),
    )


def stalled(write_seconds: float, accelerators: int) -> float:
    """The share of the time lost at the best interval: writing, and half an interval for each failure."""
    between = FAILS_EVERY / accelerators
    every = checkpoint_every(write_seconds, between)
    return write_seconds / every + every / (2 * between)


def _required_writes(size: float, accelerators: int) -> float:
    """At Young and Daly's interval the loss is sqrt(2 C / M): solved for the bytes a second."""
    return 2 * size / (STALL**2 * FAILS_EVERY / accelerators)


def span(seconds: float) -> str:
    """`1.2 s`, `14 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
