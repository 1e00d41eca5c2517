"""A base model, tuned on data of one's own, through the whole line to a governed answer."""

from __future__ import annotations

import json

import bases
import httpx
import pytest
import tuned

from tests.installation import ALL_WORDS, WORDS, Installation

pytest.importorskip("torch", reason=tuned.NEEDS)

SERVICE = """\
service: claims-triage
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: sandbox
model:
  data: claims@1
  base: tiny@1
  task: classify
  tune: lora
  train: {epochs: 12, batch_size: 8, learning_rate: 0.003, max_length: 32}
gates:
  quality: {metric: accuracy, value: 0.40}
"""


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    folder = bases.encoder(installation.folder / "tiny", [" ".join(ALL_WORDS)] * 3)
    said = installation.freehold("trainer", "base", "add", str(folder), "--project", "claims")
    assert said.startswith("tiny@1 added")
    return installation


def test_a_tuned_base_model_answers_under_the_same_rules(claims: Installation) -> None:
    file = claims.write("claims.yaml", SERVICE)
    planned = claims.freehold("trainer", "plan", file)
    assert "a new service" in planned
    assert "serve     done: it answers" in claims.freehold("trainer", "apply", file)
    made = claims.json(
        "administrator", "keys", "create", "--project", "claims", "--purpose", "claims-handling"
    )
    asked = httpx.post(
        claims.addresses["gateway"] + "/v1/chat/completions",
        headers={"authorization": f"Bearer {made['key_text']}"},
        json={"model": "claims-triage", "messages": [{"role": "user", "content": "pipe burst kitchen"}]},
        trust_env=False,
        timeout=20,
    )
    assert asked.status_code == 200, asked.text
    answer = json.loads(asked.json()["choices"][0]["message"]["content"])
    assert answer["class"] in WORDS
    why = claims.freehold("trainer", "why", asked.headers["x-freehold-answer"])
    assert "claims@1" in why


def test_a_base_that_is_not_there_is_refused_at_plan_time(claims: Installation) -> None:
    file = claims.write("other.yaml", SERVICE.replace("tiny@1", "tiny@9"))
    said = claims.freehold("trainer", "plan", file, code=3)
    assert "tiny@9" in said
