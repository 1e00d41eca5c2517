"""A whole installation whose spool lies on a disk of its own: full, broken, standing still, and well again.

Nothing is injected: the disk is real (`support/small_disk.py`), and so are its answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from small_disk import SmallDisk

from tests.installation import Installation, wait_for
from tests.journeys.test_deliver import ask
from tests.supervise import test_troubled as troubled

pytestmark = pytest.mark.timeout(240)

MEMORY = 24 << 20
"""Bytes by which the gateway may grow while thousands are refused."""
RECOVERS = 20
"""Seconds."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    folder = tmp_path_factory.mktemp("disk")
    place = folder / "it" / "fh" / "serving" / "spool"
    place.mkdir(parents=True)
    with SmallDisk(folder / "image", place) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def installation(disk: SmallDisk) -> Iterator[Installation]:
    """One whose spool lies on that disk."""
    made = Installation(disk.place.parents[2])
    try:
        yield made.start()
    finally:
        made.stop()


serving = troubled.serving


def failing(disk: SmallDisk, how: str) -> AbstractContextManager[None]:
    return {"full": disk.full, "broken": disk.broken, "still": disk.still}[how]()


def memory(installation: Installation) -> int:
    """Bytes of the gateway that are in memory."""
    status = Path(f"/proc/{installation.processes()['gateway']['pid']}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) << 10


async def many(installation: Installation, count: int) -> list[httpx.Response]:
    """So many at once as a gateway has at a busy time, one after the other."""
    url = installation.addresses["gateway"] + "/v1/chat/completions"
    headers = {"authorization": f"Bearer {installation.keys['serving']}"}
    said = {"model": "claims-triage", "messages": [{"role": "user", "content": "pipe burst " * 100}]}
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers=headers) as http:

        async def one_after_the_other() -> None:
            while len(answers) < count:
                answers.append(await http.post(url, json=said))

        await asyncio.gather(*(one_after_the_other() for _ in range(32)))
    return answers


@pytest.mark.parametrize(
    ("how", "code", "why"),
    [
        ("full", "spool_unwritable", "the disk is full|No space left on device"),
        ("broken", "spool_unwritable", "Input/output error"),
        ("still", "spool_stalled", "the disk does not answer"),
    ],
)
def test_nothing_is_answered_unrecorded_memory_is_flat_and_it_goes_on_by_itself(
    serving: Installation, disk: SmallDisk, how: str, code: str, why: str
) -> None:
    before = ask(serving, "pipe burst")
    assert before.status_code == 200
    with failing(disk, how):
        first = ask(serving, "pipe burst")
        assert (first.status_code, first.json()["error"]["code"]) == (503, code), first.text
        assert re.search(why, first.text), first.text
        asyncio.run(many(serving, 200))  # what it keeps for its callers it has by now
        size = memory(serving)
        asked = asyncio.run(many(serving, 3_000))
        # once a minute a gateway lets go of what control has: on a full disk that is room for a few
        answered = [said for said in asked if said.status_code == 200]
        assert len(answered) < (300 if how == "full" else 1)
        refused = [said for said in asked if said.status_code != 200]
        assert {(said.status_code, said.json()["error"]["code"]) for said in refused} == {(503, code)}
        assert memory(serving) - size < MEMORY
        troubled.says(serving, "nothing can be recorded, so nothing is answered since 20")
    wait_for(lambda: ask(serving, "pipe burst").status_code == 200, RECOVERS, serving.tell)
    after = ask(serving, "car bumper")
    assert after.status_code == 200
    ids = [said.headers["x-freehold-answer"] for said in (before, *answered, after)]
    wait_for(lambda: troubled.recorded(serving, ids), 30, serving.tell)
    wait_for(lambda: troubled.is_well(serving), 30, serving.tell)
    assert serving.processes()["gateway"]["restarts"] == 0
    serving.freehold("auditor", "verify")


def test_what_the_disk_took_is_there_when_nothing_is_left_in_memory(
    serving: Installation, disk: SmallDisk
) -> None:
    """The gateway dies, the disk is taken out and put back: whoever opens the spool finds it whole."""
    answer = ask(serving, "bicycle stolen")
    assert answer.status_code == 200
    serving.kill()
    disk.unmount()
    disk.mount()
    serving.start()
    wait_for(lambda: ask(serving, "bicycle stolen").status_code == 200, 30, serving.tell)
    wait_for(lambda: troubled.recorded(serving, [answer.headers["x-freehold-answer"]]), 30, serving.tell)
    troubled.whole(serving)
