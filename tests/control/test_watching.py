"""Who looks like an attacker is judged by records: each caller by their own, and nobody by ordinary use."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from freehold.control import progress, subjects, watching
from freehold.control.watching import Watching
from freehold.data import carried, suppression
from freehold.data import forget as data_forget
from freehold.gateway.may import SensitivityRefused
from freehold.ledger.agree import disagreements
from freehold.release import incidents, notices, publish
from freehold.spec.answer import copy_of
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM
from freehold.spec.watching import MANY, OWN, Watch
from freehold.store import tables
from freehold.store.spool import Note
from freehold.store.spooled import Began, Ended, pack
from tests.control import test_ingest
from tests.support.records import an_incident

SECOND = 1_000_000
ANNA, BEN = "a" * 64, "b" * 64
REFUSED = ("in injection refuse",)
BEGAN = 1_800_000_000_000_000


class Crowd(test_ingest.Gateway):
    """A gateway whose callers do as a test says; control judges what it ships."""

    def __init__(self, house: Any, folder: Path) -> None:
        super().__init__(house, folder)
        self.watching, self.at = Watching(), BEGAN

    def asks(
        self,
        times: int = 1,
        *,
        key: str = "key_1",
        subject: str | None = None,
        guards: tuple[str, ...] = (),
        reason: str = "",
        every: float = 1.0,
        service: str = "triage",
        copies: bool = False,
    ) -> None:
        notes = []
        for _ in range(times):
            self.at += int(every * SECOND)
            id = copy_of(new_id("ans")) if copies else new_id("ans")
            intent = replace(test_ingest.intent(id, subject), key=key, at=self.at, service=service)
            close = replace(test_ingest.close(id), at=self.at + 1, guards=guards)
            if reason:
                close = replace(close, ending="denied", status=403, reason=reason, response=None)
            notes += [Note(pack(Began(intent))), Note(pack(Ended(close)))]
        self.spool.commit(notes)

    def jailbreaks(self, times: int = 1, **more: Any) -> None:
        self.asks(times, guards=REFUSED, reason="content-filter", **more)

    def judged(self) -> list[str]:
        """Ship everything; the incidents that follow."""
        found: list[str] = []
        ground = self.house.parts.ground
        while (taken := self.ship()).records:
            found += self.watching.look(ground, taken.ended)
        return found


@pytest.fixture
def crowd(house: Any, tmp_path: Path) -> Crowd:
    return Crowd(house, tmp_path / "spool")


def watch(house: Any, *rules: Watch) -> None:
    with house.parts.ground.db.write() as tx:
        incidents.declare(tx, rules=rules)


def rows(house: Any) -> list[dict[str, Any]]:
    with house.parts.ground.db.read() as conn:
        query = sa.select(tables.incidents).order_by(tables.incidents.c.at, tables.incidents.c.id)
        return [dict(row) for row in conn.execute(query).mappings()]


def held(house: Any) -> list[dict[str, Any]]:
    """Who is held back, as gateways are told."""
    with house.parts.ground.db.read() as conn:
        envelope = publish.envelope_of(conn, publish.newest_ix(conn))
    assert envelope is not None
    found: list[dict[str, Any]] = json.loads(base64.b64decode(str(envelope["payload"])))["restraints"]
    return found


def agree(house: Any) -> list[tuple[str, str]]:
    with house.parts.ground.db.read() as conn:
        return disagreements(conn)[1]


def wrong(house: Any) -> list[str]:
    """What `freehold status` says is wrong."""
    said: list[str] = progress.status(house.parts, None)["wrong"]
    return said


LOCK = Watch(rule="jailbreak", after=5, then="lock")


def test_a_series_of_jailbreaks_locks_the_key_and_opens_an_incident(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(4)
    assert crowd.judged() == []
    crowd.jailbreaks(1)
    (incident,) = crowd.judged()
    (row,) = rows(house)
    assert (row["id"], row["key"], row["rule"], row["does"]) == (incident, "key_1", "jailbreak", "lock")
    assert (row["state"], row["held"], row["count"], row["subject"]) == ("open", True, 5, None)
    (restraint,) = held(house)
    assert (restraint["key"], restraint["subject"], restraint["does"]) == ("key_1", "", "lock")
    assert [e["object"] for e in house.entries("incident.opened")] == [incident]
    assert agree(house) == []


def test_one_key_s_series_says_nothing_of_another_s(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    for number in range(20):
        crowd.jailbreaks(4, key=f"key_{number}")
    assert crowd.judged() == []
    crowd.jailbreaks(1, key="key_7")
    crowd.judged()
    assert [row["key"] for row in rows(house)] == ["key_7"]


def test_where_a_person_is_named_the_person_is_held_back_and_the_department_goes_on(
    house: Any, crowd: Crowd
) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(5, subject=ANNA)
    crowd.asks(50, subject=BEN)
    crowd.judged()
    assert [(one["key"], one["subject"]) for one in held(house)] == [("key_1", ANNA)]


def test_many_persons_of_one_key_together_are_told_and_the_key_is_not_locked(
    house: Any, crowd: Crowd
) -> None:
    """Somebody who names another person each time is no person: people look, and decide."""
    watch(house, LOCK)
    for number in range(50):
        crowd.jailbreaks(1, subject=f"{number:064x}")
    crowd.judged()
    (row,) = rows(house)
    assert (row["subject"], row["does"], row["held"], row["count"]) == (None, "observe", False, 50)
    assert held(house) == []


def test_a_rule_by_key_counts_whoever_is_named(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5, then="lock", by="key"))
    for number in range(5):
        crowd.jailbreaks(1, subject=f"{number:064x}")
    crowd.judged()
    assert [(one["key"], one["subject"]) for one in held(house)] == [("key_1", "")]


def test_what_is_refused_now_and_then_among_much_does_not_lock_somebody_busy(
    house: Any, crowd: Crowd
) -> None:
    watch(house, LOCK)
    for _ in range(30):  # one of twenty is refused, by mistake or not
        crowd.asks(19, every=0.1)
        crowd.jailbreaks(1, every=0.1)
    assert crowd.judged() == []


def test_slow_ones_are_no_series(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(20, every=150)  # five of them in more than ten minutes
    assert crowd.judged() == []


def test_without_a_rule_nothing_is_looked_at(
    house: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(watching, "_signs", lambda *asked: looks.append(asked) or ())
    crowd.jailbreaks(100)
    crowd.judged()
    assert not looks
    watch(house, LOCK)
    crowd.jailbreaks(1)
    crowd.judged()
    assert len(looks) == 1


def test_a_look_that_breaks_costs_no_record(
    house: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> Any:
        raise ZeroDivisionError

    watch(house, LOCK)
    with monkeypatch.context() as patched:
        patched.setattr(watching, "_signs", breaks)
        crowd.jailbreaks(10)
        assert crowd.judged() == []
    assert len(crowd.rows()) == 10
    assert (crowd.watching.failing_since, crowd.watching.why) != (None, "")
    crowd.jailbreaks(1)
    assert len(crowd.judged()) == 1  # counted from the rows
    assert (crowd.watching.failing_since, crowd.watching.why) == (None, "")


def test_an_incident_that_cannot_be_opened_keeps_no_other_from_it(
    house: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, failed = incidents.seen, []

    def fails_once(*asked: Any) -> Any:
        if not failed:
            failed.append(asked)
            raise ZeroDivisionError
        return seen(*asked)

    watch(house, LOCK)
    monkeypatch.setattr(incidents, "seen", fails_once)
    crowd.jailbreaks(5, key="key_1")
    crowd.jailbreaks(5, key="key_2")
    assert len(crowd.judged()) == 1
    assert crowd.watching.why == "ZeroDivisionError"


def test_that_nobody_can_look_at_who_asks_stands_in_the_status(house: Any) -> None:
    assert not [said for said in wrong(house) if "watched" in said]
    house.parts.watching.failing_since, house.parts.watching.why = BEGAN, "OperationalError"
    (said,) = (said for said in wrong(house) if "watched" in said)
    assert said.startswith("who asks is not watched since 2027-01-15")
    assert "OperationalError" in said


def test_copies_for_a_shadow_accuse_nobody(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(20, copies=True)
    assert crowd.judged() == []


def test_an_open_incident_is_not_opened_again(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    for _ in range(4):
        crowd.jailbreaks(10)
        crowd.judged()
    assert len(rows(house)) == 1


def test_a_batch_that_comes_twice_is_judged_once(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(5)
    data = crowd.spool.read(0, 1 << 20)
    ground = house.parts.ground
    assert len(crowd.watching.look(ground, crowd.take(data).ended)) == 1
    assert crowd.watching.look(ground, crowd.take(data).ended) == ()


def test_a_control_that_was_started_anew_counts_on_from_the_rows(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(4)
    crowd.judged()
    crowd.watching = Watching()
    crowd.jailbreaks(1)
    assert len(crowd.judged()) == 1


def test_two_controls_that_take_turns_find_it_together(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=40, then="lock"))
    turns = [Watching(), Watching()]
    for number in range(40):
        crowd.watching = turns[number % 2]
        crowd.jailbreaks(1)
        crowd.judged()
    assert len(rows(house)) == 1


def test_who_invents_persons_fills_neither_ledger_nor_mail_nor_snapshots(house: Any, crowd: Crowd) -> None:
    """A request names whom it likes: so many of a key are told apart, and then the key is."""
    house.person("olga@example.org", "claims/operator")
    ground = house.parts.ground
    with ground.db.write() as tx:
        notices.add_mail(tx, by=SYSTEM)
    watch(house, LOCK)
    published = len(house.entries("snapshot.published"))
    for number in range(30):
        crowd.jailbreaks(5, subject=f"{number:064x}", every=0.1)
        crowd.judged()
    found = rows(house)
    assert [(row["subject"], row["does"]) for row in found if not row["held"]] == [(None, "observe")]
    assert len(found) == len(house.entries("incident.opened")) == MANY + 1
    assert len(held(house)) == len(house.entries("snapshot.published")) - published == MANY
    with ground.db.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(tables.notices)) == MANY + 1


def test_what_is_dealt_with_is_not_counted_again(
    house: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incident may be open for long, and who it is about busy: each batch would count all they asked."""
    watch(house, Watch(rule="jailbreak", after=5))
    crowd.jailbreaks(5)
    assert len(crowd.judged()) == 1
    looks = []
    monkeypatch.setattr(watching, "_Records", lambda *asked: looks.append(asked))
    crowd.jailbreaks(50)
    assert crowd.judged() == []
    assert not looks


# -- when it was asked -----------------------------------------------------------------------------------


def test_a_series_early_in_a_long_batch_is_found(house: Any, crowd: Crowd) -> None:
    """A gateway that was cut off sends many minutes at once."""
    watch(house, LOCK)
    crowd.jailbreaks(10)
    at = crowd.at
    crowd.asks(100, every=15)
    crowd.jailbreaks(1)
    assert len(crowd.judged()) == 1
    (row,) = rows(house)
    assert (row["count"], row["seen_at"]) == (10, at)


def test_what_came_late_is_counted_with_what_others_sent_meanwhile(
    house: Any, crowd: Crowd, tmp_path: Path
) -> None:
    watch(house, LOCK)
    other = Crowd(house, tmp_path / "other")
    crowd.at += 300 * SECOND
    crowd.jailbreaks(3)
    assert crowd.judged() == []
    other.jailbreaks(2)
    assert len(other.judged()) == 1
    assert rows(house)[0]["seen_at"] == crowd.at


# -- unlocking ------------------------------------------------------------------------------------------


def test_unlocking_frees_the_key_closes_the_incident_and_begins_to_count_anew(
    house: Any, crowd: Crowd, clock: Any
) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(5)
    (incident,) = crowd.judged()
    ground = house.parts.ground
    with ground.db.write() as tx:
        closed, _ = incidents.unlock(tx, ground, by=SYSTEM, key="key_1", because="it was a test of ours")
    assert closed == (incident,)
    assert held(house) == []
    clock.at = max(clock.at, crowd.at)
    crowd.jailbreaks(4)
    assert crowd.judged() == []
    crowd.jailbreaks(1)
    assert len(crowd.judged()) == 1
    assert agree(house) == []


def test_only_what_holds_a_key_is_unlocked(house: Any) -> None:
    ground = house.parts.ground
    with pytest.raises(incidents.NotHeld), ground.db.write() as tx:
        incidents.unlock(tx, ground, by=SYSTEM, key="key_1", because="nothing")


def test_closing_needs_a_reason_and_what_is_closed_stays_so(house: Any, crowd: Crowd) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(5)
    (incident,) = crowd.judged()
    ground = house.parts.ground
    with pytest.raises(Exception, match="needs a reason"), ground.db.write() as tx:
        incidents.close(tx, ground, by=SYSTEM, incident=incident, because=" ")
    with ground.db.write() as tx:
        incidents.acknowledge(tx, ground, by=SYSTEM, incident=incident)
    assert len(held(house)) == 1
    with ground.db.write() as tx:
        incidents.close(tx, ground, by=SYSTEM, incident=incident, because="a stolen key, revoked")
    assert held(house) == []
    with pytest.raises(incidents.IncidentClosed), ground.db.write() as tx:
        incidents.close(tx, ground, by=SYSTEM, incident=incident, because="again")
    assert "stolen" not in rows(house)[0]["because"]
    assert agree(house) == []


# -- throttling ------------------------------------------------------------------------------------------


def test_a_throttle_is_over_by_itself_and_holds_anew_who_goes_on(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5, then="throttle", to="3/min", lasts="1m"))
    crowd.jailbreaks(5)
    (incident,) = crowd.judged()
    (first,) = held(house)
    assert (first["does"], first["pace"], first["until"]) == ("throttle", 3, crowd.at + 60 * SECOND)
    crowd.jailbreaks(10)
    assert crowd.judged() == []
    crowd.at += 60 * SECOND
    crowd.jailbreaks(1)
    assert crowd.judged() == [incident]
    assert held(house)[0]["until"] == crowd.at + 60 * SECOND
    assert len(rows(house)) == 1
    assert agree(house) == []


def test_what_was_only_observed_is_acted_on_when_the_rule_says_so(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5))
    crowd.jailbreaks(5)
    crowd.judged()
    assert held(house) == []
    watch(house, LOCK)
    crowd.jailbreaks(1)
    crowd.judged()
    assert [row["does"] for row in rows(house)] == ["observe", "lock"]


def test_a_stricter_rule_acts_on_whom_a_milder_one_held(house: Any, crowd: Crowd) -> None:
    throttle = Watch(rule="jailbreak", after=5, then="throttle")
    watch(house, throttle, Watch(rule="jailbreak", after=15, then="lock"))
    crowd.jailbreaks(5)
    assert len(crowd.judged()) == 1
    crowd.jailbreaks(10)
    assert len(crowd.judged()) == 1
    assert [row["does"] for row in rows(house)] == ["throttle", "lock"]
    crowd.jailbreaks(40)
    assert crowd.judged() == []
    assert agree(house) == []


def test_of_two_rules_that_are_broken_at_once_the_stricter_one_acts(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5, then="throttle"), LOCK)
    crowd.jailbreaks(5)
    crowd.judged()
    assert [row["does"] for row in rows(house)] == ["lock"]


def test_who_goes_on_with_a_renewed_token_has_to_renew_it_again(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5, then="renew"))
    crowd.jailbreaks(5, key="tok_1")
    (incident,) = crowd.judged()
    assert held(house)[0]["since"] == crowd.at
    crowd.jailbreaks(4, key="tok_1")
    assert crowd.judged() == []
    crowd.jailbreaks(1, key="tok_1")
    assert crowd.judged() == [incident]
    assert held(house)[0]["since"] == crowd.at
    assert len(rows(house)) == 1
    assert agree(house) == []


# -- the other rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", watching.ABUSE)
def test_a_key_that_is_tried_for_what_it_is_not_for(house: Any, crowd: Crowd, reason: str) -> None:
    watch(house, Watch(rule="key-abuse", after=5, then="lock"))
    crowd.asks(4)
    crowd.asks(5, reason=reason)
    crowd.judged()
    assert [row["rule"] for row in rows(house)] == ["key-abuse"]


def test_what_one_person_is_refused_locks_no_department(house: Any, crowd: Crowd) -> None:
    """A gateway names the person in the record of what it refuses, too (tests/gateway/test_answer.py)."""
    watch(house, Watch(rule="key-abuse", after=5, then="lock"))
    for number in range(50):
        crowd.asks(1, subject=f"{number:064x}")
    crowd.asks(5, subject=ANNA, reason="consent-withdrawn")
    crowd.judged()
    assert [(one["key"], one["subject"]) for one in held(house)] == [("key_1", ANNA)]


def test_what_is_refused_about_nobody_is_a_share_of_all_that_a_key_asks(house: Any, crowd: Crowd) -> None:
    """For it is the key that would be locked, with everybody who asks with it."""
    watch(house, Watch(rule="key-abuse", after=5, then="lock"))
    for number in range(50):
        crowd.asks(1, subject=f"{number:064x}")
    crowd.asks(5, reason="purpose-refused")
    assert crowd.judged() == []
    crowd.asks(50, reason="purpose-refused")
    crowd.judged()
    assert [(one["key"], one["subject"]) for one in held(house)] == [("key_1", "")]


def test_what_is_above_a_key_s_clearance_is_what_it_is_not_for(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="key-abuse", after=5))
    crowd.asks(5, reason=SensitivityRefused(service="triage").code)
    assert len(crowd.judged()) == 1


def test_a_budget_that_is_used_up_is_no_abuse(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="key-abuse", after=5, then="lock"))
    crowd.asks(50, reason="budget-used-up")
    assert crowd.judged() == []


def test_scraping_is_asking_about_many_different_people(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="scraping", after=40, then="throttle"))
    for _ in range(3):
        for number in range(39):  # as many as they are, asked about again and again
            crowd.asks(1, subject=f"{number:064x}")
    assert crowd.judged() == []
    crowd.asks(1, subject=ANNA)
    crowd.judged()
    assert [(row["rule"], row["subject"], row["count"]) for row in rows(house)] == [("scraping", None, 40)]


def test_as_it_ships_scraping_is_of_persons_who_are_named(
    house: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that nobody is named to answers ten thousand an hour, and scrapes nobody."""
    monkeypatch.setitem(OWN, "scraping", (40, "1h", 0))
    watch(house, Watch(rule="scraping", then="throttle"))
    crowd.asks(100)
    for number in range(39):
        crowd.asks(1, subject=f"{number:064x}")
    assert crowd.judged() == []
    crowd.asks(1, subject=ANNA)
    assert len(crowd.judged()) == 1
    watch(house, Watch(rule="scraping", after=40))
    crowd.asks(40, key="key_2")
    assert len(crowd.judged()) == 1


def test_extraction_shows_in_rows_unlike_those_the_model_learned_from(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="extraction", after=20, then="lock"))
    for _ in range(50):  # ordinary use: an odd row now and then
        crowd.asks(9, every=0.1)
        crowd.asks(1, every=0.1, guards=("in domain observe: age 1",))
    assert crowd.judged() == []
    crowd.asks(20, key="key_2", guards=("in domain observe: age 1, region 1",))
    crowd.judged()
    assert [(row["rule"], row["key"]) for row in rows(house)] == [("extraction", "key_2")]


def test_a_rule_about_one_service_leaves_the_others_alone(house: Any, crowd: Crowd) -> None:
    watch(house, Watch(rule="jailbreak", after=5, then="lock", project="claims", services=("triage",)))
    crowd.jailbreaks(20, service="letters")
    assert crowd.judged() == []
    crowd.jailbreaks(5)
    assert len(crowd.judged()) == 1


@pytest.mark.parametrize("rule", OWN)
def test_ordinary_use_breaks_no_rule_as_it_ships(house: Any, crowd: Crowd, rule: Any) -> None:
    """A department's day in an hour: 3,000 answers about 600 people, with what goes wrong on such a day."""
    watch(house, Watch(rule=rule, then="lock"))
    for number in range(600):
        crowd.asks(4, subject=f"{number:064x}", every=0.9)
        odd = {
            0: {"guards": REFUSED, "reason": "content-filter"},
            1: {"reason": "consent-withdrawn"},
            2: {"guards": ("in domain observe: age 1",)},
            3: {"guards": ("in injection flag",)},
        }.get(number % 20, {})
        crowd.asks(1, subject=f"{number:064x}", every=0.9, **odd)
    assert crowd.judged() == []
    assert rows(house) == []


# -- who hears of it, and who is forgotten ----------------------------------------------------------------


def test_operators_and_webhooks_hear_of_an_incident_and_nobody_is_named(house: Any, crowd: Crowd) -> None:
    house.person("olga@example.org", "claims/operator")
    house.person("ann@example.org", "claims/auditor")
    ground = house.parts.ground
    with ground.db.write() as tx:
        notices.add_webhook(tx, ground, by=SYSTEM, url="http://127.0.0.1:1/hook")
        notices.add_mail(tx, by=SYSTEM)
    watch(house, LOCK)
    crowd.jailbreaks(5, subject=ANNA)
    (incident,) = crowd.judged()
    with ground.db.read() as conn:
        told = conn.execute(sa.select(tables.notices.c.channel, tables.notices.c.body)).all()
    assert sorted(row.channel for row in told) == ["mail", "webhook"]
    for row in told:
        assert json.loads(row.body)["incident"] == incident
        assert ANNA not in row.body
    assert ANNA not in house.entries("incident.opened")[0]["body"]


def test_who_is_forgotten_is_in_no_incident_and_nothing_is_held_against_them(
    house: Any, crowd: Crowd
) -> None:
    watch(house, LOCK)
    crowd.jailbreaks(5, subject=ANNA)
    crowd.judged()
    ground = house.parts.ground
    with ground.db.write() as tx:
        data_forget.remove_words(tx, by=SYSTEM, project="claims", subject=ANNA, forgetting="fgt_1")
        publish.publish(tx, ground, by=SYSTEM)
    assert ANNA not in str(rows(house))
    assert held(house) == []
    assert agree(house) == []
    crowd.jailbreaks(5)
    assert len(crowd.judged()) == 1


def test_what_is_held_about_somebody_has_their_incidents_and_a_restoration_finds_them_there(
    house: Any,
) -> None:
    ground = house.parts.ground
    incident = an_incident(ground, subject=ANNA)
    assert subjects.show(ground, "claims", ANNA)["incidents"] == 1
    (said,) = subjects.export(ground, "claims", ANNA, by=SYSTEM)["incidents"]
    assert (said["id"], said["does"], said["state"]) == (incident, "lock", "open")
    mark = suppression.mark(ground.keyring, "claims", ANNA)
    gone = carried.Forgotten(id="fgt_1", project="claims", journey="jny_1", request="DSR-1", mark=mark)
    with ground.db.read() as conn:
        assert carried.whom(conn, ground.keyring, gone) == ANNA
