"""A service's A/B test as the API and the console tell it: under way without figures, then with them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from freehold.release import abtests, services
from freehold.release.abtests import CANDIDATE, LIVE
from freehold.store.tables import models, releases


def of_service(conn: sa.Connection, service: services.Row) -> dict[str, Any] | None:
    """The last one that began; none where there was none.

    While it is under way nothing is compared, so that nobody ends it on what chance does in between.
    """
    test = abtests.newest(conn, service["project"], service["name"])
    if test is None:
        return None
    # at the earliest: while the service is stopped its time stands still
    due_at = None if test.ended_at else test.begun_at + test.seconds * 1_000_000
    return {
        **test.as_json(),
        "due_at": due_at,
        "models": {arm: _model(conn, id) for arm, id in ((LIVE, test.live), (CANDIDATE, test.release))},
    }


def _model(conn: sa.Connection, release: str) -> str | None:
    query = (
        sa.select(models.c.name, models.c.version)
        .join(releases, releases.c.model == models.c.id)
        .where(releases.c.id == release)
    )
    row = conn.execute(query).first()
    return f"{row.name}@{row.version}" if row else None
