"""From approved to answering everybody: a shadow, canaries, an A/B test, then all of it.

::

    shadow ─> compare ─> canary ─> watch ─> ab ─> judge ─> release ─> serve
                 │                   │              │ │                  │
               held                held          held waits for people   rolled back

Where the file names no shadow, no canary or no A/B test, or nothing is live beside it, their steps have
nothing to do. A shadow gets a copy of what the live release has answered, for its time, and answers nobody;
the declaration stays what it was. A canary gets its share, is watched for its time, and gets the next one.
In an A/B test the share stands for the whole time, and both versions are compared at its end and not before.
What fails more answers than the live release, or is taken away by a person, ends the journey as *held*. How
long it has been watched stands in the step's row, so it survives whatever happens to the process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Refused
from freehold.jobs.steps import Apply, Done, Held, Moment, Outcome, Result, Step, Waits, leave_as_it_is
from freehold.journeys import judged, parity, rules
from freehold.journeys.candidate import model_of, serving_of, spec_of
from freehold.release import abtests, approvals, arms, roll, services, shadows, versions
from freehold.release.publish import newest_ix, publish
from freehold.release.services import Row
from freehold.spec.reading import service_from
from freehold.spec.rollout import Stage, ab, shadow, shares
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
_STOPPED = "its service is stopped"
_COPIES = "answers copies as a shadow"


class NotServed(BadInput):
    """the release of `{service}` did not come up"""


class OtherLive(Refused):
    """`{service}` has another live model than the candidate was compared with"""


# -- shadow -----------------------------------------------------------------------------------------


def begin_shadow(moment: Moment) -> Outcome:
    """Have the candidate get copies, beside the live release and under its declaration."""
    stage = shadow(spec_of(moment).serve.rollout)
    with moment.ground.db.read() as conn:
        live = roll.live(conn, str(moment.journey.service))
    if why := _not_beside(stage, live, serving_of(moment)):
        return Done(apply=lambda _tx: {"none": why})
    parity.refuse_unlike(moment.ground, model_of(moment))

    def apply(tx: Tx) -> Result:
        _refuse_other_live(tx, moment)
        return _released(tx, moment, weight=0, state="shadow")

    return Done(apply=apply)


def take_shadow_back(moment: Moment) -> Apply:
    """The undo of a shadow: it gets no copies any more."""
    begun = moment.results["shadow"]
    return lambda tx: _give_shadow_back(tx, moment, "its journey ended") if "release" in begun else {}


def _give_shadow_back(tx: Tx, moment: Moment, because: str) -> Result:
    begun = str(moment.results["shadow"]["release"])
    roll.take_back(tx, moment.ground, by=moment.by, release=begun, because=because)
    return {}


# -- compare ----------------------------------------------------------------------------------------


def compare(moment: Moment) -> Outcome:
    """Wait until the shadow can be asked, then for its time, and compare how its answers end."""
    begun = moment.results["shadow"]
    if "release" not in begun:
        return Done(apply=lambda _tx: {"none": begun["none"]})
    service = str(moment.journey.service)
    with moment.ground.db.read() as conn:
        ours, live = roll.shadowing(conn, service), roll.live(conn, service)
        stopped = services.find(conn, service)["state"] == "stopped"
    if ours is None or ours["id"] != begun["release"] or live is None:
        return _holds(moment, "as a shadow", "its shadow was taken away", _give_shadow_back)
    if stopped:
        return Waits(because=_STOPPED, apply=lambda _tx: {})
    if "since" not in moment.so_far:
        return _not_yet(moment, begun) or Waits(because=_COPIES, apply=lambda tx: {"since": tx.at})
    return _look_at_shadow(moment, live)


def _look_at_shadow(moment: Moment, live: Row) -> Outcome:
    stage = shadow(spec_of(moment).serve.rollout)
    span = stage.seconds * 1_000_000 if stage else 0
    over = moment.ground.clock() >= int(moment.so_far["since"]) + span
    begun = str(moment.results["shadow"]["release"])
    with moment.ground.db.read() as conn:
        said = arms.judged(conn, canary=begun, live=live["id"], at_the_end=over, called="shadow")
        ended = arms.count(conn, begun)
    if said.fails_more:
        return _holds(moment, "as a shadow", said.because, _give_shadow_back)
    if not over:
        return Waits(because=_COPIES, apply=lambda _tx: moment.so_far)
    if waits := _too_few(ended, _COPIES, moment):
        return waits
    return Done(apply=lambda tx: _concluded(tx, begun, live, said.because))


def _concluded(tx: Tx, begun: str, live: Row, because: str) -> Result:
    """What is known now stays with the journey: later the words are gone, and the records with their time."""
    figures = shadows.compared(tx.connection, shadow=begun, live=live["id"])
    return {"judged": because, "copies": figures.copies, "same": figures.same, "differs": figures.differs}


# -- canary -----------------------------------------------------------------------------------------


def canary(moment: Moment) -> Outcome:
    """Give the candidate its first share beside the live release, under the new declaration."""
    first = shares(spec_of(moment).serve.rollout)[0]
    with moment.ground.db.read() as conn:
        live = roll.live(conn, str(moment.journey.service))
    if why := _not_beside(first, live, serving_of(moment)):
        return Done(apply=lambda _tx: {"none": why})
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: _bring(tx, moment, weight=first.weight, state="canary"))


def _not_beside(stage: Stage | None, live: Mapping[str, Any] | None, serving_digest: str) -> str:
    if stage is None or not stage.seconds:
        return "the file names none"
    if live is None:
        return "nothing is live beside it"
    return "the live model is the same" if live["serving_digest"] == serving_digest else ""


def take_canary_back(moment: Moment) -> Apply:
    """The undo of a canary: all the traffic is with the live release, under its declaration."""
    begun = moment.results["canary"]
    return lambda tx: _give_back(tx, moment, begun, "its journey ended") if "release" in begun else {}


# -- watch ------------------------------------------------------------------------------------------


def watch(moment: Moment) -> Outcome:
    """Wait until the canary answers, then for each stage's time, and compare how answers end."""
    begun = moment.results["canary"]
    if "release" not in begun:
        return Done(apply=lambda _tx: {"none": begun["none"]})
    with moment.ground.db.read() as conn:
        running = roll.running(conn, str(moment.journey.service))
        stopped = services.find(conn, str(moment.journey.service))["state"] == "stopped"
    there = {row["state"]: row for row in running}
    if there.get("canary", {}).get("id") != begun["release"] or "live" not in there:
        return _holds(moment, "as a canary", "its canary was rolled back", _give_canary_back)
    place = int(moment.so_far.get("stage", 0))
    if stopped:
        return Waits(because=_STOPPED, apply=lambda _tx: {"stage": place})
    if "since" not in moment.so_far:
        return _begin_watching(moment, place)
    return _look(moment, place, there["live"]["id"])


def _begin_watching(moment: Moment, place: int) -> Outcome:
    """The time of a stage counts from when the canary answers."""
    if waits := _not_yet(moment, moment.results["canary"]):
        return waits
    return Waits(
        because=_at(shares(spec_of(moment).serve.rollout)[place]),
        apply=lambda tx: {"stage": place, "since": tx.at},
    )


def _look(moment: Moment, place: int, live: str) -> Outcome:
    """What is to be done now with a canary that answers."""
    now, *later = shares(spec_of(moment).serve.rollout)[place:]
    over = moment.ground.clock() >= int(moment.so_far["since"]) + now.seconds * 1_000_000
    release = str(moment.results["canary"]["release"])
    with moment.ground.db.read() as conn:
        said = arms.judged(conn, canary=release, live=live, at_the_end=over)
        ended = arms.count(conn, release)
    if said.fails_more:
        return _holds(moment, "as a canary", said.because, _give_canary_back)
    if not over:
        return Waits(because=_at(now), apply=lambda _tx: moment.so_far)
    if waits := _too_few(ended, _at(now), moment):
        return waits
    if later[0].seconds:
        return Waits(because=_at(later[0]), apply=lambda tx: _grow(tx, moment, place + 1, later[0]))
    return Done(apply=lambda _tx: {"judged": said.because})


def _at(now: Stage) -> str:
    return f"canary at {now.percent} %"


def _grow(tx: Tx, moment: Moment, place: int, now: Stage) -> Result:
    release = str(moment.results["canary"]["release"])
    roll.weigh(tx, moment.ground, by=moment.by, release=release, weight=now.weight)
    return {"stage": place, "since": tx.at}


def _too_few(ended: arms.Arm, where: str, moment: Moment) -> Waits | None:
    """What failed now and then is not judged on a handful of answers, and not let on either."""
    if not ended.failed or ended.ended >= arms.FEWEST:
        return None
    because = f"{where}: some answers failed, too few to judge"
    return Waits(because=because, apply=lambda _tx: moment.so_far)


def _holds(
    moment: Moment, where: str, because: str, give_back: Callable[[Tx, Moment, str], Result]
) -> Outcome:
    """The candidate does not pass: the live release has all the traffic alone, and it is told why."""

    def apply(tx: Tx) -> Result:
        versions.set_state(tx, by=moment.by, model=model_of(moment), state="held", because=where)
        return give_back(tx, moment, because)

    return Held(because=because, apply=apply)


def _give_canary_back(tx: Tx, moment: Moment, because: str) -> Result:
    return _give_back(tx, moment, moment.results["canary"], because)


# -- A/B test ---------------------------------------------------------------------------------------


def begin_test(moment: Moment) -> Outcome:
    """Give the candidate the share at which it is compared; a canary grows to it, nobody leaves."""
    stage = ab(spec_of(moment).serve.rollout)
    with moment.ground.db.read() as conn:
        live = roll.live(conn, str(moment.journey.service))
    why = _not_beside(stage, live, serving_of(moment))
    if stage is None or why:
        return Done(apply=lambda _tx: {"none": why})
    weight = stage.weight
    if (canary := moment.results.get("canary", {}).get("release")) is not None:
        return Done(apply=lambda tx: _grown(tx, moment, str(canary), weight))
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: _bring(tx, moment, weight=weight, state="ab"))


def _grown(tx: Tx, moment: Moment, canary: str, weight: int) -> Result:
    ix = roll.weigh(tx, moment.ground, by=moment.by, release=canary, weight=weight, state="ab")
    return {"release": canary, "snapshot": ix, "at": tx.at}


def take_test_back(moment: Moment) -> Apply:
    """The undo of a share and of the test it was for, which ends: nobody is asked about it any more.

    Here and not where it is judged, for what failed there is not undone. A share that began as a canary is
    taken back with it.
    """
    begun = moment.results["ab"]

    def apply(tx: Tx) -> Result:
        closed = _close_test(tx, moment, "its journey ended") if "release" in begun else {}
        return {**closed, **(_give_back(tx, moment, begun, "its journey ended") if "before" in begun else {})}

    return apply


# -- judge ------------------------------------------------------------------------------------------


def judge(moment: Moment) -> Outcome:
    """Wait for the test's time, then compare; what is worse, or not to be judged, waits for people."""
    begun = moment.results["ab"]
    if "release" not in begun:
        return Done(apply=lambda _tx: {"none": begun["none"]})
    with moment.ground.db.read() as conn:
        running = roll.running(conn, str(moment.journey.service))
        stopped = services.find(conn, str(moment.journey.service))["state"] == "stopped"
    there = {row["state"]: row for row in running}
    if there.get("ab", {}).get("id") != begun["release"] or "live" not in there:
        return _holds(moment, _IN_A_TEST, "its candidate was rolled back", _give_test_back)
    if because := _fails_more(moment, there["live"]["id"]):
        return _holds(moment, _IN_A_TEST, because, _give_test_back)
    if "judged" in moment.so_far:
        return _people(moment)
    if stopped:
        return Waits(because=_STOPPED, apply=lambda _tx: _stands_still(moment))
    if "since" not in moment.so_far:
        return _begin_judging(moment, there["live"]["id"])
    return _look_at_test(moment)


_IN_A_TEST = "in an A/B test"


def _stage(moment: Moment) -> Stage:
    stage = ab(spec_of(moment).serve.rollout)
    assert stage is not None
    return stage


def _testing(moment: Moment) -> str:
    return f"A/B test at {_stage(moment).percent} %"


def _fails_more(moment: Moment, live: str) -> str:
    """What ends a test at any time: the rule of a canary, and nothing else."""
    begun = str(moment.results["ab"]["release"])
    with moment.ground.db.read() as conn:
        said = arms.judged(conn, canary=begun, live=live, at_the_end=False, called="candidate")
    return said.because if said.fails_more else ""


def _stands_still(moment: Moment) -> Result:
    """The time of a stopped service does not count: what is left of the test's is left."""
    so_far = dict(moment.so_far)
    so_far.pop("waits", None)
    if "since" in so_far:
        spent = moment.ground.clock() - int(so_far.pop("since"))
        so_far["left"] = max(0, int(so_far["left"]) - spent)
    return so_far


def _begin_judging(moment: Moment, live: str) -> Outcome:
    """A test begins when every gateway draws by its share, and goes on when they do so again."""
    if waits := _not_yet(moment, moment.results["ab"]):
        return waits
    return Waits(because=_testing(moment), apply=lambda tx: _began(tx, moment, live))


def _began(tx: Tx, moment: Moment, live: str) -> Result:
    if "abtest" in moment.so_far:
        return {**moment.so_far, "since": tx.at}
    stage = _stage(moment)
    test = abtests.begin(
        tx,
        by=moment.by,
        project=moment.journey.project,
        service=str(moment.journey.service),
        release=str(moment.results["ab"]["release"]),
        live=live,
        weight=stage.weight,
        seconds=stage.seconds,
    )
    return {"abtest": test, "since": tx.at, "left": stage.seconds * 1_000_000}


def _look_at_test(moment: Moment) -> Outcome:
    """Before its end nothing is compared: who looks often enough finds something."""
    at = moment.ground.clock()
    if at < int(moment.so_far["since"]) + int(moment.so_far["left"]):
        return Waits(because=_testing(moment), apply=lambda _tx: moment.so_far)
    with moment.ground.db.read() as conn:
        test = abtests.find(conn, str(moment.so_far["abtest"]))
        said = judged.judged(conn, test, at)
    if said.verdict == "not worse":
        return Done(apply=lambda tx: _ended(tx, moment, test, said))
    if not spec_of(moment).approve:  # nobody is named who could decide

        def give_back(tx: Tx, moment: Moment, because: str) -> Result:
            return {**_ended(tx, moment, test, said), **_give_share_back(tx, moment, because)}

        return _holds(moment, _IN_A_TEST, said.because, give_back)
    return Waits(
        because=_asks(moment, said.because, ()), people=True, apply=lambda tx: _ask(tx, moment, test, said)
    )


def _ended(tx: Tx, moment: Moment, test: abtests.AbTest, said: judged.Judged) -> Result:
    """What is known now stands in the ledger: later records go with their time."""
    abtests.end(tx, by=moment.by, test=test, verdict=said.verdict, figures=said.figures, because=said.because)
    return {"judged": said.because, "abtest": test.id, "verdict": said.verdict}


def _asks(moment: Moment, because: str, waiting: tuple[approvals.Approval, ...]) -> str:
    roles = [one.role for one in waiting] or [one.role for one in spec_of(moment).approve]
    return f"{because}; waits for {' and '.join(roles)}"


def _ask(tx: Tx, moment: Moment, test: abtests.AbTest, said: judged.Judged) -> Result:
    """The approvers are asked once more, with what they could not know before."""
    result = _ended(tx, moment, test, said)
    given = approvals.standing(
        tx.connection, model_of(moment), serving_of(moment), service=test.service, at=tx.at
    )
    known = next((dict(one.evidence) for one in (*given.given, *given.void)), {})
    service = spec_of(moment)
    ids = approvals.request(
        tx,
        moment.ground,
        by=moment.by,
        service=test.service,
        model=model_of(moment),
        serving_digest=serving_of(moment),
        roles=[one.role for one in service.approve],
        owner=service.owner,
        submitter=moment.journey.submitted_by,
        evidence={**known, "abtest": test.id, "judged": said.because},
        journey=moment.journey.id,
        since=test.begun_at,
    )
    return {**moment.so_far, **result, "approvals": list(ids)}


def _people(moment: Moment) -> Outcome:
    """Both go on answering until people have decided; then it goes on, or is held."""
    so_far, at = dict(moment.so_far), moment.ground.clock()
    with moment.ground.db.read() as conn:
        standing = approvals.standing(
            conn, model_of(moment), serving_of(moment), service=str(moment.journey.service), at=at
        )
    if standing.refused:
        because = f"refused by {standing.refused[0].role} after its A/B test"
        return _holds(moment, _IN_A_TEST, because, _give_test_back)
    if standing.void:  # nobody decided in time, or another candidate took its place
        return _holds(moment, _IN_A_TEST, "nobody decided on its A/B test", _give_test_back)
    if standing.complete:
        return Done(apply=lambda _tx: {**so_far, "approvals": [one.id for one in standing.given]})
    asks = _asks(moment, str(so_far["judged"]), standing.waiting)
    return Waits(because=asks, people=True, apply=lambda _tx: so_far)


def _close_test(tx: Tx, moment: Moment, because: str) -> Result:
    """As the ledger knows it: what the step noted of it is gone when it fails."""
    test = abtests.newest(tx.connection, moment.journey.project, str(moment.journey.service))
    if test is None or test.release != moment.results["ab"]["release"]:
        return {}
    abtests.end(tx, by=moment.by, test=test, verdict="ended early", because=because)
    standing = approvals.standing(
        tx.connection, model_of(moment), serving_of(moment), service=test.service, at=tx.at
    )
    for approval in standing.waiting:
        approvals.void(tx, by=moment.by, approval=approval.id, because="its A/B test ended")
    return {"abtest": test.id}


def _give_test_back(tx: Tx, moment: Moment, because: str) -> Result:
    """The test says that it was ended, where it was not, and the live release has all the traffic again."""
    return {**_close_test(tx, moment, because), **_give_share_back(tx, moment, because)}


def _give_share_back(tx: Tx, moment: Moment, because: str) -> Result:
    begun = next(r for n in ("canary", "ab") if "before" in (r := moment.results.get(n, {})))
    return _give_back(tx, moment, begun, because)


# -- release ----------------------------------------------------------------------------------------


def release(moment: Moment) -> Outcome:
    """Bring the declaration in force, give the model the traffic, tell the gateways: one transaction.

    Raises OtherThanEvaluated when it is not what was evaluated any more.
    """
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: _bring(tx, moment))


def _bring(tx: Tx, moment: Moment, **share: Any) -> Result:
    service = spec_of(moment)
    rules.refuse_lower_tier(tx.connection, service)
    _refuse_other_live(tx, moment)
    before = _before(moment) or services.spec_of(services.find(tx.connection, service.service))
    services.change(tx, by=moment.by, service=service, owner=service.owner)
    return {**_released(tx, moment, **share), "before": before}


def _before(moment: Moment) -> Mapping[str, Any] | None:
    """The declaration that its first share replaced; none while it had no share."""
    begun = (moment.results.get(name, {}) for name in ("canary", "ab"))
    return next((one["before"] for one in begun if "before" in one), None)


def _released(tx: Tx, moment: Moment, **share: Any) -> Result:
    released = roll.release(
        tx,
        moment.ground,
        by=moment.by,
        service=str(moment.journey.service),
        model=model_of(moment),
        journey=moment.journey.id,
        **share,
    )
    return {"release": released.release, "snapshot": released.snapshot, "at": tx.at}


def _refuse_other_live(tx: Tx, moment: Moment) -> None:
    """What people approved is better than one certain model, the one that is live. Raises OtherLive."""
    compared = moment.results["pin"].get("live")
    live = roll.live(tx.connection, str(moment.journey.service))
    if compared and (live is None or live["serving_digest"] != compared["serving_digest"]):
        raise OtherLive(
            service=moment.journey.service,
            why=f"it was compared with {compared['ref']}",
            hint="retrain again, to compare it with what is live now",
        )


def take_back(moment: Moment) -> Apply:
    """The undo of a release: the model before answers again, under the declaration before."""
    done = moment.results["release"]
    return lambda tx: _give_back(tx, moment, done, "the release did not come up")


def _give_back(tx: Tx, moment: Moment, begun: Mapping[str, Any], because: str) -> Result:
    """The declaration and the traffic as they were; gateways hear of it even when only one changed."""
    before, ix = service_from(begun["before"]), newest_ix(tx.connection)
    services.change(tx, by=moment.by, service=before, owner=before.owner)
    if roll.take_back(tx, moment.ground, by=moment.by, release=str(begun["release"]), because=because) == ix:
        publish(tx, moment.ground, by=moment.by)
    return {}


# -- serve ------------------------------------------------------------------------------------------


def serve(moment: Moment) -> Outcome:
    """Wait until every gateway we hear of answers with it; an engine that refuses it ends the release."""
    return _not_ready(moment, moment.results["release"]) or Done()


def _not_ready(moment: Moment, begun: Mapping[str, Any]) -> Waits | None:
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


def _not_yet(moment: Moment, begun: Mapping[str, Any]) -> Waits | None:
    """The same of a share: its service may have stood still since it began, so what is late counts from when
    this step began to wait, and what it knows is kept. Raises NotServed."""
    waits = int(moment.so_far.get("waits", moment.ground.clock()))
    found = _not_ready(moment, {**begun, "at": waits})
    return replace(found, apply=lambda _tx: {**moment.so_far, "waits": waits}) if found else None


def _engine_word(row: Mapping[Any, Any], snapshot: int, serving_digest: str) -> str:
    """What a gateway says of the engine; empty while it serves by an older snapshot."""
    word = str(json.loads(row["engines"]).get(serving_digest, ""))
    return word if word != READY or row["applied"] >= snapshot else ""


ROLL_OUT = (
    Step(name="shadow", does="give it copies to answer", do=begin_shadow, undo=take_shadow_back),
    Step(name="compare", does="compare what it answers", do=compare, undo=leave_as_it_is),
    Step(name="canary", does="try it on a share", do=canary, undo=take_canary_back),
    Step(name="watch", does="compare how answers end", do=watch, undo=leave_as_it_is),
    Step(name="ab", does="give it its share of a test", do=begin_test, undo=take_test_back),
    Step(name="judge", does="compare both at its end", do=judge, undo=leave_as_it_is),
    Step(name="release", does="give it the traffic", do=release, undo=take_back),
    Step(name="serve", does="wait until it answers", do=serve, undo=leave_as_it_is),
)
