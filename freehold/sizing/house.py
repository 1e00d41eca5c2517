"""Freehold itself: machines, cores and disk at a given rate, and two sites that survive each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section
from freehold.sizing.serve import SECONDS_A_DAY, peak
from freehold.sizing.serving import traffic_of
from freehold.sizing.workload import Workload

KEPT_DAYS = 365
CORES = 64
"""Of one machine, at most."""
TRIED = 304.0
"""Answers a second that were measured, all on one machine of two cores (benchmarks/line_banking77.py)."""
RESTORE = 0.1
"""GB/s at which rows are restored from a backup."""
DETECT = 300.0
"""Seconds until somebody decides that a site is lost."""
BACKUP = 3_600.0
"""Seconds from one backup to the next."""
SHIP = 1.0
"""Seconds after which a gateway has shipped a record to control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """Two of them: what is lost and how long it takes when one is."""

    figures: tuple[Figure, ...]
    drawing: str
    """As text."""


def section(facts: Facts, work: Workload) -> Section | None:
    """None where nothing is asked."""
    if work.serve is None:
        return None
    sites = two_sites(facts, work)
    return Section(
        name="house",
        title="Freehold itself",
        figures=(*_figures(facts, work), *sites.figures),
        notes=(*_extrapolated(facts, work), sites.drawing),
    )


def _most(facts: Facts, work: Workload) -> float:
    """Answers a second at the peak."""
    assert work.serve is not None
    traffic = traffic_of(work.serve)
    return traffic.requests_a_day / SECONDS_A_DAY * peak(facts, traffic)


def _extrapolated(facts: Facts, work: Workload) -> Iterator[str]:
    if (most := _most(facts, work)) > TRIED:
        yield (
            f"{most:,.0f} answers a second were never tried: {TRIED:.0f} were, and one control alone writes "
            "for all; measure before you build it, or run several installations beside each other"
        )


def _figures(facts: Facts, work: Workload) -> Iterator[Figure]:
    most = _most(facts, work)
    busy = most * facts("house.cpu_seconds") / facts("house.core_use")
    cores = 2 + 2 * math.ceil(busy)
    yield Figure(
        name="answers at the peak",
        value=most,
        unit="a second",
        formula="requests a day x peak",
        facts=("serve.peak",),
    )
    yield Figure(
        name="cores",
        value=cores,
        unit="",
        formula="CPU seconds of an answer x answers, twice: half may be lost; two for people and jobs",
        facts=("house.cpu_seconds", "house.core_use"),
    )
    yield Figure(
        name="machines",
        value=max(3 if most > 50 else 1, math.ceil(cores / CORES)),
        unit="beside the devices",
        formula=f"one with everything up to 50 answers a second; above, three of {CORES} cores, or more",
    )
    yield Figure(
        name="disk",
        value=disk_a_day(facts, work) / 1e9,
        unit="GB a day",
        formula="bytes of a recorded answer, and of its words, x requests",
        facts=("house.bytes", "storage.text_bytes"),
    )
    yield Figure(
        name="disk, kept",
        value=disk_a_day(facts, work) * KEPT_DAYS / 1e9,
        unit="GB",
        formula=f"{KEPT_DAYS} days of answers; retention makes it less",
        facts=("house.bytes",),
    )


def disk_a_day(facts: Facts, work: Workload) -> float:
    """Bytes."""
    assert work.serve is not None
    words = (work.serve.tokens_in + work.serve.tokens_out) * facts("storage.text_bytes")
    return work.serve.requests_a_day * (facts("house.bytes") + words)


def two_sites(facts: Facts, work: Workload) -> Sites:
    """What runs in each, and what is lost when the first burns down."""
    held = disk_a_day(facts, work) * KEPT_DAYS / 1e9
    hours = (DETECT + held / RESTORE) / 3600
    copied = (DETECT + 600) / 3600
    told = (
        ("RPO, by backup", BACKUP / 60, "minutes", "from one backup to the next, kept at the second site"),
        ("RTO, by backup", hours, "hours", f"minutes to decide, then rows at {RESTORE:g} GB/s"),
        ("RPO, Postgres copied", SHIP, "s", "what was on its way to the second site"),
        ("RTO, Postgres copied", copied, "hours", "minutes to decide, ten to make the copy the first"),
        ("lost where a gateway dies", 0.0, "answers", "on its disk before the answer leaves; shipped later"),
    )
    figures = tuple(
        Figure(name=name, value=value, unit=unit, formula=formula, label="estimated")
        for name, value, unit, formula in told
    )
    return Sites(figures=figures, drawing=_DRAWING)


_DRAWING = """\
site A                              site B
  gateway  gateway                    gateway (warm)
     | spools    \\                      | spool
  control (one writes)                control (stopped)
     |                                  |
  Postgres ------- copied, about 1 s --> Postgres
  keyring, epoch key - by hand -------> keyring, epoch key
  blobs ---------- backup, hourly ----> backup, ledger checkpoints
  devices                             devices for what may not stop\
"""
