"""The walls around a job: which ones this machine offers, and how they are raised.

Each wall stands alone: where the kernel lacks one, the others are raised and the plan says which is
missing. What a wall does is proved, not assumed (`jobs.proof`).
"""

from __future__ import annotations

import os
import resource
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from freehold.jobs import landlock, namespaces, seccomp
from freehold.jobs.folder import JobFolder
from freehold.jobs.kernel import LINUX, PR_SET_DUMPABLE, prctl

_CORES = ("/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/sys/fs/cgroup/cpu.max")
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_NETWORKED = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
)
_SMALL = ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What keeps a job inside on this machine."""

    landlock: int
    """Interface version, 0 without: files outside its folder, and from version 4 on TCP."""
    seccomp: bool
    """Refuses sockets, other programs, ptrace, mounts, keys and what else no job needs."""
    namespaces: bool
    """An empty network, its own processes, no privileges."""
    limits: bool = True
    """Memory, processor time, size of files, open files, no core dumps."""

    def words(self) -> tuple[str, ...]:
        """For plans, runs and people."""
        said = []
        if self.landlock:
            said.append(f"landlock {self.landlock}")
        if self.seccomp:
            said.append("seccomp")
        if self.namespaces:
            said.append("namespaces")
        return (*said, "limits") if self.limits else tuple(said)

    def missing(self) -> tuple[str, ...]:
        """What this machine does not offer, and what that means."""
        said = []
        if not self.landlock:
            said.append("no landlock: a job could read files of this user outside its folder")
        if not self.seccomp:
            said.append("no seccomp: a job could start programs" + self._network())
        if not self.namespaces:
            said.append("no namespaces: a job could see other processes")
        return tuple(said)

    def _network(self) -> str:
        return "" if self.namespaces else " and open connections"

    @property
    def closed(self) -> bool:
        """Whether neither the network nor a foreign file can be reached."""
        return bool(self.landlock) and (self.seccomp or self.namespaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """What a job may use."""

    memory: int
    """Bytes of its own data."""
    seconds: int
    """Of wall time; the processor time is bounded by the same number for each thread."""
    output: int = 8_000_000_000
    """Bytes of one file."""
    threads: int = 1
    """How many of its threads compute at once."""


def offered() -> Walls:
    """The walls of this machine."""
    return Walls(landlock=landlock.abi(), seccomp=seccomp.offered(), namespaces=namespaces.offered())


def leave_machine(walls: Walls) -> None:
    """The first half: namespaces. Before threads, before anything big is imported."""
    if walls.namespaces:
        namespaces.enter()


def raise_around(folder: JobFolder, walls: Walls, limits: JobLimits, code: Path | None = None) -> None:
    """The second half: limits, files, system calls. There is no way back. Raises OSError."""
    _limit(limits)
    if not LINUX:
        return
    prctl(PR_SET_DUMPABLE, 0)  # nobody of the same user attaches to it or reads its memory
    namespaces.drop_capabilities()
    if walls.landlock:
        landlock.restrict(
            read=[*readable(), folder.root, *([code] if code else [])],
            write=[
                folder.outputs,
                folder.checkpoints,
                folder.tmp,
                Path("/dev/null"),
                *(folder.root / n for n in ("progress.json", "result.json")),
            ],
        )
    if walls.seccomp:
        seccomp.install()


def confine(*, read: Iterable[Path] = (), write: Iterable[Path], network: bool) -> None:
    """Keep a long-lived part within its folders: the gateway with the network, an engine without.

    Raises each wall this machine offers; call it before there are threads. An engine's Unix socket works
    all the same.
    """
    if not LINUX:
        return
    if not network and namespaces.offered():
        namespaces.leave_network()
    namespaces.drop_capabilities()
    if landlock.abi():
        around = [Path(p) for p in _NETWORKED] if network else []
        landlock.restrict(
            read=[*readable(), *around, Path("/proc/self"), *read],
            write=[*write, Path("/dev/null")],
            tcp=network,
        )
    if seccomp.offered():
        seccomp.install("all" if network else "unix")


def readable() -> list[Path]:
    """What a Python process has to read to run at all: the interpreter, its libraries, ours."""
    ours = Path(__file__).resolve().parent.parent
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    roots = {Path(p) for p in paths if p} | {Path(sys.base_prefix) / "lib", ours}
    roots |= {Path(p) for p in (*_SYSTEM, *_SMALL, *_CORES, "/dev/null")}
    return sorted(path for path in roots if path.exists())


def _limit(limits: JobLimits) -> None:
    memory = resource.RLIMIT_DATA if LINUX else resource.RLIMIT_AS
    for which, bound in (
        (memory, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds * limits.threads + 5),  # wall time ends it first, and says why
        (resource.RLIMIT_FSIZE, limits.output),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),  # a core dump would hold the data
    ):
        _, hard = resource.getrlimit(which)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(which, (allowed, allowed))


def environment(folder: JobFolder, threads: int = 1) -> dict[str, str]:
    """The whole environment of a job: nothing is inherited but where libraries lie."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        **inherited,
        **dict.fromkeys(pools, str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits leaves its core to whoever has work
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(folder.tmp),
        "TMPDIR": str(folder.tmp),
        "JOBLIB_MULTIPROCESSING": "0",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUSERBASE": site.getuserbase(),  # HOME is another one inside
    }
