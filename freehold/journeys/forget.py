"""A person is forgotten: found, kept out, taken away, made unreadable, and that is certified.

::

    find ─> revoke ─> remove ─> destroy ─> rebuild (journeys.rebuild) ─> check ─> certify

From `revoke` on nothing learns from the person and no file brings them in again. `remove` puts chunks
without their rows in the place of those with them; `destroy` destroys the keys of what was replaced, by
changing the key that wraps all others. Nothing here is taken back: what stops half way is gone on with,
by the next forgetting of the same person where the journey itself has failed.

The journey's row names nobody. Whom it is about, as an HMAC, stands in `forgettings` until `check` has
looked for them everywhere, and is then no more. Ids are all that is kept of a person from then on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data import carried, holds, lineage, suppression
from freehold.data import forget as data
from freehold.data.promise import subject_key_name
from freehold.errors import BadInput, NotFound, Tampered, Unavailable
from freehold.jobs import outputs, queue, steps
from freehold.jobs.steps import Done, Moment, Outcome, Result, Step, Story, Waits, leave_as_it_is
from freehold.journeys import certificate, rebuild
from freehold.journeys.reach import reach
from freehold.journeys.rebuild import Rebuild
from freehold.ledger.record import record
from freehold.release import forgetting, silent
from freehold.release.publish import publish
from freehold.spec.figures import plural
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import forgettings, journeys, models, releases
from freehold.store.tables import jobs as jobs_table

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")

Row = Mapping[Any, Any]


class NoReference(BadInput):
    """`{request}` is no reference of a request"""


class LearnedMeanwhile(Unavailable):
    """another model learned from the person meanwhile"""


class StillThere(Tampered):
    """something of the person is there still"""


# -- beginning --------------------------------------------------------------------------------------


def begin(tx: Tx, *, by: Principal, project: str, subject: str, request: str) -> str:
    """Begin to forget a person (their HMAC); the journey that does it. One under way is joined.

    `request` is the reference of their request, such as `DSR-2026-118`. Raises NoReference, OnHold.
    """
    if not _REFERENCE.fullmatch(request):
        raise NoReference(
            request=request[:80], why="letters, digits and . _ / -, at most 64", hint="DSR-2026-118, say"
        )
    if (there := _under_way(tx.connection, project, subject)) is not None:
        return there
    holds.refuse_held(tx.connection, project, subject)
    forgetting_id = new_id("fgt")
    spec = {"forgetting": forgetting_id, "project": project, "request": request}
    journey = steps.begin(tx, FORGET, by=by, project=project, service=None, spec=spec)
    tx.execute(
        forgettings.insert().values(
            id=forgetting_id,
            project=project,
            journey=journey,
            request=request,
            subject=subject,
            state="asked",
            left="{}",
            asked_at=tx.at,
        )
    )
    detail = {"forgetting": forgetting_id, "request": request, "journey": journey}
    record(tx, "forgetting.asked", by=by, object=forgetting_id, project=project, detail=detail)
    return journey


def _under_way(conn: sa.Connection, project: str, subject: str) -> str | None:
    query = (
        sa.select(forgettings.c.journey)
        .join(journeys, journeys.c.id == forgettings.c.journey)
        .where(forgettings.c.project == project, forgettings.c.subject == subject)
        .where(journeys.c.state.in_(steps.ACTIVE))
    )
    found: str | None = conn.scalar(query)
    return found


def _row(conn: sa.Connection, journey: str) -> Row:
    row = conn.execute(sa.select(forgettings).where(forgettings.c.journey == journey)).mappings().first()
    if row is None:
        raise NotFound(kind="forgetting of journey", name=journey)
    return row


def _asked(moment: Moment) -> Row:
    with moment.ground.db.read() as conn:
        return _row(conn, moment.journey.id)


def _move(tx: Tx, moment: Moment, row: Row, state: str, detail: Mapping[str, Any], **values: Any) -> None:
    """The next state of the forgetting, with its entry."""
    tx.execute(forgettings.update().where(forgettings.c.id == row["id"]).values(state=state, **values))
    record(
        tx,
        f"forgetting.{state}",
        by=moment.by,
        object=row["id"],
        project=row["project"],
        detail={"forgetting": row["id"], **detail},
    )


# -- find, revoke -----------------------------------------------------------------------------------


def find(moment: Moment) -> Outcome:
    """Write down how far it reaches: counts and ids."""
    row = _asked(moment)
    found = reach(moment.ground, row["project"], row["subject"])
    return Done(apply=lambda _tx: {"columns": dict(found.columns)})


def revoke(moment: Moment) -> Outcome:
    """Mark the person; take back the models that learned from them; begin to make those in use anew."""
    ground, row = moment.ground, _asked(moment)
    mark = suppression.mark(ground.keyring, row["project"], row["subject"])
    found = reach(ground, row["project"], row["subject"])
    prepared = rebuild.prepare(ground, found.rebuilt)
    ids = [model.model for model in found.models]
    versions = [rows.version.id for rows in found.found.removed]

    def apply(tx: Tx) -> Result:
        _refuse_more(tx, row, versions, found.learned)
        _move(tx, moment, row, "marked", {}, mark=mark, marked_at=tx.at)
        again = rebuild.take_over(
            tx,
            by=moment.by,
            models=found.learned,
            forget=moment.journey.id,
            prepared=prepared,
            because=forgetting.WHY,
        )
        others = [one for one in prepared if one.service not in again.services]
        begun = rebuild.begin(
            tx, by=moment.by, prepared=others, project=row["project"], forget=moment.journey.id
        )
        did = forgetting.revoke(
            tx, ground, by=moment.by, models=ids, versions=versions, journey=moment.journey.id
        )
        return {
            "models": ids,
            "digests": list(did.digests),
            "services": dict(did.services),
            "stopped": [*did.stopped, *again.stopped],
            "rebuilds": [*begun, *again.begun],
            "snapshot": did.snapshot,
        }

    return Done(apply=apply)


def _refuse_more(tx: Tx, row: Row, versions: list[str], known: frozenset[str]) -> None:
    """A model that was registered since the look would be in no list. Raises LearnedMeanwhile."""
    now = forgetting.affected(tx.connection, row["project"], versions)
    if any(model.model not in known for model in now):
        raise LearnedMeanwhile(hint="it is looked at again")


# -- remove, destroy --------------------------------------------------------------------------------


def remove(moment: Moment) -> Outcome:
    """Chunks without the person's rows take the place of those with them; their words go."""
    row = _asked(moment)
    project, subject = row["project"], row["subject"]
    found = data.found(moment.ground, project, subject)
    relaid = data.relay(moment.ground, f"itk_{row['id']}", project, found.removed)

    def apply(tx: Tx) -> Result:
        did = data.remove(tx, relaid, by=moment.by, project=project, subject=subject, forgetting=row["id"])
        keys = did["keys"] + ([] if found.kept else [subject_key_name(project, subject)])
        left = json.dumps({"keys": keys, "blobs": did["blobs"]})
        detail = {"rows": did["rows"], "answers": did["answers"]}
        _move(tx, moment, row, "removed", detail, left=left)
        told = {name: did[name] for name in ("rows", "versions", "answers", "words")}
        return {**told, **_freed(tx, moment, did["incidents"])}

    return Done(apply=apply)


def destroy(moment: Moment) -> Outcome:
    """What could open what was taken away is no more: keys first, then the sealed objects.

    In this order a crash leaves objects that nobody can open, never a key without its loss.
    """
    ground, row = moment.ground, _asked(moment)
    with ground.db.read() as conn:
        whole = _whole(conn, moment, row)
        gone = _unused(conn, whole.models)
        turning = _active(conn, whole.stopped)
    if turning:
        return Waits(because=f"{turning} journeys that learned from the person are being stopped")
    jobs = _left_by_jobs(ground)
    keys = [*whole.keys, *jobs, *(f"model/{model}" for model in gone)]
    blobs = {*whole.blobs, *(blob for found in gone.values() for blob in found)}
    carried.keep(ground)  # what a restored backup cannot open from now on, before it cannot
    keys_left = ground.keyring.destroy(keys)
    carried.keep(ground)
    for blob in sorted(blobs):
        ground.blobs.delete(blob)

    def apply(tx: Tx) -> Result:
        since = data.remove_words(
            tx, by=moment.by, project=row["project"], subject=row["subject"], forgetting=row["id"]
        )
        said = {"keys": len(keys), "objects": len(blobs), "left": keys_left}
        for one in (*whole.earlier, row):
            _move(tx, moment, one, "destroyed", said, destroyed_at=tx.at)
        freed = _freed(tx, moment, since["incidents"])
        return {**said, "models": sorted(gone), "answers": since["answers"], **freed}

    return Done(apply=apply)


def _freed(tx: Tx, moment: Moment, incidents: int) -> Result:
    """Gateways hold no requests about the person back any more, and know of them no more: the snapshot."""
    return {"snapshot": publish(tx, moment.ground, by=moment.by)} if incidents else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """What is to be destroyed for a person: of this forgetting, and of earlier ones that stopped half way.

    What these took away is in no index any more, so nobody would find it again.
    """

    earlier: tuple[Row, ...]
    models: list[str]
    stopped: list[str]
    """Journeys that learned from the person."""
    keys: tuple[str, ...]
    blobs: tuple[str, ...]


def _whole(conn: sa.Connection, moment: Moment, row: Row) -> _Whole:
    f, j = forgettings.c, journeys.c
    query = sa.select(forgettings).join(journeys, j.id == f.journey).where(j.state.in_(steps.ENDED))
    query = query.where(f.project == row["project"], f.subject == row["subject"], f.id != row["id"])
    earlier = tuple(conn.execute(query.order_by(f.asked_at, f.id)).mappings())
    revoked = [moment.results["revoke"]]
    for one in earlier:
        results = {step.name: step.result for step in steps.step_states(conn, one["journey"])}
        revoked.append(results["revoke"])
    lists = [json.loads(one["left"]) for one in (*earlier, row)]
    return _Whole(
        earlier=earlier,
        models=sorted({model for each in revoked for model in each.get("models", ())}),
        stopped=sorted({journey for each in revoked for journey in each.get("stopped", ())}),
        keys=tuple(sorted({key for each in lists for key in each.get("keys", ())})),
        blobs=tuple(sorted({blob for each in lists for blob in each.get("blobs", ())})),
    )


def _active(conn: sa.Connection, stopped: list[str]) -> int:
    """How many of these journeys are not at their end."""
    query = sa.select(sa.func.count()).where(journeys.c.id.in_(stopped), journeys.c.state.in_(steps.ACTIVE))
    return int(conn.scalar(query) or 0)


def _left_by_jobs(ground: Ground) -> list[str]:
    """The keys of what jobs left whose journeys have ended; what they sealed is deleted.

    It is dropped anyway, sooner or later: here it goes with the old epoch key, for some of it learned from
    the person.
    """
    with ground.db.read() as conn:
        outputs.drop(ground, queue.of_ended_journeys(conn, steps.ENDED))
        known = sa.select(jobs_table.c.id).join(journeys, journeys.c.id == jobs_table.c.journey)
        ended = conn.scalars(known.where(journeys.c.state.in_(steps.ENDED))).all()
    names = [f"job/{job}" for job in ended]
    return sorted(ground.keyring.known(names))


def _unused(conn: sa.Connection, ids: list[str]) -> dict[str, list[str]]:
    """Of these models those that nobody is answered by any more, with their objects."""
    running = sa.select(releases.c.model).where(releases.c.model.in_(ids), releases.c.ended_at.is_(None))
    used = set(conn.scalars(running))
    rows = conn.execute(sa.select(models.c.id, models.c.files).where(models.c.id.in_(ids)))
    return {
        row.id: [str(file["blob"]) for file in json.loads(row.files).values()]
        for row in rows
        if row.id not in used
    }


# -- rebuild, check, certify --------------------------------------------------------------------------


def wait_for_rebuilds(moment: Moment) -> Outcome:
    """Until each model in use was made anew and measured, or is known not to come.

    Those, too, that an earlier forgetting asked for which stopped half way.
    """
    row = _asked(moment)
    with moment.ground.db.read() as conn:
        asked = (*_whole(conn, moment, row).earlier, row)
        made = _made_anew(rebuild.stands(conn, [one["journey"] for one in asked]))
    return made if isinstance(made, Waits) else Done(apply=lambda _tx: made)


def _made_anew(stands: Sequence[Rebuild]) -> Result | Waits:
    """What was made anew, once nothing of it has to be waited for."""
    waiting = [one for one in stands if not one.settled]
    if waiting:
        return Waits(because=f"{len(waiting)} of {len(stands)} models are still being made anew")
    return {"rebuilds": [_rebuilt(one) for one in stands]}


def _rebuilt(one: Rebuild) -> dict[str, Any]:
    return {
        "journey": one.journey,
        "model": one.model,
        "state": one.state,
        "rebuilt": one.rebuilt_ref,
        "serving_digest": one.serving_digest,
        "same": one.same,
        "passed": one.passed,
    }


def check(moment: Moment) -> Outcome:
    """Look for the person everywhere, and try what should not open. Raises StillThere.

    A model that a service keeps for a while (`on_forget: keep`) is waited for, and destroyed then. So are
    gateways: what they kept of answers goes when they hear of it; one that is silent gives it to nobody when
    its rules are too old.
    """
    ground, row = moment.ground, _asked(moment)
    with ground.db.read() as conn:
        whole = _whole(conn, moment, row)
        ids = whole.models
        gone, over = _unused(conn, ids), _over(conn, ids, ground.clock())
        told = (moment.results[step].get("snapshot", 0) for step in ("revoke", "remove", "destroy"))
        heard_of = max(map(int, told))
        behind = silent.behind(conn, heard_of, ground.clock())
    if behind:
        return Waits(because=f"{behind} gateways have not heard of it")
    if over:
        return Waits(
            because="the time of what services kept is over", apply=lambda tx: _end(tx, moment, over)
        )
    if len(gone) < len(ids):
        return Waits(
            because=f"{len(ids) - len(gone)} forgotten models are kept for a while by their services"
        )
    _destroy_late(ground, gone)
    looked = _look(ground, row, whole, gone)

    def apply(tx: Tx) -> Result:
        for one in (*whole.earlier, row):
            id = one["id"]
            tx.execute(forgettings.update().where(forgettings.c.id == id).values(subject=None, left="{}"))
            detail = {"forgetting": id, **looked}
            record(tx, "forgetting.checked", by=moment.by, object=id, project=row["project"], detail=detail)
        return looked

    return Done(apply=apply)


def _over(conn: sa.Connection, ids: list[str], now: int) -> list[str]:
    """Services that kept one of these models for as long as they may."""
    r = releases.c
    query = sa.select(r.service).where(r.model.in_(ids), r.ended_at.is_(None), r.until <= now)
    return sorted(set(conn.scalars(query)))


def _end(tx: Tx, moment: Moment, over: list[str]) -> Result:
    for service in over:
        forgetting.end_kept(tx, moment.ground, by=moment.by, service=service)
    return {}


def _destroy_late(ground: Ground, gone: Mapping[str, list[str]]) -> None:
    """Models that were kept for a while."""
    late = ground.keyring.known([f"model/{model}" for model in gone])
    if late:
        ground.keyring.destroy(sorted(late))
        carried.keep(ground)
    for blob in (blob for found in gone.values() for blob in found):
        ground.blobs.delete(blob)


def _look(ground: Ground, row: Row, whole: _Whole, gone: Mapping[str, list[str]]) -> dict[str, int]:
    """What was tried, counted. Raises StillThere."""
    project, subject = row["project"], row["subject"]
    found = data.found(ground, project, subject)
    keys = [*whole.keys, *(f"model/{model}" for model in gone)]
    blobs = [*whole.blobs, *(blob for each in gone.values() for blob in each)]
    if found.removed:
        raise StillThere(why=f"rows in {', '.join(each.version.ref for each in found.removed)}")
    if ground.keyring.known([key for key in keys if not key.startswith("subject/")]):
        raise StillThere(why="keys of what was replaced")
    if there := set(blobs).intersection(ground.blobs.list()):
        raise StillThere(why=f"of what was replaced, {plural(len(there), 'object')}")
    with ground.db.read() as conn:
        touched = data.with_holes(conn, project)
    for version in touched:
        lineage.check(ground, version)
    return {"keys": len(keys), "objects": len(blobs), "versions": len(touched)}


def certify(moment: Moment) -> Outcome:
    """Sign what was done. The write-ahead file is emptied first: deleted pages stand in it until then.

    What was made anew is looked at once more: while a model was kept, it may have been approved, or begun
    again for somebody else.
    """
    ground, row = moment.ground, _asked(moment)
    begun = [one["journey"] for one in moment.results["rebuild"]["rebuilds"]]
    with ground.db.read() as conn:
        anew = _made_anew(rebuild.stand_now(conn, begun))
    if isinstance(anew, Waits):
        return anew
    if not ground.db.settle():
        return Waits(because="readers of the database are in the way of emptying its write-ahead file")
    made = certificate.make(ground, row, {**moment.results, "rebuild": anew})
    return Done(apply=lambda tx: {**anew, **certificate.issue(tx, made, by=moment.by)})


FORGET = Story(
    kind="forget",
    steps=(
        Step(name="find", does="find the person", do=find, undo=leave_as_it_is),
        Step(name="revoke", does="take back what learned from them", do=revoke, undo=leave_as_it_is),
        Step(name="remove", does="take away rows and words", do=remove, undo=leave_as_it_is),
        Step(name="destroy", does="destroy the keys", do=destroy, undo=leave_as_it_is),
        Step(name="rebuild", does="make models anew", do=wait_for_rebuilds, undo=leave_as_it_is),
        Step(name="check", does="look for what is left", do=check, undo=leave_as_it_is),
        Step(name="certify", does="sign the certificate", do=certify, undo=leave_as_it_is),
    ),
)
