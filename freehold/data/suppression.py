"""Who was forgotten is known again when they come in: by a mark, under a key of its own.

A mark is the HMAC of a person's HMAC. It stands from the moment a forgetting begins: no file brings the
person's rows in again, and no training that begins from then on sees the rows that are still there.

Somebody who was let in again (`data.readmission`) is kept out no longer where the new basis holds, with
what comes from then on. That is said of the forgettings there were: the next one keeps them out again.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data.declare import LEGAL, Declared
from freehold.data.versions import DataVersion
from freehold.store.keyring import Keyring
from freehold.store.tables import forgettings, readmissions

FORGOTTEN = "forgotten"
"""Why a row is left out."""


def mark(keyring: Keyring, project: str, subject: str) -> str:
    """The mark of a person's HMAC."""
    (key,) = keyring.ensure(f"suppression/{project}")
    return _mark(key, subject)


def _mark(key: bytes, subject: str) -> str:
    return hmac.digest(key, subject.encode(), "sha256").hex()


# -- who is known ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A person who was forgotten, or is being."""

    forgettings: frozenset[str]
    """Every forgetting of them, by id."""
    until: int | None
    """Until when what is about them goes; None while a forgetting is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what basis, for what, and by which paper somebody may come in again."""

    basis: str
    purposes: tuple[str, ...]
    request: str
    """The reference of what the new basis is: a consent, a contract."""

    def covers(self, declared: Declared) -> bool:
        """Whether it is for data that were declared so."""
        return self.basis == declared.basis and set(declared.purposes) <= set(self.purposes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readmission:
    """A person may come in again."""

    id: str
    mark: str
    forgettings: frozenset[str]
    """The forgettings after which they may; one that came later is not among them, and ends it."""
    terms: Terms
    at: int


def marked(conn: sa.Connection, project: str) -> dict[str, Marked]:
    """Everybody who was forgotten in a project, by mark."""
    f = forgettings.c
    query = sa.select(f.mark, f.id, f.destroyed_at).where(f.project == project, f.mark.is_not(None))
    found: dict[str, Marked] = {}
    for known, id, destroyed in conn.execute(query):
        if (before := found.get(known)) is not None:
            destroyed = None if None in (destroyed, before.until) else max(destroyed, before.until)
        ids = before.forgettings | {id} if before else frozenset((id,))
        found[known] = Marked(forgettings=ids, until=destroyed)
    return found


def in_again(conn: sa.Connection, project: str, known: dict[str, Marked]) -> dict[str, list[Readmission]]:
    """The readmissions that count, by mark: those after which nobody asked to be forgotten again."""
    r, found = readmissions.c, dict[str, list[Readmission]]()
    for row in conn.execute(sa.select(readmissions).where(r.project == project).order_by(r.at, r.id)):
        one = _readmission(row)
        if one.mark in known and known[one.mark].forgettings <= one.forgettings:
            found.setdefault(one.mark, []).append(one)
    return found


def _readmission(row: Any) -> Readmission:
    return Readmission(
        id=row.id,
        mark=row.mark,
        forgettings=frozenset(json.loads(row.forgettings)),
        terms=Terms(basis=row.basis, purposes=tuple(json.loads(row.purposes)), request=row.request),
        at=row.at,
    )


# -- asking ---------------------------------------------------------------------------------------------


class Suppression:
    """The marks of one project, for asking about many persons."""

    def __init__(self, keyring: Keyring, project: str, marks: dict[str, Marked]) -> None:
        self._marks = marks
        self._key = keyring.ensure(f"suppression/{project}")[0] if marks else b""

    def __bool__(self) -> bool:
        return bool(self._marks)

    def holds(self, subject: str, at: int | None = None) -> bool:
        """Whether this person was forgotten; with `at`: whether what is of that time went with them."""
        if not self._marks:
            return False
        known = self._marks.get(_mark(self._key, subject))
        if known is None:
            return False
        return at is None or known.until is None or at <= known.until

    def of(self, subjects: Iterable[str]) -> set[str]:
        """Those of them that were forgotten."""
        return {subject for subject in subjects if self.holds(subject)} if self._marks else set()


def of_project(conn: sa.Connection, keyring: Keyring, project: str) -> Suppression:
    """Everybody who was forgotten, whatever they were let in for since."""
    return Suppression(keyring, project, marked(conn, project))


def coming(conn: sa.Connection, keyring: Keyring, project: str, declared: Declared) -> Suppression:
    """Who is kept out of data that come in now.

    What a law makes us keep is not asked whether it may come.
    """
    if declared.basis == LEGAL:
        return Suppression(keyring, project, {})
    return Suppression(keyring, project, _kept_out(conn, project, declared))


def standing(conn: sa.Connection, keyring: Keyring, version: DataVersion) -> Suppression:
    """Whose rows in a version are not to be seen: a version of before a readmission has nothing of it."""
    out = _kept_out(conn, version.project, version.declared, version.created_at)
    return Suppression(keyring, version.project, out)


def _kept_out(
    conn: sa.Connection, project: str, declared: Declared, came_at: int | None = None
) -> dict[str, Marked]:
    known = marked(conn, project)
    for whose, again in in_again(conn, project, known).items() if known else ():
        if any(one.terms.covers(declared) and (came_at is None or one.at <= came_at) for one in again):
            del known[whose]
    return known
