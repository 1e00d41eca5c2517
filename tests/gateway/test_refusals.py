"""What is refused without a record is counted, and whoever does it in masses is told of."""

from __future__ import annotations

import re

import httpx
import pytest

from freehold.gateway import refusals
from freehold.gateway.elapsed import elapsed
from freehold.gateway.limits import TooManyRequests
from freehold.gateway.refusals import FLOOD, MINUTE, NOTICED, Refusals
from freehold.gateway.rules import ServiceUnknown
from freehold.gateway.tokens import TokenVoid
from freehold.gateway.who import KeyVoid
from freehold.spec.ids import now
from freehold.spec.snapshot import Most, Restraint
from freehold.store.group_commit import SpoolFull
from tests.gateway.conftest import Site

BUSY, UNKNOWN, FULL = TooManyRequests(whose="chat"), ServiceUnknown(name="x"), SpoolFull()


class Minutes:
    """A clock that a test turns, and the counts that go by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.refusals = Refusals(lambda: self.now)

    def passes(self) -> None:
        """A minute is over."""
        self.now += MINUTE
        self.refusals.look()


@pytest.fixture
def minutes() -> Minutes:
    return Minutes()


def ask(site: Site, key: str, service: str = "chat") -> httpx.Response:
    body = {"model": service, "messages": [{"role": "user", "content": "is anybody there?"}]}
    with httpx.Client(trust_env=False, timeout=20) as http:
        headers = {"authorization": f"Bearer {key}"}
        return http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)


def refused(site: Site) -> dict[str, int]:
    with httpx.Client(trust_env=False, timeout=20) as http:
        text = http.get(f"{site.url}/metrics").text
    lines = re.findall(r'^freehold_gateway_refused_total\{reason="([a-z-]+)",.*\} (\d+)$', text, re.M)
    return {reason: int(count) for reason, count in lines}


def test_each_is_counted_by_its_reason_and_nothing_else_is(site: Site) -> None:
    _, url = site.upstream()
    site.attached(url, most=Most(requests=2))
    key = site.key(purpose="claims-handling")
    elsewhere = site.key(purpose="marketing")
    site.publish()
    site.up()
    for _ in range(3):
        assert ask(site, key[:-1] + ("A" if key[-1] != "A" else "B")).status_code == 401
    assert [ask(site, key).status_code for _ in range(4)] == [200, 200, 429, 429]
    assert ask(site, key, service="of-others").status_code == 404
    denied = ask(site, elsewhere)
    assert denied.status_code == 403
    site.closed(denied.headers["x-freehold-answer"])
    assert refused(site) == {"key-void": 3, "too-many-requests": 2, "service-unknown": 1}
    assert len(site.control.records) == 6, "two that were answered, one that was denied"


def test_what_a_key_is_refused_counts_against_its_own_limit_and_nobody_elses(site: Site) -> None:
    """Each is recorded: without end they would fill the ledger."""
    _, url = site.upstream()
    site.attached(url, most=Most(requests=3))
    wrong = site.key(purpose="marketing", most=Most(requests=2))
    right = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    denied = [ask(site, wrong) for _ in range(4)]
    assert [answer.status_code for answer in denied] == [403, 403, 429, 429]
    assert [ask(site, right).status_code for _ in range(4)] == [200, 200, 200, 429]
    for answer in denied[:2]:
        site.closed(answer.headers["x-freehold-answer"])
    assert refused(site) == {"too-many-requests": 3}
    assert len(site.control.records) == 10, "three that were answered, two that were denied"


def test_who_proved_who_they_are_is_named_wherever_they_were_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "NOTICED", 2)
    later = [0.0]
    site.elapsed = lambda: elapsed() + later[0]
    site.attached(site.upstream()[1], routes=())
    void, waits, guesses, lists, locked, expired, posts = (
        site.key(purpose="claims-handling", expires_at=1 if which == 5 else None) for which in range(7)
    )
    held = site.keys[4].id
    site.callers["restraints"] = (
        Restraint(incident="inc_1", key=held, subject="", does="lock", since=now(), until=None, pace=2),
    )
    told = [site.keys[which].id for which in (2, 4, 5, 6)]
    del site.keys[0]  # it is revoked
    site.publish()
    site.up()
    with httpx.Client(base_url=site.url, trust_env=False, timeout=20) as http:
        for key, path, status in (
            (void, "/v1/models", 401),
            (waits, "/v2/models/chat/ready", 503),
            (lists, "/v1/models", 200),
            (guesses, "/v1/models/of-others", 404),
            (locked, "/v1/models", 403),
        ):
            for _ in range(2):
                headers = {"authorization": f"Bearer {key}"}
                assert http.get(path, headers=headers).status_code == status, path
    assert [ask(site, expired).status_code for _ in range(2)] == [401, 401]
    assert [ask(site, posts, service="of-others").status_code for _ in range(2)] == [404, 404]
    later[0] = MINUTE

    def named() -> list[str]:
        return [text.split()[0] for text in caplog.messages if text.endswith("without a record")]

    site.until(lambda: named()[-1:] == told[-1:])
    assert named() == told


def test_a_flood_of_strangers_is_a_trouble_that_names_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "FLOOD", 3)
    monkeypatch.setattr(refusals, "MINUTE", 0.0)
    key = site.key(purpose="claims-handling")
    site.keys.clear()  # it is revoked
    site.publish()
    site.up()

    def told() -> str:
        for _ in range(3):
            ask(site, key)
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.get(f"{site.url}/status").text

    site.until(lambda: "many requests come without a valid key" in told())
    assert key.split("_")[1] not in told()


def test_strangers_are_told_of_while_they_come(minutes: Minutes) -> None:
    for count, since in ((FLOOD - 1, None), (FLOOD, 1060.0), (FLOOD, 1060.0), (0, None)):
        for _ in range(count):
            minutes.refusals.add(KeyVoid(), "")
        minutes.passes()
        assert (minutes.refusals.strangers, minutes.refusals.flooded_since) == (count, since)


def test_who_was_recognized_is_no_stranger_and_named_once(
    minutes: Minutes, caplog: pytest.LogCaptureFixture
) -> None:
    for busy in (NOTICED, NOTICED, NOTICED - 1):
        for _ in range(busy):
            minutes.refusals.add(BUSY, "key_1")
            minutes.refusals.add(BUSY, "")
            minutes.refusals.add(FULL, "key_3")
        minutes.refusals.add(UNKNOWN, "key_2")
        minutes.passes()
    assert [record.getMessage() for record in caplog.records] == [
        f"key_1 was refused {NOTICED} times in a minute, without a record",
        f"key_1 is refused no more so often: {2 * NOTICED} times since",
    ]
    assert minutes.refusals.strangers == 0


def test_no_holder_of_a_token_or_certificate_is_named(
    minutes: Minutes, caplog: pytest.LogCaptureFixture
) -> None:
    for caller in ("tok_5up3r", "crt_5up3r"):
        for _ in range(NOTICED):
            minutes.refusals.add(BUSY, caller)
    minutes.passes()
    minutes.passes()
    assert "5up3r" not in caplog.text
    assert sorted(caplog.messages) == [
        f"a caller with a certificate is refused no more so often: {NOTICED} times since",
        f"a caller with a certificate was refused {NOTICED} times in a minute, without a record",
        f"a caller with a token is refused no more so often: {NOTICED} times since",
        f"a caller with a token was refused {NOTICED} times in a minute, without a record",
    ]


def test_who_hears_what_strangers_hear_is_none_where_they_proved_who_they_are(minutes: Minutes) -> None:
    for caller in ("tok_1", ""):
        minutes.refusals.add(TokenVoid(), caller)  # its signature holds, and it does not say whom it is about
    minutes.passes()
    assert minutes.refusals.strangers == 1


def test_callers_beyond_number_are_counted_and_not_kept(minutes: Minutes) -> None:
    for number in range(2 * refusals.MOST):
        minutes.refusals.add(UNKNOWN, f"tok_{number}")
    assert len(minutes.refusals._callers) == refusals.MOST
    assert minutes.refusals.total == {"service-unknown": 2 * refusals.MOST}
