"""How a candidate gets traffic, beside the live model or in its place, and gives it back.

What a shadow, a canary, an A/B test and a release have in common (`journeys.rollout`, `journeys.abtest`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Refused
from freehold.jobs.steps import Held, Moment, Outcome, Result, Waits
from freehold.journeys import rules
from freehold.journeys.candidate import model_of, serving_of, spec_of
from freehold.release import roll, services, versions
from freehold.release.publish import newest_ix, publish
from freehold.spec.reading import service_from
from freehold.spec.rollout import NOT_NAMED, Stage
from freehold.store.rows import Tx
from freehold.store.tables import gateways

HEARD_OF = 15_000_000
"""Microseconds: a gateway that said nothing for so long is not waited for."""
COMES_UP_WITHIN = 120_000_000
"""Microseconds: an engine that is not ready by then does not come up, and the release is rolled back."""

READY = "ready"
REFUSED = "refused: "
"""How the word of an engine begins that will not load the model, now or later."""
_ON_ITS_WAY = ("starting", "not there")
"""What an engine is in its first moments; not worth a word to who waits."""
STOPPED = "its service is stopped"


class NotServed(BadInput):
    """the release of `{service}` did not come up"""


class OtherLive(Refused):
    """`{service}` has another live model than the candidate was compared with"""


# -- getting it -------------------------------------------------------------------------------------


def not_beside(moment: Moment, stage: Stage | None) -> str:
    """Why the candidate is not laid beside the live release for this stage; empty where it is."""
    if stage is None or not stage.seconds:
        return NOT_NAMED
    with moment.ground.db.read() as conn:
        live = roll.live(conn, str(moment.journey.service))
    if live is None:
        return "nothing is live beside it"
    return "the live model is the same" if live["serving_digest"] == serving_of(moment) else ""


def bring(tx: Tx, moment: Moment, **share: Any) -> Result:
    """Bring its declaration in force and give it traffic, all of it or a `share`, as `roll.release` has it.

    Raises OtherLive, and what `rules.refuse_lower_tier` and `roll.release` raise.
    """
    service = spec_of(moment)
    rules.refuse_lower_tier(tx.connection, service)
    refuse_other_live(tx, moment)
    replaced = first_share(moment).get("before")
    before = replaced or services.spec_of(services.find(tx.connection, service.service))
    services.change(tx, by=moment.by, service=service, owner=service.owner)
    return {**released(tx, moment, **share), "before": before}


def first_share(moment: Moment) -> Mapping[str, Any]:
    """What is known of how its first share began, with the declaration `before`; empty while it had none."""
    begun = (moment.results.get(name, {}) for name in ("canary", "ab"))
    return next((one for one in begun if "before" in one), {})


def released(tx: Tx, moment: Moment, **share: Any) -> Result:
    """The same under the declaration that is in force. Raises what `roll.release` raises."""
    done = roll.release(
        tx,
        moment.ground,
        by=moment.by,
        service=str(moment.journey.service),
        model=model_of(moment),
        journey=moment.journey.id,
        **share,
    )
    return {"release": done.release, "snapshot": done.snapshot, "at": tx.at}


def refuse_other_live(tx: Tx, moment: Moment) -> None:
    """What people approved is better than one certain model, the one that is live. Raises OtherLive."""
    compared = moment.results["pin"].get("live")
    live = roll.live(tx.connection, str(moment.journey.service))
    if compared and (live is None or live["serving_digest"] != compared["serving_digest"]):
        raise OtherLive(
            service=moment.journey.service,
            why=f"it was compared with {compared['ref']}",
            hint="retrain again, to compare it with what is live now",
        )


# -- having it --------------------------------------------------------------------------------------


def live_beside(moment: Moment, state: str, release: str) -> tuple[str | None, bool]:
    """The live release that this one, in this state, shares with, and whether their service is stopped.

    None where it has lost its share, or nothing is live any more.
    """
    name = str(moment.journey.service)
    with moment.ground.db.read() as conn:
        there = {row["state"]: str(row["id"]) for row in roll.running(conn, name)}
        stopped = services.find(conn, name)["state"] == "stopped"
    return there.get("live") if there.get(state) == release else None, stopped


def not_ready(moment: Moment, begun: Mapping[str, Any]) -> Waits | None:
    """What has to be waited for, none when everyone has it. Raises NotServed."""
    at = moment.ground.clock()
    with moment.ground.db.read() as conn:
        heard = conn.execute(sa.select(gateways).where(gateways.c.seen_at > at - HEARD_OF)).mappings().all()
    words = [_engine_word(row, int(begun["snapshot"]), serving_of(moment)) for row in heard]
    if words and set(words) == {READY}:
        return None
    refused = [word for word in words if word.startswith(REFUSED)]
    late = at - int(begun["at"]) > COMES_UP_WITHIN
    if refused or (late and heard):
        why = (refused or [word for word in words if word not in ("", READY)] or ["no gateway took it up"])[0]
        raise NotServed(service=str(moment.journey.service), why=why)
    said = next((f": {word}" for word in words if word not in ("", READY, *_ON_ITS_WAY)), "")
    return Waits(because=f"waits for the engine{said}" if heard else "waits for a gateway: none is running")


def not_yet(moment: Moment, begun: Mapping[str, Any]) -> Waits | None:
    """The same of a share: its service may have stood still since it began, so what is late counts from when
    this step began to wait, and what it knows is kept. Raises NotServed."""
    waits = int(moment.so_far.get("waits", moment.ground.clock()))
    found = not_ready(moment, {**begun, "at": waits})
    return replace(found, apply=lambda _tx: {**moment.so_far, "waits": waits}) if found else None


def _engine_word(row: Mapping[Any, Any], snapshot: int, serving_digest: str) -> str:
    """What a gateway says of the engine; empty while it serves by an older snapshot."""
    word = str(json.loads(row["engines"]).get(serving_digest, ""))
    return word if word != READY or row["applied"] >= snapshot else ""


# -- giving it back ---------------------------------------------------------------------------------


def holds(moment: Moment, where: str, because: str, undo: Callable[[Tx, Moment, str], Result]) -> Outcome:
    """The candidate does not pass: the live release has all the traffic alone, and it is told why."""

    def apply(tx: Tx) -> Result:
        versions.set_state(tx, by=moment.by, model=model_of(moment), state="held", because=where)
        return undo(tx, moment, because)

    return Held(because=because, apply=apply)


def give_back(tx: Tx, moment: Moment, begun: Mapping[str, Any], because: str) -> Result:
    """The declaration and the traffic as they were; gateways hear of it even when only one changed."""
    before, ix = service_from(begun["before"]), newest_ix(tx.connection)
    services.change(tx, by=moment.by, service=before, owner=before.owner)
    if roll.take_back(tx, moment.ground, by=moment.by, release=str(begun["release"]), because=because) == ix:
        publish(tx, moment.ground, by=moment.by)
    return {}
