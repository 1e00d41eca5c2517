"""Has every gateway heard? So that who revoked a key can be told that it is void, not that it will be."""

from __future__ import annotations

import time

import sqlalchemy as sa

from freehold.release.publish import newest_ix
from freehold.store.ground import Ground
from freehold.store.tables import gateways

HEARD_OF = 15_000_000
"""Microseconds: a gateway that said nothing for so long is not waited for."""

_LOOK_EVERY = 0.02


def wait_applied(ground: Ground, ix: int, timeout: float = 2.0) -> bool:
    """Whether each gateway we hear of serves by snapshot `ix` within `timeout` seconds.

    True at once when there is none. False is no failure: the gateway takes it when it comes back, and
    meanwhile serves no longer than its services' `stale_for`. One that goes by a snapshot which this control
    never published has not heard: control came back from an earlier moment, and is not believed.
    """
    deadline = time.monotonic() + timeout
    while not _applied(ground, ix):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def _applied(ground: Ground, ix: int) -> bool:
    g = gateways.c
    heard_of = sa.select(g.applied).where(g.seen_at > ground.clock() - HEARD_OF)
    with ground.db.read() as conn:
        newest, applied = newest_ix(conn), conn.scalars(heard_of).all()
    return all(ix <= one <= newest for one in applied)  # who is ahead takes nothing that is not newer
