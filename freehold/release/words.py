"""The words people give as reasons, sealed at rest; and the public keys that release seals to.

A reason is a person's words: it stands sealed in its row, under the day's key of its project, and
in the ledger only as a salted commitment. When the key is destroyed nobody can read or confirm it.
"""

from __future__ import annotations

import base64
import datetime as dt

import sqlalchemy as sa

from freehold.errors import BadInput, Failure
from freehold.ledger.record import commitment
from freehold.spec.ids import canonical
from freehold.store.ground import Ground
from freehold.store.keyring import KeyDestroyed, derive
from freehold.store.sealed import seal, unseal
from freehold.store.tables import settings

MOST = 2000
"""Characters of a reason."""


class SettingMissing(Failure):
    """the installation has no setting `{name}`"""


def setting(conn: sa.Connection, name: str) -> str:
    """A settings row's text. Raises SettingMissing."""
    value = conn.scalar(sa.select(settings.c.value).where(settings.c.name == name))
    if value is None:
        raise SettingMissing(name=name, why="the first run writes it", hint="restore the database")
    return str(value)


def gateway_key(conn: sa.Connection) -> bytes:
    """The gateway's HPKE public key, 32 raw bytes."""
    return base64.b64decode(setting(conn, "gateway_key"))


def checked_reason(words: str, *, needed_for: str = "") -> str:
    """`words` trimmed; with `needed_for`, empty is refused. Raises BadInput."""
    trimmed = words.strip()
    if needed_for and not trimmed:
        raise BadInput(
            what=f"{needed_for} needs a reason",
            why="whoever reads the record later has only the reason to go by",
            hint="add `--because 'a short reason'`",
        )
    if len(trimmed) > MOST:
        raise BadInput(what="the reason is too long", why=f"{len(trimmed)} characters, {MOST} at most")
    return trimmed


def seal_words(ground: Ground, project: str, at: int, about: str, words: str) -> str:
    """Words as text for a row: canonical JSON of key name and sealed bytes; empty stays empty."""
    if not words:
        return ""
    name, key = _day_key(ground, project, at)
    sealed = seal(derive(key, "reasons"), words.encode(), about.encode())
    return canonical({"key": name, "sealed": base64.b64encode(sealed).decode()}).decode()


def open_words(ground: Ground, about: str, row: str) -> str:
    """What `seal_words` sealed; a fixed phrase when its key was destroyed."""
    import json

    if not row.startswith('{"key":'):
        return row
    said = json.loads(row)
    try:
        key = ground.keyring.key(said["key"])
    except KeyDestroyed:
        return "(forgotten)"
    return unseal(derive(key, "reasons"), base64.b64decode(said["sealed"]), about.encode()).decode()


def commit_words(ground: Ground, project: str, at: int, about: str, words: str) -> str:
    """The salted commitment to a reason, for the ledger; about binds it to its place."""
    _, key = _day_key(ground, project, at)
    return commitment(derive(key, "reason commitments"), f"{about}\n{words}")


def _day_key(ground: Ground, project: str, at: int) -> tuple[str, bytes]:
    day = dt.datetime.fromtimestamp(at / 1_000_000, dt.UTC).date().isoformat()
    name = f"day/{project}/{day}"
    return name, ground.keyring.ensure(name)[0]
