"""Approving, stopping and resuming in a real browser, as different people; every page of the line by axe."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.release import roll
from freehold.spec.principal import SYSTEM
from tests.e2e.test_console import opened
from tests.support.line import Line

ROWS = "text,topic,age\n" + "".join(f"w{n},{'motor' if n % 2 else 'home'},{20 + n}\n" for n in range(40))


@pytest.fixture
def claims(house: Any) -> Line:
    return Line(house)


def test_two_people_approve_by_deep_link_and_one_stops_another_resumes(
    chromium: Any, address: str, house: Any, claims: Line
) -> None:
    model = claims.model()
    for id, name in zip(claims.ask(model), ("ann", "bob"), strict=True):
        page = opened(chromium, address, claims.keys[name], f"/approvals/{id}")
        assert page.locator("h1").inner_text() == "May claims-triage@1 serve claims-triage?"
        page.fill("#because", "the figures hold")
        page.click("text=Give approval")
        assert page.locator(".told").inner_text() == "Your approval is given and stands in the ledger."
        assert not page.said
        page.context.close()
    with house.parts.ground.db.write() as tx:
        roll.release(tx, house.parts.ground, by=SYSTEM, service="claims-triage", model=model.id)
    page = opened(chromium, address, claims.keys["olga"], "/services/claims-triage")
    page.fill("#because-stop", "wrong answers")
    page.click("text=Stop the service")
    assert "wrong answers" in page.locator("main .wrong").inner_text()
    alert, below = (page.locator(one).first.bounding_box() for one in ("main .wrong", "main .card"))
    assert below["y"] - alert["y"] - alert["height"] >= 8, "what is wrong stands apart from the cards"
    page.context.close()
    page = opened(chromium, address, claims.keys["otto"], "/services/claims-triage")
    page.click("text=Resume the service")
    assert page.locator(".told").inner_text() == "The service answers again."
    page.context.close()
    assert [len(house.entries(f"service.{word}")) for word in ("stopped", "resumed")] == [1, 1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_the_line_are_clean_to_axe_and_fit_a_phone(
    chromium: Any, address: str, claims: Line, house: Any, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe for chromium is missing")
    claims.data(ROWS)
    claims.data(ROWS + "w99,home,30\n")
    claims.live()
    waiting, _ = claims.ask(claims.model("two", "inbox@2"), data_ref="inbox@2")
    _, header = house.person("all@example.org", "claims/operator", "claims/trainer")
    screen = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme, "bypass_csp": True}
    page = opened(chromium, address, header["authorization"].removeprefix("Bearer "), "/services", **screen)
    for path in (
        "/approvals",
        f"/approvals/{waiting}",
        "/services",
        "/services/claims-triage",
        "/data",
        "/data/claims/inbox@2",
        "/data/claims/inbox@1/diff/inbox@2",
        "/runs",
        "/models",
        "/models/claims/claims-triage@1",
    ):
        page.goto(address + path)
        found = axe.Axe().run(page).response["violations"]
        assert not found, f"{path}: {[(v['id'], v['nodes'][0]['html'][:200]) for v in found]}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.context.close()
