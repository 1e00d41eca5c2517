"""Do the walls stand? Each is tried from inside a job, after the same attempt was seen to work without.

`prove()` runs `attempt` in a real job, by the same way every job takes, and compares: a wall holds when
what works outside fails inside.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.jobs import isolated, walls
from freehold.jobs.folder import JobFolder
from freehold.jobs.kernel import LINUX

_MEMORY = 300_000_000
_LIMITS = walls.JobLimits(memory=_MEMORY, seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One attempt to get out."""

    attempt: str
    held: bool
    """Whether it failed inside although it works outside."""
    how: str
    """What the kernel answered inside."""


def prove(offered: walls.Walls | None = None) -> tuple[Proof, ...]:
    """Try every way out from inside a job. A few hundred milliseconds; leaves nothing behind."""
    with _ground() as (folder, spec):
        outside = _try_all(spec)
        ended = isolated.run(
            folder, "freehold.jobs.proof:attempt", walls=offered or walls.offered(), limits=_LIMITS
        )
    inside: Mapping[str, Any] = ended.result or {}
    if not inside:
        return (Proof(attempt="run at all", held=False, how=str((ended.failure or {}).get("what", ""))),)
    return tuple(
        Proof(attempt=name, held=outside[name] == _WORKS and inside[name] != _WORKS, how=inside[name])
        for name in outside
        if outside[name] == _WORKS  # what fails without walls proves nothing about them
    )


def attempt(folder: JobFolder) -> dict[str, str]:
    """The job's side: what each attempt answered."""
    return _try_all(folder.spec)


_WORKS = "it works"


@contextmanager
def _ground() -> Iterator[tuple[JobFolder, dict[str, Any]]]:
    """A job's folder, and beside it things that are none of its business."""
    with tempfile.TemporaryDirectory(prefix="freehold-proof-") as place, socket.socket() as listening:
        root = Path(place).resolve()
        (root / "foreign").mkdir()
        (root / "foreign" / "secret").write_text("x")
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        spec = {
            "foreign": str(root / "foreign"),
            "port": listening.getsockname()[1],
            "process": os.getpid(),
        }
        folder = JobFolder.create(root / "job", spec)
        (folder.inputs / "data").write_text("x")
        yield folder, spec | {"inputs": str(folder.inputs)}


def _try_all(spec: Mapping[str, Any]) -> dict[str, str]:
    foreign = Path(spec["foreign"])
    inputs = Path(spec.get("inputs") or Path.cwd() / "inputs")
    ways: dict[str, Callable[[], object]] = {
        "open a network socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "connect to a port of this machine": lambda: socket.create_connection(
            ("127.0.0.1", spec["port"]), timeout=2
        ).close(),
        "read a foreign file": lambda: (foreign / "secret").read_text(),
        "list a foreign folder": lambda: os.listdir(foreign),
        "write outside its folder": lambda: (foreign / "new").write_text("x"),
        "change its inputs": lambda: (inputs / "data").write_text("y"),
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "see another process": lambda: os.kill(spec["process"], 0),
        "trace a process": _trace,
        "use more memory than it may": lambda: len(bytearray(2 * _MEMORY)),
    }
    return {name: _try(way) for name, way in ways.items()}


def _try(way: Callable[[], object]) -> str:
    try:
        way()
    except MemoryError:
        return "no memory"
    except OSError as error:
        return error.strerror or type(error).__name__
    return _WORKS


def _trace() -> None:
    """Ask to be traced by the parent, in a child of its own so that this process stays as it is."""
    if not LINUX:
        raise OSError(38, "not on this platform")
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.ptrace(0, 0, None, None) != 0 else 0)
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise OSError(code, os.strerror(code))
