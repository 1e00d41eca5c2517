"""Rules are believed when they are signed, newer and understood to the last word."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.gateway.answering import UpstreamAway
from freehold.gateway.bounds import Bounds
from freehold.gateway.dialects.dialect import Sent
from freehold.gateway.elapsed import UNKNOWN, boot, elapsed
from freehold.gateway.pages import SnapshotStrange
from freehold.gateway.rulebook import NoRules, Rulebook
from freehold.gateway.rules import LookupMissing, pick, read_snapshot
from freehold.gateway.upstream import Upstreams
from freehold.gateway.who import authenticate
from freehold.spec.ids import canonical
from freehold.spec.snapshot import FEW, PAYLOAD_TYPE, GuardView, Route, Target
from freehold.store.signing import Envelope, SignatureWrong, sign
from tests.gateway.conftest import Site, listening, read


@pytest.fixture
def book(site: Site) -> Rulebook:
    return Rulebook(site.home.snapshot, site.release_key.public_key(), site.home.gateway_key.read_bytes())


def take(book: Rulebook, envelope: bytes) -> bool:
    rules = read(book, envelope)
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
            read(book, canonical(text))
    with pytest.raises(NoRules):
        book.rules()


def test_a_word_this_gateway_does_not_know_might_be_a_restriction(site: Site, book: Rulebook) -> None:
    said = json.loads(Envelope.from_json(json.loads(site.envelope())).payload)
    said["embargo"] = ["everything"]
    signed = sign(site.release_key, PAYLOAD_TYPE, canonical(said))
    with pytest.raises(SnapshotStrange, match="does not know"):
        read(book, canonical(signed.as_json()))
    del said["embargo"], said["ix"]
    with pytest.raises(SnapshotStrange):
        read(book, canonical(sign(site.release_key, PAYLOAD_TYPE, canonical(said)).as_json()))


def test_what_is_signed_is_the_canonical_form_to_the_byte(site: Site) -> None:
    site.own()
    site.attached("http://127.0.0.1:9", price_in="0.0025", guard_in=GuardView(pii="mask", refuse_above=9_000))
    site.key(purpose="claims-handling", services=("triage",), expires_at=5)
    snapshot = read_snapshot(site.envelope(), site.release_key.public_key())
    assert snapshot.canonical() == canonical(snapshot.as_json())


def test_as_many_keys_as_a_snapshot_holds_are_each_read_to_the_last_word(site: Site, book: Rulebook) -> None:
    texts = [site.key() for _ in range(FEW)]
    envelope = site.envelope()
    assert take(book, envelope)
    assert [authenticate(text, book.rules(), 0).id for text in texts] == [key.id for key in site.keys]
    said = json.loads(Envelope.from_json(json.loads(envelope)).payload)
    for change in ({"embargo": True}, {"services": 3}):
        changed = {**said, "ix": 9, "keys": [*said["keys"][:-1], said["keys"][-1] | change]}
        with pytest.raises(SnapshotStrange):
            read(book, canonical(sign(site.release_key, PAYLOAD_TYPE, canonical(changed)).as_json()))
    spaced = json.dumps({**said, "ix": 9}, sort_keys=True).encode()
    with pytest.raises(SnapshotStrange):
        read(book, canonical(sign(site.release_key, PAYLOAD_TYPE, spaced).as_json()))


def test_a_new_process_goes_on_from_disk_and_knows_how_old_that_is(site: Site, book: Rulebook) -> None:
    take(book_of(site, at=1000, boot="monday"), site.envelope())
    again = book_of(site, at=1500, boot="monday")
    assert again.load() is None
    assert again.ix == 1
    assert again.silence() == 500
    again.heard()
    assert again.silence() == 0


def test_a_wall_clock_turned_back_makes_no_rules_fresh(site: Site) -> None:
    take(book_of(site, at=1000, boot="monday"), site.envelope())
    os.utime(site.home.snapshot / "heard", (time.time() + 900, time.time() + 900))
    again = book_of(site, at=1500, boot="monday")
    assert again.load() is None
    assert again.silence() == 500


@pytest.mark.parametrize("start", ["tuesday", UNKNOWN])
def test_after_another_start_of_the_machine_the_wall_clock_says_how_old_they_are(
    site: Site, start: str
) -> None:
    take(book_of(site, at=90_000, boot=start if start == UNKNOWN else "monday"), site.envelope())
    os.utime(site.home.snapshot / "heard", (time.time() - 500, time.time() - 500))
    again = book_of(site, at=30, boot=start)
    assert again.load() is None
    assert 499 < again.silence() < 560


@pytest.mark.parametrize("mark", ["gone", "in the future", "broken", "of a later moment"])
def test_rules_of_which_nobody_can_say_how_old_they_are_are_as_old_as_can_be(site: Site, mark: str) -> None:
    take(book_of(site, at=1000, boot="monday"), site.envelope())
    path = site.home.snapshot / "heard"
    start = "tuesday" if mark == "in the future" else "monday"
    match mark:
        case "gone":
            path.unlink()
        case "in the future":
            os.utime(path, (time.time() + 900, time.time() + 900))
        case "broken":
            path.write_text("monday")
        case _:
            path.write_text("monday 999999.0")
    again = book_of(site, at=1010, boot=start)
    assert again.load() is None
    assert again.silence() == math.inf
    again.heard()
    assert again.silence() == 0


def test_the_clock_of_silence_goes_on_while_the_machine_sleeps() -> None:
    """What suspends a machine cannot be tested here; which clock is asked can."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(elapsed() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert boot()


def book_of(site: Site, *, at: float, boot: str) -> Rulebook:
    public, private = site.release_key.public_key(), site.home.gateway_key.read_bytes()
    return Rulebook(site.home.snapshot, public, private, elapsed=lambda: at, boot=boot)


def test_a_kept_snapshot_that_was_changed_is_left_alone_and_told(site: Site, book: Rulebook) -> None:
    (site.home.snapshot / "current.json").write_bytes(b'{"payload": 1}')
    assert isinstance(book.load(), SignatureWrong)
    with pytest.raises(NoRules):
        book.rules()


def test_a_persons_hmac_needs_the_projects_key(site: Site, book: Rulebook) -> None:
    take(book, site.envelope(lookup={"claims": "AAAA"}))
    with pytest.raises(LookupMissing):
        book.rules().subject("claims", "anna-k")


def test_secrets_do_not_show_when_rules_are_printed(site: Site, book: Rulebook) -> None:
    site.attached("http://127.0.0.1:9", secret="sk-very-secret")
    take(book, site.envelope())
    assert book.rules().secrets["chat"] == "sk-very-secret"
    assert "sk-very-secret" not in repr(book.rules())


def _route(name: str, weight: int) -> Route:
    return Route(release=name, weight=weight, target=Target(kind="engine", name=name, serving_digest=name))


SUBJECTS = [f"triage/{n}" for n in range(10_000)]


def _arms(*, canary: int, new: str = "new") -> list[str]:
    """Which release each of 10,000 persons gets when the canary has this share, of 10,000."""
    routes = (_route("old", 10_000 - canary), _route(new, canary))
    return [route.release if (route := pick(routes, subject)) else "" for subject in SUBJECTS]


def test_a_person_keeps_their_release_while_the_weights_stand() -> None:
    assert _arms(canary=500) == _arms(canary=500)
    assert pick((), "x") is None
    assert pick((_route("old", 0),), "x") is None


def test_another_process_draws_the_same() -> None:
    """As another gateway does, and this one after a restart."""
    code = "from tests.gateway.test_rules import _arms; print(*_arms(canary=5_000)[:500])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == _arms(canary=5_000)[:500]


@pytest.mark.parametrize("share", [50, 500, 2_500, 5_000, 9_000])
def test_a_share_of_persons_is_the_share_of_the_weight(share: int) -> None:
    """Within four standard deviations of a fair draw."""
    got = Counter(_arms(canary=share))["new"]
    assert abs(got - share) < 4 * (10_000 * share / 10_000 * (1 - share / 10_000)) ** 0.5


def test_a_person_only_grows_into_a_canary_and_never_out_of_it() -> None:
    before: set[str] = set()
    for share in (1, 100, 500, 2_500, 5_000, 5_001, 7_500, 9_999):
        arms = _arms(canary=share)
        mine = {subject for subject, arm in zip(SUBJECTS, arms, strict=True) if arm == "new"}
        assert before <= mine
        before = mine
    assert set(_arms(canary=10_000)) == {"new"}


def test_it_is_not_always_the_same_persons_who_try_what_is_new() -> None:
    first, second = _arms(canary=1_000, new="one"), _arms(canary=1_000, new="two")
    both = sum(a == "one" and b == "two" for a, b in zip(first, second, strict=True))
    assert 40 < both < 180  # 100 by chance, 1,000 were they the same


def test_a_provider_that_no_service_names_any_more_is_connected_to_no_more(
    site: Site, book: Rulebook, tmp_path: Path
) -> None:
    upstreams = Upstreams(tmp_path, Bounds())

    async def asked(url: str, ca: str = "") -> None:
        with pytest.raises(UpstreamAway):
            async with upstreams.provider(Sent(url=url, headers={}, body=b"{}", ca=ca), of="t"):
                pass

    def known() -> list[tuple[int, str]]:
        """What is connected to when news of the snapshot has come."""
        upstreams.forget_providers(book.rules().providers())
        return sorted((address.port, ca) for address, ca in upstreams._providers)

    first, second, stranger = (_dead() for _ in range(3))
    site.attached(first, also=(f"{second}/v1",))
    assert take(book, site.envelope())
    for url in (first, second, stranger):
        asyncio.run(asked(f"{url}/v1/chat/completions"))
    ports = [int(url.rpartition(":")[2]) for url in (first, second)]
    assert known() == sorted((port, "") for port in ports), "the stranger was never named"
    site.attached(second)
    assert take(book, site.envelope())
    assert known() == [(ports[1], "")]
    site.attached(second, ca="of somebody")
    assert take(book, site.envelope())
    assert known() == [], "who vouches for it is another"


def _dead() -> str:
    """An address where nobody listens."""
    listener, url = listening()
    listener.close()
    return url
