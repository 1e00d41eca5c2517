"""Two models on the same rows: the interval knows that they are the same, and 0 means what McNemar says."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.evaluate import paired
from freehold.evaluate.intervals import z_of
from freehold.evaluate.metrics import Outcome


def share(gained: int, lost: int, rows: int) -> paired.Measured:
    """Of a first model that is right on `gained` rows where the second is not, and the other way round."""
    first = np.array([True] * gained + [False] * lost + [True] * (rows - gained - lost))
    second = np.array([False] * gained + [True] * lost + [True] * (rows - gained - lost))
    return paired.share(first, second)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_zero_is_left_out_exactly_when_mcnemar_is_significant(gained: int, lost: int, same: int) -> None:
    told = share(gained, lost, gained + lost + same)
    mcnemar = (gained - lost) / sqrt(gained + lost) if gained + lost else 0.0
    if abs(abs(mcnemar) - z_of(0.95)) > 1e-6:
        assert (told.low > 0) == (mcnemar > z_of(0.95))
        assert (told.high < 0) == (mcnemar < -z_of(0.95))
    assert -1 <= told.low <= told.value <= told.high <= 1


def test_turning_the_two_round_turns_the_interval_round() -> None:
    one, other = share(12, 5, 200), share(5, 12, 200)
    assert one.low == pytest.approx(-other.high, abs=1e-9)
    assert one.high == pytest.approx(-other.low, abs=1e-9)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.Generator(np.random.PCG64(3))
    held = 0
    for _ in range(400):
        gained, lost, _same = draw.multinomial(150, [0.10, 0.06, 0.84])
        told = share(int(gained), int(lost), 150)
        held += told.low <= 0.04 <= told.high
    assert 0.92 <= held / 400 <= 0.98


def outcome(truth: list[int], given: list[int]) -> Outcome:
    return Outcome(
        classes=("a", "b", "c"),
        known=3,
        truth=np.array(truth),
        given=np.array(given),
        chances=np.zeros((len(truth), 3)),
    )


def test_the_bootstrap_of_macro_f1_is_the_same_every_time_and_knows_the_sign() -> None:
    truth = [0, 1, 2] * 40
    good, poor = outcome(truth, truth), outcome(truth, [0, 1, 1] * 40)
    told = paired.macro_f1(good, poor)
    assert told == paired.macro_f1(good, poor)
    assert 0 < told.low <= told.value <= told.high
    assert paired.macro_f1(good, good).value == 0.0
