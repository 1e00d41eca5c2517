"""Text from a model of ours: the stock client's words in, its words out, each answer on the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from freehold.engines.generation import Broke, Ended, GeneratorBusy, How, Message, Tell, Token, Written
from freehold.engines.text_app import TextApp
from freehold.errors import Unavailable
from tests.gateway.conftest import Site, writer

ASKED: list[Any] = [{"role": "user", "content": "water in the kitchen"}]


@pytest.fixture
def key(site: Site) -> str:
    """A key with a default purpose; `letters` writes, `triage` classifies."""
    key = site.key(purpose="claims-handling")
    site.writes()
    site.own()
    site.publish()
    site.up()
    return key


@pytest.fixture
def client(site: Site, key: str) -> Any:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def post(site: Site, key: str, path: str = "chat/completions", **fields: Any) -> httpx.Response:
    said = {"model": "letters", **({"messages": ASKED} if path.startswith("chat") else {}), **fields}
    return httpx.post(
        f"{site.url}/v1/{path}", json=said, headers={"authorization": f"Bearer {key}"}, trust_env=False
    )


def test_the_stock_client_gets_an_answer_and_the_record_has_its_tokens(site: Site, client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(model="letters", messages=ASKED, max_tokens=9)
    said = raw.parse()
    answer = raw.headers["x-freehold-answer"]
    assert said.choices[0].message.content
    assert (said.model, said.id) == ("letters", f"chatcmpl-{answer.removeprefix('ans_')}")
    assert said.choices[0].finish_reason == "length"
    assert said.usage.completion_tokens == 9
    assert said.system_fingerprint.startswith("fp_")
    close = site.closed(answer).close
    assert (close.ending, close.tokens_in, close.tokens_out) == ("answered", said.usage.prompt_tokens, 9)
    assert not close.estimated


def test_a_stream_is_the_same_answer_in_pieces(site: Site, client: Any) -> None:
    whole = client.chat.completions.create(model="letters", messages=ASKED)
    chunks = list(client.chat.completions.create(model="letters", messages=ASKED, stream=True))
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert told == whole.choices[0].message.content
    assert len(chunks) > 5
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert "\ufffd" not in told


def test_usage_comes_last_in_a_stream_when_it_is_asked_for_and_is_recorded_anyway(
    site: Site, key: str, client: Any
) -> None:
    asked = {"model": "letters", "messages": ASKED, "stream": True}
    with_usage = list(client.chat.completions.create(**asked, stream_options={"include_usage": True}))
    assert with_usage[-1].choices == []
    without = post(site, key, stream=True)
    assert "usage" not in without.text
    close = site.closed(without.headers["x-freehold-answer"]).close
    assert close.tokens_out == with_usage[-1].usage.completion_tokens
    assert not close.estimated


def test_a_text_is_gone_on_from_whole_and_streamed(client: Any) -> None:
    whole = client.completions.create(model="letters", prompt="the water", logprobs=1)
    assert whole.object == "text_completion"
    assert len(whole.choices[0].logprobs.tokens) == len(whole.choices[0].logprobs.text_offset)
    chunks = client.completions.create(model="letters", prompt="the water", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_log_probabilities_have_the_clients_shape(client: Any) -> None:
    said = client.chat.completions.create(model="letters", messages=ASKED, logprobs=True, top_logprobs=2)
    told = said.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in told).decode() == said.choices[0].message.content
    assert all(len(token.top_logprobs) == 2 and token.logprob < 0 for token in told)
    plain = client.chat.completions.create(model="letters", messages=ASKED)
    assert plain.choices[0].logprobs is None


def test_stop_and_seed_reach_the_engine(client: Any) -> None:
    whole = client.chat.completions.create(model="letters", messages=ASKED).choices[0].message.content
    stop = whole[8:11]
    cut = client.chat.completions.create(model="letters", messages=ASKED, stop=[stop])
    assert cut.choices[0].message.content == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    drawn = [
        client.chat.completions.create(model="letters", messages=ASKED, temperature=1, seed=seed)
        for seed in (4, 4, 5)
    ]
    one, again, other = (said.choices[0].message.content for said in drawn)
    assert one == again != other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]), ("n", 2), ("logit_bias", {"1": 2}),
        ("response_format", {"type": "json_object"}), ("top_k", 4), ("presence_penalty", 1),
        ("temperature", 3), ("max_tokens", 0), ("stop", [""]), ("messages", []),
    ],
)  # fmt: skip
def test_a_field_that_nothing_acts_on_or_that_is_wrong_is_refused_by_name(
    site: Site, key: str, field: str, value: Any
) -> None:
    answer = post(site, key, **{field: value})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == field
    close = site.closed(answer.headers["x-freehold-answer"]).close
    assert (close.ending, close.tokens_out) == ("denied", 0)


def test_a_prompt_the_model_cannot_read_is_told_in_the_engines_words(site: Site, key: str) -> None:
    answer = post(site, key, messages=[{"role": "user", "content": "x" * 5000}])
    assert answer.status_code == 400
    assert "the model reads 512" in answer.json()["error"]["message"]
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "failed"


def test_what_is_asked_another_way_is_told_where(site: Site, key: str) -> None:
    signed = {"authorization": f"Bearer {key}"}
    tensors = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
    with httpx.Client(base_url=site.url, headers=signed, trust_env=False) as http:
        by_tensors = http.post("/v2/models/letters/infer", json=tensors)
        as_text = http.post("/v1/completions", json={"model": "triage", "prompt": "x"})
        about = http.get("/v2/models/letters").json()
    for answer in (by_tensors, as_text):
        assert answer.status_code == 400
        assert "/v1/chat/completions" in answer.text
    assert (about["inputs"], about["outputs"]) == ([], [])


def test_the_engine_hears_what_it_acts_on_and_not_about_whom(site: Site, key: str) -> None:
    heard: list[dict[str, Any]] = []

    async def spy(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            heard.append({"headers": scope["headers"], "body": json.loads((await receive())["body"])})
        status = 200 if scope["method"] == "GET" else 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    site.writes("spied", spy)
    site.publish()
    metadata = {"purpose": "claims-handling", "subject": "anna.kowalska"}
    answer = post(site, key, model="spied", metadata=metadata, user="u-7", temperature=0)
    assert answer.status_code == 502
    assert set(heard[0]["body"]) == {"model", "stream", "temperature", "top_p", "stop", "messages"}
    assert "kowalska" not in str(heard)
    assert heard[0]["body"]["model"].startswith("sha256:")


def test_an_answer_asked_for_twice_under_one_key_is_given_again(site: Site, key: str) -> None:
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "k-1"}
    said = {"model": "letters", "messages": ASKED, "stream": True, "temperature": 1.0}
    first, again = (
        httpx.post(f"{site.url}/v1/chat/completions", json=said, headers=headers, trust_env=False)
        for _ in range(2)
    )
    assert again.headers["x-freehold-replayed"] == "true"
    assert again.text == first.text


class Slow:
    """Writes a word, then waits until it is told that nobody listens."""

    ready = True

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Any:
        tell(Written(text="so ", tokens=(Token(id=1, raw=b"so "),)))
        return self

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        """Nothing to give back."""


class Breaking(Slow):
    """Breaks after a word."""

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Any:
        tell(Written(text="so "))
        tell(Broke(failure=Unavailable(what="broken")))
        return self


class Full(Slow):
    """Takes nobody."""

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Any:
        raise GeneratorBusy(why="many wait already")


def served(site: Site, generator: Any) -> None:
    site.writes("slow", TextApp(writer("slow"), generator))
    site.publish()


def test_when_the_caller_hangs_up_the_engine_stops_writing_and_it_is_recorded(site: Site, key: str) -> None:
    slow = Slow()
    served(site, slow)
    with (
        httpx.Client(trust_env=False, timeout=10) as http,
        http.stream(
            "POST",
            f"{site.url}/v1/chat/completions",
            json={"model": "slow", "messages": ASKED, "stream": True},
            headers={"authorization": f"Bearer {key}"},
        ) as stream,
    ):
        answer = stream.headers["x-freehold-answer"]
        assert "so " in next(line for line in stream.iter_lines() if "content" in line and "so " in line)
    ended = site.closed(answer)
    assert (ended.close.ending, ended.close.status) == ("cut off", 499)
    assert "so " in site.words(ended).response.decode()
    assert slow.cancelled.wait(10)


class Patient(Slow):
    """Writes a word, and the last one when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.tells = threading.Event(), []  # type: ignore[var-annotated]

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Any:
        tell(Written(text="so ", tokens=(Token(id=1, raw=b"so "),)))
        self.tells.append(tell)
        self.begun.set()
        return self

    def end(self) -> None:
        for tell in self.tells:
            tell(Written(text="it is", tokens=(Token(id=2, raw=b"it is"),)))
            tell(Ended(finish="stop", prompt_tokens=3, tokens=2))


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_under_way_when_another_version_takes_over_is_answered_to_its_end(
    site: Site, key: str, stream: bool
) -> None:
    patient = Patient()
    served(site, patient)
    with ThreadPoolExecutor() as callers:
        under_way = callers.submit(post, site, key, model="slow", stream=stream)
        assert patient.begun.wait(10)
        before = site.services["slow"].routes[0].target.serving_digest
        site.change("slow", routes=site.services["letters"].routes)
        site.publish()
        site.control.wait(lambda: before not in site.control.reports[-1]["engines"])
        assert "so it is" not in post(site, key, model="slow").text
        patient.end()
        answer = under_way.result(20)
    assert answer.status_code == 200, answer.text
    assert "it is" in answer.text
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "answered"


def test_an_engine_that_breaks_in_mid_answer_leaves_no_whole_answer(site: Site, key: str) -> None:
    served(site, Breaking())
    answer = post(site, key, model="slow", stream=True)
    assert "[DONE]" not in answer.text
    assert '"error"' in answer.text.splitlines()[-2]
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "failed"


def test_a_full_engine_says_when_to_come_back(site: Site, key: str) -> None:
    served(site, Full())
    answer = post(site, key, model="slow")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "failed"


def test_a_service_in_the_sandbox_marks_its_text_too(site: Site, key: str) -> None:
    site.change("letters", tier="sandbox")
    site.publish()
    assert post(site, key).headers["x-freehold-tier"] == "sandbox"
