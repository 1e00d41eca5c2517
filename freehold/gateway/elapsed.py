"""Time that passes while the machine sleeps, too, and that nobody can turn back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Elapsed = Callable[[], float]
"""Seconds since the machine started, suspensions included."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops its monotonic clock in suspension, macOS does not."""


def elapsed() -> float:
    """Seconds since the machine started, suspensions included."""
    return time.clock_gettime(_CLOCK)


UNKNOWN = "-"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A gateway's walls leave it readable: without it a start of the machine would not be noticed."""


def boot() -> str:
    """Which start of the machine this is; UNKNOWN where it does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return UNKNOWN
