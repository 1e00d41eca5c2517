"""A worker and control over HTTP: claimed, fetched, computed within walls, sent back, ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from serving import serving

from freehold.client import Freehold
from freehold.errors import Told
from freehold.jobs import outputs, queue, walls
from freehold.jobs.folder import SUPPOSED
from freehold.jobs.queue import Job, JobInput, JobRequest
from freehold.jobs.steps import Story, begin
from freehold.jobs.worker import Worker
from freehold.spec.ids import digest_bytes
from freehold.spec.principal import SYSTEM
from tests.control.conftest import House


@pytest.fixture
def url(house: House) -> Iterator[str]:
    with serving(house.client("border_jobs").app) as url:
        yield url


@pytest.fixture
def border(house: House, url: str) -> Iterator[Freehold]:
    with Freehold(url, house.parts.home.worker_border.read_text().strip()) as session:
        yield session


def _ask(house: House, **more: Any) -> str:
    asked = {"kind": "train", "spec": {"n": 3}, "inputs": (), "memory": 10**9, "seconds": 30} | more
    with house.parts.ground.db.write() as tx:
        journey = begin(tx, Story(kind="deliver"), by=SYSTEM, project="claims", service=None, spec={})
        return queue.enqueue(tx, by=SYSTEM, journey=journey, step="train", request=JobRequest(**asked))


def _job(house: House, job: str) -> Job:
    with house.parts.ground.db.read() as conn:
        return queue.find(conn, job)


def _worker(border: Freehold, place: Path, body: str, *, namespaces: bool = True) -> Worker:
    code = place / "code"
    code.mkdir()
    lines = dedent(body).strip().replace("\n", "\n    ")
    (code / "entry.py").write_text(f"def main(folder):\n    {lines}\n")
    scratch = place / "scratch"
    scratch.mkdir()
    around = walls.offered() if namespaces else replace(walls.offered(), namespaces=False)
    return Worker(border, scratch, {"train": "entry:main"}, around, code=code)


def test_a_job_is_done_and_what_it_left_is_sealed(house: House, border: Freehold, tmp_path: Path) -> None:
    job = _ask(house)
    worker = _worker(
        border,
        tmp_path,
        """
        (folder.outputs / "model").mkdir()
        (folder.outputs / "model" / "weights.txt").write_text("secret weights")
        return {"n": folder.spec["n"]}
        """,
    )
    assert worker.work_once()
    now = _job(house, job)
    assert now.state == "done"
    assert now.end is not None
    assert now.end.result == {"n": 3}
    assert now.end.machine["walls"]
    assert outputs.read_below(house.parts.ground, now, "model") == {"weights.txt": b"secret weights"}
    everything = b"".join(p.read_bytes() for p in house.parts.home.root.rglob("*") if p.is_file())
    assert b"secret weights" not in everything
    assert list((tmp_path / "scratch").glob("job_*")) == []


def test_a_link_that_a_job_left_is_not_followed(house: House, border: Freehold, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("not for you")
    job = _ask(house)
    body = f"""
        import os
        os.symlink({str(tmp_path / "foreign")!r}, folder.outputs / "link")
        os.symlink({str(tmp_path)!r}, folder.outputs / "folder")
        (folder.outputs / "own").write_text("x")
        return {{}}
    """
    assert _worker(border, tmp_path, body).work_once()
    end = _job(house, job).end
    assert end is not None
    assert set(end.outputs) == {"own"}


def test_a_job_that_fails_says_why_and_leaves_nothing(house: House, border: Freehold, tmp_path: Path) -> None:
    job = _ask(house)
    assert _worker(
        border, tmp_path, "(folder.outputs / 'x').write_text('x')\nraise ValueError('anna')"
    ).work_once()
    now = _job(house, job)
    assert now.state == "failed"
    assert now.end is not None
    assert now.end.failure["code"] == "job-broke"
    assert "anna" not in str(now.end)
    assert now.end.outputs == {}


def test_a_cancelled_job_is_stopped_and_nothing_is_said_of_it(
    house: House, border: Freehold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.jobs.worker.BEAT_EVERY", 0.1)
    job = _ask(house)
    worker = _worker(border, tmp_path, "while True: pass")
    working = threading.Thread(target=worker.work_once)
    working.start()
    _until(lambda: _job(house, job).state == "claimed")
    with house.parts.ground.db.write() as tx:
        queue.cancel(tx, by=SYSTEM, job=job, because="superseded")
    working.join(20)
    assert not working.is_alive()
    assert _job(house, job).state == "cancelled"


def test_a_worker_that_leaves_gives_its_job_back(house: House, border: Freehold, tmp_path: Path) -> None:
    job = _ask(house)
    worker = _worker(border, tmp_path, "while True: pass")
    working = threading.Thread(target=worker.work_once)
    working.start()
    _until(lambda: _job(house, job).state == "claimed")
    worker.stop()
    working.join(20)
    assert _job(house, job).state == "queued"


def test_a_job_sees_only_the_inputs_it_was_given(house: House, border: Freehold) -> None:
    _ask(house, inputs=(JobInput(path="model/a", source="model:mod_x:a"),))
    claimed = border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})["job"]
    assert claimed["inputs"] == [{"path": "model/a"}]  # where it comes from is control's business
    with pytest.raises(Told) as raised:
        border.get(f"/border/jobs/{claimed['id']}/inputs/data.arrow", fence=claimed["fence"])
    assert raised.value.status == 404


def test_an_attempt_is_told_how_often_they_break_off_here(
    house: House, border: Freehold, tmp_path: Path
) -> None:
    job = _ask(house)
    given = border.post("/border/jobs/claim", {"worker": "w-0", "kinds": ["train"]})["job"]
    border.post(f"/border/jobs/{job}/give-back", {"fence": given["fence"]})
    asked = _job(house, job).request
    body = 'return {"breaks_every": str(folder.breaks_every), "spec": folder.spec}'
    assert _worker(border, tmp_path, body).work_once()
    end = _job(house, job).end
    assert end is not None
    assert end.result["spec"] == dict(asked.spec) == {"n": 3}
    assert float(end.result["breaks_every"]) == pytest.approx(SUPPOSED / 2, rel=1e-3)


def test_a_stale_fence_moves_nothing(house: House, border: Freehold) -> None:
    job = _ask(house)
    claimed = border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})["job"]
    stale = claimed["fence"] - 1
    place = f"/border/jobs/{job}"
    body = b"x"
    with pytest.raises(Told) as raised:
        border.send("PUT", f"{place}/outputs/x?fence={stale}&digest={digest_bytes(body)}", body)
    assert raised.value.status == 409
    assert border.post(f"{place}/beat", {"fence": stale})["go_on"] is False
    with pytest.raises(Told):
        border.post(f"{place}/give-back", {"fence": stale})
    assert _job(house, job).state == "claimed"


@pytest.mark.parametrize("path", ["../escape", "a/../../b", ".hidden", "a//b", "ä"])
def test_an_output_with_a_wicked_name_is_refused(house: House, border: Freehold, path: str) -> None:
    job = _ask(house)
    claimed = border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})["job"]
    from urllib.parse import quote

    place = f"/border/jobs/{job}/outputs/{quote(path, safe='')}"
    with pytest.raises(Told) as raised:
        border.send("PUT", f"{place}?fence={claimed['fence']}&digest={digest_bytes(b'x')}", b"x")
    assert raised.value.status in (400, 404)


def test_an_output_that_changed_on_its_way_is_refused(house: House, border: Freehold) -> None:
    job = _ask(house)
    claimed = border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})["job"]
    place = f"/border/jobs/{job}/outputs/x?fence={claimed['fence']}&digest={digest_bytes(b'y')}"
    with pytest.raises(Told) as raised:
        border.send("PUT", place, b"x")
    assert raised.value.code == "changed-on-the-way"


def test_the_gateways_key_gets_no_job(house: House, url: str) -> None:
    _ask(house)
    key = house.parts.home.gateway_border.read_text().strip()
    with Freehold(url, key) as gateway, pytest.raises(Told) as raised:
        gateway.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})
    assert raised.value.status == 403


def test_a_question_for_work_is_answered_when_work_comes_without_looking_meanwhile(
    house: House, border: Freehold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.control.held.UNTOLD", 3600.0)
    looked = _looks(monkeypatch)
    asking, given = _asking(border, looked)
    job = _ask(house)
    asking.join(9)
    assert [one["id"] for one in given] == [job]
    assert len(looked) == 2


def test_a_worker_that_hung_up_is_given_nothing(house: House, border: Freehold, url: str) -> None:
    changes = house.parts.ground.db.changes
    host, _, port = url.removeprefix("http://").partition(":")
    body = b'{"worker": "w-1", "kinds": ["train"], "wait": 10.0}'
    head = (
        f"POST /border/jobs/claim HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {house.parts.home.worker_border.read_text().strip()}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as dying:
        dying.sendall(head.encode() + body)
        _until(lambda: bool(changes._told))

    def noticed() -> bool:
        changes.tell({"jobs"})
        return not changes._told

    _until(noticed)
    job = _ask(house)
    other = border.post("/border/jobs/claim", {"worker": "w-2", "kinds": ["train"], "wait": 10.0})["job"]
    assert other["id"] == job
    assert other["fence"] == 1, "nobody had it before"


def test_control_that_leaves_answers_who_waits_for_work(
    house: House, border: Freehold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.control.held.UNTOLD", 3600.0)
    looked = _looks(monkeypatch)
    asking, given = _asking(border, looked)
    house.parts.leave()
    asking.join(9)
    assert given == [None]


def _asking(border: Freehold, looked: list[str]) -> tuple[threading.Thread, list[Any]]:
    """A worker whose question for work is held open; what it is given."""
    given: list[Any] = []
    asked = {"worker": "w-1", "kinds": ["train"], "wait": 10.0}
    asking = threading.Thread(target=lambda: given.append(border.post("/border/jobs/claim", asked)["job"]))
    asking.start()
    _until(lambda: len(looked) == 1)
    return asking, given


def _looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who looked for work, each time; a look counts when it is over."""
    looked: list[str] = []
    claim = queue.claim

    def counted(*args: Any, worker: str, **named: Any) -> Job | None:
        found = claim(*args, worker=worker, **named)
        looked.append(worker)
        return found

    monkeypatch.setattr(queue, "claim", counted)
    return looked


def _until(true: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# without a namespace of its own, for the first process of one cannot kill itself
GOES_ON = """
import os, signal
before = folder.inputs / "checkpoint" / "state.safetensors"
done = int(before.read_text()) if before.exists() else 0
(folder.checkpoints / ".new").write_text(str(done + 1))
os.replace(folder.checkpoints / ".new", folder.checkpoints / "state.safetensors")
if done + 1 < folder.spec["n"]:
    os.kill(os.getpid(), signal.SIGKILL)
return {"done": done + 1}
"""


def test_a_job_that_is_killed_goes_on_from_its_checkpoint(
    house: House, border: Freehold, tmp_path: Path
) -> None:
    job = _ask(house, spec={"n": 3})
    worker = _worker(border, tmp_path, GOES_ON, namespaces=False)
    for state in ("queued", "queued", "done"):
        assert worker.work_once()
        assert _job(house, job).state == state
        sealed = b"".join(p.read_bytes() for p in (house.parts.home.control / "checkpoints").glob("job_*"))
        assert bool(sealed) == (state == "queued")
        assert sealed not in (b"1", b"2")
    now = _job(house, job)
    assert now.end is not None
    assert now.end.result == {"done": 3}
    assert "checkpoint/state.safetensors" in now.end.inputs


def test_a_job_that_is_killed_three_times_has_failed(house: House, border: Freehold, tmp_path: Path) -> None:
    job = _ask(house, spec={"n": 99})
    worker = _worker(border, tmp_path, GOES_ON, namespaces=False)
    for state in ("queued", "queued", "failed"):
        assert worker.work_once()
        assert _job(house, job).state == state
    assert "memory" in _job(house, job).end.failure["why"]  # type: ignore[union-attr]
    border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})
    assert list((house.parts.home.control / "checkpoints").iterdir()) == []


def test_a_checkpoint_that_does_not_open_is_no_reason_to_stop(
    house: House, border: Freehold, tmp_path: Path
) -> None:
    job = _ask(house, spec={"n": 2})
    body = GOES_ON.replace("if before.exists()", "if before.exists() and before.stat().st_size")
    worker = _worker(border, tmp_path, body, namespaces=False)
    assert worker.work_once()
    (path,) = (house.parts.home.control / "checkpoints").iterdir()
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert worker.work_once()
    assert _job(house, job).state == "queued"
    assert worker.work_once()
    assert _job(house, job).state == "done"


def test_a_checkpoint_is_taken_from_nobody_else(house: House, border: Freehold) -> None:
    job = _ask(house)
    claimed = border.post("/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]})["job"]
    place = f"/border/jobs/{job}/checkpoint"
    with pytest.raises(Told) as raised:
        border.send("PUT", f"{place}?fence={claimed['fence'] - 1}&digest={digest_bytes(b'x')}", b"x")
    assert raised.value.status == 409
    with pytest.raises(Told) as raised:
        border.send("PUT", f"{place}?fence={claimed['fence']}&digest={digest_bytes(b'y')}", b"x")
    assert raised.value.status == 400
    assert not (house.parts.home.control / "checkpoints").exists()


def test_a_job_computes_on_as_many_threads_as_it_asked_for(
    house: House, border: Freehold, tmp_path: Path
) -> None:
    job = _ask(house, spec={"threads": 2})
    worker = _worker(border, tmp_path, 'import os\nreturn {"threads": os.environ["OMP_NUM_THREADS"]}')
    assert worker.work_once()
    end = _job(house, job).end
    assert end is not None
    assert end.result == {"threads": "2"}
    assert end.machine["threads"] == 2
