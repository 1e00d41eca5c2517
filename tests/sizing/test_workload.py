"""A workload as a file says it: what is wrong with one is told in the words of its fields."""

from __future__ import annotations

import pytest

from freehold.sizing.workload import BadWorkload, from_text, known_models

TEXT = "model: {parameters: 8.03e9, layers: 32, kv_heads: 8, head: 128, hidden: 4096}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a list", "no list of"),
        ("serve: {}", "model"),
        (TEXT, "nothing is to be trained or served"),
        (TEXT + "serve: 5", "no list of"),
        (TEXT + "serve: {requests_a_day: 5}", "tokens_in"),
        (TEXT + "serve: {requests_a_day: -5, tokens_in: 1, tokens_out: 1}", "-5 is not between"),
        (TEXT + "serve: {request_a_day: 5}", "did you mean `serve.requests_a_day`?"),
        (
            TEXT + "serve: {requests_a_day: 5, tokens_in: 1, tokens_out: 1, curve: lunch}",
            "flat, office, evening",
        ),
        (
            TEXT + "serve: {requests_a_day: 5, tokens_in: 1, tokens_out: 1, first_token_ms: 2 s}",
            "has the unit s",
        ),
        (TEXT + "train: {method: magic, tokens: 5}", "one of: lora, qlora, full, scratch"),
        (TEXT + "train: {method: lora, tokens: 10 GB}", "a plain number of tokens"),
        (TEXT + "train: {method: lora, tokens: many}", "is no number"),
        (TEXT + "train: {method: lora, tokens: 5}\ncountry: Germany", "two letters"),
        (TEXT + "train: {method: lora, tokens: 5}\nredundancy: 3n", "n, n+1, 2n"),
        ("model: lama-3-8b\ntrain: {method: lora, tokens: 5}", "did you mean `llama-3-8b`?"),
        (
            "model: {parameters: 1e9, layers: 2, kv_heads: 1, head: 8, hidden: 8, active: 2e9}\ntrain: 5",
            "more than",
        ),
        (
            "model: {parameters: 1e9, layers: 2, kv_heads: 1, head: 8, hidden: 8, chosen: 2}\ntrain: 5",
            "of 0 experts",
        ),
    ],
)
def test_a_wrong_workload_is_told(text: str, says: str) -> None:
    with pytest.raises(BadWorkload) as told:
        from_text(text)
    assert says in f"{told.value.what} {told.value.why} {told.value.hint}"
    assert told.value.hint


def test_a_model_is_said_by_its_name_and_a_day_by_its_hours() -> None:
    work = from_text(
        "model: llama-3-8b\n"
        f"serve: {{requests_a_day: 5, tokens_in: 1, tokens_out: 1, curve: {[1] * 12 + [3] * 12}}}\n"
    )
    assert work.model == known_models()["llama-3-8b"]
    assert work.serve is not None
    assert max(work.serve.curve) == pytest.approx(1.5)
