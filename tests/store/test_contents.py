"""Words of answers at rest: what opens them, and what does no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freehold.store.contents import Period, key_name, open_words, seal_words
from freehold.store.home import Home
from freehold.store.keyring import KeyDestroyed, Keyring
from freehold.store.sealed import SealBroken, derive, seal

AT = 1_795_000_000_000_000
NAME = key_name("claims", "5ad", AT)
PERIOD = Period.of("claims", "claims-triage", "claims-handling", AT)


@pytest.fixture
def keyring(home: Home) -> Iterator[Keyring]:
    Keyring.create_epoch_key(home.epoch_key)
    made = Keyring(home.keyring, home.epoch_key)
    made.ensure(NAME, PERIOD.key)
    yield made
    made.close()


@pytest.mark.parametrize("gone", [NAME, PERIOD.key])
def test_they_open_with_the_persons_key_and_the_periods(keyring: Keyring, gone: str) -> None:
    sealed = seal_words(keyring, NAME, PERIOD, "ans_1", "request", b"water")
    assert open_words(keyring, NAME, "ans_1", "request", sealed) == b"water"
    keyring.drop([gone])
    with pytest.raises(KeyDestroyed):
        open_words(keyring, NAME, "ans_1", "request", sealed)


def test_those_of_before_there_were_periods_open_with_the_first_alone(keyring: Keyring) -> None:
    old = seal(derive(keyring.key(NAME), "words"), b"water", b"answer/ans_1/request")
    assert open_words(keyring, NAME, "ans_1", "request", old) == b"water"


def test_no_period_is_taken_from_them(keyring: Keyring) -> None:
    """Who removes it from the bytes does not get around its key."""
    sealed = seal_words(keyring, NAME, PERIOD, "ans_1", "request", b"water")
    bare = sealed.partition(PERIOD.key.encode() + b"\x00")[2]
    with pytest.raises(SealBroken):
        open_words(keyring, NAME, "ans_1", "request", bare)
