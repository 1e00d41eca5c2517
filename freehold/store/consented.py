"""Who consented last to what: one rule for gateways, for jobs, and for whoever verifies both."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.store.tables import consents


def ranked(*where: sa.ColumnElement[bool]) -> sa.Subquery:
    """Consents with `rank`: 1 is a person's last word on a purpose; of two at the same time, the no."""
    c = consents.c
    rank = sa.func.row_number().over(
        partition_by=(c.project, c.subject, c.purpose), order_by=(c.at.desc(), c.state.desc())
    )
    said = sa.select(c.project, c.subject, c.purpose, c.state, c.source, rank.label("rank"))
    return said.where(*where).subquery()
