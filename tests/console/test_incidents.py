"""Incidents in the console: listed page by page, shown, decided by those who may."""

from __future__ import annotations

import re
from typing import Any

import pytest

from freehold.console import listed
from freehold.release import incidents
from freehold.spec.watching import Watch
from tests.console.conftest import words_of
from tests.support.records import an_incident


def opened(house: Any, **found: Any) -> str:
    return an_incident(house.parts.ground, **found)


def test_an_incident_is_listed_shown_and_closed_with_a_reason(house: Any, signed_in: Any) -> None:
    incident = opened(house)
    browser = signed_in("claims/operator")
    assert re.search(r"jailbreak inc_\w+ open triage in claims key_1 12 locked", _list(browser))
    page = words_of(browser.get(f"/incidents/{incident}").text)
    assert "locked until somebody unlocks it" in page
    here = f"/incidents/{incident}"
    done = browser.fill_in(here, here, decision="acknowledge", because="")
    assert done.headers["location"] == f"{here}?said=acknowledged"
    bare = browser.fill_in(here, here, decision="close", because=" ")
    assert "needs a reason" in words_of(bare.text)
    done = browser.fill_in(here, here, decision="close", because="a <b>stolen</b> key")
    assert done.headers["location"] == f"{here}?said=closed"
    page = browser.get(f"{here}?said=closed").text
    assert "a &lt;b&gt;stolen&lt;/b&gt; key" in page
    assert "nobody is held back by it any more" in words_of(page)
    assert "Close it" not in page
    assert "12 locked, over" in _list(browser)


def _list(browser: Any) -> str:
    return words_of(browser.get("/incidents").text)


def test_the_list_says_by_which_rules_and_where_there_is_none_that_nobody_is_watched(
    house: Any, signed_in: Any
) -> None:
    house.project("motor")
    browser = signed_in("claims/operator")
    assert "Nobody is watched here" in _list(browser)
    with house.parts.ground.db.write() as tx:
        incidents.declare(tx, rules=(Watch(rule="jailbreak"), Watch(rule="scraping", project="motor")))
    page = _list(browser)
    assert "under watch: in freehold.yaml: jailbreak." in page
    assert "No incident." in page


def test_whoever_answers_for_the_key_looks_into_it_and_another_person_closes_it(
    house: Any, signed_in: Any
) -> None:
    incident = opened(house, key=house.serving_key_id("claims"))
    here, browser = f"/incidents/{incident}", signed_in()
    page = browser.get(here).text
    assert "another person closes this" in words_of(page)
    assert "Close it" not in page
    done = browser.fill_in(here, here, decision="acknowledge", because="")
    assert done.headers["location"] == f"{here}?said=acknowledged"
    assert browser.fill_in(here, here, decision="close", because="it was me").status_code == 403
    assert len(house.entries("incident.closed")) == 0


def test_an_auditor_reads_and_decides_nothing(house: Any, signed_in: Any) -> None:
    incident = opened(house)
    here, auditor = f"/incidents/{incident}", signed_in("claims/auditor")
    page = auditor.get(here).text
    assert "Not yours to decide" in words_of(page)
    assert auditor.fill_in(here, here, decision="close", because="no").status_code == 403
    assert len(house.entries("incident.closed")) == 0


@pytest.mark.parametrize("path", ["/incidents", "/incidents/inc_1"])
def test_who_may_read_none_is_told_so(house: Any, signed_in: Any, path: str) -> None:
    opened(house)
    assert signed_in("claims/trainer").get(path).status_code in (403, 404)


def test_an_incident_of_another_project_is_not_there(house: Any, signed_in: Any) -> None:
    house.project("motor")
    incident = opened(house)
    browser = signed_in("motor/operator")
    assert browser.get(f"/incidents/{incident}").status_code == 404
    assert incident not in browser.get("/incidents").text


def test_a_long_list_comes_page_by_page_newest_first(house: Any, signed_in: Any) -> None:
    ids = [opened(house, key=f"key_{n}") for n in range(listed.SIZE + 3)]
    browser = signed_in("claims/operator")
    first = browser.get("/incidents?state=open").text
    assert ids[-1] in first
    assert ids[0] not in first
    from html import unescape

    older = unescape(re.search(r'href="(/incidents\?[^"]*older=[^"]+)"', first)[1])  # type: ignore[index]
    second = browser.get(older).text
    assert ids[0] in second
    assert ids[-1] not in second
    assert "No incident is closed" in words_of(browser.get("/incidents?state=closed").text)
