"""The certificate of a forgetting or a purge: signed, names nobody, holds without us.

Canonical JSON in a DSSE envelope, signed with the key that signs what crosses between the zones. It says
what was found, destroyed, made anew, retired, kept and out of reach, and which entries of the ledger
say so; their receipts lie beside it in the file that is handed out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.jobs.steps import Result
from freehold.ledger.certified import ISSUED, OF_PURGE, TYPE
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest_bytes, new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.signing import sign
from freehold.store.tables import certificates, entries

Row = Mapping[Any, Any]

_ABOUT = ("forgetting.asked", "forgetting.marked", "forgetting.removed", "forgetting.destroyed")
_CHECKED = "forgetting.checked"
_OF_PURGE = ("purge.begun", "purge.removed", "purge.destroyed", "purge.checked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A certificate that is signed and not written down yet."""

    id: str
    of: Mapping[str, str]
    """`forgetting` or `purge`, with its id."""
    project: str
    journey: str
    envelope: str
    entries: Mapping[str, str]


def make(ground: Ground, forgetting: Row, results: Mapping[str, Result]) -> Made:
    """Sign what the steps of a forgetting came to."""
    id = new_id("crt")
    with ground.db.read() as conn:
        about = _entries(conn, forgetting["id"], (*_ABOUT, _CHECKED))
    body = {
        "v": 1,
        "certificate": id,
        "installation": ground.origin,
        "project": forgetting["project"],
        "request": forgetting["request"],
        "forgetting": forgetting["id"],
        "asked_at": forgetting["asked_at"],
        "destroyed_at": forgetting["destroyed_at"],
        "issued_at": ground.clock(),
        "found": results["find"]["columns"],
        "done": {name: dict(results[name]) for name in ("remove", "destroy", "check")},
        "revoked": {name: results["revoke"][name] for name in ("digests", "services", "stopped")},
        "rebuilt": list(results["rebuild"]["rebuilds"]),
        "entries": {kind: said["digest"] for kind, said in about.items()},
    }
    envelope = sign(ground.release_key, TYPE, canonical(body)).as_json()
    return _made(id, {"forgetting": forgetting["id"]}, forgetting, envelope, about)


def of_purge(ground: Ground, purge: Row, results: Mapping[str, Result]) -> Made:
    """Sign what the steps of a purge came to."""
    id = new_id("crt")
    with ground.db.read() as conn:
        about = _entries(conn, purge["id"], _OF_PURGE)
    body = {
        "v": 1,
        "certificate": id,
        "installation": ground.origin,
        "project": purge["project"],
        "purge": purge["id"],
        "due_at": purge["due_at"],
        "issued_at": ground.clock(),
        "found": dict(results["find"]),
        "done": {name: dict(results[name]) for name in ("remove", "destroy", "check")},
        "kept": "the records of answers, pseudonymised and without words; versions as digests",
        "entries": {kind: said["digest"] for kind, said in about.items()},
    }
    envelope = sign(ground.release_key, OF_PURGE, canonical(body)).as_json()
    return _made(id, {"purge": purge["id"]}, purge, envelope, about)


def _made(
    id: str,
    of: Mapping[str, str],
    row: Row,
    envelope: Mapping[str, Any],
    about: Mapping[str, Mapping[str, str]],
) -> Made:
    return Made(
        id=id,
        of=of,
        project=row["project"],
        journey=row["journey"],
        envelope=canonical(dict(envelope)).decode(),
        entries={kind: said["id"] for kind, said in about.items()},
    )


def _entries(conn: sa.Connection, of: str, kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    query = sa.select(entries.c.kind, entries.c.id, entries.c.body).where(
        entries.c.object == of, entries.c.kind.in_(kinds)
    )
    rows = conn.execute(query.order_by(entries.c.at, entries.c.kind))
    return {row.kind: {"id": row.id, "digest": digest_bytes(row.body.encode())} for row in rows}


def issue(tx: Tx, made: Made, *, by: Principal) -> Result:
    """Write it down, with its entry."""
    found = digest_bytes(made.envelope.encode())
    tx.execute(
        certificates.insert().values(
            id=made.id,
            project=made.project,
            journey=made.journey,
            digest=found,
            envelope=made.envelope,
            entries=canonical(dict(made.entries)).decode(),
            created_at=tx.at,
        )
    )
    detail = {"certificate": made.id, **made.of, "digest": found}
    record(tx, ISSUED, by=by, object=made.id, project=made.project, detail=detail)
    return {"certificate": made.id, "digest": found}


def entries_of(conn: sa.Connection, issued: Row) -> dict[str, str]:
    """Kind -> id of the entries a certificate speaks of, and of the one about itself."""
    said: dict[str, str] = json.loads(issued["entries"])
    own = sa.select(entries.c.id).where(entries.c.object == issued["id"], entries.c.kind == ISSUED)
    return said | {ISSUED: str(conn.scalar(own))}


def of_journey(conn: sa.Connection, journey: str) -> Row | None:
    """The certificate that a journey ended with; none before that."""
    query = sa.select(certificates).where(certificates.c.journey == journey)
    return conn.execute(query).mappings().first()
