"""Answers and incidents as rows, for tests of what is read of them and not of how they came about."""

from __future__ import annotations

from typing import Any

from freehold.release import incidents
from freehold.spec.ids import new_id
from freehold.spec.watching import Reaction, Rule, Watch, settled
from freehold.store.ground import Ground


def an_answer(**said: Any) -> dict[str, Any]:
    """The row of an answer, but for its time and its release. Its entries are its writer's business."""
    return {
        **dict.fromkeys(("key", "purpose", "request", "spool"), "x"),
        **dict.fromkeys(("tokens_in", "tokens_out", "sequence", "snapshot"), 0),
        "id": new_id("ans"),
        "project": "claims",
        "service": "claims-triage",
        "ending": "answered",
        "reason": "ok",
        "sandbox": False,
        "estimated": False,
        "cost": "0",
        **said,
    }


def rule(then: Reaction = "lock", **more: Any) -> Rule:
    """A rule about jailbreaks."""
    return settled(Watch(rule="jailbreak", then=then, **more))


def an_incident(ground: Ground, by: Rule | None = None, **found: Any) -> str:
    """Somebody broke a rule, the one that locks where none is named, and is held back; the incident."""
    about: dict[str, Any] = {"project": "claims", "service": "triage", "key": "key_1", "subject": None}
    with ground.db.write() as tx:
        sighting = incidents.Sighting(**{**about, "count": 12, "seen_at": tx.at, **found})
        incident = incidents.seen(tx, ground, by or rule(), sighting)
    assert incident is not None, "nothing is new"
    return incident
