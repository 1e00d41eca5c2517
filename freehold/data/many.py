"""Many rows at once, without holding all of them as parameters in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import sqlalchemy as sa

from freehold.store.rows import Tx

AT_ONCE = 2_000


def insert_many(tx: Tx, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows as they come."""
    waiting = iter(rows)
    while some := list(islice(waiting, AT_ONCE)):
        tx.execute(table.insert(), some)
