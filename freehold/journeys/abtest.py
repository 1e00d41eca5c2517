"""The A/B test of a roll-out: a share that stands for its time, and a comparison at its end.

What is worse, or not to be judged, waits for people; then it goes on, or is held.
"""

from __future__ import annotations

from freehold.jobs.steps import Apply, Done, Moment, Outcome, Result, Waits
from freehold.journeys import approvers, judged, parity
from freehold.journeys.candidate import model_of, spec_of
from freehold.journeys.traffic import (
    STOPPED,
    bring,
    first_share,
    give_back,
    holds,
    live_beside,
    not_beside,
    not_yet,
)
from freehold.release import abtests, arms, roll
from freehold.spec.rollout import Stage, ab
from freehold.store.rows import Tx

# -- A/B test ---------------------------------------------------------------------------------------


def begin_test(moment: Moment) -> Outcome:
    """Give the candidate the share at which it is compared; a canary grows to it, nobody leaves."""
    if why := not_beside(moment, ab(spec_of(moment).serve.rollout)):
        return Done(apply=lambda _tx: {"none": why})
    weight = _stage(moment).weight
    if (canary := moment.results.get("canary", {}).get("release")) is not None:
        return Done(apply=lambda tx: _grown(tx, moment, str(canary), weight))
    parity.refuse_unlike(moment.ground, model_of(moment))
    return Done(apply=lambda tx: bring(tx, moment, weight=weight, state="ab"))


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
        if "before" in begun:
            give_back(tx, moment, begun, "its journey ended")
        return closed

    return apply


# -- judge ------------------------------------------------------------------------------------------


def judge(moment: Moment) -> Outcome:
    """Wait for the test's time, then compare; what is worse, or not to be judged, waits for people."""
    begun = moment.results["ab"]
    if "release" not in begun:
        return Done(apply=lambda _tx: {"none": begun["none"]})
    live, stopped = live_beside(moment, "ab", str(begun["release"]))
    if live is None:
        return holds(moment, _IN_A_TEST, "its candidate was rolled back", _give_test_back)
    if because := _fails_more(moment, live):
        return holds(moment, _IN_A_TEST, because, _give_test_back)
    if "judged" in moment.so_far:
        return _people(moment)
    if stopped:
        return Waits(because=STOPPED, apply=lambda _tx: _stands_still(moment))
    if "since" not in moment.so_far:
        return _begin_judging(moment, live)
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
    if waits := not_yet(moment, moment.results["ab"]):
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

        def undo(tx: Tx, moment: Moment, because: str) -> Result:
            return {**_ended(tx, moment, test, said), **_give_share_back(tx, moment, because)}

        return holds(moment, _IN_A_TEST, said.because, undo)
    asks = f"{said.because}; {approvers.waits_for(moment, ())}"
    return Waits(because=asks, people=True, apply=lambda tx: _ask(tx, moment, test, said))


def _ended(tx: Tx, moment: Moment, test: abtests.AbTest, said: judged.Judged) -> Result:
    """What is known now stands in the ledger: later records go with their time."""
    abtests.end(tx, by=moment.by, test=test, verdict=said.verdict, figures=said.figures, because=said.because)
    return {"judged": said.because, "abtest": test.id, "verdict": said.verdict}


def _ask(tx: Tx, moment: Moment, test: abtests.AbTest, said: judged.Judged) -> Result:
    """The approvers are asked once more, with what they could not know before."""
    result = _ended(tx, moment, test, said)
    before = approvers.standing(tx.connection, moment, tx.at)
    known = next((dict(one.evidence) for one in (*before.given, *before.void)), {})
    evidence = {**known, "abtest": test.id, "judged": said.because}
    ids = approvers.ask(tx, moment, evidence, since=test.begun_at)
    return {**moment.so_far, **result, "approvals": ids}


def _people(moment: Moment) -> Outcome:
    """Both go on answering until people have decided; then it goes on, or is held."""
    so_far = dict(moment.so_far)
    with moment.ground.db.read() as conn:
        standing = approvers.standing(conn, moment, moment.ground.clock())
    if standing.refused:
        because = f"refused by {standing.refused[0].role} after its A/B test"
        return holds(moment, _IN_A_TEST, because, _give_test_back)
    if standing.void:  # nobody decided in time, or another candidate took its place
        return holds(moment, _IN_A_TEST, "nobody decided on its A/B test", _give_test_back)
    if standing.complete:
        return Done(apply=lambda _tx: {**so_far, "approvals": [one.id for one in standing.given]})
    asks = f"{so_far['judged']}; {approvers.waits_for(moment, standing.waiting)}"
    return Waits(because=asks, people=True, apply=lambda _tx: so_far)


def _close_test(tx: Tx, moment: Moment, because: str) -> Result:
    """As the ledger knows it: what the step noted of it is gone when it fails."""
    test = abtests.newest(tx.connection, moment.journey.project, str(moment.journey.service))
    if test is None or test.release != moment.results["ab"]["release"]:
        return {}
    abtests.end(tx, by=moment.by, test=test, verdict="ended early", because=because)
    approvers.void(tx, moment, "its A/B test ended")
    return {"abtest": test.id}


def _give_test_back(tx: Tx, moment: Moment, because: str) -> Result:
    """The test says that it was ended, where it was not, and the live release has all the traffic again."""
    return {**_close_test(tx, moment, because), **_give_share_back(tx, moment, because)}


def _give_share_back(tx: Tx, moment: Moment, because: str) -> Result:
    return give_back(tx, moment, first_share(moment), because)
