"""How long answers take stands at `/metrics`: by endpoint, without names, and each answer once."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from freehold.gateway.app import Gateway
from freehold.gateway.counted import Counted as CountedFile
from freehold.gateway.durations import HEADS, Durations, Histogram
from freehold.gateway.guards import Detectors
from freehold.gateway.reply import STREAM, Piece
from freehold.spec.snapshot import GuardView
from tests.gateway.conftest import Site, listening
from tests.support.prometheus import Counted, NotPrometheus, read

CHAT = "/v1/chat/completions"
HISTOGRAMS = ("answer_seconds", "first_words_seconds", "token_seconds", "overhead_seconds")
SECRET = "sk-proj-Zx8Qe1Wc5Tn7Vb2Mk9Lp4Rj6Hd3Fs0Ga"


def told(text: str, endpoint: str = CHAT) -> dict[str, Counted]:
    """The histograms of an endpoint, by their short names, of the one gateway there is."""
    found = read(text).histograms.items()
    return {
        name.removeprefix("freehold_gateway_"): one
        for (name, labels), one in found
        if dict(labels)["endpoint"] == endpoint
    }


def counts(text: str, endpoint: str = CHAT) -> tuple[int, int, int, int]:
    """How many answers, first words, paces and overheads were counted."""
    found = told(text, endpoint)
    whole, first, token, own = (int(found[n].count or 0) if n in found else 0 for n in HISTOGRAMS)
    return whole, first, token, own


# -- what is whose, on a clock that stands until somebody moves it --------------------------------------


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Caller:
    """Somebody whose body takes a second, and who takes a quarter of one for each piece."""

    def __init__(self, clock: Clock, body: dict[str, Any]) -> None:
        self._clock, self._body = clock, json.dumps(body).encode()
        self.got = b""
        self.more = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self._clock.at += 1
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self._clock.at += 0.25
            self.got += message["body"]
            self.more.set()


class Provider:
    """It thinks for two seconds and takes half a one for each word, when its caller has the one before."""

    WORDS = ("the ", "water ", "rises ", "still ", "here")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.caller: Caller | None = None

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        said = json.loads(body)
        stream = said.get("stream", False)
        kind = b"text/event-stream" if stream else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        data = await self._written(send) if stream else self._whole()
        await send({"type": "http.response.body", "body": data})

    def _whole(self) -> bytes:
        self._clock.at += 2
        message = {"role": "assistant", "content": "".join(self.WORDS)}
        return _object("chat.completion", [{"index": 0, "message": message, "finish_reason": "stop"}])

    async def _written(self, send: Any) -> bytes:
        await self._event(send, {"role": "assistant", "content": ""})
        self._clock.at += 2
        for word in self.WORDS:
            await self._event(send, {"content": word})
            self._clock.at += 0.5
        last = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        return b"data: " + _object("chat.completion.chunk", last) + b"\n\ndata: [DONE]\n\n"

    async def _event(self, send: Any, delta: dict[str, Any]) -> None:
        assert self.caller is not None
        events = self.caller.got.count(b"data: ")
        said = _object("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": None}])
        await send({"type": "http.response.body", "body": b"data: " + said + b"\n\n", "more_body": True})
        while self.caller.got.count(b"data: ") == events:
            self.caller.more.clear()
            await self.caller.more.wait()


def _object(kind: str, choices: list[Any]) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    return json.dumps({"id": "c", "object": kind, "model": "m", "choices": choices, "usage": usage}).encode()


class Timed:
    """A gateway on that clock."""

    def __init__(self, site: Site) -> None:
        self.site, self.clock = site, Clock()
        self._provider = Provider(self.clock)
        site.attached(site.stands(self._provider))
        self.key = site.key(purpose="claims-handling")
        site.publish()

    def ask(self, path: str = CHAT, **options: Any) -> str:
        """Ask and read to the end; what `/metrics` says then."""
        gateway: Gateway = self.site.gateway
        gateway.durations = Durations(self.clock)
        message = {"role": "user", "content": "what happens?"}
        caller = Caller(self.clock, {"model": "chat", "messages": [message], **options})
        self._provider.caller = caller
        headers = [(b"authorization", f"Bearer {self.key}".encode())]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        self.site.loop.call(gateway(scope, caller.receive, caller.send))
        assert b"rises" in caller.got
        return gateway.counted.everybody(gateway.samples(), HEADS).decode()


@pytest.fixture
def timed(site: Site) -> Timed:
    return Timed(site)


def test_what_the_caller_and_the_provider_take_is_not_ours(site: Site, timed: Timed) -> None:
    site.up()
    found = told(timed.ask())
    assert found["answer_seconds"].sum == 1 + 2 + 0.25, "the body, the provider, the taking"
    assert found["overhead_seconds"].sum == 0
    assert "first_words_seconds" not in found, "it was no stream"


def test_guards_and_the_disk_are_ours(site: Site, timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = os.fdatasync

    def slowly(file: int) -> None:
        timed.clock.at += 1 / 64
        synced(file)

    def look(_text: str, _groups: Any) -> list[Any]:
        timed.clock.at += 0.125
        return []

    site.detectors = lambda: Detectors(rules=look, injection=None)
    site.change("chat", guard_in=GuardView(pii="mask"), guard_out=GuardView(pii="mask"))
    site.publish()
    site.up()
    monkeypatch.setattr(os, "fdatasync", slowly)
    found = told(timed.ask())
    own, whole = found["overhead_seconds"].sum, found["answer_seconds"].sum
    assert own is not None
    assert own >= 2 * 0.125 + 2 / 64, "guards looked on both ways, and both ends of the record are on disk"
    assert whole == 1 + 2 + 0.25 + own


def test_the_first_words_are_the_first_that_say_something(site: Site, timed: Timed) -> None:
    site.up()
    found = told(timed.ask(stream=True))
    first = 1 + 0.25 + 2 + 0.25
    assert found["first_words_seconds"].sum == first, "the body, its first event, the thinking, the taking"
    rest = 5 * 0.5 + 6 * 0.25
    assert found["token_seconds"].sum == rest / 4, "five tokens, four after the first"
    assert found["answer_seconds"].sum == first + rest
    assert found["overhead_seconds"].sum == 0


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [{"delta": {"role": "assistant", "content": None}}]}, False),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, False),
        ({"choices": [], "usage": {"completion_tokens": 7}}, False),
        ({"choices": [{"delta": {"content": "water"}}]}, True),
        ({"choices": [{"delta": {"content": '"'}}]}, True),
        ({"choices": [{"delta": {"reasoning_content": "Is it water?"}}]}, True),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "pay", "arguments": ""}}]}}]}, False),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{"}}]}}]}, True),
        ({"choices": [{"text": "water"}]}, True),
        ({"type": "response.created", "response": {"output": [], "text": {"format": {}}}}, False),
        ({"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}}, False),
        ({"type": "response.output_text.delta", "delta": "water"}, True),
    ],
)
def test_which_event_of_a_stream_says_something(event: dict[str, Any], says: bool) -> None:
    durations = Durations(Clock())
    took = durations.begin(CHAT)
    took.left(Piece(data=msgspec.json.encode(event), kind=STREAM))
    assert bool(list(durations.samples())) is says


# -- what is counted ------------------------------------------------------------------------------------


class Desk:
    """A provider attached as `chat`, and somebody who asks."""

    def __init__(self, site: Site, http: httpx.Client) -> None:
        self.site, self.http = site, http
        self.fake, self.url = site.upstream()
        self.key = site.key(purpose="claims-handling")

    def up(self, url: str = "", **fields: Any) -> None:
        self.site.attached(url or self.url, **fields)
        self.site.publish()
        self.site.up()

    def ask(self, words: str = "good day", path: str = CHAT, **more: Any) -> httpx.Response:
        body = {"model": "chat", "messages": [{"role": "user", "content": words}], **more}
        return self.post(path, body)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        said = {"authorization": f"Bearer {self.key}", **headers}
        return self.http.post(self.site.url + path, json=body, headers=said)

    def text(self) -> str:
        return self.http.get(self.site.url + "/metrics").text

    def ended(self, ending: str) -> int:
        """How many answers ended so."""
        samples = read(self.text()).samples.items()
        total = "freehold_gateway_answers_total"
        return int(sum(n for (name, labels), n in samples if name == total and ("ending", ending) in labels))


@pytest.fixture
def desk(site: Site, http: httpx.Client) -> Desk:
    return Desk(site, http)


def test_each_answer_is_counted_once_where_it_was_asked_for(desk: Desk) -> None:
    desk.site.own()
    desk.up()
    desk.ask()
    desk.ask(stream=True)
    tensors = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hail"]}]}
    assert desk.post("/v2/models/triage/infer", tensors).status_code == 200
    assert desk.post("/v1/embeddings", {"model": "chat", "input": "hail"}).status_code == 200
    assert desk.ask(model="triage", stream=True).status_code == 200
    text = desk.text()
    assert counts(text) == (3, 2, 1, 3), "two of them streams; a classifier counts no tokens"
    assert counts(text, "/v2/infer") == (1, 0, 0, 1)
    assert counts(text, "/v1/embeddings") == (1, 0, 0, 1)
    assert desk.ended("answered") == 5
    endpoints = {dict(labels)["endpoint"] for _, labels in read(text).histograms}
    assert endpoints == {CHAT, "/v2/infer", "/v1/embeddings"}, "of the others there is nothing"


def test_an_answer_out_of_the_cache_is_one_and_none_of_its_time_is_anybody_elses(
    desk: Desk, site: Site
) -> None:
    desk.up(cache=600)
    assert "x-freehold-cache" in [desk.ask() for _ in range(2)][1].headers
    assert counts(desk.text()) == (2, 0, 0, 2)
    assert desk.ended("answered") == 2


def test_an_answer_that_is_given_again_is_not_counted_again(desk: Desk) -> None:
    desk.up()
    body = {"model": "chat", "messages": [{"role": "user", "content": "good day"}]}
    answers = [desk.post(CHAT, body, **{"idempotency-key": "mail-4711"}) for _ in range(2)]
    assert answers[1].headers["x-freehold-replayed"] == "true"
    assert counts(desk.text()) == (1, 0, 0, 1)
    assert desk.ended("answered") == 1


def test_where_another_stands_in_the_whole_is_counted_once(desk: Desk, site: Site) -> None:
    listener, dead = listening()
    listener.close()
    site.attached(desk.url, name="second", serving_digest="sha256:" + "b" * 64, region="eu")
    desk.up(dead, fallback=("second",), region="eu", regions=("eu",))
    assert desk.ask(stream=True).headers["x-freehold-fallback"] == "true"
    assert counts(desk.text()) == (1, 1, 1, 1)


def test_what_was_asked_in_vain_before_is_not_ours(site: Site, timed: Timed) -> None:
    async def busy(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            continue
        timed.clock.at += 4
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    writes = site.services["chat"].routes[0].target.url.removesuffix("/v1")
    site.attached(writes, name="second", serving_digest="sha256:" + "b" * 64, region="eu")
    site.attached(site.stands(busy), fallback=("second",), region="eu", regions=("eu",))
    site.publish()
    site.up()
    found = told(timed.ask())
    assert found["answer_seconds"].sum == 1 + 4 + 2 + 0.25
    assert found["overhead_seconds"].sum == 0


@pytest.mark.parametrize(
    ("words", "options", "ending"),
    [
        ("good day", {"metadata": {"purpose": "marketing"}}, "denied"),
        (f"repeat {SECRET}", {}, "denied"),
        ("[status 500]", {}, "failed"),
        ("[status 500]", {"stream": True}, "failed"),
    ],
    ids=["refused", "refused by a guard", "failed", "failed before it began"],
)
def test_what_was_not_given_is_not_counted(
    desk: Desk, words: str, options: dict[str, Any], ending: str
) -> None:
    desk.up(guard_out=GuardView(secrets="refuse"))
    assert desk.ask(words, **options).status_code >= 400
    assert desk.ended(ending) == 1
    assert counts(desk.text()) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("words", "ending"),
    [(f"one two three {SECRET} four", "denied"), ("one two three four [hang-up]", "failed")],
    ids=["a guard ends it", "it breaks off"],
)
def test_of_a_stream_that_did_not_become_whole_its_first_words_are_counted(
    desk: Desk, words: str, ending: str
) -> None:
    desk.up(guard_out=GuardView(secrets="refuse"))
    assert "one " in desk.ask(words, stream=True).text
    assert desk.ended(ending) == 1
    assert counts(desk.text()) == (0, 1, 0, 0)


def test_of_a_stream_whose_caller_went_its_first_words_are_counted(desk: Desk) -> None:
    desk.up()
    body = {"model": "chat", "stream": True}
    body["messages"] = [{"role": "user", "content": f"{'word ' * 200} [pause 0.02]"}]
    headers = {"authorization": f"Bearer {desk.key}"}
    with desk.http.stream("POST", desk.site.url + CHAT, json=body, headers=headers) as stream:
        assert any(b'"content":"word' in piece for piece in stream.iter_raw())
    desk.site.until(lambda: desk.ended("cut off") == 1)
    assert counts(desk.text()) == (0, 1, 0, 0)


def test_a_copy_for_a_shadow_is_no_answer(desk: Desk, site: Site) -> None:
    site.own()
    site.shadowed("triage", site.engine("next"))
    desk.up()
    assert desk.ask(model="triage").status_code == 200
    copied = re.compile(r'^freehold_gateway_copies_total\{ending="answered",\S+ 1$', re.M)
    site.until(lambda: copied.search(desk.text()) is not None)
    assert counts(desk.text()) == (1, 0, 0, 1)


def test_strangers_and_other_questions_are_not_counted(desk: Desk) -> None:
    desk.up()
    body = {"model": "chat", "messages": [{"role": "user", "content": "good day"}]}
    assert desk.http.post(desk.site.url + CHAT, json=body).status_code == 401
    assert desk.post("/v1/chat/marker-7f", body).status_code == 404
    desk.http.get(desk.site.url + "/v1/models", headers={"authorization": f"Bearer {desk.key}"})
    assert read(desk.text()).histograms == {}


def test_nobody_is_named(desk: Desk, site: Site) -> None:
    site.own()
    desk.up()
    desk.ask(stream=True)
    desk.ask(model="triage")
    lines = [line for line in desk.text().splitlines() if "_seconds" in line and not line.startswith("#")]
    assert len(lines) > 40
    kept = {label for line in lines for label, _ in re.findall(r'(\w+)="([^"]*)"', line)}
    assert kept == {"endpoint", "le", "gateway"}
    for name in ("triage", '"chat"', "claims", site.keys[0].id):
        assert name not in "".join(lines)


def test_of_several_gateways_each_has_its_own_and_whoever_is_asked_tells_of_all(tmp_path: Path) -> None:
    kept = []
    for answers, name in enumerate(("spl_1", "spl_2"), start=1):
        durations = Durations(Clock())
        for _ in range(answers):
            durations.begin(CHAT).given(tokens=0)
        kept.append((CountedFile(tmp_path, name), list(durations.samples())))
    (one, first), (two, second) = kept
    one.keep(first)
    text = two.everybody(second, HEADS).decode()
    found = {dict(labels)["gateway"]: told.count for (_, labels), told in read(text).histograms.items()}
    assert found == {"spl_1": 1, "spl_2": 2}
    assert text.count("# TYPE freehold_gateway_answer_seconds histogram\n") == 1


# -- the text -------------------------------------------------------------------------------------------


def test_a_bound_is_within_it_and_what_is_beyond_the_last_is_in_the_end() -> None:
    one = Histogram((0.25, 1))
    for seconds in (0.25, 0.5, 1, 7):
        one.add(seconds)
    assert list(one.samples("x", 'endpoint="e"')) == [
        ("x_bucket", 'endpoint="e",le="0.25"', 1),
        ("x_bucket", 'endpoint="e",le="1"', 3),
        ("x_bucket", 'endpoint="e",le="+Inf"', 4),
        ("x_count", 'endpoint="e"', 4),
        ("x_sum", 'endpoint="e"', 8.75),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x 1",
        'x{a="1",} 1\n',
        "x{a=1} 1\n",
        "x 1\ny 1\nx 2\n",
        "x 1\nx 1\n",
        "# TYPE x histogram\nx_count 1\nx_sum 1\n",
        '# TYPE x histogram\nx_bucket{le="1"} 2\nx_bucket{le="+Inf"} 1\nx_count 1\nx_sum 1\n',
        '# TYPE x histogram\nx_bucket{le="+Inf"} 1\nx_count 2\nx_sum 1\n',
        'x_bucket{le="+Inf"} 1\n# TYPE x histogram\nx_count 1\nx_sum 1\n',
    ],
)
def test_the_reader_of_these_tests_takes_nothing_else(text: str) -> None:
    with pytest.raises(NotPrometheus):
        read(text)
