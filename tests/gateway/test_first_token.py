"""Recording and guards never make a caller wait for more of a stream than one window of held-back text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from freehold.screen.hold import CAP
from freehold.spec.snapshot import NO_GUARD, GuardView
from tests.gateway.conftest import Site

WORDS = [
    f"{word} " for word in ("the", "water", "in", "our", "kitchen", "rises", "and", "nobody", "comes")
] * 20


class Provider:
    """It writes a word only when its caller has had all of those before but for a window.

    A gateway that holds more than that back waits for ever, and its caller with it.
    """

    def __init__(self, window: int, *, responds: bool = False) -> None:
        """`responds`: in the events of a response, not in chunks of a chat."""
        self._window, self._responds = window, responds
        self._said = self._had = 0
        self._more = asyncio.Event()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        for word in WORDS:
            while self._said - self._had > self._window:
                self._more.clear()
                await self._more.wait()
            self._said += len(word)
            await self._event(send, _word_event(word) if self._responds else _chunk({"content": word}, None))
        await self._event(send, _ENDED if self._responds else _chunk({}, "stop"))
        await send({"type": "http.response.body", "body": b"" if self._responds else b"data: [DONE]\n\n"})

    async def _event(self, send: Any, said: dict[str, Any]) -> None:
        body = f"data: {json.dumps(said)}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})

    def had(self, characters: int) -> None:
        """The caller says how much has come; in the provider's own loop."""
        self._had += characters
        self._more.set()


def _chunk(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**said, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _word_event(word: str) -> dict[str, Any]:
    place = {"item_id": "m", "output_index": 0, "content_index": 0, "sequence_number": 1, "logprobs": []}
    return {"type": "response.output_text.delta", "delta": word, **place}


_ENDED = {
    "type": "response.completed",
    "sequence_number": 2,
    "response": {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed"},
}


@pytest.mark.parametrize(
    ("guard", "window"),
    [
        (NO_GUARD, 0),
        (GuardView(pii="mask", secrets="mask"), CAP),
        (GuardView(pii="tokenize", secrets="refuse", injection="observe"), CAP),
    ],
    ids=["without guards", "masked", "refused"],
)
def test_no_more_than_a_window_of_a_stream_is_held_back(site: Site, guard: GuardView, window: int) -> None:
    provider = Provider(window)
    out = GuardView(pii="mask" if guard.pii != "none" else "none", secrets=guard.secrets)
    site.attached(site.stands(provider), guard_in=guard, guard_out=out)
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    said = ""
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0, timeout=20) as client:
        messages: list[Any] = [{"role": "user", "content": "what happens?"}]
        stream = client.chat.completions.with_raw_response.create(
            model="chat", messages=messages, stream=True
        )
        for chunk in stream.parse():
            words = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            said += words
            site.loop.loop.call_soon_threadsafe(provider.had, len(words))
    assert said == "".join(WORDS)
    assert site.closed(stream.headers["x-freehold-answer"]).close.ending == "answered", "and it is recorded"


def test_no_event_of_a_response_waits_for_the_next(site: Site) -> None:
    provider = Provider(0, responds=True)
    site.attached(site.stands(provider))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    said = ""
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0, timeout=20) as client:
        for event in client.responses.create(model="chat", input="what happens?", stream=True):
            words = event.delta if event.type == "response.output_text.delta" else ""
            said += words
            site.loop.loop.call_soon_threadsafe(provider.had, len(words))
    assert said == "".join(WORDS)
    assert event.type == "response.completed"
