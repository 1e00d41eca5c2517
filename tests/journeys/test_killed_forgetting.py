"""kill -9 of each process at each step of forgetting a person: it goes on, and nothing of them is left.

Each victim has a person of their own, whose words stand nowhere else. The model that answers learned from
all of them, so that each forgetting revokes it, makes it anew, and has it approved and released again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.installation import Installation, messages, wait_for
from tests.journeys.killer import (
    VICTIMS,
    Killer,
    approve,
    carried_through,
    effects,
    entries,
    persist,
    rows,
    states,
    steps_of,
)
from tests.journeys.test_deliver import SERVICE
from tests.journeys.test_forget import found_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

NAME = "claims-triage"
KINDS = (
    "forgetting.asked",
    "forgetting.marked",
    "forgetting.removed",
    "forgetting.destroyed",
    "forgetting.checked",
    "certificate.issued",
    "journey.begun",
    "journey.ended",
    "run.begun",
    "run.ended",
    "model.version",
    "card.issued",
    "approval.requested",
    "approval.given",
    "release.begun",
    "release.ended",
)
PEACE = "nobody"


def _person(victim: str) -> str:
    return f"{victim}-qvxz-kowalska"


def _marker(victim: str) -> str:
    return f"wjqkrow{victim}"


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    """A service whose model learned from six people with words of their own."""
    installation.add_people()
    planted = "".join(
        f"pipe burst kitchen {_marker(victim)} leak,water,{_person(victim)},40-69\n" * 2
        for victim in (PEACE, *VICTIMS)
    )
    installation.write("claims.csv", messages(240, 7) + planted)
    installation.freehold(
        "trainer", "data", "add", "claims.csv", "--project", "claims", "--purpose", "claims-handling",
        "--basis", "contract", "--sensitivity", "Confidential", "--owner", "claims-team@example.org",
        "--keep", "P3Y", "--region", "eu", "--subject", "customer", "--target", "class", "--text", "message",
    )  # fmt: skip
    carried_through(installation, NAME, "apply", installation.write("claims.yaml", SERVICE))
    return installation


@pytest.fixture(autouse=True)
def _patient(claims: Installation) -> Iterator[None]:
    yield
    wait_for(claims.is_reachable, 60, claims.tell)


def _forgotten(claims: Installation, victim: str) -> Counter[str]:
    """Have the person of this victim forgotten, the rebuilt model released; what that left."""
    since, before = entries(claims), len(states(claims, "kind", "rebuild"))
    asked = ("forget", _person(victim), "--project", "claims", "--request", f"DSR-{victim}", "--yes")
    persist(claims, lambda: claims.freehold("privacy", *asked, "--no-wait"))
    deadline = time.monotonic() + 300
    while not _over(claims, before):
        assert time.monotonic() < deadline, claims.tell()
        approve(claims, NAME)
        time.sleep(0.1)
    return effects(claims, since, KINDS)


def _over(claims: Installation, before: int) -> bool:
    rebuilt = states(claims, "kind", "rebuild")[before:]
    return set(states(claims, "kind", "forget")) == {"done"} and rebuilt == ["done"]


@pytest.fixture(scope="module")
def undisturbed(claims: Installation) -> Counter[str]:
    return _forgotten(claims, PEACE)


@pytest.mark.parametrize("victim", VICTIMS)
def test_it_goes_on_whoever_is_killed_at_whichever_step(
    claims: Installation, undisturbed: Counter[str], victim: str
) -> None:
    with Killer(claims, steps_of(claims, "kind", "forget", "rebuild"), victim) as killer:
        left = _forgotten(claims, victim)
    assert left == undisturbed, "each step's effect is there once"
    assert killer.killed, "somebody was killed"
    assert found_in(claims.home, (_marker(victim), _person(victim))) == []
    (certificate,) = rows(
        claims,
        "SELECT journeys.id FROM journeys JOIN forgettings ON journey = journeys.id WHERE request = ?",
        f"DSR-{victim}",
    )
    assert certificate
    running = claims.json("operator", "status", NAME)["running"]
    assert [one["weight"] for one in running] == [10_000]
    claims.freehold("auditor", "verify")
