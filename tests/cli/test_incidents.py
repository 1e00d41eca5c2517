"""How incidents are told on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.cli.incidents import _done, _shown
from freehold.cli.times import moment
from freehold.release import incidents
from freehold.spec.ids import now
from tests.support.records import an_incident, rule

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("one", "told"),
    [
        ({"does": "observe", "held": False, "until": None}, "only observed"),
        ({"does": "lock", "held": True, "until": None}, "locked"),
        ({"does": "lock", "held": False, "until": None}, "was locked"),
        ({"does": "throttle", "held": True, "until": 1}, "was throttled"),
    ],
)
def test_what_is_over_is_not_told_as_if_it_held(one: dict[str, Any], told: str) -> None:
    assert _done(one) == told


def test_a_throttle_says_until_when() -> None:
    assert _done({"does": "throttle", "held": True, "until": now() + HOUR}).startswith("throttled until ")


@pytest.mark.parametrize(
    ("seconds", "told"), [(300, "5 min"), (90, "90 s"), (3600, "1 h"), (172_800, "2 d"), (5_400, "90 min")]
)
def test_the_time_it_was_seen_in_is_told_in_its_largest_unit(seconds: int, told: str) -> None:
    one = dict.fromkeys(("id", "state", "rule", "service", "project", "key", "subject", "because"), "")
    held = {"does": "observe", "held": False, "until": None}
    seen = {"count": 12, "within": seconds, "seen_at": 0}
    assert f"12 within {told}, last at" in _shown({**one, **held, **seen})


@pytest.mark.parametrize(("then", "told"), [("lock", "locked"), ("renew", "to be renewed")])
def test_the_list_of_keys_says_which_incident_holds_one_and_since_when(
    freehold: Any, house: Any, then: Any, told: str
) -> None:
    key = house.serving_key_id("claims")
    ground = house.parts.ground
    before = freehold("keys", "list").out
    assert "active" in before
    assert told not in before
    incident = an_incident(ground, rule(then), key=key)
    with ground.db.read() as conn:
        since = moment(incidents.find(conn, incident)["at"])
    (line,) = [line for line in freehold("keys", "list").out.splitlines() if key in line]
    assert f"  {told} since {since} ({incident})  " in line
