"""The words of an answer at rest: what it takes to open them is the person's key and the period's.

A period is one day of one service and one purpose, in UTC. Its key goes when the words' time is over
(`data.retention`), the person's when they are forgotten: after either, nobody reads the words, wherever
they were copied. Where an answer names no person, the project's key of the day stands in.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from freehold.store.keyring import Keyring, derive
from freehold.store.sealed import nonces, unseal

PARTS = ("request", "response", "salt")
PREFIX = "words/"
"""What the names of periods' keys begin with."""
DAY = 86_400_000_000
"""Microseconds."""
WITH_PERIOD = b"\x01period\x00"
"""Sealed words begin with it, and with the name of their period's key."""


class Period(msgspec.Struct, frozen=True, order=True):
    """One day of one service and one purpose."""

    project: str
    day: str
    """Such as `2026-11-21`, in UTC."""
    service: str
    purpose: str

    @classmethod
    def of(cls, project: str, service: str, purpose: str, at: int) -> Period:
        """The one that what happened at `at` (microseconds UTC) belongs to."""
        return cls(project, _day(at), service, purpose)

    @classmethod
    def named(cls, key: str) -> Period:
        """The one whose key has that name."""
        _, project, day, service, purpose = key.split("/")
        return cls(project, day, service, unquote(purpose))

    @property
    def key(self) -> str:
        """The name of its key in the keyring."""
        return f"{PREFIX}{self.project}/{self.day}/{self.service}/{quote(self.purpose, safe='')}"

    @property
    def begins(self) -> int:
        """Microseconds UTC."""
        return int(dt.datetime.fromisoformat(f"{self.day}T00:00:00+00:00").timestamp()) * 1_000_000

    @property
    def ends(self) -> int:
        """Microseconds UTC; no longer in it."""
        return self.begins + DAY


def key_name(project: str, subject: str | None, at: int) -> str:
    """Which key of the keyring seals words about `subject`; without one, the key of the day (UTC)."""
    return f"subject/{project}/{subject}" if subject else f"day/{project}/{_day(at)}"


def tracked_key(of: str) -> str:
    """The key of what an MLflow client wrote of a run, model or experiment: its words, paths and files."""
    return f"track/{of}"


def seal_words(keyring: Keyring, name: str, period: Period, answer: str, part: str, words: bytes) -> bytes:
    """Seal one part. Both keys must be there: `keyring.ensure(name, period.key)` outside the transaction."""
    sealing = Sealing(keyring.key(name), keyring.key(period.key), period)
    return sealing.seal(answer, part, words, *nonces(1))


class Sealing:
    """Seals the words of one person and period: of many answers, the key is derived once."""

    def __init__(self, key: bytes, periods: bytes, period: Period) -> None:
        self._cipher = AESGCM(derive(key + periods, "words"))
        self._head = WITH_PERIOD + period.key.encode() + b"\x00"

    def seal(self, answer: str, part: str, words: bytes, nonce: bytes) -> bytes:
        """One part of one answer; `nonce` is drawn for it (`sealed.nonces`)."""
        sealed = self._cipher.encrypt(nonce, words, self._head + _place(answer, part))
        return self._head + nonce + sealed


def open_words(keyring: Keyring, name: str, answer: str, part: str, sealed: bytes) -> bytes:
    """The words. Raises KeyDestroyed when they were forgotten or are over, SealBroken for changed bytes."""
    if not sealed.startswith(WITH_PERIOD):  # of before schema 0003: the first key alone sealed them
        return unseal(derive(keyring.key(name), "words"), sealed, _place(answer, part))
    period, nul, body = sealed[len(WITH_PERIOD) :].partition(b"\x00")
    both = keyring.key(name) + keyring.key(period.decode(errors="replace"))
    head = WITH_PERIOD + period + nul
    return unseal(derive(both, "words"), body, head + _place(answer, part))


def _day(at: int) -> str:
    return _date(at // DAY)


@lru_cache(maxsize=8)
def _date(day: int) -> str:
    """Of the days since 1970."""
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()


def _place(answer: str, part: str) -> bytes:
    return f"answer/{answer}/{part}".encode()
