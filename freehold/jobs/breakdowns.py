"""How often jobs break off here, as this installation's own records say it."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.jobs.folder import SUPPOSED
from freehold.jobs.queue import DIED
from freehold.store.tables import job_beats, jobs


def seconds_between(conn: sa.Connection, kind: str) -> float:
    """Mean seconds that a job of this kind computes until its process, worker or machine is gone.

    (a day + the seconds from claims to last signs of life) / (1 + the attempts that broke off): one breakdown
    in a day is supposed, and counts like one that was seen. Of a job that was begun several times only the
    last attempt's seconds are known, and one that was killed for its own sake (too little memory) counts
    like any other: both make the mean rather too short.
    """
    broke = sa.or_(jobs.c.state == "queued", jobs.c.because == DIED["code"])
    query = (
        sa.select(
            sa.func.coalesce(sa.func.sum(job_beats.c.seen_at - jobs.c.claimed_at), 0),
            sa.func.coalesce(sa.func.sum(jobs.c.attempts - sa.case((broke, 0), else_=1)), 0),
        )
        .join(job_beats, job_beats.c.job == jobs.c.id)
        .where(jobs.c.kind == kind, jobs.c.claimed_at.is_not(None))
    )
    computed, broken = conn.execute(query).one()
    return (SUPPOSED + int(computed) / 1e6) / (1 + int(broken))
