"""Google's Gemini API (ai.google.dev, `generateContent`, v1beta) for OpenAI's chat and embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from freehold.gateway.dialects.dialect import (
    CHAT,
    EMBEDDINGS,
    MISSHAPEN,
    Reading,
    Said,
    Sent,
    Strange,
    arguments_of,
    called,
    check_stream,
    chunk,
    completion,
    delta,
    functions,
    inner,
    most_tokens,
    refuse_others,
    stops,
    unusable,
    usage,
    words_of,
)
from freehold.gateway.dialects.openai import read_object
from freehold.spec.snapshot import Target

_NAME = "Gemini"
_CHAT = frozenset(
    (
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"),
        *("temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty"),
        *("tools", "tool_choice", "response_format"),
    )
)
_EMBEDDINGS = frozenset(("model", "input", "dimensions", "encoding_format"))
_HOLDS: Mapping[str, tuple[Any, ...]] = {
    "logprobs": (False,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
}
_NUMBERS = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "n": "candidateCount",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_BROKEN = frozenset(("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"))
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", re.DOTALL)


class Gemini:
    """Asked in chat and for embeddings; its answers in OpenAI's words."""

    serves = frozenset((CHAT, EMBEDDINGS))

    def asks(self, path: str, fields: Mapping[str, Any]) -> Said:
        """See `Dialect`. `stream` stays in the body until `sent` turns it into the address."""
        if path == EMBEDDINGS:
            return _embeddings(fields)
        refuse_others(fields, _CHAT, _HOLDS, _NAME)
        check_stream(fields, _NAME)
        if fields.get("stream") and fields.get("n") not in (None, 1):
            why = "Gemini does not say which of several answers a stream has finished"
            raise unusable("n", why, "leave out `stream`, or ask for one")
        system, contents = _conversation(fields["messages"])
        body: Said = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if how := _how(fields):
            body["generationConfig"] = how
        if fields.get("stream"):
            body["stream"] = True
        return body | _tools(fields)

    def url(self, target: Target, path: str, body: Said) -> str:
        """See `Dialect`: the model stands in the address."""
        if path == EMBEDDINGS:
            verb = "batchEmbedContents"
        else:
            verb = "streamGenerateContent?alt=sse" if body.get("stream") else "generateContent"
        return f"{target.url.rstrip('/')}/models/{_named(target)}:{verb}"

    def sent(self, target: Target, secret: str | None, path: str, body: Said) -> Sent:
        """See `Dialect`."""
        headers = {"x-goog-api-key": secret} if secret else {}
        said = {name: value for name, value in body.items() if name != "stream"}
        if path == EMBEDDINGS:
            said["requests"] = [{**one, "model": f"models/{_named(target)}"} for one in body["requests"]]
        return Sent(url=self.url(target, path, body), headers=headers, body=msgspec.json.encode(said))

    def answer(self, path: str, said: Said, at: int) -> Said:
        """See `Dialect`."""
        try:
            return _embedded(said) if path == EMBEDDINGS else _completion(said, at)
        except MISSHAPEN as error:
            raise Strange("it has not the shape of an answer") from error

    def reading(self, path: str, at: int) -> Reading:
        """See `Dialect`."""
        return _Events(at)


# -- asking -----------------------------------------------------------------------------------------------


def _named(target: Target) -> str:
    return target.name.removeprefix("models/")


def _how(fields: Mapping[str, Any]) -> Said:
    how = {theirs: fields[ours] for ours, theirs in _NUMBERS.items() if fields.get(ours) is not None}
    if (most := most_tokens(fields)) is not None:
        how["maxOutputTokens"] = most
    if (words := stops(fields)) is not None:
        how["stopSequences"] = words
    return how | _form(fields.get("response_format"))


def _form(said: Any) -> Said:
    kind = said.get("type") if isinstance(said, dict) else None
    if said is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    schema = inner(said, "json_schema").get("schema") if kind == "json_schema" else None
    if not isinstance(schema, dict):
        raise unusable("response_format", "it is text, json_object, or json_schema with a `schema`")
    return {"responseMimeType": "application/json", "responseJsonSchema": schema}


def _conversation(messages: Any) -> tuple[str, list[Said]]:
    system: list[str] = []
    contents: list[Said] = []
    names: dict[str, str] = {}
    for message in messages:
        if not isinstance(message, dict):
            raise unusable("messages", "a message is an object with `role` and `content`")
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(words_of(message.get("content")))
            continue
        side, parts = _turn(role, message, names)
        if contents and contents[-1]["role"] == side:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": side, "parts": parts})
    return "\n\n".join(system), contents


def _turn(role: Any, message: Mapping[str, Any], names: dict[str, str]) -> tuple[str, list[Said]]:
    """One side's parts; `names` remembers which function a call's id meant."""
    if role == "user":
        return "user", _parts(message.get("content"))
    if role == "assistant":
        calls = called(message)
        names.update((call["id"], call["function"]["name"]) for call in calls)
        said = [{"text": words}] if (words := words_of(message.get("content"))) else []
        return "model", [*said, *(_call(call) for call in calls)]
    if role == "tool":
        name = names.get(str(message.get("tool_call_id")))
        if name is None:
            raise unusable("messages", "a tool's answer names a call that no message before it made")
        return "user", [{"functionResponse": {"name": name, "response": _response(message)}}]
    raise unusable("messages", "a role is unknown", "roles are system, developer, user, assistant, tool")


def _response(message: Mapping[str, Any]) -> Said:
    """A tool's answer as an object, which the API wants it to be."""
    words = words_of(message.get("content"))
    try:
        value = msgspec.json.decode(words)
    except (msgspec.DecodeError, RecursionError):
        value = words
    return value if isinstance(value, dict) else {"result": value}


def _call(call: Said) -> Said:
    part: Said = {"functionCall": {"name": call["function"]["name"], "args": arguments_of(call)}}
    if signature := _signature(call):
        part["thoughtSignature"] = signature
    return part


def _signature(call: Said) -> str | None:
    """What a thinking model wants to see again with its own call, as its OpenAI-shaped API has it."""
    signature = inner(inner(call, "extra_content"), "google").get("thought_signature")
    return signature if isinstance(signature, str) else None


def _parts(content: Any) -> list[Said]:
    if not isinstance(content, list):
        return [{"text": words_of(content)}]
    return [_part(part) for part in content]


def _part(part: Any) -> Said:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"text": str(part.get("text", ""))}
    url = inner(part, "image_url").get("url") if kind == "image_url" else None
    found = _DATA.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise unusable("messages", "a part is neither text nor an image given as `data:…;base64,…`")
    return {"inlineData": {"mimeType": found[1], "data": found[2]}}


def _tools(fields: Mapping[str, Any]) -> Said:
    offered = functions(fields)
    if not offered:
        if fields.get("tool_choice") not in (None, "none", "auto"):
            raise unusable("tool_choice", "no `tools` are offered")
        return {}
    declared = [_declaration(function) for function in offered]
    mode = _mode(fields.get("tool_choice") or "auto")
    return {"tools": [{"functionDeclarations": declared}], "toolConfig": {"functionCallingConfig": mode}}


def _declaration(function: Said) -> Said:
    said = {"name": function["name"], "description": function.get("description") or ""}
    if function.get("parameters"):
        said["parametersJsonSchema"] = function["parameters"]
    return said


def _mode(said: Any) -> Said:
    if said in ("auto", "none"):
        return {"mode": said.upper()}
    if said == "required":
        return {"mode": "ANY"}
    name = inner(said, "function").get("name")
    if not isinstance(name, str):
        raise unusable("tool_choice", "it is auto, none, required, or names a function")
    return {"mode": "ANY", "allowedFunctionNames": [name]}


def _embeddings(fields: Mapping[str, Any]) -> Said:
    refuse_others(fields, _EMBEDDINGS, {}, _NAME)
    texts = fields.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise unusable("input", "it is a text, or a list of texts")
    size = {"outputDimensionality": fields["dimensions"]} if fields.get("dimensions") else {}
    requests = [{"content": {"parts": [{"text": text}]}, **size} for text in texts]
    return {"requests": requests}


# -- answering --------------------------------------------------------------------------------------------


def _embedded(said: Said) -> Said:
    data = [
        {"object": "embedding", "index": n, "embedding": [float(value) for value in one["values"]]}
        for n, one in enumerate(said["embeddings"])
    ]
    answer: Said = {"object": "list", "model": "", "data": data}
    if used := (said.get("usageMetadata") or {}).get("promptTokenCount"):
        answer["usage"] = {"prompt_tokens": used, "total_tokens": used}
    return answer


def _completion(said: Said, at: int) -> Said:
    id = str(said.get("responseId") or "gemini")
    candidates = said.get("candidates") or []
    if not candidates and not said.get("promptFeedback"):
        raise Strange("it has no candidates")
    choices = [_choice(candidate, id) for candidate in candidates] or [_blocked()]
    return completion(at, id, choices, _usage(said))


def _choice(candidate: Said, id: str) -> Said:
    index = candidate.get("index", 0)
    parts = _spoken(candidate)
    text = "".join(part["text"] for part in parts if "text" in part)
    calls = [
        _called(part, f"call_{id}_{index}_{n}")
        for n, part in enumerate(part for part in parts if "functionCall" in part)
    ]
    message: Said = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    finish = _finish(candidate.get("finishReason", "STOP"), bool(calls))
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _blocked() -> Said:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}


def _spoken(candidate: Said) -> list[Said]:
    """The parts of an answer, without what the model only thought."""
    return [part for part in (candidate.get("content") or {}).get("parts") or [] if not part.get("thought")]


def _called(part: Said, id: str) -> Said:
    call = part["functionCall"]
    arguments = msgspec.json.encode(call.get("args") or {}).decode()
    function = {"name": str(call["name"]), "arguments": arguments}
    said: Said = {"id": str(call.get("id") or id), "type": "function", "function": function}
    if signature := part.get("thoughtSignature"):
        said["extra_content"] = {"google": {"thought_signature": signature}}
    return said


def _finish(reason: str, calls: bool) -> str:
    if reason in _BROKEN:
        raise Strange(f"it ended with {reason.lower()}")
    finish = _FINISH.get(reason, "content_filter")
    return "tool_calls" if calls and finish == "stop" else finish


def _usage(said: Said) -> Said:
    """What the model thought is paid like what it said."""
    used = said.get("usageMetadata") or {}
    tokens_out = used.get("candidatesTokenCount", 0) + used.get("thoughtsTokenCount", 0)
    return usage(used.get("promptTokenCount", 0), tokens_out, used.get("cachedContentTokenCount", 0))


class _Events:
    """A stream of answers, each a part of the whole; it is done when every candidate has a finish."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._begun: set[int] = set()
        self._done: set[int] = set()
        self._calls: dict[int, int] = {}

    @property
    def whole(self) -> bool:
        return bool(self._done) and self._done >= self._begun

    def chunks(self, data: bytes) -> Iterable[Said]:
        said = read_object(data)
        if "error" in said:
            raise Strange("the provider broke off with an error")
        try:
            return list(self._said(said))
        except MISSHAPEN as error:
            raise Strange("an event has not the shape of an answer") from error

    def _said(self, said: Said) -> Iterator[Said]:
        id = str(said.get("responseId") or "gemini")
        for candidate in said.get("candidates") or []:
            for choice in self._choices(candidate, id):
                yield chunk(self._at, id, [choice])
        if (said.get("promptFeedback") or {}).get("blockReason"):
            self._done.add(0)
            yield chunk(self._at, id, [delta({"role": "assistant"}, "content_filter")])
        if said.get("usageMetadata") and self.whole:
            yield chunk(self._at, id, [], _usage(said))

    def _choices(self, candidate: Said, id: str) -> Iterator[Said]:
        index = candidate.get("index", 0)
        if index not in self._begun:
            self._begun.add(index)
            yield delta({"role": "assistant", "content": ""}, None, index)
        for part in _spoken(candidate):
            if part.get("text"):
                yield delta({"content": part["text"]}, None, index)
            elif "functionCall" in part:
                place = self._calls[index] = self._calls.get(index, -1) + 1
                call = {"index": place, **_called(part, f"call_{id}_{index}_{place}")}
                yield delta({"tool_calls": [call]}, None, index)
        if reason := candidate.get("finishReason"):
            self._done.add(index)
            yield delta({}, _finish(reason, index in self._calls), index)
