"""When its own target cannot answer, a service's stand-ins are asked, in order, and never who may not have
its words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from freehold.engines.provider_fakes import FakeAnthropic
from freehold.spec.answer import Turn
from freehold.spec.ids import now
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import GuardView, Most
from freehold.store.spooled import Turned
from tests.gateway.conftest import QUICK, Site

IBAN = "DE02 1203 0000 0000 2020 51"


class Chain:
    """`chat`, whose provider listens at `own`, and `second`, which stands in for it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.own, self.url = site.upstream()
        self.other, self.other_url = site.upstream()
        self.attach()
        self.second()
        self.key = site.key(purpose="claims-handling")

    def attach(self, url: str = "", **fields: Any) -> None:
        given = {"price_out": "1", "fallback": ("second",), "region": "eu", "regions": ("eu",), **fields}
        self.site.attached(url or self.url, **given)

    def second(self, name: str = "second", url: str = "", **fields: Any) -> None:
        digest = "sha256:" + name.encode().hex().ljust(64, "0")[:64]
        given = {"price_out": "3", "region": "eu", "serving_digest": digest, **fields}
        self.site.attached(url or self.other_url, name=name, **given)

    def up(self, **bounds: Any) -> None:
        self.site.publish()
        self.site.up(replace(QUICK, **bounds))

    def ask(self, words: str = "good day", **fields: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", **fields.pop("headers", {})}
        body = {"model": "chat", "messages": [{"role": "user", "content": words}], **fields}
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.post(f"{self.site.url}/v1/chat/completions", json=body, headers=headers)

    def turns(self, answer: httpx.Response) -> list[Turn]:
        id = answer.headers["x-freehold-answer"]
        self.site.closed(id)
        records = [r.turn for r in self.site.control.records if isinstance(r, Turned)]
        return [turn for turn in records if turn.answer == id]


@pytest.fixture
def chain(site: Site) -> Iterator[Chain]:
    return Chain(site)


def test_who_stands_in_answers_and_the_record_says_who_and_why(site: Site, chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.up()
    answer = chain.ask()
    assert answer.json()["choices"][0]["message"]["content"] == "You said: good day"
    assert answer.json()["model"] == "chat", "under the name that was asked for"
    assert answer.headers["x-freehold-fallback"] == "true"
    (turn,) = chain.turns(answer)
    second = site.services["second"].routes[0]
    assert (turn.release, turn.serving_digest) == (second.release, second.target.serving_digest)
    assert turn.instead == ("chat upstream-away",)
    end = site.closed(answer.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason) == ("answered", "ok")
    assert Decimal(end.cost) == Decimal(3) * end.tokens_out / 1000, "at the price of who answered"
    assert site.begun(answer.headers["x-freehold-answer"]).intent.service == "chat"


def test_that_another_is_asked_is_on_disk_before_it_is(site: Site, chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.up()
    chain.ask()
    records = site.control.wait(lambda: site.control.records if len(site.control.records) > 2 else None)
    kinds = [type(record).__name__ for record in records]
    assert kinds == ["Began", "Turned", "Ended"]


def test_a_stream_comes_from_who_stands_in(chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.up()
    with openai.OpenAI(base_url=f"{chain.site.url}/v1", api_key=chain.key, max_retries=0) as client:
        said = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "one two"}], stream=True
        )
        words = "".join(c.choices[0].delta.content or "" for c in said if c.choices)
    assert words == "You said: one two"


@pytest.mark.parametrize("status", [429, 500, 503, 401])
def test_a_provider_that_refuses_or_fails_is_stood_in_for(chain: Chain, status: int) -> None:
    """It is done with the request: nothing of it goes on there."""
    chain.up()
    answer = chain.ask(f"[status {status}]")
    assert answer.status_code != 200, "the stand-in is told the same words, and fails the same way"
    assert len(chain.own.heard) >= 1
    assert len(chain.other.heard) >= 1


@pytest.mark.parametrize("words", ["[delay 1]", "[hang-up]", "[status 504]", "[status 422]"])
def test_what_may_still_be_acted_on_is_asked_of_nobody_else(chain: Chain, words: str) -> None:
    chain.up(silence=0.3)
    answer = chain.ask(words)
    assert answer.status_code in (400, 502, 504)
    assert chain.other.heard == []
    assert "x-freehold-fallback" not in answer.headers


def test_a_stream_that_broke_off_is_not_begun_again(chain: Chain) -> None:
    chain.up()
    assert "upstream_broke" in chain.ask("[hang-up] a b c d", stream=True).text
    assert chain.other.heard == []


def test_one_that_is_left_alone_is_stood_in_for_at_once(site: Site, chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.up()
    answers = [chain.ask() for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 7
    assert chain.turns(answers[-1])[0].instead == ("chat left-alone",)
    kinds = [type(r).__name__ for r in site.control.records[-3:]]
    assert kinds == ["Began", "Turned", "Ended"]
    begun = site.begun(answers[-1].headers["x-freehold-answer"]).intent
    assert begun.release == site.services["chat"].routes[0].release, "who stands in is not who was drawn"


def test_when_nobody_can_answer_the_first_failure_is_told(site: Site, chain: Chain) -> None:
    chain.attach(chain.site.nobody(), fallback=("second", "third"))
    chain.second(url=chain.site.nobody())
    chain.second("third", url=chain.site.nobody())
    chain.up()
    answer = chain.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_away")
    assert [t.instead for t in chain.turns(answer)] == [
        ("chat upstream-away",),
        ("chat upstream-away", "second upstream-away"),
    ]
    end = site.closed(answer.headers["x-freehold-answer"]).close
    assert (end.ending, end.cost, end.tokens_in) == ("failed", "0", 0)


# -- who may not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ({"sensitivity": 4, "inside": True}, {"sensitivity": 4}),
        ({}, {"sensitivity": 2}),
        ({}, {"region": "us"}),
        ({}, {"region": ""}),
        ({"regions": ()}, {}),
        ({}, {"purpose": "marketing"}),
        ({}, {"subject": "required"}),
        ({}, {"guard_in": GuardView(pii="mask")}),
        ({}, {"guard_out": GuardView(secrets="refuse")}),
        ({}, {"state": "stopped"}),
        ({}, {"project": "other"}),
        ({}, {"contract_until": 1}),
    ],
    ids=str,
)
def test_who_may_not_have_the_words_is_not_asked(
    chain: Chain, own: dict[str, Any], other: dict[str, Any]
) -> None:
    chain.attach(chain.site.nobody(), **own)
    chain.second(**other)
    chain.up()
    assert chain.ask().status_code == 502
    assert chain.other.heard == []


def test_restricted_words_go_to_who_stands_inside(chain: Chain) -> None:
    chain.attach(chain.site.nobody(), sensitivity=int(Sensitivity.RESTRICTED), inside=True)
    chain.second(sensitivity=int(Sensitivity.RESTRICTED), inside=True, region="")
    chain.up()
    assert chain.ask().status_code == 200


def test_who_stands_inside_answers_for_a_provider_that_may_not_have_the_words(chain: Chain) -> None:
    chain.attach(sensitivity=int(Sensitivity.RESTRICTED), contract_until=now() + 10**12)
    chain.second(sensitivity=int(Sensitivity.RESTRICTED), inside=True)
    chain.up()
    answer = chain.ask()
    assert (answer.status_code, chain.own.heard) == (200, [])
    assert chain.turns(answer)[0].instead == ("chat stays-inside",)


def test_a_service_that_lets_restricted_words_out_stands_in_for_nobody(chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.second(sensitivity=int(Sensitivity.RESTRICTED))
    chain.up()
    assert (chain.ask().status_code, chain.other.heard) == (502, [])


def test_a_model_of_ours_stands_in_for_a_provider(site: Site, chain: Chain) -> None:
    site.writes("letters", sensitivity=4)
    chain.attach(chain.site.nobody(), sensitivity=4, inside=True, fallback=("letters",))
    chain.up()
    answer = chain.ask()
    assert (answer.status_code, answer.json()["model"]) == (200, "chat")
    assert chain.turns(answer)[0].serving_digest == site.services["letters"].routes[0].target.serving_digest


async def ready_and_broken(scope: Any, _receive: Any, send: Any) -> None:
    """An engine that says it is ready, and answers nobody."""
    status = 200 if scope["method"] == "GET" else 500
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_a_provider_stands_in_for_a_model_of_ours_that_writes(site: Site, chain: Chain) -> None:
    site.writes("chat", app=ready_and_broken, fallback=("second",), regions=("eu",))
    chain.up()
    answer = chain.ask()
    assert (answer.status_code, answer.json()["model"]) == (200, "chat")
    (turn,) = chain.turns(answer)
    assert turn.instead == ("chat engine-failed",)
    end = site.closed(answer.headers["x-freehold-answer"]).close
    assert Decimal(end.cost) == Decimal(3) * end.tokens_out / 1000


def test_a_contract_that_ended_is_stood_in_for(site: Site, chain: Chain) -> None:
    chain.attach(contract_until=now() - 1)
    chain.up()
    answer = chain.ask()
    assert answer.status_code == 200
    assert chain.own.heard == []
    assert chain.turns(answer)[0].instead == ("chat contract-ended",)


def test_who_has_no_word_for_what_is_asked_is_passed_over(site: Site, chain: Chain) -> None:
    chain.attach(chain.site.nobody(), fallback=("letters", "second"))
    fake = FakeAnthropic(None)
    site.attached(site.stands(fake), name="letters", api="anthropic", region="eu", serving_digest="sha256:b")
    chain.up()
    answer = chain.ask(frequency_penalty=1.5)
    assert answer.status_code == 200
    (turn,) = chain.turns(answer)
    assert turn.instead == ("chat upstream-away", "letters nothing-acts-on")
    assert fake.heard == []


def test_what_is_limited_of_a_stand_in_counts_there_too(chain: Chain) -> None:
    chain.attach(chain.site.nobody())
    chain.second(most=Most(requests=2))
    chain.up()
    assert [chain.ask().status_code for _ in range(3)] == [200, 200, 502]
    assert len(chain.other.heard) == 2


def test_the_services_own_guards_look_at_the_answer(chain: Chain) -> None:
    chain.attach(chain.site.nobody(), guard_out=GuardView(pii="mask"))
    chain.up()
    answer = chain.ask(f"pay {IBAN}")
    assert IBAN in json.dumps(chain.other.heard[0].body)
    assert answer.json()["choices"][0]["message"]["content"] == "You said: pay [iban]"


def test_an_answer_of_a_stand_in_is_not_kept_for_the_next_who_asks(chain: Chain) -> None:
    chain.attach(chain.site.nobody(), cache=600)
    chain.up()
    assert [chain.ask().headers.get("x-freehold-cache") for _ in range(2)] == [None, None]


def test_a_service_that_names_nobody_is_not_stood_in_for(chain: Chain) -> None:
    chain.attach(chain.site.nobody(), fallback=())
    chain.up()
    assert chain.ask().status_code == 502
    assert chain.other.heard == []
