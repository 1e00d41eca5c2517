"""An A/B test with every process running for real: who came to an arm stays, whichever gateway answers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.installation import Installation, wait_for
from tests.journeys.test_deliver import SERVICE, deliver
from tests.journeys.test_retrain import ask, asking, release_of
from tests.supervise.test_many_gateways import _renewed, gateways

TEST = SERVICE + "serve: {rollout: [ab 50% 4s, 100%]}\n"
PEOPLE = [f"person-{n}" for n in range(24)]


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A live service behind two gateways."""
    made = Installation(tmp_path_factory.mktemp("ab"))
    made.home.mkdir(mode=0o700)
    (made.home / "freehold.yaml").write_text("gateways: 2\n")
    made.start()
    made.add_people()
    made.add_claims()
    deliver(made, TEST)
    yield made
    made.stop()


def arms(claims: Installation) -> dict[str, str]:
    """The release that each of them gets: asked once each, by whichever gateway takes the connection."""
    with ThreadPoolExecutor(8) as callers:
        answers = dict(zip(PEOPLE, callers.map(lambda person: ask(claims, person), PEOPLE), strict=True))
    return {person: release_of(claims, answer) for person, answer in answers.items()}


def why(claims: Installation, answer: str) -> str:
    """What stands behind an answer, in the words of its first line."""
    told = httpx.get(
        f"{claims.addresses['control']}/api/why/{answer}",
        headers={"authorization": f"Bearer {claims.keys['auditor']}"},
        trust_env=False,
        timeout=20,
    )
    return str(told.json()["label"])


def test_everybody_keeps_their_arm_and_what_cannot_be_judged_waits_for_people(claims: Installation) -> None:
    claims.add_claims(rows=300, seed=8)
    planned = claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2", "--plan")
    assert "ab       give it its share of a test   ab 50% 4s" in planned
    assert "canary" not in planned
    claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2", code=7)
    for who in ("risk", "privacy"):
        claims.freehold(who, "approve", "give", "claims-triage")

    def is_over() -> bool:
        return "not to be judged" in claims.freehold("operator", "status", "claims-triage")

    with asking(claims) as asked:  # one person alone: too few to judge
        wait_for(is_over, 60, claims.tell)
    said = claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2", code=7)
    assert "too few to say more" in said
    assert "waits for model-risk and data-protection" in said
    running = claims.json("operator", "status", "claims-triage")["running"]
    assert {one["state"]: one["weight"] for one in running} == {"live": 5_000, "ab": 5_000}

    first = arms(claims)
    assert min(Counter(first.values()).values()) > 1, "some came to each"
    assert len(set(first.values())) == 2
    assert arms(claims) == first
    before = gateways(claims)
    assert len(before) == 2
    os.kill(claims.pid, signal.SIGHUP)
    wait_for(lambda: _renewed(claims, before), 60, claims.tell)
    assert arms(claims) == first, "other processes draw the same"

    said = {why(claims, answer).partition(" · ")[2] for answer in asked}
    assert len(said & {"arm A of an A/B test", "arm B of an A/B test"}) == 1, "one person, one arm"
    shown = claims.freehold("risk", "approve", "show", "claims-triage")
    assert "judged    A/B test, " in shown
    for who in ("risk", "privacy"):
        claims.freehold(who, "approve", "give", "claims-triage")
    claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2")
    status = claims.json("operator", "status", "claims-triage")
    assert [one["model"] for one in status["running"]] == ["claims-triage@2"]
    assert status["abtest"]["verdict"] == "not to be judged"
    claims.freehold("auditor", "verify")
