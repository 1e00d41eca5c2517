"""Do the pages of snapshots hold what the snapshots name? Each by its digest, none missing, none too many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.spec.ids import digest_bytes
from freehold.store import tables
from freehold.store.signing import inflated, kept_payload

_COLLECTIONS = ("key_pages", "withdrawal_pages")


def _whole(rows: list[Mapping[str, Any]], _said: object) -> Iterator[tuple[str, str]]:
    for row in rows:
        if digest_bytes(inflated(row["content"])) != row["digest"]:
            yield _place(row["digest"]), "its content has another digest"


STATES = ((tables.snapshot_pages, _whole),)


def disagreements(connection: sa.Connection) -> list[tuple[str, str]]:
    """(place, why) of the first page that no snapshot names, and of the first that is named and not there."""
    there = set(connection.scalars(sa.select(tables.snapshot_pages.c.digest)))
    named = _named(connection)
    unnamed = [(_place(digest), "no snapshot names it") for digest in sorted(there - named.keys())]
    missing = [
        (_place(digest), f"snapshot {ix} names it, and it is not there")
        for digest, ix in named.items()
        if digest not in there
    ]
    return unnamed[:1] + missing[:1]


def _place(digest: str) -> str:
    return f"snapshot_pages `{digest[:19]}`"


def _named(connection: sa.Connection) -> dict[str, int]:
    """Page -> a snapshot that names it."""
    query = sa.select(tables.snapshots.c.ix, tables.snapshots.c.envelope)
    rows = connection.execute(query, execution_options={"yield_per": 100})
    return {digest: ix for ix, envelope in rows for digest in _pages_of(envelope)}


def _pages_of(envelope: str) -> Iterator[str]:
    """What it names; nothing of one that cannot be read, which is a finding of its own (`ledger.agree`)."""
    try:
        said = json.loads(kept_payload(envelope))
        for collection in _COLLECTIONS:
            yield from said.get(collection, {}).get("digests", {}).values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return
