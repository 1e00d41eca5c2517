"""What is over goes: words and rows whose time has come, then what could open them, and that is certified.

::

    find ─> remove ─> destroy ─> check ─> certify

The clock begins it (`control.keeping`), for one project and one moment: whatever was over at that moment
goes, however long it takes. Nothing is taken back: what stops half way is gone on with, by this purge or
by the next one. The records of answers stay, and so do versions as digests: nothing that cites them breaks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.data import carried, holds, retention
from freehold.errors import NotFound, Tampered, Unavailable
from freehold.jobs import steps
from freehold.jobs.steps import Apply, Done, Moment, Outcome, Result, Step, Story, Waits, leave_as_it_is
from freehold.journeys import certificate
from freehold.ledger.record import record
from freehold.spec.figures import plural
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import journeys, purges

Row = Mapping[Any, Any]


class StillThere(Tampered):
    """something that is over is there still"""


class HeldMeanwhile(Unavailable):
    """a legal hold was placed or ended meanwhile"""


# -- beginning --------------------------------------------------------------------------------------


def begin(tx: Tx, *, by: Principal, project: str, at: int) -> str:
    """Begin to purge what was over at `at` in a project; the journey of it. One under way is joined."""
    if (there := under_way(tx.connection, project)) is not None:
        return there
    purge = new_id("prg")
    spec = {"purge": purge, "project": project, "at": at}
    journey = steps.begin(tx, PURGE, by=by, project=project, service=None, spec=spec)
    row = {"id": purge, "project": project, "journey": journey, "state": "begun", "left": "{}"}
    tx.execute(purges.insert().values(**row, due_at=at, begun_at=tx.at))
    record(tx, "purge.begun", by=by, object=purge, project=project, detail={"purge": purge, "due_at": at})
    return journey


def under_way(conn: sa.Connection, project: str) -> str | None:
    """The purge of a project that has not come to its end."""
    j = journeys.c
    query = sa.select(j.id).where(j.project == project, j.kind == PURGE.kind, j.state.in_(steps.ACTIVE))
    found: str | None = conn.scalar(query)
    return found


def failed_since(conn: sa.Connection, project: str, since: int) -> bool:
    """Whether one failed lately: the next one then waits a while."""
    j = journeys.c
    query = sa.select(j.id).where(j.project == project, j.kind == PURGE.kind, j.state == "failed")
    return conn.execute(query.where(j.ended_at >= since).limit(1)).first() is not None


def unfinished(conn: sa.Connection, project: str) -> bool:
    """Whether one stopped before all that it took away was destroyed: the next one does it."""
    p = purges.c
    query = sa.select(p.id).where(p.project == project, p.state != "begun", p.left != "{}")
    return conn.execute(query.limit(1)).first() is not None


def _row(moment: Moment) -> Row:
    with moment.ground.db.read() as conn:
        row = conn.execute(sa.select(purges).where(purges.c.journey == moment.journey.id)).mappings().first()
    if row is None:
        raise NotFound(kind="purge of journey", name=moment.journey.id)
    return row


def _move(tx: Tx, moment: Moment, row: Row, state: str, detail: Mapping[str, Any], **values: Any) -> None:
    """The next state of the purge, with its entry."""
    tx.execute(purges.update().where(purges.c.id == row["id"]).values(state=state, **values))
    _tell(tx, moment, row, state, detail)


def _tell(tx: Tx, moment: Moment, row: Row, word: str, detail: Mapping[str, Any]) -> None:
    record(
        tx,
        f"purge.{word}",
        by=moment.by,
        object=row["id"],
        project=row["project"],
        detail={"purge": row["id"], **detail},
    )


# -- find, remove -----------------------------------------------------------------------------------


def find(moment: Moment) -> Outcome:
    """Write down what is over, by rule: days, data sets, how much is held."""
    row = _row(moment)
    due = retention.due(moment.ground, row["project"], row["due_at"])
    words = [
        {"service": period.service, "purpose": period.purpose, "day": period.day, "keep": rule.keep}
        for period, rule in sorted(due.periods.items())
    ]
    data = [
        {"ref": version.ref, "digest": version.digest, "keep": version.declared.keep}
        for version in due.versions
    ]
    return Done(apply=lambda _tx: {"words": words, "data": data, "runs": len(due.runs), "held": due.held})


def remove(moment: Moment) -> Outcome:
    """Words go some thousand answers at a time, then the rows of data sets, with the list of what is left."""
    ground, row = moment.ground, _row(moment)
    with ground.db.read() as conn:
        held = holds.standing(conn, row["project"])  # before the look: one that comes after it is noticed
    due = retention.due(ground, row["project"], row["due_at"])
    with ground.db.read() as conn:
        ids = _some(conn, due, held)
    before = {"answers": moment.so_far.get("answers", 0), "words": moment.so_far.get("words", 0)}
    if len(ids) == retention.AT_ONCE:
        count = before["answers"] + len(ids)
        return Waits(
            because=f"the words of {plural(count, 'answer')} are gone, there are more",
            apply=_under(held, row, lambda tx: _without(tx, moment, row, ids, before)),
        )
    return Done(apply=_under(held, row, lambda tx: _last(tx, moment, row, due, ids, before)))


def _under(held: holds.Held, row: Row, apply: Apply) -> Apply:
    """Nothing goes by holds that are not those of this moment any more. Raises HeldMeanwhile."""

    def under(tx: Tx) -> Result:
        if holds.standing(tx.connection, row["project"]) != held:
            raise HeldMeanwhile(hint="it is looked at again")
        return apply(tx)

    return under


def _some(conn: sa.Connection, due: retention.Due, held: holds.Held) -> list[str]:
    ids: list[str] = []
    for period in sorted(due.periods):
        ids += retention.words_of(conn, period, held, retention.AT_ONCE - len(ids))
        if len(ids) == retention.AT_ONCE:
            break
    return ids


def _without(tx: Tx, moment: Moment, row: Row, ids: list[str], before: Result) -> dict[str, int]:
    """Without the words of these answers; how many were removed so far."""
    if not ids:
        return dict(before)
    parts = retention.remove_words(tx, ids)
    _tell(tx, moment, row, "words", {"answers": len(ids), "words": parts})
    return {"answers": before["answers"] + len(ids), "words": before["words"] + parts}


def _last(
    tx: Tx, moment: Moment, row: Row, due: retention.Due, ids: list[str], before: Result
) -> dict[str, Any]:
    said = _without(tx, moment, row, ids, before)
    keys: list[str] = []
    blobs: list[str] = []
    for version in due.versions:
        gone, objects = retention.expire(tx, version, by=moment.by)
        keys, blobs = keys + gone, blobs + objects
    keys += retention.unopened(tx.connection, due.periods) + retention.keys_of_runs(due.runs)
    detail = {**said, "versions": len(due.versions), "runs": len(due.runs)}
    left = json.dumps({"keys": keys, "blobs": blobs})
    _move(tx, moment, row, "removed", detail, left=left)
    return {**said, "versions": [version.ref for version in due.versions], "runs": len(due.runs)}


# -- destroy, check, certify ------------------------------------------------------------------------


def destroy(moment: Moment) -> Outcome:
    """Keys first, then objects; what an earlier purge that failed left behind goes with them."""
    ground, row = moment.ground, _row(moment)
    keys, blobs = _left(ground, row["project"])
    count = 0
    if keys:
        count = ground.keyring.destroy(keys)
    carried.keep(ground)  # what is over stays over in a restored backup, too
    for blob in blobs:
        ground.blobs.delete(blob)

    def apply(tx: Tx) -> Result:
        said = {"keys": len(keys), "objects": len(blobs), "left": count}
        _move(tx, moment, row, "destroyed", said)
        return said

    return Done(apply=apply)


def _left(ground: Ground, project: str) -> tuple[list[str], list[str]]:
    """Keys and objects that purges of a project have still to destroy."""
    with ground.db.read() as conn:
        query = sa.select(purges.c.left).where(purges.c.project == project)
        lists = [json.loads(text) for text in conn.scalars(query.where(purges.c.state != "begun"))]
    keys = {key for each in lists for key in each.get("keys", ())}
    blobs = {blob for each in lists for blob in each.get("blobs", ())}
    return sorted(ground.keyring.known(sorted(keys))), sorted(blobs)


def check(moment: Moment) -> Outcome:
    """Try what should not open, and look again for what was over. Raises StillThere."""
    ground, row = moment.ground, _row(moment)
    left = json.loads(row["left"])
    keys, blobs = left.get("keys", []), left.get("blobs", [])
    if ground.keyring.known(keys):
        raise StillThere(why="keys of what was over")
    if there := [blob for blob in blobs if _is_there(ground, blob)]:
        raise StillThere(why=f"{plural(len(there), 'object')} of what was over")
    due = retention.due(ground, row["project"], row["due_at"])
    gone = moment.results["remove"]["versions"]  # others may be due by now: a hold on them has ended
    if any(version.ref in gone for version in due.versions) or any(p.key in keys for p in due.periods):
        raise StillThere(why="rows of what was over")
    said = {"keys": len(keys), "objects": len(blobs), "versions": len(gone)}

    def apply(tx: Tx) -> Result:
        tx.execute(_done_with(row["project"]))
        _tell(tx, moment, row, "checked", said)
        return said

    return Done(apply=apply)


def _done_with(project: str) -> sa.Update:
    """Nothing is left to be destroyed, of those before it that failed neither: their lists go, too."""
    return purges.update().where(purges.c.project == project, purges.c.state != "begun").values(left="{}")


def _is_there(ground: Ground, blob: str) -> bool:
    try:
        ground.blobs.size(blob)
    except NotFound:
        return False
    return True


def certify(moment: Moment) -> Outcome:
    """Sign what was done. The write-ahead file is emptied first: deleted pages stand in it until then."""
    ground, row = moment.ground, _row(moment)
    if not ground.db.settle():
        return Waits(because="readers of the database are in the way of emptying its write-ahead file")
    made = certificate.of_purge(ground, row, moment.results)
    return Done(apply=lambda tx: certificate.issue(tx, made, by=moment.by))


PURGE = Story(
    kind="purge",
    steps=(
        Step(name="find", does="find what is over", do=find, undo=leave_as_it_is),
        Step(name="remove", does="take away words and rows", do=remove, undo=leave_as_it_is),
        Step(name="destroy", does="destroy the keys", do=destroy, undo=leave_as_it_is),
        Step(name="check", does="look for what is left", do=check, undo=leave_as_it_is),
        Step(name="certify", does="sign the certificate", do=certify, undo=leave_as_it_is),
    ),
)
