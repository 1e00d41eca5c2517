"""The proofs about people who were forgotten: what learned from them, and their rows that come in again."""

from __future__ import annotations

import io
from collections.abc import Mapping

from freehold.data import forget as rows_of
from freehold.data import intake
from freehold.data.declare import Intake
from freehold.doctor.candidate import approve, candidate, release
from freehold.doctor.effect import need, refused
from freehold.doctor.scratch import PROJECT, PURPOSE, Scratch
from freehold.engines import revoked
from freehold.jobs import steps
from freehold.jobs.runner import Runner
from freehold.journeys import forget
from freehold.journeys.stories import STORIES
from freehold.release import forgetting, publish
from freehold.spec.config import Config
from freehold.spec.ids import canonical
from freehold.spec.principal import SYSTEM
from freehold.store.home import write_atomically

_WHO = "one-who-asked-to-be-forgotten"
_ROWS = f"who,said\n{_WHO},the roof leaks\nanother,the door is shut\n".encode()
_ENOUGH = "destroy"
"""The step after which nothing of the person can be read; what follows waits for others."""


def forgotten_digest(at: Scratch) -> str:
    """A model that learned from somebody who was forgotten gets no traffic, and no engine loads it."""
    model = candidate(at.ground, PROJECT, b"learned from somebody")
    approve(at.ground, PROJECT, model)
    release(at.ground, model)
    _load(at, model.serving_digest)
    with at.ground.db.write() as tx:
        forgetting.revoke(tx, at.ground, by=SYSTEM, models=[model.id], versions=(), journey="")
    refused(lambda: release(at.ground, model), "what learned from somebody who was forgotten got traffic")
    refused(lambda: _load(at, model.serving_digest), "an engine loads what learned from who was forgotten")
    return "no traffic any more, and no engine loads it, signed as it is"


def _load(at: Scratch, digest: str) -> None:
    """What an engine asks before it loads anything, by the newest signed rules. Raises ModelRevoked."""
    with at.ground.db.read() as conn:
        envelope = publish.envelope_of(conn, publish.newest_ix(conn))
    rules = at.home.root / "rules-of-a-proof.json"
    write_atomically(rules, canonical(envelope))
    try:
        revoked.refuse(rules, at.ground.release_key.public_key(), digest)
    finally:
        rules.unlink()


def forgotten_person(at: Scratch) -> str:
    """Who was forgotten is found nowhere, and the same file does not bring them in again."""
    ground, subject = at.ground, at.ground.keyring.subject(PROJECT, _WHO)
    need(not _add(at), "somebody is left out who was never forgotten")
    need(not rows_of.found(ground, PROJECT, subject).nothing, "a person is not found by their rows")
    with ground.db.write() as tx:
        journey = forget.begin(tx, by=SYSTEM, project=PROJECT, subject=subject, request="a-proof")
    runner = Runner(ground, Config(), STORIES)
    while runner.advance(journey):
        pass
    with ground.db.read() as conn:
        states = {step.name: step.state for step in steps.step_states(conn, journey)}
    need(states[_ENOUGH] == "done", "a forgetting did not come to destroying anything")
    left_out = _add(at)
    need(left_out == {"forgotten": 1}, "the same file brings in again who was forgotten")
    need(rows_of.found(ground, PROJECT, subject).nothing, "who was forgotten is found by their rows")
    return "their rows and keys are gone, and the same file comes in without them"


def _add(at: Scratch) -> Mapping[str, int]:
    """The file as somebody adds it; the rows that are left out, by reason."""
    asked = Intake(
        name="letters",
        purposes=(PURPOSE,),
        basis="contract",
        sensitivity="Internal",
        owner="proofs",
        keep="P1Y",
        regions=("eu",),
        subject=("who",),
        text="said",
    )
    added = intake.add(
        at.ground, by=SYSTEM, project=PROJECT, request=asked, source=io.BytesIO(_ROWS), format="csv"
    )
    return added.left_out
