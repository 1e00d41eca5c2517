"""From a file to a governed answer, with every process running for real."""

from __future__ import annotations

import httpx
import pytest

from tests.journeys.conftest import Installation

SERVICE = """\
service: claims-triage
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: limited
regions: [eu]
model:
  data: claims@1
  task: classify
gates:
  quality: {metric: accuracy, value: 0.80}
approve:
  - role: model-risk
  - role: data-protection
examples:
  - ask: {message: "pipe burst kitchen flooded"}
    expect: {class: water}
"""


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    return installation


def test_a_file_becomes_a_governed_answer(claims: Installation) -> None:
    claims.write("claims.yaml", SERVICE)
    planned = claims.freehold("trainer", "plan", "claims.yaml")
    assert "a new service" in planned
    assert "model-risk: 1 could" in planned

    applied = claims.freehold("trainer", "apply", "claims.yaml", code=7)
    assert "waits for" in applied
    waiting = claims.json("risk", "approve", "list")
    mine = {one["role"]: one["id"] for one in waiting}
    claims.freehold("risk", "approve", "give", mine["model-risk"], "--because", "gates hold")
    claims.freehold("privacy", "approve", "give", mine["data-protection"], "--because", "basis is fine")
    done = claims.freehold("trainer", "apply", "claims.yaml")
    assert "serve     done: it answers" in done

    key = claims.json(
        "administrator", "keys", "create", "--project", "claims", "--purpose", "claims-handling"
    )
    claims.keys["serving"] = key["key_text"]
    asked = httpx.post(
        claims.addresses["gateway"] + "/v1/chat/completions",
        headers={"authorization": f"Bearer {claims.keys['serving']}"},
        json={"model": "claims-triage", "messages": [{"role": "user", "content": "car bumper scratched"}]},
        trust_env=False,
    )
    assert asked.status_code == 200, asked.text
    assert '"motor"' in asked.json()["choices"][0]["message"]["content"]
    assert asked.headers["x-freehold-answer"].startswith("ans_")
    assert "nothing to do" in claims.freehold("trainer", "apply", "claims.yaml")
