"""Submitting a service, or new data for one: what would happen, and making it happen; by the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from freehold.control.parts import Parts
from freehold.data.versions import DataVersion
from freehold.errors import BadInput, Conflict, NotFound
from freehold.evaluate import plan as evaluation
from freehold.identity import people, projects
from freehold.jobs import steps
from freehold.jobs.machine import room
from freehold.jobs.steps import Story
from freehold.jobs.walls import Walls
from freehold.journeys import bases, judged, rules
from freehold.journeys.deliver import DELIVER, UNTIL
from freehold.journeys.retrain import RETRAIN
from freehold.ledger.record import record
from freehold.release import roll, services
from freehold.spec.ids import digest, parse_reference
from freehold.spec.limits import most, seconds, spend_per_day
from freehold.spec.plain import plain
from freehold.spec.principal import Principal
from freehold.spec.reading import read_service, service_from
from freehold.spec.rollout import ab
from freehold.spec.service import Service
from freehold.spec.sizes import memory_bytes
from freehold.store.rows import Tx
from freehold.store.tables import journeys, releases
from freehold.store.tables import services as services_table
from freehold.train import plan as training


class BeingReleased(Conflict):
    """`{service}` is being rolled out at this moment"""


class TrainedAnew(Conflict):
    """`{service}` is being trained anew"""


class OtherDataSet(BadInput):
    """`{service}` learns from `{name}`, not from `{data}`"""


class NoSuchEnd(BadInput):
    """a delivery cannot end at `{until}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission."""

    journey: str
    state: str
    became: Literal["begun", "joined", "goes on", "declared", "nothing to do"]
    superseded: tuple[str, ...] = ()


def read(parts: Parts, text: str) -> Service:
    """The service in a file, its owner by id where we know them: no address is kept twice."""
    service = read_service(text)
    with parts.ground.db.read() as conn:
        try:
            return replace(service, owner=people.find(conn, service.owner).id)
        except (NotFound, BadInput):
            return service  # a team's mailbox, not one of our people


def with_data(conn: sa.Connection, name: str, data: str) -> Service:
    """What is in force for a service of ours, to be learned from another version of its data.

    Another data set is another declaration: which rows were held out is known within one only. Raises
    NotFound, NoLiveModel, OtherDataSet, BadInput.
    """
    row = services.find(conn, name)
    dataset, _ = parse_reference(data, "data set")
    if row["kind"] != "own" or row["state"] == "new":
        raise rules.NoLiveModel(service=name, hint="`freehold apply` with its file brings a first one")
    service = service_from(services.spec_of(row))
    if service.model.data.partition("@")[0] != dataset:
        raise OtherDataSet(
            service=name,
            name=service.model.data.partition("@")[0],
            data=data,
            why="rows are held out by keys of their data set, so the two models could not be compared",
            hint="apply its file with the other data set",
        )
    return replace(service, model=replace(service.model, data=data))


# -- plan -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What holds of a submission now."""

    data: DataVersion
    golden: Mapping[str, DataVersion]
    trained: training.TrainPlan
    live: Mapping[str, Any] | None
    """What a retrained candidate is compared with."""


def _checked(conn: sa.Connection, parts: Parts, service: Service, story: Story) -> _Checked:
    """Everything that can be known now is refused now, not by a journey that fails later."""
    currency = projects.find(conn, service.project).currency
    spend_per_day(service.limits.spend, currency)
    most(service.limits.each_key, currency)
    most(service.limits.each_subject, currency)
    rules.refuse_lower_tier(conn, service)
    rules.refuse_fallback(conn, service)
    data, golden = rules.pinned(conn, service, parts.config, parts.ground.clock())
    live = rules.live_model(conn, service, data) if story.kind == RETRAIN.kind else None
    trained = bases.plan(service, data, parts.config, bases.named(conn, service))
    rules.refuse_other_inputs(conn, service, trained.spec)
    evaluation.plan(service, run_spec=trained.spec, live=live)
    return _Checked(data=data, golden=golden, trained=trained, live=live)


def plan(
    parts: Parts, who: Principal, service: Service, walls: Walls, story: Story = DELIVER
) -> dict[str, Any]:
    """What `apply` or `retrain` would do, what it would cost, whether it fits, and who would be asked."""
    with parts.ground.db.read() as conn:
        checked = _checked(conn, parts, service, story)
        change = _change(conn, service)
        approvers = [_approver(conn, service, who, approver.role) for approver in service.approve]
        now = _what_now(conn, service, story)
        taken = _steps(conn, service, checked, story, parts.ground.clock())
        if now["state"] == "would declare":
            taken = taken[:1]
    data, golden, trained = checked.data, checked.golden, checked.trained
    return {
        "service": service.service,
        "project": service.project,
        "tier": service.tier,
        "spec": digest(plain(service)),
        "now": now,
        "change": change,
        "data": _data(data) | {"not_learned_from": trained.left_out},
        "golden": [_data(version) for version in golden.values()],
        "against_live": checked.live["ref"] if checked.live else None,
        "steps": taken,
        "total": _total(parts, trained.estimate, data.rows),
        "fit": _fit(parts, service, trained.estimate),
        "walls": {"offered": list(walls.words()), "missing": list(walls.missing())},
        "approvers": approvers,
        "gates": {name: plain(gate) for name, gate in service.gates.items()},
    }


def _data(version: Any) -> dict[str, Any]:
    return {
        "ref": version.ref,
        "digest": version.digest,
        "rows": version.rows,
        "left_out": dict(version.left_out),
        "sensitivity": version.sensitivity.word,
    }


def _change(conn: sa.Connection, service: Service) -> dict[str, Any]:
    """How the file differs from what is in force."""
    row = conn.execute(sa.select(services_table).where(services_table.c.name == service.service)).mappings()
    there = row.first()
    if there is None or there["state"] == "new":
        return {"kind": "new", "fields": []}
    before, after = services.spec_of(dict(there)), plain(service)
    fields = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {"kind": "changed" if fields else "same", "fields": fields}


def _approver(conn: sa.Connection, service: Service, who: Principal, role: str) -> dict[str, Any]:
    """A signature that is needed, and how many people could give it."""
    may = [
        person
        for person in people.listed(conn)
        if person.state == "active"
        and person.id not in (who.id, service.owner)
        and {(service.project, role), ("*", role)} & set(person.roles)
    ]
    return {"role": role, "people": len(may)}


def _what_now(conn: sa.Connection, service: Service, story: Story) -> dict[str, Any]:
    """What `apply` would begin with: nothing, joining, or the whole way."""
    submitted = _there(conn, service, story) or _watched_otherwise(conn, service, story)
    if submitted is None:
        return {"state": "would begin", "journey": None}
    state = "would declare" if submitted.became == "declared" else submitted.became
    return {"state": state, "journey": submitted.journey}


EVALUATE_START = 3.0
EVALUATE_ROW = 1e-3
"""Seconds; measured on one core with a text model, twice of what columns need."""


_COPIES, _SHARES, _TEST = ("shadow", "compare"), ("canary", "watch"), ("ab", "judge")
"""The steps of a journey that has a shadow, a canary, an A/B test."""


def _steps(
    conn: sa.Connection, service: Service, checked: _Checked, story: Story, at: int
) -> list[dict[str, Any]]:
    """The journey's steps with what each is expected to take; of the roll-out those that there will be."""
    before = service.serve.rollout[:-1] if roll.live(conn, service.service) else ()
    shadows, canaries, tests = (
        [word for word in before if word.split()[0] == kind] for kind in ("shadow", "canary", "ab")
    )
    expected: Mapping[str, dict[str, Any]] = {
        "train": {"seconds": checked.trained.estimate.seconds, "estimated": True},
        "evaluate": {"seconds": f"{_evaluate_seconds(checked.data.rows):.0f}", "estimated": True},
        "shadow": {"traffic": shadows},
        "canary": {"traffic": canaries},
        "ab": {"traffic": tests, "foreseen": _foreseen(conn, service, at)},
        "approve": {"waits_for": [approver.role for approver in service.approve]},
        "release": {"traffic": list(service.serve.rollout)},
    }
    parts = ((shadows, _COPIES), (canaries, _SHARES), (tests, _TEST))
    left_out = [name for words, two in parts if not words for name in two]
    shown = [s for s in story.steps if s.name not in left_out]
    return [{"name": s.name, "does": s.does, **expected.get(s.name, {})} for s in shown]


def _foreseen(conn: sa.Connection, service: Service, at: int) -> dict[str, Any] | None:
    """What its A/B test would see; none where there is none, or nothing to guess by."""
    test, live = ab(service.serve.rollout), roll.live(conn, service.service)
    return judged.foreseen(conn, live["id"], test, at) if test and live else None


def _evaluate_seconds(rows: int) -> float:
    return EVALUATE_START + rows * EVALUATE_ROW


def _total(parts: Parts, estimate: training.Estimate, rows: int) -> dict[str, Any]:
    """Everything together; each figure is a guess and says so."""
    more = Decimal(str(_evaluate_seconds(rows)))
    watt_hours = Decimal(estimate.watt_hours) + more * Decimal(parts.config.watts_per_core) / 3600
    money = watt_hours / 1000 * Decimal(parts.config.tariff)
    return {
        "seconds": f"{Decimal(estimate.seconds) + more:.0f}",
        "watt_hours": f"{watt_hours:.4f}",
        "money": f"{money:.6f}",
        "currency": parts.config.currency,
        "grams_co2": f"{watt_hours / 1000 * Decimal(parts.config.grams_per_kwh):.4f}",
        "memory_bytes": estimate.memory_bytes,
        "how": f"{estimate.formula}; evaluation = {EVALUATE_START:g} s + rows x {EVALUATE_ROW * 1000:g} ms",
        "estimated": True,
    }


def _fit(parts: Parts, service: Service, estimate: training.Estimate) -> dict[str, Any]:
    """Whether it fits into what the file asks for, and that into this machine."""
    here = room(parts.home.worker)
    asked, wall = memory_bytes(service.model.memory), seconds(service.model.wall)
    why = []
    if estimate.memory_bytes > asked:
        why.append(f"needs about {estimate.memory_bytes:,} bytes of memory, `memory` allows {asked:,}")
    if float(estimate.seconds) > wall:
        why.append(f"needs about {estimate.seconds} s, `wall` allows {wall} s")
    if asked > here.memory:
        why.append(f"`memory` asks for {asked:,} bytes, this machine has {here.memory:,}")
    if parts.config.workers == 0:
        why.append("no worker runs on this machine (`workers: 0`)")
    return {"fits": not why, "because": why, "machine": asdict(here), "memory_asked": asked, "wall": wall}


# -- apply ------------------------------------------------------------------------------------------


def submit(
    parts: Parts, who: Principal, service: Service, until: str | None, story: Story = DELIVER
) -> Submitted:
    """Begin the journey; the same file or data again joins what is there. Raises what a plan would."""
    stop_after = _until(until)
    with parts.ground.db.read() as conn:
        _checked(conn, parts, service, story)
    with parts.ground.db.write() as tx:
        there = _there(tx.connection, service, story)
        if there is not None:
            return _go_on(tx, who, there, stop_after)
        if (watched := _watched_otherwise(tx.connection, service, story)) is not None:
            return _redeclare(tx, who, service, watched)
        superseded = _supersede(tx, who, service)
        journey = steps.begin(
            tx,
            story,
            by=who,
            project=service.project,
            service=service.service,
            spec=plain(service),
            until=stop_after,
        )
    parts.wake()
    return Submitted(journey=journey, state="running", became="begun", superseded=superseded)


def _until(until: str | None) -> str | None:
    if until is not None and until not in UNTIL:
        raise NoSuchEnd(until=until[:40], why=f"it is one of: {', '.join(UNTIL)}")
    return UNTIL[until] if until else None


def _there(conn: sa.Connection, service: Service, story: Story) -> Submitted | None:
    """The newest journey of exactly this that is under way, stopped early, or still serves.

    A file may join a retraining of the same, which only asks for more; never the other way round.
    """
    query = (
        sa.select(journeys)
        .where(journeys.c.kind.in_((DELIVER.kind, RETRAIN.kind)), journeys.c.service == service.service)
        .where(journeys.c.spec_digest == digest(plain(service)), journeys.c.project == service.project)
        .order_by(journeys.c.created_at.desc(), journeys.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).mappings().first()
    if row is None:
        return None
    if row["state"] == "done" and not row["until"] and _serves(conn, row["id"], service):
        return Submitted(journey=row["id"], state=row["state"], became="nothing to do")
    if story.kind not in (DELIVER.kind, row["kind"]):
        return None
    if row["state"] in steps.FORWARD:
        return Submitted(journey=row["id"], state=row["state"], became="joined")
    if row["state"] == "done" and row["until"]:
        return Submitted(journey=row["id"], state=row["state"], became="goes on")
    return None


def _serves(conn: sa.Connection, journey: str, service: Service) -> bool:
    """Whether what it released is live under the same declaration."""
    live = sa.select(releases.c.id).where(releases.c.journey == journey, releases.c.state == "live")
    declared = sa.select(services_table.c.spec_digest).where(services_table.c.name == service.service)
    return conn.scalar(live) is not None and conn.scalar(declared) == digest(plain(service))


WATCHED = "objectives"
"""What of a declaration is only watched: nobody is answered otherwise when it changes."""


def _watched_otherwise(conn: sa.Connection, service: Service, story: Story) -> Submitted | None:
    """What comes of a file that asks for nothing else than what is live, but for what is watched: nothing is
    trained, and nobody asked."""
    if story.kind != DELIVER.kind or (live := roll.live(conn, service.service)) is None:
        return None
    row = services.find(conn, service.service)
    before, after = services.spec_of(row), plain(service)
    other = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    if other - {WATCHED} or live["journey"] is None or row["project"] != service.project:
        return None
    became: Literal["declared", "nothing to do"] = "declared" if other else "nothing to do"
    return Submitted(journey=live["journey"], state="done", became=became)


def _redeclare(tx: Tx, who: Principal, service: Service, submitted: Submitted) -> Submitted:
    """Bring what is watched in force at once. Raises BeingReleased, TrainedAnew."""
    if submitted.became == "declared":
        for journey in _not_released_yet(tx, service):
            if steps.find(tx.connection, journey).kind != DELIVER.kind:
                raise TrainedAnew(
                    service=service.service,
                    why=f"{journey} brings what was declared when it began, and would take this back",
                    hint="apply the file again when that has ended",
                )
        services.change(tx, by=who, service=service, owner=service.owner)
    return submitted


def _go_on(tx: Tx, who: Principal, there: Submitted, until: str | None) -> Submitted:
    """Join it; one that was to end early goes on to the new end."""
    now = steps.find(tx.connection, there.journey)
    if there.became == "nothing to do" or _place(until) <= _place(now.until):
        return there if there.became == "joined" else replace(there, became="nothing to do")
    state = "running" if there.became == "goes on" else now.state
    tx.execute(
        journeys.update().where(journeys.c.id == now.id).values(until=until, state=state, ended_at=None)
    )
    detail = {"journey": now.id, "step": "-", "state": f"until {until or 'the end'}"}
    record(tx, "journey.step", by=who, object=now.id, project=now.project, detail=detail)
    return replace(there, state=state)


def _place(until: str | None) -> int:
    """Where a delivery ends: nobody's journey is cut short by somebody who wants less of it."""
    names = [step.name for step in DELIVER.steps]
    return names.index(until) if until else len(names)


def _supersede(tx: Tx, who: Principal, service: Service) -> tuple[str, ...]:
    """What is declared now replaces what was asked before and is not released yet. Raises BeingReleased."""
    older = _not_released_yet(tx, service)
    for journey in older:
        steps.stop(tx, by=who, journey=journey, because="another candidate takes its place")
    return tuple(older)


def _not_released_yet(tx: Tx, service: Service) -> list[str]:
    """Its journeys under way, none of which has its declaration in force. Raises BeingReleased."""
    query = sa.select(journeys.c.id).where(
        journeys.c.service == service.service, journeys.c.state.in_(steps.FORWARD)
    )
    older = [str(id) for id in tx.execute(query).scalars()]
    for journey in older:
        done = {s.name: s.result for s in steps.step_states(tx.connection, journey) if s.state == "done"}
        if "release" in done:
            raise BeingReleased(
                service=service.service, why=f"{journey} waits for its engine", hint="try again in a minute"
            )
        for name, what in (("canary", "a canary"), ("ab", "an A/B test")):
            if "release" not in done.get(name, {}):
                continue
            raise BeingReleased(
                service=service.service,
                why=f"{journey} has {what}",
                hint=f"`freehold rollback {service.service} --because …` takes it away",
            )
    return older
