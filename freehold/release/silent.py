"""Gateways that say nothing: one may be no more, or be cut off from control only and answer others.

Control knows what a gateway goes by from its reports. One that is silent goes on by the rules it had until
the `stale_for` of its services is over, and then ends what it had begun: until then it counts, and not
longer. It may have had news after its last report, for as long as `HEARD_WITHIN`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from freehold.release import publish, views
from freehold.store.rows import Tx
from freehold.store.tables import gateways

HEARD_WITHIN = 60_000_000
"""Microseconds by which a gateway may have heard of control after control heard of it."""
PLACED_WITHIN = 3_600_000_000
"""Microseconds within which a snapshot has its place in the ledger, and those before it go to nobody."""
ENDS_WITHIN = 600_000_000 + HEARD_WITHIN
"""Microseconds: how long what a gateway had begun goes on when its rules are too old (`gateway.bounds`)."""
KEPT = 86_400_000_000
"""Microseconds for which a silent one is told of at least."""


def behind(conn: sa.Connection, ix: int, now: int) -> int:
    """How many gateways may go by rules of before snapshot `ix`."""
    found = conn.execute(sa.select(gateways).where(gateways.c.applied < ix))
    return sum(_may_answer(conn, row, now) for row in found.all())


def forget_gone(tx: Tx) -> None:
    """Remove those that said nothing for a day and answer nobody any more."""
    found = tx.execute(sa.select(gateways).where(gateways.c.seen_at < tx.at - KEPT)).all()
    gone = [row.id for row in found if not _may_answer(tx.connection, row, tx.at)]
    tx.execute(sa.delete(gateways).where(gateways.c.id.in_(gone)))


def _may_answer(conn: sa.Connection, row: Any, now: int) -> bool:
    """Whether somebody may be answered yet by a gateway that said this of itself."""
    over = row.seen_at + ENDS_WITHIN
    return bool(over > now or over + _stale_for(conn, row) > now)


def _stale_for(conn: sa.Connection, row: Any) -> int:
    """Microseconds for which it goes by what it knew, at most; or what files say now, if more."""
    seen = row.seen_at
    seconds = publish.stale_for(conn, row.applied, seen - PLACED_WITHIN, seen + HEARD_WITHIN)
    return max(seconds, views.longest_stale(conn)) * 1_000_000
