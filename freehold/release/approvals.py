"""Approvals: who has to decide, who decided, and whether it still counts.

A set of approvals is asked for at once, one per role a service names, and bound to one serving
digest. Each is decided by another person, none of them the owner or the submitter. One refusal ends
the set. What was given counts only while the digest is the same and it has not expired.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound, Refused
from freehold.ledger.record import record
from freehold.release import notices, services, versions, words
from freehold.spec.ids import canonical, new_id
from freehold.spec.principal import APPROVER_ROLES, Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import approvals, models

DAY = 86_400 * 1_000_000
DECIDE_WITHIN = 14 * DAY
"""A question nobody answered in two weeks is asked again, not answered late."""
COUNTS_FOR = 365 * DAY
"""After a year a given approval no longer starts a release; what runs, runs on."""

State = Literal["waiting", "given", "refused", "void", "expired"]


class AlreadyDecided(Conflict):
    """`{approval}` is decided already"""


class ApprovalVoid(Conflict):
    """`{approval}` no longer counts"""


class NotYours(Refused):
    """`{approval}` is not yours to decide"""


class NothingToApprove(Conflict):
    """`{model}` cannot be put to approval"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One signature that was asked for, as it stands now."""

    id: str
    project: str
    service: str
    journey: str | None
    model: str
    serving_digest: str
    role: str
    state: State
    evidence: Mapping[str, Any]
    requested_by: str
    decided_by: str | None
    because: str
    """The reason as its row holds it: sealed; `words.open_words` opens it."""
    requested_at: int
    decided_at: int | None
    expires_at: int | None

    @property
    def place(self) -> str:
        """What the sealed reason is bound to."""
        return f"approval/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a set of approvals stands."""

    given: tuple[Approval, ...] = ()
    waiting: tuple[Approval, ...] = ()
    refused: tuple[Approval, ...] = ()
    void: tuple[Approval, ...] = ()
    """Void or expired."""

    @property
    def complete(self) -> bool:
        """Every one that was asked for is given, each by another person."""
        deciders = {approval.decided_by for approval in self.given}
        return (
            bool(self.given)
            and not (self.waiting or self.refused or self.void)
            and len(deciders) == len(self.given)
        )


# -- asking -----------------------------------------------------------------------------------------


def request(
    tx: Tx,
    ground: Ground,
    *,
    by: Principal,
    service: str,
    model: str,
    serving_digest: str,
    roles: Sequence[str],
    owner: str,
    submitter: str,
    evidence: Mapping[str, Any],
    journey: str | None,
    since: int = 0,
) -> tuple[str, ...]:
    """Ask for one approval per entry of `roles`; returns their ids.

    A repeat returns the set that waits or stands already, where it was asked for after `since`. An older
    candidate of the same service that still waits gives way: its approvals are void. Raises NothingToApprove,
    BadInput.
    """
    _hold_model(tx, model)
    _check_request(tx.connection, model, serving_digest, roles)
    known = _set(tx.connection, model, serving_digest, service, tx.at)
    asked_then = all(approval.requested_at >= since for approval in known)
    if known and asked_then and all(approval.state in ("waiting", "given") for approval in known):
        return tuple(approval.id for approval in known)
    _give_way(tx, by, service)
    project = services.find(tx.connection, service)["project"]
    said = canonical({**evidence, "owner": owner}).decode()
    ids = tuple(sorted(new_id("apr") for _ in roles))  # so that a set reads in the order of its roles
    for id, role in zip(ids, roles, strict=True):
        tx.execute(
            approvals.insert().values(
                id=id,
                project=project,
                service=service,
                journey=journey,
                model=model,
                serving_digest=serving_digest,
                role=role,
                state="waiting",
                evidence=said,
                requested_by=submitter,
                because="",
                requested_at=tx.at,
                expires_at=tx.at + DECIDE_WITHIN,
            )
        )
        detail = {"approval": id, "service": service, "serving_digest": serving_digest, "role": role}
        detail["evidence"] = str(evidence.get("card", "")) or "-"
        record(tx, "approval.requested", by=by, object=id, project=project, detail=detail)
        notices.tell_approvers(tx, approval=find(tx.connection, id, tx.at), owner=owner)
    return ids


def _hold_model(tx: Tx, model: str) -> None:
    """Deciders of one candidate meet at its row, so that one of two at once sees that it is the last."""
    tx.execute(sa.select(models.c.id).where(models.c.id == model).with_for_update())


def _check_request(conn: sa.Connection, model: str, serving_digest: str, roles: Sequence[str]) -> None:
    version = versions.find(conn, model)
    if version.state == "forgotten":
        raise NothingToApprove(
            model=version.ref,
            why="it learned from somebody who was forgotten",
            hint="approve the one that is rebuilt without them",
        )
    if unknown := set(roles) - APPROVER_ROLES:
        raise BadInput(
            what=f"`{min(unknown)}` is no role that approves",
            why=f"it is one of {', '.join(sorted(APPROVER_ROLES))}",
        )
    if version.state not in ("evaluated", "approved"):
        raise NothingToApprove(model=version.ref, why=f"it is {version.state}, not evaluated")
    if version.serving_digest != serving_digest:
        raise NothingToApprove(model=version.ref, why="its serving digest is another one")
    if not roles:
        raise NothingToApprove(model=version.ref, why="nobody is named who would have to decide")


def _give_way(tx: Tx, by: Principal, service: str) -> None:
    query = approvals.select().where(approvals.c.service == service, approvals.c.state == "waiting")
    for row in tx.execute(query).mappings().all():
        void(tx, by=by, approval=row["id"], because="another candidate took its place")


def void(tx: Tx, *, by: Principal, approval: str, because: str) -> None:
    """An approval no longer counts; `because` is a fixed phrase. Silent when it is void already."""
    now = find(tx.connection, approval, tx.at)
    if now.state == "void":
        return
    tx.execute(approvals.update().where(approvals.c.id == approval).values(state="void", because=because))
    detail = {"approval": approval, "because": because}
    record(tx, "approval.void", by=by, object=approval, project=now.project, detail=detail)


# -- deciding ---------------------------------------------------------------------------------------


def decide(
    tx: Tx, ground: Ground, *, by: Principal, approval: str, give: bool, because: str = ""
) -> Approval:
    """Give or refuse one approval. A refusal needs a reason.

    The last one given makes the model version approved; one refusal holds it and voids the rest.
    Raises NotFound, AlreadyDecided, ApprovalVoid, NotYours, BadInput.
    """
    _hold_model(tx, find(tx.connection, approval, tx.at).model)
    now = find(tx.connection, approval, tx.at)
    _refuse_closed(now)
    if why := why_not(tx.connection, by, now):
        raise NotYours(approval=approval, why=why, hint="it needs another person")
    reason = words.checked_reason(because, needed_for="" if give else "a refusal")
    state = "given" if give else "refused"
    tx.execute(
        approvals.update()
        .where(approvals.c.id == approval)
        .values(
            state=state,
            decided_by=by.id,
            decided_at=tx.at,
            because=words.seal_words(ground, now.project, tx.at, now.place, reason),
            expires_at=tx.at + COUNTS_FOR,
        )
    )
    detail = {"approval": approval, "serving_digest": now.serving_digest, "role": now.role}
    detail["because"] = words.commit_words(ground, now.project, tx.at, now.place, reason) if reason else "-"
    record(tx, f"approval.{state}", by=by, object=approval, project=now.project, detail=detail)
    _follow(tx, by, now)
    return find(tx.connection, approval, tx.at)


def _follow(tx: Tx, by: Principal, decided: Approval) -> None:
    """What a decision brings about for the model and for the others of its set."""
    state = versions.find(tx.connection, decided.model).state
    now = standing(tx.connection, decided.model, decided.serving_digest, service=decided.service, at=tx.at)
    if now.refused:
        for other in now.waiting:
            void(tx, by=by, approval=other.id, because="another approver refused")
        if state == "evaluated":
            because = f"refused by {now.refused[0].role}"
            versions.set_state(tx, by=by, model=decided.model, state="held", because=because)
    elif now.complete and state == "evaluated":
        versions.set_state(tx, by=by, model=decided.model, state="approved")


def _refuse_closed(now: Approval) -> None:
    if now.state in ("given", "refused"):
        raise AlreadyDecided(approval=now.id, why=f"it was {now.state} by {now.decided_by}")
    if now.state == "expired":
        raise ApprovalVoid(
            approval=now.id, why="nobody decided in time", hint="apply the service again to ask anew"
        )
    if now.state == "void":
        raise ApprovalVoid(approval=now.id, why=now.because or "the model's serving digest is another now")


def why_not(conn: sa.Connection, by: Principal, approval: Approval) -> str:
    """Why this person may not decide this approval; empty when they may."""
    if by.kind != "person":
        return "only a person approves"
    if not _holds(by, approval):
        return f"it asks for the role {approval.role} in {approval.project}"
    if by.id == approval.requested_by:
        return "you submitted it"
    if by.id in services.owner_ids(conn, str(approval.evidence.get("owner", ""))):
        return "you own the service"
    others = _set(conn, approval.model, approval.serving_digest, approval.service, 0)
    if any(o.decided_by == by.id and o.id != approval.id for o in others):
        return "you signed another approval of this candidate: each needs another person"
    return ""


def _holds(by: Principal, approval: Approval) -> bool:
    """`approver` stands for any role that approves; a named role only for itself."""
    roles = APPROVER_ROLES if approval.role == "approver" else {approval.role}
    return any(by.has(role, approval.project) for role in roles)


# -- reading ----------------------------------------------------------------------------------------


def find(conn: sa.Connection, approval: str, at: int) -> Approval:
    """One approval as it stands at `at`. Raises NotFound."""
    found = _read(conn, at, approvals.c.id == approval)
    if not found:
        raise NotFound(kind="approval", name=approval[:80], hint="`freehold approve` lists what waits")
    return found[0]


def listed(
    conn: sa.Connection, at: int, *, state: str | None = None, most: int = 500
) -> tuple[Approval, ...]:
    """The newest approvals first; only those in `state` as it stands at `at`."""
    # what counts as waiting or given is written so too; void and expired also come about by themselves
    where = approvals.c.state == state if state in ("waiting", "given", "refused") else sa.true()
    newest = _query(where).order_by(approvals.c.requested_at.desc(), approvals.c.id).limit(most)
    found = [_approval(row, at) for row in conn.execute(newest).mappings()]
    return tuple(approval for approval in found if state in (None, approval.state))


def standing(
    conn: sa.Connection, model: str, serving_digest: str, *, service: str | None = None, at: int | None = None
) -> Standing:
    """How the newest set for this model and digest stands; `at` decides what has expired."""
    from freehold.spec.ids import now

    found = _set(conn, model, serving_digest, service, now() if at is None else at)
    by_state = {s: tuple(a for a in found if a.state == s) for s in ("given", "waiting", "refused")}
    void_ones = tuple(a for a in found if a.state in ("void", "expired"))
    return Standing(**by_state, void=void_ones)


def missing_roles(needed: Sequence[str], given: Sequence[Approval]) -> tuple[str, ...]:
    """The roles that are needed and not given, each as often as it is missing."""
    left = Counter(needed)
    for approval in given:
        if left[approval.role] > 0:
            left[approval.role] -= 1
    return tuple(sorted(left.elements()))


def _set(
    conn: sa.Connection, model: str, serving_digest: str, service: str | None, at: int
) -> tuple[Approval, ...]:
    """The newest set: what is asked for together shares its moment."""
    where = sa.and_(approvals.c.model == model, approvals.c.serving_digest == serving_digest)
    if service is not None:
        where = sa.and_(where, approvals.c.service == service)
    found = _read(conn, at, where)
    newest = max((a.requested_at for a in found), default=0)
    return tuple(a for a in found if a.requested_at == newest)


def _read(conn: sa.Connection, at: int, where: sa.ColumnElement[bool]) -> tuple[Approval, ...]:
    rows = conn.execute(_query(where).order_by(approvals.c.requested_at, approvals.c.id))
    return tuple(_approval(row, at) for row in rows.mappings())


def _query(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Approvals with the digest their model has now."""
    return (
        sa.select(approvals, models.c.serving_digest.label("digest_now"))
        .join(models, models.c.id == approvals.c.model)
        .where(where)
    )


def _approval(row: Mapping[Any, Any], at: int) -> Approval:
    names = [name for name in Approval.__dataclass_fields__ if name not in ("state", "evidence")]
    return Approval(
        **{name: row[name] for name in names},
        state=_state(row, at),
        evidence=json.loads(row["evidence"]),
    )


def _state(row: Mapping[Any, Any], at: int) -> State:
    """The state as it counts: a changed digest voids, and time expires, without anybody writing it."""
    state: State = row["state"]
    if state in ("waiting", "given"):
        if row["digest_now"] != row["serving_digest"]:
            return "void"
        if row["expires_at"] is not None and row["expires_at"] <= at:
            return "expired"
    return state
