"""What the fake model server says beside chat: texts, responses, embeddings, moderations."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from typing import Any

Said = dict[str, Any]

_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)


def text(body: Said) -> Said:
    """A completion that goes on from each prompt by repeating it."""
    prompts = _prompts(body)
    choices = [_choice(n, f" {prompt}", "stop", body) for n, prompt in enumerate(prompts)]
    words = sum(len(prompt.split()) for prompt in prompts)
    usage = {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words}
    return {**_text(body), "choices": choices, "usage": usage}


def text_chunks(body: Said) -> list[Said]:
    """The same, streamed."""
    whole = text(body)
    chunks = [
        {**_text(body), "choices": [{**choice, "text": word + " ", "finish_reason": None}]}
        for choice in whole["choices"]
        for word in choice["text"].split()
    ]
    ends = [{**_text(body), "choices": [{**choice, "text": ""}]} for choice in whole["choices"]]
    wanted = (body.get("stream_options") or {}).get("include_usage")
    return chunks + ends + ([{**_text(body), "choices": [], "usage": whole["usage"]}] if wanted else [])


def _prompts(body: Said) -> list[str]:
    prompt = body.get("prompt")
    return [str(one) for one in prompt] if isinstance(prompt, list) else [str(prompt)]


def _text(body: Said) -> Said:
    return {
        "id": "cmpl-fake",
        "object": "text_completion",
        "created": int(time.time()),
        "model": body["model"],
    }


def _choice(index: int, words: str, finish: str, body: Said) -> Said:
    logprobs = None
    if body.get("logprobs") is not None:
        tokens = words.split()
        logprobs = {
            "tokens": tokens,
            "token_logprobs": [-0.5] * len(tokens),
            "top_logprobs": [{token: -0.5} for token in tokens],
            "text_offset": [0] * len(tokens),
        }
    return {"index": index, "text": words, "logprobs": logprobs, "finish_reason": finish}


def response(body: Said) -> Said:
    """A response that repeats the input."""
    words = _input(body)
    part = {"type": "output_text", "text": f"You said: {words}", "annotations": []}
    item = {"id": "msg_fake", "type": "message", "role": "assistant", "status": "completed"}
    count = len(words.split())
    usage = {
        "input_tokens": count,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": count + 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2 * count + 2,
    }
    return {**_shell(body), "status": "completed", "output": [{**item, "content": [part]}], "usage": usage}


def events(body: Said) -> list[Said]:
    """The same, streamed: begun, its words, done."""
    whole = response(body)
    item = whole["output"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**_shell(body), "status": "in_progress", "output": []}
    said: list[Said] = [{"type": "response.created", "response": begun}]
    said += [
        {"type": "response.output_text.delta", "delta": word + " ", "logprobs": [], **place}
        for word in item["content"][0]["text"].split()
    ]
    said.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": n} for n, event in enumerate(said)]


def _shell(body: Said) -> Said:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": int(time.time()),
        "model": body["model"],
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _input(body: Said) -> str:
    said = body.get("input") or ""
    if isinstance(said, str):
        return said
    contents = (item.get("content") or item.get("output") or "" for item in said)
    return " ".join(c if isinstance(c, str) else " ".join(p.get("text", "") for p in c) for c in contents)


def embeddings(body: Said) -> Said:
    """A vector per text, which follows from its digest."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    size = body.get("dimensions") or 8
    vectors = [vector(str(one), size) for one in texts]
    if body.get("encoding_format") == "base64":
        shown: list[Any] = [base64.b64encode(struct.pack(f"<{size}f", *v)).decode() for v in vectors]
    else:
        shown = list(vectors)
    data = [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(shown)]
    words = sum(len(str(one).split()) for one in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def vector(words: str, size: int) -> list[float]:
    """Numbers from -1 to 1."""
    drawn = hashlib.shake_256(words.encode()).digest(size)
    return [byte / 127.5 - 1 for byte in drawn]


def moderation(body: Said) -> Said:
    """One result per text; whoever says `harm` is flagged."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return {"id": "modr-fake", "model": body["model"], "results": [_result(str(one)) for one in texts]}


def _result(words: str) -> Said:
    flagged = "harm" in words
    hit = {name: flagged and name == "violence" for name in _CATEGORIES}
    return {
        "flagged": flagged,
        "categories": hit,
        "category_scores": {name: float(hit[name]) for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
