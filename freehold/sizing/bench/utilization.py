"""How busy an accelerator is kept by its data: pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One batch of one accelerator, in seconds."""

    load: float
    """The rest of the step: waited for the batch, or slept too long."""
    compute: float
    """What the job computes on it: as DLIO counts it, not how long the emulation slept."""


def utilization(steps: Sequence[Step], whole: float) -> float:
    """Time computed over time taken, 0 to 1; `whole` is the seconds of the pass, the readers' start included.

    The first step is left out of both, since it waits for readers to begin: so MLPerf Storage's submission
    guidelines (AU) and DLIO's utils/statscounter.py (compute_metrics_train, with its first step excluded).
    0 where there is no second step.
    """
    counted = steps[1:]
    taken = whole - sum(step.load + step.compute for step in steps[:1])
    computed = sum(step.compute for step in counted)
    return computed / taken if counted and taken > 0 else 0.0


def records_a_second(steps: Sequence[Step], whole: float, batch: int) -> float:
    """The first step left out, as above."""
    taken = whole - sum(step.load + step.compute for step in steps[:1])
    return (len(steps) - 1) * batch / taken if len(steps) > 1 and taken > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def text(self, unit: str = "", factor: float = 1.0) -> str:
        """`4.21 GB/s, 4.10 to 4.30 in 5 runs`."""
        low, high = (f"{factor * each:.3g}" for each in (min(self.values), max(self.values)))
        said = f"{factor * self.mean:.3g} {unit}".rstrip()
        return f"{said}, {low} to {high} in {len(self.values)} runs" if len(self.values) > 1 else said


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; values need not be sorted, and there must be one."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
