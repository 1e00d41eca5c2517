"""What clients say in words (names, params, tags, descriptions), sealed under a key of each thing.

One document for each thing and part: `about` holds `name`, `description`, `params`, `tags`; `inputs`
holds what a run read and made. Destroy the key `track/{id}` and they are gone, from backups as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.ledger.record import record
from freehold.ledger.tracked import words_digest
from freehold.spec.principal import Principal
from freehold.store.contents import tracked_key
from freehold.store.few import few
from freehold.store.keyring import KeyDestroyed, Keyring
from freehold.store.rows import Tx
from freehold.store.sealed import derive, seal, unseal
from freehold.store.tables import mlflow_words

Part = Literal["about", "inputs"]
Doc = dict[str, Any]

MOST = 8 << 20
"""Bytes of one document."""

_WORDS = mlflow_words.c


class TooManyWords(BadInput):
    """there are too many words about one thing"""


def key_name(of: str) -> str:
    """The key of a thing's words, paths and files."""
    return tracked_key(of)


def load(conn: sa.Connection, keyring: Keyring, of: str, part: Part = "about") -> Doc:
    """A document; empty when there is none."""
    return load_many(conn, keyring, [of], part).get(of, {})


def load_many(
    conn: sa.Connection, keyring: Keyring, of: Iterable[str], part: Part = "about"
) -> dict[str, Doc]:
    """The documents of many things."""
    found: dict[str, Doc] = {}
    ids = list(dict.fromkeys(of))
    for some in few(ids):
        where = _WORDS.of.in_(some), _WORDS.part == part
        for row in conn.execute(sa.select(_WORDS.of, _WORDS.sealed).where(*where)):
            found[row.of] = opened(keyring, row.of, part, row.sealed)
    return found


def save(tx: Tx, keyring: Keyring, of: str, doc: Mapping[str, Any], part: Part = "about") -> str:
    """Write a document in place of the one before; returns its digest. The key is there already.

    Raises TooManyWords.
    """
    plain = json.dumps(doc, ensure_ascii=False, separators=(",", ":")).encode()
    if len(plain) > MOST:
        raise TooManyWords(why=f"{len(plain)} bytes, {MOST} at most", hint="log them as a file")
    sealed = seal(derive(keyring.key(key_name(of)), "words"), plain, _about(of, part))
    where = (_WORDS.of == of, _WORDS.part == part)
    if not tx.execute(mlflow_words.update().where(*where).values(sealed=sealed)).rowcount:
        tx.execute(mlflow_words.insert().values(of=of, part=part, sealed=sealed))
    return words_digest(sealed)


def save_cited(
    tx: Tx, keyring: Keyring, of: str, doc: Mapping[str, Any], *, by: Principal, project: str
) -> None:
    """As `save`, with an entry: for everything but runs, whose end cites their words."""
    digest = save(tx, keyring, of, doc)
    detail = {"of": of, "part": "about", "digest": digest}
    record(tx, "mlflow.words", by=by, object=of, project=project, detail=detail)


def opened(keyring: Keyring, of: str, part: str, sealed: bytes) -> Doc:
    """The document in a row; one whose key is gone says so in place of its name."""
    try:
        key = derive(keyring.key(key_name(of)), "words")
    except KeyDestroyed:
        return {"name": "(forgotten)"}
    doc: Doc = json.loads(unseal(key, sealed, _about(of, part)))
    return doc


def _about(of: str, part: str) -> bytes:
    return f"track/{of}/{part}".encode()
