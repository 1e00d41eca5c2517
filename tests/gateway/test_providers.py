"""Every kind of provider behind the same chat: asked in its own words, told in OpenAI's, counted, refused."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from freehold.engines.provider_fakes import FakeAnthropic, FakeGemini
from freehold.engines.upstream_fake import FakeUpstream
from freehold.engines.wanted import FieldUnusable, NothingActsOn
from freehold.gateway.bounds import Bounds
from freehold.gateway.dialects.dialect import CHAT
from freehold.gateway.dialects.known import DIALECTS
from tests.gateway.conftest import Site

FAKES: dict[str, Any] = {
    "openai": FakeUpstream,
    "azure": FakeUpstream,
    "anthropic": FakeAnthropic,
    "gemini": FakeGemini,
}
LOOK_UP: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "finds a claim",
        "parameters": {"type": "object", "properties": {"words": {"type": "string"}}},
    },
}


def _call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}


@pytest.fixture(params=list(FAKES))
def api(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def fake(site: Site, api: str) -> Any:
    fake = FAKES[api]("sk-theirs")
    url = site.stands(fake)
    site.attached(url, secret="sk-theirs", api=api, price_in="1", price_out="2")
    site.attached(url, name="wrong-key", secret="sk-old", api=api)
    return fake


@pytest.fixture
def client(site: Site, fake: Any) -> Iterator[openai.OpenAI]:
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(Bounds(linger=0.05, drain=5, ship=2, silence=2, connect=1, response=200_000))
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, words: Any, **options: Any) -> Any:
    messages: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": words}]
    given = {"model": "chat", "messages": messages, **options}
    return client.chat.completions.with_raw_response.create(**given)


def streamed(client: openai.OpenAI, words: str, **options: Any) -> list[Any]:
    messages: list[Any] = [{"role": "user", "content": words}]
    return list(client.chat.completions.create(model="chat", messages=messages, stream=True, **options))


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:,x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": ["x"]}]}]},
        {"tools": [LOOK_UP], "tool_choice": {"type": "function", "function": "look_up"}},
        {"response_format": {"type": "json_schema", "json_schema": "strict"}},
        {"messages": [{"role": "assistant", "tool_calls": [_call("[" * 5000 + "]" * 5000)]}]},
        {"messages": [{"role": "assistant", "tool_calls": [_call("{}", extra_content="x")]}]},
    ],
    ids=["image", "images", "tool_choice", "format", "deep", "extra"],
)
@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_what_has_the_wrong_shape_is_told_to_its_caller(dialect: str, fields: dict[str, Any]) -> None:
    """Never a failure of ours."""
    asked = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **fields}
    with contextlib.suppress(FieldUnusable, NothingActsOn):
        DIALECTS[dialect].asks(CHAT, asked)


def test_an_answer_comes_in_openais_words_and_is_counted_and_paid(site: Site, client: openai.OpenAI) -> None:
    raw = ask(client, "good day", temperature=0.5, max_tokens=50, stop=["END"])
    answer = raw.parse()
    assert answer.choices[0].message.content == "You said: good day"
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "chat")
    end = site.closed(raw.headers["x-freehold-answer"]).close
    assert (end.tokens_in, end.tokens_out) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert not end.estimated
    assert Decimal(end.cost) == Decimal(end.tokens_in + 2 * end.tokens_out) / 1000


def test_a_stream_grows_word_by_word_and_ends_with_what_it_took(site: Site, client: openai.OpenAI) -> None:
    chunks = streamed(client, "one two three", stream_options={"include_usage": True})
    pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(pieces) > 3
    assert "".join(pieces).strip() == "You said: one two three"
    assert {c.model for c in chunks} == {"chat"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert all(c.usage is None for c in streamed(client, "one two")), "only who asks is told"
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0].close
    assert (end.ending, end.tokens_out) == ("answered", chunks[-1].usage.completion_tokens)


def test_a_tool_is_called_answered_and_the_conversation_goes_on(client: openai.OpenAI, fake: Any) -> None:
    asked = [{"role": "user", "content": "where is my claim"}]
    for streams in (False, True):
        said = ask(client, "x", messages=asked, tools=[LOOK_UP], tool_choice="auto").parse()
        message = said.choices[0].message
        (call,) = message.tool_calls
        if streams:
            chunks = streamed(client, "where is my claim", tools=[LOOK_UP])
            calls = [c for k in chunks if k.choices for c in k.choices[0].delta.tool_calls or ()]
            assert calls[0].function.name == "look_up"
            arguments = "".join(c.function.arguments or "" for c in calls)
            assert json.loads(arguments) == {"words": "where is my claim"}
            assert chunks[-1].choices[0].finish_reason == "tool_calls"
        else:
            assert call.function.name == "look_up"
            assert json.loads(call.function.arguments) == {"words": "where is my claim"}
            assert said.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"found": "in the post"}'}
    talk: list[Any] = [*asked, message.model_dump(exclude_none=True), result]
    after = ask(client, "x", messages=talk, tools=[LOOK_UP], tool_choice="none").parse()
    assert "in the post" in after.choices[0].message.content
    assert after.choices[0].finish_reason == "stop"


def test_a_stream_of_several_answers_is_whole_or_refused(client: openai.OpenAI, fake: Any, api: str) -> None:
    """Gemini's streams do not say when all of several answers are there."""
    if api in ("openai", "azure"):
        assert streamed(client, "one two", n=2)
        return
    with pytest.raises(openai.BadRequestError) as refused:
        streamed(client, "one two", n=2)
    assert refused.value.param == "n"
    assert fake.heard == []


def test_an_answer_that_was_cut_short_says_so(client: openai.OpenAI) -> None:
    assert ask(client, "[limit] x").parse().choices[0].finish_reason == "length"
    assert streamed(client, "[limit] x")[-1].choices[0].finish_reason == "length"


def test_our_key_that_is_void_there_is_no_401_for_the_caller(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, "x", model="wrong-key")
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_refused")


@pytest.mark.parametrize("order", ["[hang-up]", "[error]"])
def test_a_stream_that_breaks_off_is_no_complete_answer(
    site: Site, client: openai.OpenAI, order: str
) -> None:
    with pytest.raises(openai.APIError, match="broke off"):
        streamed(client, f"one two three four five {order}")
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0]
    assert (end.close.ending, end.close.reason) == ("failed", "upstream-broke")


def test_a_provider_in_trouble_is_502(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client, "[status 529]")
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_failed")


def test_neither_key_nor_person_reaches_it(client: openai.OpenAI, fake: Any) -> None:
    ask(client, "good day", metadata={"subject": "anna-k"})
    heard = fake.heard[-1]
    said = json.dumps([heard.path, heard.headers, heard.body])
    assert "anna-k" not in said
    assert "fhs_" not in said
    assert "claims-handling" not in said


OPTIONS = {
    "anthropic": ("seed", "frequency_penalty", "logit_bias", "response_format", "verbosity", "made_up"),
    "gemini": ("logit_bias", "parallel_tool_calls", "verbosity", "user", "made_up"),
}
VALUES: dict[str, Any] = {
    "seed": 7,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "response_format": {"type": "json_object"},
    "verbosity": "low",
    "parallel_tool_calls": False,
    "user": "u",
    "made_up": 1,
}


@pytest.mark.parametrize(("api", "name"), [(a, n) for a, names in OPTIONS.items() for n in names])
def test_what_it_has_no_word_for_is_refused_by_name(client: openai.OpenAI, fake: Any, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "x", extra_body={name: VALUES[name]})
    assert refused.value.param == name
    assert not fake.heard, "nothing was asked"


@pytest.mark.parametrize("api", ["anthropic", "gemini"])
def test_a_picture_goes_along(client: openai.OpenAI, fake: Any) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    ask(client, [{"type": "text", "text": "what is this"}, picture])
    assert "aGk=" in json.dumps(fake.heard[-1].body)
    assert "image/png" in json.dumps(fake.heard[-1].body)


@pytest.mark.parametrize("api", ["azure"])
def test_azure_is_asked_with_its_own_kind_of_key_and_by_deployment(
    site: Site, client: openai.OpenAI, fake: Any
) -> None:
    ask(client, "x")
    heard = fake.heard[-1]
    assert (heard.path, heard.headers["api-key"]) == ("/openai/v1/chat/completions", "sk-theirs")
    assert "authorization" not in heard.headers
    assert heard.body["model"] == "fake-1"


@pytest.mark.parametrize("api", ["openai", "azure", "gemini"])
def test_embeddings_come_as_the_client_asks_for_them(site: Site, client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model="chat", input=["a", "b"], encoding_format="float")
    coded = client.embeddings.with_raw_response.create(model="chat", input=["a", "b"])
    assert [len(one.embedding) for one in plain.data] == [8, 8]
    packed = json.loads(coded.text)["data"][1]["embedding"]
    numbers = struct.unpack("<8f", base64.b64decode(packed))
    assert numbers == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert site.closed(coded.headers["x-freehold-answer"]).close.tokens_out == 0


@pytest.mark.parametrize("api", ["anthropic"])
def test_what_a_provider_does_not_do_is_said_with_what_it_does(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"makes no embeddings.*/v1/chat/completions"):
        client.embeddings.create(model="chat", input="a")
