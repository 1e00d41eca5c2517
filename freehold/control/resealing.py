"""The words of answers on their way from a gateway's box to rest: opened, and sealed under their own keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from freehold.spec.answer import Words
from freehold.store.contents import Period, Sealing
from freehold.store.hpke import open_with
from freehold.store.keyring import Keyring
from freehold.store.sealed import nonces, unseal
from freehold.store.spooled import WORDS_KEY, Box


@dataclass(frozen=True, slots=True)
class Seals:
    """The two keys that seal an answer's words: of the person or the day, and of the period."""

    name: str
    period: Period


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer's words, as a row of `contents`."""

    answer: str
    part: str
    key: str
    sealed: bytes


def opened(answer: str, box: Box, private: bytes) -> Words:
    """What a gateway sealed for control. Raises SealBroken, msgspec.DecodeError."""
    key = _content_key(private, box.key)
    return msgspec.msgpack.decode(unseal(key, box.sealed, answer.encode()), type=Words)


@lru_cache(maxsize=64)
def _content_key(private: bytes, sealed: bytes) -> bytes:
    """A gateway uses one for ten minutes of records; opening it costs more than all of them."""
    return open_with(private, sealed, WORDS_KEY)


def resealed(keyring: Keyring, several: Sequence[tuple[Words, Seals]]) -> list[Part]:
    """Keys that are missing are made in one transaction, and each is opened once."""
    every = {seals for _, seals in several}
    names = sorted({name for seals in every for name in (seals.name, seals.period.key)})
    keys = dict(zip(names, keyring.ensure(*names), strict=True))
    by = {seals: Sealing(keys[seals.name], keys[seals.period.key], seals.period) for seals in every}
    parts = [(words.answer, seals, *said) for words, seals in several for said in _said(words).items()]
    return [
        Part(answer, part, seals.name, by[seals].seal(answer, part, text, nonce))
        for (answer, seals, part, text), nonce in zip(parts, nonces(len(parts)), strict=True)
    ]


def _said(words: Words) -> dict[str, bytes]:
    return {"request": words.request, "response": words.response, "salt": words.salt.encode()}
