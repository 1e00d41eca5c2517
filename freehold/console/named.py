"""How people are named on a page: to themselves as you, to administrators by address, else by id."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.console.door import Visit
from freehold.errors import NotFound
from freehold.identity import people


def named(visit: Visit, conn: sa.Connection, who: str | None) -> str:
    """Who it is, for this reader; addresses only where the API shows them too."""
    if not who:
        return "–"
    if who == visit.who.id:
        return f"you ({visit.email})"
    if not who.startswith("per_") or not visit.may_see("person:read"):
        return who
    try:
        return people.find(conn, who).email
    except NotFound:
        return who
