"""Services that stand in for one another: what is declared is judged before it is in force."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from freehold.errors import BadInput, Refused
from freehold.release.views import at_least, known_views
from freehold.spec.fallback import MOST, why_not
from freehold.spec.snapshot import ServiceView
from freehold.store.tables import projects


class BadFallback(BadInput):
    """`{name}` cannot be named as a fallback"""


class FallbackRefused(Refused):
    """`{other}` may not stand in for `{name}`"""


def check(conn: sa.Connection, service: ServiceView) -> None:
    """Every fallback is there and may stand in for it. Raises BadFallback, FallbackRefused.

    `service` as its file says it: what its project wants guarded is added here, for gateways add it too.
    """
    if not service.fallback:
        return
    _check_names(service.name, service.fallback)
    guards = conn.scalar(sa.select(projects.c.guards).where(projects.c.name == service.project))
    service = at_least(service, guards)
    # one of another project is not known here: a name is no way to find out
    known = {view.name: view for view in known_views(conn) if view.project == service.project}
    for other in service.fallback:
        if other not in known:
            raise BadFallback(
                name=other[:80], why="no service of that name answers", hint="`freehold status` lists them"
            )
        if why := why_not(service, known[other]):
            raise FallbackRefused(
                other=other,
                name=service.name,
                why=why,
                hint="docs/manual/attach.md says who may stand in for whom",
            )


def _check_names(service: str, named: Sequence[str]) -> None:
    """Each once, not the service itself, and few."""
    for place, name in enumerate(named):
        if name == service or name in named[:place]:
            raise BadFallback(name=name[:80], why="it is the service itself, or named twice")
    if len(named) > MOST:
        raise BadFallback(
            name=named[MOST][:80], why=f"{MOST} are the most: each of them may make a caller wait"
        )
