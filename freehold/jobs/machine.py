"""What a machine is, as far as it can change a result or a bill."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", "pyarrow",
    "tokenizers", "torch", "transformers", "peft", "trl", "safetensors",
)  # fmt: skip
_VECTORS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "amx_tile", "asimd", "sve")


def facts(walls: Sequence[str], threads: int = 1) -> dict[str, Any]:
    """Recorded with every run: threads, processor, versions, walls."""
    return {
        "threads": threads,
        "hash_seed": 0,
        "processor": platform.machine(),
        "vector": list(_vector_flags()),
        "python": platform.python_version(),
        "versions": _versions(),
        "walls": list(walls),
    }


@cache
def _vector_flags() -> tuple[str, ...]:
    """Instruction sets that numerical libraries choose their code by."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()
    found = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    have = set(found.partition(":")[2].split())
    return tuple(flag for flag in _VECTORS if flag in have)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What this machine has to give."""

    cores: int
    memory: int
    """Bytes, of the whole machine or of the control group we are in."""
    disk: int
    """Bytes free where scratch lies."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room(scratch: Path) -> Room:
    """Measured now."""
    return Room(cores=cores(), memory=_memory(), disk=shutil.disk_usage(scratch).free)


def _memory() -> int:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        allowed = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return whole
    return min(whole, int(allowed)) if allowed.isdecimal() else whole
