"""What the gateway can be asked, as an OpenAPI 3.1 document: `GET /openapi.json`.

Requests are described as far as the gateway acts on them; fields beyond that are for the engine or
provider behind a service, and one that nothing acts on is refused by its name. Answers are described by
what every one of them holds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

Said = dict[str, Any]

_TEXT: Said = {"type": "string"}
_COUNT: Said = {"type": "integer", "minimum": 0}
_LIST: Said = {"type": "array"}


def _object(required: dict[str, Said], more: dict[str, Said] | None = None) -> Said:
    """An object of which some fields are always there."""
    return {"type": "object", "required": list(required), "properties": {**required, **(more or {})}}


def _array(items: Said, least: int = 0) -> Said:
    return {"type": "array", "items": items, "minItems": least}


def _or_null(kind: str) -> Said:
    return {"type": [kind, "null"]}


# -- what is sent -----------------------------------------------------------------------------------------

_MODEL = {"type": "string", "description": "The service; may be left out with a key for one service."}
_METADATA = _object({}, {"purpose": _TEXT, "subject": _TEXT})
_COMMON: dict[str, Said] = {"model": _MODEL, "metadata": _METADATA, "stream": {"type": "boolean"}}
_SAMPLED: dict[str, Said] = {
    "max_tokens": _COUNT,
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "seed": {"type": "integer"},
    "stop": {"anyOf": [_TEXT, _array(_TEXT)]},
}
_MESSAGE = _object(
    {"role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]}},
    {"content": {"anyOf": [_TEXT, _array(_object({"type": _TEXT})), {"type": "null"}]}},
)
_CHAT = _object(
    {"messages": _array(_MESSAGE, 1)}, {**_COMMON, **_SAMPLED, "tools": _array({"type": "object"})}
)
_COMPLETION = _object({"prompt": {"anyOf": [_TEXT, _array(_TEXT, 1)]}}, {**_COMMON, **_SAMPLED})
_TEXTS: dict[str, Said] = {"input": {"anyOf": [_TEXT, _array(_TEXT, 1)]}}
_EMBEDDING = _object(
    _TEXTS, {"model": _MODEL, "encoding_format": {"type": "string", "enum": ["float", "base64"]}}
)
_MODERATION = _object(_TEXTS, {"model": _MODEL})
_RESPONSE = _object(
    {"input": {"anyOf": [_TEXT, _array({"type": "object"}, 1)]}},
    {**_COMMON, "instructions": _TEXT, "max_output_tokens": _COUNT, "store": {"const": False}},
)
_BYTES = _object({}, {"binary_data_size": _COUNT})
_TENSOR = _object(
    {"name": _TEXT, "datatype": _TEXT, "shape": _array({"type": "integer", "minimum": 1}, 1)},
    {"data": _LIST, "parameters": _BYTES},
)
_OUTPUT = _object({"name": {"type": "string", "enum": ["class", "confidence", "probabilities"]}})
_INFER_MORE: dict[str, Said] = {
    "id": {"type": "string", "maxLength": 256},
    "outputs": _array(_OUTPUT),
    "parameters": _object({}, {"binary_data_output": {"type": "boolean"}}),
}
_INFER = {**_object({"inputs": _array(_TENSOR, 1)}, _INFER_MORE), "additionalProperties": False}

# -- what comes back --------------------------------------------------------------------------------------

_USAGE = _object({"total_tokens": _COUNT}, {"prompt_tokens": _COUNT, "completion_tokens": _COUNT})
_HEAD: dict[str, Said] = {"id": _TEXT, "object": _TEXT, "created": _COUNT, "usage": _USAGE}
_CALL = _object(
    {}, {"id": _TEXT, "type": _TEXT, "function": _object({}, {"name": _TEXT, "arguments": _TEXT})}
)
_SAID = _object({}, {"role": _TEXT, "content": _or_null("string"), "tool_calls": _array(_CALL)})
_ENDED: dict[str, Said] = {
    "index": _COUNT,
    "finish_reason": _or_null("string"),
    "logprobs": _or_null("object"),
}
_CHATTED = _object({"choices": _array(_object({"message": _SAID}, _ENDED)), "model": _TEXT}, _HEAD)
_COMPLETED = _object({"choices": _array(_object({"text": _TEXT}, _ENDED)), "model": _TEXT}, _HEAD)
_VECTOR: Said = {"anyOf": [_array({"type": "number"}), {**_TEXT, "description": "base64: 32-bit floats"}]}
_EMBEDDED = _object(
    {"data": _array(_object({"embedding": _VECTOR}, {"index": _COUNT})), "model": _TEXT}, {"usage": _USAGE}
)
_SCORES: Said = {"type": "object", "additionalProperties": {"type": "number"}}
_JUDGED = _object(
    {}, {"flagged": {"type": "boolean"}, "categories": {"type": "object"}, "category_scores": _SCORES}
)
_MODERATED = _object({"results": _array(_JUDGED), "model": _TEXT}, {"id": _TEXT})
_WRITTEN = _object({}, {"type": _TEXT, "text": _TEXT})
_PART = _object(
    {}, {"type": _TEXT, "id": _TEXT, "role": _TEXT, "content": _array(_WRITTEN), "arguments": _TEXT}
)
_RESPONDED = _object({"output": _array(_PART)}, {"id": _TEXT, "status": _TEXT, "usage": _or_null("object")})
_LISTED = _object({"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT})
_MODELS = _object({"object": {"const": "list"}, "data": _array(_LISTED)})
_NAMED = _object({"name": _TEXT, "datatype": _TEXT, "shape": _array({"type": "integer"})})
_ABOUT = _object({"classes": _array(_TEXT), "purpose": _TEXT})
_META = _object(
    {
        "name": _TEXT,
        "versions": _LIST,
        "platform": _TEXT,
        "inputs": _array(_NAMED),
        "outputs": _array(_NAMED),
        "parameters": _ABOUT,
    }
)
_GIVEN = {**_NAMED, "properties": {**_NAMED["properties"], "data": _LIST, "parameters": _BYTES}}
_OUTSIDE = {"type": "object", "additionalProperties": _COUNT}
_INFERRED = _object(
    {"model_name": _TEXT, "outputs": _array(_GIVEN)},
    {"id": _TEXT, "parameters": _object({}, {"outside_domain": _OUTSIDE})},
)
_SERVER = _object({"name": _TEXT, "version": _TEXT, "extensions": _array(_TEXT)})
_TROUBLE = _object(dict.fromkeys(("part", "what", "why", "lost", "hint"), _TEXT) | {"since": _COUNT})
_STATUS = _object(
    {
        "snapshot": _COUNT,
        "records": _object({"waiting": _COUNT, "late": _COUNT}),
        "troubles": _array(_TROUBLE),
    }
)
_NOTHING: Said = {"type": "object", "maxProperties": 0}

_OPENAI_ERROR = _object(
    {"error": _object({"message": _TEXT, "type": _TEXT, "param": _or_null("string"), "code": _TEXT})}
)
_OIP_ERROR = _object({"error": _TEXT})
_OWN_ERROR = _object(
    {"error": _object(dict.fromkeys(("code", "what", "why", "hint"), _TEXT) | {"exit": _COUNT})}
)


def _answer(schema: Said, *also: str) -> Said:
    """The answer 200; `also` are other kinds in which it comes when they are asked for."""
    content: Said = {"application/json": {"schema": schema}, **{kind: {} for kind in also}}
    return {"description": "The answer", "content": content}


def _failure(path: str) -> Said:
    shape = _OPENAI_ERROR if path.startswith("/v1/") else _OIP_ERROR if path.startswith("/v2") else _OWN_ERROR
    said = "What is wrong, why, and what to do; the header `x-freehold-reason` names it"
    return {"description": said, "content": {"application/json": {"schema": shape}}}


_HEADERS = [
    {"name": f"x-freehold-{name}", "in": "header", "schema": {"type": "string", "maxLength": most}}
    for name, most in (("purpose", 63), ("subject", 256))
]
_NAME = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _asks(path: str, what: str, body: Said, answer: Said) -> Said:
    content = {"application/json": {"schema": body}}
    return {
        "summary": what,
        "security": [{"key": []}],
        "parameters": [*([_NAME] if "{model}" in path else []), *_HEADERS],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, "default": _failure(path)},
    }


def _tells(path: str, what: str, answer: Said, *, key: bool) -> Said:
    return {
        "summary": what,
        "security": [{"key": []}] if key else [],
        "parameters": [_NAME] if "{model}" in path else [],
        "responses": {"200": answer, "default": _failure(path)},
    }


_STREAM = "text/event-stream"
_POSTS: dict[str, tuple[str, Said, Said]] = {
    "/v1/chat/completions": ("Ask in chat", _CHAT, _answer(_CHATTED, _STREAM)),
    "/v1/completions": ("Have a text continued", _COMPLETION, _answer(_COMPLETED, _STREAM)),
    "/v1/embeddings": ("Texts as vectors", _EMBEDDING, _answer(_EMBEDDED)),
    "/v1/moderations": ("Have texts judged", _MODERATION, _answer(_MODERATED)),
    "/v1/responses": ("Ask for a response, stateless", _RESPONSE, _answer(_RESPONDED, _STREAM)),
    "/v2/models/{model}/infer": ("Ask with tensors", _INFER, _answer(_INFERRED, "application/octet-stream")),
}
_METRICS = {"description": "Prometheus's text", "content": {"text/plain": {"schema": _TEXT}}}
_GETS: dict[str, tuple[str, Said, bool]] = {
    "/v1/models": ("The services that this key may ask", _answer(_MODELS), True),
    "/v1/models/{model}": ("One of them", _answer(_LISTED), True),
    "/v2": ("What this server is", _answer(_SERVER), False),
    "/v2/health/live": ("Whether it runs", _answer(_NOTHING), False),
    "/v2/health/ready": ("Whether it has rules to answer by", _answer(_NOTHING), False),
    "/v2/models/{model}": ("A service's inputs and outputs", _answer(_META), True),
    "/v2/models/{model}/ready": ("Whether it answers", _answer(_NOTHING), True),
    "/status": ("What is wrong here", _answer(_STATUS), False),
    "/metrics": ("Counts and durations", _METRICS, False),
}


def served() -> dict[str, list[str]]:
    """Method to the paths where it is answered, that of this description too."""
    return {"GET": [*_GETS, "/openapi.json"], "POST": list(_POSTS)}


def document() -> Said:
    """The whole document."""
    paths: Said = {
        path: {"get": _tells(path, what, answer, key=key)} for path, (what, answer, key) in _GETS.items()
    }
    for path, (what, body, answer) in _POSTS.items():
        paths.setdefault(path, {})["post"] = _asks(path, what, body, answer)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Freehold gateway", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


@cache
def encoded() -> bytes:
    """The same as JSON; made when it is first asked for."""
    return msgspec.json.encode(document())
