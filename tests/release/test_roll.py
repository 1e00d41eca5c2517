"""Releasing: what was approved is what answers; rolling back; and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from freehold.errors import BadInput, NotFound
from freehold.release import roll, services, versions
from freehold.release.approvals import DAY
from freehold.release.roll import NothingToRollBackTo, NothingToShare, NotReleasable
from freehold.release.versions import ModelVersion
from freehold.spec.domain import ColumnDomain, told
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Model
from freehold.spec.snapshot import Column
from freehold.store import tables
from freehold.store.ground import Ground
from tests.conftest import MovingClock
from tests.release.conftest import ABOUT, a_service, person

Make = Callable[..., ModelVersion]
Run = Callable[..., roll.Released]
Read = Callable[[], dict[str, Any]]

OLGA = person("olga")
AGED = (ColumnDomain(name="age", kind="number", low="18.0", high="99.0"),)


@pytest.fixture(autouse=True)
def _service(declared: Callable[..., Any]) -> None:
    declared()


@pytest.fixture
def back(ground: Ground) -> Callable[..., tuple[roll.Released, str]]:
    def run(because: str = "too many wrong answers") -> tuple[roll.Released, str]:
        with ground.db.write() as tx:
            return roll.rollback(tx, ground, by=OLGA, service="claims-triage", because=because)

    return run


def _routes(snapshot: Read) -> list[tuple[str, int]]:
    (service,) = snapshot()["services"]
    return [(r["target"]["serving_digest"], r["weight"]) for r in service["routes"]]


def test_an_approved_model_gets_all_the_traffic_and_gateways_learn_how_to_ask_it(
    approved: Make, released: Run, snapshot: Read
) -> None:
    model = approved()
    done = released(model)
    (service,) = snapshot()["services"]
    assert snapshot()["ix"] == done.snapshot
    assert (service["name"], service["state"], service["task"]) == ("claims-triage", "live", "classify")
    assert service["inputs"] == [{"name": "text", "datatype": "BYTES"}]
    assert service["classes"] == ["property", "motor"]
    assert (service["most"]["requests"], service["most"]["spend"]) == (600, "20")
    (route,) = service["routes"]
    assert route["release"] == done.release
    assert route["target"]["serving_digest"] == model.serving_digest
    assert route["target"]["kind"] == "engine"


def test_a_service_without_a_release_is_unknown_to_gateways(ground: Ground, snapshot: Read) -> None:
    from freehold.release.publish import publish

    with ground.db.write() as tx:
        publish(tx, ground, by=SYSTEM)
    assert snapshot()["services"] == []


def test_the_next_release_ends_the_one_before(
    approved: Make, released: Run, snapshot: Read, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    first = released(approved("one"))
    second = approved("two")
    released(second)
    assert _routes(snapshot) == [(second.serving_digest, 10_000)]
    (ended,) = recorded("release.ended")
    assert ended["detail"]["release"] == first.release


def test_releasing_what_runs_already_changes_no_release(
    ground: Ground, approved: Make, released: Run
) -> None:
    model = approved()
    assert released(model).release == released(model).release


def test_an_unapproved_digest_is_refused_where_the_release_is_written(
    ground: Ground, trained: Make, asked: Callable[..., Any], decide: Callable[..., Any], released: Run
) -> None:
    model = trained()
    with pytest.raises(NotReleasable) as told:
        released(model)
    assert told.value.why == "0 of 2 approvals of this digest count"
    risk, _ = asked(model)
    decide(person("ann"), risk)
    with pytest.raises(NotReleasable) as told:
        released(model)
    assert told.value.why == "1 of 2 approvals of this digest count"


def test_marking_a_model_approved_without_signatures_does_not_release_it(
    ground: Ground, trained: Make, released: Run
) -> None:
    with pytest.raises(NotReleasable):
        released(trained(state="approved"))


def test_one_signature_is_never_enough_outside_the_sandbox(
    ground: Ground,
    declared: Callable[..., Any],
    trained: Make,
    asked: Callable[..., Any],
    decide: Callable[..., Any],
    released: Run,
) -> None:
    declared("quick-triage", approve=())
    model = trained(name="quick-triage")
    (only,) = asked(model, "quick-triage", roles=("model-risk",))
    decide(person("ann"), only)
    with pytest.raises(NotReleasable, match="may not be released"):
        released(model, "quick-triage")


def test_signatures_of_other_roles_do_not_fill_the_ones_that_are_named(
    trained: Make, asked: Callable[..., Any], decide: Callable[..., Any], released: Run
) -> None:
    model = trained()
    first, second = asked(model, roles=("model-risk", "approver"))
    decide(person("ann"), first)
    decide(person("bob"), second)
    with pytest.raises(NotReleasable) as told:
        released(model)
    assert told.value.why == "the approval of data-protection is missing"


def test_approvals_of_another_service_do_not_count(
    declared: Callable[..., Any], approved: Make, released: Run
) -> None:
    declared("other-triage")
    with pytest.raises(NotReleasable):
        released(approved(), "other-triage")


def test_expired_approvals_start_no_release(approved: Make, released: Run, clock: MovingClock) -> None:
    model = approved()
    clock.at += 366 * DAY
    with pytest.raises(NotReleasable):
        released(model)


@pytest.mark.parametrize("state", ["held", "retired"])
def test_a_held_or_retired_model_is_refused_even_with_all_signatures(
    ground: Ground, approved: Make, released: Run, state: Any
) -> None:
    model = approved()
    with ground.db.write() as tx:
        versions.set_state(tx, by=SYSTEM, model=model.id, state=state, because="test")
    with pytest.raises(NotReleasable) as told:
        released(model)
    assert told.value.why == f"it is {state}"


def test_a_refused_release_leaves_nothing_behind(ground: Ground, trained: Make, released: Run) -> None:
    import sqlalchemy as sa

    with pytest.raises(NotReleasable):
        released(trained())
    with ground.db.read() as conn:
        for table in (tables.releases, tables.snapshots):
            assert conn.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_the_sandbox_needs_no_signature_but_an_evaluation(
    declared: Callable[..., Any], trained: Make, released: Run, snapshot: Read
) -> None:
    declared("toy-triage", tier="sandbox", approve=())
    with pytest.raises(NotReleasable) as told:
        released(trained(state="trained", name="toy-triage"), "toy-triage")
    assert told.value.why == "its gates have not been judged"
    released(trained(name="toy-triage"), "toy-triage")
    (service,) = snapshot()["services"]
    assert service["tier"] == "sandbox"


@pytest.mark.parametrize(
    ("features", "domain"),
    [
        ({"kind": "columns"}, None),
        ({"kind": "columns", "domain": told(AGED)}, [asdict(AGED[0]) | {"values": []}]),
        ({"kind": "columns", "domain": [{"name": "age"}]}, []),
    ],
    ids=["from before", "learned", "broken"],
)
def test_what_a_tabular_model_was_trained_on_goes_with_its_route(
    declared: Callable[..., Any],
    trained: Make,
    released: Run,
    snapshot: Read,
    features: dict[str, Any],
    domain: Any,
) -> None:
    columns = (Column(name="age", datatype="FP64"),)
    declared("ages", tier="sandbox", approve=(), model=Model(data="claims@1", task="tabular"))
    about = replace(ABOUT, task="tabular", inputs=columns, features=features)
    released(trained(name="ages", about=about), "ages")
    (service,) = snapshot()["services"]
    assert service["routes"][0]["target"]["domain"] == domain
    assert service["guard_in"]["domain"] == "observe"


def test_restricted_services_are_not_served_long_without_news(
    declared: Callable[..., Any], trained: Make, released: Run, snapshot: Read
) -> None:
    declared("toy-triage", tier="sandbox", approve=(), sensitivity="Restricted")
    released(trained(name="toy-triage"), "toy-triage")
    (service,) = snapshot()["services"]
    assert service["stale_for"] == 30


def test_a_model_or_service_that_is_not_there_is_not_found(
    ground: Ground, approved: Make, released: Run
) -> None:
    with pytest.raises(NotFound, match="service"):
        released(approved(), "nothing")
    with pytest.raises(NotFound, match="model"), ground.db.write() as tx:
        roll.release(tx, ground, by=SYSTEM, service="claims-triage", model="mod_none")


def test_a_canary_shares_with_the_live_release_and_goes_first(
    approved: Make, released: Run, snapshot: Read, back: Callable[..., tuple[roll.Released, str]]
) -> None:
    one, two = approved("one"), approved("two")
    with pytest.raises(NothingToShare):
        released(one, state="canary", weight=500)
    live = released(one)
    canary = released(two, state="canary", weight=500)
    assert _routes(snapshot) == [(one.serving_digest, 9_500), (two.serving_digest, 500)]
    with pytest.raises(NothingToShare):
        released(one, state="canary", weight=500)
    done, gone = back()
    assert (done.release, gone) == (live.release, canary.release)
    assert _routes(snapshot) == [(one.serving_digest, 10_000)]


def test_a_canary_grows_and_the_live_release_stands_first_whatever_they_weigh(
    ground: Ground, approved: Make, released: Run, snapshot: Read, recorded: Callable[[str], list[Any]]
) -> None:
    """The order is what gateways draw by: a person who came to the canary stays with it."""
    one, two = approved("one"), approved("two")
    live, canary = released(one), released(two, state="canary", weight=500)
    for weight in (2_500, 7_500):
        with ground.db.write() as tx:
            ix = roll.weigh(tx, ground, by=SYSTEM, release=canary.release, weight=weight)
        assert snapshot()["ix"] == ix
        assert _routes(snapshot) == [(one.serving_digest, 10_000 - weight), (two.serving_digest, weight)]
    with ground.db.write() as tx:
        assert roll.weigh(tx, ground, by=SYSTEM, release=canary.release, weight=7_500) == ix, "nothing new"
    said = [(e["detail"]["release"], e["detail"]["weight"]) for e in recorded("release.weight")]
    assert sorted(said) == sorted(
        [(live.release, w) for w in (9_500, 7_500, 2_500)] + [(canary.release, w) for w in (2_500, 7_500)]
    )


def test_a_canary_that_goes_live_takes_everything_and_can_be_rolled_back(
    ground: Ground, approved: Make, released: Run, snapshot: Read, back: Callable[..., Any]
) -> None:
    one, two = approved("one"), approved("two")
    released(one)
    canary = released(two, state="canary", weight=500)
    released(two)
    assert _routes(snapshot) == [(two.serving_digest, 10_000)]
    with ground.db.read() as conn:
        ended = tables.releases.select().where(tables.releases.c.id == canary.release)
        assert conn.execute(ended).mappings().one()["because"] == "it became live"
    with pytest.raises(NothingToShare, match="one live"), ground.db.write() as tx:
        roll.weigh(tx, ground, by=SYSTEM, release=canary.release, weight=700)
    back()
    assert _routes(snapshot) == [(one.serving_digest, 10_000)]


def test_a_canary_needs_the_approvals_that_a_live_release_needs(
    trained: Make, approved: Make, released: Run
) -> None:
    released(approved("one"))
    with pytest.raises(NotReleasable, match="0 of 2 approvals"):
        released(trained("two"), state="canary", weight=500)


def test_a_canary_reads_what_the_live_model_reads(
    ground: Ground, approved: Make, released: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(approved("one"))
    other = replace(ABOUT, inputs=(Column(name="message", datatype="BYTES"),))
    monkeypatch.setattr("tests.release.conftest.ABOUT", other)
    with pytest.raises(NotReleasable, match="other inputs"):
        released(approved("two"), state="canary", weight=500)


@pytest.mark.parametrize(("state", "weight"), [("canary", 0), ("canary", 10_000), ("live", 500)])
def test_a_share_that_makes_no_sense_is_refused(
    approved: Make, released: Run, state: str, weight: int
) -> None:
    released(approved("one"))
    with pytest.raises(BadInput):
        released(approved("two"), state=state, weight=weight)


# -- rolling back -----------------------------------------------------------------------------------


def test_rollback_gives_the_traffic_back_to_the_release_before(
    ground: Ground,
    approved: Make,
    released: Run,
    snapshot: Read,
    back: Callable[..., tuple[roll.Released, str]],
    recorded: Callable[[str], list[dict[str, Any]]],
) -> None:
    one, two = approved("one"), approved("two")
    released(one)
    second = released(two)
    done, gone = back("Mr Smith complained")
    assert gone == second.release
    assert done.serving_digest == one.serving_digest
    assert _routes(snapshot) == [(one.serving_digest, 10_000)]
    ended = recorded("release.ended")[-1]["detail"]
    assert ended["state"] == "rolled back"
    assert ended["because"].startswith("hmac-sha256:")


def test_a_second_rollback_goes_further_back_and_not_forward_again(
    approved: Make, released: Run, back: Callable[..., tuple[roll.Released, str]]
) -> None:
    one, two, three = approved("one"), approved("two"), approved("three")
    for model in (one, two, three):
        released(model)
    assert back()[0].serving_digest == two.serving_digest
    assert back()[0].serving_digest == one.serving_digest
    with pytest.raises(NothingToRollBackTo) as told:
        back()
    assert told.value.why == "what ran beside it was rolled back itself"


def test_with_nothing_before_it_there_is_nothing_to_roll_back_to(
    approved: Make, released: Run, back: Callable[..., tuple[roll.Released, str]]
) -> None:
    with pytest.raises(NothingToRollBackTo) as told:
        back()
    assert told.value.why == "it has no release at all"
    released(approved())
    with pytest.raises(NothingToRollBackTo) as told:
        back()
    assert told.value.why == "this is its first one"
    assert "freehold stop" in told.value.hint


def test_rollback_passes_over_what_was_retired(
    ground: Ground, approved: Make, released: Run, back: Callable[..., tuple[roll.Released, str]]
) -> None:
    one, two, three = approved("one"), approved("two"), approved("three")
    for model in (one, two, three):
        released(model)
    with ground.db.write() as tx:
        versions.set_state(tx, by=SYSTEM, model=two.id, state="retired", because="test")
    assert back()[0].serving_digest == one.serving_digest


def test_rollback_to_expired_approvals_says_why_not(
    approved: Make,
    released: Run,
    clock: MovingClock,
    back: Callable[..., tuple[roll.Released, str]],
) -> None:
    released(approved("one"))
    clock.forward(days=366)
    released(approved("two"))
    with pytest.raises(NothingToRollBackTo) as told:
        back()
    assert "approvals of this digest count" in told.value.why


def test_rollback_needs_a_reason(
    approved: Make, released: Run, back: Callable[..., tuple[roll.Released, str]]
) -> None:
    released(approved("one"))
    released(approved("two"))
    with pytest.raises(BadInput, match="a rollback needs a reason"):
        back("")


# -- taking back ------------------------------------------------------------------------------------


def _take_back(ground: Ground, release: str) -> int:
    with ground.db.write() as tx:
        return roll.take_back(tx, ground, by=SYSTEM, release=release, because="its engine did not start")


def test_a_release_that_did_not_come_up_gives_way_to_the_one_before(
    ground: Ground, approved: Make, released: Run, snapshot: Read
) -> None:
    one, two = approved("one"), approved("two")
    released(one)
    assert _take_back(ground, released(two).release) == snapshot()["ix"]
    assert _routes(snapshot) == [(one.serving_digest, 10_000)]


def test_a_first_release_that_did_not_come_up_leaves_the_service_unknown(
    ground: Ground, approved: Make, released: Run, snapshot: Read
) -> None:
    first = released(approved())
    ix = _take_back(ground, first.release)
    assert snapshot()["services"] == []
    assert _take_back(ground, first.release) == ix, "a repeat publishes nothing"
    with ground.db.read() as conn:
        assert services.find(conn, "claims-triage")["state"] == "new"


def test_a_canary_that_did_not_come_up_gives_its_share_back(
    ground: Ground, approved: Make, released: Run, snapshot: Read
) -> None:
    one = approved("one")
    released(one)
    _take_back(ground, released(approved("two"), state="canary", weight=500).release)
    assert _routes(snapshot) == [(one.serving_digest, 10_000)]


# -- declaring --------------------------------------------------------------------------------------


def test_declaring_twice_changes_nothing_and_a_change_waits_for_its_release(ground: Ground) -> None:
    changed = a_service(purpose="fraud-detection")
    with ground.db.write() as tx:
        services.declare(tx, by=SYSTEM, service=changed, owner="per_olga")
        assert services.find(tx.connection, "claims-triage")["purpose"] == "claims-handling"
        services.change(tx, by=SYSTEM, service=changed, owner="per_olga")
        assert services.find(tx.connection, "claims-triage")["purpose"] == "fraud-detection"


def test_a_name_is_given_once_in_the_whole_installation(ground: Ground) -> None:
    with pytest.raises(services.NameTaken), ground.db.write() as tx:
        services.declare(tx, by=SYSTEM, service=a_service(project="marketing"), owner="per_olga")
