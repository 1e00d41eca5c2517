"""The journey purge, with a clock that moves: what is over goes, what happened stays, a hold stops it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control import keeping
from freehold.control.doubting import Doubt
from freehold.data import holds, lineage, retention, use, versions
from freehold.data.holds import OnHold
from freehold.data.use import NotUsable
from freehold.errors import NotFound, Unavailable
from freehold.journeys import certificate, purge
from freehold.ledger import agree
from freehold.ledger.certified import OF_PURGE
from freehold.store.signing import Envelope, verify
from freehold.store.tables import answers, contents, data_versions, entries, purges
from tests.journeys.world import World

DAY = 86_400


def due(world: World) -> retention.Due:
    return retention.due(world.ground, "claims", world.ground.clock())


def kept(world: World, answer: str) -> dict[str, Any]:
    """The record of an answer."""
    with world.db.read() as conn:
        return dict(conn.execute(sa.select(answers).where(answers.c.id == answer)).mappings().one())


def hold(world: World, what: str, object: str = "") -> str:
    by = world.person("privacy")
    return keeping.place_hold(
        world.ground, by=by, project="claims", what=what, object=object, because="case 12/2026"
    )


def test_words_go_when_their_time_is_over_and_the_record_of_the_answer_stays(world: World) -> None:
    """Six months of logs and no content kept too long: both."""
    world.keep("90d")
    world.answered("ans_a", "c-7")
    before = kept(world, "ans_a")
    world.skip(89 * DAY)
    world.answered("ans_b", "c-7")
    assert keeping.begin_due(world.ground) == []
    world.skip(2 * DAY)
    assert world.run(world.purge()) == "done"
    assert world.words("ans_a") is None
    assert world.words("ans_b") == "ans_b said"
    assert kept(world, "ans_a") == before
    with world.db.read() as conn:
        told = conn.scalars(sa.select(entries.c.kind).where(entries.c.object == "ans_a")).all()
        assert agree.disagreements(conn)[1] == []
    assert sorted(told) == ["answer.close", "answer.intent"]
    assert keeping.begin_due(world.ground) == []  # nothing is left to do


def test_a_copy_of_the_words_opens_with_nothing_that_is_left(world: World) -> None:
    """In a backup from before, say: the person's key is there, the day's is not."""
    from freehold.store.contents import open_words
    from freehold.store.keyring import KeyDestroyed

    world.keep("90d")
    world.answered("ans_a", "c-7")
    with world.db.read() as conn:
        row = conn.execute(sa.select(contents).where(contents.c.part == "request")).one()
    world.skip(91 * DAY)
    assert world.run(world.purge()) == "done"
    assert world.ring.key(row.key)
    with pytest.raises(KeyDestroyed, match="words/claims/"):
        open_words(world.ring, row.key, "ans_a", "request", row.sealed)


def test_the_most_precise_rule_counts(world: World) -> None:
    world.keep("1y")
    world.keep("30d", purpose="marketing")
    world.answered("ans_a")
    world.answered("ans_b", purpose="marketing")
    world.skip(32 * DAY)
    assert [period.purpose for period in due(world).periods] == ["marketing"]
    world.keep("2y", purpose="marketing")
    assert not due(world)
    with world.db.write() as tx:
        by = world.person("privacy")
        retention.end_rule(tx, by=by, project="claims")
    world.skip(400 * DAY)
    assert not due(world)  # without a rule for them the others are kept without end


def test_rows_go_when_the_time_of_their_data_set_is_over_and_the_version_stays(world: World) -> None:
    with world.db.read() as conn:
        version = versions.find(conn, "claims", "claims@1")
        layout = conn.scalar(sa.select(data_versions.c.layout).where(data_versions.c.id == version.id))
    blobs = [chunk["blob"] for chunk in json.loads(layout)["chunks"]]
    world.skip(3 * 366 * DAY)
    assert world.run(world.purge()) == "done"
    with world.db.read() as conn:
        after = versions.find(conn, "claims", "claims@1")
        assert agree.disagreements(conn)[1] == []
        with pytest.raises(NotUsable, match="expired"):
            use.pin(conn, "claims", "claims@1", purpose="claims-handling")
    assert (after.digest, after.rows, after.state) == (version.digest, version.rows, "expired")
    assert not lineage.row(world.ground, after, 1).present
    for blob in blobs:
        with pytest.raises(NotFound):
            world.ground.blobs.get(blob)
    assert world.ring.names("chunk/") == []
    with pytest.raises(NotFound):
        use.write_arrow(world.ground, after, world.home.root / "x.arrow", purpose="claims-handling")


@pytest.mark.parametrize(
    ("what", "object"),
    [("everything", ""), ("service", "claims-triage"), ("purpose", "claims-handling")],
)
def test_a_hold_keeps_what_is_over_until_it_ends(world: World, what: str, object: str) -> None:
    world.keep("90d")
    world.answered("ans_a", "c-7")
    stands = hold(world, what, object)
    world.skip(400 * DAY)
    assert keeping.begin_due(world.ground) == []
    assert due(world).held == 1
    with world.db.read() as conn:
        found = holds.find(conn, stands)
    keeping.end_hold(world.ground, found, by=world.person("privacy"), because="settled")
    assert world.run(world.purge()) == "done"
    assert world.words("ans_a") is None


def test_a_hold_on_a_person_keeps_their_words_and_the_rows_about_them(world: World) -> None:
    world.keep("90d")
    world.answered("ans_a", "c-7")
    world.answered("ans_b", "c-8")
    world.answered("ans_c")
    hold(world, "subject", "c-7")
    world.skip(4 * 366 * DAY)
    assert world.run(world.purge()) == "done"
    assert (world.words("ans_a"), world.words("ans_b"), world.words("ans_c")) == ("ans_a said", None, None)
    with world.db.read() as conn:
        assert versions.find(conn, "claims", "claims@1").state == "ready"
    assert keeping.begin_due(world.ground) == []


def test_who_is_under_a_hold_is_not_forgotten(world: World) -> None:
    hold(world, "data", "claims")
    with pytest.raises(OnHold, match=r"17\(3\)\(e\)"):
        world.forget("c-7")
    world.forget("nobody-we-know")  # the hold covers nothing of theirs


def test_a_hold_that_comes_between_look_and_removal_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keep("90d")
    world.answered("ans_a", "c-7")
    world.skip(91 * DAY)
    journey = world.purge()
    looked, placed = purge._some, list[str]()

    def look(*given: Any) -> list[str]:
        found = looked(*given)
        if not placed:
            placed.append(hold(world, "subject", "c-7"))
        return found

    monkeypatch.setattr(purge, "_some", look)
    world.run(journey)
    world.new_runner()  # the pause after a try in vain is over
    assert world.run(journey) == "done"
    assert world.words("ans_a") == "ans_a said"


def test_a_hold_that_comes_while_a_purge_looks_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at a large installation takes seconds, and in one of them somebody is told `hld_… stands`."""
    world.keep("90d")
    world.answered("ans_a", "c-7")
    world.skip(4 * 366 * DAY)
    journey = world.purge()
    while world.step(journey, "find").state != "done":
        world.runner.advance(journey)
    looked, placed = retention.due, list[str]()

    def look(*given: Any) -> retention.Due:
        found = looked(*given)
        placed.extend(hold(world, "everything") for _ in range(not placed))
        return found

    monkeypatch.setattr(retention, "due", look)
    world.run(journey)
    world.new_runner()  # the pause after a try in vain is over
    assert world.run(journey) == "done"
    assert world.words("ans_a") == "ans_a said"
    with world.db.read() as conn:
        assert versions.find(conn, "claims", "claims@1").state == "ready"


def test_a_hold_that_ends_while_a_purge_is_under_way_makes_nobody_say_that_something_is_there_still(
    world: World,
) -> None:
    world.keep("90d")
    world.answered("ans_a", "c-7")
    stands = hold(world, "data", "claims")
    world.skip(4 * 366 * DAY)
    journey = world.purge()
    while world.step(journey, "remove").state != "done":
        world.runner.advance(journey)
    with world.db.read() as conn:
        found = holds.find(conn, stands)
    keeping.end_hold(world.ground, found, by=world.person("privacy"), because="settled")
    assert world.run(journey) == "done"
    assert world.run(world.purge()) == "done"  # and then what the hold had kept
    with world.db.read() as conn:
        assert versions.find(conn, "claims", "claims@1").state == "expired"


def test_the_certificate_says_what_went_and_names_nobody(world: World) -> None:
    journey = world.purge_of_everything()
    assert world.run(journey) == "done"
    with world.db.read() as conn:
        issued = certificate.of_journey(conn, journey)
        row = conn.execute(sa.select(purges)).mappings().one()
    assert issued is not None
    envelope = Envelope.from_json(json.loads(issued["envelope"]))
    said = json.loads(verify(world.ground.release_key.public_key(), envelope, OF_PURGE))
    assert [one["ref"] for one in said["found"]["data"]] == ["claims@1"]
    assert said["found"]["words"][0]["service"] == "claims-triage"
    assert said["done"]["remove"]["answers"] == 2
    assert set(said["entries"]) == {"purge.begun", "purge.removed", "purge.destroyed", "purge.checked"}
    for text in (str(dict(row)), issued["envelope"], json.dumps(said)):
        assert "c-7" not in text
        assert world.ring.subject("claims", "c-7") not in text


def test_many_words_go_some_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    world.keep("90d")
    for number in range(8):
        world.answered(f"ans_{number}", "c-7" if number % 2 else None)
    world.skip(91 * DAY)
    journey = world.purge()
    for _ in range(4):
        state = world.run(journey)
    assert state == "done"
    result = world.step(journey, "remove").result
    assert (result["answers"], result["words"]) == (8, 24)
    with world.db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(contents)) == 0


@pytest.mark.parametrize("words", [True, False])
def test_what_a_failed_purge_left_goes_with_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch, words: bool
) -> None:
    """Also when nothing else is over by then: rows of data sets leave nothing that would be found again."""
    from dataclasses import replace

    from freehold.jobs.steps import Moment, Outcome

    def away(_moment: Moment) -> Outcome:
        from freehold.errors import BadInput

        raise BadInput(what="the objects are away")

    monkeypatch.setitem(
        world.stories,
        "purge",
        replace(
            purge.PURGE,
            steps=tuple(replace(s, do=away) if s.name == "destroy" else s for s in purge.PURGE.steps),
        ),
    )
    world.new_runner()
    if not words:
        world.skip(4 * 366 * DAY)
    assert world.run(world.purge_of_everything() if words else world.purge()) == "failed"
    chunks = world.ring.names("chunk/")
    assert chunks
    world.stories["purge"] = purge.PURGE
    world.new_runner()
    assert keeping.begin_due(world.ground) == []  # not at once
    world.skip(3700)
    assert world.run(world.purge()) == "done"
    assert world.ring.names("chunk/") == world.ring.names("words/") == []
    assert list(world.ground.blobs.list()) == []
    world.skip(3700)
    assert keeping.begin_due(world.ground) == []
    with world.db.read() as conn:
        assert agree.disagreements(conn)[1] == []


def test_a_clock_without_a_database_says_so_and_looks_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import threading

    looked = threading.Event()
    parts = SimpleNamespace(ground=world.ground, doubt=Doubt())

    def away(_ground: Any) -> list[str]:
        looked.set()
        raise Unavailable(what="the database is away")

    monkeypatch.setattr(keeping, "begin_due", away)
    keeper = keeping.Keeper(parts=parts, first_after=0.01, every=60)  # type: ignore[arg-type]  # enough of it
    keeper.start()
    assert looked.wait(10)
    keeper.stop()
    assert "retention was not looked at: Unavailable" in caplog.text


def test_words_of_before_there_were_days_are_found_by_the_day_of_their_answer(world: World) -> None:
    from freehold.ledger.record import record
    from freehold.spec.principal import SYSTEM
    from freehold.store.contents import key_name
    from freehold.store.sealed import derive, seal

    world.answered("ans_old", "c-7")
    world.answered("ans_else", "c-8", service="claims-else")
    for answer, person in (("ans_old", "c-7"), ("ans_else", "c-8")):
        name = key_name("claims", world.ring.subject("claims", person), world.ground.clock())
        with world.db.write() as tx:
            for part in ("request", "response", "salt"):
                place = f"answer/{answer}/{part}".encode()
                old = seal(derive(world.ring.key(name), "words"), f"{answer} said".encode(), place)
                which = (contents.c.answer == answer) & (contents.c.part == part)
                tx.execute(contents.update().where(which).values(sealed=old))
    world.ring.destroy(world.ring.names("words/"))  # of then there is none
    detail = {"before": "0002", "after": "0003"}
    with world.db.write() as tx:
        record(tx, "installation.upgraded", by=SYSTEM, object="schema", detail=detail)
    world.answered("ans_new", "c-7")
    world.keep("90d")
    hold(world, "service", "claims-else")
    world.skip(91 * DAY)
    assert world.words("ans_old") == "ans_old said"
    assert keeping.name_days(world.ground) == 2
    assert world.run(world.purge()) == "done"
    assert [world.words(f"ans_{which}") for which in ("old", "new", "else")] == [None, None, "ans_else said"]
    assert keeping.name_days(world.ground) == 1  # what is held stays named
    assert keeping.begin_due(world.ground) == []


def test_an_installation_that_never_was_of_before_looks_for_nothing(world: World) -> None:
    world.answered("ans_a", "c-7")
    assert keeping.name_days(world.ground) == 0


def test_the_rounds_of_a_large_purge_are_no_tries_in_vain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error that passes must not end what went well for a thousand rounds."""
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    world.keep("90d")
    for number in range(12):
        world.answered(f"ans_{number}", "c-7")
    world.skip(91 * DAY)
    journey = world.purge()
    removed, rounds = retention.remove_words, list[int]()

    def away_once(tx: Any, ids: list[str]) -> int:
        rounds.append(len(ids))
        if len(rounds) == 10:
            raise Unavailable(what="the database was held up by something else")
        return removed(tx, ids)

    monkeypatch.setattr(retention, "remove_words", away_once)
    for _ in range(20):
        world.run(journey)
    assert world.state(journey).state == "running"
    world.runner._pause.clear()  # the pause after a try in vain is over
    assert [world.run(journey) for _ in range(6)][-1] == "done"
    assert len(rounds) == 13
