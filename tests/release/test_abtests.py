"""An A/B test in the books: what the ledger says of it, and what is counted of each arm by who was drawn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from freehold.release import abtests, arms, roll
from freehold.release.roll import NothingToShare
from freehold.release.versions import ModelVersion
from freehold.spec.answer import FORGOTTEN
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.ground import Ground
from tests.release.conftest import person
from tests.support.records import an_answer

NAME = "claims-triage"
Say = Callable[..., None]
Run = Callable[..., roll.Released]
Make = Callable[..., ModelVersion]


@pytest.fixture
def two(declared: Callable[..., Any], approved: Make, released: Run) -> tuple[str, str]:
    """A live release, and the candidate of an A/B test beside it."""
    declared()
    live = released(approved("one"))
    return live.release, released(approved("two"), state="ab", weight=5_000).release


@pytest.fixture
def say(ground: Ground) -> Say:
    """Answers of a release about somebody, a microsecond apart."""
    turn = count()

    def write(release: str | None, subject: str | None = None, times: int = 1, **said: Any) -> None:
        with ground.db.write() as tx:
            for _ in range(times):
                about = {"release": release, "subject": subject, "at": tx.at + next(turn)}
                tx.execute(tables.answers.insert().values(an_answer(**about | said)))
            tx.tells_of({"answers"})  # the entries of answers are not what these tests are about

    return write


@pytest.fixture
def begun_test(ground: Ground) -> Callable[..., str]:
    def begin(live: str, release: str) -> str:
        with ground.db.write() as tx:
            two = {"release": release, "live": live, "weight": 5_000, "seconds": 60}
            return abtests.begin(tx, by=SYSTEM, project="claims", service=NAME, **two)  # type: ignore[arg-type]

    return begin


def found(ground: Ground, id: str) -> abtests.AbTest:
    with ground.db.read() as conn:
        return abtests.find(conn, id)


def test_a_candidate_gets_its_share_and_a_canary_keeps_its_people_and_its_release(
    ground: Ground, declared: Callable[..., Any], approved: Make, released: Run, snapshot: Any, recorded: Any
) -> None:
    declared()
    released(approved("one"))
    canary = released(approved("two"), state="canary", weight=500).release
    with ground.db.write() as tx:
        roll.weigh(tx, ground, by=SYSTEM, release=canary, weight=5_000, state="ab")
    with ground.db.read() as conn:
        there = {row["state"]: (row["id"], row["weight"]) for row in roll.running(conn, NAME)}
    assert there["ab"] == (canary, 5_000)
    assert there["live"][1] == 5_000
    (service,) = snapshot()["services"]
    assert [route["weight"] for route in service["routes"]] == [5_000, 5_000]
    assert service["routes"][-1]["release"] == canary, "the newest last: who came to it stays"
    (turned,) = [one["detail"] for one in recorded("release.weight") if one["detail"].get("state")]
    assert (turned["release"], turned["before"], turned["weight"], turned["state"]) == (
        canary,
        500,
        5_000,
        "ab",
    )


def test_a_person_takes_the_candidate_away_in_one_command(ground: Ground, two: tuple[str, str]) -> None:
    with ground.db.write() as tx:
        done, gone = roll.rollback(tx, ground, by=person("olga"), service=NAME, because="no")
    assert (done.release, gone) == two
    with ground.db.read() as conn:
        assert [(row["state"], row["weight"]) for row in roll.running(conn, NAME)] == [("live", 10_000)]
        assert arms.totals(conn, NAME).keys() == {two[0]}


def test_there_is_no_second_candidate_beside_it(
    two: tuple[str, str], approved: Make, released: Run, ground: Ground
) -> None:
    with pytest.raises(NothingToShare):
        released(approved("three"), state="ab", weight=500)
    with pytest.raises(NothingToShare), ground.db.write() as tx:
        roll.weigh(tx, ground, by=SYSTEM, release=two[0], weight=500, state="ab")


def test_the_ledger_is_what_is_known_of_it(
    ground: Ground, two: tuple[str, str], begun_test: Callable[..., str], recorded: Any
) -> None:
    id = begun_test(*two)
    begun = found(ground, id)
    assert (begun.live, begun.release, begun.verdict, begun.figures) == (*two, None, None)
    figures = {"drawn": {"A": 3, "B": 4}}
    for because in ("first", "again"):
        with ground.db.write() as tx:
            abtests.end(tx, by=SYSTEM, test=begun, verdict="not worse", figures=figures, because=because)
    ended = found(ground, id)
    assert (ended.verdict, ended.figures, ended.because) == ("not worse", figures, "first")
    (entry,) = recorded("abtest.ended")
    assert entry["object"] == id
    assert entry["detail"]["figures"] == figures
    with ground.db.read() as conn:
        assert abtests.newest(conn, "claims", NAME) == ended
        assert abtests.newest(conn, "claims", "another") is None


def test_an_answer_belongs_to_the_arm_of_its_release_while_the_test_lasts(
    ground: Ground, two: tuple[str, str], begun_test: Callable[..., str], clock: Any
) -> None:
    test = found(ground, begun_test(*two))
    with ground.db.write() as tx:
        abtests.end(tx, by=SYSTEM, test=test, verdict="worse")
    ended = found(ground, test.id).ended_at
    assert ended is not None

    def arm(release: str | None, at: int) -> str | None:
        answer = {"project": "claims", "service": NAME, "release": release, "at": at}
        with ground.db.read() as conn:
            told = abtests.arm_of(conn, answer)
        return told[1] if told else None

    assert (arm(two[0], test.begun_at), arm(two[1], test.begun_at)) == ("A", "B")
    assert arm(two[1], test.begun_at - 1) is None, "it was a canary then"
    assert arm(two[0], ended) is None
    assert arm("rel_another", test.begun_at) is None
    assert arm(None, test.begun_at) is None


def test_what_is_counted_is_counted_by_who_was_drawn(
    ground: Ground, two: tuple[str, str], say: Say, begun_test: Callable[..., str]
) -> None:
    live, ours = two
    say(ours, "before", times=5, at=1)
    since = found(ground, begun_test(live, ours)).begun_at
    say(ours, "ann", times=3, micros=2_000_000, cost="0.5", tokens_out=10)
    say(ours, "ann", ending="failed", reason="engine-failed")
    say(ours, "bob", ending="cut off", reason="client-gone")
    say(
        ours,
        "bob",
        ending="denied",
        reason="content-filter",
        guards="in pii mask: iban 1; out secrets refuse: key 1",
    )
    say(ours, None, times=2, micros=1_000_000, cost="0.25")
    # none of these is the model's: what its gateway took along, what the cache said, what was refused before
    say(ours, "cid", ending="failed", reason="gateway-died")
    say(ours, "cid", reason="cached", micros=5)
    say(ours, "cid", ending="denied", reason="forbidden", guards="in injection refuse")
    say(ours, "cid", ending=None)
    say(live, "dan", times=7)
    span = {"since": since, "until": 10**17}
    with ground.db.read() as conn:
        told = abtests.sums(conn, ours, **span)
        assert abtests.drawn(conn, ours, **span) == 5, "ann, bob, cid and two that named nobody"
        assert abtests.drawn(conn, live, **span) == 1
        assert abtests.sums(conn, "rel_none", **span)["failed"]["units"] == 0
    assert told["failed"] == {"units": 4, "n": 7, "y": 1, "nn": 16 + 1 + 1 + 1, "ny": 4, "yy": 1}
    assert told["cut off"]["y"] == 1
    assert (told["refused"]["y"], told["refused"]["n"]) == (1, 8)
    assert told["seconds"] == {"units": 3, "n": 5, "y": 8, "nn": 11, "ny": 20, "yy": 38}
    assert (told["cost"]["y"], told["tokens written"]["y"]) == (2.0, 30)


def test_who_was_forgotten_meanwhile_is_in_neither_arm(
    ground: Ground, two: tuple[str, str], say: Say, begun_test: Callable[..., str]
) -> None:
    """All of them are called the same: as one person they would outweigh everybody."""
    live, ours = two
    span = {"since": found(ground, begun_test(live, ours)).begun_at, "until": 10**17}
    say(ours, "ann", times=3)
    say(ours, None)

    def counted() -> tuple[int, object]:
        with ground.db.read() as conn:
            return abtests.drawn(conn, ours, **span), abtests.sums(conn, ours, **span)

    before = counted()
    for _ in range(5):
        say(ours, FORGOTTEN, times=40, ending="failed", reason="engine-failed")
    assert counted() == before


def test_what_a_release_refuses_by_its_own_domain_is_refused_by_it(
    ground: Ground, two: tuple[str, str], say: Say, begun_test: Callable[..., str]
) -> None:
    live, ours = two
    since = found(ground, begun_test(live, ours)).begun_at
    say(ours, "ann", times=3)
    say(ours, "ann", ending="denied", reason="content-filter", guards="in domain refuse: age 1")
    say(ours, "bob", ending="denied", reason="content-filter", guards="in pii mask: iban 1; in domain refuse")
    say(ours, "bob", ending="denied", reason="content-filter", guards="in pii refuse; in domain observe")
    with ground.db.read() as conn:
        told = abtests.sums(conn, ours, since=since, until=10**17)["refused"]
    assert (told["y"], told["n"]) == (2, 5)


def test_what_others_stood_in_for_is_counted(
    ground: Ground,
    two: tuple[str, str],
    say: Say,
    begun_test: Callable[..., str],
    declared: Callable[..., Any],
) -> None:
    live, ours = two
    declared("second")
    test = found(ground, begun_test(live, ours))
    say(live, "ann")
    say(ours, "bob", ending="failed", reason="left-alone")
    say(None, "cid", ending="denied", reason="wrong-purpose")  # nobody was drawn for it
    with ground.db.write() as tx:
        about = {"state": "live", "weight": 10_000, "approvals": "[]", "because": "", "created_at": tx.at}
        row = {"id": "rel_other", "service": "second", "serving_digest": "sha256:0", **about}
        tx.execute(tables.releases.insert().values(row))
        tx.tells_of({"releases"})
    say("rel_other", "dan", times=2)
    with ground.db.read() as conn:
        assert abtests.stood_in(conn, test, 10**17) == 2
        assert abtests.stood_in(conn, test, test.begun_at) == 0
