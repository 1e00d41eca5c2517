"""Forgetting again, in rows from before: whoever was forgotten since the backup is forgotten first.

The keys are gone already, for the keyring is today's. What is left to do is what rows still say: the
person's rows in versions, their words, the models that learned from them. It is the same journey that
did it then, taken from the beginning to `destroy`; the rest of it follows once Freehold runs.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from freehold.data import carried
from freehold.data.carried import Carried, Forgotten
from freehold.errors import Unavailable
from freehold.jobs import steps
from freehold.jobs.runner import Runner
from freehold.journeys import forget
from freehold.journeys.stories import STORIES
from freehold.ledger.record import record
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import forgettings

LAST = "destroy"
"""The step that has to be done before anybody may ask."""


class NotForgotten(Unavailable):
    """a forgetting could not be repeated"""


def reapply(ground: Ground, folder: Path, said: Carried) -> int:
    """Forget again whoever is in `said`; how many. Raises NotForgotten, and then nothing may open."""
    carried.store(ground, folder, said)
    with ground.db.write() as tx:
        over = carried.expire(tx, said)
        carried.relay(tx, said)
    for blob in over:
        ground.blobs.delete(blob)
    count = 0
    for one in said.forgettings:
        journey = _journey(ground, one)
        if journey is not None:
            _drive(ground, journey)
            count += 1
    with ground.db.write() as tx:  # not before: by the index the models are found that learned from them
        carried.unlist(tx, said)
    return count


def _journey(ground: Ground, one: Forgotten) -> str | None:
    """The journey that forgets this person here; None when they are forgotten, or nothing names them.

    One that had stopped half way when the backup was made is begun again, and takes along what it left.
    """
    with ground.db.read() as conn:
        row = conn.execute(sa.select(forgettings).where(forgettings.c.id == one.id)).mappings().first()
        subject = carried.whom(conn, ground.keyring, one)
        if row is not None and row["state"] == "destroyed":
            return None
        if row is not None and steps.find(conn, row["journey"]).state in steps.ACTIVE:
            return str(row["journey"])
    subject = subject or (row["subject"] if row is not None else None)
    with ground.db.write() as tx:
        if subject is None:
            _take_over(tx, one)
            return None
        return forget.begin(tx, by=SYSTEM, project=one.project, subject=subject, request=one.request)


def _take_over(tx: Tx, one: Forgotten) -> None:
    """Nothing here is about them yet; that they are kept out from now on is all there is to do."""
    row = {"id": one.id, "project": one.project, "journey": one.journey, "request": one.request}
    at = {"asked_at": tx.at, "marked_at": tx.at, "destroyed_at": tx.at}
    tx.execute(forgettings.insert().values(**row, **at, mark=one.mark, state="destroyed", left="{}"))
    asked: dict[str, object] = {"request": one.request, "journey": one.journey}
    said: dict[str, dict[str, object]] = {
        "asked": asked,
        "marked": {},
        "removed": {"rows": 0, "answers": 0},
        "destroyed": {"keys": 0, "objects": 0, "left": 0},
        "checked": {"keys": 0, "objects": 0, "versions": 0},
    }
    for word, detail in said.items():
        record(
            tx,
            f"forgetting.{word}",
            by=SYSTEM,
            object=one.id,
            project=one.project,
            detail={"forgetting": one.id, **detail},
        )


def _drive(ground: Ground, journey: str) -> None:
    runner = Runner(ground, Config(), STORIES)
    while not _done(ground, journey):
        if not (runner.advance(journey) or _turned(runner, ground)):
            with ground.db.read() as conn:
                now = steps.find(conn, journey)
            raise NotForgotten(
                why=f"{now.state}: {now.because}", hint="the backup stays as it is: nothing was restored"
            )


def _turned(runner: Runner, ground: Ground) -> bool:
    """Whether a journey that was turned round, because it learned from the person, went a step back."""
    with ground.db.read() as conn:
        turning = [id for id in steps.active(conn) if steps.find(conn, id).state not in steps.FORWARD]
    return sum(runner.advance(id) for id in turning) > 0


def _done(ground: Ground, journey: str) -> bool:
    with ground.db.read() as conn:
        return any(step.name == LAST and step.state == "done" for step in steps.step_states(conn, journey))
