"""Somebody was forgotten: a model that learned from them is made again as if they had never been there.

::

    pin ─> train ─> replay ─> evaluate ─> approve ─> roll out (journeys.rollout)
                      │          │           │           │
                   failed      held        held     rolled back

The specification is that of the run which made the old model, to the byte; what was tuned in slots gets
its old plan as well, with a hole where the person was (train.slots). Nothing is taken over from the
old weights: the run begins at the beginning. `replay` does it once more and compares every byte. The
steps are otherwise those of `journeys.deliver`, under the declaration that is in force: gates are
judged, people approve, and until then the service goes on as its `on_forget` says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import NotFound, Tampered
from freehold.jobs import outputs, steps
from freehold.jobs.queue import JobInput, JobRequest
from freehold.jobs.steps import Done, Moment, NeedsJob, Outcome, Step, Story, Waits, leave_as_it_is
from freehold.journeys import deliver, runs
from freehold.journeys.candidate import DECLARED, declared, model_of, spec_of
from freehold.release import forgetting, roll, services
from freehold.release.files import open_version
from freehold.spec.ids import digest_bytes
from freehold.spec.plain import plain
from freehold.spec.principal import Principal
from freehold.spec.reading import service_from
from freehold.spec.service import Service
from freehold.store.ground import Ground
from freehold.store.keyring import KeyDestroyed
from freehold.store.rows import Tx
from freehold.store.tables import forgettings, journeys, models
from freehold.store.tables import runs as runs_table
from freehold.train import slots

DESTROYED = "destroyed"
"""The state of a forgetting from which on nothing of the person can be learned from any more."""
INSTEAD_OF = "instead_of"
"""The field of a rebuild's specification that names the one whose place it took."""
_WAITS = "waits until the data is destroyed"


class NotTheSame(Tampered):
    """the rebuilt model did not come out the same twice"""


# -- beginning --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a rebuild needs of the old model, read while it can still be read."""

    model: str
    spec: Mapping[str, Any]

    @property
    def service(self) -> str:
        """For which it is made."""
        return str(self.spec[DECLARED]["service"])


def prepare(ground: Ground, models: Sequence[str]) -> tuple[Prepared, ...]:
    """Read how these models were made, outside any transaction; ids of models that are to be rebuilt."""
    return tuple(_prepare(ground, model) for model in models)


def _prepare(ground: Ground, model: str) -> Prepared:
    with ground.db.read() as conn:
        made = conn.execute(
            sa.select(runs_table.c.spec, runs_table.c.service, journeys.c.spec.label("asked"))
            .join(models, models.c.run == runs_table.c.id)
            .join(journeys, journeys.c.id == runs_table.c.journey)
            .where(models.c.id == model)
        ).one()
        in_force = service_from(services.spec_of(services.find(conn, made.service)))
    then = service_from(declared(json.loads(made.asked)))
    wanted = replace(in_force, model=then.model, examples=then.examples)
    said = {"model": model, "run": json.loads(made.spec), DECLARED: plain(wanted)}
    if (plan := _plan(ground, model, said["run"])) is not None:
        said["plan"] = plan
    return Prepared(model=model, spec=said)


def _plan(ground: Ground, model: str, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The slots that a tuned model was made in; none where there are none.

    None either where rare classes are weighed up: how much each counts was told by all the rows, the
    person's too, so it is reckoned anew. And none in a restored backup: the model's key is gone there, and
    the order of learning is drawn up anew as well.
    """
    found = open_version(ground, model)
    if slots.FILE not in {entry.path for entry in found.files}:
        return None
    if str(run["settings"].get("balanced", "false")).lower() == "true":
        return None
    try:
        said: dict[str, Any] = json.loads(found.read(slots.FILE))
    except (KeyDestroyed, NotFound):
        return None
    return said


def begin(
    tx: Tx, *, by: Principal, prepared: Sequence[Prepared], project: str, forget: str
) -> tuple[str, ...]:
    """Begin a rebuild of each, in the transaction that revokes them. They wait until the data is destroyed.

    `forget` is the forgetting's journey. Beginning again begins nothing.
    """
    there = {str(row.spec["model"]): row.id for row in _of(tx.connection, forget)}
    return tuple(there.get(one.model) or _begin(tx, by, one, project, forget) for one in prepared)


def _begin(tx: Tx, by: Principal, one: Prepared, project: str, forget: str) -> str:
    spec = {**one.spec, "forget": forget}
    return steps.begin(tx, REBUILD, by=by, project=project, service=one.service, spec=spec)


# -- taking the place of an earlier one ---------------------------------------------------------------


def under_way(conn: sa.Connection, models: Collection[str]) -> list[steps.Journey]:
    """The rebuilds of these models, by id, that are not at their end: of earlier forgettings."""
    query = sa.select(journeys).where(journeys.c.kind == REBUILD.kind, journeys.c.state.in_(steps.FORWARD))
    found = conn.execute(query.order_by(journeys.c.created_at, journeys.c.id)).mappings()
    return [one for one in map(steps.as_journey, found) if one.spec["model"] in models]


def kept_up(
    conn: sa.Connection, found: Sequence[steps.Journey], anew: Iterable[tuple[str, str]]
) -> list[steps.Journey]:
    """Of these rebuilds those of a model that is newer than each one of its service that is made anew.

    `anew` are pairs (service, model by id). A service that fell back has the older model; what people
    approved last is the other.
    """
    pairs = list(anew)
    ids = {str(one.spec["model"]) for one in found} | {model for _, model in pairs}
    rows = conn.execute(sa.select(models.c.id, models.c.created_at).where(models.c.id.in_(sorted(ids))))
    age = {str(row.id): (row.created_at, row.id) for row in rows}
    return [
        one
        for one in found
        if all(age[str(one.spec["model"])] > age[m] for name, m in pairs if name == one.service)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Rebuilds whose place was taken."""

    stopped: tuple[str, ...]
    begun: tuple[str, ...]
    services: frozenset[str]
    """Those of what was begun again: nothing else is made anew for them."""


def take_over(
    tx: Tx,
    *,
    by: Principal,
    models: Collection[str],
    forget: str,
    prepared: Sequence[Prepared],
    because: str,
) -> Taken:
    """Stop the rebuilds of these models, which may have seen the person; begin each again without them.

    Not where a newer model of the service is `prepared` to be made anew. Who waits for the earlier one
    waits for the later one from now on.
    """
    found = under_way(tx.connection, models)
    newer = kept_up(tx.connection, found, ((one.service, one.model) for one in prepared))
    for one in found:
        steps.stop(tx, by=by, journey=one.id, because=because)
    begun = [
        _begin(
            tx,
            by,
            Prepared(model=str(one.spec["model"]), spec={**one.spec, INSTEAD_OF: one.id}),
            one.project,
            forget,
        )
        for one in newer
    ]
    return Taken(
        stopped=tuple(one.id for one in found),
        begun=tuple(begun),
        services=frozenset(str(one.service) for one in newer),
    )


# -- looking ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """How the rebuild of one model stands."""

    journey: str
    model: str
    """The old one, by id."""
    state: str
    because: str
    rebuilt: str | None
    """The new one, by id; none before it is trained."""
    rebuilt_ref: str | None
    serving_digest: str | None
    same: bool
    """Whether a second training from the beginning came to the same bytes."""
    passed: bool
    """Whether it is evaluated and passed its gates."""

    @property
    def settled(self) -> bool:
        """Whether a forgetting need not wait for it any longer: people's approval may take days."""
        return self.passed or self.state in steps.ENDED


def stands(conn: sa.Connection, forgets: Iterable[str]) -> tuple[Rebuild, ...]:
    """The rebuilds that these forgettings (their journeys) asked for, as they stand now; each once."""
    return stand_now(conn, [one.id for forget in forgets for one in _of(conn, forget)])


def stand_now(conn: sa.Connection, rebuilds: Iterable[str]) -> tuple[Rebuild, ...]:
    """These rebuilds (their journeys), or what took their place, as they stand now; each once."""
    newest = (_newest(conn, steps.find(conn, one)) for one in rebuilds)
    return tuple(_stands(conn, one) for one in {one.id: one for one in newest}.values())


def _of(conn: sa.Connection, forget: str) -> list[steps.Journey]:
    return _saying(conn, "forget", forget)


def _newest(conn: sa.Connection, journey: steps.Journey) -> steps.Journey:
    """The rebuild itself, or what took its place when somebody else was forgotten meanwhile."""
    while later := _saying(conn, INSTEAD_OF, journey.id):
        journey = later[-1]
    return journey


def _saying(conn: sa.Connection, word: str, of: str) -> list[steps.Journey]:
    """The rebuilds whose specification says so, oldest first."""
    query = (
        sa.select(journeys)
        .where(journeys.c.kind == "rebuild", journeys.c.spec.contains(f'"{word}":"{of}"', autoescape=True))
        .order_by(journeys.c.created_at, journeys.c.id)
    )
    return [steps.as_journey(row) for row in conn.execute(query).mappings()]


def _stands(conn: sa.Connection, journey: steps.Journey) -> Rebuild:
    done = {s.name: s.result for s in steps.step_states(conn, journey.id) if s.state == "done"}
    trained = done.get("train", {})
    return Rebuild(
        journey=journey.id,
        model=str(journey.spec["model"]),
        state=journey.state,
        because=journey.because,
        rebuilt=trained.get("model"),
        rebuilt_ref=trained.get("version"),
        serving_digest=trained.get("serving_digest"),
        same="replay" in done,
        passed="evaluate" in done,
    )


# -- pin, train -------------------------------------------------------------------------------------


def pin(moment: Moment) -> Outcome:
    """Wait until the person's data is gone, then fix the versions it learned from.

    And the data of everybody for whom an earlier one was begun, whose place this one took.
    """
    with moment.ground.db.read() as conn:
        waits = _waits_for(conn, frozenset(_forgets(conn, moment.journey)))
    return Waits(because=waits) if waits else deliver.pin(moment)


def _waits_for(conn: sa.Connection, forgets: frozenset[str]) -> str:
    """Why the data of these forgettings (their journeys) may be there still; empty when it is not.

    What they came to says so, not how far they went: what a forgetting that failed left, a later one of the
    same person destroys.
    """
    f, j = forgettings.c, journeys.c
    gone = conn.scalars(sa.select(f.journey).where(f.journey.in_(sorted(forgets)), f.state == DESTROYED))
    left = sorted(forgets.difference(gone))
    if not left:
        return ""
    ended = conn.scalar(sa.select(j.id).where(j.id.in_(left), j.state.in_(steps.ENDED)).order_by(j.id))
    return f"{_WAITS}: {ended} ended before, forget that person again" if ended else _WAITS


def _forgets(conn: sa.Connection, journey: steps.Journey) -> Iterator[str]:
    """The forgettings that a rebuild is for: its own, and those of the ones whose place it took."""
    yield str(journey.spec["forget"])
    while earlier := journey.spec.get(INSTEAD_OF):
        journey = steps.find(conn, str(earlier))
        yield str(journey.spec["forget"])


def train(moment: Moment) -> Outcome:
    """Have a worker do again what the old run did, and register what comes of it."""
    return deliver.train(moment) if moment.job else _ask(moment, "train")


def _ask(moment: Moment, kind: str) -> Outcome:
    spec = dict(moment.journey.spec["run"])
    cited = moment.results["pin"]["data"]
    return NeedsJob(
        request=_request(moment, spec_of(moment), spec),
        apply=lambda tx: runs.begin(tx, moment, kind=kind, spec=spec, data=cited),
    )


def _request(moment: Moment, service: Service, spec: Mapping[str, Any]) -> JobRequest:
    asked = deliver.training_request(moment, service)
    plan = JobInput(path=slots.FILE, source=f"plan:{moment.journey.id}")
    more = (plan,) if "plan" in moment.journey.spec else ()
    return replace(asked, spec=spec, inputs=(*asked.inputs, *more))


# -- replay -----------------------------------------------------------------------------------------


def replay(moment: Moment) -> Outcome:
    """Train once more from the beginning. Raises NotTheSame when another byte comes of it."""
    if moment.job is None:
        return _ask(moment, "replay")
    run = deliver.run_of(moment, "replay")
    if (broke := deliver.broke(moment, moment.job, run)) is not None:
        return broke
    rebuilt = {entry.path: entry.digest for entry in open_version(moment.ground, model_of(moment)).files}
    again = outputs.read_below(moment.ground, moment.job, "model")
    if different := sorted(_different(rebuilt, {path: digest_bytes(data) for path, data in again.items()})):
        raise NotTheSame(why=f"`{different[0]}` has other bytes")
    end = deliver.end_of(moment)
    return Done(
        apply=lambda tx: {
            **runs.end(tx, moment, run=run, state="done", job=end, metrics=end.result),
            "files": len(rebuilt),
        }
    )


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


def close_replay(moment: Moment) -> steps.Apply:
    """The undo of replaying: a run under way is closed."""
    return runs.close(moment, "replay")


# -- approve ----------------------------------------------------------------------------------------


def approve(moment: Moment) -> Outcome:
    """Wait for people; what the service keeps meanwhile ends when its time is over."""
    outcome = deliver.approve(moment)
    service = str(moment.journey.service)
    with moment.ground.db.read() as conn:
        running = roll.running(conn, service)
    over = any(row["until"] is not None and row["until"] <= moment.ground.clock() for row in running)
    if not (over and isinstance(outcome, Waits)):
        return outcome

    def apply(tx: Tx) -> steps.Result:
        forgetting.end_kept(tx, moment.ground, by=moment.by, service=service)
        return outcome.apply(tx)

    return replace(outcome, because=f"{outcome.because}; nothing answers meanwhile", apply=apply)


# -- the story --------------------------------------------------------------------------------------

_OWN = {
    "pin": Step(name="pin", does="wait for the destruction, fix the data", do=pin, undo=leave_as_it_is),
    "train": Step(name="train", does="train it without the person", do=train, undo=deliver.hold_candidate),
    "approve": Step(name="approve", does="wait for the approvers", do=approve, undo=deliver.void_approvals),
}
_REPLAY = Step(name="replay", does="train it once more, compare every byte", do=replay, undo=close_replay)


def _steps() -> list[Step]:
    known = [_OWN.get(step.name, step) for step in deliver.DELIVER.steps if step.name != "declare"]
    place = [step.name for step in known].index("evaluate")
    return [*known[:place], _REPLAY, *known[place:]]


REBUILD = Story(kind="rebuild", steps=tuple(_steps()))
