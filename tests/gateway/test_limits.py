"""Pace and spend: exact over a minute and over a day, whatever restarts in between."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.pace import Pace, TooManyRequests
from freehold.gateway.spend import BudgetUsedUp, Spend, SpendUnknown, Tally, cost
from freehold.spec.snapshot import ServiceView, Target

SECOND = 1_000_000
NOON = 1_800_014_400 * SECOND  # 2027-01-15 12:00 UTC
TARGET = Target(kind="provider", name="m", serving_digest="d", price_in="1", price_out="2")
SERVICE = ServiceView(
    name="chat",
    project="claims",
    purpose="p",
    sensitivity=2,
    tier="limited",
    subject="none",
    kind="attached",
    task="generate",
    state="live",
    spend_per_day="10",
)


def test_no_minute_holds_more_requests_than_allowed() -> None:
    pace, service = Pace(), replace(SERVICE, requests_per_minute=3)
    for at in (0, 20, 40):
        pace.count(service, at * SECOND)
    with pytest.raises(TooManyRequests) as late:
        pace.count(service, 50 * SECOND)
    assert late.value.retry_after == 10
    pace.count(service, 60 * SECOND)
    with pytest.raises(TooManyRequests):
        pace.count(service, 61 * SECOND)


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(1, 5))
def test_whatever_the_times_any_sixty_seconds_keep_the_limit(times: list[int], limit: int) -> None:
    pace, service = Pace(), replace(SERVICE, requests_per_minute=limit)
    taken: list[int] = []
    for at in sorted(times):
        try:
            pace.count(service, at * SECOND)
            taken.append(at)
        except TooManyRequests:
            continue
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= limit


def spent(folder: Path) -> Decimal:
    return Decimal((folder / "chat").read_text().split()[1])


def test_the_worst_case_is_held_and_the_difference_given_back(tmp_path: Path) -> None:
    tally = Tally()
    with Spend(tmp_path).reserved(SERVICE, TARGET, (1000, 2000), tally, NOON):
        assert spent(tmp_path) == 5
        tally.tokens_in, tally.tokens_out = 500, 100
    assert spent(tmp_path) == Decimal("0.7")


def test_what_could_cost_more_than_is_left_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    spend = Spend(tmp_path)
    with (
        spend.reserved(SERVICE, TARGET, (4000, 2000), Tally(), NOON),
        pytest.raises(BudgetUsedUp) as used_up,
        spend.reserved(SERVICE, TARGET, (1000, 1000), Tally(), NOON),
    ):
        pass
    assert used_up.value.retry_after == 12 * 3600
    assert spent(tmp_path) == 0


def test_a_killed_process_leaves_its_reservation_spent_until_midnight(tmp_path: Path) -> None:
    held = Spend(tmp_path).reserved(SERVICE, TARGET, (4000, 2000), Tally(), NOON)
    held.__enter__()  # and never leaves
    after = Spend(tmp_path)
    with pytest.raises(BudgetUsedUp), after.reserved(SERVICE, TARGET, (3000, 0), Tally(), NOON):
        pass
    with after.reserved(SERVICE, TARGET, (9000, 0), Tally(), NOON + 13 * 3600 * SECOND):
        pass


def test_an_answer_that_ends_after_midnight_does_not_touch_the_new_day(tmp_path: Path) -> None:
    spend, late = Spend(tmp_path), NOON + 13 * 3600 * SECOND
    used = Tally(tokens_in=1000)
    with spend.reserved(SERVICE, TARGET, (5000, 0), Tally(), NOON):
        with spend.reserved(SERVICE, TARGET, (2000, 0), used, late):
            pass
        assert spent(tmp_path) == 1
    assert spent(tmp_path) == 1


def test_days_end_where_the_project_is(tmp_path: Path) -> None:
    spend, auckland = Spend(tmp_path), replace(SERVICE, timezone="Pacific/Auckland")
    with spend.reserved(auckland, TARGET, (10_000, 0), Tally(tokens_in=10_000), NOON):
        pass
    assert (tmp_path / "chat").read_text().startswith("2027-01-16")


@pytest.mark.parametrize("left", ["2027-01-15 many\n", "", "\0" * 64])
def test_a_file_that_holds_no_number_spends_nothing(tmp_path: Path, left: str) -> None:
    (tmp_path / "chat").write_text(left)
    with pytest.raises(SpendUnknown), Spend(tmp_path).reserved(SERVICE, TARGET, (1, 1), Tally(), NOON):
        pass


def test_without_a_limit_or_a_price_nothing_is_written(tmp_path: Path) -> None:
    free = replace(TARGET, price_in="0", price_out="0")
    with Spend(tmp_path).reserved(SERVICE, free, (1, 1), Tally(), NOON):
        pass
    with Spend(tmp_path).reserved(replace(SERVICE, spend_per_day=None), TARGET, (1, 1), Tally(), NOON):
        pass
    assert not list(tmp_path.iterdir())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 100)), max_size=25))
def test_whatever_is_asked_the_day_is_never_overspent(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("spend")
    used = Decimal(0)
    for tokens_in, tokens_out, share in asked:
        tally = Tally(tokens_in=tokens_in * share // 100, tokens_out=tokens_out * share // 100)
        try:
            with Spend(folder).reserved(SERVICE, TARGET, (tokens_in, tokens_out), tally, NOON):
                used += cost(TARGET, tally.tokens_in, tally.tokens_out)
        except BudgetUsedUp:
            continue
    assert used <= 10
