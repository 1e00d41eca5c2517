"""The queue: claimed once, fenced, taken back from the dead, ended once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from freehold.jobs import breakdowns, queue
from freehold.jobs.folder import SUPPOSED
from freehold.jobs.queue import FenceLost, Job, JobEnd, JobInput, JobRequest
from freehold.jobs.steps import Story, begin
from freehold.spec.principal import SYSTEM
from freehold.store.rows import Database
from freehold.store.tables import entries

REQUEST = JobRequest(
    kind="train",
    spec={"rate": "0.5", "seed": 7},
    inputs=(JobInput(path="data.arrow", source="data:dv_1:claims"),),
    memory=1_000_000_000,
    seconds=60,
)
WORKER = SYSTEM


def _queued(db: Database) -> str:
    with db.write() as tx:
        journey = begin(tx, Story(kind="deliver"), by=SYSTEM, project="claims", service=None, spec={})
        return queue.enqueue(tx, by=SYSTEM, journey=journey, step="train", request=REQUEST)


def _claim(db: Database, worker: str = "w-1") -> Job:
    claimed = queue.claim(db, by=WORKER, worker=worker, kinds=["train"])
    assert claimed is not None
    return claimed


def _find(db: Database, job: str) -> Job:
    with db.read() as conn:
        return queue.find(conn, job)


def _end(db: Database, job: str, fence: int, state: str = "done") -> None:
    with db.write() as tx:
        queue.end(tx, by=WORKER, job=job, fence=fence, end=JobEnd(state=state, result={"auc": "0.9"}))


def test_a_request_comes_back_as_it_was_asked(db: Database) -> None:
    assert _find(db, _queued(db)).request == REQUEST


def test_asking_twice_for_the_same_step_is_asking_once(db: Database) -> None:
    job = _queued(db)
    with db.write() as tx:
        journey = queue.find(tx.connection, job).journey
        assert queue.enqueue(tx, by=SYSTEM, journey=journey, step="train", request=REQUEST) == job


def test_a_job_is_given_to_one_worker_only(db: Database) -> None:
    job = _queued(db)
    assert _claim(db).id == job
    assert queue.claim(db, by=WORKER, worker="w-2", kinds=["train"]) is None


def test_a_worker_gets_only_the_kinds_it_knows(db: Database) -> None:
    _queued(db)
    assert queue.claim(db, by=WORKER, worker="w-1", kinds=["evaluate"]) is None


def test_a_silent_worker_loses_its_job_and_its_late_word_does_not_count(db: Database, clock: Any) -> None:
    _queued(db)
    lost = _claim(db)
    clock.forward(seconds=31)
    assert queue.take_back_lost(db) == 1
    again = _claim(db, "w-2")
    assert again.fence > lost.fence
    assert not queue.beat(db, job=lost.id, fence=lost.fence, progress={})
    with pytest.raises(FenceLost):
        _end(db, lost.id, lost.fence)
    _end(db, again.id, again.fence)
    assert _find(db, again.id).state == "done"


def test_a_sign_of_life_keeps_the_job_and_tells_how_far_it_is(db: Database, clock: Any) -> None:
    _queued(db)
    job = _claim(db)
    clock.forward(seconds=20)
    assert queue.beat(db, job=job.id, fence=job.fence, progress={"done": 1, "loss": 0.25})
    clock.forward(seconds=20)
    assert queue.take_back_lost(db) == 0
    with db.read() as conn:
        sign = queue.last_sign(conn, job.id)
    assert sign is not None
    assert sign.progress == {"done": 1, "loss": 0.25}


def _curve(db: Database, job: str) -> list[tuple[str, str]]:
    with db.read() as conn:
        sign = queue.last_sign(conn, job)
    assert sign is not None
    return list(sign.curve)


def test_the_curve_grows_with_what_is_told_and_goes_on_where_the_next_worker_begins(db: Database) -> None:
    _queued(db)
    job = _claim(db)
    for step, loss in ((10, 2.0), (20, 1.5), (20, 1.4), (30, 1.25)):
        queue.beat(db, job=job.id, fence=job.fence, progress={"step": step, "loss": loss})
    queue.beat(db, job=job.id, fence=job.fence, progress={"stage": "save"})
    assert _curve(db, job.id) == [("10", "2"), ("20", "1.4"), ("30", "1.25")]
    again = _claim(db)
    queue.beat(db, job=again.id, fence=again.fence, progress={"step": 25, "loss": 1.3})
    assert _curve(db, job.id) == [("10", "2"), ("20", "1.4"), ("25", "1.3")]


def test_a_long_curve_keeps_its_shape_in_a_bounded_row(db: Database) -> None:
    _queued(db)
    job = _claim(db)
    for step in range(queue.MOST_POINTS + 1):
        queue.beat(db, job=job.id, fence=job.fence, progress={"step": step, "loss": 1.0})
    curve = _curve(db, job.id)
    assert len(curve) == queue.MOST_POINTS // 2 + 1
    assert (curve[0][0], curve[-1][0]) == ("0", str(queue.MOST_POINTS))


def test_a_worker_that_asks_again_has_lost_what_it_held(db: Database) -> None:
    _queued(db)
    first = _claim(db)
    second = _claim(db)
    assert (second.id, second.fence > first.fence) == (first.id, True)


def test_a_job_that_kills_three_workers_fails_with_a_hint(db: Database, clock: Any) -> None:
    job = _queued(db)
    for _ in range(3):
        _claim(db)
        clock.forward(seconds=31)
        queue.take_back_lost(db)
    ended = _find(db, job)
    assert ended.state == "failed"
    assert ended.end is not None
    assert "memory" in ended.end.failure["hint"]


def test_saying_the_end_twice_is_saying_it_once(db: Database) -> None:
    _queued(db)
    job = _claim(db)
    _end(db, job.id, job.fence)
    _end(db, job.id, job.fence)
    with db.read() as conn:
        ended = conn.scalar(
            sa.select(sa.func.count()).select_from(entries).where(entries.c.kind == "job.ended")
        )
    assert ended == 1


def test_a_cancelled_job_is_refused_at_its_next_beat(db: Database) -> None:
    _queued(db)
    job = _claim(db)
    with db.write() as tx:
        queue.cancel(tx, by=SYSTEM, job=job.id, because="superseded")
    assert not queue.beat(db, job=job.id, fence=job.fence, progress={})
    with pytest.raises(FenceLost):
        _end(db, job.id, job.fence)


def test_a_leaving_worker_gives_its_job_back_at_once(db: Database) -> None:
    _queued(db)
    job = _claim(db)
    with db.write() as tx:
        queue.give_back(tx, by=WORKER, job=job.id, fence=job.fence)
    assert _claim(db, "w-2").id == job.id


# -- how often they break off -----------------------------------------------------------------------


def _breaks_every(db: Database, kind: str = "train") -> float:
    with db.read() as conn:
        return breakdowns.seconds_between(conn, kind)


def _computes(db: Database, clock: Any, seconds: int) -> Job:
    """A job in hand, of which there were signs of life for so long."""
    _queued(db)
    job = _claim(db)
    clock.forward(seconds=seconds)
    queue.beat(db, job=job.id, fence=job.fence, progress={})
    return job


def test_one_breakdown_in_a_day_is_supposed_and_hours_without_one_are_believed(
    db: Database, clock: Any
) -> None:
    assert _breaks_every(db) == pytest.approx(SUPPOSED)
    for _ in range(3):
        job = _computes(db, clock, 8 * 3600)
        _end(db, job.id, job.fence)
    assert _breaks_every(db) == pytest.approx(2 * SUPPOSED)
    assert _breaks_every(db, "evaluate") == SUPPOSED


@pytest.mark.parametrize("how", ["killed", "its worker left", "its worker died"])
def test_what_broke_off_is_counted_however_it_did_and_once(db: Database, clock: Any, how: str) -> None:
    job = _computes(db, clock, 3600)
    if how == "its worker died":
        clock.forward(seconds=31)
        queue.take_back_lost(db)
    else:
        with db.write() as tx:
            queue.give_back(tx, by=WORKER, job=job.id, fence=job.fence, killed=how == "killed")
    assert _breaks_every(db) == pytest.approx((SUPPOSED + 3600) / 2)
    again = _claim(db, "w-2")
    assert _breaks_every(db) == pytest.approx(SUPPOSED / 2)
    _end(db, again.id, again.fence)
    assert _breaks_every(db) == pytest.approx(SUPPOSED / 2)


def test_a_job_that_broke_off_three_times_counts_for_three_and_one_that_failed_for_none(
    db: Database, clock: Any
) -> None:
    job = _computes(db, clock, 0)
    _end(db, job.id, job.fence, "failed")
    assert _breaks_every(db) == pytest.approx(SUPPOSED)
    _queued(db)
    for _ in range(3):
        _claim(db)
        clock.forward(seconds=31)
        queue.take_back_lost(db)
    assert _breaks_every(db) == pytest.approx(SUPPOSED / 4)
