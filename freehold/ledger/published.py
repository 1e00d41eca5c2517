"""Do snapshots hold what they name, and does the newest one say of keys and withdrawals what the rows say?

Control lays out anew only what it was told has changed (`store.unpublished`); here all of it is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from freehold.ledger.ruled import Row
from freehold.spec.ids import digest_bytes
from freehold.spec.snapshot import NO_PAGES, Pages
from freehold.store import tables
from freehold.store.consented import ranked
from freehold.store.signing import inflated, kept_payload
from freehold.store.unpublished import ALL, waiting

Against = list[tuple[str, str]]
"""(place, why) of each disagreement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What is looked at of every snapshot there ever was: the rest of it is passed over unread."""

    key_pages: Pages = NO_PAGES
    withdrawal_pages: Pages = NO_PAGES

    def pages(self) -> tuple[str, ...]:
        return *self.key_pages.digests.values(), *self.withdrawal_pages.digests.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Says(_Names):
    """What is looked at of the newest one."""

    keys: tuple[dict[str, Any], ...]
    withdrawals: tuple[dict[str, Any], ...]


T = TypeVar("T", bound=_Names)


def disagreements(connection: sa.Connection) -> Against:
    """(place, why) of the first snapshot, page, key and person of each kind that disagrees."""
    there = set(connection.scalars(sa.select(tables.snapshot_pages.c.digest)))
    named, changed = _snapshots(connection)
    unnamed = [(_place(digest), "no snapshot names it") for digest in sorted(there - named.keys())]
    missing = [
        (_place(digest), f"snapshot {ix} names it, and it is not there")
        for digest, ix in named.items()
        if digest not in there
    ]
    newest = _newest(connection)
    against = (_let_in(connection, newest), _unheard(connection, newest)) if newest else ()
    each = (changed, _damaged(connection), unnamed, missing, *against)
    return [one for some in each for one in some[:1]]


def stands(connection: sa.Connection) -> bool:
    """Whether the newest snapshot has all of its pages, and says of all who withdrew that they did.

    What it says of keys is not only in their rows: who publishes makes them again, and compares.
    """
    newest = _newest(connection)
    if newest is None or not all(_page(connection, digest) for digest in newest.pages()):
        return False
    return not _unheard(connection, newest)


def _snapshots(connection: sa.Connection) -> tuple[dict[str, int], Against]:
    """Page -> a snapshot that names it; and snapshots that are not what was published.

    Of all there ever were, and each may be of some megabytes: only a few of them are in memory together.
    """
    s = tables.snapshots.c
    query = sa.select(s.ix, s.digest, s.envelope).order_by(s.ix)
    named: dict[str, int] = {}
    changed: Against = []
    for row in connection.execute(query, execution_options={"yield_per": 10}):  # to its end, which closes it
        try:
            payload = kept_payload(row.envelope)
        except _UNREADABLE as error:
            changed.append(("snapshots", f"a row cannot be read: {type(error).__name__}: {error}"))
            continue
        if digest_bytes(payload) != row.digest:
            changed.append((f"snapshots `{row.ix}`", "its envelope has another digest"))
        names = _read_as(_Names, payload)
        named |= dict.fromkeys(names.pages() if names else (), row.ix)
    return named, changed


def _damaged(connection: sa.Connection) -> Against:
    p = tables.snapshot_pages.c
    query = sa.select(p.digest, p.content).order_by(p.digest)
    rows = connection.execute(query, execution_options={"yield_per": 100})  # read to its end, which closes it
    found = [digest for digest, content in rows if digest_bytes(inflated(content)) != digest]
    return [(_place(digest), "its content has another digest") for digest in found]


SAME = ("secret_digest", "owner", "project", "purpose", "expires_at", "sensitivity")
"""What a snapshot says of a key in the words of its row; `release.publish` derives limits and guards."""


def _let_in(connection: sa.Connection, newest: _Says) -> Against:
    """Keys that the newest snapshot holds and that are void, no serving keys, or others than it says, while
    no change of them waits to be published."""
    k = tables.keys.c
    query = sa.select(k.id, k.services, *(k[name] for name in SAME))
    query = query.where(k.zone == "serving", k.revoked_at.is_(None))
    rows = connection.execute(query, execution_options={"yield_per": 1000})
    valid = {row.id: (*row[2:], _read(row.services)) for row in rows}
    why: dict[str, str] = {}
    for key in _records(connection, newest.keys, newest.key_pages):
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


def _unheard(connection: sa.Connection, newest: _Says) -> Against:
    """Who withdrew consent and is not in the newest snapshot, although no change of theirs waits."""
    said = ranked().c
    query = sa.select(said.project, said.subject, said.purpose)
    rows = connection.execute(query.where(said.rank == 1, said.state == "withdrawn"))
    withdrew = {(row.project, row.subject, row.purpose) for row in rows}
    records = _records(connection, newest.withdrawals, newest.withdrawal_pages)
    held = {(one["project"], one["subject"], one["purpose"]) for one in records}
    ids = {f"{project}/{subject}" for project, subject, _ in withdrew - held}
    why = "they withdrew, and the newest snapshot does not say so"
    return [
        (f"consents of `{id.partition('/')[2]}`", why) for id in _settled(connection, tables.consents, ids)
    ]


def _settled(connection: sa.Connection, table: sa.Table, ids: set[str]) -> list[str]:
    """Those whose change does not wait to be published."""
    changed = waiting(connection, table)
    return [] if ALL in changed else sorted(ids - changed)


def _records(connection: sa.Connection, here: Iterable[Row], paged: Pages) -> Iterator[Row]:
    """What stands in the snapshot and on its pages; nothing of a page that is not there: a finding itself."""
    yield from here
    for digest in paged.digests.values():
        yield from json.loads(_page(connection, digest) or b"[]")


def _page(connection: sa.Connection, digest: str) -> bytes:
    """Its bytes; nothing where it is not there, or another."""
    p = tables.snapshot_pages.c
    text = inflated(connection.scalar(sa.select(p.content).where(p.digest == digest)) or b"")
    return text if digest_bytes(text) == digest else b""


def _place(digest: str) -> str:
    return f"snapshot_pages `{digest[:19]}`"


def _newest(connection: sa.Connection) -> _Says | None:
    """None where there is none, or it cannot be read, a finding itself."""
    s = tables.snapshots.c
    envelope = connection.scalar(sa.select(s.envelope).order_by(s.ix.desc()).limit(1))
    try:
        return _read_as(_Says, kept_payload(envelope)) if envelope else None
    except _UNREADABLE:
        return None


_UNREADABLE = (ValueError, KeyError, TypeError)
"""What `kept_payload` raises."""


def _read_as(kind: type[T], payload: bytes) -> T | None:
    """None for what is none: then its digest is another one, a finding itself."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.DecodeError:
        return None
