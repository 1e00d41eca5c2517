"""A job of your own, as a run of it was measured: how often it takes a batch, and how large that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.errors import BadInput
from freehold.sizing.bench.profiles import Profile

PER_FILE = 4096
"""Rows of a file."""


class NoSteps(BadInput):
    """`{run}` says nothing of its steps"""


def of_run(told: Mapping[str, Any], row: int) -> Profile:
    """From what control says of a run; `row` is the bytes of one of its rows. Raises NoSteps.

    Seconds a step are those of the whole training over its steps: starting and comparing are in them, so what
    is asked of the storage is rather too little for very short runs.
    """
    curve, seconds = told["metrics"].get("curve"), told["metrics"].get("seconds")
    batch = told["spec"].get("settings", {}).get("batch_size")
    if not (curve and seconds and batch):
        raise NoSteps(
            run=told["run"],
            why="only base models are tuned in steps, and only what has ended knows how long they took",
            hint="name a run of `tune: lora` or `full` that is done: `freehold runs list`",
        )
    steps = int(curve[-1][0]) + 1
    return Profile(
        name=str(told["run"]),
        layout="parquet",
        per_file=PER_FILE,
        record=row,
        batch=int(batch),
        compute=float(seconds) / steps,
        least=0.9,
    )
