"""A model that stands at several addresses: who has least under way is asked, one that fails is left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from freehold.errors import Failure
from freehold.gateway import breaker
from freehold.gateway.answering import UpstreamAway, UpstreamBroke, UpstreamBusy, UpstreamFailed, UpstreamSlow
from freehold.gateway.breaker import QUICK_FAILURES, LeftAlone
from freehold.gateway.dialects.dialect import CHAT, Sent
from freehold.gateway.dialects.known import DIALECTS
from freehold.gateway.provider import ProviderQuestion
from freehold.gateway.replicas import Replicas
from freehold.gateway.spend import Tally
from freehold.spec.snapshot import Target
from tests.gateway.conftest import QUICK, Site

ONE, TWO = (Sent(url=f"http://10.0.0.{n}/v1", headers={}, body=b"{}") for n in (1, 2))


class Model:
    """One model at two addresses, and what happens at each of them."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.replicas = Replicas(lambda: self.at)
        self.fails: dict[str, Failure] = {}
        self.asked: list[str] = []

    @asynccontextmanager
    async def _ask(self, sent: Sent) -> AsyncIterator[Any]:
        self.asked.append(sent.url)
        if sent.url in self.fails:
            raise self.fails[sent.url]
        yield sent.url

    def ask(self, of: str = "sha256:chat", path: str = "") -> Any:
        sents = [Sent(url=one.url + path, headers={}, body=b"{}") for one in (ONE, TWO)]
        return self.replicas.ask(sents, of, "chat", self._ask)

    async def answered_by(self, *asked: str) -> str:
        async with self.ask(*asked) as answering:
            return str(answering)


@pytest.fixture
def model() -> Model:
    return Model()


def test_who_has_least_under_way_is_asked_and_of_equals_who_was_asked_longest_ago(model: Model) -> None:
    async def story() -> None:
        async with model.ask() as first:
            assert first == ONE.url
            assert [await model.answered_by() for _ in range(3)] == [TWO.url] * 3
        assert [await model.answered_by() for _ in range(4)] == [ONE.url, TWO.url, ONE.url, TWO.url]

    asyncio.run(story())


def test_one_that_fails_is_left_alone_and_nobody_hears_of_it(model: Model) -> None:
    async def story() -> None:
        model.fails[ONE.url] = UpstreamFailed()
        assert [await model.answered_by() for _ in range(20)] == [TWO.url] * 20
        assert model.asked.count(ONE.url) == 5, "quick failures in a row, and then no more"
        assert model.replicas.open() == 1
        del model.fails[ONE.url]
        model.at += 11
        assert {await model.answered_by() for _ in range(4)} == {ONE.url, TWO.url}
        assert model.replicas.open() == 0

    asyncio.run(story())


@pytest.mark.parametrize("failure", [UpstreamSlow(), UpstreamBroke()], ids=lambda one: one.code)
def test_what_may_still_be_acted_on_is_asked_at_no_other_address(model: Model, failure: Failure) -> None:
    async def story() -> None:
        model.fails[ONE.url] = failure
        with pytest.raises(type(failure)):
            await model.answered_by()
        assert model.asked == [ONE.url]

    asyncio.run(story())


def test_an_answer_that_has_begun_is_not_begun_again(model: Model) -> None:
    async def story() -> None:
        with pytest.raises(UpstreamFailed):
            async with model.ask():
                raise UpstreamFailed
        assert model.asked == [ONE.url]
        assert await model.answered_by() == TWO.url

    asyncio.run(story())


def test_where_none_can_answer_it_is_told_what_one_of_them_said_and_not_that_another_is_left_alone(
    model: Model,
) -> None:
    async def story() -> None:
        model.fails = {ONE.url: UpstreamFailed(), TWO.url: UpstreamBusy()}
        for _ in range(8):
            with pytest.raises((UpstreamFailed, UpstreamBusy)) as failed:
                await model.answered_by()
        assert isinstance(failed.value, UpstreamBusy), "the other one is left alone by now"
        model.fails[TWO.url] = UpstreamFailed()
        model.at += 3
        for _ in range(8):
            with pytest.raises(Failure) as failed:
                await model.answered_by()
        assert isinstance(failed.value, LeftAlone)
        assert failed.value.retry_after == 7, "the one that was left alone first is tried again first"

    asyncio.run(story())


def test_one_that_fails_for_a_model_of_another_name_goes_on_answering_for_this_one(model: Model) -> None:
    """Two services at the same addresses; the name that one of them asks for is known to none of them."""

    async def story() -> None:
        model.fails = {ONE.url: UpstreamFailed(), TWO.url: UpstreamFailed()}
        for _ in range(8):
            with pytest.raises(Failure) as failed:
                await model.answered_by("sha256:typo")
        assert isinstance(failed.value, LeftAlone)
        assert model.replicas.open() == 2
        model.fails = {}
        assert {await model.answered_by("sha256:chat") for _ in range(4)} == {ONE.url, TWO.url}
        with pytest.raises(LeftAlone):
            await model.answered_by("sha256:typo")

    asyncio.run(story())


def test_what_is_under_way_at_an_address_counts_for_whatever_else_is_asked_there(model: Model) -> None:
    async def story() -> None:
        async with model.ask("sha256:chat", "/chat/completions") as first:
            assert first == f"{ONE.url}/chat/completions"
            assert [await model.answered_by("sha256:chat", "/embeddings") for _ in range(3)] == [
                f"{TWO.url}/embeddings"
            ] * 3
            assert [await model.answered_by("sha256:other") for _ in range(3)] == [TWO.url] * 3

    asyncio.run(story())


def test_what_is_known_of_a_target_that_no_route_names_any_more_is_forgotten(model: Model) -> None:
    async def story() -> None:
        model.fails = {ONE.url: UpstreamFailed()}
        for target in ("sha256:stays", "sha256:goes"):
            assert [await model.answered_by(target) for _ in range(12)] == [TWO.url] * 12
        assert model.replicas.open() == 2
        model.replicas.forget(frozenset({"sha256:stays"}))
        assert model.replicas.open() == 1

    asyncio.run(story())


class Heard:
    """What would be sent to the addresses of a target; none of them can be reached."""

    sents: tuple[Sent, ...] = ()

    def any_of(self, sents: Sequence[Sent], *_written: Any, **_of: Any) -> Any:
        self.sents = tuple(sents)
        raise UpstreamAway


@pytest.mark.parametrize("api", DIALECTS)
@pytest.mark.parametrize("streams", [False, True], ids=("whole", "streamed"))
def test_a_body_is_encoded_once_however_many_addresses_there_are(api: str, streams: bool) -> None:
    fields = {"messages": [{"role": "user", "content": "good day"}], "max_tokens": 5, "stream": streams}
    body = DIALECTS[api].asks(CHAT, fields)
    question = ProviderQuestion(
        service="chat",
        path=CHAT,
        asks={api: body},
        stream=streams,
        usage_wanted=False,
        base64=False,
        created=0,
        worst_case=(1, 1),
    )
    also = ("http://10.0.0.2/v1/", "https://third.example.org/openai/deployments/x")
    said: dict[str, Any] = {"name": "fake-1", "serving_digest": "sha256:a", "api": api, "also": also}
    target = Target(kind="provider", url="http://10.0.0.1/v1", **said)
    heard = Heard()

    async def story() -> None:
        with pytest.raises(UpstreamAway):
            await anext(question.told(heard, target, "secret", Tally()))  # type: ignore[arg-type]

    asyncio.run(story())
    first, *others = heard.sents
    assert [one.url for one in others] == [
        DIALECTS[api].sent(replace(target, url=url), "secret", CHAT, body).url for url in also
    ]
    assert all(one.body is first.body and one.headers == first.headers for one in others)


def test_of_very_many_addresses_as_many_are_told_as_an_entry_holds() -> None:
    tally = Tally()
    for number in (*range(40), 0):
        tally.goes(f"http://10.0.0.{number}/v1")
    assert tally.went == (*(f"http://10.0.0.{number}/v1" for number in range(32)), "…")


# -- over sockets -----------------------------------------------------------------------------------------


def asked(site: Site, key: str, words: str = "good day", **fields: Any) -> httpx.Response:
    body = {"model": "chat", "messages": [{"role": "user", "content": words}], **fields}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)


def left_alone(site: Site) -> int:
    lines = httpx.get(f"{site.url}/metrics", trust_env=False).text.splitlines()
    (line,) = (one for one in lines if one.startswith("freehold_gateway_targets_left_alone"))
    return int(line.rpartition(" ")[2])


def test_both_addresses_answer_whole_and_streamed_and_each_answer_has_its_record(site: Site) -> None:
    (first, one), (second, two) = site.upstream(), site.upstream()
    site.attached(one, also=(f"{two}/v1",))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(QUICK)
    answers = [asked(site, key, stream=streams) for streams in (False, True) * 3]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert (len(first.heard), len(second.heard)) == (3, 3)
    closes = [site.closed(answer.headers["x-freehold-answer"]).close for answer in answers]
    assert [(close.ending, close.went) for close in closes] == [
        ("answered", (f"{url}/v1",)) for url in (one, two) * 3
    ]


def test_the_record_says_every_address_to_which_the_words_went(site: Site) -> None:
    (_, one), (_, two) = site.upstream("another-key"), site.upstream()
    site.attached(site.nobody(), also=(f"{one}/v1", f"{two}/v1"))
    site.attached(two, "alone", serving_digest="sha256:" + "b" * 64)
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(QUICK)
    answer = asked(site, key)
    assert answer.status_code == 200
    went = site.closed(answer.headers["x-freehold-answer"]).close.went
    assert went == (f"{one}/v1", f"{two}/v1"), "the first one was never reached, the second refused our key"
    answer = asked(site, key, model="alone")
    assert not site.closed(answer.headers["x-freehold-answer"]).close.went


def test_an_address_where_nobody_is_costs_no_answer_and_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("PAUSE", "LONGEST"):
        monkeypatch.setattr(breaker, pause, 3600.0)
    alive, url = site.upstream()
    site.attached(site.nobody(), also=(f"{url}/v1",))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(QUICK)
    assert [asked(site, key).status_code for _ in range(QUICK_FAILURES + 2)] == [200] * (QUICK_FAILURES + 2)
    assert len(alive.heard) == QUICK_FAILURES + 2
    assert left_alone(site) == 1
    site.attached(url, serving_digest="sha256:" + "b" * 64)
    site.publish()
    deadline = time.monotonic() + 30
    while left_alone(site):  # until the gateway keeps house next
        assert time.monotonic() < deadline, "what is known of the target of before is never forgotten"
        time.sleep(0.05)


def test_while_one_writes_a_long_answer_the_other_is_asked(site: Site) -> None:
    (first, one), (second, two) = site.upstream(), site.upstream()
    site.attached(one, also=(f"{two}/v1",))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(QUICK)
    messages = [{"role": "user", "content": "[pause 1] a b c d e f g h"}]
    body = {"model": "chat", "messages": messages, "stream": True}
    headers, url = {"authorization": f"Bearer {key}"}, f"{site.url}/v1/chat/completions"
    with (
        httpx.Client(trust_env=False, timeout=20) as http,
        http.stream("POST", url, json=body, headers=headers) as long,
    ):
        pieces = long.iter_bytes()
        next(pieces)  # it has begun, and goes on while `pieces` is there
        assert [asked(site, key).status_code for _ in range(3)] == [200] * 3
        assert (len(first.heard), len(second.heard)) == (1, 3)
