"""The words of an answer at rest: under the person's key, or the project's key of the day.

Destroying the key of a subject (or letting a day's key expire) makes the words unreadable wherever
they were copied.
"""

from __future__ import annotations

import datetime as dt

from freehold.store.keyring import Keyring, derive
from freehold.store.sealed import seal, unseal

PARTS = ("request", "response", "salt")


def key_name(project: str, subject: str | None, at: int) -> str:
    """Which key of the keyring seals words about `subject`; without one, the key of the day (UTC)."""
    if subject:
        return f"subject/{project}/{subject}"
    day = dt.datetime.fromtimestamp(at / 1_000_000, dt.UTC).date()
    return f"day/{project}/{day.isoformat()}"


def seal_words(keyring: Keyring, name: str, answer: str, part: str, words: bytes) -> bytes:
    """Seal one part. The key must be there: `keyring.ensure(name)` outside the transaction."""
    return seal(derive(keyring.key(name), "words"), words, _place(answer, part))


def open_words(keyring: Keyring, name: str, answer: str, part: str, sealed: bytes) -> bytes:
    """The words. Raises KeyDestroyed when they were forgotten, SealBroken when bytes changed."""
    return unseal(derive(keyring.key(name), "words"), sealed, _place(answer, part))


def _place(answer: str, part: str) -> bytes:
    return f"answer/{answer}/{part}".encode()
