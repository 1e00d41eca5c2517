"""A clock that jumps ahead takes nothing away at once; one that is right does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control import keeping, progress
from freehold.control.doubting import AWAY, HOUR, WAITS, Doubt
from freehold.data import retention
from freehold.spec.principal import SYSTEM
from freehold.store.contents import Period
from freehold.store.tables import purges, samples

DAY = 24 * HOUR
NOW = 1_800_000_000_000_000


class Count:
    """The machine's own count of seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> int:
        """So long; microseconds."""
        self.seconds += seconds
        return round(seconds * 1_000_000)


def test_a_clock_that_goes_as_time_does_is_believed() -> None:
    count = Count()
    doubt, at = Doubt(count=count), NOW
    assert not doubt.look(at, NOW - DAY)
    for _ in range(3):
        at += count.pass_by(3 * 86_400)
        assert not doubt.look(at, None)
    assert not doubt.look(at - DAY, None), "set back: nothing is over that was not"


@pytest.mark.parametrize("ahead", [2 * HOUR, 400 * DAY])
def test_a_jump_is_doubted_for_a_day_and_then_believed(ahead: int) -> None:
    count = Count()
    doubt, at = Doubt(count=count), NOW
    doubt.look(at, None)
    at += count.pass_by(60) + ahead
    assert doubt.look(at, None)
    assert "the clock went ahead by" in doubt.because
    at += count.pass_by(WAITS - 60)
    assert doubt.look(at, None)
    at += count.pass_by(60)
    assert not doubt.look(at, None)
    assert doubt.because == ""


def test_a_clock_that_was_wrong_when_freehold_began_is_doubted() -> None:
    doubt = Doubt(count=Count())
    assert doubt.look(NOW + AWAY + HOUR, NOW)
    assert "7 days passed since Freehold ran last" in doubt.because


def test_nothing_is_purged_or_noted_meanwhile_and_status_says_why(house: Any, clock: Any) -> None:
    ground, count = house.parts.ground, Count()
    parts = SimpleNamespace(
        **{name: getattr(house.parts, name) for name in ("home", "ground", "wake", "checked", "anchored")},
        doubt=Doubt(count=count),
    )
    with ground.db.write() as tx:
        retention.set_rule(tx, by=SYSTEM, project="claims", keep_for="90d")
    keeper = keeping.Keeper(parts=parts)  # type: ignore[arg-type]  # as much of it as is looked at
    keeper.look()
    first = keeping._last_sample(ground)
    ground.keyring.ensure(Period.of("claims", "triage", "help", ground.clock()).key)
    clock.forward(days=400)
    for _ in range(2):
        keeper.look()
        assert _begun(ground) == 0
        assert keeping._last_sample(ground) == first
    assert progress._unproved(parts) == [f"nothing is purged: {parts.doubt.because}"]  # type: ignore[arg-type]
    count.pass_by(WAITS)
    clock.forward(seconds=WAITS)
    keeper.look()
    assert _begun(ground) == 1
    with ground.db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(samples)) == 1, "the first is out of date"


def _begun(ground: Any) -> int:
    with ground.db.read() as conn:
        return int(conn.scalar(sa.select(sa.func.count()).select_from(purges)) or 0)
