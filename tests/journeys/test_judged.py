"""What an A/B test comes to, from what was counted: a table without a database."""

from __future__ import annotations

import json

import pytest

from freehold.journeys import judged
from freehold.release.abtests import CANDIDATE, LIVE, OVER
from freehold.spec.ids import canonical

Counts = dict[str, int]


def arm(ended: int, **counts: int) -> dict[str, dict[str, float]]:
    """Sums where everybody brings one answer."""
    told = {figure: counts.get(figure.replace(" ", "_"), 0) for figure in OVER}
    return {
        figure: {"units": ended, "n": ended, "y": y, "nn": ended, "ny": y, "yy": y}
        for figure, y in told.items()
    }


def verdict(ours: tuple[int, Counts], live: tuple[int, Counts], weight: int = 5_000) -> judged.Judged:
    arms = {CANDIDATE: arm(ours[0], **ours[1]), LIVE: arm(live[0], **live[1])}
    return judged.verdict(arms, {CANDIDATE: ours[0], LIVE: live[0]}, weight)


@pytest.mark.parametrize(
    ("ours", "live", "weight", "expected"),
    [
        ((400, {}), (400, {}), 5_000, "not worse"),
        ((400, {"failed": 9}), (400, {"failed": 4}), 5_000, "not worse"),  # its interval spans 0
        ((400, {"failed": 30}), (400, {"failed": 4}), 5_000, "worse"),
        ((400, {"refused": 30}), (400, {"refused": 4}), 5_000, "worse"),
        ((400, {"failed": 4}), (400, {"failed": 30}), 5_000, "not worse"),  # better
        ((400, {"cut_off": 60}), (400, {}), 5_000, "not worse"),  # shown, and decides nothing
        ((400, {"cost": 900}), (400, {"cost": 100}), 5_000, "not worse"),
        ((19, {}), (400, {}), 500, "not to be judged"),
        ((0, {}), (0, {}), 5_000, "not to be judged"),
        ((400, {}), (600, {}), 5_000, "not to be judged"),  # a sample-ratio mismatch
        ((400, {"failed": 30}), (600, {"failed": 4}), 5_000, "not to be judged"),
        ((50, {}), (950, {}), 500, "not worse"),  # one of twenty was asked for
    ],
)
def test_the_rule(ours: tuple[int, Counts], live: tuple[int, Counts], weight: int, expected: str) -> None:
    assert verdict(ours, live, weight).verdict == expected


def test_it_says_sizes_difference_interval_and_what_could_have_been_seen() -> None:
    told = verdict((400, {"failed": 9}), (400, {"failed": 4}))
    assert told.because.startswith("A/B test, 400 drawn for the candidate, 400 for the live model")
    assert "failed 2.25 %, live 1.00 %: no difference shown (-0.63 to 3.32 points)" in told.because
    failed = told.figures["compared"][0]
    assert (failed["figure"], failed["decides"], failed["says"]) == ("failed", True, "no difference shown")
    assert (failed["difference"], failed["A"]["answers"]) == ("0.012500", 400)
    assert 0.02 < float(failed["smallest"]) < 0.04


def test_what_others_stood_in_for_is_for_people_to_weigh() -> None:
    """It would have failed in one of the arms, and is counted in neither."""
    fine = {CANDIDATE: arm(400), LIVE: arm(400)}
    told = judged.verdict(fine, {CANDIDATE: 400, LIVE: 400}, 5_000, 7)
    assert told.verdict == "not to be judged"
    assert told.because.endswith("; 7 answered by a stand-in are in neither arm")
    worse = {CANDIDATE: arm(400, failed=30), LIVE: arm(400)}
    assert judged.verdict(worse, {CANDIDATE: 400, LIVE: 400}, 5_000, 7).verdict == "worse"


def test_a_mismatch_is_said() -> None:
    told = verdict((400, {}), (600, {}))
    assert told.figures["split"]["mismatch"]
    assert "40.0 % came to the candidate and 50 % were to" in told.because
    assert "something besides the draw decided" in told.because


def test_what_nothing_can_be_said_of_is_left_out_and_nothing_is_a_float() -> None:
    told = verdict((400, {"seconds": 800}), (400, {"seconds": 400}))
    assert [one["figure"] for one in told.figures["compared"]] == ["failed", "refused", "seconds"]
    assert json.loads(canonical(told.figures)) == told.figures, "an entry of the ledger takes it"
