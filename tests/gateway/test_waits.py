"""A provider that takes connections and says nothing makes few callers wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.answering import UpstreamSlow
from freehold.gateway.bounds import Bounds
from freehold.gateway.breaker import Breaker, LeftAlone
from freehold.gateway.dialects.dialect import Sent
from freehold.gateway.elapsed import elapsed
from freehold.gateway.upstream import Upstreams
from freehold.gateway.waits import Waits
from freehold.gateway.wire import Wire, _Connection
from tests.fuzz.wires import Line
from tests.gateway.conftest import QUICK, Site, listening
from tests.gateway.steered import steered

SILENCE = Bounds().silence


async def says_nothing(wire: Wire, _loop: asyncio.AbstractEventLoop) -> _Connection:
    """A connection comes about at once, and nothing ever comes over it."""
    connection = _Connection(wire._waits)
    connection.connection_made(Line())
    return connection


@pytest.mark.parametrize("soon", [True, False], ids=["streams", "whole answers"])
@pytest.mark.parametrize("callers", [1, 3, 64])
def test_in_a_minute_of_silence_three_wait_all_of_their_time_however_many_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, callers: int, soon: bool
) -> None:
    """The only provider takes every request for 60 s and says nothing; every caller asks again at once."""
    monkeypatch.setattr(Wire, "_made", says_nothing)
    waits: list[float] = []
    told: Counter[str] = Counter()

    async def call(upstreams: Upstreams, breaker: Breaker) -> None:
        loop = asyncio.get_running_loop()
        while (began := loop.time()) < SILENCE:
            try:
                with breaker.asking("t", "chat"):
                    sent = Sent(url="http://127.0.0.1:9/v1", headers={}, body=b"{}")
                    async with upstreams.provider(sent, of="t", soon=soon):
                        raise AssertionError("nobody answers")
            except (UpstreamSlow, LeftAlone) as failure:
                told[failure.code] += 1
            waits.append(loop.time() - began)
            await asyncio.sleep(0.2)

    async def story() -> None:
        upstreams = Upstreams(tmp_path, Bounds())
        breaker = Breaker(asyncio.get_running_loop().time)
        await asyncio.gather(*(call(upstreams, breaker) for _ in range(callers)))

    steered(story)
    assert 1 <= sum(wait >= SILENCE for wait in waits) <= 3
    assert sum(wait > 1 for wait in waits) <= callers + 3, "those it happened to, and who tries"
    assert max(sorted(waits)[:-3], default=0) <= SILENCE / 2 + 1, "the others are let go"
    assert callers < 4 or told["left-alone"] > 20 * callers


class Answers(Line):
    """Who is asked for the quick model answers at once, for the slow one after twenty seconds."""

    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self.connection = connection

    def write(self, data: Any) -> None:
        said = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        loop = asyncio.get_running_loop()
        loop.call_later(20 if data.endswith(b"slow") else 0.1, self.connection.data_received, said)


async def answers(wire: Wire, _loop: asyncio.AbstractEventLoop) -> _Connection:
    connection = _Connection(wire._waits)
    connection.connection_made(Answers(connection))
    return connection


class Asking:
    """One who waits, as an address sees them."""

    def __init__(self) -> None:
        self.gone = False

    def let_go(self) -> None:
        self.gone = True


@pytest.fixture
def asking() -> list[Asking]:
    return [Asking() for _ in range(6)]


def gone(asking: list[Asking]) -> list[bool]:
    return [one.gone for one in asking]


def test_who_is_let_go_is_not_who_has_waited_longest(asking: list[Asking]) -> None:
    async def story() -> None:
        waits = Waits()
        for one in asking:
            waits.begins(one, 60, soon=False)
        await asyncio.sleep(32)

    steered(story)
    assert gone(asking) == [False, False, True, True, True, True]


def test_who_has_time_left_waits_on(asking: list[Asking]) -> None:
    """Three streams of a model that begins late say nothing of whole answers that were asked just before."""

    async def story() -> None:
        waits, quick = Waits(), Asking()
        waits.begins(quick, 60, soon=True)
        await asyncio.sleep(0.1)
        waits.speaks(quick)
        for one in asking[:3]:
            waits.begins(one, 60, soon=True)
        await asyncio.sleep(4)
        for one in asking[3:]:
            waits.begins(one, 60, soon=False)
        await asyncio.sleep(20)

    steered(story)
    assert gone(asking) == [False, False, True, False, False, False]


def test_while_anybody_is_answered_nobody_is_let_go(asking: list[Asking]) -> None:
    """Six long answers, and beside them short ones from the same address."""

    async def story() -> None:
        waits = Waits()
        for one in asking:
            waits.begins(one, 60, soon=False)
        for _ in range(5):
            await asyncio.sleep(10)
            short = Asking()
            waits.begins(short, 60, soon=False)
            waits.speaks(short)

    steered(story)
    assert not any(gone(asking))


def test_two_who_wait_say_nothing_of_the_others(asking: list[Asking]) -> None:
    async def story() -> None:
        waits = Waits()
        for one in asking[:2]:
            waits.begins(one, 60, soon=True)
        await asyncio.sleep(50)
        for one in asking[2:]:
            waits.begins(one, 60, soon=True)
        await asyncio.sleep(25)

    steered(story)
    assert not any(gone(asking)), "four have waited for 25 seconds, and the first stream may take 30"


@pytest.mark.parametrize(("took", "until"), [(0.5, 7), (3.0, 14), (20.0, 32)])
def test_how_long_a_stream_may_take_to_begin_is_learned(
    asking: list[Asking], took: float, until: float
) -> None:
    """Four times what it took lately; never less than 5 s, nor more than half of what one waits at most."""
    before: list[bool] = []

    async def story() -> None:
        waits, earlier = Waits(), Asking()
        waits.begins(earlier, 60, soon=True)
        await asyncio.sleep(took)
        waits.speaks(earlier)
        for one in asking:
            waits.begins(one, 60, soon=True)
        await asyncio.sleep(until - 3)
        before.extend(gone(asking))
        await asyncio.sleep(3)

    steered(story)
    assert not any(before)
    assert gone(asking) == [False, False, True, True, True, True]


def test_each_model_behind_an_address_takes_its_own_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beside one that begins at once, three ask one that begins after twenty seconds: nobody is let go."""
    told: list[str] = []

    async def call(upstreams: Upstreams, model: str) -> None:
        sent = Sent(url="http://127.0.0.1:9/v1", headers={}, body=model.encode())
        try:
            async with upstreams.provider(sent, of=model, soon=True):
                told.append(model)
        except UpstreamSlow:
            told.append("let go")

    async def story() -> None:
        upstreams = Upstreams(tmp_path, Bounds())
        await call(upstreams, "slow")
        for _ in range(70):
            await call(upstreams, "quick")
        await asyncio.gather(*(call(upstreams, "slow") for _ in range(3)))

    monkeypatch.setattr(Wire, "_made", answers)
    steered(story)
    assert Counter(told) == {"slow": 4, "quick": 70}


def test_answers_that_take_long_are_waited_for_as_long_as_they_take(asking: list[Asking]) -> None:
    """Whole answers of 25 s: six of them together wait for more than the half minute."""

    async def story() -> None:
        waits, earlier = Waits(), Asking()
        waits.begins(earlier, 60, soon=False)
        await asyncio.sleep(25)
        waits.speaks(earlier)
        for one in asking:
            waits.begins(one, 60, soon=False)
        await asyncio.sleep(49)

    steered(story)
    assert not any(gone(asking))


def test_one_who_waited_in_vain_lets_those_go_who_came_later(asking: list[Asking]) -> None:
    """Where answers take so long that half of the time says nothing."""

    async def story() -> None:
        waits, earlier = Waits(), Asking()
        waits.begins(earlier, 60, soon=False)
        await asyncio.sleep(40)
        waits.speaks(earlier)
        for one in asking:
            waits.begins(one, 60, soon=False)
            await asyncio.sleep(1)
        waits.in_vain(asking[0])

    steered(story)
    assert gone(asking) == [False, False, False, True, True, True]


# -- over real sockets -----------------------------------------------------------------------------------


class Callers:
    """Those who ask `chat` together; what becomes of each."""

    def __init__(self, site: Site, silence: float) -> None:
        self.site, self.later = site, [0.0]
        site.elapsed = lambda: elapsed() + self.later[0]
        self.key = site.key(purpose="claims-handling")
        site.publish()
        site.up(replace(QUICK, silence=silence))
        self.told = lambda _answer: None

    def ask(self, n: int) -> httpx.Response:
        """Every other one wants a stream."""
        body = {"model": "chat", "max_tokens": 70, "stream": n % 2 == 0}
        body["messages"] = [{"role": "user", "content": "good day"}]
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=20) as http:
            answer = http.post(f"{self.site.url}/v1/chat/completions", json=body, headers=headers)
        self.told(answer)
        return answer

    def together(self, many: int) -> list[httpx.Response]:
        with ThreadPoolExecutor(many) as callers:
            return list(callers.map(self.ask, range(many)))


def test_of_many_who_ask_a_silent_provider_three_wait_their_time_over_two_outages_of_it(site: Site) -> None:
    """Its kernel takes connections, and nobody reads. The pause between the two is passed over."""
    listener, url = listening()
    site.attached(url, price_out="1")
    callers = Callers(site, silence=4)
    given = callers.together(24)
    callers.later[0] += 11
    given += callers.together(24)
    listener.close()
    errors: list[dict[str, Any]] = [answer.json()["error"] for answer in given]
    codes = Counter(error["code"] for error in errors)
    assert codes.keys() == {"upstream_slow", "left_alone"}
    assert sum("nothing came for" in error["message"] for error in errors) <= 3
    assert any("nobody is answered there" in error["message"] for error in errors)
    assert codes["left_alone"] >= 23, "of the second time all but one, who tried"
    for answer, error in zip(given, errors, strict=True):
        end = site.closed(answer.headers["x-freehold-answer"]).close
        asked = error["code"] == "upstream_slow"
        assert (end.ending, end.estimated, end.tokens_out) == ("failed", asked, 70 if asked else 0)
        assert Decimal(end.cost) == (Decimal("0.07") if asked else 0), (
            "as after a time-out: it may be writing"
        )


def test_those_who_wait_longest_are_answered_when_it_speaks_again(site: Site) -> None:
    """And with their answers it is there for everybody."""
    speaks, fake, told = asyncio.Event(), FakeUpstream(None), list[int]()

    async def provider(scope: Any, receive: Any, send: Any) -> None:
        await speaks.wait()
        with suppress(OSError):
            await fake(scope, receive, send)

    site.attached(site.stands(provider))
    callers = Callers(site, silence=4)

    def four_are_let_go(answer: httpx.Response) -> None:
        told.append(answer.status_code)  # from six threads
        if told.count(504) == 4:
            site.loop.loop.call_soon_threadsafe(speaks.set)

    callers.told = four_are_let_go
    assert Counter(answer.status_code for answer in callers.together(6)) == {504: 4, 200: 2}
    assert callers.ask(1).status_code == 200
