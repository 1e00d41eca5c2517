"""Does a canary fail more than the live release? Counted on answers that ended, judged by an exact test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from scipy.stats import fisher_exact

from freehold.release import arms, roll
from freehold.release.arms import Arm, chance_of, judged, verdict
from freehold.release.versions import ModelVersion
from freehold.store import tables
from freehold.store.ground import Ground
from tests.support.records import an_answer

Say = Callable[..., None]


@pytest.fixture
def two(
    declared: Callable[..., Any],
    approved: Callable[..., ModelVersion],
    released: Callable[..., roll.Released],
) -> tuple[str, str]:
    """A live release and a canary beside it."""
    declared()
    live = released(approved("one"))
    return live.release, released(approved("two"), state="canary", weight=500).release


@pytest.fixture
def ended(ground: Ground) -> Say:
    """Answers of a release, in this order, a microsecond apart, each call after the one before."""
    turn = count()

    def say(release: str, *endings: str | None, reason: str = "x") -> None:
        with ground.db.write() as tx:
            for ending in endings:
                row = an_answer(release=release, ending=ending, reason=reason, at=tx.at + next(turn))
                tx.execute(tables.answers.insert().values(row))
            tx.tells_of({"answers"})  # the entries of answers are not what these tests are about

    return say


@pytest.mark.parametrize(
    ("canary", "live"),
    [
        ((0, 20), (0, 400)),
        ((1, 20), (0, 400)),
        ((3, 40), (7, 760)),
        ((20, 20), (1, 30)),
        ((5, 50), (50, 500)),
    ],
)
def test_the_chance_is_fishers(canary: tuple[int, int], live: tuple[int, int]) -> None:
    table = [[canary[0], canary[1] - canary[0]], [live[0], live[1] - live[0]]]
    assert chance_of(*canary, *live) == pytest.approx(
        fisher_exact(table, alternative="greater").pvalue, abs=1e-9
    )


def test_a_canary_that_fails_more_is_told_with_its_figures() -> None:
    told = verdict(Arm(answered=28, failed=12), Arm(answered=757, failed=3))
    assert told.fails_more
    assert told.because.startswith("12 of 40 answers of the canary failed, 3 of 760 live")


@pytest.mark.parametrize(
    ("canary", "live"),
    [
        (Arm(answered=20), Arm(answered=400)),
        (Arm(answered=19, failed=1), Arm(answered=95, failed=5)),
        (Arm(answered=5, failed=15), Arm(answered=50, failed=150)),
        (Arm(failed=19), Arm(answered=400)),  # of 19 answers nothing is said
        (Arm(answered=20), Arm()),
        (Arm(answered=18, failed=2), Arm()),  # nothing to compare with
    ],
)
def test_what_may_be_chance_is_no_reason(canary: Arm, live: Arm) -> None:
    assert not verdict(canary, live).fails_more


def test_cut_off_and_denied_answers_are_no_failures(ground: Ground, two: tuple[str, str], ended: Say) -> None:
    live, canary = two
    ended(live, *["answered"] * 30)
    ended(canary, *["cut off"] * 10, *["answered"] * 15, *["denied"] * 9, None)
    with ground.db.read() as conn:
        assert arms.count(conn, canary) == Arm(answered=15, cut_off=10)
        assert not judged(conn, canary=canary, live=live, at_the_end=True).fails_more
        assert arms.totals(conn, "claims-triage") == {
            live: {"answered": 30},
            canary: {"answered": 15, "cut off": 10, "denied": 9, "under way": 1},
        }


def test_what_died_with_its_gateway_says_nothing_of_the_model(
    ground: Ground, two: tuple[str, str], ended: Say
) -> None:
    live, canary = two
    ended(live, *["answered"] * 400)
    ended(canary, *["answered"] * 20)
    ended(canary, *["failed"] * 8, reason="gateway-died")
    with ground.db.read() as conn:
        assert arms.count(conn, canary) == Arm(answered=20)
        assert not judged(conn, canary=canary, live=live, at_the_end=True).fails_more


def test_it_is_looked_at_when_the_answers_have_doubled_and_at_the_end(
    ground: Ground, two: tuple[str, str], ended: Say
) -> None:
    live, canary = two
    ended(live, *["answered"] * 300)
    ended(canary, *["answered"] * 20)
    ended(canary, *["failed"] * 19)

    def now(*, at_the_end: bool) -> bool:
        with ground.db.read() as conn:
            return judged(conn, canary=canary, live=live, at_the_end=at_the_end).fails_more

    assert not now(at_the_end=False), "the last look was at 20"
    assert now(at_the_end=True)
    ended(canary, "failed")
    assert now(at_the_end=False), "40 have ended"


def test_before_the_first_look_nothing_is_said(ground: Ground, two: tuple[str, str], ended: Say) -> None:
    live, canary = two
    ended(canary, *["failed"] * 19)
    with ground.db.read() as conn:
        assert judged(conn, canary=canary, live=live, at_the_end=False).because == ""
        assert "too few" in judged(conn, canary=canary, live=live, at_the_end=True).because
