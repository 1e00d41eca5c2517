"""A job of your own, as a run of it was measured: how often it takes a batch, and how large that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from freehold.errors import BadInput
from freehold.sizing.bench.emulation import AHEAD
from freehold.sizing.bench.profiles import MIN_STEPS, Profile

PER_FILE = 4096
"""Rows of a file, at most."""
FILES = 8
"""That they are laid in, at least."""
SECONDS = 5.0
"""Of a run, where nobody says how much data there is."""


class NoSteps(BadInput):
    """`{run}` says nothing of its steps"""


def of_run(told: Mapping[str, Any], row: int = 0) -> Profile:
    """From what control says of a run; `row` is the bytes of one of its rows, 0: as it read them.

    Seconds a step are the median of its own; of a run of before they were kept, those of the whole training
    over its steps: starting and comparing are in them, so what is asked of the storage is rather too little.
    Raises NoSteps.
    """
    metrics = told["metrics"]
    seconds, batch = _step_seconds(metrics), told["spec"].get("settings", {}).get("batch_size")
    if seconds is None or not batch:
        raise NoSteps(
            run=told["run"],
            why="only base models are tuned in steps, and only what has ended knows how long they took",
            hint="name a run of `tune: lora` or `full` that is done: `freehold runs list`",
        )
    record = row or round(float(metrics.get("row_bytes") or 0))
    if not record:
        raise NoSteps(
            run=told["run"], why="it is of before the bytes of rows were kept", hint="say them: `--row 2000`"
        )
    return Profile(
        name=str(told["run"]),
        layout="parquet",
        per_file=PER_FILE,
        record=record,
        batch=int(batch),
        compute=seconds,
        least=0.9,
    )


def laid(job: Profile, accelerators: int, readers: int, size: int = 0) -> Profile:
    """The same with `size` bytes in several files; 0: with what it takes in in five seconds.

    Steps of a fine-tuning are long and its rows are small: a gigabyte of them would be emulated for days.
    """
    steps = max(AHEAD * readers, min(MIN_STEPS, round(SECONDS / job.compute)))
    rows = size // job.record if size else steps * job.batch * accelerators
    per_file = max(1, min(PER_FILE, rows // FILES))
    return replace(job, per_file=per_file, most=0 if size else rows * job.record)


def _step_seconds(metrics: Mapping[str, Any]) -> float | None:
    if metrics.get("step_seconds"):
        return float(metrics["step_seconds"])
    curve, whole = metrics.get("curve"), metrics.get("seconds")
    return float(whole) / (int(curve[-1][0]) + 1) if curve and whole else None
