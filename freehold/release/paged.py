"""What snapshots hold many of, laid out so that one change does not lay out everything anew.

Few records stand in the snapshot itself. Many stand in pages by the last letters of their ids, under the
digest of their bytes: after a change only the pages of what changed are made again, from the rows, and the
snapshot goes on naming the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from freehold.release import views
from freehold.spec.ids import digest_bytes
from freehold.spec.snapshot import (
    FEW,
    KEY_FORM,
    NO_PAGES,
    WITHDRAWAL_FORM,
    KeyView,
    Pages,
    Snapshot,
    Withdrawal,
    page_of,
)
from freehold.store import unpublished
from freehold.store.few import few
from freehold.store.rows import Tx
from freehold.store.signing import deflated, inflated
from freehold.store.tables import consents, keys, snapshot_pages

T = TypeVar("T", KeyView, Withdrawal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """One of the two collections that grow with a house."""

    table: sa.Table
    """Whose rows they come from; who changes one names it."""
    form: str
    read: Callable[[bytes], tuple[T, ...]]
    """A page's records."""
    rows: Callable[[sa.Connection, int, Sequence[str] | None], tuple[T, ...]]
    """What the rows say at a moment, of these ids or of all."""
    order: Callable[[T], tuple[str, ...]]


KEYS: Kind[KeyView] = Kind(
    table=keys,
    form=KEY_FORM,
    read=msgspec.json.Decoder(tuple[KeyView, ...]).decode,
    rows=views.serving_keys,
    order=lambda key: (key.id,),
)
WITHDRAWALS: Kind[Withdrawal] = Kind(
    table=consents,
    form=WITHDRAWAL_FORM,
    read=msgspec.json.Decoder(tuple[Withdrawal, ...]).decode,
    rows=lambda conn, _at, ids: views.withdrawals(conn, ids),
    order=lambda one: (one.project, one.subject, one.purpose),
)
_written = msgspec.json.Encoder(order="sorted").encode
_AT_ONCE = 100
"""Pages in one query: of all there are so many are in memory together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """Both of them, as the next snapshot has them."""

    keys: tuple[KeyView, ...]
    key_pages: Pages = NO_PAGES
    withdrawals: tuple[Withdrawal, ...]
    withdrawal_pages: Pages = NO_PAGES


def lay_out(tx: Tx, before: Snapshot | None) -> Many:
    """What the rows say now, on the pages of the snapshot `before` where nothing changed; None: on new ones.

    What is held from before is only which records there were: each page that is made again is read from the
    rows, so that nothing in it is older than they are.
    """
    keys, key_pages = _laid_out(tx, KEYS, (before.keys, before.key_pages) if before else None)
    held = (before.withdrawals, before.withdrawal_pages) if before else None
    withdrawals, withdrawal_pages = _laid_out(tx, WITHDRAWALS, held)
    return Many(keys=keys, key_pages=key_pages, withdrawals=withdrawals, withdrawal_pages=withdrawal_pages)


def _laid_out(
    tx: Tx, kind: Kind[T], before: tuple[tuple[T, ...], Pages] | None
) -> tuple[tuple[T, ...], Pages]:
    changed = unpublished.take(tx, kind.table)
    if before is None or changed is None or before[1].form not in ("", kind.form):
        return _begun(tx, kind, kind.rows(tx.connection, tx.at, None))
    here, pages = before
    if pages.form:
        return _turned(tx, kind, pages, changed)
    known = changed.union(record.id for record in here)
    return _begun(tx, kind, kind.rows(tx.connection, tx.at, tuple(known)))


def _begun(tx: Tx, kind: Kind[T], records: tuple[T, ...]) -> tuple[tuple[T, ...], Pages]:
    """All of them: in the snapshot while they are few, else on pages."""
    if len(records) <= FEW:
        return records, NO_PAGES
    by_page: dict[str, list[T]] = defaultdict(list)
    for record in records:
        by_page[page_of(record.id)].append(record)
    return (), Pages(form=kind.form, digests=_kept(tx, kind, by_page))


def _turned(tx: Tx, kind: Kind[T], pages: Pages, changed: frozenset[str]) -> tuple[tuple[T, ...], Pages]:
    """The pages with what changed; those without any of it stay."""
    if not changed:
        return (), pages
    ids: dict[str, set[str]] = defaultdict(set)
    for id in changed:
        ids[page_of(id)].add(id)
    there = {name: pages.digests[name] for name in ids if name in pages.digests}
    found = dict(content(tx.connection, tuple(there.values())))
    if len(found) < len(there):  # who was on it is not known any more
        return _begun(tx, kind, kind.rows(tx.connection, tx.at, None))
    for name, digest in there.items():
        ids[name] |= {record.id for record in kind.read(found[digest])}
    again = {name: kind.rows(tx.connection, tx.at, tuple(some)) for name, some in ids.items()}
    digests = {name: digest for name, digest in pages.digests.items() if name not in again}
    return (), replace(pages, digests=digests | _kept(tx, kind, again))


def keys_in(conn: sa.Connection, snapshot: Snapshot) -> Iterator[KeyView]:
    """Every key that a snapshot lets in, here and on the pages that are there."""
    yield from snapshot.keys
    for _, text in content(conn, tuple(snapshot.key_pages.digests.values())):
        yield from KEYS.read(text)


def _kept(tx: Tx, kind: Kind[T], by_page: dict[str, Any]) -> dict[str, str]:
    """Each page's digest, once its bytes are among the rows; a page of nothing is none."""
    texts = {name: _written(sorted(some, key=kind.order)) for name, some in by_page.items() if some}
    digests = {name: digest_bytes(text) for name, text in texts.items()}
    new = {digests[name]: texts[name] for name in texts}
    for digest, _ in content(tx.connection, tuple(new)):
        del new[digest]
    for some in few(tuple(new), _AT_ONCE):
        tx.execute(snapshot_pages.delete().where(snapshot_pages.c.digest.in_(some)))  # what was damaged
        rows = [{"digest": one, "content": deflated(new[one]), "created_at": tx.at} for one in some]
        tx.execute(snapshot_pages.insert(), rows)
    return digests


def content(conn: sa.Connection, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The bytes of these pages, each with its digest; of those that are there and whole."""
    p = snapshot_pages.c
    for some in few(digests, _AT_ONCE):
        for digest, kept in conn.execute(sa.select(p.digest, p.content).where(p.digest.in_(some))).all():
            text = inflated(kept)
            if digest_bytes(text) == digest:
                yield digest, text
