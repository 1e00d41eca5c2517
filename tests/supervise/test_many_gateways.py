"""Several gateways behind one address: one dies and the others go on, all are renewed and nobody notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fake_upstream import listening

from freehold.gateway.counts import Counts
from freehold.gateway.elapsed import elapsed
from freehold.store.home import Home
from tests.installation import Installation, alive, wait_for
from tests.journeys.test_deliver import ask
from tests.support.prometheus import Told, read

CALLERS = 4
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with three gateways and a service that answers."""
    installation = Installation(tmp_path_factory.mktemp("three"))
    installation.home.mkdir(mode=0o700)
    (installation.home / "freehold.yaml").write_text("gateways: 3\nworkers: 0\n")
    with listening("") as upstream:
        installation.start()
        installation.add_people()
        project = ("--project", "claims", "--purpose", "claims-handling")
        for service in ("claims-triage", "echo"):
            limits = ("--region", "eu", "--requests", "1000000/min")
            installation.freehold("administrator", "attach", upstream, "--as", service, *limits, *project)
        made = installation.json("administrator", "keys", "create", *project)
        installation.keys["serving"] = made["key_text"]
        wait_for(lambda: ask(installation, "pipe burst").status_code == 200, 20, installation.tell)
        yield installation
        installation.stop()


def gateways(three: Installation) -> dict[str, int]:
    """Those that run, by name."""
    return {
        name: one["pid"]
        for name, one in three.processes().items()
        if name.startswith("gateway") and one["state"] == "running"
    }


class Asked:
    """What callers were told, each on a connection of its own for every question."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.broken: list[str] = []
        self.refused: list[str] = []


@contextmanager
def asking(three: Installation) -> Iterator[Asked]:
    """Callers that ask on and on while the block runs."""
    asked, over = Asked(), threading.Event()

    def go_on() -> None:
        while not over.is_set():
            try:
                answer = ask(three, "car bumper")
            except httpx.TransportError as error:
                asked.broken.append(repr(error))
                continue
            told = asked.answered if answer.status_code == 200 else asked.refused
            told.append(answer.headers.get("x-freehold-answer", answer.text))

    callers = [threading.Thread(target=go_on) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield asked
    finally:
        over.set()
        for caller in callers:
            caller.join()


def more(asked: Asked, answers: int, three: Installation) -> None:
    """Until so many more were answered."""
    enough = len(asked.answered) + answers
    wait_for(lambda: len(asked.answered) >= enough, 30, three.tell)


def test_there_are_as_many_as_the_file_says(three: Installation) -> None:
    assert sorted(gateways(three)) == ["gateway", "gateway-2", "gateway-3"]
    told = three.json("operator", "status")
    assert {one["name"] for one in told["processes"]} >= set(gateways(three))
    assert len(told["gateways"]) == 3, "control hears of each"


def test_whichever_is_asked_tells_how_long_the_answers_of_all_took(three: Installation) -> None:
    for _ in range(20):
        assert ask(three, "pipe burst").status_code == 200  # each on a connection of its own
    wait_for(lambda: sum(_timed(_metrics(three)).values()) >= 20, 20, three.tell)
    told = _metrics(three)  # one reading: of the others it is what they wrote a second before
    assert _timed(told) == _answered(told)


def _timed(told: Told) -> dict[str, float]:
    """How many answers were timed, by gateway."""
    found = told.histograms.items()
    whole = "freehold_gateway_answer_seconds"
    return {dict(labels)["gateway"]: one.count or 0 for (name, labels), one in found if name == whole}


def _answered(told: Told) -> dict[str, float]:
    """How many were answered, by gateway, of those that answered any."""
    found = told.samples.items()
    ends = ((dict(labels), n) for (name, labels), n in found if name == "freehold_gateway_answers_total")
    return {labels["gateway"]: n for labels, n in ends if labels["ending"] == "answered" and n}


def _metrics(three: Installation) -> Told:
    return read(httpx.get(three.addresses["gateway"] + "/metrics", trust_env=False, timeout=20).text)


def test_what_a_confined_gateway_counts_is_of_this_start_of_the_machine(three: Installation) -> None:
    """Or it would not notice that the machine was off, and money that was written through would come back."""
    assert ask(three, "car bumper").status_code == 200
    counts = Counts(Home(three.home).spend)
    try:
        with counts.rows(("service/claims-triage",)) as (row,):
            assert row.used(int(elapsed()))[0] > 0
    finally:
        counts.close()


def test_a_request_that_is_repeated_gets_the_first_answer_from_whichever_gateway(three: Installation) -> None:
    answers = [_again(three) for _ in range(20)]  # each on a connection of its own
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-freehold-answer"] for answer in answers}) == 1
    assert sum("x-freehold-replayed" not in answer.headers for answer in answers) == 1


def _again(three: Installation) -> httpx.Response:
    said = {"model": "echo", "messages": [{"role": "user", "content": "car bumper"}]}
    headers = {"authorization": f"Bearer {three.keys['serving']}", "idempotency-key": "the same one"}
    url = three.addresses["gateway"] + "/v1/chat/completions"
    return httpx.post(url, headers=headers, json=said, trust_env=False, timeout=20)


def test_one_dies_and_only_what_it_was_answering_breaks(three: Installation) -> None:
    before = gateways(three)
    with asking(three) as asked:
        more(asked, 10, three)
        os.kill(before["gateway-2"], signal.SIGKILL)
        more(asked, 40, three)
        wait_for(lambda: len(gateways(three)) == 3, 30, three.tell)
        more(asked, 10, three)
    assert len(asked.broken) <= CALLERS, "each caller has one question under way"
    assert asked.refused == []
    assert {name for name in before if gateways(three)[name] == before[name]} == {"gateway", "gateway-3"}
    wait_for(lambda: "nothing is wrong" in three.freehold("operator", "status"), 30, three.tell)


def test_all_are_renewed_one_by_one_and_no_request_fails(three: Installation) -> None:
    before = gateways(three)
    with asking(three) as asked:
        more(asked, 10, three)
        os.kill(three.pid, signal.SIGHUP)
        wait_for(lambda: _renewed(three, before), 60, three.tell)
        wait_for(lambda: not any(alive(pid) for pid in before.values()), 60, three.tell)
        more(asked, 10, three)
    assert asked.broken == []
    assert asked.refused == []


def _renewed(three: Installation, before: dict[str, int]) -> bool:
    now = gateways(three)
    return now.keys() == before.keys() and not set(now.values()) & set(before.values())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_memory_is_flat_over_many_requests(three: Installation) -> None:
    _many(three, 40)  # caches, buffers, the allocator's own
    before = {name: own_memory(pid) for name, pid in gateways(three).items()}
    answers = _many(three, 200)
    after = {name: own_memory(pid) for name, pid in gateways(three).items()}
    assert answers > 5_000
    for name, size in after.items():
        assert size < before[name] + (8 << 20), f"{name} grew to {size >> 20} MB in {answers} answers"


def _many(three: Installation, seconds: int) -> int:
    """Ask as fast as it goes; how many were answered."""
    url = three.addresses["gateway"] + "/v1/chat/completions"
    command = [
        sys.executable,
        str(BENCHMARKS / "callers.py"),
        url,
        three.keys["serving"],
        "32",
        str(seconds),
        "1000",
    ]
    done = subprocess.run([*command], capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["answers"])


def own_memory(pid: int) -> int:
    """Bytes that belong to no file."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) << 10
