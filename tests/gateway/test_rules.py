"""Rules are believed when they are signed, newer and understood to the last word."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.gateway.rulebook import NoRules, Rulebook
from freehold.gateway.rules import LookupMissing, SnapshotStrange, pick, read_rules
from freehold.spec.ids import canonical
from freehold.spec.snapshot import PAYLOAD_TYPE, Route, Target
from freehold.store.signing import Envelope, SignatureWrong, sign
from tests.gateway.conftest import Site


@pytest.fixture
def book(site: Site) -> Rulebook:
    return Rulebook(site.home.snapshot, site.release_key.public_key(), site.home.gateway_key.read_bytes())


def take(book: Rulebook, envelope: bytes) -> bool:
    rules = book.read(envelope)
    if rules is not None:
        book.swap(rules)
    return rules is not None


def test_a_higher_index_replaces_a_lower_one_never_the_other_way_round(site: Site, book: Rulebook) -> None:
    first, second = site.envelope(), site.envelope()
    assert take(book, second)
    assert not take(book, first)
    assert book.ix == 2


def test_another_key_a_changed_byte_and_another_type_are_not_believed(site: Site, book: Rulebook) -> None:
    envelope = json.loads(site.envelope())
    payload = Envelope.from_json(envelope).payload
    stranger = sign(Ed25519PrivateKey.generate(), PAYLOAD_TYPE, payload)
    other = sign(site.release_key, "application/other", payload)
    changed = sign(site.release_key, PAYLOAD_TYPE, payload).as_json() | {"payload": "e30="}
    for text in (stranger.as_json(), other.as_json(), changed):
        with pytest.raises(SignatureWrong):
            book.read(canonical(text))
    with pytest.raises(NoRules):
        book.rules()


def test_a_word_this_gateway_does_not_know_might_be_a_restriction(site: Site, book: Rulebook) -> None:
    said = json.loads(Envelope.from_json(json.loads(site.envelope())).payload)
    said["embargo"] = ["everything"]
    signed = sign(site.release_key, PAYLOAD_TYPE, canonical(said))
    with pytest.raises(SnapshotStrange, match="does not know"):
        book.read(canonical(signed.as_json()))
    del said["embargo"], said["ix"]
    with pytest.raises(SnapshotStrange):
        book.read(canonical(sign(site.release_key, PAYLOAD_TYPE, canonical(said)).as_json()))


def test_a_new_process_goes_on_from_disk_and_knows_how_old_that_is(site: Site, book: Rulebook) -> None:
    take(book, site.envelope())
    kept = site.home.snapshot / "current.json"
    os.utime(kept, (time.time() - 500, time.time() - 500))
    again = Rulebook(site.home.snapshot, site.release_key.public_key(), site.home.gateway_key.read_bytes())
    assert again.load() is None
    assert again.ix == 1
    assert 499 < again.silence() < 510
    again.heard()
    assert again.silence() < 1


def test_a_kept_snapshot_that_was_changed_is_left_alone_and_told(site: Site, book: Rulebook) -> None:
    (site.home.snapshot / "current.json").write_bytes(b'{"payload": 1}')
    assert isinstance(book.load(), SignatureWrong)
    with pytest.raises(NoRules):
        book.rules()


def test_a_persons_hmac_needs_the_projects_key(site: Site) -> None:
    rules = read_rules(site.envelope(lookup={"claims": "AAAA"}), site.release_key.public_key(), bytes(32))
    with pytest.raises(LookupMissing):
        rules.subject("claims", "anna-k")


def test_secrets_do_not_show_when_rules_are_printed(site: Site, book: Rulebook) -> None:
    site.attached("http://127.0.0.1:9", secret="sk-very-secret")
    take(book, site.envelope())
    assert book.rules().secrets["chat"] == "sk-very-secret"
    assert "sk-very-secret" not in repr(book.rules())


def _route(name: str, weight: int) -> Route:
    return Route(release=name, weight=weight, target=Target(kind="engine", name=name, serving_digest=name))


def test_the_same_person_always_gets_the_same_release_and_weights_hold() -> None:
    routes = (_route("old", 9_000), _route("new", 1_000))
    picked = [pick(routes, f"triage/{n}") for n in range(5_000)]
    assert picked == [pick(routes, f"triage/{n}") for n in range(5_000)]
    shares = Counter(route.release for route in picked if route)
    assert 420 < shares["new"] < 580
    assert pick((), "x") is None
    assert pick((replace(routes[0], weight=0),), "x") is None
