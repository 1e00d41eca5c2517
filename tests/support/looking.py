"""What stands in the rows of an installation that runs in processes of its own, or of one that is dead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.store.home import Home
from freehold.store.place import rows_of


def rows_in(home: Path, query: str, *given: Any) -> list[tuple[Any, ...]]:
    """The rows of a query in text, its `?` filled in order. Needs no process of Freehold."""
    first, *others = query.split("?")
    text = first + "".join(f":p{number}{part}" for number, part in enumerate(others))
    database = rows_of(Home(home), read_only=True)
    try:
        with database.read() as conn:
            found = conn.execute(sa.text(text), {f"p{number}": value for number, value in enumerate(given)})
            return [tuple(row) for row in found]
    finally:
        database.close()
