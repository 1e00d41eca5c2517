"""A target that is down costs its callers no more than a few slow requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import Failure
from freehold.gateway.answering import EngineNotReady, UpstreamAway, UpstreamRejected
from freehold.gateway.bounds import Bounds
from freehold.gateway.breaker import Breaker, LeftAlone
from freehold.gateway.dialects.dialect import Sent
from freehold.gateway.elapsed import elapsed
from freehold.gateway.limits import TooManyAtOnce
from freehold.gateway.upstream import Upstreams
from freehold.gateway.wire import Wire
from freehold.store.group_commit import SpoolStalled
from tests.gateway.conftest import Site
from tests.gateway.steered import steered


class Watch:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def breaker(watch: Watch) -> Breaker:
    return Breaker(watch)


def fails(breaker: Breaker, watch: Watch, took: float, failure: Failure | None = None) -> None:
    raised = failure or UpstreamAway()
    try:
        with breaker.asking("t", "chat"):
            watch.at += took
            raise raised
    except Failure as told:
        if told is not raised:
            raise


def test_in_a_minute_of_outage_three_requests_are_slow_and_the_rest_are_told_at_once(
    breaker: Breaker, watch: Watch
) -> None:
    slow, told = 0, 0
    waits: list[int] = []
    end = watch.at + 60
    while watch.at < end:
        try:
            with breaker.asking("t", "chat"):
                watch.at += 5
                slow += 1
                raise UpstreamAway
        except LeftAlone as late:
            waits.append(late.retry_after)
            told += 1
            watch.at += 0.1
        except UpstreamAway:
            continue
    assert slow <= 3
    assert 1 <= min(waits) <= max(waits) <= 40
    assert told > 300


async def nobody_connects(_wire: Wire, loop: asyncio.AbstractEventLoop) -> Any:
    await loop.create_future()


@pytest.mark.parametrize("callers", [1, 3, 64])
def test_in_a_minute_without_connections_three_requests_are_slow_however_many_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, callers: int
) -> None:
    """The only provider takes no packets for 60 s; every caller asks again as soon as they are told."""
    monkeypatch.setattr(Wire, "_made", nobody_connects)
    slow, told = 0, 0

    async def calls(upstreams: Upstreams, breaker: Breaker) -> None:
        nonlocal slow, told
        loop = asyncio.get_running_loop()
        while (began := loop.time()) < 60:
            with suppress(UpstreamAway, LeftAlone), breaker.asking("t", "chat"):
                sent = Sent(url="http://127.0.0.1:9/v1", headers={}, body=b"{}")
                async with upstreams.provider(sent, of="t"):
                    pass
            told += 1
            slow += loop.time() - began > 1
            await asyncio.sleep(0.2)

    async def story() -> None:
        upstreams = Upstreams(tmp_path, Bounds())
        breaker = Breaker(asyncio.get_running_loop().time)
        await asyncio.gather(*(calls(upstreams, breaker) for _ in range(callers)))

    steered(story)
    assert 1 <= slow <= 3
    assert told > 150 * callers


def under_way(breaker: Breaker) -> Callable[[], None]:
    """A request that is asked now, and fails when what is returned is called."""
    block = breaker.asking("t", "chat")
    block.__enter__()

    def fail() -> None:
        failure = UpstreamAway()
        assert not block.__exit__(UpstreamAway, failure, None)

    return fail


def test_failures_of_one_outage_do_not_double_the_pause(breaker: Breaker, watch: Watch) -> None:
    """Eight are under way when it goes down, and learn it one after the other."""
    several = [under_way(breaker) for _ in range(8)]
    watch.at += 5
    for fail in several:
        fail()
        watch.at += 0.5
    watch.at += 6
    with breaker.asking("t", "chat"):
        pass


def test_what_was_asked_before_it_came_back_does_not_send_it_away_again(
    breaker: Breaker, watch: Watch
) -> None:
    late = under_way(breaker)
    fails(breaker, watch, 5)
    watch.at += 10
    with breaker.asking("t", "chat"):
        pass
    late()
    with breaker.asking("t", "chat"):
        pass


def test_one_who_fails_beside_the_one_who_tries_lets_nobody_else_try(breaker: Breaker, watch: Watch) -> None:
    beside = under_way(breaker)
    fails(breaker, watch, 5)
    watch.at += 10
    with breaker.asking("t", "chat"):
        beside()
        with pytest.raises(LeftAlone), breaker.asking("t", "chat"):
            pass


def test_quick_failures_open_it_after_several_in_a_row(breaker: Breaker, watch: Watch) -> None:
    for _ in range(4):
        fails(breaker, watch, 0.01)
    with breaker.asking("t", "chat"):
        pass  # one answer, and they are no row any more
    for _ in range(5):
        fails(breaker, watch, 0.01)
    with pytest.raises(LeftAlone), breaker.asking("t", "chat"):
        pass
    with breaker.asking("other", "chat"):
        pass
    assert breaker.open() == 1


def test_one_caller_tries_and_the_others_are_told_meanwhile(breaker: Breaker, watch: Watch) -> None:
    fails(breaker, watch, 5)
    watch.at += 10
    with breaker.asking("t", "chat"):
        with pytest.raises(LeftAlone), breaker.asking("t", "chat"):
            pass
        watch.at += 1
    with breaker.asking("t", "chat"), breaker.asking("t", "chat"):
        pass
    assert breaker.open() == 0


def test_a_caller_who_leaves_while_trying_lets_the_next_one_try(breaker: Breaker, watch: Watch) -> None:
    fails(breaker, watch, 5)
    watch.at += 10
    with pytest.raises(KeyboardInterrupt), breaker.asking("t", "chat"):
        raise KeyboardInterrupt
    with breaker.asking("t", "chat"):
        pass


def test_what_the_target_says_of_a_request_is_no_sign_of_its_health(breaker: Breaker, watch: Watch) -> None:
    for _ in range(20):
        fails(breaker, watch, 5, UpstreamRejected())
        fails(breaker, watch, 5, EngineNotReady(service="x"))
    with breaker.asking("t", "chat"):
        pass


@pytest.mark.parametrize(
    "ours", [TooManyAtOnce(whose="this key"), SpoolStalled(seconds=5), EngineNotReady(service="x")]
)
def test_what_was_refused_before_the_target_was_asked_does_not_say_that_it_answers(
    breaker: Breaker, watch: Watch, ours: Failure
) -> None:
    fails(breaker, watch, 5)
    watch.at += 10
    fails(breaker, watch, 0, ours)
    with breaker.asking("t", "chat"), pytest.raises(LeftAlone), breaker.asking("t", "chat"):
        pass
    for _ in range(5):
        fails(breaker, watch, 0.01)
        with suppress(LeftAlone):
            fails(breaker, watch, 0, ours)
    with pytest.raises(LeftAlone), breaker.asking("t", "chat"):
        pass


def test_others_are_let_in_when_the_one_who_tries_has_the_beginning_of_an_answer(
    breaker: Breaker, watch: Watch
) -> None:
    fails(breaker, watch, 5)
    watch.at += 10
    with breaker.asking("t", "chat") as answers:
        with pytest.raises(LeftAlone), breaker.asking("t", "chat"):
            pass
        answers()
        with breaker.asking("t", "chat"):
            pass


def test_targets_that_are_gone_are_forgotten(breaker: Breaker, watch: Watch) -> None:
    fails(breaker, watch, 5)
    breaker.forget(frozenset())
    with breaker.asking("t", "chat"):
        pass


@given(st.lists(st.tuples(st.floats(0, 8), st.floats(0, 3), st.booleans()), max_size=80))
def test_whatever_happens_it_is_never_left_alone_longer_than_its_longest_pause(
    steps: list[tuple[float, float, bool]],
) -> None:
    watch = Watch()
    breaker = Breaker(watch)
    waits = [0]
    for took, wait, works in steps:
        try:
            with breaker.asking("t", "chat"):
                watch.at += took
                if not works:
                    raise UpstreamAway
        except LeftAlone as late:
            waits.append(late.retry_after)
        except UpstreamAway:
            pass
        watch.at += wait
    assert max(waits) <= 41
    watch.at += 40
    with breaker.asking("t", "chat"):
        pass


def test_while_a_long_stream_is_the_try_the_others_are_answered(site: Site) -> None:
    _, url = site.upstream()
    site.attached(url)
    key, later = site.key(purpose="claims-handling"), [0.0]
    site.elapsed = lambda: elapsed() + later[0]
    site.publish()
    site.up()
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        for _ in range(5):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(
                    model="chat", messages=[{"role": "user", "content": "[status 500]"}]
                )
        later[0] = 11
        first = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "[pause 0.3] a b c d e f"}], stream=True
        )
        next(iter(first))
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
        first.close()


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    site.attached(site.nobody())
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_a_provider_that_is_gone_is_left_alone_with_an_honest_wait(site: Site, client: openai.OpenAI) -> None:
    codes = []
    for _ in range(7):
        with pytest.raises(openai.InternalServerError) as failed:
            client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
        codes.append(failed.value.code)
    assert codes == ["upstream_away"] * 5 + ["left_alone"] * 2
    assert 1 <= int(failed.value.response.headers["retry-after"]) <= 10
    answer = failed.value.response.headers["x-freehold-answer"]
    end = site.closed(answer).close
    assert (end.ending, end.reason, end.cost) == ("failed", "left-alone", "0")
    assert site.begun(answer).intent.release == site.services["chat"].routes[0].release, "it is its failure"
