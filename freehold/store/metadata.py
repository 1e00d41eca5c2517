"""What every table of ours is made with; the tables themselves stand in `store.tables`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column

metadata = sa.MetaData()


def time_column(name: str, *, nullable: bool = True) -> Column[int]:
    """Microseconds UTC."""
    return Column(name, BigInteger, nullable=nullable)
