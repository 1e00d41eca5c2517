"""An OpenAI-compatible model server without a model: for tests, for trying `freehold attach`, and it ships.

    python -m freehold.engines.upstream_fake --listen 127.0.0.1:9000 [--key KEY]

It prints its URL when it listens (port 0 takes a free one), and then it repeats what it was
told, whole or streamed, calls the first tool it is offered, and counts usage. It also makes embeddings
(of a digest), moderates (flagging the word `harm`) and takes Azure's kind of key.
Words in brackets in the last message make it misbehave: `[status 429]`, `[delay 2]` (seconds, before
it answers), `[pause 0.2]` (between pieces), `[hang-up]` (in the middle), `[no-usage]`, `[garbage]`,
`[redirect]`, `[error]` (in a stream), `[limit]` (cut short).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from freehold.engines import upstream_words

MODEL = "fake-1"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ORDER = re.compile(r"\[(status|delay|pause|hang-up|error|limit|no-usage|garbage|redirect)(?: ([0-9.]+))?\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A request as it arrived."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any] = field(repr=False)


class FakeUpstream:
    """The ASGI app. `heard` keeps every request; `cut_off` counts callers that hung up in a stream."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self.heard: list[Heard] = []
        self.cut_off = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if self._key not in (None, headers.get("api-key"), headers.get("authorization", "")[7:]):
            await _reply(send, 401, _error("the key is not valid", "invalid_api_key"))
        elif scope["path"].endswith("/models"):
            await _reply(send, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            await self._question(scope, headers, receive, send)

    async def _question(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        path = scope["path"]
        body = json.loads(await read_body(receive))
        self.heard.append(Heard(path=path, headers=headers, body=body))
        if path.endswith("/chat/completions"):
            await self._chat(body, receive, send)
        elif path.endswith("/completions"):
            await self._told(body, upstream_words.text(body), upstream_words.text_chunks(body), send)
        elif path.endswith("/responses"):
            await self._told(body, upstream_words.response(body), upstream_words.events(body), send)
        elif path.endswith("/embeddings"):
            await _reply(send, 200, upstream_words.embeddings(body))
        elif path.endswith("/moderations"):
            await _reply(send, 200, upstream_words.moderation(body))
        else:
            await _reply(send, 404, _error("there is nothing here", "not_found"))

    async def _told(
        self, body: dict[str, Any], whole: dict[str, Any], chunks: list[dict[str, Any]], send: Send
    ) -> None:
        if not body.get("stream"):
            await _reply(send, 200, whole)
            return
        await _begin(send, b"text/event-stream")
        for chunk in chunks:
            await _event(send, json.dumps(chunk).encode())
        if "type" not in chunks[-1]:
            await _event(send, b"[DONE]")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chat(self, body: dict[str, Any], receive: Receive, send: Send) -> None:
        said = _last_text(body["messages"])
        orders = {name: float(number or 0) for name, number in _ORDER.findall(said)}
        await asyncio.sleep(orders.get("delay", 0))
        if "status" in orders:
            status = int(orders["status"])
            headers = [(b"retry-after", b"7")] if status == 429 else []
            await _reply(send, status, _error(f"as you wish: {status}", "scripted"), headers)
        elif "redirect" in orders:
            await _reply(send, 302, {}, [(b"location", b"http://127.0.0.1:9/elsewhere")])
        elif "garbage" in orders:
            await _raw(send, 200, b"<html>not json")
        elif body.get("stream"):
            await self._stream(body, said, orders, receive, send)
        else:
            await self._whole(body, said, orders, send)

    async def _whole(self, body: dict[str, Any], said: str, orders: dict[str, float], send: Send) -> None:
        message, finish = _message(body, said)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        answer = _object(body, "chat.completion", [choice])
        if "no-usage" not in orders:
            answer["usage"] = _usage(body, said)
        if "hang-up" in orders:
            data = json.dumps(answer).encode()
            await _begin(send, b"application/json")
            await send({"type": "http.response.body", "body": data[: len(data) // 2], "more_body": True})
            return  # without its end: the server cuts the connection
        await _reply(send, 200, answer)

    async def _stream(
        self, body: dict[str, Any], said: str, orders: dict[str, float], receive: Receive, send: Send
    ) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        await _begin(send, b"text/event-stream")
        events = list(_events(body, said, with_usage="no-usage" not in orders))
        for number, event in enumerate(events):
            if "hang-up" in orders and number == len(events) // 2:
                break
            if "error" in orders and number == len(events) // 2:
                event = _error("as you wish", "scripted")
            if gone.done():
                self.cut_off += 1
                return
            await _event(send, json.dumps(event).encode())
            await asyncio.wait([gone], timeout=orders.get("pause", 0))
        else:
            await _event(send, b"[DONE]")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        gone.cancel()


def _message(body: dict[str, Any], said: str) -> tuple[dict[str, Any], str]:
    """The words again, or a call of the first tool that was offered."""
    answered = body["messages"][-1].get("role") == "tool" or body.get("tool_choice") == "none"
    if (tools := body.get("tools")) and not answered:
        function = {"name": tools[0]["function"]["name"], "arguments": json.dumps({"words": said})}
        call = {"id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    finish = "length" if "[limit]" in said else "stop"
    return {"role": "assistant", "content": f"You said: {said}", "refusal": None}, finish


def _events(body: dict[str, Any], said: str, *, with_usage: bool) -> Iterator[dict[str, Any]]:
    message, finish = _message(body, said)
    yield _chunk(body, {"role": "assistant"})
    if calls := message.get("tool_calls"):
        yield _chunk(body, {"tool_calls": [{"index": 0, **calls[0]}]})
    else:
        for word in re.findall(r"\S+\s*", message["content"]):
            yield _chunk(body, {"content": word})
    yield _chunk(body, {}, finish)
    wanted = (body.get("stream_options") or {}).get("include_usage")
    if wanted and with_usage:
        yield {**_object(body, "chat.completion.chunk", []), "usage": _usage(body, said)}


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _object(body, "chat.completion.chunk", [choice])


def _object(body: dict[str, Any], kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    created = int(time.time())
    return {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": created,
        "model": body["model"],
        "choices": choices,
    }


def _usage(body: dict[str, Any], said: str) -> dict[str, int]:
    """Words stand for tokens."""
    prompt = sum(len(_text(message.get("content")).split()) for message in body["messages"])
    answered = len(said.split()) + 2
    return {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}


def _last_text(messages: list[dict[str, Any]]) -> str:
    return _text(messages[-1].get("content"))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


async def read_body(receive: Receive) -> bytes:
    data: bytes = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            return data


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _begin(send: Send, kind: bytes) -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _event(send: Send, data: bytes) -> None:
    body = b"data: " + data + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _reply(
    send: Send, status: int, value: dict[str, Any], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    await _raw(send, status, json.dumps(value).encode(), headers)


async def _raw(
    send: Send, status: int, data: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    whole = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": [*whole, *(headers or [])]})
    await send({"type": "http.response.body", "body": data, "more_body": False})


def main() -> int:
    """Serve until Ctrl-C."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="freehold.engines.upstream_fake", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:9000", help="where it listens")
    parser.add_argument("--key", help="the API key it wants; without one it takes everybody")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    with socket.create_server((host, int(port))) as listener:
        address = listener.getsockname()
        print(f"http://{address[0]}:{address[1]}", flush=True)
        config = uvicorn.Config(FakeUpstream(options.key), lifespan="off", log_config=None, ws="none")
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
