"""Trainings of your own as what they reached: tokens a second, and the arithmetic behind them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from freehold.errors import BadInput
from freehold.sizing.bench.as_device import HERE
from freehold.sizing.bench.provenance import Provenance
from freehold.sizing.bench.shown import Page, Row, Section
from freehold.sizing.bench.told import as_yaml, papers
from freehold.sizing.bench.utilization import Spread


class NoPace(BadInput):
    """`{run}` does not say how fast it learned"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run."""

    run: str
    base: str
    """The model that was tuned."""
    threads: int
    day: str
    """On which it ended, ISO."""
    operations: float
    """Of one token."""
    tokens: float
    """A second, over all of its steps."""
    parts: tuple[float, ...]
    """The same of each fifth of its steps; empty where there were too few."""

    @property
    def tflops(self) -> tuple[float, ...]:
        """That were reached: over all steps, then of each fifth."""
        return tuple(self.operations * rate / 1e12 for rate in (self.tokens, *self.parts))


def of_run(told: Mapping[str, Any]) -> Ran:
    """From what control says of a run. Raises NoPace."""
    metrics, spec = told["metrics"], told["spec"]
    rates, operations = metrics.get("tokens_per_second"), metrics.get("operations_per_token")
    if not rates or not operations or "base" not in spec:
        raise NoPace(
            run=told["run"],
            why="only `tune: lora` learns by tokens, and runs of before did not count them",
            hint="name such a run that is done: `freehold runs list`",
        )
    whole, *parts = (float(rate) for rate in rates)
    ended = dt.datetime.fromtimestamp(told["ended_at"] / 1e6, dt.UTC)
    return Ran(
        run=str(told["run"]),
        base=str(spec["base"]["ref"]),
        threads=int(spec["threads"]),
        day=ended.date().isoformat(),
        operations=float(operations),
        tokens=whole,
        parts=tuple(parts),
    )


def facts(found: Sequence[Ran]) -> str:
    """YAML for `freehold size --facts`: trainings here are done by the processors, `this-machine`.

    The range holds every fifth of every run.
    """
    reached = (fmean(one.tflops[0] for one in found), *(each for one in found for each in one.tflops))
    runs = ", ".join(f"{one.run} (LoRA of {one.base}, threads: {one.threads})" for one in found)
    oldest = min(one.day for one in found)
    return as_yaml({f"device.{HERE}.lora_tflops": reached}, oldest, f"freehold bench runs: {runs}")


def page(found: Sequence[Ran], here: Provenance) -> Page:
    """All of it."""
    return Page(
        title="What did trainings of your own reach?",
        says="measured while they ran, step by step; waiting for checkpoints is in it",
        sections=tuple(
            Section(title=f"{one.run}: LoRA of {one.base}", rows=tuple(_rows(one))) for one in found
        ),
        papers=papers(here),
    )


def _rows(one: Ran) -> Iterator[Row]:
    yield Row(
        name="read",
        text=Spread(values=one.parts or (one.tokens,)).text("tokens/s"),
        because=f"threads: {one.threads}; in fifths of its steps",
    )
    yield Row(
        name="reached",
        text=f"{1000 * one.tflops[0]:.3g} GFLOP/s",
        because=f"{one.operations:.3g} operations a token: 4 a frozen weight, 6 a learned one",
    )
