"""The journey forget: what goes, what stays, what still holds afterwards."""

from __future__ import annotations

import json

import sqlalchemy as sa

from freehold.data import forget as data
from freehold.data import lineage, versions
from freehold.journeys import certificate
from freehold.ledger import agree
from freehold.ledger.certified import TYPE
from freehold.store.signing import Envelope, verify
from freehold.store.tables import forgettings, journeys
from tests.journeys.world import World

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
