"""Does every object that the rows cite lie there, byte for byte? What `freehold verify --deep` adds.

Objects are named by the digest of their sealed bytes, so no key is needed to look at them: an auditor
who may open nothing can still see that nothing was exchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.store import tables
from freehold.store.blobs import Blobs

FORGOTTEN = "forgotten"
"""Models in this state have given their files up, with the person."""


def wrong_artefacts(connection: sa.Connection, blobs: Blobs) -> tuple[int, list[tuple[str, str]]]:
    """How many objects were hashed again, and (place, why) of each that is not what it was."""
    looked: dict[str, str] = {}
    found = []
    for place, blob in _cited(connection):
        if blob not in looked:
            looked[blob] = _why_wrong(blobs, blob)
        if looked[blob]:
            found.append((place, looked[blob]))
    return len(looked), found


def _why_wrong(blobs: Blobs, blob: str) -> str:
    """Piece by piece: weights may be larger than memory."""
    hashed = hashlib.sha256()
    try:
        for piece in blobs.pieces(blob):
            hashed.update(piece)
    except NotFound:
        return f"its object `{blob}` is not there"
    if f"sha256:{hashed.hexdigest()}" != blob:
        return f"its object `{blob}` is not what was stored"
    return ""


def _cited(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    """(whose, digest) of every object that a row cites."""
    yield from _data(connection)
    yield from _models(connection)
    f = tables.mlflow_artifacts.c
    for of, blob in connection.execute(sa.select(f.of, f.blob).order_by(f.of, f.called)):
        yield f"mlflow_artifacts of `{of}`", blob


def _data(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    v = tables.data_versions.c
    for id, layout in connection.execute(sa.select(v.id, v.layout).order_by(v.id)):
        said = json.loads(layout)
        for blob in (*(chunk["blob"] for chunk in said["chunks"]), said["commitments"]):
            if blob:  # a version whose time is over has given them up
                yield f"data_versions `{id}`", blob


def _models(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    m = tables.models.c
    query = sa.select(m.id, m.files).where(m.state != FORGOTTEN).order_by(m.id)
    for id, files in connection.execute(query):
        for kept in json.loads(files).values():
            yield f"models `{id}`", kept.get("blob") or kept["digest"]
