"""Whatever is asked, in whatever form, is recorded once, with its words; and recording holds back no word."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from freehold.engines.upstream_fake import read_body
from freehold.gateway.described import document
from freehold.spec.answer import Words
from freehold.store.spooled import Began, Ended
from tests.gateway.conftest import Site

SAID = "the kitchen is wet since monday"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": SAID}]}
TENSORS: dict[str, Any] = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [SAID]}],
}
ASKED: dict[str, dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"chat": CHAT, "triage": CHAT, "letters": CHAT},
    "/v1/completions": {"chat": {"prompt": SAID}, "letters": {"prompt": SAID}},
    "/v1/embeddings": {"chat": {"input": SAID}},
    "/v1/moderations": {"chat": {"input": SAID}},
    "/v1/responses": {"chat": {"input": SAID}, "letters": {"input": SAID}},
    "/v2/models/{model}/infer": {"triage": TENSORS},
}
"""For each route, what is asked of each kind of service that it reaches."""


def routes() -> dict[str, bool]:
    """Every route that answers, and whether it streams, as the gateway describes itself."""
    return {
        path: "text/event-stream" in about["post"]["responses"]["200"]["content"]
        for path, about in document()["paths"].items()
        if "post" in about
    }


CASES = [
    (path, service, stream)
    for path, streams in routes().items()
    for service in ASKED.get(path, {})
    for stream in ([False, True] if streams else [False])
]


def test_every_route_that_answers_is_asked_here() -> None:
    assert ASKED.keys() == routes().keys(), "who adds a route says here what is asked of it"


@pytest.fixture
def told(site: Site) -> str:
    """Services of each kind, and a key for all of them."""
    site.own("triage")
    site.writes("letters")
    site.attached(site.upstream()[1], "chat")
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    return key


def words_of(site: Site, answer: str) -> Words:
    return site.words(site.closed(answer))


def test_each_answer_has_one_record_and_its_words_are_what_was_said(
    site: Site, told: str, http: httpx.Client
) -> None:
    given: dict[str, bytes] = {}
    for path, service, stream in CASES:
        body = {**ASKED[path][service], **({"stream": True} if stream else {})}
        if "{model}" not in path:
            body["model"] = service
        answer = http.post(
            site.url + path.format(model=service), json=body, headers={"authorization": f"Bearer {told}"}
        )
        assert answer.status_code == 200, (path, service, stream, answer.text)
        given[answer.headers["x-freehold-answer"]] = answer.content
    for answer_id, content in given.items():
        words = words_of(site, answer_id)
        assert SAID.encode() in words.request
        assert words.response == content, "what left is what was kept"
    began = Counter(r.intent.answer for r in site.control.records if isinstance(r, Began))
    ended = Counter(r.close.answer for r in site.control.records if isinstance(r, Ended))
    assert began == ended == dict.fromkeys(given, 1)


class Halting:
    """A provider that says one word, and the next one when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._say(send, "wet")
        await self.go.wait()
        await self._say(send, "walls", finish="stop")
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    async def _say(self, send: Any, word: str, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": finish}
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "fake-1",
            "choices": [choice],
        }
        data = f"data: {json.dumps(chunk)}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})


def test_the_first_word_of_a_stream_leaves_before_the_next_is_there(site: Site, http: httpx.Client) -> None:
    halting = Halting()
    site.attached(site.stands(halting), "chat")
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    asked = http.stream(
        "POST",
        f"{site.url}/v1/chat/completions",
        json={"model": "chat", "stream": True, **CHAT},
        headers={"authorization": f"Bearer {key}"},
    )
    with asked as answer:
        lines = answer.iter_lines()
        first = next(line for line in lines if "content" in line)
        assert "wet" in first
        assert "walls" not in first
        assert not any(isinstance(record, Ended) for record in site.control.records), "it is under way"
        site.loop.loop.call_soon_threadsafe(halting.go.set)
        rest = [*lines]
    assert "walls" in "".join(rest)
    words = words_of(site, answer.headers["x-freehold-answer"])
    assert b"wet" in words.response
    assert b"walls" in words.response
