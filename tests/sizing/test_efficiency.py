"""How near to the roofline writing comes: as published by rows, moved to where a device was measured."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.sizing import facts as figures
from freehold.sizing.devices import device
from freehold.sizing.efficiency import Roof, decode_efficiency, held
from freehold.sizing.facts import BadFact
from freehold.sizing.serve import Traffic, roofline, step_seconds
from freehold.sizing.serving import shape_of
from freehold.sizing.size import size
from freehold.sizing.workload import from_text, known_models

PUBLISHED = ((8, 0.66), (32, 0.57), (128, 0.38), (256, 0.30))
GPQA = {8: 0.127, 16: 0.141, 32: 0.195, 64: 0.228, 128: 0.272}
"""Qwen3-14B on one B200, reasoning (ML.ENERGY v3): a share that rises with the rows."""


def said(name: str, value: float) -> str:
    return f"{name}: {{value: {value}, label: measured, as_of: 2026-11-01, source: ours}}\n"


def test_as_published_the_more_rows_the_farther_from_it() -> None:
    facts = figures.load()
    assert facts.at_numbers("serve.decode_efficiency") == PUBLISHED
    assert decode_efficiency(facts, "l4", 1) == decode_efficiency(facts, "l4", 8) == 0.66
    assert decode_efficiency(facts, "l4", 64) == pytest.approx((0.57 + 0.38) / 2)
    assert decode_efficiency(facts, "l4", 1000) == 0.30
    assert facts.used.keys() == {f"serve.decode_efficiency.{rows}" for rows, _ in PUBLISHED}


def test_one_point_of_a_device_moves_the_whole_curve_and_no_other_device() -> None:
    facts = figures.load(said("device.h100.decode_efficiency.8", 0.33))
    assert decode_efficiency(facts, "h100", 8) == 0.33
    assert decode_efficiency(facts, "h100", 256) == pytest.approx(0.15)
    assert decode_efficiency(facts, "h200", 8) == 0.66


def test_between_two_measured_points_it_goes_from_one_to_the_other() -> None:
    own = said("device.h100.decode_efficiency.8", 0.33) + said("device.h100.decode_efficiency.128", 0.38)
    facts = figures.load(own)
    assert decode_efficiency(facts, "h100", 128) == 0.38, "as it was measured, though it rises"
    lower = figures.load(own.replace("0.38", "0.1"))
    assert 0.1 < decode_efficiency(lower, "h100", 32) < 0.33


def rising(tokens: float) -> tuple[list[float], Roof, tuple[int, ...]]:
    """Steps of 1, 2, … rows with that series, the roofline, and the rows that are held; so long requests."""
    facts = figures.load(
        "".join(said(f"device.b200.decode_efficiency.{rows}", share) for rows, share in GPQA.items())
    )
    on, shape = device(facts, "b200"), shape_of(known_models()["qwen3-14b"])
    traffic = Traffic(requests_a_day=1, tokens_in=tokens, tokens_out=0)
    roof = roofline(on, shape, traffic, 1)
    steps = [step_seconds(facts, on, shape, traffic, 1, rows) for rows in range(1, 257)]
    return steps, roof, held(facts, "b200", roof)


def test_shares_that_rise_with_the_rows_are_planned_as_they_were_measured() -> None:
    """Requests as long as reasoning's: a low share at eight rows says nothing of 128."""
    steps, roof, kept = rising(4000)
    assert kept == ()
    for rows, share in GPQA.items():
        assert steps[rows - 1] == pytest.approx(roof(rows) / share), rows
    assert steps[127] == pytest.approx(roof(128) / GPQA[8] * 0.127 / 0.272), "not 2.1 times as long"
    assert all(late >= early * (1 - 1e-9) for early, late in pairwise(steps))


def test_where_fewer_rows_would_take_longer_more_take_as_long_as_they_and_no_longer() -> None:
    """Short requests: the roofline hardly grows with the rows, and the shares do."""
    steps, roof, kept = rising(1000)
    assert kept == (16, 32, 64)
    assert steps[15] == steps[31] == steps[63] == pytest.approx(roof(8) / GPQA[8])
    assert steps[127] == pytest.approx(roof(128) / GPQA[128])
    assert all(late >= early * (1 - 1e-9) for early, late in pairwise(steps))


@pytest.mark.parametrize(("tokens", "says"), [(1000, True), (4000, False)])
def test_a_plan_says_which_rows_it_does_not_take_as_they_were_measured(tokens: int, says: bool) -> None:
    own = "".join(said(f"device.b200.decode_efficiency.{rows}", share) for rows, share in GPQA.items())
    asked = f"{{requests_a_day: 9000, tokens_in: {tokens}, tokens_out: 2, token_ms: 90}}"
    work = from_text(f"model: qwen3-14b\nserve: {asked}\ndevice: b200\n")
    notes = size(figures.load(own), work, dt.date(2026, 11, 21)).section("serving").notes
    assert any("16, 32, 64 rows takes less time" in note for note in notes) is says


def test_what_somebody_says_for_all_rows_goes_before_the_curve_and_the_other_way_round() -> None:
    for name in ("serve.decode_efficiency", "device.h100.decode_efficiency"):
        flat = figures.load(said(name, 0.5))
        assert {decode_efficiency(flat, "h100", rows) for rows in (1, 60, 300)} == {0.5}
    again = figures.load(said("serve.decode_efficiency", 0.5), said("serve.decode_efficiency.8", 0.4))
    assert decode_efficiency(again, "h100", 200) == 0.4


def test_a_share_above_one_is_refused_by_rows_too() -> None:
    with pytest.raises(BadFact, match=r"device\.h100\.decode_efficiency\.8"):
        figures.load(said("device.h100.decode_efficiency.8", 66))


@given(
    st.dictionaries(st.sampled_from([1, 4, 8, 30, 64, 256, 512]), st.floats(0.01, 1.0), max_size=4),
    st.sampled_from(["llama-3-8b", "deepseek-v3"]),
    st.floats(1, 50_000),
)
def test_a_larger_batch_never_takes_less_time_whatever_was_measured(
    measured: dict[int, float], model: str, tokens: float
) -> None:
    own = "".join(said(f"device.h200.decode_efficiency.{rows}", share) for rows, share in measured.items())
    facts, shape = figures.load(own), shape_of(known_models()[model])
    traffic = Traffic(requests_a_day=1, tokens_in=tokens, tokens_out=100)
    on = device(facts, "h200")
    steps = [step_seconds(facts, on, shape, traffic, 8, rows) for rows in range(1, 300, 3)]
    assert all(late >= early * (1 - 1e-9) for early, late in pairwise(steps))
