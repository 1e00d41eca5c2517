"""A shadow: what the live model has answered is asked of another one, in nobody's way and for nobody."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from freehold.gateway.alike import Given, alike
from freehold.gateway.reply import JSON, STREAM
from freehold.gateway.shipping import take_spools
from freehold.spec.answer import DIED, copied, copy_of
from freehold.spec.ids import now
from freehold.spec.snapshot import GuardView, Most, Target, Withdrawal
from freehold.store.frames import read_one
from freehold.store.spooled import Began, Ended, unpack
from tests.gateway.conftest import COLUMNS, QUICK, Site

MARKER = "the marker Quxbridge"


class Engine:
    """An engine that is ready, and reads no question; it may hold its no back until the test says so."""

    def __init__(self, *, holds: bool = False) -> None:
        self.holds = holds
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await self._reply(send, 200)
            return
        self.asked += 1
        while (await receive()).get("more_body"):
            continue
        gone = asyncio.ensure_future(receive())
        while self.holds and not gone.done():
            await asyncio.wait([gone], timeout=0.01)
        gone.cancel()
        await self._reply(send, 400)

    async def _reply(self, send: Any, status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


class Desk:
    """Services with shadows, and somebody who asks."""

    def __init__(self, site: Site, http: httpx.Client) -> None:
        self.site, self._http = site, http
        self.key = site.key(purpose="claims-handling")

    def begin(self, target: Target, name: str = "triage", **bounds: Any) -> str:
        release = self.site.shadowed(name, target)
        self.site.publish()
        self.site.up(replace(QUICK, copies_leave=0.1, **bounds))
        return release

    def ask(self, words: str = "water in the kitchen", name: str = "triage", **more: Any) -> httpx.Response:
        body = {"model": name, "messages": [{"role": "user", "content": words}], **more}
        return self._asked("/v1/chat/completions", body)

    def infer(self, body: dict[str, Any], name: str) -> httpx.Response:
        return self._asked(f"/v2/models/{name}/infer", body)

    def _asked(self, path: str, body: dict[str, Any]) -> httpx.Response:
        said = self._http.post(
            self.site.url + path,
            json=body,
            headers={"authorization": f"Bearer {self.key}", "x-freehold-subject": "anna-k"},
        )
        assert said.status_code == 200, said.text
        return said

    def copy(self, given: httpx.Response) -> Ended:
        return self.site.closed(copy_of(given.headers["x-freehold-answer"]))

    def copies(self) -> list[Began]:
        began = [r for r in self.site.control.records if isinstance(r, Began)]
        return [one for one in began if copied(one.intent.answer)]

    def metrics(self) -> str:
        return self._http.get(self.site.url + "/metrics").text

    def counted(self, name: str) -> int:
        return int(
            next(line for line in self.metrics().splitlines() if f"_{name}" in line).rpartition(" ")[2]
        )


@pytest.fixture
def desk(site: Site, http: httpx.Client) -> Desk:
    site.own()
    return Desk(site, http)


def test_a_copy_is_recorded_as_an_answer_of_the_shadow_and_charged_to_nobody(desk: Desk) -> None:
    desk.site.change("triage", most=Most(requests=2, at_once=1))
    release = desk.begin(desk.site.engine("next"))
    given = desk.ask()
    live, ended = given.headers["x-freehold-answer"], desk.copy(given)
    intent, of = (desk.site.begun(one).intent for one in (ended.close.answer, live))
    assert copied(intent.answer) == live
    assert (intent.release, of.release) == (release, desk.site.services["triage"].routes[0].release)
    named = ("subject", "purpose", "key", "at", "request_id", "snapshot")
    assert [getattr(intent, name) for name in named] == [getattr(of, name) for name in named]
    assert (ended.close.ending, ended.close.reason) == ("answered", "same")
    words = desk.site.words(ended)
    assert b"water in the kitchen" in words.request
    assert b"class" in words.response
    assert desk.counted('copies_total{ending="answered"') == 1
    assert desk.counted('answers_total{ending="answered"') == 1
    assert desk.ask().headers["x-ratelimit-remaining-requests"] == "0", "two were asked, and two counted"


def test_whatever_is_asked_for_is_copied_whole_and_laid_beside(site: Site, http: httpx.Client) -> None:
    desk = Desk(site, http)
    site.writes("letters-next")
    written = site.services.pop("letters-next").routes[0].target
    site.writes()
    site.own("rates", columns=COLUMNS)
    site.own()
    site.shadowed("letters", written)
    site.shadowed("rates", site.engine("rates-next", COLUMNS, "tabular"))
    desk.begin(site.engine("next", classes=("other",)))

    assert desk.copy(desk.ask()).close.reason == "differs"
    stream = desk.ask(name="letters", stream=True)
    assert stream.headers["content-type"].startswith("text/event-stream")
    ended = desk.copy(stream)
    assert (ended.close.ending, ended.close.reason) == ("answered", "same")
    assert site.words(ended).response.startswith(b"{"), "it was not asked for a stream"
    assert ended.close.tokens_out > 0
    row = {"age": ("FP64", [41.0]), "claims": ("INT64", [2]), "member": ("BOOL", [True])}
    inputs = [{"name": n, "datatype": kind, "shape": [1], "data": data} for n, (kind, data) in row.items()]
    for more in ({}, {"parameters": {"binary_data_output": True}}):
        assert desk.copy(desk.infer({"inputs": inputs, **more}, "rates")).close.reason == "same"


def as_after_a_kill(site: Site, folder: Path) -> dict[str, str]:
    """answer -> why it ended, in the spool as a gateway killed at this moment leaves it to the next one."""
    shutil.copytree(site.home.spool, folder)
    spool, _ = take_spools(folder, now)
    data, at, ends = spool.read(0), 0, {}
    while at < len(data):
        read = read_one(data, at)
        assert not isinstance(read, str)
        frame, at = read
        record = unpack(frame.payload)
        if isinstance(record, Ended):
            ends[record.close.answer] = record.close.reason
    spool.close()
    return ends


def test_nobody_waits_for_a_shadow_that_never_answers(desk: Desk, tmp_path: Path) -> None:
    hangs = Engine(holds=True)
    desk.begin(desk.site.engine("next", app=hangs), copies=2)
    given = [desk.ask().headers["x-freehold-answer"] for _ in range(8)]
    assert desk.counted("copies_dropped_total") >= 2, "four are asked and two wait: the others have no room"
    desk.site.until(lambda: hangs.asked == 4)
    killed = as_after_a_kill(desk.site, tmp_path / "spool")
    assert {killed[one] for one in given} == {"ok"}
    assert Counter(killed.values()) == {"ok": 8, DIED: 4}, "what was asked says so, what waited was not begun"
    desk.site.down()  # does not wait for them either
    assert {desk.site.closed(one).close.ending for one in given} == {"answered"}
    ends = [desk.site.closed(one.intent.answer).close for one in desk.copies()]
    assert [(end.ending, end.reason) for end in ends] == [("cut off", "gateway-left")] * 4


def test_a_shadow_fails_alone_behind_the_guards_and_says_nothing_in_a_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk.site.change("triage", guard_in=GuardView(pii="mask"), guard_out=GuardView(pii="mask"))
    desk.begin(desk.site.engine("next", app=Engine()))
    ended = desk.copy(desk.ask(f"{MARKER} is anna.kurz@example.org"))
    assert (ended.close.ending, ended.close.reason) == ("failed", "engine-rejected")
    asked = desk.site.words(ended).request
    assert b"Quxbridge" in asked
    assert b"anna.kurz" not in asked
    assert desk.counted('copies_total{ending="failed"') == 1
    assert desk.counted('answers_total{ending="failed"') == 0
    assert "Quxbridge" not in caplog.text + desk.metrics() + repr(desk.site.control.reports)


def test_what_is_out_of_the_cache_is_not_copied(desk: Desk) -> None:
    desk.site.change("triage", cache=600, sensitivity=2)
    desk.begin(desk.site.engine("next"))
    desk.copy(desk.ask())
    assert desk.ask().headers["x-freehold-cache"] == "hit"
    desk.copy(desk.ask("another question"))
    assert len(desk.copies()) == 2


def test_a_provider_never_gets_a_copy(desk: Desk) -> None:
    """Whatever the rules say: a copy goes to nobody to whom the request itself did not go."""
    fake, url = desk.site.upstream()
    service = desk.site.attached(url)
    desk.site.services.pop("chat")
    desk.begin(service.routes[0].target)
    desk.ask()
    desk.site.down()
    assert fake.heard == []
    assert desk.copies() == []


def test_what_is_decided_meanwhile_counts_for_copies_that_wait(desk: Desk) -> None:
    """Four are asked of a shadow that is silent, one waits; then the rules change."""
    hangs, site = Engine(holds=True), desk.site
    desk.begin(site.engine("next", app=hangs))
    before = site.services["triage"]

    def waits_and_is_dropped(count: int, **fields: Any) -> None:
        site.control.envelope = (site.ix + 1, site.envelope(**fields))
        site.applied(site.ix)
        hangs.holds = False
        site.until(lambda: desk.counted("copies_dropped_total") == count)
        site.until(lambda: desk.counted('copies_total{ending="failed"') == 4 * count)
        assert hangs.asked == 4 * count
        site.services["triage"], site.withdrawals, hangs.holds = before, [], True
        site.publish()

    def five_are_asked() -> str:
        first, *_ = [desk.ask().headers["x-freehold-answer"] for _ in range(5)]
        return first

    subject = site.begun(five_are_asked()).intent.subject
    site.withdrawals.append(Withdrawal(project="claims", subject=str(subject), purpose=before.purpose))
    waits_and_is_dropped(1)
    five_are_asked()
    site.change("triage", state="stopped", because="stopped by its operators")
    waits_and_is_dropped(2)
    five_are_asked()
    site.change("triage", guard_in=GuardView(pii="refuse"))
    waits_and_is_dropped(3)
    five_are_asked()
    waits_and_is_dropped(4, forgotten_at=1)


# -- alike ------------------------------------------------------------------------------------------


def _chat(*contents: str) -> bytes:
    choices = ",".join(f'{{"index":{n},"message":{{"content":{c!s}}}}}' for n, c in enumerate(contents))
    return b'{"choices":[' + choices.encode() + b"]}"


def _stream(*deltas: str) -> bytes:
    events = (f'data: {{"choices":[{{"index":0,"delta":{{"content":{d}}}}}]}}\n\n' for d in deltas)
    return "".join(events).encode() + b"data: [DONE]\n\n"


_RESPONSE = b'{"output":[{"content":[{"text":"yes"}]}]}'
_TENSOR = b'{"outputs":[{"name":"class","data":["a"]}]}'


@pytest.mark.parametrize(
    ("one", "other", "classes", "said"),
    [
        (_chat('"yes"'), _chat('"yes"'), False, "same"),
        (_chat('"yes"'), _chat('"no"'), False, "differs"),
        (_stream('"y"', '"es"'), _chat('"yes"'), False, "same"),
        (_chat('"{\\"class\\":\\"a\\",\\"confidence\\":1}"'), _chat('"{\\"class\\":\\"a\\"}"'), True, "same"),
        (_chat('"{\\"class\\":\\"a\\"}"'), _chat('"{\\"class\\":\\"b\\"}"'), True, "differs"),
        (_chat('"not a class"'), _chat('"not a class"'), True, "ok"),
        (b"no JSON", _chat('"yes"'), False, "ok"),
        (_RESPONSE, _RESPONSE, False, "same"),
        (_TENSOR, _TENSOR, True, "same"),
        (b'{"outputs":[{"name":"confidence","data":[1]}]}', b'{"outputs":[]}', True, "ok"),
    ],
)  # fmt: skip
def test_what_two_answers_say_is_compared_and_nothing_else(
    one: bytes, other: bytes, classes: bool, said: str
) -> None:
    given = [Given(data=d, kind=STREAM if d.startswith(b"data:") else JSON) for d in (one, other)]
    assert alike(*given, classes=classes) == said
