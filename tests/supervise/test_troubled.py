"""A whole installation in trouble: its disk refuses, its control stands still. It says so, loses nothing,
and goes on by itself."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from postgres_server import embedded
from started import module

from tests.installation import Installation, wait_for
from tests.journeys.killer import rows
from tests.journeys.test_deliver import ask


@pytest.fixture(scope="module")
def serving(installation: Installation) -> Iterator[Installation]:
    """An installation with an attached service that answers."""
    installation.add_people()
    command = [*module("freehold.engines.upstream_fake"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout
        url = provider.stdout.readline().split()[-1]
        project = ("--project", "claims", "--purpose", "claims-handling")
        installation.freehold(
            "administrator", "attach", url, "--as", "claims-triage", "--region", "eu", *project
        )
        made = installation.json("administrator", "keys", "create", *project)
        installation.keys["serving"] = made["key_text"]
        wait_for(lambda: ask(installation, "pipe burst").status_code == 200, 20, installation.tell)
        yield installation
        provider.kill()


@contextmanager
def refused_by_the_disk(installation: Installation, part: str) -> Iterator[None]:
    """The kernel takes no more bytes of this process for any file, as when the disk is full."""
    pid = installation.processes()[part]["pid"]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def status(installation: Installation) -> str:
    return installation.freehold("operator", "status")


def is_well(installation: Installation) -> bool:
    return "nothing is wrong" in status(installation)


def says(installation: Installation, trouble: str) -> str:
    """What status tells once this trouble is among what it tells."""
    told = ""

    def is_told() -> bool:
        nonlocal told
        told = status(installation)
        return trouble in told

    wait_for(is_told, 30, installation.tell)
    return told


def recorded(installation: Installation, answers: list[str]) -> bool:
    """Whether control has all of these, as answered."""
    marks = ", ".join("?" * len(answers))
    query = f"SELECT ending FROM answers WHERE id IN ({marks})"
    return rows(installation, query, *answers) == [("answered",)] * len(answers)


def whole(installation: Installation) -> None:
    """No gap, no alarm, and the ledger verifies."""
    alarms = "SELECT kind FROM entries WHERE kind LIKE 'spool.%' OR kind = 'answer.amended'"
    assert rows(installation, alarms) == []
    installation.freehold("auditor", "verify")


def test_a_spool_that_cannot_be_written_answers_nothing_and_status_says_what_to_do(
    serving: Installation,
) -> None:
    with refused_by_the_disk(serving, "gateway"):
        for _ in range(3):
            said = ask(serving, "pipe burst")
            assert (said.status_code, said.json()["error"]["code"]) == (503, "spool_unwritable")
            assert "x-freehold-answer" not in said.headers, "there is nothing to look for"
        told = says(serving, "nothing can be recorded, so nothing is answered since 20")
        assert "nothing is lost: what was acknowledged is on disk, requests get 503" in told
        assert "free space or repair the disk of the serving folder; it goes on by itself" in told
    answer = ask(serving, "pipe burst")
    assert answer.status_code == 200
    wait_for(lambda: is_well(serving), 20, serving.tell)
    wait_for(lambda: recorded(serving, [answer.headers["x-freehold-answer"]]), 20, serving.tell)
    whole(serving)


@embedded
def test_a_database_that_cannot_be_written_costs_no_answer_and_catches_up_without_a_gap(
    serving: Installation,
) -> None:
    with refused_by_the_disk(serving, "control"):
        answers = [ask(serving, "car bumper") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        told = says(serving, "no records of answers are taken in since 20")
        assert "nothing is lost: gateways answer on, and their records wait in their spools" in told
    ids = [answer.headers["x-freehold-answer"] for answer in answers]
    wait_for(lambda: recorded(serving, ids), 30, serving.tell)
    wait_for(lambda: is_well(serving), 30, serving.tell)
    whole(serving)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_control_that_stands_still_is_told_and_caught_up_with(serving: Installation) -> None:
    """The real thing, as long as it takes to be told; ten minutes of it: tests/gateway/test_records.py."""
    control = serving.processes()["control"]["pid"]
    gateway = serving.addresses["gateway"]
    ids: list[str] = []
    os.kill(control, signal.SIGSTOP)
    try:
        until = time.monotonic() + 25
        troubles: list[str] = []
        while "control" not in troubles and time.monotonic() < until:
            answer = ask(serving, "bicycle stolen")
            assert answer.status_code == 200
            ids.append(answer.headers["x-freehold-answer"])
            told = httpx.get(f"{gateway}/status", trust_env=False).json()
            troubles = [trouble["part"] for trouble in told["troubles"]]
            time.sleep(0.1)
        assert "control" in troubles
    finally:
        os.kill(control, signal.SIGCONT)
    wait_for(lambda: recorded(serving, ids), 30, serving.tell)
    wait_for(lambda: is_well(serving), 30, serving.tell)
    whole(serving)
