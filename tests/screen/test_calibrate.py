"""Thresholds with a bound: against values from tables and against drawing."""

from __future__ import annotations

import random

import pytest

from freehold.screen import calibrate
from freehold.screen.calibrate import TooFewTexts, needed, threshold, upper_bound


@pytest.mark.parametrize(
    ("hits", "count", "bound"), [(0, 299, 0.00997), (0, 100, 0.02951), (1, 100, 0.04656), (5, 100, 0.10225)]
)
def test_the_bound_is_the_exact_one(hits: int, count: int, bound: float) -> None:
    """One-sided 95 % upper limits of Clopper and Pearson."""
    assert upper_bound(hits, count) == pytest.approx(bound, abs=2e-5)


def test_a_threshold_lets_nearly_all_honest_texts_pass() -> None:
    chance = random.Random(1)
    scores = [chance.random() for _ in range(2000)]
    found = threshold(scores, share=0.01)
    assert found.bound <= 0.01
    assert sum(score >= found.score for score in scores) == found.above
    assert upper_bound(found.above + 1, 2000) > 0.01  # no lower one would do


def test_a_month_of_requests_is_calibrated_with_few_looks_at_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    monkeypatch.setattr(calibrate, "upper_bound", lambda *given: looks.append(given) or upper_bound(*given))
    found = calibrate.threshold([number / 200_000 for number in range(200_000)], share=0.01)
    assert len(looks) < 20
    assert found.bound <= 0.01 < upper_bound(found.above + 1, 200_000)


def test_few_texts_promise_nothing() -> None:
    assert needed(0.01) == 299
    threshold([0.1] * 299, share=0.01)
    with pytest.raises(TooFewTexts, match="298 texts"):
        threshold([0.1] * 298, share=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_holds_for_the_texts_it_was_set_on(seed: int) -> None:
    chance = random.Random(seed)
    scores = [round(chance.random(), 2) for _ in range(chance.randint(300, 900))]  # many alike
    found = threshold(scores, share=0.01)
    assert sum(score >= found.score for score in scores) == found.above <= 0.01 * len(scores)
