"""The words of answers on their way from a gateway's box to rest: opened, and sealed under their own keys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from freehold.spec.answer import Words
from freehold.store.contents import PARTS, Period, Sealing
from freehold.store.hpke import open_with
from freehold.store.keyring import Keyring
from freehold.store.sealed import nonces, unseal
from freehold.store.spooled import WORDS_KEY, Box


class Seals(msgspec.Struct, frozen=True):
    """The two keys that seal an answer's words: of the person or the day, and of the period."""

    name: str
    period: Period


class Part(msgspec.Struct, frozen=True):
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
    drawn, parts = iter(nonces(len(PARTS) * len(several))), list[Part]()
    for words, seals in several:
        sealing, said = by[seals], (words.request, words.response, words.salt.encode())
        for part, text in zip(PARTS, said, strict=True):
            sealed = sealing.seal(words.answer, part, text, next(drawn))
            parts.append(Part(words.answer, part, seals.name, sealed))
    return parts
