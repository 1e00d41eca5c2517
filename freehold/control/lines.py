"""Rows as JSON Lines: tables a page at a time, some rows to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.track import artifacts

ROWS = 1000
BYTES = 8 * 2**20
"""Rows and bytes of a table after which the next file begins."""
PAGE = 100
"""Rows fetched at once."""

Files = tuple[str, bytes | artifacts.Leaving]
"""A path and what is in it."""


def rows(conn: sa.Connection, table: sa.Table) -> Iterator[sa.RowMapping]:
    """Every row in the order of the primary key."""
    key = list(table.primary_key.columns)
    last: sa.RowMapping | None = None
    while True:
        query = sa.select(table).order_by(*key).limit(PAGE)
        if last is not None:
            query = query.where(sa.tuple_(*key) > sa.tuple_(*(last[column.name] for column in key)))
        page = conn.execute(query).mappings().all()
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def lines(name: str, found: Iterator[Mapping[str, Any]]) -> Iterator[Files]:
    """JSON Lines, some rows to a file; a table without rows has one empty file, so that it is seen."""
    part, written, held = 1, list[bytes](), 0
    for row in found:
        written.append(json.dumps(row, ensure_ascii=False, default=_plain).encode() + b"\n")
        held += len(written[-1])
        if len(written) == ROWS or held >= BYTES:
            yield f"{name}/{part:06d}.jsonl", b"".join(written)
            part, written, held = part + 1, [], 0
    if written or part == 1:
        yield f"{name}/{part:06d}.jsonl", b"".join(written)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no plain form")
