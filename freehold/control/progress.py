"""How far journeys are, what runs cost, and how the house stands: reading only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from freehold import __version__
from freehold.control import abtest, controls, keeping
from freehold.control.parts import Parts
from freehold.control.trusting import ending
from freehold.errors import NotFound
from freehold.jobs import queue, steps
from freehold.jobs.steps import Journey, StepState
from freehold.journeys.stories import STORIES
from freehold.release import arms, shadows
from freehold.release.publish import newest_ix
from freehold.release.views import SERVING, silent
from freehold.store.lock import is_marked
from freehold.store.tables import (
    approvals,
    cards,
    entries,
    gateways,
    incidents,
    jobs,
    journeys,
    ledger,
    models,
    outbox,
    releases,
    runs,
    services,
)

Projects = Collection[str] | None
"""The projects somebody may see; none means every one."""

DAY = 86_400_000_000
SILENT_AFTER = 10_000_000
"""Microseconds without news from a gateway after which it is said to be silent."""
UNPLACED_AFTER = 5_000_000
"""Microseconds an entry may wait for its place in the ledger before that is said."""


# -- journeys ---------------------------------------------------------------------------------------


def journey(conn: sa.Connection, id: str, at: int) -> dict[str, Any]:
    """One journey with its steps. Raises NotFound."""
    now = steps.find(conn, id)
    states = steps.step_states(conn, id)
    return {
        **_head(now),
        "submitted_by": now.submitted_by,
        "steps": [_step(conn, now, state, states) for state in states],
        "waits_for": _waiting_approvals(conn, id),
        **_made(conn, id),
        "seconds": round(((now.ended_at or at) - now.created_at) / 1_000_000, 1),
    }


def listed(conn: sa.Connection, projects: Projects, *, limit: int = 100) -> list[dict[str, Any]]:
    """Journeys, the newest first."""
    query = sa.select(journeys).order_by(journeys.c.created_at.desc(), journeys.c.id.desc()).limit(limit)
    if projects is not None:
        query = query.where(journeys.c.project.in_(projects))
    return [_head(steps.as_journey(row)) for row in conn.execute(query).mappings()]


def _head(now: Journey) -> dict[str, Any]:
    return {
        "id": now.id,
        "kind": now.kind,
        "project": now.project,
        "service": now.service,
        "state": now.state,
        "because": now.because,
        "until": now.until,
        "spec": now.spec_digest,
        "created_at": now.created_at,
        "ended_at": now.ended_at,
    }


def _step(conn: sa.Connection, now: Journey, state: StepState, states: list[StepState]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": state.name,
        "does": STORIES[now.kind].step(state.name).does if now.kind in STORIES else "",
        "state": state.state,
        "because": state.because,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "result": {name: value for name, value in state.result.items() if name != "before"},
    }
    first = next((s.name for s in states if s.state not in ("done", "undone")), None)
    if state.name == first and now.state == "running":
        job = queue.of_step(conn, now.id, state.name)
        if job is not None or state.state == "todo":
            told["state"] = "running"
        if job is not None:
            sign = queue.last_sign(conn, job.id)
            told["progress"] = dict(sign.progress) if sign else {}
            told["job"] = {"id": job.id, "state": job.state, "worker": job.worker}
    return told


def _waiting_approvals(conn: sa.Connection, id: str) -> list[dict[str, str]]:
    query = sa.select(approvals.c.id, approvals.c.role).where(
        approvals.c.journey == id, approvals.c.state == "waiting"
    )
    return [{"approval": row.id, "role": row.role} for row in conn.execute(query.order_by(approvals.c.id))]


def _made(conn: sa.Connection, id: str) -> dict[str, Any]:
    """The runs, the model and the card that came of it."""
    made = conn.execute(
        sa.select(runs.c.number, runs.c.kind, runs.c.state)
        .where(runs.c.journey == id)
        .order_by(runs.c.number)
    ).all()
    card = conn.execute(
        sa.select(cards.c.id, cards.c.passed).join(runs, runs.c.id == cards.c.run).where(runs.c.journey == id)
    ).first()
    model = conn.execute(
        sa.select(models.c.name, models.c.version, models.c.state)
        .join(runs, runs.c.id == models.c.run)
        .where(runs.c.journey == id)
    ).first()
    return {
        "runs": [{"run": f"run:{row.number}", "kind": row.kind, "state": row.state} for row in made],
        "model": f"{model.name}@{model.version}" if model else None,
        "model_state": model.state if model else None,
        "card": card.id if card else None,
        "passed": card.passed if card else None,
    }


# -- runs -------------------------------------------------------------------------------------------


def listed_runs(
    conn: sa.Connection, projects: Projects, *, limit: int = 100, before: int | None = None
) -> list[dict[str, Any]]:
    """Runs, the newest first, those before a number; without their specifications and their curves."""
    query = sa.select(runs).order_by(runs.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(runs.c.number < before)
    if projects is not None:
        query = query.where(runs.c.project.in_(projects))
    found = [_run(row) for row in conn.execute(query).mappings()]
    for one in found:
        one["metrics"].pop("curve", None)  # up to 2,000 points each
    return found


def run(conn: sa.Connection, name: str) -> dict[str, Any]:
    """One run in full, by number (`12`, `run:12`) or id. Raises NotFound."""
    number = name.removeprefix("run:")
    where = runs.c.number == int(number) if number.isdecimal() and len(number) < 10 else runs.c.id == name
    row = conn.execute(sa.select(runs).where(where)).mappings().first()
    if row is None:
        raise NotFound(kind="run", name=name[:80], hint="`freehold runs` lists them")
    card = conn.execute(sa.select(cards.c.id, cards.c.passed).where(cards.c.run == row["id"])).first()
    told = _run(row)
    now = _now(conn, told)
    if now is not None and now.curve:
        told["metrics"]["curve"] = [list(point) for point in now.curve]
    return {
        **told,
        "progress": dict(now.progress) if now is not None else {},
        "spec": json.loads(row["spec"]),
        "machine": json.loads(row["machine"]),
        "card": card.id if card else None,
        "passed": card.passed if card else None,
    }


def _now(conn: sa.Connection, run: Mapping[str, Any]) -> queue.Sign | None:
    """What the job of a run under way last said of itself."""
    if run["state"] != "running" or not run["journey"]:
        return None
    job = queue.of_step(conn, run["journey"], run["kind"])
    return queue.last_sign(conn, job.id) if job is not None else None


def _run(row: Mapping[Any, Any]) -> dict[str, Any]:
    plain = ("id", "project", "service", "journey", "kind", "state", "spec_digest", "data_digest", "model")
    return {
        "run": f"run:{row['number']}",
        **{name: row[name] for name in plain},
        "metrics": json.loads(row["metrics"]),
        "cpu_seconds": round(row["cpu_seconds"], 3),
        "wall_seconds": round(row["wall_seconds"], 3),
        "watt_hours": round(row["watt_hours"], 6),
        "energy": "estimated",
        "started_at": row["started_at"],
        "ended_at": row["ended_at"],
    }


# -- the house --------------------------------------------------------------------------------------


def status(parts: Parts, projects: Projects, watched: Projects = None) -> dict[str, Any]:
    """What runs, what waits, what is wrong. `watched` are the projects whose incidents are counted."""
    ground = parts.ground
    at = ground.clock()
    with ground.db.read() as conn:
        house = {
            "version": __version__,
            "origin": ground.origin,
            "services": _services(conn, projects),
            "journeys": [j for j in listed(conn, projects) if j["state"] in steps.ACTIVE],
            "approvals_waiting": _count(conn, approvals, approvals.c.state == "waiting"),
            "incidents_open": _open(conn, watched),
            "jobs": {state: _count(conn, jobs, jobs.c.state == state) for state in ("queued", "claimed")},
            "gateways": [_gateway(row, at) for row in conn.execute(sa.select(gateways)).mappings()],
            "snapshot": newest_ix(conn),
            "ledger": _ledger(conn, parts, at),
            "alarms": _alarms(conn, at),
        }
        missed = parts.objectives.missed(conn, at, projects)
        failed = [one.control for one in controls.latest(conn) if one.passed is False]
    house["disk"] = keeping.forecast(parts)
    house["processes"] = processes(parts)
    about = (
        _refused(parts),
        _unwatched(parts),
        _unproved(parts),
        _unheld(failed),
        _missed(missed),
        _untrusted(parts, at),
    )
    house["wrong"] = [*_wrong(house), *(said for one in about for said in one)]
    return house


def _count(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    return int(conn.scalar(sa.select(sa.func.count()).select_from(table).where(where)) or 0)


def _open(conn: sa.Connection, projects: Projects) -> int:
    """How many incidents nobody looks into yet."""
    where = incidents.c.state == "open"
    return _count(conn, incidents, where if projects is None else where & incidents.c.project.in_(projects))


def _services(conn: sa.Connection, projects: Projects) -> list[dict[str, Any]]:
    live = sa.select(releases.c.service, releases.c.serving_digest, models.c.name, models.c.version)
    live = live.outerjoin(models, models.c.id == releases.c.model).where(releases.c.state == "live")
    answers_with = {row.service: row for row in conn.execute(live)}
    answering = set(conn.scalars(sa.select(releases.c.service).where(releases.c.state.in_(SERVING))))
    query = sa.select(services).order_by(services.c.name)
    if projects is not None:
        query = query.where(services.c.project.in_(projects))
    return [
        _service(row, answers_with.get(row["name"]), row["name"] in answering)
        for row in conn.execute(query).mappings()
    ]


def _service(row: Mapping[Any, Any], live: Any, answering: bool) -> dict[str, Any]:
    told = {name: row[name] for name in ("name", "project", "kind", "tier", "state")}
    told["silent"] = silent(row, answering)
    model = f"{live.name}@{live.version}" if live is not None and live.name else None
    return {**told, "model": model, "serving_digest": live.serving_digest if live is not None else None}


def traffic(conn: sa.Connection, service: Mapping[str, Any]) -> dict[str, Any]:
    """One service: its releases with share and answers by ending, its shadow and its A/B test, what is under
    way."""
    name = service["name"]
    ended = arms.totals(conn, name)
    laid = shadows.of_service(conn, name)
    query = (
        sa.select(releases.c.id, releases.c.state, releases.c.weight, models.c.name, models.c.version)
        .select_from(releases.outerjoin(models, models.c.id == releases.c.model))
        .where(releases.c.id.in_(ended))
        .order_by(releases.c.created_at)
    )
    under_way = sa.select(journeys).where(journeys.c.service == name, journeys.c.state.in_(steps.ACTIVE))
    running = [
        {
            "release": row.id,
            "state": row.state,
            "weight": row.weight,
            "model": f"{row.name}@{row.version}" if row.name else None,
            "answers": ended[row.id],
        }
        for row in conn.execute(query)
    ]
    return {
        **{one: service[one] for one in ("name", "project", "tier", "state")},
        "silent": silent(service, any(one["state"] in SERVING for one in running)),
        "running": running,
        "shadow": laid.as_json() if laid else None,
        "abtest": abtest.of_service(conn, service),
        "journeys": [_under_way(conn, steps.as_journey(row)) for row in conn.execute(under_way).mappings()],
    }


def _under_way(conn: sa.Connection, now: Journey) -> dict[str, Any]:
    """A journey with the step it is at."""
    todo = next((s for s in steps.step_states(conn, now.id) if s.state not in ("done", "undone")), None)
    at = {"step": todo.name, "because": todo.because} if todo else {"step": "", "because": ""}
    return {"id": now.id, "kind": now.kind, "state": now.state, **at}


def _gateway(row: Mapping[Any, Any], at: int) -> dict[str, Any]:
    return {
        "id": row["id"],
        "applied": row["applied"],
        "engines": json.loads(row["engines"]),
        "troubles": json.loads(row["troubles"]),
        "seconds_ago": round((at - row["seen_at"]) / 1_000_000, 1),
    }


def _ledger(conn: sa.Connection, parts: Parts, at: int) -> dict[str, Any]:
    last = conn.scalar(sa.select(sa.func.max(ledger.c.ix)))
    first = sa.select(outbox.c.id).order_by(outbox.c.turn).limit(1).scalar_subquery()
    oldest = conn.scalar(sa.select(entries.c.at).where(entries.c.id == first))  # of few, not of all there are
    problem = parts.sequencer.problem
    return {
        "entries": 0 if last is None else last + 1,
        "waiting_since_seconds": round((at - oldest) / 1_000_000, 1) if oldest else 0.0,
        "problem": str(problem) if problem else "",
        "anchored": asdict(parts.anchored) if parts.anchored.place else None,
    }


def processes(parts: Parts) -> list[dict[str, Any]]:
    """What the supervisors that live wrote down; one that was killed says nothing of how its parts are."""
    every: list[dict[str, Any]] = []
    for written in sorted(parts.home.control.glob("processes*.json")):
        if not is_marked(written.with_name(written.name.replace("processes", "addresses"))):
            continue
        with contextlib.suppress(OSError, ValueError):
            every += json.loads(written.read_text())
    return every


def _wrong(house: Mapping[str, Any]) -> list[str]:
    """Everything a person should look at, in one sentence each."""
    wrong = []
    near = [g for g in house["gateways"] if g["seconds_ago"] <= SILENT_AFTER / 1_000_000]
    if house["gateways"] and not near:
        silent = min(g["seconds_ago"] for g in house["gateways"])
        wrong.append(f"no gateway has reported for {silent:.0f} s")
    for gateway in near:
        wrong += [f"gateway {gateway['id']}: {_trouble(t)}" for t in gateway["troubles"]]
        if gateway["applied"] > house["snapshot"]:
            wrong.append(
                f"gateway {gateway['id']} goes by snapshot {gateway['applied']}, which this control never "
                "published: it takes no rules from here; stop it, remove the folder `snapshot` of its "
                "serving folder, start it"
            )
        for digest, word in gateway["engines"].items():
            if word not in ("ready", "starting"):
                wrong.append(f"engine {digest[:19]}…: {word}")
    if house["ledger"]["problem"]:
        wrong.append(house["ledger"]["problem"])
    elif house["ledger"]["waiting_since_seconds"] > UNPLACED_AFTER / 1_000_000:
        wrong.append(f"entries wait for their place since {house['ledger']['waiting_since_seconds']:.0f} s")
    wrong += [f"{p['name']}: {p['because']}" for p in house["processes"] if p.get("because")]
    wrong += [_alarm(kind, count) for kind, count in house["alarms"].items()]
    wrong += [f"{one['name']} answers nobody: {one['silent']}" for one in house["services"] if one["silent"]]
    return wrong


def _refused(parts: Parts) -> list[str]:
    """That gateways' records are not taken in, when they are not."""
    if (since := parts.intake.refused_since) is None:
        return []
    said = {"since": since, "why": parts.intake.why, "hint": parts.intake.hint}
    said["what"] = "no records of answers are taken in"
    said["lost"] = "nothing is lost: gateways answer on, and their records wait in their spools"
    return [_trouble(said)]


def _unwatched(parts: Parts) -> list[str]:
    """That nobody looks at who asks, when nobody can."""
    if (since := parts.watching.failing_since) is None:
        return []
    said = {"since": since, "why": f"the last look failed ({parts.watching.why})"}
    said["what"] = "who asks is not watched"
    said["lost"] = "records are taken in, and rules under `watch:` find nobody"
    said["hint"] = "the log of control says more; it ends with the next look that succeeds"
    return [_trouble(said)]


def _unproved(parts: Parts) -> list[str]:
    """That the ledger did not verify when control looked last, and what else waits for somebody."""
    wrong = [f"the ledger does not verify: {parts.checked.because}"] if parts.checked.because else []
    because = parts.anchored.because
    wrong += [f"no checkpoint is anchored: {because}"] if because else []
    return wrong + ([f"nothing is purged: {parts.doubt.because}"] if parts.doubt.because else [])


def _unheld(failed: list[str]) -> list[str]:
    """That controls did not hold when they were last tried."""
    names, they = ", ".join(failed), "does" if len(failed) == 1 else "do"
    return [f"{names} {they} not hold: `freehold doctor --last` shows what was seen"] if failed else []


def _missed(missed: Mapping[str, list[str]]) -> list[str]:
    """That services do not keep what was declared of them."""
    said = {name: " and ".join(f"`{one}`" for one in objectives) for name, objectives in missed.items()}
    return [f"{name} misses {one}: `freehold status {name}` says by how much" for name, one in said.items()]


def _untrusted(parts: Parts, at: int) -> list[str]:
    """Keys of identity providers that cannot be read, and a certificate of ours that ends soon."""
    return [*parts.trusted.because, *ending(parts.config.tls, at)]


def _trouble(said: Mapping[str, Any]) -> str:
    """What a gateway says is wrong: since when, why, what is lost, what to do."""
    since = dt.datetime.fromtimestamp(said["since"] / 1_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{said['what']} since {since}: {said['why']}; {said['lost']}; {said['hint']}"


ALARMS = {
    "spool.gap": "a gateway's records do not follow each other: some may be missing",
    "spool.unbegun": "an answer ended whose beginning is missing: its words are not kept",
    "spool.unreadable": "the words of an answer do not open and are not kept",
}
"""Entries that say that records are damaged, and what that means."""


def _alarms(conn: sa.Connection, at: int) -> dict[str, int]:
    """How many there were in the last day, by kind."""
    query = (
        sa.select(entries.c.kind, sa.func.count())
        .where(entries.c.kind.in_(ALARMS), entries.c.at > at - DAY)
        .group_by(entries.c.kind)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def _alarm(kind: str, count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    return f"{ALARMS[kind]} ({times} in the last day); the ledger says where: `{kind}`"
