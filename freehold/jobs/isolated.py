"""Run one entry in a process of its own, with walls around it, and say what it cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.errors import Failure
from freehold.jobs.folder import JobFolder
from freehold.jobs.walls import JobLimits, Walls, environment


class TookTooLong(Failure):
    """the job ran longer than {seconds} s and was stopped"""


class WasKilled(Failure):
    """the job was ended by signal {signal}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a job ended and what it used."""

    result: dict[str, Any] | None
    """What the entry returned; none when it failed."""
    failure: dict[str, Any] | None
    """A failure as data (`errors.Failure.told`); none when it returned."""
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    stopped: bool = False
    """Ended because we were asked to, not by itself."""
    killed: bool = False
    """Ended by a signal from outside, such as the system's when memory is short: it may be begun again."""
    walls: tuple[str, ...] = field(default=())


def run(
    folder: JobFolder,
    entry: str,
    *,
    walls: Walls,
    limits: JobLimits,
    code: Path | None = None,
    stop: threading.Event | None = None,
    started: Callable[[int], None] = lambda _pid: None,
) -> Ended:
    """Run `entry` (`module:function`) on `folder` to its end, to its limit, or until `stop` is set.

    `code` is a folder with modules beyond the installed ones; the job may read it.
    `started` is told the process id. What the job prints is thrown away: it may hold rows.
    """
    began = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 – our own interpreter with our own words
        _command(folder, entry, walls, limits, code),
        cwd=folder.root,
        env=environment(folder, limits.threads),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started(process.pid)
    too_long, stopped = False, False
    waiting = stop or threading.Event()
    while (used := _reap(process.pid)) is None:
        too_long = time.monotonic() - began > limits.seconds
        stopped = waiting.wait(0.02)
        if too_long or stopped:
            os.killpg(process.pid, signal.SIGKILL)
            used = _await(process.pid)
            break
    process.returncode = used[0]  # reaped here for its resource use; Popen would wait in vain
    failure = _failure(folder, used[0], limits, too_long)
    return Ended(
        result=None if failure or stopped else folder.result.get("result"),
        failure=failure,
        cpu_seconds=used[1].ru_utime + used[1].ru_stime,
        wall_seconds=time.monotonic() - began,
        peak_bytes=used[1].ru_maxrss * (1024 if sys.platform == "linux" else 1),
        stopped=stopped and not too_long,
        killed=used[0] == -signal.SIGKILL and not (stopped or too_long),
        walls=walls.words(),
    )


def _command(folder: JobFolder, entry: str, walls: Walls, limits: JobLimits, code: Path | None) -> list[str]:
    command = [sys.executable, "-P", "-m", "freehold.jobs.child", "--folder", str(folder.root)]
    command += ["--entry", entry, "--parent", str(os.getpid())]
    command += ["--memory", str(limits.memory), "--seconds", str(limits.seconds)]
    command += ["--threads", str(limits.threads), "--landlock", str(walls.landlock)]
    command += ["--code", str(code)] if code else []
    command += ["--seccomp"] if walls.seccomp else []
    command += ["--namespaces"] if walls.namespaces else []
    return command


_Used = tuple[int, Any]


def _reap(pid: int) -> _Used | None:
    """Exit code and resource use of the child and its children, once it has ended."""
    found, status, usage = os.wait4(pid, os.WNOHANG)
    return (os.waitstatus_to_exitcode(status), usage) if found else None


def _await(pid: int) -> _Used:
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage


def _failure(folder: JobFolder, code: int, limits: JobLimits, too_long: bool) -> dict[str, Any] | None:
    if too_long:
        return TookTooLong(seconds=limits.seconds, hint="raise `wall` in the service file").told()
    if code == 0:
        return None
    told = folder.result.get("failure")
    if isinstance(told, dict):
        return told
    hint = "raise `memory` in the service file" if code in (-9, -11, -6) else ""
    return WasKilled(signal=-code, why="most likely it ran out of memory" if hint else "", hint=hint).told()
