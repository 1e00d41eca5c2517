"""Telling people that something waits or failed: an outbox in the change's transaction.

A courier empties it later. A notice names ids and links, never a person beyond its recipient. Where notices
go stands in the setting `notices`; a mail's target is a person's id, and the address is looked up when it is
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound
from freehold.ledger.record import record
from freehold.release import settings
from freehold.release.address import checked_url, shown
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import APPROVER_ROLES, INSTALLATION, Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import memberships, notices, people

if TYPE_CHECKING:
    from freehold.jobs.steps import Journey
    from freehold.release.approvals import Approval

SETTING = "notices"
SHORTEST_SECRET = 24
"""Characters of a shared webhook secret, so that it cannot be guessed."""

SECRETS = "notice/"
"""How the keyring's names of webhook addresses and secrets begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One place notices go to."""

    id: str
    kind: Literal["webhook", "mail"]
    to: str = "approvers"
    """A webhook's scheme and host. Its path is often a secret: the whole address is in the keyring."""
    digest: str = ""
    """Of a webhook's whole address."""
    signed: Literal["ed25519", "hmac", ""] = ""


def channels(conn: sa.Connection) -> tuple[Channel, ...]:
    """Where notices go."""
    return tuple(Channel(**one) for one in settings.said(conn, SETTING) or ())


def add_webhook(tx: Tx, ground: Ground, *, by: Principal, url: str, secret: str | None = None) -> Channel:
    """Send notices to `url`, signed with Ed25519, or by HMAC when a shared secret is given.

    Raises BadInput for an address that may not be called or a secret that is too short, Conflict when
    it is there already.
    """
    url = checked_url(url, what="webhook")
    there = channels(tx.connection)
    if any(channel.digest == digest(url) for channel in there):
        raise Conflict(
            what="notices go there already",
            why="an address is told once",
            hint="`freehold notify list` shows it",
        )
    if secret is not None:
        _check_secret(secret)
    channel = Channel(
        id=new_id("ntc"),
        kind="webhook",
        to=shown(url),
        digest=digest(url),
        signed="hmac" if secret else "ed25519",
    )
    ground.keyring.put(secret_name(channel.id), canonical({"url": url, "secret": secret or ""}))
    _keep(tx, by, (*there, channel), changed=channel)
    return channel


def add_mail(tx: Tx, *, by: Principal) -> Channel:
    """Write to everyone who may decide. Raises Conflict when it is on already."""
    there = channels(tx.connection)
    if any(channel.kind == "mail" for channel in there):
        raise Conflict(
            what="approvers are written to already", why="mail is on", hint="`freehold notify list` shows it"
        )
    channel = Channel(id=new_id("ntc"), kind="mail")
    _keep(tx, by, (*there, channel), changed=channel)
    return channel


def remove(tx: Tx, *, by: Principal, channel: str) -> None:
    """Send no more notices there. Raises NotFound."""
    there = channels(tx.connection)
    gone = next((c for c in there if c.id == channel), None)
    if gone is None:
        raise NotFound(kind="notice channel", name=channel[:80], hint="`freehold notify list`")
    _keep(tx, by, tuple(c for c in there if c is not gone), changed=gone)


def destroy_secrets(ground: Ground) -> int:
    """Drop from the keyring what belongs to no channel any more; says how many. After a removal's commit.

    Looks at all of them, so that what a crash left behind goes with the next removal; in a writing
    transaction, so that a webhook that is just being added is not among them.
    """
    with ground.db.write() as tx:
        kept = {secret_name(channel.id) for channel in channels(tx.connection)}
        left = [name for name in ground.keyring.names(SECRETS) if name not in kept]
        ground.keyring.drop(left)
    return len(left)


def secret_name(channel: str) -> str:
    """The keyring's name for a webhook's address and shared secret."""
    return f"{SECRETS}{channel}"


def _check_secret(secret: str) -> None:
    if len(secret) < SHORTEST_SECRET:
        raise BadInput(
            what="the webhook secret is too short",
            why=f"{len(secret)} characters, {SHORTEST_SECRET} at least",
            hint="`openssl rand -base64 32` makes one",
        )


def _keep(tx: Tx, by: Principal, all_of_them: tuple[Channel, ...], changed: Channel) -> None:
    settings.keep(tx, SETTING, [asdict(channel) for channel in all_of_them])
    detail = {"channel": changed.kind, "target": changed.digest or changed.to}
    record(tx, "notice.configured", by=by, object=changed.id, detail=detail)


# -- the outbox -------------------------------------------------------------------------------------


def tell_approvers(tx: Tx, *, approval: Approval, owner: str) -> None:
    """Put notices of a waiting approval into the outbox: one per webhook, one per eligible person."""
    body = {
        "event": "approval.requested",
        "approval": approval.id,
        "project": approval.project,
        "service": approval.service,
        "model": approval.model,
        "role": approval.role,
        "serving_digest": approval.serving_digest,
        "expires_at": approval.expires_at,
        "link": f"/approvals/{approval.id}",
    }
    _tell(tx, body, lambda: _eligible(tx.connection, approval, owner))


def tell_ended(tx: Tx, *, journey: Journey, state: str, owner: str, role: str) -> None:
    """Put notices of a journey that failed or is held into the outbox: one per webhook, one per person.

    It is written to whoever asked for it and to the service's `owner` (an address); where neither is a person
    here, to whoever has `role` in the project. Why it ended is not in it: that stands where they may look.
    """
    body = {
        "event": f"journey.{state}",
        "journey": journey.id,
        "kind": journey.kind,
        "project": journey.project,
        "service": journey.service,
        "link": f"/services/{journey.service}" if journey.service else "/",
    }
    _tell(tx, body, lambda: _concerned(tx.connection, journey, owner, role))


def tell_incident(tx: Tx, *, incident: Mapping[str, Any]) -> None:
    """Put notices of an incident into the outbox: one per webhook, one per operator of its project.

    Where it has none, they go to administrators.
    """
    body = {
        "event": "incident.opened",
        "incident": incident["id"],
        "project": incident["project"],
        "service": incident["service"],
        "rule": incident["rule"],
        "does": incident["does"],
        "link": f"/incidents/{incident['id']}",
    }
    _tell(tx, body, lambda: _in_charge(tx.connection, incident["project"]))


def _tell(tx: Tx, body: Mapping[str, Any], whom: Callable[[], Sequence[str]]) -> None:
    """One notice for each webhook; by mail one for each person, who are looked up only then."""
    for channel in channels(tx.connection):
        for target in [channel.id] if channel.kind == "webhook" else whom():
            put(tx, channel=channel, target=target, body=body)


def put(tx: Tx, *, channel: Channel, target: str, body: Mapping[str, Any]) -> str:
    """Put one notice into the outbox; `target` is a channel's id or a person's. Returns its id."""
    notice = new_id("not")
    tx.execute(
        notices.insert().values(
            id=notice,
            channel=channel.kind,
            target=target,
            body=canonical({"id": notice, "at": tx.at, **body}).decode(),
            state="waiting",
            attempts=0,
            because="",
            next_at=tx.at,
            created_at=tx.at,
        )
    )
    return notice


def _eligible(conn: sa.Connection, approval: Approval, owner: str) -> list[str]:
    """Active people with the role in the project, but neither the submitter nor the owner."""
    roles = APPROVER_ROLES if approval.role == "approver" else {approval.role}
    not_them = {approval.requested_by, owner.lower()}
    there = _with_role(conn, approval.project, roles)
    return [one.id for one in there if not not_them & {one.id, one.email.lower()}]


def _concerned(conn: sa.Connection, journey: Journey, owner: str, role: str) -> list[str]:
    """Active people: who asked for a journey and whose service it is about, else those with the role."""
    p = people.c
    theirs = (p.id == journey.submitted_by) | (sa.func.lower(p.email) == owner.lower())
    found = conn.scalars(sa.select(p.id).where(p.state == "active", theirs).order_by(p.id)).all()
    return [*found] or [one.id for one in _with_role(conn, journey.project, {role})]


def _in_charge(conn: sa.Connection, project: str) -> list[str]:
    """Operators of a project, else administrators."""
    there = _with_role(conn, project, {"operator"}) or _with_role(conn, project, {"administrator"})
    return [one.id for one in there]


def _with_role(conn: sa.Connection, project: str, roles: Collection[str]) -> Sequence[sa.Row[Any, Any]]:
    """Active people with one of these roles in a project: id and address."""
    return conn.execute(
        sa.select(people.c.id, people.c.email)
        .join(memberships, memberships.c.person == people.c.id)
        .where(people.c.state == "active", memberships.c.role.in_(sorted(roles)))
        .where(memberships.c.project.in_((project, INSTALLATION)))
        .distinct()
        .order_by(people.c.id)
    ).all()
