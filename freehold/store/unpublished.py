"""Which rows changed that gateways know, and stand in no snapshot yet.

Snapshots hold many rows of a few tables (`info["named"]`), and a change lays out anew only those near it. So
who writes to such a table says which rows (`Tx.naming`); of what was written without saying so, all of the
table counts as changed: that costs time, where the other way round a void key would be let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from freehold.store.few import few
from freehold.store.tables import unpublished

if TYPE_CHECKING:
    from freehold.store.rows import Tx

ALL = ""
"""Stands for every row of a table; no row is called so."""


def take(tx: Tx, table: sa.Table) -> frozenset[str] | None:
    """The rows that changed since this was asked last, by this transaction or earlier ones; None: any may."""
    u = unpublished.c
    kept = set(tx.execute(sa.select(u.id).where(u.about == table.name)).scalars())
    if kept:
        tx.execute(sa.delete(unpublished).where(u.about == table.name))
    found = kept | tx.named.pop(table.name, set())
    if table.name in tx.unnamed:
        tx.unnamed.discard(table.name)
        return None
    return None if ALL in found else frozenset(found)


def waiting(conn: sa.Connection, table: sa.Table) -> frozenset[str]:
    """The rows whose change stands in no snapshot yet; ALL among them: any may."""
    return frozenset(conn.scalars(sa.select(unpublished.c.id).where(unpublished.c.about == table.name)))


def leave(tx: Tx) -> None:
    """Write down what nobody took, for the next snapshot: the end of every transaction."""
    for about in tx.unnamed:
        tx.named.setdefault(about, set()).add(ALL)
    for about, ids in tx.named.items():
        for some in few(sorted(ids)):
            here = (unpublished.c.about == about) & unpublished.c.id.in_(some)
            tx.execute(sa.delete(unpublished).where(here))
            tx.execute(unpublished.insert(), [{"about": about, "id": id} for id in some])
