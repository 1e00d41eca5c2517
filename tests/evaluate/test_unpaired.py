"""Two versions on different people: held against scipy, answers counted twice, and simulations."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from freehold.evaluate import intervals, unpaired
from freehold.evaluate.unpaired import FEWEST, MISMATCH, Sums, apart, chance_of_split, t_of

Floats = NDArray[np.float64]


def sums(y: Floats, n: Floats | None = None) -> Sums:
    """What each who was drawn brought: so many answers that came to so much."""
    counts = np.ones(len(y)) if n is None else n
    products = {"n": counts, "y": y, "nn": counts * counts, "ny": counts * y, "yy": y * y}
    return Sums(units=len(y), **{name: float(each.sum()) for name, each in products.items()})


def test_where_everybody_brings_one_answer_it_is_welchs_interval() -> None:
    draw = np.random.default_rng(7)
    ours, theirs = draw.lognormal(0.1, 0.6, 31), draw.lognormal(0, 0.9, 48)
    told = apart(sums(ours), sums(theirs), share=False)
    scipy = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert told is not None
    assert (told.low, told.high) == pytest.approx((scipy.low, scipy.high), abs=1e-5)
    assert told.value == pytest.approx(ours.mean() - theirs.mean())


@pytest.mark.parametrize("free", [6, 19.5, 40, 400])
def test_the_quantile_of_t_is_students(free: float) -> None:
    assert t_of(0.95, free) == pytest.approx(stats.t.ppf(0.975, free), abs=1e-3)


def test_where_everybody_brings_one_answer_shares_are_compared_by_newcombe() -> None:
    ours, theirs = np.repeat([1.0, 0.0], [12, 188]), np.repeat([1.0, 0.0], [5, 295])
    told = apart(sums(ours), sums(theirs), share=True)
    assert told is not None
    expected = intervals.difference((12, 200), (5, 300), 0.95)
    assert (told.value, told.low, told.high) == pytest.approx(expected, abs=2e-4)
    assert told.says == "worse"


def test_answers_that_one_person_gets_again_and_again_count_as_one() -> None:
    """Ten times the same answer by each tells no more than one by each."""
    once = np.repeat([1.0, 0.0], [12, 188])
    ten = np.full(200, 10.0)
    other = sums(np.repeat([1.0, 0.0], [5, 295]))
    alone, again = apart(sums(once), other, share=True), apart(sums(once * 10, ten), other, share=True)
    assert alone is not None
    assert again is not None
    assert (again.low, again.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


def test_a_ratio_of_unequal_numbers_has_the_variance_of_the_textbook() -> None:
    """Cochran 6.3, computed by hand: y = 2, 0, 1 of n = 4, 2, 2; R = 3/8; residuals 0.5, -0.75, 0.25."""
    one = sums(np.array([2.0, 0.0, 1.0]), np.array([4.0, 2.0, 2.0]))
    assert one.rate == 3 / 8
    assert one.variance == pytest.approx((0.25 + 0.5625 + 0.0625) * 3 / 2 / 64)


def test_what_never_happened_has_an_interval_too() -> None:
    nothing = sums(np.zeros(50), np.full(50, 4.0))
    told = apart(nothing, nothing, share=True)
    assert told is not None
    assert told.low < 0 < told.high
    assert told.high == pytest.approx(intervals.wilson(0.0, 50)[1]), "fifty persons, not 200 answers"
    assert told.says == "no difference shown"
    assert told.smallest > 0.04


def test_of_fewer_than_twenty_nothing_is_said() -> None:
    few, many = sums(np.ones(FEWEST - 1)), sums(np.ones(500))
    assert apart(few, many, share=True) is None
    assert apart(many, few, share=False) is None


@pytest.mark.parametrize("share", [True, False])
def test_nineteen_of_twenty_intervals_hold_the_truth_where_answers_of_a_person_are_alike(
    share: bool,
) -> None:
    """Each brings one to nine answers, which fail together or not; counted as alone, three of ten miss it."""
    draw = np.random.default_rng(11)
    held = naive = 0
    for _ in range(400):
        arms = []
        for _ in range(2):
            n = draw.integers(1, 10, 150).astype(np.float64)
            y = np.where(draw.random(150) < 0.2, n, 0) if share else n * draw.normal(1, 0.3, 150)
            arms.append((y, n))
        told = apart(*(sums(y, n) for y, n in arms), share=share)
        assert told is not None
        held += told.low <= 0 <= told.high
        if share:
            (y1, n1), (y2, n2) = arms
            low, high = intervals.difference((y1.sum(), n1.sum()), (y2.sum(), n2.sum()), 0.95)[1:]
            naive += low <= 0 <= high
    assert held >= 400 * 0.93
    if share:
        assert naive < 400 * 0.85


def test_four_of_five_tests_see_a_difference_of_the_smallest_that_could_be_seen() -> None:
    draw = np.random.default_rng(13)
    first = apart(*(sums(draw.normal(5, 2, 400)) for _ in range(2)), share=False)
    assert first is not None
    seen = 0
    for _ in range(400):
        ours, theirs = draw.normal(5 + first.smallest, 2, 400), draw.normal(5, 2, 400)
        told = apart(sums(ours), sums(theirs), share=False)
        assert told is not None
        seen += told.says == "worse"
    assert 0.74 < seen / 400 < 0.86


# -- the shares that were drawn ---------------------------------------------------------------------


@pytest.mark.parametrize("drawn", range(13))
def test_the_chance_of_a_split_is_counted_out(drawn: int) -> None:
    """All 2^12 ways to draw twelve, by enumeration."""
    ways = [comb(12, k) / 2**12 for k in range(13)]
    expected = min(1.0, 2 * min(sum(ways[: drawn + 1]), sum(ways[drawn:])))
    assert chance_of_split(drawn, 12, 0.5) == pytest.approx(expected)


@pytest.mark.parametrize(("drawn", "of", "share"), [(480, 10_000, 0.05), (5_300, 10_000, 0.5), (0, 40, 0.1)])
def test_the_chance_of_a_large_split_is_the_binomials(drawn: int, of: int, share: float) -> None:
    below, above = stats.binom.cdf(drawn, of, share), stats.binom.sf(drawn - 1, of, share)
    assert chance_of_split(drawn, of, share) == pytest.approx(min(1.0, 2 * min(below, above)), rel=1e-6)


def test_a_million_drawn_are_judged_as_well() -> None:
    assert chance_of_split(500_000, 1_000_000, 0.5) == 1.0
    assert chance_of_split(502_000, 1_000_000, 0.5) < MISMATCH
    assert chance_of_split(0, 0, 0.5) == 1.0


def test_less_is_better() -> None:
    low, high = sums(np.full(60, 1.0) + np.arange(60) / 1000), sums(np.full(60, 3.0) + np.arange(60) / 1000)
    said = [apart(*two, share=False) for two in ((high, low), (low, high), (low, low))]
    assert [one.says for one in said if one] == ["worse", "better", "no difference shown"]
    assert unpaired.CONFIDENCE == 0.95
