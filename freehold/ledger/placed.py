"""Placed entries, one after the other, and what can be wrong with one by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa

from freehold.store import tables

CHUNK = 512
"""Entries that are fetched and hashed together: two bundles of them."""
Placed = sa.Row[int, str, bytes, str, int, str, str, str, str]
"""ix, id, leaf, then body, at, kind, actor, project, object of its entry."""


def placed(connection: sa.Connection, first: int = 0) -> Iterator[Sequence[Placed]]:
    """Every placed entry with its row, in the order of places, in chunks; a row is empty when it is gone."""
    e, place = tables.entries.c, tables.ledger.c
    columns = (place.ix, place.id, place.leaf, e.body, e.at, e.kind, e.actor, e.project, e.object)
    joined = tables.ledger.outerjoin(tables.entries, e.id == place.id)
    query = sa.select(*columns).select_from(joined).where(place.ix >= first).order_by(place.ix)
    with connection.execute(query, execution_options={"yield_per": CHUNK}) as rows:
        yield from rows.partitions()


class _Said(msgspec.Struct):
    """What an entry says of itself, and its columns say once more."""

    id: str
    at: int
    kind: str
    actor: str
    project: str | None
    object: str


_SAID = msgspec.json.Decoder(_Said)


def wrong_with(row: Placed, ix: int, leaf: bytes) -> tuple[str, str]:
    """What is wrong with one placed entry by itself, as (place, why)."""
    if row.ix != ix:
        return f"entry {ix}", f"there is none at this place; the next one is at {row.ix}"
    place = f"entry {ix} ({row.id})"
    if row.body is None:
        return place, "its place is there, the entry is not"
    if leaf != row.leaf:
        return place, "its bytes are not the ones that were placed"
    return place, "its columns say something else than its bytes"


def says_the_same(row: Placed, body: bytes) -> bool:
    try:
        said = _SAID.decode(body)
    except msgspec.MsgspecError:
        return False
    told = (said.id, said.at, said.kind, said.actor, said.project, said.object)
    return told == (row[1], *row[4:])
