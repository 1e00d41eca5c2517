"""What the kernel counts of a process: its time, its own memory, and whom it began."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
"""Ticks a second: what the kernel counts processor time in."""


def cpu(pid: int) -> float:
    """Seconds of processor time of a process, all its threads; one that has gone used none."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(said[11]) + int(said[12])) / TICK


def family(pid: int) -> Iterator[int]:
    """A process and all that it began."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from family(int(child))


def own_memory(pid: int) -> int:
    """Bytes that belong to no file; one that has gone has none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    said = next((line for line in lines if line.startswith("RssAnon:")), "RssAnon: 0")
    return int(said.split()[1]) << 10
