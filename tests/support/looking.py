"""What stands in rows and files of an installation that runs in processes of its own, or of a dead one."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


def files_in(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below it, with what it holds. What goes meanwhile is passed over: its house is alive."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for path in sorted(Path(place, name) for name in names):
            try:
                held = path.read_bytes() if path.is_file() else None
            except FileNotFoundError:
                continue
            if held is not None:
                yield path, held
