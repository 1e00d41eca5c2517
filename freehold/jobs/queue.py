"""The queue of compute: asked for by a step, claimed by a worker, ended once.

A claim raises the job's fence. Whoever lost the job meanwhile (its worker slept, or the network did)
comes back with a lower number and is turned away: beats, outputs and endings count only with the
current one.

::

    queued ──> claimed ──> done | failed
       │          └──(no beat for 30 s)──> queued, at most three times
       └──> cancelled
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.plain import plain, unplain
from freehold.spec.principal import SYSTEM, Principal
from freehold.store.rows import Database, Tx
from freehold.store.tables import job_beats, jobs, journeys

LOST_AFTER = 30.0
"""Seconds without a sign of life after which another worker may take the job."""
ATTEMPTS = 3
MOST_POINTS = 400
"""Of the curve of a job under way; then every second point goes."""
DIED = {
    "code": "worker-lost",
    "what": f"the job was begun {ATTEMPTS} times and its worker died each time",
    "why": "most likely the machine has too little memory for it",
    "hint": "lower `memory` in the service file, or use a larger machine",
}
"""How it fails when every attempt was killed."""


class FenceLost(Conflict):
    """the job `{job}` is no longer yours"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """One file the job gets."""

    path: str
    """Below `inputs/`."""
    source: str
    """Where control takes it from, such as `data:dv_…:claims-handling` or `output:job_…:model/model.onnx`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a step asks a worker to compute."""

    kind: str
    """Which entry: `train` or `evaluate`."""
    spec: Mapping[str, Any]
    """What the entry is asked; canonical, so without floats."""
    inputs: tuple[JobInput, ...]
    memory: int
    """Bytes."""
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job ended, what it left and what it used."""

    state: str
    """done | failed | cancelled."""
    result: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """path -> {digest, bytes, blob}"""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """path -> {digest, bytes, rows, left_out}: exactly what it saw."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as its row says."""

    id: str
    journey: str
    step: str
    kind: str
    state: str
    fence: int
    worker: str | None
    request: JobRequest
    end: JobEnd | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The last sign of life of a job."""

    progress: Mapping[str, Any]
    seen_at: int
    curve: tuple[tuple[str, str], ...] = ()
    """(step, loss) as the beats told them; what the job leaves at its end is finer."""


# -- asking -----------------------------------------------------------------------------------------


def enqueue(tx: Tx, *, by: Principal, journey: str, step: str, request: JobRequest) -> str:
    """Ask for compute; the same step asks once, a repeat returns the job that is there."""
    there = _of_step(tx.connection, journey, step)
    if there is not None:
        return there.id
    job = new_id("job")
    body = asdict(request)
    tx.execute(
        jobs.insert().values(
            id=job,
            journey=journey,
            step=step,
            kind=request.kind,
            spec=canonical(body).decode(),
            state="queued",
            fence=0,
            attempts=0,
            result="{}",
            because="",
            created_at=tx.at,
        )
    )
    detail = {"job": job, "kind": request.kind, "spec": digest(body)}
    record(tx, "job.queued", by=by, object=job, project=_project(tx, journey), detail=detail)
    return job


def of_step(conn: sa.Connection, journey: str, step: str) -> Job | None:
    """The job that a step asked for."""
    return _of_step(conn, journey, step)


def of_ended_journeys(
    conn: sa.Connection, ended: Sequence[str], of: Collection[str] | None = None
) -> list[Job]:
    """Jobs that are done, of journeys in one of the states `ended`; only of those named in `of`."""
    query = (
        sa.select(jobs)
        .join(journeys, journeys.c.id == jobs.c.journey)
        .where(jobs.c.state == "done", journeys.c.state.in_(ended))
    )
    if of is not None:
        query = query.where(journeys.c.id.in_(of))
    return [_job(row) for row in conn.execute(query).mappings()]


def find(conn: sa.Connection, job: str) -> Job:
    """A job by id. Raises NotFound."""
    row = conn.execute(sa.select(jobs).where(jobs.c.id == job)).mappings().first()
    if row is None:
        raise NotFound(kind="job", name=job[:80])
    return _job(row)


def cancel(tx: Tx, *, by: Principal, job: str, because: str) -> None:
    """Nobody needs it any more: a queued one is not begun, a claimed one is stopped at its next beat."""
    changed = tx.execute(
        jobs.update()
        .where(jobs.c.id == job, jobs.c.state.in_(("queued", "claimed")))
        .values(state="cancelled", because=because, ended_at=tx.at)
    )
    if changed.rowcount:
        now = find(tx.connection, job)
        detail = {"job": job, "state": "cancelled", "fence": now.fence, "because": because}
        record(tx, "job.ended", by=by, object=job, project=_project(tx, now.journey), detail=detail)


# -- working ----------------------------------------------------------------------------------------


def claim(db: Database, *, by: Principal, worker: str, kinds: Sequence[str]) -> Job | None:
    """The oldest job of these kinds that waits, now yours; none when there is none.

    A worker that asks has nothing: what it held (it died, or our last answer was lost) is queued again.
    """
    _take_from(db, worker)
    with db.read() as conn:
        waiting = conn.scalar(
            sa.select(jobs.c.id)
            .where(jobs.c.state == "queued", jobs.c.kind.in_(kinds))
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(1)
        )
    if waiting is None:
        return None
    with db.write() as tx:
        return _take(tx, by, str(waiting), worker)


def _take(tx: Tx, by: Principal, job: str, worker: str) -> Job | None:
    taken = tx.execute(
        jobs.update()
        .where(jobs.c.id == job, jobs.c.state == "queued")
        .values(
            state="claimed",
            worker=worker,
            fence=jobs.c.fence + 1,
            attempts=jobs.c.attempts + 1,
            claimed_at=tx.at,
        )
    )
    if not taken.rowcount:
        return None  # somebody was quicker
    now = find(tx.connection, job)
    seen = {"fence": now.fence, "progress": "{}", "seen_at": tx.at}  # its curve stays: it may be gone on with
    if not tx.execute(job_beats.update().where(job_beats.c.job == job).values(seen)).rowcount:
        tx.execute(job_beats.insert().values(job=job, curve="[]", **seen))
    detail = {"job": job, "worker": worker, "fence": now.fence}
    record(tx, "job.claimed", by=by, object=job, project=_project(tx, now.journey), detail=detail)
    return now


def beat(db: Database, *, job: str, fence: int, progress: Mapping[str, Any]) -> bool:
    """Say that it is being worked on and how far it is; False means: stop, it is no longer yours."""
    with db.write() as tx:
        if not _is_current(find(tx.connection, job), fence):
            return False
        mine = job_beats.c.job == job
        before = tx.execute(sa.select(job_beats.c.curve).where(mine)).scalar_one()
        tx.execute(
            job_beats.update()
            .where(mine)
            .values(
                progress=canonical(plain(dict(progress))).decode()[:2000],
                curve=_grown(before, progress),
                fence=fence,
                seen_at=tx.at,
            )
        )
    return True


def _grown(before: str, progress: Mapping[str, Any]) -> str:
    """The curve with what was just told; begun again further back, it goes on from there."""
    step, loss = progress.get("step"), progress.get("loss")
    if not (isinstance(step, int) and isinstance(loss, int | float) and math.isfinite(loss)):
        return before
    points = [point for point in json.loads(before) if int(point[0]) < step]
    if len(points) >= MOST_POINTS:
        points = points[::2]
    return json.dumps([*points, [str(step), f"{loss:.6g}"]], separators=(",", ":"))


def check_fence(conn: sa.Connection, job: str, fence: int) -> Job:
    """The job, when the fence is the current one. Raises FenceLost."""
    now = find(conn, job)
    if not _is_current(now, fence):
        raise FenceLost(
            job=job, why=f"it is {now.state}, and its fence is {now.fence}, yours {fence}", hint="drop it"
        )
    return now


def end(tx: Tx, *, by: Principal, job: str, fence: int, end: JobEnd) -> None:
    """End it, once; saying it again with the same fence is fine. Raises FenceLost."""
    now = find(tx.connection, job)
    if now.fence == fence and now.state == end.state:
        return  # our last answer was lost on its way
    check_fence(tx.connection, job, fence)
    because = str(end.failure.get("code", ""))
    tx.execute(
        jobs.update()
        .where(jobs.c.id == job)
        .values(state=end.state, result=_packed(end), because=because, ended_at=tx.at)
    )
    result = digest(plain(dict(end.result)))
    detail = {"job": job, "state": end.state, "fence": fence, "because": because, "result": result}
    record(tx, "job.ended", by=by, object=job, project=_project(tx, now.journey), detail=detail)


def give_back(tx: Tx, *, by: Principal, job: str, fence: int, killed: bool = False) -> None:
    """The worker is leaving, or the job's process was killed: somebody may have it at once.

    Killed three times, it has failed. Raises FenceLost.
    """
    now = check_fence(tx.connection, job, fence)
    begun = tx.execute(sa.select(jobs.c.attempts).where(jobs.c.id == job)).scalar_one()
    if killed and begun >= ATTEMPTS:
        end(tx, by=by, job=job, fence=fence, end=JobEnd(state="failed", failure=DIED))
        return
    _requeue(tx, by, now, "job killed" if killed else "worker left")


def take_back_lost(db: Database) -> int:
    """Queue again what nobody gave a sign of for 30 s, or fail it after three workers; how many."""
    with db.read() as conn:
        since = db.clock() - int(LOST_AFTER * 1_000_000)
        lost = conn.scalars(
            sa.select(jobs.c.id)
            .join(job_beats, job_beats.c.job == jobs.c.id)
            .where(jobs.c.state == "claimed", job_beats.c.seen_at < since)
        ).all()
    for job in lost:
        with db.write() as tx:
            _take_back(tx, str(job), since)
    return len(lost)


def _take_from(db: Database, worker: str) -> None:
    with db.read() as conn:
        held = conn.scalars(
            sa.select(jobs.c.id).where(jobs.c.state == "claimed", jobs.c.worker == worker)
        ).all()
    for job in held:
        with db.write() as tx:
            _take_back(tx, str(job), since=tx.at + 1)


def _take_back(tx: Tx, job: str, since: int) -> None:
    now = find(tx.connection, job)
    seen = tx.execute(
        sa.select(job_beats.c.seen_at, jobs.c.attempts).join(jobs).where(jobs.c.id == job)
    ).one()
    if now.state != "claimed" or seen.seen_at >= since:
        return  # it came back meanwhile
    if seen.attempts < ATTEMPTS:
        _requeue(tx, SYSTEM, now, "worker lost")
        return
    end(tx, by=SYSTEM, job=job, fence=now.fence, end=JobEnd(state="failed", failure=DIED))


def _requeue(tx: Tx, by: Principal, now: Job, because: str) -> None:
    tx.execute(
        jobs.update()
        .where(jobs.c.id == now.id, jobs.c.fence == now.fence)
        .values(state="queued", worker=None, fence=jobs.c.fence + 1)
    )
    detail = {"job": now.id, "state": "queued", "fence": now.fence, "because": because}
    record(tx, "job.ended", by=by, object=now.id, project=_project(tx, now.journey), detail=detail)


def last_sign(conn: sa.Connection, job: str) -> Sign | None:
    """How far a job is."""
    row = conn.execute(sa.select(job_beats).where(job_beats.c.job == job)).mappings().first()
    if row is None:
        return None
    curve = tuple((str(step), str(loss)) for step, loss in json.loads(row["curve"]))
    return Sign(progress=unplain(json.loads(row["progress"])), seen_at=row["seen_at"], curve=curve)


# -- rows -------------------------------------------------------------------------------------------


def _project(tx: Tx, journey: str) -> str | None:
    return tx.execute(sa.select(journeys.c.project).where(journeys.c.id == journey)).scalar()


def _is_current(now: Job, fence: int) -> bool:
    return now.state == "claimed" and now.fence == fence


def _of_step(conn: sa.Connection, journey: str, step: str) -> Job | None:
    row = (
        conn.execute(sa.select(jobs).where(jobs.c.journey == journey, jobs.c.step == step)).mappings().first()
    )
    return _job(row) if row else None


def _job(row: Mapping[Any, Any]) -> Job:
    names = ("id", "journey", "step", "kind", "state", "fence", "worker")
    return Job(
        **{name: row[name] for name in names},
        request=read_request(json.loads(row["spec"])),
        end=JobEnd(**unplain(json.loads(row["result"]))) if row["result"] != "{}" else _without_end(row),
    )


def _without_end(row: Mapping[Any, Any]) -> JobEnd | None:
    return JobEnd(state="cancelled") if row["state"] == "cancelled" else None


def read_request(said: Mapping[str, Any]) -> JobRequest:
    """A request from its plain form."""
    inputs = tuple(JobInput(**one) for one in said["inputs"])
    return JobRequest(**{**said, "inputs": inputs})


def _packed(end: JobEnd) -> str:
    return canonical(plain(asdict(end))).decode()
