"""Whoever asked for a journey is told when it fails or is held, and of nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.jobs.steps import Moment, Outcome
from freehold.release import notices
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.journeys.test_deliver_story import HARD, SANDBOX
from tests.journeys.world import World


@pytest.fixture(autouse=True)
def _channels(world: World) -> None:
    with world.db.write() as tx:
        notices.add_webhook(tx, world.ground, by=SYSTEM, url="http://127.0.0.1:9/hook")
        notices.add_mail(tx, by=SYSTEM)


def told(world: World) -> list[tuple[str, dict[str, Any]]]:
    """To whom, and what, of journeys that ended."""
    n = tables.notices.c
    with world.db.read() as conn:
        rows = conn.execute(sa.select(n.channel, n.target, n.body).order_by(n.channel, n.id)).all()
    said = [(row.channel if row.channel == "webhook" else row.target, json.loads(row.body)) for row in rows]
    return [(to, body) for to, body in said if body["event"] != "approval.requested"]


def broken(world: World, kind: str, step: str) -> None:
    """A step of this kind of journey that can never be done."""

    def refuse(_moment: Moment) -> Outcome:
        raise BadInput(what="it cannot be done", why="c-7 has no kitchen")

    story = world.stories[kind]
    changed = tuple(replace(one, do=refuse) if one.name == step else one for one in story.steps)
    world.stories[kind] = replace(story, steps=changed)
    world.new_runner()


def test_a_candidate_that_is_held_is_told_of_with_ids_and_a_link(world: World) -> None:
    journey = world.begin(HARD)
    assert world.run(journey) == "held"
    (mail, said), (hook, same) = told(world)
    assert (mail, hook) == (world.person("trainer").id, "webhook")
    asked = {"journey": journey, "kind": "deliver", "project": "claims", "service": "claims-triage"}
    link = "/services/claims-triage"
    for body in (said, same):
        assert {name: body[name] for name in body if name not in ("id", "at")} == {
            **asked,
            "event": "journey.held",
            "link": link,
        }


def test_what_failed_is_told_without_its_reason(world: World) -> None:
    """The reason may hold what no mail should: it stands where those look who may."""
    broken(world, "forget", "remove")
    journey = world.forget("c-7")
    assert world.run(journey) == "failed"
    assert "c-7" in world.state(journey).because
    (mail, said), _ = told(world)
    assert (mail, said["event"], said["link"]) == (world.person("privacy").id, "journey.failed", "/")
    assert "c-7" not in json.dumps(said)


def test_what_the_clock_began_is_told_to_whoever_has_the_role(world: World) -> None:
    broken(world, "purge", "remove")
    assert world.run(world.purge_of_everything()) == "failed"
    assert [to for to, _ in told(world)] == [world.person("privacy").id, "webhook"]


def test_of_what_is_done_nobody_is_told(world: World) -> None:
    assert world.run(world.begin(SANDBOX)) == "done"
    assert told(world) == []
