"""Giving a model version a service's traffic, and giving it back.

The one place where a release is written; so the check that it may be stands here, not only in the
journey that leads to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, Refused
from freehold.ledger.record import record
from freehold.release import approvals, services, versions, words
from freehold.release.publish import newest_ix, publish
from freehold.release.services import Row
from freehold.release.versions import ModelVersion
from freehold.release.views import SERVING, SHARED
from freehold.spec.ids import canonical, new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import releases
from freehold.store.tables import services as services_table

ALL = 10_000
SIGNATURES = 2
"""What every tier but sandbox needs at least, whatever the service's file asks for."""


class NotReleasable(Refused):
    """`{model}` may not be released to `{service}`"""


class NothingToRollBackTo(Conflict):
    """`{service}` has no earlier release to go back to"""


FORGOTTEN = "it learned from somebody who was forgotten"
_TAKEN = "another release took its place"
_FIRST = "`freehold status SERVICE` shows its releases; `freehold stop` stops it altogether"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What gets traffic now, and the snapshot that says so."""

    release: str
    service: str
    model: str
    serving_digest: str
    snapshot: int


def release(
    tx: Tx,
    ground: Ground,
    *,
    by: Principal,
    service: str,
    model: str,
    weight: int = ALL,
    state: Literal["shadow", "canary", "ab", "live"] = "live",
    journey: str | None = None,
) -> Released:
    """Give `model` a share of `service`'s traffic and publish it, in one transaction.

    `live` takes all of it and ends what ran before; a `canary`, or the candidate of an A/B test (`ab`),
    takes `weight` of 10,000 beside the live release, under the same approvals; a `shadow` takes none, and
    gets copies of what the live one answers. Raises NotReleasable when the digest is not approved (sandbox:
    not evaluated), held or retired, or what is to be beside the live one reads other inputs than it;
    NothingToShare; NotFound; BadInput.
    """
    row = services.hold(tx, service)
    version = versions.find(tx.connection, model)
    signatures = check(tx.connection, row, version, tx.at)
    _check_share(tx, service, weight, state)
    now = running(tx.connection, service)
    if len(now) == 1 and _same(now[0], version, weight, state):
        id = now[0]["id"]  # only the service's own words changed
    else:
        _make_room(tx, by, row, now, version, weight, state)
        id = begin(tx, by, row, version, weight, state, signatures, journey)
    _go_live(tx, row)
    return Released(
        release=id,
        service=service,
        model=model,
        serving_digest=version.serving_digest,
        snapshot=publish(tx, ground, by=by),
    )


def _make_room(
    tx: Tx, by: Principal, service: Row, now: list[Row], version: ModelVersion, weight: int, state: str
) -> None:
    """What runs ends, or gives its share, for what is to begin; a shadow gives way to either."""
    if state != "live":
        _check_same_inputs(tx.connection, service, version, now[0])
        share(tx, by, service, now[0], ALL - weight)
    shadows = [] if (shadow := shadowing(tx.connection, service["name"])) is None else [shadow]
    for other in (*(now if state == "live" else ()), *shadows):
        end(tx, by, service, other, "ended", _why_it_ends(other, version, state))


def _why_it_ends(other: Row, version: ModelVersion, state: str) -> str:
    own = other["state"] in ("shadow", *SHARED) and other["model"] == version.id
    return f"it became {_BECAME.get(state, state)}" if own else _TAKEN


_BECAME = {"canary": "a canary", "ab": "the candidate of an A/B test"}


def weigh(
    tx: Tx,
    ground: Ground,
    *,
    by: Principal,
    release: str,
    weight: int,
    state: Literal["canary", "ab"] = "canary",
) -> int:
    """Give a running canary another share, the live release keeps the rest; the newest snapshot's index.

    With `ab` it is compared with the live release from then on. Publishes nothing when it has that share
    and state. Raises NothingToShare when it has ended, BadInput.
    """
    _check_weight(weight)
    found = tx.execute(sa.select(releases).where(releases.c.id == release)).mappings().first()
    if found is None or found["state"] not in SHARED:
        raise NothingToShare(service=found["service"] if found else release, why="the canary has ended")
    if (found["weight"], found["state"]) == (weight, state):
        return newest_ix(tx.connection)
    row = services.hold(tx, found["service"])
    for other in running(tx.connection, row["name"]):
        if other["id"] == release:
            share(tx, by, row, other, weight, state)
        else:
            share(tx, by, row, other, ALL - weight)
    return publish(tx, ground, by=by)


def check(conn: sa.Connection, service: Row, version: ModelVersion, at: int) -> tuple[str, ...]:
    """The approvals under which `version` may serve `service`; raises NotReleasable without them."""
    names = {"model": version.ref, "service": service["name"]}
    if service["kind"] != "own" or service["project"] != version.project:
        raise NotReleasable(**names, why="it belongs to another project, or the service is attached")
    if version.state == "forgotten":
        raise NotReleasable(**names, why=FORGOTTEN, hint="release the one that was rebuilt without them")
    if version.state in versions.UNSERVED:
        raise NotReleasable(**names, why=f"it is {version.state}", hint="release a version that is not")
    if service["tier"] == "sandbox":
        if version.state not in ("evaluated", "approved"):
            raise NotReleasable(**names, why="its gates have not been judged")
        return ()
    standing = approvals.standing(conn, version.id, version.serving_digest, service=service["name"], at=at)
    why = _unapproved(service, version, standing)
    if why:
        raise NotReleasable(**names, why=why, hint="`freehold approve` lists what waits")
    return tuple(approval.id for approval in standing.given)


def _unapproved(service: Row, version: ModelVersion, standing: approvals.Standing) -> str:
    needed = [said["role"] for said in services.spec_of(service)["approve"]]
    if not standing.complete or len(standing.given) < SIGNATURES:
        return f"{len(standing.given)} of {max(SIGNATURES, len(needed))} approvals of this digest count"
    if missing := approvals.missing_roles(needed, standing.given):
        return f"the approval of {' and '.join(missing)} is missing"
    return "" if version.state == "approved" else f"it is {version.state}, not approved"


def rollback(tx: Tx, ground: Ground, *, by: Principal, service: str, because: str) -> tuple[Released, str]:
    """Give the traffic back to the newest earlier release that may still serve.

    Returns the new release and the id of the one that was rolled back. A canary, or the candidate of an
    A/B test, goes first. A shadow ends with the release it was laid beside. Raises NothingToRollBackTo,
    BadInput without a reason.
    """
    row = services.hold(tx, service)
    reason = words.checked_reason(because, needed_for="a rollback")
    _check_own(row)
    current, target = plan_rollback(tx.connection, service, tx.at)
    if (shadow := shadowing(tx.connection, service)) is not None:
        end(tx, by, row, shadow, "ended", _TAKEN)
    place = f"release/{current['id']}"
    committed = words.commit_words(ground, row["project"], tx.at, place, reason)
    sealed = words.seal_words(ground, row["project"], tx.at, place, reason)
    end(tx, by, row, current, "rolled back", committed, sealed)
    if current["state"] in SHARED:
        share(tx, by, row, target, ALL)
        id = target["id"]
    else:
        version = versions.find(tx.connection, target["model"])
        signatures = check(tx.connection, row, version, tx.at)
        id = begin(tx, by, row, version, ALL, "live", signatures, None)
    return (
        Released(
            release=id,
            service=service,
            model=target["model"],
            serving_digest=target["serving_digest"],
            snapshot=publish(tx, ground, by=by),
        ),
        current["id"],
    )


def take_back(tx: Tx, ground: Ground, *, by: Principal, release: str, because: str) -> int:
    """Undo a release that did not come up; returns the newest snapshot's index.

    The traffic goes to the newest earlier release that may serve; where there is none, the service is
    `new` again and gateways no longer know it. Silent when the release is not running any more.
    `because` is a fixed phrase.
    """
    ended = tx.execute(sa.select(releases).where(releases.c.id == release)).mappings().first()
    if ended is None or ended["state"] not in (*SERVING, "shadow"):
        return newest_ix(tx.connection)
    row = services.hold(tx, ended["service"])
    end(tx, by, row, dict(ended), "rolled back", because)
    left = running(tx.connection, row["name"])
    if left:
        share(tx, by, row, left[0], ALL)
    elif row["kind"] == "own" and ended["state"] != "shadow":  # that had no traffic to give back
        _fall_back(tx, by, row, dict(ended))
    return publish(tx, ground, by=by)


def _fall_back(tx: Tx, by: Principal, service: Row, ended: Row) -> None:
    try:
        found = earlier(tx.connection, service, ended, tx.at)
    except NothingToRollBackTo:
        if service["state"] == "live":
            _set_state(tx, service, "new")
        return
    version = versions.find(tx.connection, found["model"])
    signatures = check(tx.connection, service, version, tx.at)
    begin(tx, by, service, version, ALL, "live", signatures, None)


def plan_rollback(conn: sa.Connection, service: str, at: int) -> tuple[Row, Row]:
    """What would end, and which release's model would take over. Raises NothingToRollBackTo."""
    row = services.find(conn, service)
    _check_own(row)
    now = running(conn, service)
    if not now:
        raise NothingToRollBackTo(service=service, why="it has no release at all", hint=_FIRST)
    beside, serving = next((r for r in now if r["state"] in SHARED), None), live(conn, service)
    if beside is not None and serving is not None:
        return beside, serving
    current = now[0]
    return current, earlier(conn, row, current, at)


def earlier(conn: sa.Connection, service: Row, current: Row, at: int) -> Row:
    """The newest earlier release whose model may still serve. Raises NothingToRollBackTo."""
    reasons = []
    for row in _went_well(conn, service["name"], not_digest=current["serving_digest"]):
        try:
            check(conn, service, versions.find(conn, row["model"]), at)
        except NotReleasable as refused:
            reasons.append(f"{refused.what}: {refused.why}")
            continue
        return row
    raise NothingToRollBackTo(
        service=service["name"],
        why="; ".join(reasons[:3]) or _why_none(conn, service["name"], current["serving_digest"]),
        hint=f"`freehold stop {service['name']} --because …` stops it at once",
    )


def _why_none(conn: sa.Connection, service: str, digest: str) -> str:
    others = sa.select(releases.c.id).where(
        releases.c.service == service, releases.c.serving_digest != digest
    )
    return "what ran beside it was rolled back itself" if conn.scalar(others) else "this is its first one"


def _went_well(conn: sa.Connection, service: str, *, not_digest: str) -> list[Row]:
    """Earlier releases, the last to end first; a digest whose last release was rolled back is left out."""
    query = (
        sa.select(releases)
        .where(releases.c.service == service, releases.c.model.is_not(None))
        .where(releases.c.weight > 0)  # what was a shadow answered nobody
        .order_by(releases.c.created_at, releases.c.id)
    )
    last = {row["serving_digest"]: dict(row) for row in conn.execute(query).mappings()}
    ended = [row for row in last.values() if row["state"] == "ended" and row["serving_digest"] != not_digest]
    return sorted(ended, key=lambda row: row["ended_at"], reverse=True)


def _check_own(service: Row) -> None:
    if service["kind"] != "own":
        raise NothingToRollBackTo(
            service=service["name"],
            why="an attached service has no model versions of ours",
            hint="attach it again as it was, with --replace",
        )


# -- rows -------------------------------------------------------------------------------------------


def running(conn: sa.Connection, service: str) -> list[Row]:
    """The releases that get traffic, the newest first."""
    query = (
        sa.select(releases)
        .where(releases.c.service == service, releases.c.state.in_(SERVING))
        .order_by(releases.c.created_at.desc(), releases.c.id.desc())
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def shadowing(conn: sa.Connection, service: str) -> Row | None:
    """The release that gets copies; mostly none."""
    query = sa.select(releases).where(releases.c.service == service, releases.c.state == "shadow")
    found = conn.execute(query).mappings().first()
    return dict(found) if found else None


def live(conn: sa.Connection, service: str) -> Row | None:
    """The release that is live; none before the first one."""
    return next((row for row in running(conn, service) if row["state"] == "live"), None)


def _same(there: Row, version: ModelVersion, weight: int, state: str) -> bool:
    now = (there["model"], there["serving_digest"], there["weight"], there["state"])
    return now == (version.id, version.serving_digest, weight, state)


def _check_share(tx: Tx, service: str, weight: int, state: str) -> None:
    if state == "live":
        if weight != ALL:
            raise BadInput(what="a live release takes all traffic", why=f"its weight is {ALL} of {ALL}")
        return
    if state == "shadow":
        if weight:
            raise BadInput(what="a shadow takes no traffic", why=f"its weight is 0 of {ALL}")
    else:
        _check_weight(weight)
    states = [r["state"] for r in running(tx.connection, service)]
    if states != ["live"]:
        raise NothingToShare(service=service, why=f"it has {len(states)} running releases")


def _check_weight(weight: int) -> None:
    if not 0 < weight < ALL:
        raise BadInput(what=f"a canary cannot weigh {weight}", why=f"it is between 1 and {ALL - 1} of {ALL}")


class NothingToShare(Conflict):
    """a canary or shadow on `{service}` needs exactly one live release beside it"""


def _check_same_inputs(conn: sa.Connection, service: Row, version: ModelVersion, live: Row) -> None:
    """Callers do not know which of the two they get, and copies are theirs: both have to read the same."""
    if versions.reads(conn, version.id) != versions.reads(conn, live["model"]):
        raise NotReleasable(
            model=version.ref,
            service=service["name"],
            why="it reads other inputs than the live model: a share of the callers would get errors",
            hint="write `rollout: [100%]`",
        )


def share(tx: Tx, by: Principal, service: Row, there: Row, weight: int, state: str = "") -> None:
    """Another share for a running release, and another state where one is named. Publishes nothing."""
    turns = {"state": state} if state not in ("", there["state"]) else {}
    if there["weight"] == weight and not turns:
        return
    tx.execute(releases.update().where(releases.c.id == there["id"]).values(weight=weight, **turns))
    detail = {"release": there["id"], "service": service["name"]}
    detail |= {"before": there["weight"], "weight": weight, **turns}
    record(tx, "release.weight", by=by, object=there["id"], project=service["project"], detail=detail)


def begin(
    tx: Tx,
    by: Principal,
    service: Row,
    version: ModelVersion,
    weight: int,
    state: str,
    signatures: tuple[str, ...],
    journey: str | None,
) -> str:
    """Write a release down, and return its id. Publishes nothing."""
    id = new_id("rel")
    values: dict[str, Any] = {
        "id": id,
        "service": service["name"],
        "serving_digest": version.serving_digest,
        "weight": weight,
        "state": state,
    }
    tx.execute(
        releases.insert().values(
            **values,
            model=version.id,
            approvals=canonical(list(signatures)).decode(),
            journey=journey,
            because="",
            created_at=tx.at,
        )
    )
    detail = {"release": id, **{name: value for name, value in values.items() if name != "id"}}
    record(tx, "release.begun", by=by, object=id, project=service["project"], detail=detail)
    return id


def end(
    tx: Tx, by: Principal, service: Row, ended: Row, state: str, because: str, kept: str | None = None
) -> None:
    """End a release; `because` goes to the ledger, `kept` to the row when it holds a person's words."""
    tx.execute(
        releases.update()
        .where(releases.c.id == ended["id"])
        .values(state=state, because=because if kept is None else kept, ended_at=tx.at)
    )
    detail = {"release": ended["id"], "service": service["name"], "state": state, "because": because}
    record(tx, "release.ended", by=by, object=ended["id"], project=service["project"], detail=detail)


def _go_live(tx: Tx, service: Row) -> None:
    """A first release makes a service live; a stopped one stays stopped until someone resumes it."""
    if service["state"] == "new":
        _set_state(tx, service, "live")


def _set_state(tx: Tx, service: Row, state: str) -> None:
    tx.execute(
        services_table.update()
        .where(services_table.c.name == service["name"])
        .values(state=state, changed_at=tx.at)
    )
