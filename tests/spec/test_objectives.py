"""Objectives: what may be written, what comes of it, and how an error budget is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadInput
from freehold.spec.objectives import LONGEST, SLOWEST, Counted, Kept, Objective, read, read_all, row

shares = st.integers(1, 999_999).map(lambda n: Decimal(n) / 1_000_000)
bounds = st.none() | st.integers(1, SLOWEST // 1_000).map(lambda n: n * 1_000)
spans = st.integers(1, LONGEST // 3_600).map(lambda n: n * 3_600)
objectives = st.builds(Objective, share=shares, within=bounds, span=spans)


@given(objectives)
def test_what_is_written_is_what_is_read(one: Objective) -> None:
    assert read(str(one)) == one


@given(st.text() | st.from_regex(r"[0-9.]{1,6}% (answered|within [0-9]{1,3}(s|ms|h))( over [0-9]{1,4}d)?"))
def test_any_text_is_an_objective_or_refused(text: str) -> None:
    try:
        one = read(text)
    except BadInput:
        return
    assert 0 < one.share < 1
    assert 0 < one.span <= LONGEST


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("99.5% answered", Objective(share=Decimal("0.995"))),
        (" 99 %  answered over 12h", Objective(share=Decimal("0.99"), span=43_200)),
        ("95% within 2s", Objective(share=Decimal("0.95"), within=2_000_000)),
        ("95% within 800 ms over 7d", Objective(share=Decimal("0.95"), within=800_000, span=604_800)),
    ],
)
def test_the_words_of_a_service_file(text: str, read_as: Objective) -> None:
    assert read(text) == read_as


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("99.5% good", "it is a share and what it is of"),
        ("99.5 answered", "it is a share and what it is of"),
        ("99.5% within 2", "it is a share and what it is of"),
        ("99.5% answered since monday", "it is a share and what it is of"),
        ("0% answered", "asks for nothing"),
        ("100% answered", "no error budget"),
        ("100.0% within 2s", "no error budget"),
        ("250% answered", "no error budget"),
        ("99% answered over 91d", "90 days at most"),
        ("99% answered over 0d", "an hour at least"),
        ("99% answered over 59m", "it is a share and what it is of"),
        ("99% within 0s", "more than nothing"),
        ("99% within 61m", "less than an hour"),
    ],
)
def test_what_is_no_objective_says_why(text: str, why: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(text)
    assert why in refused.value.why


def test_one_of_a_kind_over_a_time_and_no_more_than_somebody_watches() -> None:
    several = ("99% answered", "99.9% answered over 7d", "95% within 2s", "99% within 5s")
    assert len(read_all(several)) == 4
    with pytest.raises(BadInput) as twice:
        read_all((*several, "98% answered over 30d"))
    assert "there is one already" in twice.value.why
    with pytest.raises(BadInput) as many:
        read_all(f"99% answered over {days}d" for days in range(1, 8))
    assert "6 at most" in many.value.why


def kept(asked: int, bad: int, *, share: str = "0.99", hour: tuple[int, int] = (0, 0)) -> Kept:
    return Kept(
        objective=Objective(share=Decimal(share)),
        span=Counted(all=asked, bad=bad),
        hour=Counted(all=hour[0], bad=hour[1]),
    )


@pytest.mark.parametrize(
    ("asked", "bad", "left", "holds"),
    [(1_000, 0, 1.0, True), (1_000, 5, 0.5, True), (1_000, 10, 0.0, True), (1_000, 30, -2.0, False)],
)
def test_an_error_budget_is_spent_and_overspent(asked: int, bad: int, left: float, holds: bool) -> None:
    found = kept(asked, bad)
    assert (found.left, found.holds) == (pytest.approx(left), holds)
    assert found.reached == pytest.approx(1 - bad / asked)


def test_what_is_overspent_by_little_is_not_overspent_by_nothing() -> None:
    told = [row(kept(100_000, bad).as_json())["budget left"] for bad in (1_000, 1_001, 4_000)]
    assert told == ["0 %", "overspent by 1 %", "overspent by 300 %"]


def test_at_a_pace_of_one_the_budget_lasts_for_the_span() -> None:
    assert kept(1_000, 10, hour=(100, 1)).pace == pytest.approx(1.0)
    assert kept(1_000, 10, hour=(100, 20)).pace == pytest.approx(20.0)


def test_where_nothing_was_asked_nothing_is_said() -> None:
    found = kept(0, 0)
    assert (found.reached, found.left, found.pace, found.holds) == (None, None, None, None)


@given(objectives, st.integers(1, 10**9), st.data())
def test_a_budget_that_is_left_and_an_objective_that_holds_are_one_thing(
    one: Objective, asked: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, asked))
    found = Kept(objective=one, span=Counted(all=asked, bad=bad), hour=Counted())
    assert found.left is not None
    assert found.left <= 1
    assert found.holds == (Decimal(asked - bad) >= one.share * asked)
