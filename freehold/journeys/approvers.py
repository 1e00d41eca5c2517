"""Asking the people whom a service names about the candidate of its journey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.jobs.steps import Moment
from freehold.journeys.candidate import model_of, serving_of, spec_of
from freehold.release import approvals
from freehold.store.rows import Tx


def ask(tx: Tx, moment: Moment, evidence: Mapping[str, Any], *, since: int = 0) -> list[str]:
    """Ask each of them; the ids of their approvals. What was asked for before `since` is asked anew."""
    service = spec_of(moment)
    ids = approvals.request(
        tx,
        moment.ground,
        by=moment.by,
        service=service.service,
        model=model_of(moment),
        serving_digest=serving_of(moment),
        roles=[approver.role for approver in service.approve],
        owner=service.owner,
        submitter=moment.journey.submitted_by,
        evidence=evidence,
        journey=moment.journey.id,
        since=since,
    )
    return list(ids)


def standing(conn: sa.Connection, moment: Moment, at: int) -> approvals.Standing:
    """How their approvals stand at this time, microseconds UTC."""
    name = spec_of(moment).service
    return approvals.standing(conn, model_of(moment), serving_of(moment), service=name, at=at)


def void(tx: Tx, moment: Moment, because: str) -> None:
    """What nobody decided yet, nobody needs to decide any more; `because` is a fixed phrase."""
    for approval in standing(tx.connection, moment, tx.at).waiting:
        approvals.void(tx, by=moment.by, approval=approval.id, because=because)


def waits_for(moment: Moment, waiting: tuple[approvals.Approval, ...]) -> str:
    """`waits for model-risk and data-protection`: whose approvals wait, or all before any is asked."""
    roles = [one.role for one in waiting] or [one.role for one in spec_of(moment).approve]
    return f"waits for {' and '.join(roles)}"
