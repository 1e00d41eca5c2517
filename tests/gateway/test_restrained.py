"""Who is held back hears why, and nobody else is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.restrained import KeyToRenew, refuse
from freehold.gateway.tokens import Token
from freehold.spec.ids import now
from freehold.spec.snapshot import Restraint
from tests.gateway.conftest import Site, hmac_of

MINUTE = 60_000_000


class Held:
    """A provider attached as `chat`, two keys, and what is held against the first one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.fake: FakeUpstream
        self.fake, url = site.upstream()
        site.attached(url, subject="optional")
        self.keys = [site.key(purpose="claims-handling") for _ in range(2)]

    def up(self, does: Any = "lock", **more: Any) -> None:
        self.site.callers["restraints"] = (self.restraint(does, **more),)
        self.site.publish()
        self.site.up()

    def restraint(self, does: Any, **more: Any) -> Restraint:
        said = {"subject": "", "since": now(), "until": None, "pace": 2, **more}
        return Restraint(incident="inc_1", key=self.site.keys[0].id, does=does, **said)

    def ask(self, key: int = 0, person: str = "", purpose: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        headers |= {"x-freehold-subject": person} if person else {}
        headers |= {"x-freehold-purpose": purpose} if purpose else {}
        body = {"model": "chat", "messages": [{"role": "user", "content": "is anybody there?"}]}
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.post(f"{self.site.url}/v1/chat/completions", headers=headers, json=body)


@pytest.fixture
def held(site: Site) -> Held:
    return Held(site)


def test_a_locked_key_hears_why_and_the_model_hears_nothing(site: Site, held: Held) -> None:
    held.up("lock")
    answer = held.ask()
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "key_locked"
    assert "inc_1" in answer.text
    assert held.fake.heard == []
    assert held.ask(key=1).status_code == 200
    with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {held.keys[0]}"}) as http:
        assert http.get(f"{site.url}/v1/models").status_code == 403


def test_what_a_locked_key_goes_on_asking_fills_no_spool(site: Site, held: Held) -> None:
    held.up("lock")
    for _ in range(5):
        held.ask()
    id = held.ask(key=1).headers["x-freehold-answer"]
    site.closed(id)
    assert len(site.control.records) == 2  # the beginning and the end of that one


def test_a_locked_person_is_refused_and_the_others_of_the_same_key_are_not(held: Held) -> None:
    held.up("lock", subject=hmac_of("anna"))
    refused = held.ask(person="anna")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "person_locked")
    assert "anna" not in refused.text
    assert [held.ask(person="ben").status_code, held.ask().status_code] == [200, 200]
    assert held.ask(key=1, person="anna").status_code == 200


def test_who_is_throttled_may_ask_a_little_and_hears_when_again(held: Held) -> None:
    held.up("throttle", until=now() + 10 * MINUTE)
    assert [held.ask().status_code for _ in range(2)] == [200, 200]
    late = held.ask()
    assert late.status_code == 429
    assert 1 <= int(late.headers["retry-after"]) <= 61
    assert "inc_1" in late.text
    assert held.ask(key=1).status_code == 200


def test_a_throttle_holds_what_is_refused_too(site: Site, held: Held) -> None:
    """Else whoever is throttled for asking what a key is not for would go on filling the ledger with it."""
    held.up("throttle", until=now() + 10 * MINUTE)
    answers = [held.ask(purpose="marketing") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [403, 403, 429, 429]
    for answer in answers[:2]:
        site.closed(answer.headers["x-freehold-answer"])
    assert "x-freehold-answer" not in answers[2].headers
    assert len(site.control.records) == 4  # the beginning and the end of each that was recorded
    assert held.ask().status_code == 429, "it is one pace, whatever is asked"
    assert held.ask(key=1).status_code == 200


def test_a_throttle_that_is_over_holds_nobody(held: Held) -> None:
    held.up("throttle", until=now() - MINUTE)
    assert [held.ask().status_code for _ in range(4)] == [200] * 4


def test_a_key_that_has_to_be_renewed_says_so(held: Held) -> None:
    held.up("renew")
    answer = held.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_to_renew")


def test_a_token_that_was_issued_later_is_a_renewed_one() -> None:
    one = Restraint(incident="inc_1", key="tok_1", subject="", does="renew", since=9, until=None, pace=1)
    rules: Any = SimpleNamespace(restraints={("tok_1", ""): (one,)})
    for issued in (0, 8, 9):  # 0: it does not say when
        with pytest.raises(KeyToRenew):
            refuse(rules, "tok_1", issued=issued)
    refuse(rules, "tok_1", issued=10)
    refuse(rules, "tok_2")


@pytest.mark.parametrize("said", ["1800000000", None, True, float("nan")])
def test_a_token_that_does_not_say_when_in_a_number_is_as_good_as_it_was(said: Any) -> None:
    """Only who has to renew it needs to know."""
    token = Token(issuer=SimpleNamespace(), claims={"iat": said}, begins=0, ends=1)  # type: ignore[arg-type]
    assert token.issued == 0


def test_whoever_is_freed_asks_again_at_once(site: Site, held: Held) -> None:
    held.up("lock")
    assert held.ask().status_code == 403
    site.callers["restraints"] = ()
    site.publish()
    assert held.ask().status_code == 200
