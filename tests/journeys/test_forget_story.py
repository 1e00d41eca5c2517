"""The journey forget: what goes, what stays, what still holds afterwards."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from freehold.data import chunks, lineage, suppression, versions
from freehold.data import forget as data
from freehold.data.readmission import StillForgetting
from freehold.errors import BadInput
from freehold.jobs.steps import Moment, Outcome
from freehold.journeys import certificate, forget
from freehold.ledger import agree
from freehold.ledger.certified import TYPE
from freehold.release import publish
from freehold.store.signing import Envelope, verify
from freehold.store.tables import forgettings, journeys
from tests.journeys.world import World
from tests.support.records import an_incident

ANNA = "c-7"


def test_a_forgotten_person_is_in_no_row_and_every_version_still_holds(world: World) -> None:
    subject = world.ring.subject("claims", ANNA)
    before = data.found(world.ground, "claims", subject)
    assert before.removed
    journey = world.forget(ANNA)
    assert world.run(journey) == "done", world.state(journey).because
    assert data.found(world.ground, "claims", subject).nothing
    with world.db.read() as conn:
        version = versions.find(conn, "claims", "claims@1")
        assert agree.disagreements(conn)[1] == []
    gone = before.removed[0].rows
    assert lineage.check(world.ground, version) == version.rows - len(gone)
    assert not lineage.row(world.ground, version, gone[0]).present


@pytest.mark.parametrize("where", ["remove", "destroy", "check"])
def test_what_a_forgetting_that_failed_left_goes_with_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The disk was full for longer than it is tried: the chunks with the person lie there, and their keys."""

    def full(_: Moment) -> Outcome:
        raise BadInput(what="the disk is full")

    with world.db.read() as conn:
        before = chunks.layout_of(conn, versions.find(conn, "claims", "claims@1").id)
    broken = tuple(replace(step, do=full) if step.name == where else step for step in forget.FORGET.steps)
    monkeypatch.setitem(world.stories, "forget", replace(forget.FORGET, steps=broken))
    world.new_runner()
    assert world.run(world.forget(ANNA)) == "failed"
    monkeypatch.setitem(world.stories, "forget", forget.FORGET)
    world.new_runner()
    assert world.run(world.forget(ANNA)) == "done"
    with world.db.read() as conn:
        layout = chunks.layout_of(conn, versions.find(conn, "claims", "claims@1").id)
        rows = conn.execute(sa.select(forgettings)).mappings().all()
        known = suppression.of_project(conn, world.ring, "claims")
        assert agree.disagreements(conn)[1] == []
    assert world.ring.names("chunk/") == sorted(chunks.key_name(chunk.id) for chunk in layout.chunks)
    replaced = {chunk.blob for chunk in before.chunks} - {chunk.blob for chunk in layout.chunks}
    assert replaced
    assert not replaced.intersection(world.ground.blobs.list())
    assert [(row["state"], row["subject"], row["left"]) for row in rows] == [("destroyed", None, "{}")] * 2
    subject = world.ring.subject("claims", ANNA)
    assert not known.holds(subject, world.ground.clock()), "what comes from now on is another matter"


def test_gateways_hold_nothing_against_somebody_who_was_forgotten(world: World) -> None:
    """Nor do they know of them any more: what they are told by names them as an HMAC."""
    subject = world.ring.subject("claims", ANNA)
    an_incident(world.ground, subject=subject)
    assert subject in _newest_rules(world)
    journey = world.forget(ANNA)
    assert world.run(journey) == "done", world.state(journey).because
    assert subject not in _newest_rules(world)
    assert data.found(world.ground, "claims", subject).nothing
    with world.db.read() as conn:
        assert agree.disagreements(conn)[1] == []


def _newest_rules(world: World) -> str:
    with world.db.read() as conn:
        envelope = publish.envelope_of(conn, publish.newest_ix(conn))
    assert envelope is not None
    return base64.b64decode(str(envelope["payload"])).decode()


def test_who_comes_back_is_in_what_comes_then_and_goes_again_with_the_next_forgetting(world: World) -> None:
    subject = world.ring.subject("claims", ANNA)
    assert world.run(world.forget(ANNA)) == "done"
    world.readmit(ANNA)
    world.add_data(180, 7)  # the file of before, with her in it
    back = data.found(world.ground, "claims", subject)
    assert [each.version.ref for each in back.removed] == ["claims@2"]
    again = world.forget(ANNA)
    assert world.run(again) == "done", world.state(again).because
    assert data.found(world.ground, "claims", subject).nothing
    world.add_data(200, 7)
    assert data.found(world.ground, "claims", subject).nothing, "the second forgetting keeps her out"
    with world.db.read() as conn:
        assert certificate.of_journey(conn, again) is not None
        assert agree.disagreements(conn)[1] == []


def test_nobody_is_let_in_while_they_are_being_forgotten(world: World) -> None:
    world.forget(ANNA)
    with pytest.raises(StillForgetting):
        world.readmit(ANNA)


def test_nobody_is_named_by_what_is_left_of_it(world: World) -> None:
    subject = world.ring.subject("claims", ANNA)
    journey = world.forget(ANNA)
    world.run(journey)
    with world.db.read() as conn:
        row = conn.execute(sa.select(forgettings)).mappings().one()
        spec = conn.scalar(sa.select(journeys.c.spec).where(journeys.c.id == journey))
        issued = certificate.of_journey(conn, journey)
    assert issued is not None
    envelope = Envelope.from_json(json.loads(issued["envelope"]))
    payload = verify(world.ground.release_key.public_key(), envelope, TYPE)
    for text in (str(dict(row)), spec, payload.decode()):
        assert ANNA not in text
        assert subject not in text
    said = json.loads(payload)
    assert said["request"] == "DSR-1"
    assert said["found"]["destroyed"][0]["of"] == "claims@1"
