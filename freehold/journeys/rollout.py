"""From approved to answering everybody: a shadow, canaries, an A/B test, then all of it.

::

    shadow ─> compare ─> canary ─> watch ─> ab ─> judge ─> release ─> serve
                 │                   │              │ │                  │
               held                held          held waits for people   rolled back

Where the file names no shadow, no canary or no A/B test, or nothing is live beside it, their steps have
nothing to do. A shadow gets a copy of what the live release has answered, for its time, and answers nobody;
the declaration stays what it was. A canary gets its share, is watched for its time, and gets the next one.
In an A/B test (`journeys.abtest`) the share stands for the whole time, and both versions are compared at its
end and not before.
What fails more answers than the live release, or is taken away by a person, ends the journey as *held*. How
long it has been watched stands in the step's row, so it survives whatever happens to the process.
"""

from __future__ import annotations

from freehold.jobs.steps import Apply, Done, Moment, Outcome, Result, Step, Waits, leave_as_it_is
from freehold.journeys import parity
from freehold.journeys.abtest import begin_test, judge, take_test_back
from freehold.journeys.candidate import model_of, spec_of
from freehold.journeys.traffic import (
    STOPPED,
    bring,
    give_back,
    holds,
    live_beside,
    not_beside,
    not_ready,
    not_yet,
    refuse_other_live,
    released,
)
from freehold.release import arms, roll, services, shadows
from freehold.release.services import Row
from freehold.spec.rollout import Stage, shadow, shares
from freehold.store.rows import Tx

_COPIES = "answers copies as a shadow"


# -- shadow -----------------------------------------------------------------------------------------


def begin_shadow(moment: Moment) -> Outcome:
    """Have the candidate get copies, beside the live release and under its declaration."""
    if why := not_beside(moment, shadow(spec_of(moment).serve.rollout)):
        return Done(apply=lambda _tx: {"none": why})
    parity.refuse_unlike(moment.ground, model_of(moment))

    def apply(tx: Tx) -> Result:
        refuse_other_live(tx, moment)
        return released(tx, moment, weight=0, state="shadow")

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
        return holds(moment, "as a shadow", "its shadow was taken away", _give_shadow_back)
    if stopped:
        return Waits(because=STOPPED, apply=lambda _tx: {})
    if "since" not in moment.so_far:
        return not_yet(moment, begun) or Waits(because=_COPIES, apply=lambda tx: {"since": tx.at})
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
        return holds(moment, "as a shadow", said.because, _give_shadow_back)
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
    if why := not_beside(moment, first):
        return Done(apply=lambda _tx: {"none": why})
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: bring(tx, moment, weight=first.weight, state="canary"))


def take_canary_back(moment: Moment) -> Apply:
    """The undo of a canary: all the traffic is with the live release, under its declaration."""
    begun = moment.results["canary"]
    return lambda tx: give_back(tx, moment, begun, "its journey ended") if "release" in begun else {}


# -- watch ------------------------------------------------------------------------------------------


def watch(moment: Moment) -> Outcome:
    """Wait until the canary answers, then for each stage's time, and compare how answers end."""
    begun = moment.results["canary"]
    if "release" not in begun:
        return Done(apply=lambda _tx: {"none": begun["none"]})
    live, stopped = live_beside(moment, "canary", str(begun["release"]))
    if live is None:
        return holds(moment, "as a canary", "its canary was rolled back", _give_canary_back)
    place = int(moment.so_far.get("stage", 0))
    if stopped:
        return Waits(because=STOPPED, apply=lambda _tx: {"stage": place})
    if "since" not in moment.so_far:
        return _begin_watching(moment, place)
    return _look(moment, place, live)


def _begin_watching(moment: Moment, place: int) -> Outcome:
    """The time of a stage counts from when the canary answers."""
    if waits := not_yet(moment, moment.results["canary"]):
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
        return holds(moment, "as a canary", said.because, _give_canary_back)
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


def _give_canary_back(tx: Tx, moment: Moment, because: str) -> Result:
    return give_back(tx, moment, moment.results["canary"], because)


# -- release ----------------------------------------------------------------------------------------


def release(moment: Moment) -> Outcome:
    """Bring the declaration in force, give the model the traffic, tell the gateways: one transaction.

    Raises OtherThanEvaluated when it is not what was evaluated any more.
    """
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: bring(tx, moment))


def take_back(moment: Moment) -> Apply:
    """The undo of a release: the model before answers again, under the declaration before."""
    done = moment.results["release"]
    return lambda tx: give_back(tx, moment, done, "the release did not come up")


# -- serve ------------------------------------------------------------------------------------------


def serve(moment: Moment) -> Outcome:
    """Wait until every gateway we hear of answers with it; an engine that refuses it ends the release."""
    return not_ready(moment, moment.results["release"]) or Done()


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
