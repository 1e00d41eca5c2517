"""Durable stories: a step's result, its change of state and its ledger entry commit together.

A step's `do` loads and computes, outside any transaction, and returns an outcome. What the outcome
changes is applied in the same transaction that marks the step, so a crash leaves both or neither; a
`do` that is called again finds the world as it was. The step's `undo` stands beside it. Between two
looks at a step its number of attempts must not have moved: that is the fence between two controls.

::

    running ──> done
       │  └──> waiting (for people) ──> running
       ├─────> held                        a gate failed or somebody refused: nothing is taken back
       ├─────> failing  ──> failed         steps are undone, last first
       └─────> stopping ──> stopped        superseded or stopped by someone: undone as well
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.jobs import queue
from freehold.jobs.queue import Job, JobRequest
from freehold.ledger.record import record
from freehold.spec.config import Config
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import SYSTEM, Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import journeys, steps

ACTIVE = ("running", "waiting", "failing", "stopping")
ENDED = ("done", "held", "failed", "stopped")
FORWARD = ("running", "waiting")

Result = Mapping[str, Any]
Apply = Callable[[Tx], Result]
"""Changes state within the step's own transaction and says what came of it; plain, without floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The step is done once `apply` has committed."""

    apply: Apply = lambda _tx: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Somebody else has to act first; the step is looked at again."""

    because: str
    people: bool = False
    """Whether it is people who have to act."""
    apply: Apply = lambda _tx: {}
    """What asks them; applied when the step begins to wait and when the words change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Nothing is wrong with the machine: the candidate does not pass. What was made is kept."""

    because: str
    apply: Apply = lambda _tx: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsJob:
    """A worker has to compute; the step is called again with the job's end."""

    request: JobRequest
    apply: Apply = lambda _tx: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fails:
    """It cannot be done; what was done before is undone."""

    because: str
    code: str
    """The failure's label, for the ledger."""
    apply: Apply = lambda _tx: {}


Outcome = Done | Waits | Held | NeedsJob | Fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A story as its row says."""

    id: str
    kind: str
    project: str
    service: str | None
    spec: Mapping[str, Any]
    spec_digest: str
    state: str
    because: str
    until: str | None
    submitted_by: str
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step as its row says."""

    name: str
    state: str
    """todo | waiting | done | failed | undone."""
    result: Result
    because: str
    attempts: int
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a step may look at. Ids are all it is given; what stands behind them it loads itself."""

    ground: Ground
    config: Config
    journey: Journey
    step: str
    results: Mapping[str, Result]
    """Of the steps that are done."""
    attempts: int
    job: Job | None = None
    """The job this step asked for, once it has ended."""
    so_far: Result = field(default_factory=dict)
    """What this very step left when it last waited."""
    by: Principal = SYSTEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what it does, how it is taken back."""

    name: str
    does: str
    """For people, such as `train a candidate`."""
    do: Callable[[Moment], Outcome]
    undo: Callable[[Moment], Apply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The steps of one kind of journey, in order."""

    kind: str
    steps: tuple[Step, ...] = field(default=())
    tells: Callable[[Tx, Journey, str], None] = lambda _tx, _journey, _state: None
    """Whom it concerns, that one of them has ended and how, in the transaction in which it does."""

    def step(self, name: str) -> Step:
        """A step by name."""
        return next(step for step in self.steps if step.name == name)


def leave_as_it_is(_moment: Moment) -> Apply:
    """For steps that only read, or whose record is meant to stay."""
    return lambda _tx: {}


class Overtaken(Conflict):
    """the journey `{journey}` was moved by somebody else meanwhile"""


# -- beginning --------------------------------------------------------------------------------------


def begin(
    tx: Tx,
    story: Story,
    *,
    by: Principal,
    project: str,
    service: str | None,
    spec: Mapping[str, Any],
    until: str | None = None,
) -> str:
    """Write a journey down with all its steps; the runner takes it from there."""
    journey = new_id("jrn")
    tx.execute(
        journeys.insert().values(
            id=journey,
            kind=story.kind,
            project=project,
            service=service,
            spec=canonical(spec).decode(),
            spec_digest=digest(spec),
            state="running",
            because="",
            until=until,
            submitted_by=by.id,
            created_at=tx.at,
        )
    )
    for position, step in enumerate(story.steps):
        tx.execute(
            steps.insert().values(
                journey=journey,
                name=step.name,
                position=position,
                state="todo",
                result="{}",
                because="",
                attempts=0,
            )
        )
    detail = {
        "journey": journey,
        "kind": story.kind,
        "spec": digest(spec),
        "service": service,
        "until": until,
    }
    record(tx, "journey.begun", by=by, object=journey, project=project, detail=detail)
    return journey


def stop(tx: Tx, *, by: Principal, journey: str, because: str) -> None:
    """Turn a journey round: its job is cancelled, its steps are undone by the runner. Raises Overtaken."""
    now = find(tx.connection, journey)
    changed = tx.execute(
        journeys.update()
        .where(journeys.c.id == journey, journeys.c.state.in_(FORWARD))
        .values(state="stopping", because=because)
    )
    if not changed.rowcount:
        raise Overtaken(journey=journey, why=f"it is {now.state}")
    for step in step_states(tx.connection, journey):
        if step.state == "waiting" and (job := queue.of_step(tx.connection, journey, step.name)):
            queue.cancel(tx, by=by, job=job.id, because="journey stopped")
    detail = {"journey": journey, "step": "-", "state": "stopping"}
    record(tx, "journey.step", by=by, object=journey, project=now.project, detail=detail)


# -- looking ----------------------------------------------------------------------------------------


def find(conn: sa.Connection, journey: str) -> Journey:
    """A journey by id. Raises NotFound."""
    row = conn.execute(sa.select(journeys).where(journeys.c.id == journey)).mappings().first()
    if row is None:
        raise NotFound(kind="journey", name=journey[:80])
    return as_journey(row)


def active(conn: sa.Connection) -> list[str]:
    """The ids of journeys that are not at their end, oldest first."""
    query = sa.select(journeys.c.id).where(journeys.c.state.in_(ACTIVE)).order_by(journeys.c.created_at)
    return [str(id) for id in conn.scalars(query)]


def moving(conn: sa.Connection) -> bool:
    """Whether a journey is under way that does not wait for people."""
    query = sa.select(journeys.c.id).where(journeys.c.state.in_(ACTIVE), journeys.c.state != "waiting")
    return conn.scalar(query.limit(1)) is not None


def step_states(conn: sa.Connection, journey: str) -> list[StepState]:
    """The steps of a journey, in order."""
    query = sa.select(steps).where(steps.c.journey == journey).order_by(steps.c.position)
    return [_step_state(row) for row in conn.execute(query).mappings()]


def as_journey(row: Mapping[Any, Any]) -> Journey:
    """A row of `journeys` as a record."""
    names = ("id", "kind", "project", "service", "spec_digest", "state", "because", "until")
    times = ("submitted_by", "created_at", "ended_at")
    return Journey(spec=json.loads(row["spec"]), **{name: row[name] for name in (*names, *times)})


def _step_state(row: Mapping[Any, Any]) -> StepState:
    names = ("name", "state", "because", "attempts", "started_at", "ended_at")
    return StepState(result=json.loads(row["result"]), **{name: row[name] for name in names})
