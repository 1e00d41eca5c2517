"""A release in the shadow: it gets no traffic, gives way to what answers, and is laid beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.release import arms, forgetting, roll, shadows
from freehold.release.roll import NothingToRollBackTo, NothingToShare, NotReleasable
from freehold.release.versions import ModelVersion
from freehold.spec.answer import copied, copy_of
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM
from freehold.spec.snapshot import Column
from freehold.store import tables
from freehold.store.ground import Ground
from tests.release.conftest import ABOUT, person
from tests.support.records import an_answer

Make = Callable[..., ModelVersion]
Run = Callable[..., roll.Released]
Read = Callable[[], dict[str, Any]]
SHADOW = {"state": "shadow", "weight": 0}
NAME = "claims-triage"


@pytest.fixture(autouse=True)
def _service(declared: Callable[..., Any]) -> None:
    declared()


@pytest.fixture
def two(approved: Make, released: Run) -> tuple[roll.Released, roll.Released]:
    """A live release and a shadow beside it."""
    return released(approved("one")), released(approved("two"), **SHADOW)


def state_of(ground: Ground, release: str) -> tuple[str, str]:
    with ground.db.read() as conn:
        found = sa.select(tables.releases).where(tables.releases.c.id == release)
        row = conn.execute(found).mappings().one()
    return row["state"], row["because"]


def view(snapshot: Read) -> Any:
    (service,) = snapshot()["services"]
    return service


def test_a_shadow_gets_no_share_and_gateways_learn_what_to_copy_to(
    two: tuple[roll.Released, roll.Released], snapshot: Read
) -> None:
    live, ours = two
    (route,) = view(snapshot)["routes"]
    assert (route["release"], route["weight"]) == (live.release, 10_000)
    shadow = view(snapshot)["shadow"]
    assert (shadow["release"], shadow["weight"]) == (ours.release, 0)
    assert shadow["target"]["serving_digest"] == ours.serving_digest


@pytest.mark.parametrize(
    ("share", "became"), [({"state": "canary", "weight": 500}, "a canary"), ({}, "live")]
)
def test_it_gives_way_to_its_own_share(
    ground: Ground,
    two: tuple[roll.Released, roll.Released],
    released: Run,
    snapshot: Read,
    share: Any,
    became: str,
) -> None:
    released(ModelRef(two[1].model), **share)
    assert state_of(ground, two[1].release) == ("ended", f"it became {became}")
    assert view(snapshot)["shadow"] is None


class ModelRef:
    """A model by its id, as `released` wants one."""

    def __init__(self, id: str) -> None:
        self.id = id


def test_it_needs_what_a_canary_needs(
    trained: Make, approved: Make, released: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = approved("one")
    with pytest.raises(NothingToShare):
        released(one, **SHADOW)
    released(one)
    with pytest.raises(NotReleasable, match="0 of 2 approvals"):
        released(trained("two"), **SHADOW)
    with pytest.raises(BadInput, match="a shadow takes no traffic"):
        released(approved("two"), state="shadow", weight=500)
    monkeypatch.setattr(
        "tests.release.conftest.ABOUT",
        replace(ABOUT, inputs=(Column(name="message", datatype="BYTES"),)),
    )
    with pytest.raises(NotReleasable, match="other inputs"):
        released(approved("three"), **SHADOW)


def test_nobody_rolls_back_to_what_was_a_shadow(
    ground: Ground, two: tuple[roll.Released, roll.Released], approved: Make, released: Run
) -> None:
    with ground.db.write() as tx:
        roll.take_back(tx, ground, by=SYSTEM, release=two[1].release, because="its journey ended")
    assert state_of(ground, two[1].release) == ("rolled back", "its journey ended")
    three = released(approved("three"))
    with ground.db.write() as tx:
        done, gone = roll.rollback(tx, ground, by=person("olga"), service=NAME, because="worse")
    assert (done.model, gone) == (two[0].model, three.release)


def test_a_rollback_of_the_live_release_takes_its_shadow_away(
    ground: Ground, approved: Make, released: Run, snapshot: Read
) -> None:
    first = released(approved("one"))
    released(approved("two"))
    ours = released(approved("three"), **SHADOW)
    with ground.db.write() as tx:
        done, _ = roll.rollback(tx, ground, by=person("olga"), service=NAME, because="worse")
    assert done.model == first.model
    assert state_of(ground, ours.release)[0] == "ended"
    assert view(snapshot)["shadow"] is None


def test_a_shadow_alone_is_nothing_to_go_back_to(
    ground: Ground, two: tuple[roll.Released, roll.Released]
) -> None:
    with ground.db.read() as conn, pytest.raises(NothingToRollBackTo):
        roll.plan_rollback(conn, NAME, ground.clock())


@pytest.mark.parametrize("which", [0, 1])
def test_a_forgetting_ends_the_shadow_of_a_model_that_saw_them_and_beside_one(
    ground: Ground, two: tuple[roll.Released, roll.Released], snapshot: Read, which: int
) -> None:
    with ground.db.write() as tx:
        done = forgetting.revoke(
            tx, ground, by=SYSTEM, models=[two[which].model], versions=[], journey="jrn_1"
        )
    assert state_of(ground, two[1].release)[0] == "ended"
    assert snapshot()["revoked"] == [two[which].serving_digest]
    assert done.services == {NAME: "goes on" if which else "stopped"}


# -- laid beside ------------------------------------------------------------------------------------


def answer(ground: Ground, release: str, id: str, **said: Any) -> None:
    with ground.db.write() as tx:
        row = an_answer(release=release, id=id, at=tx.at, **said)
        tx.execute(tables.answers.insert().values(row))
        tx.tells_of({"answers"})  # the entries of answers are not what these tests are about


def test_copies_are_laid_beside_the_answers_they_are_copies_of(
    ground: Ground, two: tuple[roll.Released, roll.Released]
) -> None:
    live, ours = (one.release for one in two)
    ids = [new_id("ans") for _ in range(5)]
    assert [copied(copy_of(id)) for id in ids] == ids
    for id in ids:
        answer(ground, live, id, micros=2_000, tokens_out=10)
    for id, reason in zip(ids, ("same", "same", "differs", "ok"), strict=False):
        answer(ground, ours, copy_of(id), reason=reason, micros=3_000, tokens_out=8)
    answer(ground, ours, copy_of(new_id("ans")), ending="failed", reason="engine-failed")
    with ground.db.read() as conn:
        told = shadows.of_service(conn, NAME)
        assert arms.totals(conn, NAME)[ours] == {"answered": 4, "failed": 1}
    assert told is not None
    assert json.loads(json.dumps(told.as_json())) == {
        "copies": 5,
        "same": 2,
        "differs": 1,
        "not_copied": 0,
        "endings": {"answered": 4, "failed": 1},
        "micros": {"shadow": 3_000, "live": 2_000},
        "tokens_out": {"shadow": 8.0, "live": 10.0},
    }


def test_a_service_without_a_shadow_has_nothing_to_lay_beside(
    ground: Ground, approved: Make, released: Run
) -> None:
    released(approved("one"))
    with ground.db.read() as conn:
        assert shadows.of_service(conn, NAME) is None
