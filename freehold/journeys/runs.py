"""Runs: what was computed, on what, and what it cost in time and energy."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from freehold.jobs.queue import JobEnd
from freehold.jobs.steps import Apply, Moment, Result
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.plain import plain
from freehold.store.rows import Tx
from freehold.store.tables import runs

NO_END = JobEnd(state="cancelled")
"""What a run is closed with when its job never came to an end."""


def of(conn: sa.Connection, journey: str, kind: str) -> str | None:
    """The id of a journey's run of this kind."""
    return conn.scalar(sa.select(runs.c.id).where(runs.c.journey == journey, runs.c.kind == kind))


def begin(
    tx: Tx, moment: Moment, *, kind: str, spec: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a run down, in the transaction that asks for its job; beginning twice is beginning once."""
    journey = moment.journey
    if (there := of(tx.connection, journey.id, kind)) is not None:
        return {"run": there}
    run = new_id("run")
    number = int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(runs.c.number), 0))).scalar_one()) + 1
    spec_digest = digest(spec)
    tx.execute(
        runs.insert().values(
            id=run,
            number=number,
            project=journey.project,
            service=journey.service,
            journey=journey.id,
            kind=kind,
            state="running",
            spec=canonical(spec).decode(),
            spec_digest=spec_digest,
            data_version=data["id"],
            data_digest=data["digest"],
            metrics="{}",
            machine="{}",
            cpu_seconds=0.0,
            wall_seconds=0.0,
            watt_hours=0.0,
            started_at=tx.at,
        )
    )
    detail = {"run": run, "kind": kind, "spec": spec_digest, "data": data["digest"]}
    record(tx, "run.begun", by=moment.by, object=f"run:{number}", project=journey.project, detail=detail)
    return {"run": run, "number": number}


def end(
    tx: Tx,
    moment: Moment,
    *,
    run: str,
    state: str,
    job: JobEnd,
    metrics: Mapping[str, Any],
    model: str | None = None,
    because: str = "",
) -> dict[str, Any]:
    """Write down how it ended; ending twice is ending once. Energy is estimated until a meter is read."""
    row = tx.execute(sa.select(runs.c.number, runs.c.state).where(runs.c.id == run)).one()
    said = {"run": run, "number": row.number}
    if row.state != "running":
        return said
    values: dict[str, Any] = {
        "state": state,
        "metrics": canonical(plain(dict(metrics))).decode(),
        "machine": canonical(plain(_machine(job))).decode(),
        "cpu_seconds": job.cpu_seconds,
        "wall_seconds": job.wall_seconds,
        "watt_hours": watt_hours(job.cpu_seconds, moment.config.watts_per_core),
        "ended_at": tx.at,
    }
    if model is not None:
        values["model"] = model
    tx.execute(runs.update().where(runs.c.id == run).values(**values))
    detail: dict[str, Any] = {"run": run, "state": state, "model": model, "because": because}
    detail |= {"metrics": digest(plain(dict(metrics))), "walls": list(job.machine.get("walls", ()))}
    record(
        tx,
        "run.ended",
        by=moment.by,
        object=f"run:{row.number}",
        project=moment.journey.project,
        detail=detail,
    )
    return said


def close(moment: Moment, kind: str) -> Apply:
    """A run whose job nobody waits for any more has failed."""

    def apply(tx: Tx) -> Result:
        run = of(tx.connection, moment.journey.id, kind)
        if run is not None:
            ended = (moment.job.end if moment.job else None) or NO_END
            end(tx, moment, run=run, state="failed", job=ended, metrics={}, because="journey ended")
        return {}

    return apply


def watt_hours(cpu_seconds: float, watts_per_core: str) -> float:
    """Estimated energy: seconds a core was busy × the watts a busy core draws / 3600."""
    return float(Decimal(repr(cpu_seconds)) * Decimal(watts_per_core) / 3600)


def _machine(job: JobEnd) -> dict[str, Any]:
    return {**job.machine, "inputs": dict(job.inputs), "peak_bytes": job.peak_bytes}
