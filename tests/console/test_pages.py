"""What the first page, answers, impact and the ledger show, and to whom."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.console.charts import graph
from freehold.console.ways import quoted, ways
from freehold.control.found import Asked, AskedEntries, page_of_answers, page_of_entries
from freehold.ledger.kinds import KINDS
from freehold.ledger.record import record
from freehold.release.stop import stop
from freehold.spec.controls import CONTROLS
from freehold.spec.principal import ROLES, SYSTEM
from freehold.spec.receipt import Receipt
from freehold.spec.tree import Tree
from freehold.store import tables
from tests.console.conftest import Browser, words_of
from tests.control.test_lineage import _answer, line
from tests.support.records import an_incident

__all__ = ["line"]

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'


def answered(house: Any, line: Any, **more: Any) -> str:
    """An answer with both of its entries."""
    answer: str = _answer(house.parts.ground, line, **more)
    with house.parts.ground.db.write() as tx:
        detail = {"answer": answer, "ending": "answered", "status": 200, "reason": "ok"}
        detail |= {"tokens_in": 0, "tokens_out": 0, "cost": "0"}
        record(tx, "answer.close", by=SYSTEM, object=answer, project="claims", detail=detail)
    return answer


def enter(house: Any, line: Any, name: str) -> Any:
    return Browser(house.parts).log_in(line.people[name][1]["authorization"].removeprefix("Bearer "))


# -- the first page -----------------------------------------------------------------------------------


def test_an_empty_house_shows_examples_stamped_as_such_and_how_to_fill_them(signed_in: Any) -> None:
    page = signed_in("claims/auditor").get("/").text
    assert page.count('class="stamp"') == 3
    for command in ("freehold apply service.yaml", "freehold ask SERVICE"):
        assert command in words_of(page)


def test_the_strip_says_only_what_is_known(house: Any, signed_in: Any) -> None:
    browser = signed_in("claims/auditor")
    page = words_of(browser.get("/").text)
    assert "parts up" not in page  # nobody wrote down which parts there are
    assert "approval" not in page
    house.parts.sequencer.run_once()
    assert "entries in the ledger, signed" in words_of(browser.get("/").text)


def test_the_strip_says_when_the_ledger_last_held_and_what_does_not(house: Any, signed_in: Any) -> None:
    browser = signed_in("claims/auditor")
    house.parts.sequencer.run_once()
    house.parts.checked.at = house.parts.ground.clock()
    assert "ledger verified just now" in words_of(browser.get("/").text)
    house.parts.checked.because = "services `claims-triage`: its `purpose` is not what its declaration says"
    page = browser.get("/").text
    told = "the ledger does not verify: services claims-triage : its purpose is not what its declaration says"
    assert told in words_of(page)
    assert "<code>claims-triage</code>" in page


def prove(house: Any, **failed: str) -> None:
    """As `freehold doctor` writes it down."""
    with house.parts.ground.db.write() as tx:
        for name in CONTROLS:
            because = failed.get(name.replace("-", "_"), "")
            kind = "control.failed" if because else "control.proved"
            detail = {"control": name, "run": "dct_1", "because": because}
            record(tx, kind, by=SYSTEM, object=f"control:{name}", detail=detail)


def test_the_strip_says_how_many_controls_hold_and_names_those_that_do_not(
    house: Any, signed_in: Any
) -> None:
    auditor, trainer = signed_in("*/auditor"), signed_in("claims/trainer")
    assert "controls" not in words_of(auditor.get("/").text)
    prove(house)
    assert f"{len(CONTROLS)}/{len(CONTROLS)} controls proved just now" in words_of(auditor.get("/").text)
    prove(house, dead_spool="it was answered")
    page = auditor.get("/").text
    assert f"{len(CONTROLS) - 1}/{len(CONTROLS)} controls proved" in words_of(page)
    assert "does not hold: what cannot be recorded is not answered" in words_of(page)
    assert 'href="/controls"' in page
    assert "controls proved" not in words_of(trainer.get("/").text)


def test_every_control_is_listed_tried_or_not_and_one_that_does_not_hold_says_what_was_seen(
    house: Any, signed_in: Any
) -> None:
    auditor = signed_in("*/auditor")
    before = words_of(auditor.get("/controls").text)
    assert f"0/{len(CONTROLS)} proved" in before
    assert before.count("was never tried") == len(CONTROLS)
    prove(house, dead_spool="it was answered")
    page = words_of(auditor.get("/controls").text)
    assert f"{len(CONTROLS) - 1}/{len(CONTROLS)} proved" in page
    for name, title in CONTROLS.items():
        assert f"{name} {title}" in page
    assert "dead-spool what cannot be recorded is not answered does not hold it was answered" in page
    assert "freehold doctor" in page
    assert signed_in("claims/trainer").get("/controls").status_code == 403


def test_the_line_is_drawn_from_data_to_answers(house: Any, line: Any) -> None:
    answered(house, line)
    page = enter(house, line, "alma").get("/").text
    text = words_of(page)
    for word in ("claims@1", "claims-triage@1", "1 answer = ", "approved"):
        assert word in text
    assert "1 answer = 1 record" in text or "on their way" in text
    assert 'class="stamp"' not in page.partition('id="meter"')[0]


def test_a_live_service_that_nobody_asked_today_is_drawn_as_there(house: Any, line: Any) -> None:
    def flows() -> list[str]:
        """From left to right, as the wide picture has them."""
        page = enter(house, line, "alma").get("/").text.partition('class="drawing river narrow')[0]
        return re.findall(r'class="flow s\d( waits)?"', page)

    assert flows() == ["", "", ""]
    with house.parts.ground.db.write() as tx:
        stop(tx, house.parts.ground, by=SYSTEM, service="claims-triage", because="it smells")
    assert flows() == ["", "", " waits"]


def test_the_headline_counts_answers_and_records_in_two_tables(house: Any, line: Any) -> None:
    for _ in range(3):
        answered(house, line)
    house.parts.sequencer.run_once()
    browser = enter(house, line, "alma")
    assert "3 answers = 3 records" in words_of(browser.get("/").text)
    _answer(house.parts.ground, line)  # an answer that ended, and no entry says so
    assert "4 answers ≠ 3 records" in words_of(browser.get("/").text)


def test_who_may_not_read_answers_does_not_see_their_day(signed_in: Any) -> None:
    assert "do not include reading answers" in words_of(signed_in().get("/").text)


def test_the_navigation_shows_what_one_may_open(signed_in: Any) -> None:
    assert 'href="/answers"' not in signed_in().get("/").text  # administrators do not read answers
    assert 'href="/answers"' in signed_in("claims/trainer").get("/").text


@pytest.mark.parametrize("role", ROLES)
def test_no_page_leads_to_one_that_its_reader_is_refused(
    house: Any, line: Any, signed_in: Any, role: str
) -> None:
    """From the first page on, by every link: what is refused would stand in the ledger as their attempt."""
    answered(house, line)
    an_incident(house.parts.ground, service="claims-triage")
    browser = signed_in(f"claims/{role}")
    opened, ahead = dict[str, int](), ["/"]
    while ahead:
        said = browser.get(path := ahead.pop())
        opened[path] = said.status_code
        links = (unescape(link).partition("#")[0] for link in re.findall(r'href="(/[^"]*)"', said.text))
        ahead += {link for link in links if link not in opened} - set(ahead)
    assert [path for path, status in opened.items() if status == 403] == []
    assert len(opened) > 5


# -- answers ------------------------------------------------------------------------------------------


def test_answers_are_found_by_service_ending_key_and_time(house: Any, line: Any) -> None:
    mine = answered(house, line, key="key_mine", ending="denied", reason="over-limit")
    other = answered(house, line)
    browser = enter(house, line, "alma")
    assert {mine, other} <= set(_ids(browser.get("/answers").text))
    for query in (
        "ending=denied",
        "key=key_mine",
        "service=claims-triage&ending=denied",
        "since=2020-01-01T00:00",
    ):
        assert mine in _ids(browser.get(f"/answers?{query}").text), query
    for query in ("ending=failed", "key=key_none", "service=no-such", "until=2020-01-01T00:00"):
        assert not _ids(browser.get(f"/answers?{query}").text), query
    assert browser.get(f"/answers?id={mine}").headers["location"] == f"/answers/{mine}"


def _ids(page: str) -> list[str]:
    return re.findall(r'href="/answers/(ans_[0-9a-z]+)"', page)


def test_a_list_is_read_page_by_page_forth_and_back(house: Any, line: Any) -> None:
    made = [answered(house, line) for _ in range(120)]
    browser = enter(house, line, "alma")
    seen, page = [], browser.get("/answers").text
    seen += _ids(page)
    while older := re.search(r'rel="next" href="([^"]+)"', page):
        page = browser.get(older[1].replace("&amp;", "&")).text
        seen += _ids(page)
    assert seen == made[::-1]
    newer = re.search(r'rel="prev" href="([^"]+)"', page)
    assert newer
    assert _ids(browser.get(newer[1].replace("&amp;", "&")).text) == made[::-1][50:100]


@pytest.mark.parametrize("query", ["older=x", "newer=1", "older=99999999999999999999.a", "since=tomorrow"])
def test_a_place_that_is_none_is_told(signed_in: Any, query: str) -> None:
    assert signed_in("claims/auditor").get(f"/answers?{query}").status_code == 400


def test_an_answer_shows_its_record_and_what_stands_behind_it(house: Any, line: Any) -> None:
    answer = answered(house, line)
    page = enter(house, line, "alma").get(f"/answers/{answer}").text
    text = words_of(page)
    for word in ("answered", "claims-handling", "model claims-triage@1", "data claims@1", "gate bias"):
        assert word in text, word
    assert f"freehold why {answer}" in text
    assert "Bearer $FREEHOLD_KEY" in text


def test_words_are_shown_only_when_asked_for_and_that_is_recorded(house: Any, line: Any) -> None:
    answer = answered(house, line)
    browser = enter(house, line, "alma")
    browser.get(f"/answers/{answer}")
    assert not house.entries("answer.read")
    said = browser.fill_in(f"/answers/{answer}", f"/answers/{answer}/words")
    assert "it is on the record" in words_of(said.text)
    assert len(house.entries("answer.read")) == 1


def test_answers_of_another_project_are_not_there(house: Any, line: Any) -> None:
    answer = answered(house, line)
    eve = enter(house, line, "eve")
    assert not _ids(eve.get("/answers").text)
    assert eve.get(f"/answers/{answer}").status_code == 404


def test_an_administrator_is_refused_answers_and_it_is_recorded(signed_in: Any, house: Any) -> None:
    assert signed_in().get("/answers").status_code == 403
    assert house.entries("refusal")


# -- impact -------------------------------------------------------------------------------------------


def test_impact_walks_forward_to_answers_and_for_a_person(house: Any, line: Any) -> None:
    answer = answered(house, line)
    browser = enter(house, line, "alma")
    assert browser.get("/impact?ref=data:claims@1").headers["location"] == "/impact/data:claims@1"
    assert answer in browser.get("/impact/data:claims@1").text
    assert "basis consent" in words_of(browser.get("/impact/data:claims@1?row=2").text)
    said = browser.fill_in("/impact/data:claims@1", "/impact/data:claims@1", subject="anna-k")
    assert "2 rows in claims@1" in words_of(said.text)
    assert "anna-k" not in said.text  # the page repeats no name
    for wrong in ("/impact/nothing", "/impact/data:claims@1?row=0", "/impact/data:claims@1?row=x"):
        assert browser.get(wrong).status_code == 400
    assert browser.get("/impact/claims@9").status_code == 404


# -- ledger -------------------------------------------------------------------------------------------


def test_an_auditor_explores_entries_and_others_are_led_to_verify(
    house: Any, line: Any, signed_in: Any
) -> None:
    house.parts.sequencer.run_once()
    alma = enter(house, line, "alma")
    page = alma.get("/ledger?kind=release.begun").text
    assert "release.begun" in page
    entry = house.entries("release.begun")[0]
    shown = alma.get(f"/ledger/entries/{entry['id']}")
    assert "a model version gets traffic" in words_of(shown.text)
    assert enter(house, line, "tim").get("/ledger").headers["location"] == "/ledger/verify"
    assert enter(house, line, "eve").get(f"/ledger/entries/{entry['id']}").status_code == 404


def test_an_auditor_of_one_project_sees_no_entries_of_others(house: Any, line: Any) -> None:
    page = enter(house, line, "alma").get("/ledger").text
    assert "person.added" not in words_of(page).partition("Place")[2]  # that is the installation's
    with house.parts.ground.db.read() as conn:
        asked = AskedEntries(kind="person.added")
        assert page_of_entries(conn, None, asked, None, "older", 5).rows
        assert not page_of_entries(conn, ["claims"], asked, None, "older", 5).rows


def test_every_entry_is_found_once_whatever_page_size(house: Any, line: Any) -> None:
    with house.parts.ground.db.read() as conn:
        every = conn.scalars(sa.select(tables.entries.c.id)).all()
        for asked in (AskedEntries(), *(AskedEntries(kind=kind) for kind in list(KINDS)[:12])):
            seen: list[str] = []
            cursor = None
            while True:
                page = page_of_entries(conn, None, asked, cursor, "older", 3)
                seen += [row["id"] for row in page.rows]
                cursor = page.older
                if cursor is None:
                    break
            assert len(seen) == len(set(seen))
            if asked == AskedEntries():
                assert set(seen) == set(every)


def test_the_receipt_of_an_answer_holds_against_the_public_key(house: Any, line: Any) -> None:
    answer = answered(house, line)
    text = enter(house, line, "tim").get(f"/ledger/entries/{answer}/receipt").text
    _, entry = Receipt.parse(text).check(house.parts.sequencer.public)
    assert entry["object"] == answer


def test_bundles_of_entries_are_for_auditors_of_the_installation(house: Any, signed_in: Any) -> None:
    house.parts.sequencer.run_once()
    with house.parts.ground.db.read() as conn:
        size = conn.scalar(sa.select(sa.func.count()).select_from(tables.ledger))
    path = f"/ledger/bundle/000.p/{size}"
    assert signed_in("claims/trainer").get(path).status_code == 403
    everywhere = signed_in("*/auditor")
    house.parts.sequencer.run_once()
    assert everywhere.get(path).status_code == 200
    assert everywhere.get("/ledger/bundle/../../secret").status_code == 404


# -- escaping and size --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["service", "purpose", "reason", "key"])
def test_a_hostile_name_is_text_on_every_page(house: Any, line: Any, where: str) -> None:
    answer = answered(house, line, **{where: HOSTILE if where != "key" else HOSTILE[:40]})
    browser = enter(house, line, "alma")
    for path in (
        "/",
        "/answers",
        f"/answers/{answer}",
        f"/ledger?object={HOSTILE}",
        f"/answers?service={HOSTILE}",
    ):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert ">49<" not in page


def test_a_drawing_escapes_what_it_draws_and_has_no_style_of_its_own() -> None:
    tree = Tree(kind="model", ref=HOSTILE, label=HOSTILE, children=(Tree(kind="run", ref="run:1"),))
    drawn = str(graph.tree(tree, lambda _: f"/x?{HOSTILE}", label=HOSTILE))
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert "style=" not in drawn


def test_no_page_has_a_style_or_script_within_it(house: Any, line: Any) -> None:
    import re

    answer = answered(house, line)
    browser = enter(house, line, "alma")
    for path in (
        "/",
        "/answers",
        f"/answers/{answer}",
        "/impact",
        "/impact/data:claims@1",
        "/advise",
        "/ledger",
        "/ledger/verify",
        "/controls",
    ):
        page = browser.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page), path


def planned(raw: Any, statement: str, parameters: Any, is_sqlite: bool) -> list[str]:
    """How the database would read it, step by step; Postgres as if the table were long."""
    if is_sqlite:
        return [str(row[3]) for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    with raw.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        return [str(row[0]) for row in cursor.execute(f"EXPLAIN {statement}", parameters)]


def test_a_page_deep_in_a_long_list_costs_what_the_first_one_does(house: Any, line: Any) -> None:
    """Each stretch of the list is read from an index, in its order: nothing is sorted or skipped."""
    db = house.parts.ground.db
    asked = Asked(service="claims-triage", key=None)
    plans: list[str] = []

    def explain(conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT answers"):
            plans.extend(planned(conn.connection.driver_connection, statement, parameters, db.is_sqlite))

    engine = db._readers
    sa.event.listen(engine, "before_cursor_execute", explain)
    try:
        with db.read() as conn:
            page_of_answers(conn, ["claims"], asked, (10**15, "ans_x"), "older", 50)
            page_of_answers(conn, ["claims"], Asked(ending="failed"), (10**15, "ans_x"), "older", 50)
    finally:
        sa.event.remove(engine, "before_cursor_execute", explain)
    assert plans
    wrong = re.compile(r"\bSCAN\b|B-TREE FOR ORDER BY$|Seq Scan")
    assert not [plan for plan in plans if wrong.search(plan)], plans


def test_a_word_of_another_page_is_not_told(signed_in: Any) -> None:
    page = signed_in("claims/auditor").get("/?said=<b>hello</b>").text
    assert "hello" not in page


def test_what_is_copied_is_quoted_for_its_shell(house: Any, line: Any) -> None:
    made = ways(quoted("freehold", "stop", "it's"), "POST", "/api/x", {"because": "it's; rm -rf"}, "http://h")
    assert shlex.split(made.cli) == ["freehold", "stop", "it's"]
    assert json.loads(shlex.split(made.curl.replace("\\\n", " "))[-2]) == {"because": "it's; rm -rf"}
    compile(made.python, "copied", "exec")
