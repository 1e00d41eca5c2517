"""Models that learned from somebody who is forgotten: served no more, and what answers meanwhile.

A forgotten model stays in the books, with its card and its releases, and is the end of its states. Its
serving digest joins the revoked list of every snapshot from then on: gateways do not route to it,
supervisors fetch and start it no more, engines refuse to load it. Until the model that is rebuilt
without the person is approved, each service goes on as its file says (`serve.on_forget`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from freehold.jobs import steps
from freehold.ledger.record import record
from freehold.release import approvals, roll, services, versions
from freehold.release.publish import publish
from freehold.release.services import Row
from freehold.release.versions import ModelVersion
from freehold.release.views import RUNNING, SERVING
from freehold.spec.limits import on_forget
from freehold.spec.principal import Principal
from freehold.spec.reading import service_from
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import approvals as approvals_table
from freehold.store.tables import journeys, models, releases, runs
from freehold.store.tables import steps as steps_table

FORGOTTEN: Final = "forgotten"
"""The end of a model version's states."""
WHY = "somebody it learned from was forgotten"
"""In the ledger and in rows, for everything that follows from a forgetting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A model version that learned from certain data, and what it does now."""

    model: str
    ref: str
    serving_digest: str
    task: str
    state: str
    run: str | None
    data: str
    """The id of the data set version it, or what it was made from, learned from."""
    services: tuple[str, ...]
    """Those that it gets traffic of, live or with a share beside what is."""

    @property
    def live(self) -> bool:
        """Whether anybody is answered by it."""
        return bool(self.services)

    @property
    def key(self) -> str:
        """The name of the key that its weights are sealed under."""
        return f"model/{self.model}"

    @property
    def forgotten(self) -> bool:
        """Whether an earlier forgetting took it back."""
        return self.state == FORGOTTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What a revocation did."""

    digests: tuple[str, ...]
    services: Mapping[str, str]
    """Service -> how it goes on: `fell back to NAME@V`, `stopped`, `kept`."""
    stopped: tuple[str, ...]
    """Journeys that were turned round: what they made had learned from the person too."""
    snapshot: int


# -- looking ----------------------------------------------------------------------------------------


def affected(conn: sa.Connection, project: str, versions: Sequence[str]) -> tuple[Affected, ...]:
    """Every model version that learned from one of these data set versions, or was made from one that did.

    `versions` are ids. Oldest first. Those that are forgotten already are among them: an earlier forgetting
    took them back, and may not have come to destroying them, or a service keeps them for a while.
    """
    data = {str(row["id"]): str(row["data"]) for row in _learned(conn, project, versions)}
    new = set(data)
    while new:
        made = conn.execute(sa.select(models.c.id, models.c.parent).where(models.c.parent.in_(sorted(new))))
        of = {str(row.id): data[row.parent] for row in made if row.id not in data}
        data |= of
        new = set(of)
    rows = conn.execute(
        sa.select(models).where(models.c.id.in_(sorted(data))).order_by(models.c.created_at, models.c.id)
    ).mappings()
    return tuple(_affected(conn, row, data[row["id"]]) for row in rows)


def _learned(conn: sa.Connection, project: str, versions: Sequence[str]) -> list[Mapping[Any, Any]]:
    query = (
        sa.select(models.c.id, runs.c.data_version.label("data"))
        .join(runs, runs.c.id == models.c.run)
        .where(models.c.project == project, runs.c.kind == "train")
        .where(runs.c.data_version.in_(list(versions)))
    )
    return list(conn.execute(query).mappings())


def _affected(conn: sa.Connection, row: Mapping[Any, Any], data: str) -> Affected:
    serving = sa.select(releases.c.service).where(
        releases.c.model == row["id"], releases.c.state.in_(SERVING)
    )
    names = ("serving_digest", "task", "state", "run")
    return Affected(
        model=row["id"],
        ref=f"{row['name']}@{row['version']}",
        data=data,
        services=tuple(sorted(set(conn.scalars(serving)))),
        **{name: row[name] for name in names},
    )


# -- doing ------------------------------------------------------------------------------------------


def revoke(
    tx: Tx,
    ground: Ground,
    *,
    by: Principal,
    models: Sequence[str],
    versions: Sequence[str],
    journey: str,
) -> Revoked:
    """Forget these models, and stop what learns from these data set versions now; publish it.

    `journey` is the forgetting, which is not stopped itself. Doing it again changes nothing but the
    index of the snapshot.
    """
    gone = [_forget(tx, by, model) for model in models]
    told = {
        name: _go_on(tx, by, services.hold(tx, name), frozenset(models))
        for name in _serving(tx.connection, models)
    }
    stopped = _stop_learning(tx, by, versions, journey)
    return Revoked(
        digests=tuple(sorted({model.serving_digest for model in gone})),
        services=told,
        stopped=stopped,
        snapshot=publish(tx, ground, by=by),
    )


def _forget(tx: Tx, by: Principal, model: str) -> ModelVersion:
    """The end of a version; whoever was asked to approve it has nothing to decide any more."""
    waiting = sa.select(approvals_table.c.id).where(
        approvals_table.c.model == model, approvals_table.c.state == "waiting"
    )
    for approval in list(tx.execute(waiting).scalars()):
        approvals.void(tx, by=by, approval=approval, because=WHY)
    return versions.set_state(tx, by=by, model=model, state=FORGOTTEN, because=WHY)


def _serving(conn: sa.Connection, models: Sequence[str]) -> list[str]:
    query = sa.select(releases.c.service).where(
        releases.c.model.in_(list(models)), releases.c.state.in_(RUNNING)
    )
    return sorted(set(conn.scalars(query)))


def _go_on(tx: Tx, by: Principal, service: Row, gone: frozenset[str]) -> str:
    """What answers until the rebuilt model is approved."""
    if (shadow := roll.shadowing(tx.connection, service["name"])) is not None:
        roll.end(tx, by, service, shadow, "ended", WHY)  # it is gone, or what it was laid beside
    running = roll.running(tx.connection, service["name"])
    if not running:
        return "stopped"
    live = next((row for row in running if row["state"] == "live"), None)
    if live is not None and live["model"] not in gone:  # a canary alone: the live release has it all again
        for row in running:
            if row["id"] != live["id"]:
                roll.end(tx, by, service, row, "ended", WHY)
        roll.share(tx, by, service, live, roll.ALL)
        return "goes on"
    said = service_from(services.spec_of(service)).serve
    word, seconds = on_forget(said.on_forget)
    if word == "keep":
        for row in running:
            _keep(tx, by, service, row, tx.at + seconds * 1_000_000)
        return "kept"
    for row in running:
        roll.end(tx, by, service, row, "ended", WHY)
    return _fall_back(tx, by, service, live or running[0]) if word == "fall_back" else "stopped"


def _keep(tx: Tx, by: Principal, service: Row, row: Row, until: int) -> None:
    """Time begins with the first forgetting: another one does not prolong it."""
    if row["until"] is not None:
        return
    tx.execute(releases.update().where(releases.c.id == row["id"]).values(until=until))
    detail = {"release": row["id"], "service": service["name"], "until": until, "because": WHY}
    record(tx, "release.kept", by=by, object=row["id"], project=service["project"], detail=detail)


def _fall_back(tx: Tx, by: Principal, service: Row, ended: Row) -> str:
    """The traffic goes to the newest earlier model that may still serve; all that knew them may not."""
    try:
        found = roll.earlier(tx.connection, service, ended, tx.at)
    except roll.NothingToRollBackTo:
        return "stopped"
    version = versions.find(tx.connection, found["model"])
    signatures = roll.check(tx.connection, service, version, tx.at)
    roll.begin(tx, by, service, version, roll.ALL, "live", signatures, None)
    return f"fell back to {version.ref}"


def _stop_learning(tx: Tx, by: Principal, data: Sequence[str], journey: str) -> tuple[str, ...]:
    """Journeys under way whose candidate learns from this data as it was; apply them again afterwards."""
    pinned = sa.select(steps_table.c.journey).where(
        steps_table.c.name == "pin",
        steps_table.c.state == "done",
        sa.or_(
            sa.false(),
            *(steps_table.c.result.contains(f'"id":"{version}"', autoescape=True) for version in data),
        ),
    )
    query = sa.select(journeys.c.id).where(
        journeys.c.id.in_(pinned),
        journeys.c.id != journey,
        journeys.c.kind.in_(("deliver", "retrain")),
        journeys.c.state.in_(steps.FORWARD),
    )
    found = tuple(sorted(str(id) for id in tx.execute(query).scalars()))
    for one in found:
        steps.stop(tx, by=by, journey=one, because=WHY)
    return found


def end_kept(tx: Tx, ground: Ground, *, by: Principal, service: str) -> int:
    """End what a service kept for as long as its file says; the newest snapshot's index.

    Gateways stop at that moment by themselves; this is what the books say of it.
    """
    row = services.hold(tx, service)
    for there in roll.running(tx.connection, service):
        if there["until"] is not None and there["until"] <= tx.at:
            roll.end(tx, by, row, there, "ended", WHY)
    return publish(tx, ground, by=by)
