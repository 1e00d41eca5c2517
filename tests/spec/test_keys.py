"""How a key is written and read back."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from freehold.spec.ids import new_id
from freehold.spec.keys import KeyText
from freehold.spec.principal import Zone

ZONES: list[Zone] = ["control", "serving", "border"]


@given(zone=st.sampled_from(ZONES))
def test_a_key_reads_back_as_it_was_written(zone: Zone) -> None:
    key = KeyText.new(zone, new_id("key"))
    assert KeyText.read(key.text) == key
    assert key.matches(hashlib.sha256(key.secret.encode()).hexdigest())


@given(zone=st.sampled_from(ZONES), data=st.data())
def test_a_key_with_one_letter_changed_is_another_key_or_none(zone: Zone, data: st.DataObject) -> None:
    key = KeyText.new(zone, new_id("key"))
    place = data.draw(st.integers(0, len(key.text) - 1))
    letter = data.draw(st.characters().filter(lambda c: c != key.text[place]))
    changed = KeyText.read(key.text[:place] + letter + key.text[place + 1 :])
    assert changed != key
    if changed is not None and (changed.zone, changed.id) == (key.zone, key.id):
        assert not changed.matches(key.digest)


@given(st.text(max_size=120))
def test_any_text_is_read_without_failing(text: str) -> None:
    found = KeyText.read(text)
    assert found is None or found.text == text


@given(st.text(max_size=3))
def test_nothing_may_stand_beside_a_key(around: str) -> None:
    text = KeyText.new("control", new_id("key")).text
    assert KeyText.read(text + "\n") is None
    assert KeyText.read(" " + text) is None
    assert (KeyText.read(around + text) is None) is bool(around)


def test_the_secret_is_in_no_representation() -> None:
    key = KeyText.new("serving", new_id("key"))
    assert key.secret not in repr(key)
    assert key.secret not in str(key)


def test_secrets_are_new_each_time() -> None:
    identifier = new_id("key")
    secrets = {KeyText.new("control", identifier).secret for _ in range(50)}
    assert len(secrets) == 50
    assert all(len(secret) == 43 for secret in secrets)
