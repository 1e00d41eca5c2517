"""Do snapshots hold what they name, and does the newest one say of keys and withdrawals what the rows say?

Control lays out anew only what it was told has changed (`store.unpublished`); here all of it is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from freehold.spec.ids import digest_bytes
from freehold.spec.snapshot import NO_PAGES, Pages
from freehold.store import tables
from freehold.store.consented import ranked
from freehold.store.signing import inflated, kept_payload
from freehold.store.unpublished import ALL

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What is looked at of every snapshot there ever was: the rest of it is passed over unread."""

    key_pages: Pages = NO_PAGES
    withdrawal_pages: Pages = NO_PAGES


def _damaged(connection: sa.Connection) -> list[tuple[str, str]]:
    p = tables.snapshot_pages.c
    query = sa.select(p.digest, p.content).order_by(p.digest)
    rows = connection.execute(query, execution_options={"yield_per": 100})  # read to its end, which closes it
    found = [digest for digest, content in rows if digest_bytes(inflated(content)) != digest]
    return [(_place(digest), "its content has another digest") for digest in found]


def disagreements(connection: sa.Connection) -> list[tuple[str, str]]:
    """(place, why) of the first page, key and person of each kind that disagrees."""
    there = set(connection.scalars(sa.select(tables.snapshot_pages.c.digest)))
    named = _named(connection)
    unnamed = [(_place(digest), "no snapshot names it") for digest in sorted(there - named.keys())]
    missing = [
        (_place(digest), f"snapshot {ix} names it, and it is not there")
        for digest, ix in named.items()
        if digest not in there
    ]
    newest = _newest(connection)
    against = (_let_in(connection, newest), _unheard(connection, newest))
    return [one for some in (_damaged(connection), unnamed, missing, *against) for one in some[:1]]


def stands(connection: sa.Connection) -> bool:
    """Whether the newest snapshot has all of its pages, and lets in nobody whom the rows do not."""
    newest = _newest(connection)
    whole = all(_page(connection, digest) for digest in _pages_in(newest))
    return whole and not _let_in(connection, newest) and not _unheard(connection, newest)


SAME = ("secret_digest", "owner", "project", "purpose", "expires_at", "sensitivity")
"""What a snapshot says of a key in the words of its row; `release.publish` derives limits and guards."""


def _let_in(connection: sa.Connection, newest: Said) -> list[tuple[str, str]]:
    """Keys that the newest snapshot holds and that are void, no serving keys, or others than it says, while
    no change of them waits to be published."""
    k = tables.keys.c
    query = sa.select(k.id, k.services, *(k[name] for name in SAME))
    query = query.where(k.zone == "serving", k.revoked_at.is_(None))
    rows = connection.execute(query, execution_options={"yield_per": 1000})
    valid = {row.id: (*row[2:], _read(row.services)) for row in rows}
    why: dict[str, str] = {}
    for key in _records(connection, newest, "keys", "key_pages"):
        id, said = str(key["id"]), (*(key.get(name) for name in SAME), key.get("services"))
        if id not in valid:
            why[id] = "it is void, and the newest snapshot lets it in"
        elif said != valid[id]:
            why[id] = "the newest snapshot does not say of it what its row says"
    return [(f"keys `{id}`", why[id]) for id in _settled(connection, tables.keys, set(why))]


def _read(text: str) -> Any:
    """None for what is no JSON: no snapshot says that."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _unheard(connection: sa.Connection, newest: Said) -> list[tuple[str, str]]:
    """Who withdrew consent and is not in the newest snapshot, although no change of theirs waits."""
    if not newest:
        return []
    said = ranked().c
    query = sa.select(said.project, said.subject, said.purpose)
    rows = connection.execute(query.where(said.rank == 1, said.state == "withdrawn"))
    withdrew = {(row.project, row.subject, row.purpose) for row in rows}
    records = _records(connection, newest, "withdrawals", "withdrawal_pages")
    held = {(one["project"], one["subject"], one["purpose"]) for one in records}
    ids = {f"{project}/{subject}" for project, subject, _ in withdrew - held}
    why = "they withdrew, and the newest snapshot does not say so"
    return [
        (f"consents of `{id.partition('/')[2]}`", why) for id in _settled(connection, tables.consents, ids)
    ]


def _settled(connection: sa.Connection, table: sa.Table, ids: set[str]) -> list[str]:
    """Those whose change does not wait to be published."""
    u = tables.unpublished.c
    waiting = set(connection.scalars(sa.select(u.id).where(u.about == table.name)))
    return [] if ALL in waiting else sorted(ids - waiting)


def _records(connection: sa.Connection, newest: Said, here: str, paged: str) -> Iterator[Mapping[str, Any]]:
    """What stands in the snapshot and on its pages; nothing of a page that is not there: a finding itself."""
    yield from newest.get(here, ())
    for digest in newest.get(paged, {}).get("digests", {}).values():
        yield from json.loads(_page(connection, digest) or b"[]")


def _page(connection: sa.Connection, digest: str) -> bytes:
    """Its bytes; nothing where it is not there, or another."""
    p = tables.snapshot_pages.c
    text = inflated(connection.scalar(sa.select(p.content).where(p.digest == digest)) or b"")
    return text if digest_bytes(text) == digest else b""


def _place(digest: str) -> str:
    return f"snapshot_pages `{digest[:19]}`"


def _named(connection: sa.Connection) -> dict[str, int]:
    """Page -> a snapshot that names it."""
    query = sa.select(tables.snapshots.c.ix, tables.snapshots.c.envelope)
    rows = connection.execute(query, execution_options={"yield_per": 100})
    return {digest: ix for ix, envelope in rows for digest in _names(envelope)}


def _names(envelope: str) -> Iterator[str]:
    """The pages that a snapshot names; none where it cannot be read, a finding itself (`ledger.agree`)."""
    try:
        found = msgspec.json.decode(kept_payload(envelope), type=_Names)
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return
    yield from found.key_pages.digests.values()
    yield from found.withdrawal_pages.digests.values()


def _newest(connection: sa.Connection) -> Said:
    s = tables.snapshots.c
    return _said(connection.scalar(sa.select(s.envelope).order_by(s.ix.desc()).limit(1)))


def _said(envelope: str | None) -> Said:
    """What a snapshot says; nothing where it cannot be read, a finding itself (`ledger.agree`)."""
    try:
        said = json.loads(kept_payload(envelope)) if envelope else {}
    except (ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}


def _pages_in(said: Said) -> Iterator[str]:
    for collection in ("key_pages", "withdrawal_pages"):
        yield from said.get(collection, {}).get("digests", {}).values()
