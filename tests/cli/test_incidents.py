"""How incidents are told on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.cli.incidents import _done
from freehold.spec.ids import now

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
