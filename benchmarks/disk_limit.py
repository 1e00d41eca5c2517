"""What the disk itself can do: 4 KB written and synced, again and again. The limit beside which we stand.

With `fio` where there is one, and by a loop of our own in any case, so that the figure can be had anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

SIZE = 64 << 20


def limit(folder: Path, seconds: float) -> dict[str, Any]:
    """Syncs a second, and how long one takes."""
    found: dict[str, Any] = {"own loop": _loop(folder / "limit", seconds)}
    if shutil.which("fio"):
        found["fio"] = _fio(folder / "limit.fio", seconds)
    return found


def per_second(found: dict[str, Any]) -> float:
    """The figure to stand beside: fio's, where it was measured."""
    return float(found.get("fio", found["own loop"])["syncs a second"])


def _loop(path: Path, seconds: float) -> dict[str, float]:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(file, 0, SIZE)
        os.fsync(file)
        block, took, at = os.urandom(4096), list[float](), 0
        over = time.perf_counter() + seconds
        while (began := time.perf_counter()) < over:
            os.pwrite(file, block, at % SIZE)
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
            at += 4096
    finally:
        os.close(file)
        path.unlink()
    took.sort()
    return {
        "syncs a second": round(len(took) / sum(took), 1),
        "p50 ms": round(took[len(took) // 2] * 1000, 3),
        "p99 ms": round(took[len(took) * 99 // 100] * 1000, 3),
    }


def _fio(path: Path, seconds: float) -> dict[str, float]:
    command = ["fio", "--name=limit", f"--filename={path}", "--rw=write", "--bs=4k", "--fdatasync=1"]
    command += [f"--size={SIZE}", f"--runtime={seconds:.0f}", "--time_based", "--output-format=json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    path.unlink()
    job = json.loads(done.stdout)["jobs"][0]
    synced = job["sync"]["lat_ns"]["percentile"]
    return {
        "syncs a second": round(job["write"]["iops"], 1),
        "p50 ms": round(synced["50.000000"] / 1e6, 3),
        "p99 ms": round(synced["99.000000"] / 1e6, 3),
    }
