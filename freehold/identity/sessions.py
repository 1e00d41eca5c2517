"""Sessions of the console: a cookie instead of a key in every request, and never good for longer.

A session is begun with a control key and stands or falls with it: every look asks again whether the
key is good and its person active. What the browser holds is 256 random bits; we keep their SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.errors import NotSignedIn
from freehold.identity import keys
from freehold.ledger.record import record
from freehold.spec.principal import Principal
from freehold.store.rows import Database, Tx
from freehold.store.tables import sessions

MINUTE = 60 * 1_000_000
IDLE = 30 * MINUTE
"""Microseconds without a page opened after which a session is over."""
LONGEST = 12 * 60 * MINUTE
"""Microseconds after which it is over whatever happens."""
SEEN_EVERY = MINUTE
"""How often it is written down that somebody is there: not at every page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is signed in, as of now."""

    id: str
    who: Principal
    seen_at: int
    ends_at: int
    """When it is over at the latest."""


def begin(tx: Tx, *, who: Principal) -> str:
    """Sign `who` in with the key they came with; returns what the browser keeps, told this once."""
    token = secrets.token_urlsafe(32)
    tx.execute(sessions.delete().where(_over(tx.at)))
    tx.execute(sessions.insert().values(id=_id(token), key=who.key, seen_at=tx.at, created_at=tx.at))
    record(tx, "session.begun", by=who, object=who.id, detail={"key": who.key})
    return token


def find(conn: sa.Connection, token: str, at: int) -> Session:
    """The session of a cookie, with its person's roles as they are now. Raises NotSignedIn."""
    row = conn.execute(sa.select(sessions).where(sessions.c.id == _id(token))).first()
    if row is None:
        raise NotSignedIn(why="nobody is signed in here", hint="sign in with your control key")
    ends_at = row.created_at + LONGEST
    if at >= min(ends_at, row.seen_at + IDLE):
        raise NotSignedIn(why="the session is over", hint="sign in again")
    who = keys.holder(conn, row.key, at)
    return Session(id=row.id, who=who, seen_at=row.seen_at, ends_at=ends_at)


def seen(db: Database, session: Session) -> None:
    """Somebody is there: the idle time begins anew, at most once a minute."""
    if db.clock() - session.seen_at >= SEEN_EVERY:
        with db.write() as tx:
            tx.execute(sessions.update().where(sessions.c.id == session.id).values(seen_at=tx.at))


def end(tx: Tx, *, session: Session) -> None:
    """Sign out: the cookie is void from now on."""
    if tx.execute(sessions.delete().where(sessions.c.id == session.id)).rowcount:
        record(tx, "session.ended", by=session.who, object=session.who.id, detail={"key": session.who.key})


def _over(at: int) -> sa.ColumnElement[bool]:
    return sa.or_(sessions.c.seen_at <= at - IDLE, sessions.c.created_at <= at - LONGEST)


def _id(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
