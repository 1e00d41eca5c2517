"""A request for text is read whole; what nothing would act on is refused by its name."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.engines.generation import How
from freehold.engines.wanted import FieldUnusable, NothingActsOn, Wanted, read_chat, read_text

TALK = [{"role": "user", "content": "is it wet?"}]


def chat(**fields: Any) -> Wanted:
    return read_chat({"model": "m", "messages": TALK, **fields})


def text(**fields: Any) -> Wanted:
    return read_text({"model": "m", "prompt": "it is", **fields})


def test_saying_nothing_is_greedy_as_the_model_was_evaluated() -> None:
    assert chat().how == How()
    assert text().how == How()


def test_everything_that_is_acted_on_is_read() -> None:
    wanted = chat(
        max_completion_tokens=7, temperature=0.5, top_p=0.9, seed=-3, stop="END", logprobs=True,
        top_logprobs=2, stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    assert wanted.how == How(
        most_tokens=7, temperature=0.5, top_p=0.9, seed=-3, stop=("END",), alternatives=2
    )
    assert (wanted.stream, wanted.usage) == (True, True)
    assert text(logprobs=0, stop=["a", "b", "a"]).how == How(alternatives=0, stop=("a", "b"))


@pytest.mark.parametrize("read", [chat, text])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2), ("presence_penalty", 0.1), ("frequency_penalty", 1), ("logit_bias", {"1": 5}),
        ("tools", [{"type": "function"}]), ("tool_choice", "auto"), ("store", True),
        ("response_format", {"type": "json_object"}), ("reasoning_effort", "high"), ("top_k", 5),
        ("best_of", 3), ("echo", True), ("suffix", "x"), ("metadata", {"a": "b"}), ("user", "anna"),
    ],
)  # fmt: skip
def test_a_field_that_nothing_acts_on_is_named(read: Any, field: str, value: Any) -> None:
    with pytest.raises(NothingActsOn) as refused:
        read(**{field: value})
    assert f"`{field}`" in refused.value.what
    assert refused.value.param == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 1), ("presence_penalty", 0), ("frequency_penalty", 0.0), ("logit_bias", {}), ("tools", []),
        ("tool_choice", "none"), ("store", False), ("response_format", {"type": "text"}), ("seed", None),
        ("service_tier", "auto"), ("modalities", ["text"]), ("reasoning_effort", None),
    ],
)  # fmt: skip
def test_what_holds_anyway_may_be_said(field: str, value: Any) -> None:
    assert chat(**{field: value}).how == How()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 2.1), ("temperature", "hot"), ("temperature", True), ("temperature", float("nan")),
        ("top_p", -0.1), ("seed", 1.5), ("seed", 2**63), ("max_tokens", 0), ("max_tokens", "9"),
        ("stop", ["a"] * 5), ("stop", [""]), ("stop", "x" * 201), ("stop", [1]), ("stream", "yes"),
        ("stream_options", {"include_usage": True}), ("logprobs", 3), ("top_logprobs", 2),
        ("messages", []), ("messages", "hi"), ("messages", [{"role": "user"}]),
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "assistant", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]),
        ("messages", [{"role": "user", "content": "x", "tool_calls": [{}]}]),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_told_with_its_field(field: str, value: Any) -> None:
    with pytest.raises(FieldUnusable) as refused:
        chat(**{field: value})
    assert refused.value.param == field


@pytest.mark.parametrize("prompt", ["", None, ["a", "b"], [1, 2], 7])
def test_a_prompt_is_one_text(prompt: Any) -> None:
    with pytest.raises(FieldUnusable) as refused:
        text(prompt=prompt)
    assert refused.value.param == "prompt"


def test_both_names_of_the_limit_may_agree_and_not_differ() -> None:
    assert chat(max_tokens=5, max_completion_tokens=5).how.most_tokens == 5
    with pytest.raises(FieldUnusable):
        chat(max_tokens=5, max_completion_tokens=6)


def test_parts_of_a_message_are_put_together() -> None:
    parts = [{"type": "text", "text": "is it"}, {"type": "text", "text": "wet?"}]
    wanted = chat(messages=[{"role": "user", "content": parts}])
    assert wanted.prompt == ({"role": "user", "content": "is it\nwet?"},)


@pytest.mark.parametrize(
    "wanted",
    [
        chat(),
        chat(max_tokens=9, temperature=0.7, top_p=0.5, seed=4, stop=["a", "b"], logprobs=True, stream=True),
        chat(logprobs=True, top_logprobs=3),
        text(),
        text(logprobs=2, seed=0, temperature=1),
    ],
)
def test_a_request_passed_on_says_the_same(wanted: Wanted) -> None:
    again = (read_chat if wanted.chat else read_text)(wanted.as_fields("other"))
    assert (again.prompt, again.how, again.stream) == (wanted.prompt, wanted.how, wanted.stream)
