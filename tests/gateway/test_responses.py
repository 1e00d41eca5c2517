"""The responses API in its stateless form: over chat, by every kind of upstream; moderation; elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from freehold.engines.provider_fakes import FakeAnthropic
from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.answering import UpstreamBroke
from freehold.gateway.response_stream import ResponseStream
from freehold.gateway.responses import _shaped
from tests.gateway.conftest import Site


@pytest.fixture
def fakes(site: Site) -> dict[str, Any]:
    fakes: dict[str, Any] = {"openai": FakeUpstream(), "anthropic": FakeAnthropic()}
    for api, fake in fakes.items():
        site.attached(site.stands(fake), name=api, api=api)
    site.writes("letters")
    site.own("triage")
    return fakes


@pytest.fixture
def client(site: Site, fakes: Any) -> Iterator[openai.OpenAI]:
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    "said",
    [{}, {"choices": []}, {"choices": [{"message": "hi"}]}, {"choices": [{"delta": "hi"}]}, {"choices": 5}],
)
def test_an_answer_that_is_none_broke_upstream(said: dict[str, Any]) -> None:
    shown = ResponseStream({"id": "resp_1"})
    with pytest.raises(UpstreamBroke), _shaped():
        shown.whole(said)
    with contextlib.suppress(UpstreamBroke), _shaped():
        list(shown.chunk(said))


def test_tools_that_are_no_list_are_told_to_their_caller(client: openai.OpenAI) -> None:
    tools: Any = 5
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="anthropic", input="hi", tools=tools)
    assert refused.value.param == "tools"


@pytest.mark.parametrize("model", ["openai", "anthropic", "letters"])
def test_a_response_is_answered_whole_and_streamed_alike(
    site: Site, client: openai.OpenAI, model: str
) -> None:
    asked: Any = {"model": model, "input": "good day", "instructions": "be brief"}
    whole = client.responses.create(**asked)
    assert whole.status == "completed"
    assert whole.output_text
    assert whole.model == model
    assert whole.usage is not None
    events = list(
        client.responses.create(model=model, input="good day", instructions="be brief", stream=True)
    )
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas.strip() == whole.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == whole.output_text
    assert last.response.model == model
    ends = site.control.wait(
        lambda: (r := [x for x in site.control.records if hasattr(x, "close")])[1:] and r
    )
    assert {end.close.ending for end in ends} == {"answered"}
    assert ends[0].close.tokens_out == whole.usage.output_tokens


def test_functions_are_called_and_their_output_goes_back(client: openai.OpenAI, fakes: Any) -> None:
    tool: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}
    asked: list[Any] = [{"role": "user", "content": "where is it"}]
    said = client.responses.create(model="anthropic", input=asked, tools=[tool])
    call: Any = said.output[-1]
    assert (call.type, call.name) == ("function_call", "look_up")
    streamed = client.responses.create(model="anthropic", input=asked, tools=[tool], stream=True)
    last: Any = list(streamed)[-1]
    assert last.response.output[-1].arguments.replace(" ", "") == call.arguments.replace(" ", "")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "in the post"}
    told = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    after = client.responses.create(model="anthropic", input=[*asked, told, output], tools=[tool])
    assert "in the post" in after.output_text
    assert fakes["anthropic"].heard[-1].body["messages"][-1]["content"][0]["type"] == "tool_result"


@pytest.mark.parametrize("model", ["openai", "anthropic", "letters"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("store", True), ("previous_response_id", "resp_1"), ("background", True), ("conversation", "c")],
)
def test_what_would_need_memory_is_refused_by_name(
    client: openai.OpenAI, fakes: Any, model: str, name: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError, match="stateless") as refused:
        client.responses.create(model=model, input="x", extra_body={name: value})
    assert refused.value.param == name
    assert not any(fake.heard for fake in fakes.values())


def test_a_provider_is_told_to_keep_nothing(client: openai.OpenAI, fakes: Any) -> None:
    client.responses.create(model="openai", input="x")
    assert fakes["openai"].heard[-1].body["store"] is False


@pytest.mark.parametrize(
    "field",
    [{"tools": [{"type": "web_search"}]}, {"reasoning": {"effort": "low"}}, {"text": {"verbosity": "low"}}],
)
def test_what_chat_has_no_word_for_is_refused(client: openai.OpenAI, field: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="anthropic", input="x", extra_body=field)
    assert refused.value.param == next(iter(field))


def test_a_provider_that_moderates_is_asked_to(client: openai.OpenAI) -> None:
    said = client.moderations.create(model="openai", input=["all is well", "I will harm you"])
    assert [result.flagged for result in said.results] == [False, True]
    assert said.model == "openai"
    with pytest.raises(openai.BadRequestError, match="does not moderate"):
        client.moderations.create(model="triage", input="x")


def test_texts_are_gone_on_from(client: openai.OpenAI) -> None:
    said = client.completions.create(model="openai", prompt=["once", "twice"], logprobs=1, max_tokens=5)
    assert [choice.text for choice in said.choices] == [" once", " twice"]
    assert said.choices[0].logprobs is not None
    chunks = list(
        client.completions.create(
            model="openai", prompt="a b", stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices).split() == ["a", "b"]
    assert chunks[-1].usage is not None


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/fine_tuning/jobs", "freehold apply"),
        ("/v1/files", "freehold data add"),
        ("/v1/uploads", "freehold data add"),
        ("/v1/evals", "freehold apply"),
        ("/v1/responses/resp_1", "freehold answer"),
        ("/v1/chat/completions/c", "freehold answer"),
        ("/v1/images/generations", "/v1/models"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_lives_elsewhere_says_where(
    site: Site, client: openai.OpenAI, http: httpx.Client, path: str, where: str, method: str
) -> None:
    said = http.request(method, site.url + path, headers={"authorization": f"Bearer {client.api_key}"})
    assert said.status_code == 404
    assert where in said.json()["error"]["message"]


def test_a_key_for_one_service_needs_no_model(site: Site, client: openai.OpenAI, http: httpx.Client) -> None:
    key = site.key(purpose="claims-handling", services=("openai",))
    site.publish()
    headers = {"authorization": f"Bearer {key}"}
    said = http.post(f"{site.url}/v1/moderations", json={"input": "harm"}, headers=headers)
    assert (said.status_code, said.json()["model"]) == (200, "openai")
    many = {"authorization": f"Bearer {client.api_key}"}
    assert http.post(f"{site.url}/v1/moderations", json={"input": "x"}, headers=many).status_code == 400
