"""Models that learned from somebody who is forgotten: what answers meanwhile, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.release import approvals, files, forgetting, roll, versions
from freehold.release.approvals import ApprovalVoid, NothingToApprove
from freehold.release.forgetting import Revoked
from freehold.release.roll import NothingToRollBackTo, NotReleasable
from freehold.release.versions import ModelVersion, WrongState
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Serve
from freehold.spec.snapshot import REBUILT
from freehold.store import tables
from freehold.store.ground import Ground
from tests.conftest import MovingClock
from tests.release.conftest import person

Make = Callable[..., ModelVersion]
Run = Callable[..., roll.Released]
Read = Callable[[], dict[str, Any]]
Forget = Callable[..., Revoked]

SERVICE = "claims-triage"
DAY = 86_400_000_000


@pytest.fixture
def forget(ground: Ground) -> Forget:
    def run(*models: ModelVersion) -> Revoked:
        with ground.db.write() as tx:
            ids = [model.id for model in models]
            return forgetting.revoke(tx, ground, by=SYSTEM, models=ids, versions=(), journey="jrn_f")

    return run


def view(snapshot: Read) -> dict[str, Any]:
    (found,) = snapshot()["services"]
    return dict(found)


def routed(snapshot: Read) -> list[str]:
    return [route["target"]["serving_digest"] for route in view(snapshot)["routes"]]


# -- what answers meanwhile -------------------------------------------------------------------------


def test_the_service_falls_back_to_the_newest_earlier_model_that_never_saw_the_person(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    declared()
    first, second, third = (approved(name) for name in ("one", "two", "three"))
    for model in (first, second, third):
        released(model)
    done = forget(second, third)
    assert done.services == {SERVICE: f"fell back to {first.ref}"}
    assert routed(snapshot) == [first.serving_digest]
    assert view(snapshot)["state"] == "live"
    assert snapshot()["revoked"] == sorted((second.serving_digest, third.serving_digest))


def test_where_every_earlier_model_saw_them_the_service_stops_and_says_why(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    declared()
    model = approved("one")
    released(model)
    assert forget(model).services == {SERVICE: "stopped"}
    told = view(snapshot)
    assert (told["state"], told["because"], told["routes"]) == ("stopped", REBUILT, [])


def test_a_service_may_stop_rather_than_fall_back(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    declared(serve=Serve(on_forget="stop"))
    first, second = approved("one"), approved("two")
    released(first)
    released(second)
    assert forget(second).services == {SERVICE: "stopped"}
    assert routed(snapshot) == []


def test_a_stopped_one_answers_again_with_the_next_release_without_being_resumed(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    declared()
    old, rebuilt = approved("one"), approved("rebuilt")
    released(old)
    forget(old)
    released(rebuilt)
    assert (view(snapshot)["state"], routed(snapshot)) == ("live", [rebuilt.serving_digest])
    assert snapshot()["revoked"] == [old.serving_digest]


def test_a_kept_model_answers_until_its_time_is_over_and_not_a_moment_longer(
    declared: Callable[..., Any],
    approved: Make,
    released: Run,
    forget: Forget,
    snapshot: Read,
    clock: MovingClock,
    recorded: Callable[[str], list[dict[str, Any]]],
    ground: Ground,
) -> None:
    declared(serve=Serve(on_forget="keep 14d", keep_because="night shifts have no other triage"))
    model = approved("one")
    released(model)
    assert forget(model).services == {SERVICE: "kept"}
    (route,) = view(snapshot)["routes"]
    (said,) = recorded("release.kept")
    assert route["until"] == said["detail"]["until"]
    assert snapshot()["revoked"] == []
    assert files.open_model(ground, model.serving_digest).id == model.id
    clock.forward(days=15)
    with pytest.raises(NotFound):
        files.open_model(ground, model.serving_digest)
    with ground.db.write() as tx:
        forgetting.end_kept(tx, ground, by=SYSTEM, service=SERVICE)
    assert (routed(snapshot), snapshot()["revoked"]) == ([], [model.serving_digest])


def test_the_time_of_a_kept_model_begins_with_the_first_forgetting(
    declared: Callable[..., Any],
    approved: Make,
    released: Run,
    forget: Forget,
    snapshot: Read,
    clock: MovingClock,
) -> None:
    declared(serve=Serve(on_forget="keep 14d", keep_because="night shifts have no other triage"))
    model = approved("one")
    released(model)
    forget(model)
    before = view(snapshot)["routes"]
    clock.forward(days=3)
    forget(model)
    assert view(snapshot)["routes"] == before


def test_a_canary_that_saw_them_goes_and_the_live_model_has_all_the_traffic_again(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    declared()
    live, canary = approved("one"), approved("two")
    released(live)
    released(canary, weight=500, state="canary")
    assert forget(canary).services == {SERVICE: "goes on"}
    (route,) = view(snapshot)["routes"]
    assert (route["target"]["serving_digest"], route["weight"]) == (live.serving_digest, 10_000)


# -- what is refused --------------------------------------------------------------------------------


def test_a_forgotten_model_is_neither_released_nor_rolled_back_to(
    declared: Callable[..., Any], approved: Make, released: Run, forget: Forget, ground: Ground
) -> None:
    declared()
    old, new = approved("one"), approved("two")
    released(old)
    released(new)
    forget(old)
    with pytest.raises(NotReleasable) as refused:
        released(old)
    assert "learned from somebody who was forgotten" in refused.value.why
    assert "rebuilt" in refused.value.hint
    with pytest.raises(NothingToRollBackTo) as none, ground.db.write() as tx:
        roll.rollback(tx, ground, by=person("olga"), service=SERVICE, because="slow")
    assert "learned from somebody who was forgotten" in none.value.why


def test_nobody_is_asked_about_a_forgotten_model_any_more(
    declared: Callable[..., Any],
    trained: Make,
    asked: Callable[..., tuple[str, ...]],
    decide: Callable[..., approvals.Approval],
    forget: Forget,
) -> None:
    declared()
    model = trained("one")
    first, _ = asked(model)
    forget(model)
    with pytest.raises(ApprovalVoid, match="no longer counts") as void:
        decide(person("ann"), first)
    assert void.value.why == forgetting.WHY
    with pytest.raises(NothingToApprove) as refused:
        asked(model)
    assert refused.value.hint


def test_forgotten_is_the_end_whatever_a_version_was(
    declared: Callable[..., Any], trained: Make, forget: Forget, ground: Ground
) -> None:
    declared()
    for state in ("trained", "evaluated", "approved"):
        model = trained(state, state=state)
        forget(model)
        with pytest.raises(WrongState), ground.db.write() as tx:
            versions.set_state(tx, by=SYSTEM, model=model.id, state="evaluated")


def test_forgetting_again_changes_nothing(
    declared: Callable[..., Any],
    approved: Make,
    released: Run,
    forget: Forget,
    snapshot: Read,
    ground: Ground,
) -> None:
    declared()
    model = approved("one")
    released(model)
    forget(model)
    told = {name: value for name, value in snapshot().items() if name in ("services", "revoked")}
    with ground.db.read() as conn:
        before = conn.scalar(sa.select(sa.func.count()).select_from(tables.entries))
    assert forget(model).services == {}
    with ground.db.read() as conn:
        after = conn.scalar(sa.select(sa.func.count()).select_from(tables.entries))
    assert after - before == 1  # the snapshot
    assert {name: snapshot()[name] for name in told} == told


def test_what_came_out_the_same_without_them_is_not_revoked(
    declared: Callable[..., Any], approved: Make, trained: Make, released: Run, forget: Forget, snapshot: Read
) -> None:
    """They were in no row that it learned from: a second training proved it, byte for byte."""
    declared()
    model = approved("one")
    released(model)
    forget(model)
    assert snapshot()["revoked"] == [model.serving_digest]
    rebuilt = approved("one")
    assert rebuilt.serving_digest == model.serving_digest
    released(rebuilt)
    assert (snapshot()["revoked"], routed(snapshot)) == ([], [model.serving_digest])
