"""What a gateway recorded is taken in once, whole, sealed anew; a broken chain is an alarm."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from postgres_server import past_us

from freehold.control import ingest, lineage
from freehold.control.ingest import FramesUnreadable, RecordUnknown, TakenIn, take_in
from freehold.data import suppression
from freehold.data.forget import remove_words
from freehold.ledger import answered
from freehold.ledger.agree import disagreements
from freehold.ledger.record import record
from freehold.spec.answer import Again, Close, Intent, Turn, Words, copy_of
from freehold.spec.commitment import commitment
from freehold.spec.ids import made_at, new_id, now
from freehold.spec.principal import SYSTEM, Principal
from freehold.store import contents, hpke, tables
from freehold.store.keyring import KeyDestroyed
from freehold.store.sealed import seal
from freehold.store.spool import Note, Spool
from freehold.store.spooled import WORDS_KEY, Began, Box, Ended, Repeated, Turned, pack

GATEWAY = Principal(kind="machine", id="gateway", zone="border", key="key_border")
SUBJECT = "5" * 64


class Gateway:
    """A spool written as a gateway writes it, and shipped to the house."""

    def __init__(self, house: Any, folder: Path) -> None:
        self.house = house
        folder.mkdir(exist_ok=True)
        self.spool = Spool.create(folder)
        self.private = house.parts.home.spool_key.read_bytes()
        self.key = os.urandom(32)
        self.sealed_key = hpke.seal_to(hpke.public_of(self.private), self.key, WORDS_KEY)
        self.spoiled = False
        """Whether rows were changed behind our back."""

    def answer(
        self,
        *,
        subject: str | None = None,
        words: str = "water in the kitchen",
        guards: tuple[str, ...] = (),
        went: tuple[str, ...] = (),
    ) -> str:
        answer = new_id("ans")
        self.spool.commit([Note(pack(Began(intent(answer, subject, words))))])
        ended = replace(close(answer), guards=guards, went=went)
        self.spool.commit([Note(pack(Ended(ended, self.box(answer, words))))])
        return answer

    def box(self, answer: str, words: str) -> Box:
        said = Words(answer=answer, request=words.encode(), response=b'{"class":"water"}', salt="00" * 16)
        return Box(self.sealed_key, seal(self.key, msgspec.msgpack.encode(said), answer.encode()))

    def ship(self, after: int | None = None, limit: int = 1 << 20) -> TakenIn:
        data = self.spool.read(self.spool.acknowledged if after is None else after, limit)
        taken = self.take(data)
        self.spool.acknowledge(taken.sequence)
        return taken

    def take(self, data: bytes) -> TakenIn:
        ground = self.house.parts.ground
        return take_in(ground, by=GATEWAY, spool=self.spool.id, data=data, private=self.private)

    def rows(self) -> list[Any]:
        with self.house.parts.ground.db.read() as conn:
            return list(conn.execute(sa.select(tables.answers).order_by(tables.answers.c.id)))

    def words(self, answer: str, part: str) -> bytes:
        ground = self.house.parts.ground
        c = tables.contents.c
        with ground.db.read() as conn:
            row = conn.execute(sa.select(c.key, c.sealed).where(c.answer == answer, c.part == part)).one()
        return contents.open_words(ground.keyring, row.key, answer, part, row.sealed)


def began(answer: str) -> int:
    """When a gateway would have begun it."""
    return made_at(answer) or 0


def intent(answer: str, subject: str | None = None, words: str = "w") -> Intent:
    return Intent(
        answer=answer,
        at=began(answer),
        project="claims",
        service="triage",
        key="key_1",
        purpose="claims-handling",
        subject=subject,
        release="rel_1",
        serving_digest="sha256:" + "a" * 64,
        snapshot=3,
        sandbox=False,
        request=commitment(bytes(16), words),
        request_id="req-7",
        trace=None,
        idempotency=None,
    )


def close(answer: str) -> Close:
    return Close(
        answer=answer,
        at=began(answer) + 500_000,
        ending="answered",
        status=200,
        reason="ok",
        response=commitment(bytes(16), b'{"class":"water"}'),
        tokens_in=5,
        tokens_out=2,
        estimated=True,
        micros=500_000,
        cost="0.0012",
    )


def agree(house: Any) -> list[tuple[str, str]]:
    with house.parts.ground.db.read() as conn:
        return [found for found in disagreements(conn)[1] if found[0].startswith("answers")]


def changed(house: Any) -> list[tuple[str, str]]:
    with house.parts.ground.db.read() as conn:
        return answered.changed(conn)


@pytest.fixture
def gateway(house: Any, tmp_path: Path) -> Iterator[Gateway]:
    """Whatever it ships, the rows say in the end what the entries say."""
    made = Gateway(house, tmp_path / "spool")
    yield made
    assert made.spoiled or changed(house) == []


def test_an_answer_becomes_a_row_two_entries_and_sealed_words(house: Any, gateway: Gateway) -> None:
    answer = gateway.answer(subject=SUBJECT)
    assert gateway.ship().records == 2
    (row,) = gateway.rows()
    assert (row.id, row.ending, row.reason, row.cost) == (answer, "answered", "ok", "0.0012")
    assert (row.subject, row.tokens_in, row.estimated) == (SUBJECT, 5, True)
    assert [entry["object"] for entry in house.entries("answer.intent")] == [answer]
    assert [entry["project"] for entry in house.entries("answer.close")] == ["claims"]
    assert gateway.words(answer, "request") == b"water in the kitchen"
    assert gateway.words(answer, "response") == b'{"class":"water"}'


def test_where_the_words_went_of_several_addresses_is_in_the_entry(house: Any, gateway: Gateway) -> None:
    gateway.answer(went=("http://10.0.0.1/v1", "http://10.0.0.2/v1"))
    gateway.answer()
    gateway.ship()
    said = [json.loads(entry["body"])["detail"].get("went") for entry in house.entries("answer.close")]
    assert said == [["http://10.0.0.1/v1", "http://10.0.0.2/v1"], None]
    assert agree(house) == []


def test_what_the_guards_did_is_in_the_row_and_in_the_entry(house: Any, gateway: Gateway) -> None:
    gateway.answer(guards=("in pii mask: e-mail 2", "out secrets observe: jwt 1"))
    gateway.answer()
    gateway.ship()
    row, other = gateway.rows()
    assert (row.guards, other.guards) == ("in pii mask: e-mail 2; out secrets observe: jwt 1", None)
    said = [json.loads(entry["body"])["detail"].get("guards") for entry in house.entries("answer.close")]
    assert said == [["in pii mask: e-mail 2", "out secrets observe: jwt 1"], None]
    assert agree(house) == []


def test_an_answer_that_another_target_gave_is_that_ones(house: Any, gateway: Gateway) -> None:
    answer, data = new_id("ans"), gateway.spool
    other = Turn(
        answer=answer,
        at=1_800_000_000_100_000,
        release="rel_2",
        serving_digest="sha256:" + "b" * 64,
        instead=("triage upstream-away",),
    )
    data.commit([Note(pack(Began(intent(answer))))])
    first = gateway.ship()
    data.commit([Note(pack(Turned(other)))])
    data.commit([Note(pack(Ended(close(answer))))])
    assert gateway.ship(first.sequence).records == 2
    gateway.take(data.read(0, 1 << 20))
    (row,) = gateway.rows()
    assert (row.release, row.serving_digest, row.ending) == ("rel_2", "sha256:" + "b" * 64, "answered")
    (entry,) = house.entries("answer.turned")
    told = json.loads(entry["body"])["detail"]
    assert (entry["project"], told["instead"]) == ("claims", ["triage upstream-away"])
    tree = lineage.why(house.parts.ground, dict(row._mapping), lineage.Sight(data=True))
    assert tree.facts["instead"] == "triage upstream-away"
    assert agree(house) == []


def test_a_copy_names_the_answer_it_is_a_copy_of_and_goes_with_the_person(
    house: Any, gateway: Gateway
) -> None:
    given = gateway.answer(subject=SUBJECT)
    copy = copy_of(given)
    ended = Ended(replace(close(copy), reason="same"), gateway.box(copy, "water in the kitchen"))
    gateway.spool.commit([Note(pack(Began(intent(copy, SUBJECT)))), Note(pack(ended))])
    gateway.ship()
    live, ours = gateway.rows()
    assert (live.id, ours.id, ours.reason, ours.subject) == (given, copy, "same", SUBJECT)
    said = [json.loads(entry["body"])["detail"].get("copy_of") for entry in house.entries("answer.intent")]
    assert said == [None, given]
    ground = house.parts.ground
    trees = [lineage.why(ground, dict(row._mapping), lineage.Sight(data=True)) for row in (live, ours)]
    assert (trees[0].facts["copy"], trees[1].facts["copy_of"]) == (copy, given)
    assert "a copy, given to nobody" in trees[1].label
    assert gateway.words(copy, "request") == b"water in the kitchen"
    with ground.db.write() as tx:
        gone = remove_words(tx, by=SYSTEM, project="claims", subject=SUBJECT, forgetting="jrn_1")
    assert gone == {"answers": 2, "words": 6, "incidents": 0}
    assert {row.subject for row in gateway.rows()} == {"forgotten"}
    assert agree(house) == []


def test_the_same_batch_twice_is_taken_in_once(house: Any, gateway: Gateway) -> None:
    gateway.answer()
    data = gateway.spool.read(0)
    assert gateway.take(data).records == 2
    assert gateway.take(data) == TakenIn(sequence=2, records=0)
    assert len(gateway.rows()) == 1
    assert len(house.entries("answer.close")) == 1
    assert not house.entries("spool.gap")


def test_a_batch_that_overlaps_the_last_one_adds_only_what_is_new(house: Any, gateway: Gateway) -> None:
    gateway.answer()
    gateway.ship()
    gateway.answer()
    assert gateway.take(gateway.spool.read(1)).records == 2
    assert not house.entries("spool.gap")


def test_an_answer_may_end_in_a_later_batch(gateway: Gateway) -> None:
    gateway.answer(subject=SUBJECT)
    gateway.ship(limit=1)
    assert [row.ending for row in gateway.rows()] == [None]
    gateway.ship(limit=1)
    (row,) = gateway.rows()
    assert row.ending == "answered"
    assert gateway.words(row.id, "request") == b"water in the kitchen"


@pytest.mark.parametrize("until", ["begun", "turned", "ended", "not left"])
def test_a_row_is_the_same_whether_its_records_came_together_or_one_by_one(
    house: Any, gateway: Gateway, until: str
) -> None:
    first = new_id("ans")
    for one in (first, first[:-1] + ("1" if first.endswith("0") else "0")):  # begun in the same millisecond
        other = Turn(
            answer=one,
            at=began(one),
            release="rel_2",
            serving_digest="sha256:" + "b" * 64,
            instead=("triage away",),
        )
        later = began(one) + 600_000
        not_left = replace(close(one), at=later, ending="failed", reason="spool-unwritable", status=503)
        last = replace(close(one), guards=("in pii mask: e-mail 2",))
        all_of_it = [Began(intent(one)), Turned(other), Ended(last), Ended(not_left)]
        said = all_of_it[: ["begun", "turned", "ended", "not left"].index(until) + 1]
        gateway.spool.commit([Note(pack(record)) for record in said])
    half = gateway.spool.durable // 2
    while gateway.spool.acknowledged < half:
        gateway.ship(limit=1)
    assert gateway.ship().records == half
    apart, together = [dict(row._mapping) for row in gateway.rows()]
    assert [name for name in apart if apart[name] != together[name]] == ["id", "sequence"]
    assert agree(house) == []


def test_one_that_began_earlier_may_end_before_others_begin(house: Any, gateway: Gateway) -> None:
    gateway.answer()
    gateway.ship(limit=1)
    gateway.answer()
    gateway.ship()
    assert [row.ending for row in gateway.rows()] == ["answered", "answered"]
    assert agree(house) == []


def test_words_about_a_person_are_gone_with_the_persons_key(house: Any, gateway: Gateway) -> None:
    about, general = gateway.answer(subject=SUBJECT), gateway.answer()
    gateway.ship()
    with house.parts.ground.db.read() as conn:
        c = tables.contents.c
        names = dict(conn.execute(sa.select(c.answer, c.key)).all())
        sealed = conn.scalars(sa.select(c.sealed).where(c.answer == about, c.part == "request")).one()
    assert names[about] == f"subject/claims/{SUBJECT}"
    day = dt.datetime.fromtimestamp(began(general) / 1e6, dt.UTC)
    assert names[general] == f"day/claims/{day:%Y-%m-%d}"
    with pytest.raises(KeyDestroyed):
        contents.open_words(house.parts.ground.keyring, "subject/claims/nobody", about, "request", sealed)


def test_a_record_that_comes_late_brings_back_nobody_who_was_forgotten(house: Any, gateway: Gateway) -> None:
    ground = house.parts.ground
    subject = ground.keyring.subject("claims", "anna-k")
    before = gateway.answer(subject=subject)
    forget(ground, subject)
    gateway.ship()
    (row,) = gateway.rows()
    assert (row.id, row.subject, row.ending) == (before, "forgotten", "answered")
    with ground.db.read() as conn:
        assert conn.execute(sa.select(tables.contents)).first() is None
        bodies = conn.scalars(sa.select(tables.entries.c.body)).all()
    assert not any(subject in body for body in bodies)
    assert ground.keyring.known([f"subject/claims/{subject}"]) == {}


def test_a_forgetting_that_begins_while_a_batch_is_taken_in_is_not_missed(
    house: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground, sealing = house.parts.ground, ingest._words
    subject = ground.keyring.subject("claims", "anna-k")

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(ingest, "_words", sealing)
        sealed = sealing(*given)
        forget(ground, subject)
        return sealed

    monkeypatch.setattr(ingest, "_words", meanwhile)
    gateway.answer(subject=subject)
    assert gateway.ship().records == 2
    (row,) = gateway.rows()
    assert (row.subject, row.ending) == ("forgotten", "answered")
    with ground.db.read() as conn:
        assert conn.execute(sa.select(tables.contents)).first() is None
        bodies = conn.scalars(sa.select(tables.entries.c.body)).all()
    assert not any(subject in body for body in bodies)


def forget(ground: Any, subject: str) -> None:
    """The row of a forgetting that came to its end."""
    mark = suppression.mark(ground.keyring, "claims", subject)
    about = {"project": "claims", "request": "DSR-1", "journey": "jrn_1", "state": "destroyed", "left": "{}"}
    with ground.db.write() as tx:
        row = {"id": "fgt_1", "mark": mark, "asked_at": 1, "marked_at": 1, "destroyed_at": now()}
        tx.execute(tables.forgettings.insert().values(**about, **row))
        detail = {"forgetting": "fgt_1", "request": "DSR-1", "journey": "jrn_1"}
        record(tx, "forgetting.asked", by=GATEWAY, object="fgt_1", detail=detail)


def test_missing_frames_are_an_alarm_and_the_rest_is_taken_in(house: Any, gateway: Gateway) -> None:
    gateway.answer()
    gateway.ship()
    gateway.answer()
    lost = gateway.spool.durable
    gateway.answer()
    assert gateway.ship(after=lost).records == 2
    (alarm,) = house.entries("spool.gap")
    assert '"expected":3' in alarm["body"]
    assert '"found":5' in alarm["body"]
    assert len(gateway.rows()) == 2


def test_numbers_used_again_for_other_records_are_an_alarm_and_lose_nothing(
    house: Any, gateway: Gateway, tmp_path: Path
) -> None:
    """A gateway whose disk went back in time writes new answers under old numbers."""
    gateway.answer()
    gateway.answer()
    gateway.ship()
    again = Gateway(house, tmp_path / "again")
    again.spool.close()
    folder = tmp_path / "again" / gateway.spool.id
    folder.mkdir()
    again.spool = Spool.open(folder)
    again.answer()
    assert again.ship(after=0).records == 2
    assert len(house.entries("spool.gap")) == 1
    assert len(gateway.rows()) == 3
    again.answer()
    assert again.ship(after=2).records == 2
    assert len(house.entries("spool.gap")) == 1, "one alarm, not one a batch"


def not_left(answer: str, ending: str = "failed") -> Ended:
    return Ended(replace(close(answer), ending=ending, status=503, reason="spool-stalled"))  # type: ignore[arg-type]


@pytest.mark.parametrize("batches", ["one", "two"])
def test_an_answer_that_did_not_leave_after_all_is_amended_once(
    house: Any, gateway: Gateway, batches: str
) -> None:
    answer = gateway.answer()
    if batches == "two":
        gateway.ship()
    for _ in range(2):
        again = Ended(not_left(answer).close, gateway.box(answer, "water in the kitchen"))
        gateway.spool.commit([Note(pack(again))])
    gateway.ship()
    gateway.ship(after=0)  # the acknowledgement was lost
    (row,) = gateway.rows()
    assert (row.ending, row.status, row.reason) == ("failed", 503, "spool-stalled")
    assert len(house.entries("answer.close")) == 1
    assert len(house.entries("answer.amended")) == 1
    assert gateway.words(answer, "request") == b"water in the kitchen"
    assert not house.entries("spool.gap")
    assert agree(house) == []


def test_what_was_refused_does_not_become_answered_later(house: Any, gateway: Gateway) -> None:
    answer = new_id("ans")
    gateway.spool.commit([Note(pack(Began(intent(answer)))), Note(pack(not_left(answer)))])
    gateway.spool.commit([Note(pack(Ended(close(answer))))])
    gateway.ship()
    assert [row.ending for row in gateway.rows()] == ["failed"]
    assert not house.entries("answer.amended")


def test_an_end_without_a_beginning_is_reported_once_and_holds_up_nothing(
    house: Any, gateway: Gateway
) -> None:
    lost = new_id("ans")
    gateway.spool.commit([Note(pack(Ended(close(lost), gateway.box(lost, "words of nobody we know"))))])
    gateway.answer()
    for _ in range(3):
        assert gateway.ship(after=0).sequence == 3
    (report,) = house.entries("spool.unbegun")
    assert f'"answer":"{lost}"' in report["body"]
    assert [row.ending for row in gateway.rows()] == ["answered"]
    assert not house.entries("spool.gap"), "the chain is whole: the beginning was never in it"
    assert agree(house) == []


def test_that_an_answer_was_given_again_is_one_row_and_one_entry(house: Any, gateway: Gateway) -> None:
    answer = gateway.answer()
    again = Again(
        id=new_id("agn"),
        answer=answer,
        at=1_800_000_001_000_000,
        project="claims",
        key="key_1",
        request_id="req-8",
        given=True,
    )
    gateway.spool.commit([Note(pack(Repeated(again)))])
    gateway.ship()
    gateway.ship(after=0)
    (entry,) = house.entries("answer.again")
    assert (entry["object"], entry["project"]) == (answer, "claims")
    assert '"key":"key_1"' in entry["body"]
    assert agree(house) == []
    gateway.spool.commit([Note(pack(Repeated(replace(again, given=False))))])
    gateway.ship()
    gateway.ship(after=0)
    with house.parts.ground.db.read() as conn:
        assert conn.execute(sa.select(tables.answers_again.c.given)).scalars().all() == [False]
    assert len(house.entries("answer.again")) == len(house.entries("answer.amended")) == 1


def test_a_repetition_removed_or_added_behind_our_back_is_found(house: Any, gateway: Gateway) -> None:
    answer = gateway.answer()
    again = Again(id="agn_1", answer=answer, at=1, project="claims", key="key_1", request_id=None, given=True)
    gateway.spool.commit([Note(pack(Repeated(again)))])
    gateway.ship()
    gateway.spoiled = True
    past_us = house.parts.ground.db.writer_engine
    with past_us.begin() as conn:
        conn.execute(tables.answers_again.delete())
    assert [place for place, _ in agree(house)] == ["answers_again"]
    row = {"answer": answer, "project": "claims", "key": "key_1", "given": True, "at": 1}
    with past_us.begin() as conn:
        conn.execute(tables.answers_again.insert(), [{"id": f"agn_{n}", **row} for n in range(2)])
    assert [place for place, _ in agree(house)] == [f"answers_again `{answer}`"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            ("project", "'travel'"),
            ("service", "'other'"),
            ("release", "NULL"),
            ("serving_digest", "'sha256:1'"),
        ),
        *(("key", "'key_2'"), ("purpose", "'marketing'"), ("subject", "NULL"), ("snapshot", "9")),
        *(("sandbox", "true"), ("request", "'hmac'"), ("request_id", "'req-8'"), ("ending", "'denied'")),
        *(("reason", "'cached'"), ("status", "403"), ("response", "NULL"), ("tokens_in", "9")),
        *(("tokens_out", "9"), ("estimated", "false"), ("micros", "1"), ("cost", "'0'"), ("guards", "NULL")),
    ],
    ids=lambda said: said if said.isidentifier() else "",
)
def test_what_somebody_changed_in_the_row_of_an_answer_is_found(
    house: Any, gateway: Gateway, column: str, value: str
) -> None:
    answer = gateway.answer(subject=SUBJECT, guards=("in pii mask: iban 1",))
    gateway.answer()
    gateway.ship()
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql(f"UPDATE answers SET {column} = {value} WHERE id = '{answer}'")
    assert agree(house) == [], "each has its entries"
    assert changed(house) == [(f"answers `{answer}`", f"its `{column}` is not what its entries say")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "at - 7200000000"),
        ("at", "at + 7200000000"),
        *(("closed_at", "closed_at - 7200000000"), ("closed_at", "closed_at + 7200000000")),
        ("closed_at", "NULL"),
    ],
)
def test_an_answer_that_somebody_moved_to_another_time_is_found(
    house: Any, gateway: Gateway, column: str, value: str
) -> None:
    answer = gateway.answer()
    gateway.answer()
    gateway.ship()
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql(f"UPDATE answers SET {column} = {value} WHERE id = '{answer}'")
    assert changed(house) == [(f"answers `{answer}`", f"its `{column}` is not when its entries have it")]


def test_an_answer_under_way_has_no_end(house: Any, gateway: Gateway) -> None:
    answer = new_id("ans")
    gateway.spool.commit([Note(pack(Began(intent(answer))))])
    gateway.ship()
    assert changed(house) == []
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql("UPDATE answers SET closed_at = at")
    assert changed(house) == [(f"answers `{answer}`", "its `closed_at` is not when its entries have it")]


def test_entries_from_before_they_named_a_trace_are_compared_too(house: Any, gateway: Gateway) -> None:
    answer = gateway.answer()
    gateway.ship()
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql("""UPDATE entries SET body = replace(body, ',"trace":null', '')""")
    assert changed(house) == []
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql("UPDATE answers SET status = 403")
    assert changed(house) == [(f"answers `{answer}`", "its `status` is not what its entries say")]


def test_that_it_was_given_again_to_somebody_else_is_found(house: Any, gateway: Gateway) -> None:
    answer = gateway.answer()
    again = Again(
        id=new_id("agn"), answer=answer, at=7, project="claims", key="key_1", request_id=None, given=True
    )
    gateway.spool.commit([Note(pack(Repeated(again)))])
    gateway.ship()
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        connection.exec_driver_sql("UPDATE answers_again SET key = 'key_2'")
    assert changed(house) == [(f"answers_again `{again.id}`", "its `key` is not what its entries say")]


def test_that_two_were_given_again_the_other_way_round_is_found(house: Any, gateway: Gateway) -> None:
    given = [gateway.answer(), gateway.answer()]
    for n, answer in enumerate(given):
        again = Again(
            id=f"agn_{n}", answer=answer, at=7, project="claims", key="key_1", request_id=None, given=True
        )
        gateway.spool.commit([Note(pack(Repeated(again)))])
    gateway.ship()
    gateway.spoiled = True
    with past_us(house.parts.ground.db) as connection:
        for n, answer in enumerate(reversed(given)):
            connection.exec_driver_sql(f"UPDATE answers_again SET answer = '{answer}' WHERE id = 'agn_{n}'")
    assert agree(house) == [], "each was given again as often as its entries say"
    ((place, why),) = changed(house)
    assert place.startswith("answers_again `agn_")
    assert why == "its `answer` is not what its entries say"


def test_words_that_do_not_open_are_told_and_do_not_hold_up_the_rest(house: Any, gateway: Gateway) -> None:
    gateway.key = bytes(32)  # not the key that was sealed to control
    answer = gateway.answer()
    gateway.ship()
    assert [entry["object"] for entry in house.entries("spool.unreadable")] == [answer]
    assert [row.ending for row in gateway.rows()] == ["answered"]


def test_what_is_no_frame_or_no_record_is_refused_whole(gateway: Gateway) -> None:
    gateway.answer()
    data = gateway.spool.read(0)
    with pytest.raises(FramesUnreadable):
        gateway.take(data[:-1])
    with pytest.raises(FramesUnreadable):
        gateway.take(b"something else entirely, long enough to be looked at as a frame of some kind or other")
    gateway.spool.commit([Note(b"\x81\xa4type\xa5other")])
    with pytest.raises(RecordUnknown):
        gateway.take(gateway.spool.read(0))
    assert not gateway.rows()


def test_notes_without_a_record_only_move_the_chain(gateway: Gateway) -> None:
    gateway.answer()
    gateway.spool.turn_over()
    assert gateway.ship().records == 2
    assert gateway.ship(after=2).sequence == 3
    gateway.answer()
    assert gateway.ship().records == 2


def test_nothing_of_a_persons_words_or_id_stands_in_the_entries(house: Any, gateway: Gateway) -> None:
    gateway.answer(subject=SUBJECT, words="Anna Kovacs broke her leg")
    gateway.ship()
    with house.parts.ground.db.read() as conn:
        bodies = list(conn.scalars(sa.select(tables.entries.c.body)))
    assert not [body for body in bodies if "Anna" in body]
