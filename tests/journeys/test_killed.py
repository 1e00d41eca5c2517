"""kill -9 of each process at each step of the long stories, in a real installation: they go on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from narrows import Narrows
from started import FREEHOLD

from tests.installation import Installation, wait_for
from tests.journeys.killer import (
    VICTIMS,
    Killer,
    carried_through,
    effects,
    entries,
    persist,
    states,
    steps_of,
)
from tests.journeys.test_deliver import SERVICE

pytestmark = pytest.mark.timeout(1800)

CANARY = SERVICE + "serve: {rollout: [canary 50% 2s, 100%]}\n"
DELIVERED = (
    "service.declared",
    "journey.begun",
    "journey.ended",
    "run.begun",
    "run.ended",
    "model.version",
    "model.state",
    "card.issued",
    "approval.requested",
    "approval.given",
    "release.begun",
    "release.weight",
    "release.ended",
)
"""What a journey leaves in the ledger, whatever died meanwhile; jobs that were queued again may be more."""
FORGOTTEN = (
    "forgetting.asked",
    "forgetting.marked",
    "forgetting.removed",
    "forgetting.destroyed",
    "forgetting.checked",
    "certificate.issued",
)
"""What a forgetting leaves, once each."""
MIDDLE = ("remove", "destroy", "rebuild")


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    installation.add_claims(rows=300, seed=8)
    return installation


@pytest.fixture(autouse=True)
def _patient(claims: Installation) -> Iterator[None]:
    yield
    wait_for(claims.is_reachable, 60, claims.tell)


# -- deliver, retrain -----------------------------------------------------------------------------------


def _played(claims: Installation, service: str) -> Counter[str]:
    """Deliver a service and retrain it; what that left in the ledger."""
    since = entries(claims)
    spec = CANARY.replace("claims-triage", service)
    carried_through(claims, service, "apply", claims.write(f"{service}.yaml", spec))
    carried_through(claims, service, "retrain", service, "--data", "claims@2")
    return effects(claims, since, DELIVERED)


@pytest.fixture(scope="module")
def undisturbed(claims: Installation) -> Counter[str]:
    """What both journeys leave when nobody dies."""
    return _played(claims, "claims-in-peace")


def test_a_delivery_goes_on_when_control_is_killed_at_each_of_its_steps(claims: Installation) -> None:
    """The short form of what follows."""
    since = entries(claims)
    service = "claims-short"
    spec = SERVICE.replace("claims-triage", service).replace("tier: limited", "tier: sandbox")
    with Killer(claims, steps_of(claims, "service", service), "control") as killer:
        carried_through(claims, service, "apply", claims.write("short.yaml", spec))
    left = effects(claims, since, DELIVERED)
    twice = {name for name, count in left.items() if name.startswith("journey.step") and count != 1}
    assert not twice
    assert left["journey.ended"] == left["model.version"] == left["release.begun"] == 1
    assert set(killer.killed) >= {"train", "evaluate", "release"}, killer.killed
    claims.freehold("auditor", "verify")


@pytest.mark.long
@pytest.mark.parametrize("victim", VICTIMS)
def test_both_journeys_go_on_whoever_is_killed_at_whichever_step(
    claims: Installation, undisturbed: Counter[str], victim: str
) -> None:
    service = f"claims-{victim}"
    with Killer(claims, steps_of(claims, "service", service), victim) as killer:
        left = _played(claims, service)
    assert left == undisturbed, "each step's effect is there once"
    at = (
        {*killer.killed, *killer.spared} if victim == "engine" else {*killer.killed}
    )  # engines pause ever longer
    assert at >= {"train", "evaluate", "approve", "canary", "release"}, (killer.killed, killer.spared)
    assert len(killer.killed) >= 5, (killer.killed, killer.spared)
    running = claims.json("operator", "status", service)["running"]
    assert [(one["model"], one["weight"]) for one in running] == [(f"{service}@2", 10_000)]
    claims.freehold("auditor", "verify")


# -- forget ---------------------------------------------------------------------------------------------


def test_a_forgetting_goes_on_when_control_is_killed_in_the_middle_of_it(claims: Installation) -> None:
    """The short form of tests/journeys/test_killed_forgetting.py; the service above learned from them.

    Not at each step: what dies again and again is started again after ever longer pauses.
    """
    since = entries(claims)
    asked = ("forget", "c-7", "--project", "claims", "--request", "DSR-7", "--yes", "--no-wait")
    with Killer(claims, steps_of(claims, "kind", "forget"), "control", MIDDLE) as killer:
        persist(claims, lambda: claims.freehold("privacy", *asked))
        wait_for(lambda: states(claims, "kind", "forget") == ["done"], 120, claims.tell)
    left = effects(claims, since, FORGOTTEN)
    for kind in FORGOTTEN:
        assert left[kind] == 1, left
    for step in ("find", "revoke", "remove", "destroy", "check", "certify"):
        assert left[f"journey.step {step}"] == 1, left
    assert set(killer.killed) >= set(MIDDLE), killer.killed
    shown = claims.freehold("privacy", "subject", "show", "c-7", "--project", "claims")
    assert "in claims@1" not in shown
    claims.freehold("auditor", "verify")


# -- backup ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heavy(claims: Installation) -> Installation:
    """So much to copy that there is a middle to kill it in."""
    for number in range(16):
        piece = bytes([number]) * (3 << 20)
        name = sha256(piece).hexdigest()
        place = claims.home / "control" / "blobs" / name[:2] / name[2:]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(piece)
    return claims


def _copying(claims: Installation, to: Path, control: str) -> subprocess.Popen[str]:
    """`freehold backup` of the control at this address, once some of it has arrived."""
    process = subprocess.Popen(
        [*FREEHOLD, "backup", str(to)],
        env=claims.environment("administrator") | {"FREEHOLD_URL": control},
        cwd=claims.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    partial = to.with_name(to.name + ".partial")
    wait_for(lambda: partial.exists() and partial.stat().st_size > 1 << 20, 60, claims.tell)
    return process


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("victim", ["control", "backup", "supervisor"])
def test_a_backup_that_is_cut_off_leaves_nothing_and_the_next_one_is_whole(
    heavy: Installation, victim: str
) -> None:
    since = entries(heavy)
    to = heavy.folder / f"{victim}.tar"
    with Narrows(heavy.addresses["control"]) as way:
        process = _copying(heavy, to, way.url)
        if victim == "control":
            before = heavy.processes()["control"]["pid"]
            os.kill(before, signal.SIGKILL)
            way.let_on()
            code, said = _ended(process)
            assert code != 0, said
            wait_for(lambda: heavy.processes()["control"]["pid"] not in (before, None), 60, heavy.tell)
            wait_for(heavy.is_reachable, 60, heavy.tell)
        elif victim == "supervisor":
            heavy.kill()
            way.let_on()
            assert _ended(process)[0] != 0
            heavy.start()
        else:
            process.kill()
            process.communicate()
    assert not to.exists()
    control = heavy.home / "control"
    wait_for(lambda: not list(control.glob(".backup-*")), 20, lambda: "copies of rows are left")
    heavy.freehold("administrator", "backup", str(to))
    assert not to.with_name(to.name + ".partial").exists()
    assert effects(heavy, since, ("backup.begun", "backup.made")) == {"backup.begun": 2, "backup.made": 1}
    states_now = Counter(one["state"] for one in heavy.json("administrator", "backup", "--list"))
    assert states_now["begun"] >= 1
