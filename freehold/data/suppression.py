"""Who was forgotten is known again when they come in: by a mark, under a key of its own.

A mark is the HMAC of a person's HMAC. It stands from the moment a forgetting begins: no file brings the
person's rows in again, and no training that begins from then on sees the rows that are still there.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import sqlalchemy as sa

from freehold.store.keyring import Keyring
from freehold.store.tables import forgettings

FORGOTTEN = "forgotten"
"""Why a row is left out; and whom an answer is about, once the person it was about is forgotten."""

LEGAL = "legal-obligation"
"""What has to be kept by law is not left out, and not destroyed before its time."""


def mark(keyring: Keyring, project: str, subject: str) -> str:
    """The mark of a person's HMAC."""
    (key,) = keyring.ensure(f"suppression/{project}")
    return _mark(key, subject)


def _mark(key: bytes, subject: str) -> str:
    return hmac.digest(key, subject.encode(), "sha256").hex()


def marks(conn: sa.Connection, project: str) -> dict[str, int | None]:
    """Every mark, and until when what is about them goes; None while a forgetting is under way."""
    f = forgettings.c
    query = sa.select(f.mark, f.destroyed_at).where(f.project == project, f.mark.is_not(None))
    found: dict[str, int | None] = {}
    for known, destroyed in conn.execute(query.order_by(f.destroyed_at)):
        found[known] = None if destroyed is None or found.get(known, 0) is None else destroyed
    return found


class Suppression:
    """The marks of one project, for asking about many persons.

    With `by_law` nobody is known: what a law makes us keep is no longer asked whether it may come.
    """

    def __init__(self, conn: sa.Connection, keyring: Keyring, project: str, *, by_law: bool = False) -> None:
        self._marks = {} if by_law else marks(conn, project)
        self._key = keyring.ensure(f"suppression/{project}")[0] if self._marks else b""

    def __bool__(self) -> bool:
        return bool(self._marks)

    def holds(self, subject: str, at: int | None = None) -> bool:
        """Whether this person was forgotten; with `at`: whether what is of that time went with them."""
        if not self._marks:
            return False
        known = _mark(self._key, subject)
        if known not in self._marks:
            return False
        until = self._marks[known]
        return at is None or until is None or at <= until

    def of(self, subjects: Iterable[str]) -> set[str]:
        """Those of them that were forgotten."""
        return {subject for subject in subjects if self.holds(subject)} if self._marks else set()
