"""The snapshot that gateways serve by: built from rows, signed, in the transaction that changed them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from freehold.errors import Failure
from freehold.ledger import published
from freehold.ledger.record import record
from freehold.policy.decide import Policies
from freehold.release import paged, views
from freehold.release.paged import Many, lay_out
from freehold.release.words import setting
from freehold.spec.ids import canonical, digest_bytes, new_id
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.snapshot import KEY_FORM, PAYLOAD_TYPE, WITHDRAWAL_FORM, Snapshot
from freehold.store import tables, unpublished
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.signing import Envelope, sign, verify
from freehold.store.tables import entries, ledger, settings, snapshots

PUBLISHED_PER_SECOND = 100
"""More snapshots than this no installation publishes for long: each is a durable commit."""

PLACED_WITHIN = 10_000_000
"""Microseconds in which a snapshot's entry has its place in the ledger where nothing is wrong."""


def publish(tx: Tx, ground: Ground, *, by: Principal) -> int:
    """Publish what the rows say now, and return the snapshot's index.

    Call it last in the transaction that changed a key, a service, a release or a consent: either
    both commit or neither, so no gateway ever serves by a change that was rolled back. What it costs follows
    from what changed, not from how many keys there are (`release.paged`).
    """
    return _publish(tx, ground, by, _next_ix(tx), before=_newest_as_signed(tx.connection, ground))


def publish_anew(tx: Tx, ground: Ground, *, by: Principal) -> int:
    """`publish`, and nothing of the snapshot before is gone by: rows that came another way, or a new form."""
    return _publish(tx, ground, by, _next_ix(tx), before=None)


def publish_after(tx: Tx, ground: Ground, *, by: Principal, made_at: int) -> int:
    """`publish_anew`, in rows that were restored from a backup made at `made_at`, microseconds UTC.

    Gateways take nothing that is not newer than what they have, and those that outlived control have
    rules that came after the backup: the index goes beyond any of them.
    """
    since = max(0, tx.at - made_at) // 1_000_000 + 1
    return _publish(tx, ground, by, _next_ix(tx) + PUBLISHED_PER_SECOND * since, before=None)


def _publish(tx: Tx, ground: Ground, by: Principal, ix: int, *, before: Snapshot | None) -> int:
    many = lay_out(tx, before)
    snapshot = build(tx.connection, ground, ix=ix, entry=new_id("ent"), at=tx.at, many=many)
    payload = snapshot.canonical()
    envelope = sign(ground.release_key, PAYLOAD_TYPE, payload)
    tx.execute(
        snapshots.insert().values(
            ix=ix,
            digest=digest_bytes(payload),
            envelope=envelope.kept(),
            created_at=tx.at,
        )
    )
    detail = {"ix": ix, "digest": digest_bytes(payload)}
    record(tx, "snapshot.published", by=by, object=_name(ix), detail=detail, entry=snapshot.entry)
    return ix


def _newest_as_signed(conn: sa.Connection, ground: Ground) -> Snapshot | None:
    """The newest snapshot; None where there is none, it is not as we signed it, or of another release."""
    text = conn.scalar(sa.select(snapshots.c.envelope).order_by(snapshots.c.ix.desc()).limit(1))
    if text is None:
        return None
    try:
        payload = verify(ground.release_key.public_key(), Envelope.from_kept(text), PAYLOAD_TYPE)
        found = _read(payload)
    except (Failure, msgspec.DecodeError, ValueError, KeyError, TypeError):
        return None
    return found if found.canonical() == payload else None


_read = msgspec.json.Decoder(Snapshot).decode


def build(
    conn: sa.Connection, ground: Ground, *, ix: int, entry: str, at: int, many: Many | None = None
) -> Snapshot:
    """What a gateway may know at this moment; without `many`, all of it in the snapshot itself."""
    client_ca, certificates = views.certificates(conn)
    if many is None:
        many = Many(keys=views.serving_keys(conn, at), withdrawals=views.withdrawals(conn))
    return Snapshot(
        ix=ix,
        entry=entry,
        issued_at=at,
        origin=ground.origin,
        spool_key=setting(conn, "spool_key"),
        lookup=views.lookup_keys(conn, ground),
        projects=views.project_limits(conn),
        keys=many.keys,
        key_pages=many.key_pages,
        issuers=views.issuers(conn),
        client_ca=client_ca,
        certificates=certificates,
        services=views.service_views(conn, ground),
        withdrawals=many.withdrawals,
        withdrawal_pages=many.withdrawal_pages,
        revoked=views.revoked(conn, at),
        forgotten_at=views.forgotten_at(conn),
        restraints=views.restraints(conn, at),
        policy=_policy(),
    )


def _policy() -> str:
    return digest_bytes(Policies.shipped().text.encode())


def publish_first(ground: Ground) -> int:
    """The newest snapshot's index; one is published on a fresh installation, after an upgrade, and when the
    newest lacks a page, or lets in whom the rows do not, or otherwise: every start holds it against them.

    A gateway refuses a snapshot that lacks a field it knows: it might have been a restriction. And one
    that names the policies of before would say of answers what is not so any more.
    """
    with ground.db.read() as conn:
        there = _newest_as_signed(conn, ground)
        if there is not None and _stands(conn, there):
            return there.ix
    with ground.db.write() as tx:
        return publish_anew(tx, ground, by=SYSTEM)


def newest_ix(conn: sa.Connection) -> int:
    """The newest snapshot's index; 0 when there is none."""
    return int(conn.scalar(sa.select(sa.func.coalesce(sa.func.max(snapshots.c.ix), 0))) or 0)


def newest(conn: sa.Connection, after: int) -> tuple[int, str] | None:
    """The newest snapshot above `after` as (index, signed envelope), once its entry has its place.

    A snapshot whose entry is not sequenced yet is left out: what a gateway serves by stands in the
    ledger first.
    """
    sequenced = (
        sa.select(sa.literal(1))
        .select_from(entries.join(ledger, ledger.c.id == entries.c.id))
        .where(entries.c.kind == "snapshot.published")
        .where(entries.c.object == sa.literal("snapshot:") + sa.cast(snapshots.c.ix, sa.String))
    )
    row = conn.execute(
        sa.select(snapshots.c.ix, snapshots.c.envelope)
        .where(snapshots.c.ix > after, sequenced.exists())
        .order_by(snapshots.c.ix.desc())
        .limit(1)
    ).first()
    return (row.ix, canonical(Envelope.from_kept(row.envelope).as_json()).decode()) if row else None


def is_held_back(conn: sa.Connection, above: int, at: int) -> bool:
    """Whether a snapshot above this index waits for its place so long that nobody may go by the one before.

    `above` is the newest one that has its place, or one above which none has.
    """
    s = snapshots.c
    waits = sa.select(s.ix).where(s.ix > above, s.created_at < at - PLACED_WITHIN).limit(1)
    return conn.scalar(waits) is not None


def pages(conn: sa.Connection, digests: Sequence[str]) -> list[bytes]:
    """What these pages of snapshots hold, in this order; nothing for one that there is not."""
    found = dict(paged.content(conn, digests))
    return [found.get(digest, b"") for digest in digests]


def envelope_of(conn: sa.Connection, ix: int) -> dict[str, object] | None:
    """The signed envelope of one snapshot, for whoever audits what was served when; `pages` has the rest."""
    text = conn.scalar(sa.select(snapshots.c.envelope).where(snapshots.c.ix == ix))
    return Envelope.from_kept(text).as_json() if text else None


def stale_for(conn: sa.Connection, ix: int, since: int = 0, until: int = 0) -> int:
    """Seconds for which a gateway goes by this snapshot without news, at most; 0 where it is not known.

    By this one, or by a later one that was the newest at some moment from `since` to `until`, microseconds
    UTC: what newer ones had replaced by then is handed to nobody, and is not read.
    """
    s = snapshots.c
    newest_then = sa.select(sa.func.coalesce(sa.func.max(s.ix), 0)).where(s.created_at <= since)
    later = (s.ix > ix) & (s.ix >= newest_then.scalar_subquery()) & (s.created_at <= until)
    query = sa.select(s.envelope).where((s.ix == ix) | later)
    found = (service for text in conn.scalars(query) for service in _said_in(text).get("services", ()))
    return max((int(service.get("stale_for", 0)) for service in found), default=0)


def _stands(conn: sa.Connection, newest: Snapshot) -> bool:
    """Whether it is of these policies, of records as this release makes them, and all that the rows say."""
    forms = ((newest.key_pages, KEY_FORM), (newest.withdrawal_pages, WITHDRAWAL_FORM))
    ours = newest.policy == _policy() and all(pages.form in ("", form) for pages, form in forms)
    return ours and published.stands(conn) and _is_of_the_rows(conn, newest)


def _is_of_the_rows(conn: sa.Connection, newest: Snapshot) -> bool:
    """Whether each key that the newest snapshot lets in is what this release makes of its row.

    One that expired meanwhile may stand there still; one whose change waits to be published is passed over.
    """
    waiting = unpublished.waiting(conn, tables.keys)
    if unpublished.ALL in waiting:
        return True
    rows = {key.id: key for key in views.serving_keys(conn, 0)}
    return all(rows.get(key.id) == key for key in paged.keys_in(conn, newest) if key.id not in waiting)


def _said_in(envelope: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(Envelope.from_kept(envelope).payload)
    return said


def _name(ix: int) -> str:
    return f"snapshot:{ix}"


def _next_ix(tx: Tx) -> int:
    # publishers meet at this row's lock on Postgres; on SQLite there is one writer anyway
    tx.execute(sa.select(settings.c.name).where(settings.c.name == "spool_key").with_for_update())
    return newest_ix(tx.connection) + 1
