"""What `freehold import` needs beside the open formats: rows as they are, sealed objects, their keys.

It stands in the folder `exact` of an export that was asked for it. What is somebody else's secret stays
here: providers' API keys, secrets of webhooks, our own signing keys. So do digests of our users' keys, but
for those in the snapshots that gateways were told, with their pages: these are signed, and what an answer was
given by has to be as it was. A digest of 256 random bits lets nobody in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.control.lines import Files, lines, rows
from freehold.control.parts import Parts
from freehold.errors import NotFound
from freehold.release.notices import SECRETS
from freehold.store import tables
from freehold.store.backed_up import SEALED_BY
from freehold.store.blobs import place_of
from freehold.store.ground import Ground
from freehold.track import artifacts

FOLDER = "exact"
KEYS = f"{FOLDER}/keys"
TABLES = f"{FOLDER}/tables"
OBJECTS = f"{FOLDER}/objects"
SIGNER = f"{FOLDER}/release.pub"
HERE = ("sessions", "gateways", "unpublished")
"""Tables that say who is signed in here, what serves here, and what it is to be told."""
SECRET = {"keys": ("secret_digest",)}
_OURS = (SEALED_BY, "provider/", SECRETS)
"""Names of keys that are somebody's secrets, not keys of content."""


def files(parts: Parts, conn: sa.Connection, left_out: list[dict[str, str]]) -> Iterator[Files]:
    """Every file of the folder."""
    ground = parts.ground
    for table in tables.metadata.sorted_tables:
        if table.name not in HERE:
            yield from lines(f"{TABLES}/{table.name}", (_row(table, row) for row in rows(conn, table)))
    yield from lines(KEYS, _keys(ground))
    yield SIGNER, base64.b64encode(ground.release_key.public_key().public_bytes_raw())
    for digest in sorted(ground.blobs.list()):
        path = f"{OBJECTS}/{place_of(digest)}"
        try:
            yield path, artifacts.Leaving(pieces=ground.blobs.pieces(digest), bytes=ground.blobs.size(digest))
        except NotFound as failure:  # a forgetting was faster: its rows are gone, too, or will be
            left_out.append({"path": path, "code": failure.code, "why": failure.why})


def _row(table: sa.Table, row: sa.RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in SECRET.get(table.name, ())}


def _keys(ground: Ground) -> Iterator[dict[str, str]]:
    for name in ground.keyring.names(""):
        if not name.startswith(_OURS):
            yield {"name": name, "key": ground.keyring.key(name).hex()}


# -- the way back -----------------------------------------------------------------------------------


def row_of(table: sa.Table, text: str) -> dict[str, Any]:
    """A row as it was, from its line; what was left out is empty, and fits nothing."""
    said: Mapping[str, Any] = json.loads(text)
    row = {name: _value(table.c[name], value) for name, value in said.items()}
    return row | dict.fromkeys(SECRET.get(table.name, ()), "")


def _value(column: sa.Column[Any], value: Any) -> Any:
    binary = isinstance(column.type, sa.LargeBinary) and value is not None
    return bytes.fromhex(value) if binary else value
