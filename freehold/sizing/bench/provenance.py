"""Everything somebody needs to measure the same again, and nothing about a person."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
"""What a container may use stands there, where it is a container's."""
LIBRARIES = ("numpy", "pyarrow", "onnxruntime", "obstore", "datasets", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What a path stands on."""

    system: str
    """ext4, tmpfs, nfs4, …"""
    options: str
    device: str
    model: str
    turns: bool | None
    """It is a disk that rotates; None when nobody says."""
    size: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    memory: int
    kernel: str
    python: str
    libraries: Mapping[str, str]
    freehold: str
    load: float
    """Processes that wanted to run in the minute before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """A measurement's papers."""

    at: str
    asked: Mapping[str, Any]
    """The options, as they were understood."""
    machine: Machine
    disks: Mapping[str, Disk]
    """By the path measured."""


def provenance(asked: Mapping[str, Any], paths: Mapping[str, Path]) -> Provenance:
    """Of here and now."""
    return Provenance(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        asked=dict(asked),
        machine=machine(),
        disks={name: disk(path) for name, path in paths.items()},
    )


def machine() -> Machine:
    """This one."""
    return Machine(
        cpu=_after("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores=cores(),
        memory=memory(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries={name: found for name in LIBRARIES if (found := _version(name))},
        freehold=_version("freehold"),
        load=os.getloadavg()[0],
    )


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available() -> int:
    """Bytes that may still be used with nothing pushed out: of the machine, and of our share of it."""
    said = _after("/proc/meminfo", "MemAvailable").split()
    free = int(said[0]) * 1024 if said else memory() // 4
    limit, used = (_text(CGROUP / name) for name in ("memory.max", "memory.current"))
    if not (limit.isdigit() and used.isdigit()):
        return free
    told = dict(line.split() for line in _text(CGROUP / "memory.stat").splitlines())
    cached = int(told.get("file", 0)) - int(told.get("shmem", 0))  # goes when somebody needs it
    return max(0, min(free, int(limit) - int(used) + cached))


def disk(path: Path) -> Disk:
    """What `path` stands on; empty words where the system does not say."""
    space = os.statvfs(path)
    system, options, source = _mounted(path.resolve())
    block = _block(path)
    turns = _text(block / "queue/rotational") if block else ""
    return Disk(
        system=system,
        options=options,
        device=source,
        model=_text(block / "device/model") if block else "",
        turns=None if not turns else turns == "1",
        size=space.f_blocks * space.f_frsize,
        free=space.f_bavail * space.f_frsize,
    )


def _mounted(path: Path) -> tuple[str, str, str]:
    """File system, options and source of the mount with the longest name above `path`."""
    best: tuple[str, str, str, str] = ("", "", "", "")
    for line in _text(Path("/proc/self/mounts")).splitlines():
        source, where, system, options = line.split(" ")[:4]
        where = where.encode().decode("unicode_escape")  # blanks are written \040
        if (path == Path(where) or Path(where) in path.parents) and len(where) >= len(best[0]):
            best = (where, system, options, source)
    return best[1], best[2], best[3]


def _block(path: Path) -> Path | None:
    device = os.stat(path).st_dev
    found = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not found.exists():
        return None
    whole = found.resolve()
    return whole if (whole / "queue").exists() else whole.parent


def _after(file: str, name: str) -> str:
    """What stands behind the colon of the first line that begins so."""
    for line in _text(Path(file)).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
