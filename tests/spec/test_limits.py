"""The words for limits are read strictly, and what is wrong is told with the form that works."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.spec.limits import (
    BadLimit,
    most,
    price,
    requests_per_minute,
    seconds,
    spend_per_day,
    tokens_per_minute,
)
from freehold.spec.snapshot import Most


def test_the_words_of_a_service_file_are_read() -> None:
    assert requests_per_minute("600/min") == 600
    assert requests_per_minute("") is None
    assert spend_per_day("20 EUR/day", "EUR") == "20"
    assert spend_per_day("0.50 CHF / day", "CHF") == "0.50"
    assert spend_per_day("", "EUR") is None
    assert [seconds(t) for t in ("30s", "15m", "1h", "2d")] == [30, 900, 3600, 172_800]
    assert price("0.0025") == "0.0025"


@pytest.mark.parametrize("text", ["600", "600/h", "0/min", "-1/min", "600 / minute", "1e3/min", "٦/min/"])
def test_a_request_limit_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadLimit, match="is not a request limit"):
        requests_per_minute(text)


def test_money_of_another_currency_is_refused_with_the_form_that_works() -> None:
    with pytest.raises(BadLimit) as told:
        spend_per_day("20 USD/day", "EUR")
    assert told.value.hint == "write it as `20 EUR/day`"


@pytest.mark.parametrize("text", ["15", "1:30", "15 min", "", "1w"])
def test_a_span_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadLimit):
        seconds(text)


@given(st.text(max_size=30))
def test_no_text_does_anything_but_a_value_or_a_clear_refusal(text: str) -> None:
    for read in (requests_per_minute, seconds, price, lambda t: spend_per_day(t, "EUR")):
        with contextlib.suppress(BadLimit):
            read(text)


def test_several_limits_stand_in_one_line() -> None:
    said = most("60/min, 5000 tokens/min,2 EUR/day , 3 at once", "EUR")
    assert said == Most(requests=60, tokens=5000, spend="2", at_once=3)
    assert most("", "EUR") == Most()
    assert tokens_per_minute("100000/min") == 100_000


@pytest.mark.parametrize(
    "text", ["60", "60/hour", "60/min, 70/min", "0 at once", "2 USD/day", "many tokens/min", "x", "0/min"]
)
def test_a_list_that_cannot_be_read_is_told_with_what_there_is(text: str) -> None:
    with pytest.raises(BadLimit):
        most(text, "EUR")
