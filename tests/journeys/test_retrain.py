"""New data for a live service, with every process running for real: retrain, canary, all of it, back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx
import pytest

from tests.installation import Installation, wait_for
from tests.journeys.killer import rows
from tests.journeys.test_deliver import SERVICE, deliver

CANARY = SERVICE + "serve: {rollout: [shadow 3s, canary 50% 8s, 100%]}\n"


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    deliver(installation, CANARY)
    return installation


def ask(claims: Installation, person: str) -> str:
    """Ask about somebody; the answer's id."""
    asked = httpx.post(
        claims.addresses["gateway"] + "/v1/chat/completions",
        headers={"authorization": f"Bearer {claims.keys['serving']}", "x-freehold-subject": person},
        json={"model": "claims-triage", "messages": [{"role": "user", "content": "car bumper scratched"}]},
        trust_env=False,
        timeout=20,
    )
    assert asked.status_code == 200, asked.text
    return str(asked.headers["x-freehold-answer"])


@contextmanager
def asking(claims: Installation) -> Iterator[list[str]]:
    """One person asks again and again while the block runs; the answers' ids."""
    over, asked = Event(), list[str]()

    def ask_on() -> None:
        while not over.wait(0.1):
            asked.append(ask(claims, "person-1"))

    with ThreadPoolExecutor(1) as caller:
        done = caller.submit(ask_on)
        try:
            yield asked
        finally:
            over.set()
            done.result(20)


def release_of(claims: Installation, answer: str) -> str:
    told = httpx.get(
        f"{claims.addresses['control']}/api/answers/{answer}",
        headers={"authorization": f"Bearer {claims.keys['auditor']}"},
        trust_env=False,
    )
    return str(told.json()["release"])


def at_half(claims: Installation) -> bool:
    """Whether the canary answers; without a process, which would take a part of its time."""
    return ("canary at 50 %",) in rows(claims, "SELECT because FROM steps WHERE name = 'watch'")


def test_new_data_goes_to_a_shadow_to_a_canary_then_to_all_and_back(claims: Installation) -> None:
    claims.add_claims(rows=300, seed=8)
    planned = claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2", "--plan")
    assert "claims-triage@1: the candidate is held when it is worse" in planned
    claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2", code=7)
    for who in ("risk", "privacy"):
        claims.freehold(who, "approve", "give", "claims-triage")

    with asking(claims):
        wait_for(lambda: at_half(claims), 60, claims.tell)
    people = [f"person-{n}" for n in range(20)]
    with ThreadPoolExecutor(9) as callers:  # at once, for the canary lasts eight seconds
        status = callers.submit(claims.freehold, "operator", "status", "claims-triage")
        twice = callers.map(lambda person: [ask(claims, person) for _ in range(2)], people)
        answers = dict(zip(people, twice, strict=True))
        assert "canary at 50 %" in status.result()
    again = claims.freehold("trainer", "retrain", "claims-triage", "--data", "claims@2")
    told = re.search(r"compare   done: 0 of (\d+) answers of the shadow failed.*; (\d+) of (\d+)", again)
    assert told, again
    assert int(told[1]) > 0
    assert 0 < int(told[2]) <= int(told[3])
    assert "watch     done: 0 of" in again
    assert "serve     done: it answers" in again

    by_person = {p: {release_of(claims, a) for a in two} for p, two in answers.items()}
    assert {len(releases) for releases in by_person.values()} == {1}, "each person kept their release"
    assert min(Counter(next(iter(r)) for r in by_person.values()).values()) > 1

    assert claims.json("operator", "status", "claims-triage")["running"][0]["model"] == "claims-triage@2"
    claims.freehold("operator", "rollback", "claims-triage", "--because", "slower")
    assert claims.json("operator", "status", "claims-triage")["running"][0]["model"] == "claims-triage@1"
    claims.freehold("auditor", "verify")


def test_a_changed_file_is_measured_beside_the_live_model_too(claims: Installation) -> None:
    # of the larger version some rows are left that neither learned from, whatever was held back here
    other = CANARY.replace("task: classify", "task: classify\n  train: {seed: 11}").replace(
        "claims@1", "claims@2"
    )
    submit = ("apply", claims.write("other.yaml", other), "--against-live")
    claims.freehold("trainer", *submit, "--until", "evaluated")
    newest = claims.json("trainer", "runs", "list")[0]["run"]
    card = claims.freehold("trainer", "runs", "card", claims.json("trainer", "runs", "show", newest)["card"])
    assert " rows, the same for both" in card
    assert "difference " in card
