"""Approvals in the browser: the evidence, the decision, and who may."""

from __future__ import annotations

from typing import Any

from freehold.jobs import steps
from freehold.journeys.stories import STORIES
from freehold.spec.plain import plain
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Serve
from freehold.store import tables
from tests.console.conftest import Browser, token_of, words_of
from tests.support.line import Line

INBOX = "text,category\nwater in the cellar,property\nmy car was hit,motor\n"


def test_a_deep_link_leads_through_the_log_in_to_the_approval(house: Any, line: Line) -> None:
    risk, _ = line.ask(line.model())
    stranger = Browser(house.parts)
    away = stranger.get(f"/approvals/{risk}")
    assert away.status_code == 303
    token = token_of(stranger.get(away.headers["location"]).text)
    after = stranger.post(
        "/log-in", data={"form": token, "key": line.keys["ann"], "next": f"/approvals/{risk}"}
    )
    assert after.headers["location"] == f"/approvals/{risk}"
    page = words_of(stranger.get(f"/approvals/{risk}").text)
    assert "May claims-triage@1 serve claims-triage?" in page
    assert "lower end 0.88 >= 0.86" in page
    assert "everything is new" in page


def test_two_people_give_and_the_candidate_is_approved(house: Any, line: Line, at: Any) -> None:
    model = line.model()
    for id, name in zip(line.ask(model), ("ann", "bob"), strict=True):
        browser = at(name)
        done = browser.fill_in(f"/approvals/{id}", f"/approvals/{id}", decision="give", because="fine")
        assert done.headers["location"] == f"/approvals/{id}?said=given"
        page = words_of(browser.get(done.headers["location"]).text)
        assert "Your approval is given and stands in the ledger." in page
        assert "fine" in page
    assert {entry["actor"] for entry in house.entries("approval.given")} == {line.ids["ann"], line.ids["bob"]}
    assert len(house.entries("model.state")) == 2  # evaluated, then approved by the second


def test_a_refusal_needs_a_reason_and_holds_the_candidate(house: Any, line: Line, at: Any) -> None:
    risk, other = line.ask(line.model())
    browser = at("ann")
    bare = browser.fill_in(f"/approvals/{risk}", f"/approvals/{risk}", decision="refuse", because=" ")
    assert bare.status_code == 400
    assert "a refusal needs a reason" in words_of(bare.text)
    browser.fill_in(f"/approvals/{risk}", f"/approvals/{risk}", decision="refuse", because="too few rows")
    assert len(house.entries("approval.refused")) == 1
    assert "another approver refused" not in str(house.entries("approval.refused"))
    assert "It was void" in words_of(browser.get(f"/approvals/{other}").text)


def test_who_may_not_decide_sees_why_and_a_forged_form_is_refused(house: Any, line: Line, at: Any) -> None:
    risk, _ = line.ask(line.model())
    browser = at("bob")
    page = browser.get(f"/approvals/{risk}").text
    assert "Not yours to decide: it asks for the role model-risk" in words_of(page)
    assert "Give approval" not in page
    token = token_of(page)
    forged = browser.post(f"/approvals/{risk}", data={"form": token, "decision": "give"})
    assert forged.status_code == 403
    auditor = at("aud")
    forged = auditor.fill_in(f"/approvals/{risk}", f"/approvals/{risk}", decision="give")
    assert forged.status_code == 403
    assert len(house.entries("refusal")) == 1
    assert not house.entries("approval.given")


def test_without_our_token_nothing_is_decided(house: Any, line: Line, at: Any) -> None:
    risk, _ = line.ask(line.model())
    assert at("ann").post(f"/approvals/{risk}", data={"decision": "give"}).status_code == 403
    assert not house.entries("approval.given")


def test_another_project_s_approval_is_not_there(line: Line, at: Any) -> None:
    risk, _ = line.ask(line.model())
    assert at("eve").get(f"/approvals/{risk}").status_code == 404
    assert "claims-triage" not in at("eve").get("/approvals").text


def test_what_is_new_against_the_live_one_is_told_in_counts(line: Line, at: Any) -> None:
    line.data(INBOX)
    line.data(INBOX + "the roof leaks,property\n")
    line.live("one", "inbox@1")
    risk, _ = line.ask(line.model("two", "inbox@2"), data_ref="inbox@2")
    page = words_of(at("ann").get(f"/approvals/{risk}").text)
    assert "Live now: claims-triage@1" in page
    assert "inbox@1 → inbox@2" in page
    assert "2 → 3 rows: 1 added, 0 removed, 0 changed" in page
    assert "roof" not in page


def test_the_list_says_what_waits_for_whom(line: Line, at: Any) -> None:
    assert "Nothing waits" in words_of(at("ann").get("/approvals").text)
    line.ask(line.model())
    page = words_of(at("ann").get("/approvals").text)
    assert "yes" in page
    assert "no: it asks for the role data-protection in claims" in page


def test_a_card_with_markup_in_its_words_is_shown_as_words(line: Line, at: Any) -> None:
    evil = "<script>alert(1)</script>"
    example = {"ask": {"text": evil}, "expect": evil, "got": evil, "passed": False}
    risk, _ = line.ask(line.model("one", examples=[example]))
    page = at("ann").get(f"/approvals/{risk}").text
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_a_decision_can_be_copied_as_command_curl_and_python(line: Line, at: Any) -> None:
    risk, _ = line.ask(line.model())
    page = words_of(at("ann").get(f"/approvals/{risk}").text)
    assert f"freehold approve give {risk} --because 'your reason'" in page
    assert f"/api/approvals/{risk}" in page
    assert line.keys["ann"] not in page


def test_an_approval_says_how_the_candidate_comes_to_its_traffic(line: Line, at: Any) -> None:
    service = line.service(serve=Serve(rollout=("canary 5% 1h", "ab 50% 14d", "100%")))

    def ask(content: str) -> str:
        risk, _ = line.ask(line.model(content))
        with line.ground.db.write() as tx:
            said: dict[str, Any] = {"project": "claims", "service": "claims-triage", "spec": plain(service)}
            journey = steps.begin(tx, STORIES["deliver"], by=SYSTEM, **said)
            tx.execute(tables.approvals.update().where(tables.approvals.c.id == risk).values(journey=journey))
            tx.tells_of({"approvals"})
        return words_of(at("ann").get(f"/approvals/{risk}").text)

    assert "Roll-out once it is approved: 100%, as nothing is live to share the traffic with." in ask("one")
    line.live("two")
    page = ask("three")
    assert "Roll-out once it is approved: canary 5% 1h, ab 50% 14d, 100%." in page
