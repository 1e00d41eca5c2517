"""The same question gets the same answer where the service says so, and nobody else gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.cache import Cache
from freehold.gateway.may import Leave
from freehold.gateway.reply import Piece
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import GuardView, Most
from tests.gateway.conftest import Site

Ask = Callable[..., httpx.Response]


@pytest.fixture
def fake(site: Site) -> FakeUpstream:
    fake, url = site.upstream()
    site.attached(url, cache=600, price_in="1", price_out="1")
    site.attached(url, name="other", cache=600, project="motor", purpose="claims-handling")
    return fake


@pytest.fixture
def key(site: Site, fake: FakeUpstream) -> str:
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    return key


@pytest.fixture
def ask(site: Site, http: httpx.Client, key: str) -> Ask:
    def asked(words: str = "good day", key: str = key, headers: Any = None, **more: Any) -> httpx.Response:
        body = {"model": "chat", "messages": [{"role": "user", "content": words}], **more}
        said = {"authorization": f"Bearer {key}", **(headers or {})}
        return http.post(f"{site.url}/v1/chat/completions", json=body, headers=said)

    return asked


def test_the_second_time_nobody_is_asked_and_it_is_recorded_all_the_same(
    site: Site, ask: Ask, fake: FakeUpstream
) -> None:
    first, second = ask(), ask()
    assert second.headers["x-freehold-cache"] == "hit"
    assert "x-freehold-cache" not in first.headers
    assert first.content == second.content
    assert len(fake.heard) == 1
    ids = [said.headers["x-freehold-answer"] for said in (first, second)]
    assert ids[0] != ids[1]
    ends = [site.closed(id).close for id in ids]
    assert [end.reason for end in ends] == ["ok", "cached"]
    assert (ends[1].ending, ends[1].cost, ends[1].tokens_in) == ("answered", "0", 0)
    assert site.words(site.closed(ids[1])).response == first.content


@pytest.mark.parametrize(
    "other",
    [
        {"words": "good day!"},
        {"temperature": 0.5},
        {"headers": {"x-freehold-subject": "anna-k"}},
        {"model": "other"},
    ],
)
def test_any_other_question_is_asked(site: Site, ask: Ask, fake: FakeUpstream, other: dict[str, Any]) -> None:
    ask()
    motor = site.key(project="motor", purpose="claims-handling")
    if "model" in other:
        site.publish()
        other = {**other, "key": motor}
        ask()
    before = len(fake.heard)
    said = ask(**other)
    assert said.status_code == 200
    assert "x-freehold-cache" not in said.headers
    assert len(fake.heard) == before + 1


@pytest.mark.parametrize(
    "other",
    [
        {"service": {"project": "motor"}},
        {"service": {"name": "other"}},
        {"service": {"sensitivity": int(Sensitivity.PUBLIC)}},
        {"service": {"guard_in": GuardView(pii="mask")}},
        {"service": {"guard_out": GuardView(pii="mask")}},
        {"target": {"serving_digest": "sha256:" + "e" * 64}},
        {"leave": {"purpose": "marketing"}},
        {"leave": {"subject": "somebody"}},
        {"asked": {"path": "/v1/completions"}},
        {"asked": {"body": b"{ }"}},
        {"ix": 2},
    ],
    ids=lambda other: " ".join(
        next(iter(said)) if isinstance(said, dict) else "rules" for said in other.values()
    ),
)
def test_whatever_is_otherwise_is_another_answer(
    site: Site, fake: FakeUpstream, other: dict[str, Any]
) -> None:
    """A candidate's answer is not the live one's, a tenant's not another's, and so on."""
    service = site.services["chat"]

    def named_by(said: dict[str, Any]) -> bytes | None:
        asked = SimpleNamespace(
            **{"path": "/v1/chat/completions", "body": b"{}", "fields": {}, **said.get("asked", {})},
            heads=SimpleNamespace(binary_from=None),
        )
        return Cache(lambda: 0.0).name_of(
            asked,  # type: ignore[arg-type]
            replace(service, **said.get("service", {})),
            replace(service.routes[0].target, **said.get("target", {})),
            Leave(**{"purpose": "claims-handling", "subject": None, **said.get("leave", {})}),
            SimpleNamespace(snapshot=SimpleNamespace(ix=said.get("ix", 1))),  # type: ignore[arg-type]
        )

    assert named_by({}) == named_by({}) is not None
    assert named_by(other) != named_by({})


def test_streams_are_not_kept(ask: Ask, fake: FakeUpstream) -> None:
    for _ in range(2):
        assert "[DONE]" in ask(stream=True).text
    assert len(fake.heard) == 2


def test_whatever_changes_ends_it(site: Site, ask: Ask, fake: FakeUpstream) -> None:
    ask()
    site.publish()
    ask()
    assert len(fake.heard) == 2


def test_restricted_answers_are_never_kept(site: Site, ask: Ask, fake: FakeUpstream) -> None:
    (route,) = site.services["chat"].routes
    inside = replace(route, target=replace(route.target, inside=True))
    site.change("chat", sensitivity=int(Sensitivity.RESTRICTED), routes=(inside,))
    site.publish()
    for _ in range(2):
        ask()
    assert len(fake.heard) == 2


def test_failures_are_not_kept_and_hits_count_as_requests(site: Site, ask: Ask, fake: FakeUpstream) -> None:
    assert [ask("[status 500]").status_code for _ in range(2)] == [502, 502]
    assert len(fake.heard) == 2
    site.change("chat", most=Most(requests=2))
    site.publish()
    assert [ask().status_code for _ in range(3)] == [200, 200, 429]


def test_a_full_cache_lets_the_oldest_go_and_nothing_stays_beyond_its_time() -> None:
    now = [0.0]
    cache = Cache(lambda: now[0], room=800)
    for n in range(20):
        cache.keep(named(n), Piece(data=b"x" * 100, last=True), 60)
    assert cache.find(named(0)) is None
    assert cache.find(named(19)) is not None
    cache.keep(named(20), Piece(data=b"x" * 101, last=True), 60)
    assert cache.find(named(20)) is None
    now[0] = 60
    assert cache.find(named(19)) is None


def named(n: int, ix: int = 1) -> bytes:
    return ix.to_bytes(8) + b"%d" % n


def test_what_was_asked_under_earlier_rules_is_let_go_and_not_kept_any_more() -> None:
    cache, answer = Cache(lambda: 0.0), Piece(data=b"x", last=True)
    cache.follow(1)
    cache.keep(named(1), answer, 60)
    cache.follow(2)
    assert cache.find(named(1)) is None
    assert not cache._kept, "it is not only not found: it is gone"
    cache.keep(named(2), answer, 60)  # it was being made when the rules changed
    cache.follow(1)
    assert not cache._kept
    cache.keep(named(2, ix=2), answer, 60)
    assert cache.find(named(2, ix=2)) is answer


def test_a_change_of_rules_empties_memory_although_nobody_asks(
    site: Site, ask: Ask, fake: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[int] = []
    follow = Cache.follow

    def followed(cache: Cache, ix: int) -> None:
        follow(cache, ix)
        if ix == site.ix and not cache._kept:
            emptied.append(ix)

    ask()
    monkeypatch.setattr(Cache, "follow", followed)
    site.publish()
    site.until(lambda: bool(emptied))
