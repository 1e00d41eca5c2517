"""A training that has to end in time: what does goes before what costs less; what cannot says what would."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import training
from freehold.sizing.facts import Facts
from freehold.sizing.size import size
from freehold.sizing.workload import Train, Workload, known_models

TODAY = dt.date(2026, 11, 21)
LLAMA, MIXTURE = known_models()["llama-3-8b"], known_models()["deepseek-v3"]
LARGE = Train(method="scratch", tokens=14.8e12, days=60, sequence=4096, batch=1)


def with_fact(name: str, value: float) -> Facts:
    told = f"{name}: {{value: {value}, label: measured, as_of: 2026-11-01, source: ours}}"
    return figures.load(told)


def test_what_ends_in_time_goes_before_what_costs_less() -> None:
    train = Train(method="full", tokens=2e9, days=0.25, step_tokens=2e5)
    found = training.on_devices(with_fact("network.node_gbit", 10), LLAMA, train)
    late = [training.late(train, one) for one in found]
    assert late == sorted(late)
    assert not late[0]
    assert any(one.cost < found[0].cost for one in found if training.late(train, one))


@pytest.mark.parametrize("days", [0.25, 5, 40])
def test_as_many_are_taken_as_end_in_time_with_what_they_wait_for(days: float) -> None:
    """Arithmetic alone would end in time on fewer: checkpoints, failures and data take their share, too."""
    train = Train(method="full", tokens=2e9, days=days)
    facts = with_fact("storage.write_gb_s", 0.05)
    for one in training.on_devices(facts, LLAMA, train):
        assert not training.late(train, one) or one.fewer, one


def test_a_run_that_cannot_end_in_time_says_what_would_satisfy_it_and_that_does() -> None:
    work, facts = Workload(model=MIXTURE, train=LARGE), figures.load()
    plan = size(facts, work, TODAY)
    (breaks,) = plan.breaks
    assert breaks.startswith("time: ")
    assert "60 are asked for" in breaks
    faster = re.search(r"([\d,]+) Gbit/s between servers \(([\d,]+) x (\w+)\)", breaks)
    longer = re.search(r"`days: (\d+)`", breaks)
    assert faster
    assert longer
    better = with_fact("network.node_gbit", float(faster[1].replace(",", "")))
    first = training.on_devices(better, MIXTURE, LARGE)[0]
    assert (f"{first.devices:,}", first.device) == (faster[2], faster[3])
    assert not training.late(LARGE, first)
    slower = replace(LARGE, days=float(longer[1]))
    assert not size(figures.load(), replace(work, train=slower), TODAY).breaks


def test_where_nothing_ends_in_time_the_quickest_comes_first() -> None:
    found = training.on_devices(figures.load(), MIXTURE, LARGE)
    hours = [one.hours for one in found]
    assert hours == sorted(hours)
    (table,) = size(figures.load(), Workload(model=MIXTURE, train=LARGE), TODAY).section("training").tables
    assert all("too late" in str(row["hours a run"]) for row in table.rows)
