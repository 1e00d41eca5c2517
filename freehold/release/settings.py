"""What somebody said once for the whole installation, as rows: canonical JSON under a name.

What the first run writes is text of its own, and read by `words.setting`.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from freehold.spec.ids import canonical
from freehold.store.rows import Tx
from freehold.store.tables import settings


def said(conn: sa.Connection, name: str) -> Any:
    """What was kept under this name; None where nothing was."""
    text = conn.scalar(sa.select(settings.c.value).where(settings.c.name == name))
    return json.loads(text) if text else None


def keep(tx: Tx, name: str, what: Any) -> None:
    """Keep it under this name, instead of what was there. The entry that says so is the caller's."""
    text = canonical(what).decode()
    if not tx.execute(settings.update().where(settings.c.name == name).values(value=text)).rowcount:
        tx.execute(settings.insert().values(name=name, value=text))
