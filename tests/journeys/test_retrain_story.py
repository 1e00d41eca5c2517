"""The journey retrain and the roll-out by canary: what holds a candidate, what takes it away again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import Unavailable
from freehold.evaluate import paired
from freehold.evaluate.intervals import Measured
from freehold.release import arms, roll, stop
from freehold.store import tables
from freehold.store.home import Home
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World, make_template
from tests.support.records import an_answer

NEXT = SERVICE.replace("claims@1", "claims@2")
CANARY = NEXT + "serve: {rollout: [canary 5% 1h, 100%]}\n"
NAME = "claims-triage"


@pytest.fixture(scope="module")
def template(live: Home) -> Home:
    """These begin where a service is live."""
    return live


def card(world: World, journey: str) -> dict[str, Any]:
    done = world.step(journey, "evaluate").result
    with world.db.read() as conn:
        body = conn.scalar(sa.select(tables.cards.c.body).where(tables.cards.c.digest == done["card_digest"]))
    return dict(json.loads(str(body)))


def shares(world: World) -> dict[str, int]:
    with world.db.read() as conn:
        return {row["state"]: row["weight"] for row in roll.running(conn, NAME)}


def as_canary(world: World) -> str:
    """A retraining whose canary answers, and has for no time."""
    journey = world.retrain(CANARY)
    world.skips = False
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 9_500, "canary": 500}
    return journey


def ended(world: World, state: str, **endings: int) -> None:
    """Answers of the release in this state, or of this id."""
    with world.db.read() as conn:
        release = next((row["id"] for row in roll.running(conn, NAME) if row["state"] == state), state)
    with world.db.write() as tx:
        for ending in [word for word, number in endings.items() for _ in range(number)]:
            row = an_answer(release=release, ending=ending, reason="x", at=tx.at)
            tx.execute(tables.answers.insert().values(row))
        tx.tells_of({"answers"})  # the entries of answers are not what these tests are about


@contextmanager
def engines_say(world: World, word: str) -> Iterator[None]:
    """What gateways tell meanwhile of every engine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "report", lambda: World.report(world, word))
        world.report()
        yield


# -- against the live model -------------------------------------------------------------------------


def test_a_candidate_is_measured_beside_the_live_model_on_rows_neither_learned_from(world: World) -> None:
    journey = world.retrain(NEXT, until="evaluate")
    assert world.run(journey) == "done"
    told = card(world, journey)
    live, held_out = told["against_live"], told["measured"]["held-out"]
    assert (live["ref"], live["overlap"], live["left_out"]) == ("claims-triage@1", "none", 0)
    assert live["rows"] == held_out["rows"] > 10
    assert (
        live["metrics"]["accuracy"]["candidate"]
        == told["measured"]["held-out"]["metrics"]["accuracy"]["value"]
    )
    (gate,) = [gate for gate in told["gates"] if gate["name"] == "live"]
    assert "claims-triage@1" in gate["because"]
    assert gate["passed"]


def test_rows_that_the_live_model_learned_from_are_left_out(world: World) -> None:
    """Another seed is another split."""
    journey = world.retrain(NEXT.replace("task: classify", "task: classify\n  train: {seed: 11}"), "evaluate")
    world.run(journey)
    told = card(world, journey)
    assert told["against_live"]["left_out"] > 0
    assert (
        told["against_live"]["rows"] + told["against_live"]["left_out"]
        == told["measured"]["held-out"]["rows"]
    )


def test_a_candidate_that_is_worse_than_the_live_model_is_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes the service's own gates, and still takes nobody's place."""
    worse = Measured(value=-0.2, low=-0.3, high=-0.1, method="said by the test")
    monkeypatch.setattr(paired, "share", lambda _first, _second: worse)
    journey = world.retrain(NEXT.replace("value: 0.80", "value: 0.01"))  # asked nowhere else: jobs are kept
    assert world.run(journey) == "held"
    assert "gate live: accuracy" in world.state(journey).because
    assert "-0.200 (-0.300 to -0.100), worse" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    with world.db.read() as conn:
        newest = sa.select(tables.models.c.state).order_by(tables.models.c.version.desc())
        assert conn.scalar(newest) == "held"


def test_nothing_goes_live_before_people_have_approved(world: World) -> None:
    journey = world.retrain(NEXT)
    assert world.run(journey, agree=False) == "waiting"
    assert "waits for" in world.state(journey).because
    assert shares(world) == {"live": 10_000}


def test_what_was_compared_with_another_model_does_not_take_its_place(world: World) -> None:
    """Somebody rolled back meanwhile: nobody has shown that the candidate is better than that."""
    seed = SERVICE.replace("task: classify", "task: classify\n  train: {seed: 11}")
    assert world.run(world.begin(seed)) == "done"
    journey = world.retrain(NEXT)
    assert world.run(journey, agree=False) == "waiting"
    with world.db.write() as tx:
        roll.rollback(tx, world.ground, by=world.person("trainer"), service=NAME, because="slow")
    assert world.run(journey) == "failed"
    assert "another live model than the candidate was compared with" in world.state(journey).because
    assert shares(world) == {"live": 10_000}


# -- a canary ---------------------------------------------------------------------------------------


def test_a_canary_stays_until_its_time_is_over_and_a_restart_does_not_lose_it(world: World) -> None:
    journey = as_canary(world)
    world.skip(3000)
    world.new_runner()
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 9_500, "canary": 500}
    world.skip(700)
    ended(world, "canary", answered=3)
    assert world.run(journey) == "done"
    assert shares(world) == {"live": 10_000}
    assert "0 of 3 answers" in world.step(journey, "watch").result["judged"]


def test_a_canary_that_fails_more_than_the_live_release_is_taken_back_with_the_reason(world: World) -> None:
    with world.db.read() as conn:
        before = conn.scalar(sa.select(tables.services.c.spec_digest))
    journey = as_canary(world)
    ended(world, "live", answered=200, failed=1)
    ended(world, "canary", answered=12, failed=8)
    assert world.run(journey) == "held"
    assert world.state(journey).because.startswith("8 of 20 answers of the canary failed, 1 of 201 live")
    assert shares(world) == {"live": 10_000}
    with world.db.read() as conn:
        assert conn.scalar(sa.select(tables.services.c.spec_digest)) == before
        said = conn.scalars(sa.select(tables.releases.c.because)).all()
    assert any("8 of 20 answers" in word for word in said)


def test_a_canary_that_fails_as_often_as_the_live_release_goes_on(world: World) -> None:
    journey = as_canary(world)
    ended(world, "live", answered=180, failed=20)
    ended(world, "canary", answered=18, failed=2)
    assert world.run(journey) == "running"
    world.skip(3700)
    assert world.run(journey) == "done"


def test_a_few_answers_of_which_some_failed_are_waited_for(world: World) -> None:
    journey = as_canary(world)
    ended(world, "canary", answered=2, failed=1)
    world.skip(3700)
    assert world.run(journey) == "running"
    assert "too few to judge" in world.step(journey, "watch").because
    ended(world, "canary", answered=arms.FEWEST)
    assert world.run(journey) == "done"


def test_a_person_takes_a_canary_away_in_one_command(world: World) -> None:
    with world.db.read() as conn:
        before = conn.scalar(sa.select(tables.services.c.spec_digest))
    journey = as_canary(world)
    with world.db.write() as tx:
        roll.rollback(tx, world.ground, by=world.person("trainer"), service=NAME, because="I do not like it")
    assert shares(world) == {"live": 10_000}
    assert world.run(journey) == "held"
    assert world.state(journey).because == "its canary was rolled back"
    with world.db.read() as conn:
        assert conn.scalar(sa.select(tables.services.c.spec_digest)) == before


def test_the_time_of_a_canary_does_not_run_while_its_service_is_stopped(world: World) -> None:
    journey = as_canary(world)
    with world.db.write() as tx:
        stop.stop(tx, world.ground, by=world.person("risk"), service=NAME, because="look first")
    world.skip(4000)
    assert world.run(journey) == "running"
    assert world.step(journey, "watch").because == "its service is stopped"
    with world.db.write() as tx:
        stop.resume(tx, world.ground, by=world.person("privacy"), service=NAME)
    assert world.run(journey) == "running"
    world.skip(3700)
    assert world.run(journey) == "done"


def test_a_canary_that_starts_again_after_a_stop_has_its_time_to_come_up_and_keeps_its_place(
    world: World,
) -> None:
    journey = world.retrain(CANARY.replace("canary 5% 1h", "canary 5% 1h, canary 25% 1h"))
    world.skips = False
    assert world.run(journey) == "running"
    world.skip(3700)
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 7_500, "canary": 2_500}
    with world.db.write() as tx:
        stop.stop(tx, world.ground, by=world.person("risk"), service=NAME, because="look first")
    world.runner.run_once()
    world.skip(4000)
    with world.db.write() as tx:
        stop.resume(tx, world.ground, by=world.person("privacy"), service=NAME)
    with engines_say(world, "starting"):
        assert world.run(journey) == "running"
        assert world.step(journey, "watch").because == "waits for the engine"
    assert world.run(journey) == "running"
    assert world.step(journey, "watch").because == "canary at 25 %"
    world.skip(3700)
    assert world.run(journey) == "done"


def test_a_look_that_fails_does_not_begin_the_time_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = as_canary(world)
    since = world.step(journey, "watch").result["since"]

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable(what="the disk is away")

    with monkeypatch.context() as patched:
        patched.setattr(arms, "judged", away)
        world.runner.run_once()
    world.new_runner()
    world.run(journey)
    assert world.step(journey, "watch").result["since"] == since


def test_a_first_release_has_nothing_to_share_with_and_goes_to_all(tmp_path: Path) -> None:
    world = World(make_template(tmp_path))
    journey = world.begin(SERVICE + "serve: {rollout: [shadow 1h, canary 5% 1h, 100%]}\n")
    assert world.run(journey) == "done"
    for step in ("shadow", "canary"):
        assert world.step(journey, step).result == {"none": "nothing is live beside it"}
    world.close()


# -- a shadow ---------------------------------------------------------------------------------------

SHADOW = NEXT + "serve: {rollout: [shadow 1h, canary 5% 1h, 100%]}\n"


def as_shadow(world: World) -> str:
    """A retraining whose candidate gets copies, and has for no time."""
    journey = world.retrain(SHADOW)
    world.skips = False
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 10_000}
    assert world.step(journey, "compare").because == "answers copies as a shadow"
    return journey


def copies(world: World, **endings: int) -> None:
    """Answers of the shadow, and as many that were given."""
    with world.db.read() as conn:
        shadow = roll.shadowing(conn, NAME)
    assert shadow is not None
    ended(world, "live", answered=sum(endings.values()))
    ended(world, shadow["id"], **endings)


def test_a_shadow_gets_copies_for_its_time_and_goes_on_to_its_first_share_by_itself(world: World) -> None:
    journey = as_shadow(world)
    with world.db.read() as conn:
        before = conn.scalar(sa.select(tables.services.c.spec))
    copies(world, answered=21)
    world.skip(3500)
    world.new_runner()
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 10_000}
    world.skip(200)
    assert world.run(journey) == "running"
    assert shares(world) == {"live": 9_500, "canary": 500}
    told = world.step(journey, "compare").result
    assert told["judged"].startswith("0 of 21 answers of the shadow failed, 0 of 21 live")
    assert (told["copies"], told["same"], told["differs"]) == (21, 0, 0)
    with world.db.read() as conn:
        assert roll.shadowing(conn, NAME) is None
        assert conn.scalar(sa.select(tables.services.c.spec)) != before, "its first share is under its file"
    world.skip(3700)
    assert world.run(journey) == "done"


def test_a_shadow_that_fails_more_than_the_live_model_is_held(world: World) -> None:
    journey = as_shadow(world)
    with world.db.read() as conn:
        before = conn.scalar(sa.select(tables.services.c.spec))
    copies(world, answered=12, failed=8)
    assert world.run(journey) == "held"
    assert "8 of 20 answers of the shadow failed, 0 of 20 live" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    with world.db.read() as conn:
        assert roll.shadowing(conn, NAME) is None
        assert conn.scalar(sa.select(tables.services.c.spec)) == before
        newest = sa.select(tables.models.c.state).order_by(tables.models.c.version.desc())
        assert conn.scalar(newest) == "held"


def test_a_few_failures_are_not_judged_and_not_let_on(world: World) -> None:
    journey = as_shadow(world)
    copies(world, answered=2, failed=1)
    world.skip(3700)
    assert world.run(journey) == "running"
    assert "too few to judge" in world.step(journey, "compare").because


def test_a_shadow_whose_engine_refuses_it_is_taken_away_and_nobody_noticed(world: World) -> None:
    journey = world.retrain(SHADOW)
    world.skips = False
    world.report = lambda: World.report(world, "refused: it is broken")  # type: ignore[method-assign]
    assert world.run(journey) == "failed"
    assert "refused: it is broken" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    with world.db.read() as conn:
        assert roll.shadowing(conn, NAME) is None


def test_a_rollback_beside_a_shadow_holds_the_candidate(world: World) -> None:
    seed = SERVICE.replace("task: classify", "task: classify\n  train: {seed: 11}")
    assert world.run(world.begin(seed)) == "done"
    journey = as_shadow(world)
    with world.db.write() as tx:
        roll.rollback(tx, world.ground, by=world.person("trainer"), service=NAME, because="slow")
    assert world.run(journey) == "held"
    assert "its shadow was taken away" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
