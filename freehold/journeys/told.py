"""Who is told of a journey that did not come to what was asked of it: nobody watches one for days."""

from __future__ import annotations

from freehold.jobs.steps import Journey
from freehold.journeys.candidate import declared
from freehold.release import notices
from freehold.store.rows import Tx

_TOLD = ("failed", "held")
"""Who stops a journey, or forgets somebody and thereby stops it, knows of it."""
_RESPONSIBLE = {"deliver": "trainer", "retrain": "trainer"}
"""The role that is written to where nobody who asked for it can be; of all other kinds data protection."""


def ended(tx: Tx, journey: Journey, state: str) -> None:
    """Notices of a journey that ends in `state`, in the transaction in which it does."""
    if state in _TOLD:
        notices.tell_ended(
            tx,
            journey=journey,
            state=state,
            owner=str(declared(journey.spec).get("owner", "")),
            role=_RESPONSIBLE.get(journey.kind, "data-protection"),
        )
