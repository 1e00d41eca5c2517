"""What `freehold bench load` measured, as shares of the device that a plan names."""

from __future__ import annotations

import datetime as dt

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import paced
from freehold.sizing.facts import BadFact
from freehold.sizing.size import size
from freehold.sizing.workload import from_text

WORK = "model: qwen3-14b\ndevice: h100\nserve: {requests_a_day: 9000, tokens_in: 500, tokens_out: 200}\n"
WEIGHTS, CACHE = 14.8e9 / 3.35e12, 600 * 163_840 / 3.35e12
"""Seconds that an H100 reads the weights, and the cache of one request."""


def engine(**values: float) -> str:
    """Facts as they are written; a token's are given in milliseconds by rows: `rows8=12`."""
    names = {"first": "first_token_ms", "into": "tokens_in", "out": "tokens_out"}
    told = {"into": 500.0, "out": 200.0, **values}
    return "".join(
        f"engine.{names.get(name) or 'token_ms.' + name.removeprefix('rows')}: {{value: {value}, "
        f"low: {0.9 * value}, high: {1.1 * value}, label: measured, as_of: 2026-11-20, source: bench}}\n"
        for name, value in told.items()
    )


def test_a_token_at_so_many_rows_is_a_share_of_the_roofline_and_measured() -> None:
    facts = paced.loaded(figures.load(engine(rows1=10, rows8=12)), from_text(WORK))
    for rows, token in ((1, 0.010), (8, 0.012)):
        share = (WEIGHTS + rows * CACHE) / token
        assert facts(f"device.h100.decode_efficiency.{rows}") == pytest.approx(share)
        one = facts.used[f"device.h100.decode_efficiency.{rows}"]
        assert (one.label, one.as_of) == ("measured", dt.date(2026, 11, 20))
        assert (one.low, one.high) == (pytest.approx(share / 1.1), pytest.approx(share / 0.9))
        assert f"{rows} rows on 1 x h100" in one.source


def test_the_first_token_is_a_share_of_the_peak_without_the_step_behind_it() -> None:
    facts = paced.loaded(figures.load(engine(rows1=10, first=70)), from_text(WORK))
    operations = 2 * 14.8e9 * 500 + 2 * 40 * 5120 * 500**2
    assert facts("device.h100.prefill_efficiency") == pytest.approx(operations / 989e12 / 0.060)


def test_a_plan_takes_both_in_the_place_of_estimates() -> None:
    work = from_text(WORK)
    plans = {
        own: size(paced.loaded(figures.load(own), work), work, dt.date(2026, 11, 21))
        for own in ("", engine(rows1=10, rows8=12, first=70), engine(rows1=20, rows8=24, first=140))
    }
    _, quick, slow = (plan.served_on[0].replica for plan in plans.values())
    assert slow.reading == pytest.approx(2 * quick.reading)
    assert slow.work > quick.work
    used = {fact.name: fact for plan in list(plans.values())[1:] for fact in plan.facts}
    assert used["device.h100.prefill_efficiency"].label == "measured"
    serving = plans[engine(rows1=10, rows8=12, first=70)].section("serving")
    token, first = (next(f for f in serving.figures if f.name == name) for name in ("a token", "first token"))
    assert "device.h100.decode_efficiency.8" in token.facts
    assert "device.h100.prefill_efficiency" in first.facts
    assert "serve.prefill_efficiency" not in first.facts


def test_an_engine_that_is_quicker_than_its_device_can_be_is_doubted() -> None:
    facts = paced.loaded(figures.load(engine(rows1=1, rows8=12)), from_text(WORK))
    doubted = [line for line in facts.warnings(dt.date(2026, 11, 21)) if "is it this model" in line]
    assert [line.partition(":")[0] for line in doubted] == ["device.h100.decode_efficiency.1"]
    plan = size(facts, from_text(WORK), dt.date(2026, 11, 21))
    assert doubted[0] in plan.warnings


def test_where_the_plan_names_no_device_nothing_is_left_out_in_silence() -> None:
    work = from_text(WORK.replace("device: h100\n", ""))
    with pytest.raises(BadFact) as told:
        paced.loaded(figures.load(engine(rows1=10)), work)
    assert "device: l4" in told.value.hint
    assert paced.loaded(facts := figures.load(), work) is facts
