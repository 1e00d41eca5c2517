"""Intervals against published figures, and within their bounds whatever they are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.evaluate.intervals import decimal, difference, proportion, wilson


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_the_published_score_interval(right: int, rows: int, low: float, high: float) -> None:
    found = proportion(right, rows)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, "Interval estimation for the difference …", table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_a_difference_has_the_published_interval(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    _, lower, upper = difference(first, second, 0.95)
    assert (round(lower, 4), round(upper, 4)) == (low, high)


def test_without_rows_nothing_is_known() -> None:
    assert wilson(0.5, 0) == (0.0, 1.0)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_is_within_its_interval_and_that_within_0_and_1(share: tuple[int, int]) -> None:
    found = proportion(*share)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_decimals_have_six_places_and_no_negative_zero() -> None:
    assert decimal(-0.0) == decimal(0) == "0.000000"
    assert decimal(2 / 3) == "0.666667"
