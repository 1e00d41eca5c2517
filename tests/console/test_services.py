"""Services in the browser: who sees them, who turns them, and the playground that keeps no key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from authority import Authority

from freehold.control import day, progress, turning
from freehold.identity import floors
from freehold.journeys import judged
from freehold.release import abtests, roll, services, views
from freehold.release.attach import Attachment, attach
from freehold.spec.answer import copy_of
from freehold.spec.domain import ColumnDomain, told
from freehold.spec.floor import Floor
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM
from freehold.spec.sensitivity import Sensitivity
from freehold.store import tables
from tests.console.conftest import words_of
from tests.support.line import Line
from tests.support.records import an_answer


def _heard(line: Line, engines: Mapping[str, str]) -> None:
    """A gateway `g` reports these engines."""
    with line.ground.db.write() as tx:
        said = {"applied": 0, "engines": json.dumps(engines), "seen_at": tx.at}
        tx.execute(tables.gateways.insert().values(id="g", **said))


def _releases(line: Line) -> list[Any]:
    with line.ground.db.read() as conn:
        return list(turning.releases_of(conn, "claims-triage"))


def test_without_a_service_the_page_says_which_command_makes_one(line: Line, at: Any) -> None:
    assert "freehold apply service.yaml" in at("aud").get("/services").text


def test_a_service_shows_its_route_limits_and_releases(line: Line, at: Any) -> None:
    line.live()
    assert "claims-triage@1" in words_of(at("aud").get("/services").text)
    digests = [row["serving_digest"] for row in _releases(line)]
    _heard(line, {digests[0]: "ready"})
    page = words_of(at("aud").get("/services/claims-triage").text)
    assert "claims-triage@1 live 100 %" in page
    assert re.search(r"Gateway g, heard [-0-9: ]+: claims-triage@1 ready", page)
    assert "Roll-out 100%" in page
    assert "600/min" in page
    assert "An operator of claims may." in page
    assert "Stop the service" not in page


def test_an_attached_service_shows_every_address_that_may_be_asked(house: Any, line: Line, at: Any) -> None:
    ground = house.parts.ground
    said: dict[str, Any] = {"service": "claims-chat", "project": "claims", "purpose": "claims-handling"}
    said |= {"url": "http://127.0.0.1:8000", "owner": line.ids["olga"], "model": "tiny-1b"}
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**said))
    page = words_of(at("aud").get("/services/claims-chat").text)
    assert "Address http://127.0.0.1:8000/v1 Model there tiny-1b" in page
    _heard(line, {})
    page = words_of(at("aud").get("/services/claims-chat").text)
    assert re.search(r"Gateway g, heard [-0-9: ]+ Provider", page)  # no engine of ours is waited for
    assert "Contract none" in page
    agreed = (
        "party: Example AI\nuntil: 2999-12-31\npurposes: [claims-handling]\n"
        "regions: [eu]\nsensitivity: Confidential\n"
    )
    more = Attachment(**said, also=("http://127.0.0.1:8001",), region="eu", contract=agreed, replace=True)
    second = {**said, "service": "second-chat"}
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**second))
        attach(tx, ground, by=SYSTEM, asked=replace(more, fallback=("second-chat",)))
    page = words_of(at("aud").get("/services/claims-chat").text)
    assert "One of http://127.0.0.1:8000/v1 http://127.0.0.1:8001/v1 Model there" in page
    assert "Contract Example AI until 2999-12-31, up to Confidential" in page
    assert "Stands in second-chat, where it cannot answer" in page


def test_an_attached_service_names_the_certificates_that_vouch_for_it(
    house: Any, line: Line, at: Any, tmp_path: Path
) -> None:
    ground, theirs = house.parts.ground, Authority(tmp_path, "their CA")
    said: dict[str, Any] = {"service": "claims-chat", "project": "claims", "purpose": "claims-handling"}
    said |= {"url": "https://127.0.0.1:8000", "owner": line.ids["olga"], "model": "tiny-1b"}
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**said))
    assert "Vouched" not in at("aud").get("/services/claims-chat").text
    both = theirs.ca.read_text() + theirs.host("host").certificate.read_text()
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**said, ca=both, replace=True))
    page = at("aud").get("/services/claims-chat").text
    day = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}"
    told = f"Vouched for by their CA, valid until {day} host, valid until {day} ?; nobody else is trusted"
    assert re.search(told, words_of(page))
    assert "BEGIN CERTIFICATE" not in page


def test_a_service_that_an_old_contract_let_out_says_why_it_answers_nobody(
    house: Any, line: Line, at: Any
) -> None:
    ground = house.parts.ground
    said: dict[str, Any] = {"service": "claims-chat", "project": "claims", "purpose": "claims-handling"}
    said |= {"url": "http://127.0.0.1:8000", "owner": line.ids["olga"], "model": "tiny-1b"}
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**said, also=("https://api.example.com",)))
    assert "Answers nobody" not in words_of(at("aud").get("/services/claims-chat").text)
    with ground.db.write() as tx:
        older = tables.services.update().where(tables.services.c.name == "claims-chat")
        tx.execute(older.values(sensitivity=int(Sensitivity.RESTRICTED)))
        tx.tells_of(["services"])
    page = words_of(at("aud").get("/services/claims-chat").text)
    assert f"Answers nobody: {views.OUTSIDE}" in page
    assert f"claims-chat answers nobody: {views.OUTSIDE}" in progress.status(house.parts, None)["wrong"]
    with ground.db.read() as conn:
        found = progress.traffic(conn, services.find(conn, "claims-chat"))
    assert found["silent"] == views.OUTSIDE


def test_a_service_shows_what_its_project_wants_guarded(house: Any, line: Line, at: Any) -> None:
    line.live()
    with house.parts.ground.db.write() as tx:
        floor = Floor(guard=("in.pii=mask", "out.secrets=refuse"))
        floors.guard(tx, by=SYSTEM, name="claims", floor=floor)
    page = words_of(at("aud").get("/services/claims-triage").text)
    assert "its project wants at least in.pii=mask, out.secrets=refuse" in page


def test_a_tabular_service_shows_what_is_known_of_its_training(house: Any, line: Line, at: Any) -> None:
    model = line.live()

    def learned(features: dict[str, Any]) -> None:
        inputs = [{"name": "age", "datatype": "FP64"}, {"name": "street", "datatype": "BYTES"}]
        about = {"task": "tabular", "inputs": inputs, "classes": ["a", "b"], "features": features}
        with house.parts.ground.db.write() as tx:
            tx.execute(
                tables.models.update().where(tables.models.c.id == model.id).values(about=json.dumps(about))
            )
            tx.tells_of({"models"})  # how it came about is not what this test is about

    learned({"kind": "columns"})
    assert "its model was trained before domains were learned" in words_of(
        at("aud").get("/services/claims-triage").text
    )
    age = ColumnDomain(name="age", kind="number", low="18.0", high="99.0")
    learned({"kind": "columns", "domain": told((age, ColumnDomain(name="street", kind="open")))})
    assert "observe; of street nothing is known" in words_of(at("aud").get("/services/claims-triage").text)


def test_a_shadow_is_laid_beside_the_live_model_and_its_answers_are_no_answers_of_the_day(
    house: Any, line: Line, at: Any
) -> None:
    line.live()
    ground, given = house.parts.ground, new_id("ans")
    ours = line.release(line.model("two"), state="shadow", weight=0)
    with ground.db.write() as tx:
        live = roll.live(tx.connection, "claims-triage")
        assert live is not None
        for id, release, reason in ((given, live["id"], "ok"), (copy_of(given), ours, "same")):
            row = an_answer(id=id, release=release, reason=reason, at=tx.at, micros=2_000)
            tx.execute(tables.answers.insert().values(row))
        tx.tells_of({"answers"})  # their entries are not what this test is about
    page = words_of(at("aud").get("/services/claims-triage").text)
    assert "claims-triage@1 live 100 %" in page
    assert "claims-triage@2 shadow" in page
    assert "asked of the shadow, which answers nobody: 1; the same as the live model in 1 of 1;" in page
    assert "median 2.0 ms, live 2.0 ms; answers without a copy: 0." in page
    with ground.db.read() as conn:
        told = [(one.release, one.count) for one in day.slices(conn, ["claims"], ground.clock())]
    assert told == [(live["id"], 1)]


def _ab_test(line: Line) -> abtests.AbTest:
    """Version 2 has half of the traffic of version 1, for a day."""
    line.live()
    ours = line.release(line.model("two"), state="ab", weight=5_000)
    with line.ground.db.write() as tx:
        live = roll.live(tx.connection, "claims-triage")
        assert live is not None
        two = {"release": ours, "live": live["id"], "weight": 5_000, "seconds": 86_400}
        id = abtests.begin(tx, by=SYSTEM, project="claims", service="claims-triage", **two)
        return abtests.find(tx.connection, id)


def _ended(line: Line, test: abtests.AbTest, said: judged.Judged) -> None:
    with line.ground.db.write() as tx:
        abtests.end(tx, by=SYSTEM, test=test, **asdict(said))


def test_an_ab_test_is_shown_without_figures_until_its_end(line: Line, at: Any) -> None:
    test = _ab_test(line)
    page = words_of(at("aud").get("/services/claims-triage").text)
    assert "claims-triage@2 A/B test 50 %" in page
    assert "claims-triage@1 (A) and claims-triage@2 (B, 50 %) since" in page
    assert "Compared at its end" in page
    alike = {"units": 40, "n": 40, "y": 4, "nn": 40, "ny": 4, "yy": 4}
    nothing = alike | {"y": 0, "ny": 0, "yy": 0}
    arms = {arm: dict.fromkeys(abtests.OVER, nothing) | {"failed": alike} for arm in ("A", "B")}
    _ended(line, test, judged.verdict(arms, {"A": 40, "B": 160}, 5_000))
    whole = at("aud").get("/services/claims-triage").text
    labels = re.findall(r'data-of="([^"]+)"', whole)
    assert labels[:5] == ["A", "B", "Difference", "Would have seen", "B is"], (
        "what narrow screens say in front"
    )
    assert len(labels) == 5 * whole.count('data-of="A"')
    page = words_of(whole)
    assert "B is not to be judged" in page
    assert "Drawn for A: 40, for B: 160." in page
    assert "80.0 % came to B where 50 % were asked for: that is not chance." in page
    assert "failed 10.00 % 10.00 % 0.00 % (-14.59 % to 14.59 %)" in page


def test_an_ab_test_that_too_few_came_to_has_a_page(line: Line, at: Any) -> None:
    few = {"units": 4, "n": 4, "y": 0, "nn": 4, "ny": 0, "yy": 0}
    arms = {arm: dict.fromkeys(abtests.OVER, few) for arm in "AB"}
    _ended(line, _ab_test(line), judged.verdict(arms, {"A": 4, "B": 4}, 5_000))
    page = words_of(at("aud").get("/services/claims-triage").text)
    assert "B is not to be judged" in page
    assert "failed 0.00 % 0.00 % – – too few" in page


def test_one_person_stops_and_another_resumes_each_on_the_record(house: Any, line: Line, at: Any) -> None:
    line.live()
    olga, otto = at("olga"), at("otto")
    page = "/services/claims-triage"
    assert olga.fill_in(page, f"{page}/stop", because=" ").status_code == 400
    done = olga.fill_in(page, f"{page}/stop", because="wrong answers about pipes")
    assert done.headers["location"] == f"{page}?said=stopped"
    told = words_of(olga.get(done.headers["location"]).text)
    assert "The service is stopped" in told
    assert "wrong answers about pipes" in told
    assert "You stopped it: another person resumes it." in told
    assert olga.fill_in(page, f"{page}/resume").status_code == 403
    assert otto.fill_in(page, f"{page}/resume").headers["location"] == f"{page}?said=resumed"
    (stopped,), (resumed,) = house.entries("service.stopped"), house.entries("service.resumed")
    assert (stopped["actor"], resumed["actor"]) == (line.ids["olga"], line.ids["otto"])
    assert "pipes" not in stopped["body"]


def test_a_rollback_says_what_it_does_and_does_it(house: Any, line: Line, at: Any) -> None:
    line.live("one")
    page = "/services/claims-triage"
    assert "this is its first one" in words_of(at("olga").get(page).text)
    line.live("two")
    olga = at("olga")
    assert "Ends claims-triage@2, gives the traffic to claims-triage@1." in words_of(olga.get(page).text)
    done = olga.fill_in(page, f"{page}/rollback", because="worse")
    assert done.headers["location"] == f"{page}?said=rolled-back"
    assert "claims-triage@1 live 100 %" in words_of(olga.get(page).text)
    assert len(house.entries("release.ended")) == 2


def test_whoever_may_not_turn_it_is_refused_on_the_record(house: Any, line: Line, at: Any) -> None:
    line.live()
    page = "/services/claims-triage"
    for turn in ("stop", "rollback"):
        assert at("aud").fill_in(page, f"{page}/{turn}", because="x").status_code == 403
    assert len(house.entries("refusal")) == 2
    assert at("eve").get(page).status_code == 404
    assert at("olga").post(f"{page}/stop", data={"because": "x"}).status_code == 403
    assert not house.entries("service.stopped")


def test_the_playground_wants_a_serving_key_and_writes_none_into_the_page(
    house: Any, line: Line, at: Any
) -> None:
    line.live()
    page, browser = "/services/claims-triage", at("aud")
    told = browser.fill_in(page, f"{page}/ask", text="hello", key=line.keys["aud"])
    assert "this is no key of the serving zone" in words_of(told.text)
    assert line.keys["aud"] not in told.text
    key = house.serving_key("claims")["authorization"].removeprefix("Bearer ")
    told = browser.fill_in(page, f"{page}/ask", text="<b>hello</b>", key=key)
    assert "the gateway does not answer" in words_of(told.text)
    assert key not in told.text
    assert "<b>hello" not in told.text
    assert "freehold keys create --project claims" in words_of(told.text)


def test_an_owner_is_told_as_people_are_told_everywhere(
    house: Any, line: Line, at: Any, signed_in: Any
) -> None:
    line.live()
    with house.parts.ground.db.write() as tx:
        tx.execute(tables.services.update().values(owner=line.ids["olga"]))
        tx.tells_of({"services"})
    assert "Owner you (olga@example.org)" in words_of(at("olga").get("/services/claims-triage").text)
    assert "Owner olga@example.org" in words_of(signed_in().get("/services/claims-triage").text)
    assert f"Owner {line.ids['olga']}" in words_of(at("aud").get("/services/claims-triage").text)


def test_an_owner_s_address_is_for_administrators(house: Any, line: Line, at: Any) -> None:
    line.live()
    with house.parts.ground.db.write() as tx:
        tx.execute(tables.services.update().values(owner="claims-team@example.org"))
        tx.tells_of({"services"})
    page = words_of(at("olga").get("/services/claims-triage").text)
    assert "Owner named by an address, which administrators see" in page
    assert "claims-team@" not in page


def test_a_service_shows_how_it_keeps_its_objectives_and_the_first_page_what_it_misses(
    house: Any, line: Line, at: Any, clock: Any
) -> None:
    ground = house.parts.ground
    said: dict[str, Any] = {"service": "claims-chat", "project": "claims", "purpose": "claims-handling"}
    said |= {"url": "http://127.0.0.1:8000", "owner": line.ids["olga"], "model": "tiny-1b"}
    objectives = ("99.5% answered", "50% within 2s", "90% within 1ms over 1h")
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=Attachment(**said, objectives=objectives))
    browser = at("aud")
    page = words_of(browser.get("/services/claims-chat").text)
    assert "99.5% answered over 30d state no verdict budget left – reached –" in page
    assert "misses" not in browser.get("/").text
    clock.forward(seconds=16)  # on a slow machine what was told may be remembered
    with ground.db.write() as tx:
        for ending in (*98 * ["answered"], "failed", "failed"):
            row = an_answer(service="claims-chat", ending=ending, at=tx.at - 7_200_000_000, micros=1_000_000)
            tx.execute(tables.answers.insert().values(row))
        tx.tells_of(["answers"])
    page = browser.get("/services/claims-chat").text
    told = words_of(page)
    assert "state missed budget left Budget left: overspent by 300 % overspent by 300 % reached 98 %" in told
    assert "state kept budget left Budget left: 100 % 100 % reached 100 % counted 98 pace –" in told
    assert page.count('class="drawing budget"') == 2
    first = browser.get("/").text
    assert 'href="/services/claims-chat" class="wrong">claims-chat misses 99.5% answered over 30d<' in first
    assert "misses" not in at("eve").get("/").text
