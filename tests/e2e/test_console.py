"""The console as people use it: logging in, the first page, from an answer to why, verifying the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.identity import keys
from freehold.spec.principal import SYSTEM
from tests.console.test_incidents import opened as incident
from tests.console.test_pages import answered


def opened(chromium: Any, address: str, key: str, path: str = "/", **screen: Any) -> Any:
    """A page of somebody who logged in through the form."""
    screen.setdefault("viewport", {"width": 1280, "height": 900})
    page = chromium.new_context(**screen).new_page()
    page.said = []
    page.on("console", lambda said: page.said.append(said.text) if said.type == "error" else None)
    page.goto(f"{address}/log-in?next={path}")
    page.fill("#key", key)
    page.click("main form button")
    page.wait_for_selector("form.who")
    return page


def key_of(line: Any, name: str) -> str:
    return str(line.people[name][1]["authorization"].removeprefix("Bearer "))


def test_from_the_log_in_to_why_by_clicks_alone(chromium: Any, address: str, house: Any, line: Any) -> None:
    answer = answered(house, line)
    page = opened(chromium, address, key_of(line, "alma"))
    page.locator(".drawing.river.wide").wait_for()  # until it is visible: a page may still be arriving
    page.locator("text=1 answer = 1 record").wait_for()
    page.click("nav >> text=Answers")
    page.click(f"a[href='/answers/{answer}']")
    page.locator(".drawing.tree.wide text.word >> text=data claims@1").wait_for()
    page.click("text=Read the words")
    page.locator("text=it is on the record").wait_for()
    page.click("text=Log out")
    page.wait_for_url("**/log-in*")
    page.goto(f"{address}/answers")
    assert "/log-in" in page.url
    assert not page.said
    page.context.close()


def test_the_browser_verifies_the_ledger_and_an_answer_in_it(
    chromium: Any, address: str, house: Any, line: Any
) -> None:
    answer = answered(house, line)
    _, header = house.person("everywhere@example.org", "*/auditor")
    page = opened(
        chromium, address, header["authorization"].removeprefix("Bearer "), f"/ledger/verify?entry={answer}"
    )
    _verify(page)
    found = page.locator("#found").inner_text()
    assert "every entry was hashed again and leads to the signed root" in found
    assert f"{answer} is entry" in found
    assert "verified" in found
    answered(house, line)
    _verify(page)  # a second look: what was seen before must be its beginning
    assert "continues what this browser saw last" in page.locator("#found").inner_text()
    page.context.close()


def _verify(page: Any) -> None:
    page.wait_for_selector("#key-from:not(:empty)")
    page.click("#verify button")
    page.wait_for_selector(".verdict")


@pytest.mark.parametrize("planted", ["checkpoint", "tile", "bundle", "key"])
def test_the_browser_sees_what_was_planted(
    chromium: Any, address: str, house: Any, line: Any, planted: str
) -> None:
    answered(house, line)
    _, header = house.person("everywhere@example.org", "*/auditor")
    page = opened(chromium, address, header["authorization"].removeprefix("Bearer "), "/ledger/verify")
    house.parts.sequencer.wait_for(house.entries("session.begun")[-1]["id"])
    if planted == "key":
        page.wait_for_selector("#key-from:not(:empty)")
        page.fill("#key", page.input_value("#key").replace("+", "+0", 1))
    else:
        part = {"checkpoint": "checkpoint", "tile": "tile/0/**", "bundle": "bundle/**"}[planted]
        page.route(f"**/ledger/{part}", _flip)
    _verify(page)
    assert "does not hold" in page.locator(".verdict").inner_text()
    page.context.close()


def _flip(route: Any) -> None:
    """One bit of what the server says."""
    said = route.fetch()
    body = bytearray(said.body())
    body[len(body) // 2] ^= 1
    route.fulfill(response=said, body=bytes(body))


SCREENS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
def test_no_page_breaks_a_rule_of_accessibility_or_scrolls_sideways(
    chromium: Any, address: str, house: Any, line: Any, screen: str, filled: bool
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    answer = answered(house, line)
    if not filled:
        _, header = house.person("new@example.org", "motor/auditor")
        key, paths = header["authorization"].removeprefix("Bearer "), ["/", "/answers", "/ledger"]
    else:
        key = key_of(line, "alma")
        entry = house.entries("release.begun")[0]["id"]
        paths = [
            "/",
            "/answers",
            f"/answers/{answer}",
            "/impact",
            "/impact/data:claims@1",
            "/ledger",
            "/advise",
            "/controls",
        ]
        paths += ["/incidents", f"/incidents/{incident(house)}"]
        paths += [f"/ledger/entries/{entry}", "/ledger/verify", "/nowhere", "/log-in"]
    # what appears would fade in, and a colour half-way is not what is judged
    page = opened(chromium, address, key, reduced_motion="reduce", **SCREENS[screen])
    for path in paths:
        page.goto(address + path)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        wrong = axe.run(page).response["violations"]
        assert not wrong, (path, [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["any"][:1]) for v in wrong])
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(width) <= 0, path
    page.context.close()


def test_every_action_is_reached_with_the_keyboard_and_seen(
    chromium: Any, address: str, house: Any, line: Any
) -> None:
    answer = answered(house, line)
    page = opened(chromium, address, key_of(line, "alma"), f"/answers/{answer}")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 40)"))
        outline = page.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return e === document.body || s.outlineStyle !== 'none' || e.closest('svg') !== null; })()"
        )
        assert outline
    assert {"To the content", "Log out", "Read the words"} <= reached
    page.context.close()


def test_a_key_that_was_revoked_ends_the_open_page(
    chromium: Any, address: str, house: Any, line: Any
) -> None:
    page = opened(chromium, address, key_of(line, "alma"))
    with house.parts.ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=house.control_key_of("alma@example.org"))
    page.click("nav >> text=Answers")
    page.wait_for_url("**/log-in*")
    page.context.close()
