"""A base model tuned to write, through the whole line: evaluated, approved, served, streamed, replaced."""

from __future__ import annotations

import csv
import json
from typing import Any

import httpx
import openai
import pytest
import tuned
import writing

from tests.installation import Installation, wait_for

pytest.importorskip("torch", reason=tuned.NEEDS)

TABLE = writing.letters(60)
SERVICE = """\
service: letters
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: limited
model:
  base: tiny@1
  data: letters@1
  task: generate
  tune: lora
  train: {epochs: 24, learning_rate: 0.003, max_length: 64, max_new_tokens: 8, batch_size: 8}
gates:
  right: {metric: exact_match, value: 0.4}
  calm:  {metric: token_loss, value: 2.0}
approve:
  - role: model-risk
  - role: data-protection
serve: {engine: torch}
"""
QUESTION: list[Any] = [{"role": "user", "content": "about my roof"}]


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    add_letters(installation)
    folder = writing.base(installation.folder / "tiny", TABLE)
    assert "tiny@1 added" in installation.freehold(
        "trainer", "base", "add", str(folder), "--project", "claims"
    )
    made = installation.json(
        "administrator", "keys", "create", "--project", "claims", "--purpose", "claims-handling"
    )
    installation.keys["serving"] = made["key_text"]
    return installation


def add_letters(installation: Installation, **more: list[str]) -> None:
    with (installation.folder / "letters.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow([*TABLE, "customer"])
        for number, row in enumerate(zip(*(TABLE[n] + more.get(n, []) for n in TABLE), strict=True)):
            rows.writerow([*row, f"c-{number}"])
    installation.freehold(
        "trainer", "data", "add", "letters.csv", "--project", "claims", "--purpose", "claims-handling",
        "--basis", "contract", "--sensitivity", "Confidential", "--owner", "claims-team@example.org",
        "--keep", "P3Y", "--region", "eu", "--subject", "customer", "--target", "answer", "--text", "text",
    )  # fmt: skip


def deliver(claims: Installation, *command: str) -> None:
    """Apply or retrain, have it approved by two people, and wait until it answers."""
    journey = claims.json("trainer", *command, "--no-wait")["journey"]["id"]
    wait_for(lambda: how(claims, journey) in ("waiting", "held", "failed"), 200, claims.tell)
    for who, role in (("risk", "model-risk"), ("privacy", "data-protection")):
        waiting = {one["role"]: one["id"] for one in claims.json(who, "approve", "list")}
        claims.freehold(who, "approve", "give", waiting[role], "--because", "it reads well")
    wait_for(lambda: how(claims, journey) in ("done", "held", "failed"), 200, claims.tell)
    assert how(claims, journey) == "done", claims.tell()


def how(claims: Installation, journey: str) -> str:
    signed = {"authorization": f"Bearer {claims.keys['trainer']}"}
    url = f"{claims.addresses['control']}/api/journeys/{journey}"
    return str(httpx.get(url, headers=signed, trust_env=False, timeout=20).json()["state"])


def client(claims: Installation) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=claims.addresses["gateway"] + "/v1", api_key=claims.keys["serving"], max_retries=0
    )


def test_what_was_tuned_to_write_answers_the_stock_client(claims: Installation) -> None:
    file = claims.write("letters.yaml", SERVICE)
    assert "a new service" in claims.freehold("trainer", "plan", file)
    deliver(claims, "apply", file)
    with client(claims) as ask:
        whole = ask.chat.completions.create(model="letters", messages=QUESTION)
        said = whole.choices[0].message.content
        assert said.endswith(" desk")
        assert whole.choices[0].finish_reason == "stop"
        chunks = list(ask.chat.completions.create(model="letters", messages=QUESTION, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == said
        assert len(chunks) > 2
        going_on = {"model": "letters", "prompt": "about my", "max_tokens": 4}
        at_once = ask.completions.create(**going_on).choices[0]
        went_on = [c.choices[0] for c in ask.completions.create(**going_on, stream=True)]
        assert "".join(choice.text for choice in went_on) == at_once.text
        assert went_on[-1].finish_reason == at_once.finish_reason
        raw = ask.chat.completions.with_raw_response.create(model="letters", messages=QUESTION)
    answer = raw.headers["x-freehold-answer"]
    why = claims.freehold("trainer", "why", answer)
    assert "letters@1" in why
    assert "tiny@1" in why
    assert said in claims.freehold("trainer", "ask", "letters", "about my roof")


def test_the_card_has_figures_probes_and_no_answer_of_anybody(claims: Installation) -> None:
    run = next(one for one in claims.json("trainer", "runs", "list") if one["kind"] == "evaluate")
    shown = claims.json("trainer", "runs", "card", card_of(claims, run["run"]))["card"]
    assert {gate["name"]: gate["passed"] for gate in shown["gates"]} == {"right": True, "calm": True}
    assert len(shown["parity"]["probes"]) >= 8
    assert set(shown["parity"]["parts"]) == {
        "engine", "weights", "adapter", "template", "tokenizer", "end token"
    }  # fmt: skip
    assert "storm desk" not in json.dumps(shown)


def card_of(claims: Installation, run: str) -> str:
    return str(claims.json("trainer", "runs", "show", run)["card"])


def test_new_data_is_measured_beside_the_live_writer_and_takes_over_on_the_same_process(
    claims: Installation,
) -> None:
    before = engines(claims)
    add_letters(claims, text=["the roof again"] * 5, answer=["storm desk"] * 5)
    deliver(claims, "retrain", "letters", "--data", "letters@2")
    assert engines(claims) == before  # one process a base, whoever is served on it
    with client(claims) as ask:
        whole = ask.chat.completions.create(model="letters", messages=QUESTION)
        assert whole.choices[0].message.content.endswith(" desk")


def engines(claims: Installation) -> dict[str, int]:
    return {name: one["pid"] for name, one in claims.processes().items() if name.startswith("engine of base")}
