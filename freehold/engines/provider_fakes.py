"""Anthropic and Gemini without a model, as their public API references have them; they ship.

    python -m freehold.engines.provider_fakes --api anthropic --listen 127.0.0.1:9000 [--key KEY]

They repeat what they are told, whole or streamed, call the first tool they are offered, count words as
tokens, refuse what the real ones refuse about the shape of a request, and obey some of the orders in
brackets that `upstream_fake` obeys: `[status 529]`, `[hang-up]`, `[error]` (in a stream), `[limit]`.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from itertools import pairwise
from typing import Any

from freehold.engines.upstream_fake import Heard, read_body
from freehold.engines.upstream_words import vector

Said = dict[str, Any]
Orders = dict[str, str]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ORDER = re.compile(r"\[(status|hang-up|error|limit)(?: (\d+))?\]")


class Wrong(Exception):
    """A request that the real provider would refuse."""


class Fake(ABC):
    """What both have in common: keys, errors, streams. `heard` keeps every request."""

    key_header = ""

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self.heard: list[Heard] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = json.loads(await read_body(receive) or b"{}")
        query = scope.get("query_string", b"").decode()
        self.heard.append(
            Heard(path=scope["path"] + (f"?{query}" if query else ""), headers=headers, body=body)
        )
        try:
            if self._key not in (None, headers.get(self.key_header)):
                await _reply(send, 401, self.error("authentication_error", "the key is not valid"))
                return
            await self.answer(scope["path"], query, headers, body, send)
        except Wrong as wrong:
            await _reply(send, 400, self.error("invalid_request_error", str(wrong)))

    @abstractmethod
    async def answer(self, path: str, query: str, headers: dict[str, str], body: Said, send: Send) -> None:
        """One request whose key fits."""

    def error(self, kind: str, words: str) -> Said:
        """An error's body."""
        return {"type": "error", "error": {"type": kind, "message": words}}

    async def told(self, orders: Orders, whole: Said, events: Iterator[Said] | None, send: Send) -> None:
        """The answer, whole or as events, unless it was ordered otherwise."""
        if "status" in orders:
            await _reply(send, int(orders["status"]), self.error("overloaded_error", "as you wish"))
            return
        if events is None:
            await _reply(send, 200, whole)
            return
        await _stream(send, list(events), orders, self.error("overloaded_error", "in the middle"))


class FakeAnthropic(Fake):
    """`POST /v1/messages` (docs.anthropic.com, version 2023-06-01)."""

    key_header = "x-api-key"

    async def answer(self, path: str, query: str, headers: dict[str, str], body: Said, send: Send) -> None:
        """See `Fake`."""
        if not path.endswith("/messages"):
            await _reply(send, 404, self.error("not_found_error", "there is nothing here"))
            return
        _check_messages(headers, body)
        words, orders = _orders(_last_words(body["messages"][-1]["content"]))
        message = _message(body, words, orders)
        await self.told(orders, message, _events(message) if body.get("stream") else None, send)


def _check_messages(headers: dict[str, str], body: Said) -> None:
    if headers.get("anthropic-version") != "2023-06-01":
        raise Wrong("anthropic-version: header is required")
    if type(body.get("max_tokens")) is not int or body["max_tokens"] < 1:
        raise Wrong("max_tokens: Field required, and at least 1")
    roles = [message["role"] for message in body["messages"]]
    if not roles or not set(roles) <= {"user", "assistant"} or any(a == b for a, b in pairwise(roles)):
        raise Wrong("messages: roles must be user and assistant in turn")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise Wrong("temperature: range: 0..1")
    known = {"model", "messages", "system", "max_tokens", "temperature", "top_p", "stop_sequences", "stream"}
    if unknown := body.keys() - known - {"tools", "tool_choice", "metadata"}:
        raise Wrong(f"{min(unknown)}: Extra inputs are not permitted")


def _last_words(content: Any) -> str:
    if isinstance(content, str):
        return content
    said = [block.get("text") or block.get("content") or "" for block in content]
    return " ".join(words if isinstance(words, str) else "" for words in said)


def _orders(words: str) -> tuple[str, Orders]:
    return words, dict(_ORDER.findall(words))


def _message(body: Said, words: str, orders: Orders) -> Said:
    tools = body.get("tools") if (body.get("tool_choice") or {}).get("type") != "none" else None
    called = tools and not any(
        block.get("type") == "tool_result" for block in _blocks(body["messages"][-1]["content"])
    )
    content: list[Said] = [{"type": "text", "text": f"You said: {words}"}]
    if tools and called:
        use = {"type": "tool_use", "id": "toolu_1", "name": tools[0]["name"], "input": {"words": words}}
        content = [{"type": "text", "text": "let me look"}, use]
    stop = "max_tokens" if "limit" in orders else "tool_use" if called else "end_turn"
    count = sum(len(_last_words(message["content"]).split()) for message in body["messages"])
    usage = {
        "input_tokens": count,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "output_tokens": len(words.split()) + 2,
    }
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(content: Any) -> list[Said]:
    return content if isinstance(content, list) else []


def _events(message: Said) -> Iterator[Said]:
    used = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**used, "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        text = block["type"] == "text"
        empty = {"type": "text", "text": ""} if text else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        whole = block["text"] if text else json.dumps(block["input"])
        for piece in re.findall(r"\S+\s*", whole):
            delta = {"type": "text_delta", "text": piece} if text else None
            delta = delta or {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": used["output_tokens"]}}
    yield {"type": "message_stop"}


class FakeGemini(Fake):
    """`models/NAME:generateContent`, `:streamGenerateContent`, `:batchEmbedContents` (v1beta)."""

    key_header = "x-goog-api-key"

    def error(self, kind: str, words: str) -> Said:
        """See `Fake`."""
        return {"error": {"code": 400, "message": words, "status": kind.upper()}}

    async def answer(self, path: str, query: str, headers: dict[str, str], body: Said, send: Send) -> None:
        """See `Fake`."""
        verb = path.rpartition(":")[2]
        if verb == "batchEmbedContents":
            vectors = [{"values": vector(_words(one["content"]), 8)} for one in body["requests"]]
            await _reply(send, 200, {"embeddings": vectors})
        elif verb in ("generateContent", "streamGenerateContent"):
            _check_contents(body)
            words, orders = _orders(_words(body["contents"][-1]))
            streams = verb.startswith("stream") and query == "alt=sse"
            whole = _generated(body, words, orders)
            await self.told(orders, whole, _streamed(whole) if streams else None, send)
        else:
            await _reply(send, 404, self.error("not_found", "there is nothing here"))


def _check_contents(body: Said) -> None:
    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
    if unknown := body.keys() - known:
        raise Wrong(f'Invalid JSON payload received. Unknown name "{min(unknown)}"')
    if not body["contents"] or any(one["role"] not in ("user", "model") for one in body["contents"]):
        raise Wrong("contents: valid roles are user and model")


def _words(content: Said) -> str:
    said = [part.get("text") or json.dumps(part.get("functionResponse", "")) for part in content["parts"]]
    return " ".join(word for word in said if word != '""')


def _generated(body: Said, words: str, orders: Orders) -> Said:
    finish = "MAX_TOKENS" if "limit" in orders else "STOP"
    candidate = {
        "content": {"role": "model", "parts": _answer(body, words)},
        "finishReason": finish,
        "index": 0,
    }
    return {"candidates": [candidate], "usageMetadata": _used(body, words), "responseId": "r1"}


def _answer(body: Said, words: str) -> list[Said]:
    mode = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode")
    answered = any("functionResponse" in part for part in body["contents"][-1]["parts"])
    if body.get("tools") and mode != "NONE" and not answered:
        function = body["tools"][0]["functionDeclarations"][0]
        call = {"name": function["name"], "args": {"words": words}}
        return [{"text": "I think", "thought": True}, {"functionCall": call, "thoughtSignature": "c2ln"}]
    return [{"text": f"You said: {words}"}]


def _used(body: Said, words: str) -> Said:
    count = sum(len(_words(one).split()) for one in body["contents"])
    return {
        "promptTokenCount": count,
        "candidatesTokenCount": len(words.split()) + 1,
        "thoughtsTokenCount": 1,
    }


def _streamed(whole: Said) -> Iterator[Said]:
    candidate = whole["candidates"][0]
    pieces: list[Said] = []
    for part in candidate["content"]["parts"]:
        text = part.get("text") if not part.get("thought") else None
        pieces += [{"text": piece} for piece in re.findall(r"\S+\s*", text)] if text else [part]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        said = {"content": {"role": "model", "parts": [piece]}, "index": 0}
        said |= {"finishReason": candidate["finishReason"]} if last else {}
        yield {"candidates": [said], "usageMetadata": whole["usageMetadata"], "responseId": "r1"}


async def _stream(send: Send, events: list[Said], orders: Orders, error: Said) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number, event in enumerate(events):
        if number == len(events) // 2 and "hang-up" in orders:
            return  # without its end: the server cuts the connection
        if number == len(events) // 2 and "error" in orders:
            event = error
        name = f"event: {event['type']}\n" if "type" in event else ""
        data = f"{name}data: {json.dumps(event)}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _reply(send: Send, status: int, value: Said) -> None:
    data = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})


FAKES = {"anthropic": FakeAnthropic, "gemini": FakeGemini}


def main() -> int:
    """Serve until Ctrl-C."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="freehold.engines.provider_fakes", description=__doc__)
    parser.add_argument("--api", choices=sorted(FAKES), required=True, help="whose words it understands")
    parser.add_argument("--listen", default="127.0.0.1:9000", help="where it listens")
    parser.add_argument("--key", help="the API key it wants; without one it takes everybody")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    with socket.create_server((host, int(port))) as listener:
        address = listener.getsockname()
        print(f"http://{address[0]}:{address[1]}", flush=True)
        config = uvicorn.Config(FAKES[options.api](options.key), lifespan="off", log_config=None, ws="none")
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
