"""The journey deliver, station by station: what ends it, what holds it, what it takes back."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from freehold.jobs import outputs, queue
from freehold.jobs.queue import JobEnd
from freehold.spec.principal import SYSTEM
from freehold.store.keyring import KeyDestroyed
from freehold.store.tables import approvals, cards, entries, models, releases, runs, services
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World

OTHER = SERVICE.replace("value: 0.80", "value: 0.70")
HARD = SERVICE.replace("value: 0.80", "lower_bound: 0.99")
SANDBOX = SERVICE[: SERVICE.index("approve:")].replace("tier: limited", "tier: sandbox")


def test_a_candidate_that_fails_a_gate_is_held_with_its_card(world: World) -> None:
    journey = world.begin(HARD)
    assert world.run(journey) == "held"
    assert "gate quality: accuracy" in world.state(journey).because
    with world.db.read() as conn:
        model, card = conn.execute(sa.select(models)).one(), conn.execute(sa.select(cards)).one()
        assert conn.execute(sa.select(approvals)).first() is None
        assert conn.execute(sa.select(releases)).first() is None
    assert model.state == "held"
    assert card.passed is False
    assert card.serving_digest == model.serving_digest


def test_a_refusal_holds_the_candidate_and_asks_nobody_else(world: World) -> None:
    journey = world.begin(SERVICE)
    world.run(journey, agree=False)
    assert world.state(journey).state == "waiting"
    world.decide(give=False)
    assert world.run(journey, agree=False) == "held"
    assert "refused by" in world.state(journey).because
    with world.db.read() as conn:
        assert set(conn.scalars(sa.select(approvals.c.state))) == {"refused", "void"}


def test_a_sandbox_asks_nobody(world: World) -> None:
    journey = world.begin(SANDBOX)
    assert world.run(journey, agree=False) == "done"
    with world.db.read() as conn:
        assert conn.execute(sa.select(approvals)).first() is None
        assert conn.scalar(sa.select(services.c.tier)) == "sandbox"


def test_a_journey_ends_where_it_was_told_to(world: World) -> None:
    journey = world.begin(SERVICE, until="evaluate")
    assert world.run(journey) == "done"
    assert world.step(journey, "approve").state == "todo"


def test_the_same_training_twice_gives_the_same_digest(world: World) -> None:
    for _ in range(2):
        assert world.run(world.begin(SERVICE, until="train")) == "done"
    with world.db.read() as conn:
        digests = conn.scalars(sa.select(models.c.serving_digest)).all()
    assert len(digests) == 2
    assert len(set(digests)) == 1


def test_a_run_says_what_it_saw_and_what_it_cost(world: World) -> None:
    world.run(world.begin(SERVICE, until="evaluate"))
    with world.db.read() as conn:
        train, evaluate = conn.execute(sa.select(runs).order_by(runs.c.number)).mappings().all()
    assert (train["kind"], evaluate["kind"]) == ("train", "evaluate")
    assert train["cpu_seconds"] == 1.0
    assert train["watt_hours"] == pytest.approx(10 / 3600)
    assert json.loads(train["metrics"])["rows"]["training"] > 0
    assert train["model"] == evaluate["model"]


def test_a_job_that_fails_ends_the_journey_with_its_words(world: World) -> None:
    journey = world.begin(SERVICE)
    world.runner.run_once()
    job = queue.claim(world.db, by=SYSTEM, worker="w-1", kinds=["train"])
    assert job is not None
    failure = {"code": "out-of-memory", "what": "the job needed more memory than it may use", "why": ""}
    with world.db.write() as tx:
        queue.end(tx, by=SYSTEM, job=job.id, fence=job.fence, end=JobEnd(state="failed", failure=failure))
    assert world.run(journey) == "failed"
    assert "more memory" in world.state(journey).because
    with world.db.read() as conn:
        assert conn.scalar(sa.select(runs.c.state)) == "failed"


def test_a_card_about_another_model_counts_for_nothing(world: World) -> None:
    journey = world.begin(SERVICE)
    world.runner.run_once()
    world.work()
    world.runner.run_once()
    job = queue.claim(world.db, by=SYSTEM, worker="w-1", kinds=["evaluate"])
    assert job is not None
    forged = {"model": {"serving_digest": "sha256:" + "0" * 64}, "gates": [], "examples": [], "measured": {}}
    kept = {"card.json": outputs.keep(world.ground, job.id, "card.json", json.dumps(forged).encode())}
    with world.db.write() as tx:
        queue.end(tx, by=SYSTEM, job=job.id, fence=job.fence, end=JobEnd(state="done", outputs=kept))
    assert world.run(journey) == "failed"
    assert "another model" in world.state(journey).because


def test_an_engine_that_refuses_the_model_gives_the_traffic_back(world: World) -> None:
    """The model before answers again, under the declaration before."""
    assert world.run(world.begin(SERVICE)) == "done"
    with world.db.read() as conn:
        before = conn.execute(sa.select(services.c.spec_digest)).scalar_one()
        live = conn.scalars(sa.select(releases.c.serving_digest).where(releases.c.state == "live")).all()
    journey = world.begin(OTHER.replace("task: classify", "task: classify\n  train: {seed: 11}"))
    world.report = lambda word="refused: model.onnx was changed": World.report(world, word)  # type: ignore[method-assign]
    assert world.run(journey) == "failed"
    assert "was changed" in world.state(journey).because
    with world.db.read() as conn:
        assert (
            conn.scalars(sa.select(releases.c.serving_digest).where(releases.c.state == "live")).all() == live
        )
        assert conn.execute(sa.select(services.c.spec_digest)).scalar_one() == before
        assert set(conn.scalars(sa.select(releases.c.state))) >= {"rolled back"}


def test_what_jobs_left_is_gone_when_the_journey_has_ended(world: World) -> None:
    journey = world.begin(SERVICE)
    world.runner.run_once()
    world.work()
    with world.db.read() as conn:
        job = queue.of_step(conn, journey, "train")
    assert job is not None
    assert outputs.read(world.ground, job, "report.json")
    assert world.run(journey) == "done"
    assert world.ring.known([f"job/{job.id}"]) == {}
    with pytest.raises(KeyDestroyed):
        outputs.read(world.ground, job, "report.json")


def test_no_entry_of_a_delivery_names_a_person_or_quotes_the_data(world: World) -> None:
    world.run(world.begin(SERVICE))
    with world.db.read() as conn:
        said = "\n".join(conn.scalars(sa.select(entries.c.body)))
    for words in ("@example.org", "c-1", "bumper", "flooded"):
        assert words not in said
