"""The A/B test of a roll-out: a share that stands for its time, compared once, people where it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control import abtest, delivery, past, progress
from freehold.errors import Unavailable
from freehold.jobs import steps
from freehold.journeys import judged
from freehold.release import abtests, approvals, arms, roll, services, stop
from freehold.spec.reading import read_service
from freehold.spec.rollout import stages
from freehold.store import tables
from freehold.store.home import Home
from tests.journeys.test_deliver import SERVICE
from tests.journeys.test_retrain_story import ended as answered
from tests.journeys.test_retrain_story import engines_say, shares
from tests.journeys.world import World, make_template

NEXT = SERVICE.replace("claims@1", "claims@2")
TEST = NEXT + "serve: {rollout: [ab 50% 1h, 100%]}\n"
NAME = "claims-triage"
HALF = {"live": 5_000, "ab": 5_000}


@pytest.fixture(scope="module")
def template(live: Home) -> Home:
    """These begin where a service is live."""
    return live


def under_test(world: World, spec: str = TEST) -> str:
    """A retraining whose candidate shares the traffic, and has for no time."""
    journey = world.retrain(spec)
    world.skips = False
    assert world.run(journey) == "running"
    assert shares(world) == HALF
    assert world.step(journey, "judge").because == "A/B test at 50 %"
    return journey


def under_way(world: World, serve: str) -> str:
    """The same by another roll-out, whose canary, where it has one, has had its time."""
    journey = world.retrain(NEXT + serve)
    world.skips = False
    assert world.run(journey) == "running"
    if "canary" in serve:
        world.skip(3700)
        assert world.run(journey) == "running"
    assert shares(world) == HALF
    return journey


def halted(world: World, seconds: int = 0) -> None:
    """Stopped for so long, and resumed: both have to be ready again before its time goes on."""
    with world.db.write() as tx:
        stop.stop(tx, world.ground, by=world.person("risk"), service=NAME, because="look first")
    world.runner.run_once()
    world.skip(seconds)
    with world.db.write() as tx:
        stop.resume(tx, world.ground, by=world.person("privacy"), service=NAME)


def refused(world: World, state: str, times: int) -> None:
    """Answers that the guard of answers kept back."""
    with world.db.read() as conn:
        release = next(row["id"] for row in roll.running(conn, NAME) if row["state"] == state)
        before = set(conn.scalars(sa.select(tables.answers.c.id)))
    answered(world, release, denied=times)
    with world.db.write() as tx:
        a = tables.answers
        new = a.update().where(a.c.id.not_in(before))
        tx.execute(new.values(guards="out secrets refuse: key 1"))
        tx.tells_of({"answers"})  # the entries of answers are not what these tests are about


def entries(world: World, kind: str) -> list[dict[str, Any]]:
    query = (
        sa.select(tables.entries.c.body).where(tables.entries.c.kind == kind).order_by(tables.entries.c.at)
    )
    with world.db.read() as conn:
        return [json.loads(body)["detail"] for body in conn.scalars(query)]


def told(world: World) -> Any:
    with world.db.read() as conn:
        return progress.traffic(conn, services.find(conn, NAME))["abtest"]


def over(world: World, journey: str, *, agree: bool = False) -> str:
    world.skip(3700)
    return world.run(journey, agree=agree)


def model_state(world: World) -> str:
    with world.db.read() as conn:
        newest = sa.select(tables.models.c.state).order_by(tables.models.c.version.desc())
        return str(conn.scalar(newest))


def test_the_share_stands_for_the_whole_time_and_both_are_compared_at_its_end(world: World) -> None:
    journey = under_test(world)
    answered(world, "ab", answered=60, failed=1)
    answered(world, "live", answered=62)
    world.skip(3500)
    world.new_runner()
    assert world.run(journey) == "running"
    assert shares(world) == HALF
    now = told(world)
    assert (now["verdict"], now["figures"]) == (None, None), "nothing is compared before its end"
    assert now["models"] == {"A": "claims-triage@1", "B": "claims-triage@2"}
    world.skip(200)
    assert world.run(journey, agree=False) == "done", "nobody is asked"
    assert shares(world) == {"live": 10_000}
    (begun,), (ended,) = entries(world, "abtest.begun"), entries(world, "abtest.ended")
    assert (begun["weight"], begun["seconds"]) == (5_000, 3_600)
    assert ended["verdict"] == "not worse"
    assert ended["figures"]["drawn"] == {"A": 62, "B": 61}
    failed = ended["figures"]["compared"][0]
    assert (failed["figure"], failed["says"]) == ("failed", "no difference shown")
    assert (
        "61 drawn for the candidate, 62 for the live model" in world.step(journey, "judge").result["judged"]
    )
    assert told(world)["verdict"] == "not worse"


def test_a_canary_grows_to_its_test_and_its_people_stay_with_it(world: World) -> None:
    journey = world.retrain(NEXT + "serve: {rollout: [canary 5% 1h, ab 50% 1h, 100%]}\n")
    world.skips = False
    assert world.run(journey) == "running"
    with world.db.read() as conn:
        canary = next(row["id"] for row in roll.running(conn, NAME) if row["state"] == "canary")
    world.skip(3700)
    assert world.run(journey) == "running"
    assert shares(world) == HALF
    with world.db.read() as conn:
        assert next(row["id"] for row in roll.running(conn, NAME) if row["state"] == "ab") == canary
        then = past.live_at(conn, services.find(conn, NAME), world.ground.clock())["running"]
    assert {one["state"]: one["weight"] for one in then} == HALF, "the ledger says so, too"
    for state in ("ab", "live"):
        answered(world, state, answered=30)
    assert over(world, journey) == "done"


def test_what_is_worse_waits_for_people_and_both_answer_until_they_decide(world: World) -> None:
    journey = under_test(world)
    for state in ("ab", "live"):
        answered(world, state, answered=60)
    refused(world, "ab", 12)
    refused(world, "live", 1)
    assert over(world, journey) == "waiting"
    why = world.state(journey).because
    assert "refused 16.67 %, live 1.64 %: worse" in why
    assert why.endswith("waits for model-risk and data-protection")
    assert shares(world) == HALF
    with world.db.read() as conn:
        (first, _) = approvals.listed(conn, world.ground.clock(), state="waiting")
    assert "refused 16.67 %" in first.evidence["judged"]
    assert first.evidence["gates"], "what they saw before is there, too"
    world.new_runner()
    assert world.run(journey, agree=False) == "waiting"
    assert [one["verdict"] for one in entries(world, "abtest.ended")] == ["worse"]
    assert world.run(journey) == "done"
    assert shares(world) == {"live": 10_000}
    live = sa.select(tables.releases.c.approvals).where(tables.releases.c.state == "live")
    with world.db.read() as conn:
        assert first.id in json.loads(str(conn.scalar(live))), "it is released by who decided on the test"


def test_who_refuses_after_a_test_gives_the_traffic_back(world: World) -> None:
    with world.db.read() as conn:
        before = conn.scalar(sa.select(tables.services.c.spec))
    journey = under_test(world)
    assert over(world, journey) == "waiting"
    world.decide(give=False)
    assert world.run(journey, agree=False) == "held"
    assert "after its A/B test" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    assert model_state(world) == "held"
    with world.db.read() as conn:
        assert conn.scalar(sa.select(tables.services.c.spec)) == before


def test_a_test_of_too_few_waits_for_people(world: World) -> None:
    journey = under_test(world)
    answered(world, "ab", answered=19)
    answered(world, "live", answered=400)
    assert over(world, journey) == "waiting"
    assert "19 drawn for the candidate, 400 for the live model: too few" in world.state(journey).because
    assert entries(world, "abtest.ended")[0]["verdict"] == "not to be judged"


def test_arms_that_were_not_drawn_as_they_were_to_be_are_not_compared(world: World) -> None:
    journey = under_test(world)
    answered(world, "ab", answered=100)
    answered(world, "live", answered=300)
    assert over(world, journey) == "waiting"
    assert "25.0 % came to the candidate and 50 % were to" in world.state(journey).because
    assert told(world)["figures"]["split"]["mismatch"]


def test_only_the_rule_of_a_canary_ends_it_early(world: World) -> None:
    journey = under_test(world)
    answered(world, "live", answered=200, failed=1)
    answered(world, "ab", answered=12, failed=8)
    assert world.run(journey) == "held"
    assert world.state(journey).because.startswith("8 of 20 answers of the candidate failed, 1 of 201 live")
    assert shares(world) == {"live": 10_000}
    (ended,) = entries(world, "abtest.ended")
    assert ended["verdict"] == "ended early"
    assert "8 of 20" in ended["because"]
    assert model_state(world) == "held"


def test_that_rule_goes_on_counting_while_people_think(world: World) -> None:
    journey = under_test(world)
    assert over(world, journey) == "waiting"
    answered(world, "live", answered=200)
    answered(world, "ab", answered=10, failed=10)
    assert world.run(journey, agree=False) == "held"
    assert shares(world) == {"live": 10_000}
    with world.db.read() as conn:
        assert not approvals.listed(conn, world.ground.clock(), state="waiting"), (
            "nobody has to decide any more"
        )


def test_a_person_ends_it_in_one_command(world: World) -> None:
    journey = under_test(world)
    with world.db.write() as tx:
        roll.rollback(tx, world.ground, by=world.person("trainer"), service=NAME, because="I do not like it")
    assert world.run(journey) == "held"
    assert world.state(journey).because == "its candidate was rolled back"
    (ended,) = entries(world, "abtest.ended")
    assert (ended["verdict"], ended["because"]) == ("ended early", "its candidate was rolled back")


def test_its_time_stands_still_while_the_service_is_stopped(world: World) -> None:
    journey = under_test(world)
    world.skip(3000)
    with world.db.write() as tx:
        stop.stop(tx, world.ground, by=world.person("risk"), service=NAME, because="look first")
    assert world.run(journey) == "running"
    assert world.step(journey, "judge").because == "its service is stopped"
    world.skip(4000)
    assert world.run(journey) == "running"
    with world.db.write() as tx:
        stop.resume(tx, world.ground, by=world.person("privacy"), service=NAME)
    assert world.run(journey) == "running"
    for state in ("ab", "live"):
        answered(world, state, answered=30)
    world.skip(400)
    assert world.run(journey) == "running", "600 s were left"
    world.skip(300)
    assert world.run(journey, agree=False) == "done"
    assert len(entries(world, "abtest.begun")) == 1


def test_an_engine_that_starts_again_after_a_stop_has_its_time_to_come_up(world: World) -> None:
    journey = under_test(world)
    world.skip(3000)
    halted(world, 4000)
    with engines_say(world, "starting"):
        assert world.run(journey) == "running"
        assert world.step(journey, "judge").because == "waits for the engine"
        assert shares(world) == HALF
    assert world.run(journey) == "running"
    for state in ("ab", "live"):
        answered(world, state, answered=30)
    world.skip(700)
    assert world.run(journey, agree=False) == "done", "600 s were left"


def test_an_engine_that_does_not_come_up_after_a_stop_is_not_waited_for_without_end(world: World) -> None:
    journey = under_test(world)
    halted(world, 4000)
    with engines_say(world, "starting"):
        assert world.run(journey) == "running"
        world.skip(130)
        world.report()
        assert world.run(journey) == "failed"
    assert shares(world) == {"live": 10_000}


def test_a_journey_that_is_stopped_ends_its_test(world: World) -> None:
    journey = under_test(world)
    with world.db.write() as tx:
        steps.stop(tx, by=world.person("trainer"), journey=journey, because="no")
    assert world.run(journey) == "stopped"
    assert shares(world) == {"live": 10_000}
    (ended,) = entries(world, "abtest.ended")
    assert (ended["verdict"], ended["because"]) == ("ended early", "its journey ended")


@pytest.mark.parametrize("before", ["", "canary 5% 1h, "])
def test_a_test_whose_engine_is_refused_halfway_is_over_in_the_ledger_too(world: World, before: str) -> None:
    """The step that would have judged it fails, and what failed is not undone."""
    journey = under_way(world, f"serve: {{rollout: [{before}ab 50% 1h, 100%]}}\n")
    halted(world)
    with engines_say(world, "refused: it is broken"):
        assert world.run(journey) == "failed"
    assert "it is broken" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    (ended,) = entries(world, "abtest.ended")
    assert (ended["verdict"], ended["because"]) == ("ended early", "its journey ended")
    with world.db.read() as conn:
        test = abtests.newest(conn, "claims", NAME)
        assert test is not None
        later = {"project": "claims", "service": NAME, "release": test.live, "at": world.ground.clock()}
        assert abtests.arm_of(conn, later) is None, "what is answered from now on is part of no test"


def test_a_journey_that_is_stopped_after_a_look_that_failed_ends_its_test(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = under_test(world)

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable(what="the disk is away")

    with monkeypatch.context() as patched:
        patched.setattr(arms, "judged", away)
        world.runner.run_once()
    assert world.step(journey, "judge").state == "todo"
    with world.db.write() as tx:
        steps.stop(tx, by=world.person("trainer"), journey=journey, because="no")
    world.new_runner()
    assert world.run(journey) == "stopped"
    assert [one["verdict"] for one in entries(world, "abtest.ended")] == ["ended early"]


def test_another_candidate_does_not_take_its_place_unseen(world: World) -> None:
    under_test(world)
    with world.db.write() as tx, pytest.raises(delivery.BeingReleased, match="has an A/B test"):
        delivery._supersede(tx, world.person("trainer"), read_service(NEXT))


def test_where_nobody_is_named_who_could_decide_it_is_held(tmp_path: Path) -> None:
    named = SERVICE[SERVICE.index("approve:") : SERVICE.index("examples:")]
    sandbox = SERVICE.replace("tier: limited", "tier: sandbox").replace(named, "")
    world = World(make_template(tmp_path))
    assert world.run(world.begin(sandbox)) == "done"
    world.add_data(240, 8)
    journey = under_test(world, sandbox.replace("claims@1", "claims@2") + TEST[len(NEXT) :])
    assert over(world, journey) == "held"
    assert "too few" in world.state(journey).because
    assert shares(world) == {"live": 10_000}
    assert [one["verdict"] for one in entries(world, "abtest.ended")] == ["not to be judged"]
    world.close()


def test_what_a_test_would_see_is_guessed_from_the_traffic_of_the_last_week(world: World) -> None:
    (stage,) = (one for one in stages(["ab 50% 1h", "100%"]) if one.ab)

    def seen(hours: float, weight: int = 5_000) -> Any:
        """As it is guessed so long after the live release began."""
        with world.db.read() as conn:
            live = roll.live(conn, NAME)
            assert live is not None
            at = live["created_at"] + int(hours * 3_600_000_000)
            return judged.foreseen(conn, live["id"], replace(stage, weight=weight), at)

    assert seen(0.9) is None, "it has just gone live"
    assert seen(6) == {"answers": 0, "smallest": None}
    answered(world, "live", answered=2_300, failed=100)
    told = seen(6)
    assert told["answers"] == 200, "half of an hour's, of six hours"
    assert 0.05 < float(told["smallest"]) < 0.08
    assert seen(6, weight=50) == {"answers": 2, "smallest": None}


def test_a_longer_test_of_the_same_people_sees_hardly_more(world: World) -> None:
    (stage,) = (one for one in stages(["ab 50% 7d", "100%"]) if one.ab)

    def seen(weeks: int) -> float:
        """What a test of so many weeks would see, by one week's traffic."""
        with world.db.read() as conn:
            live = roll.live(conn, NAME)
            assert live is not None
            longer = replace(stage, seconds=stage.seconds * weeks)
            told = judged.foreseen(conn, live["id"], longer, live["created_at"] + judged.WEEK)
        assert told is not None
        assert told["answers"] == 200 * weeks
        return float(told["smallest"])

    answered(world, "live", answered=360, failed=40)
    assert seen(4) == pytest.approx(seen(1) / 2, rel=0.05), "four times as many strangers"
    with world.db.read() as conn:
        ids = list(conn.scalars(sa.select(tables.answers.c.id).order_by(tables.answers.c.ending)))
    with world.db.write() as tx:
        a = tables.answers
        for person in range(100):
            theirs = a.c.id.in_(ids[4 * person : 4 * person + 4])
            tx.execute(a.update().where(theirs).values(subject=f"p-{person}"))
        tx.tells_of({"answers"})  # the entries of answers are not what these tests are about
    assert seen(4) == pytest.approx(seen(1), rel=0.05), "the same hundred, of whom ten always fail"


def test_a_first_release_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    world = World(make_template(tmp_path))
    journey = world.begin(SERVICE + "serve: {rollout: [ab 50% 1h, 100%]}\n")
    assert world.run(journey) == "done"
    assert world.step(journey, "ab").result == {"none": "nothing is live beside it"}
    with world.db.read() as conn:
        assert abtest.of_service(conn, services.find(conn, NAME)) is None
        assert abtests.newest(conn, "claims", NAME) is None
    world.close()
