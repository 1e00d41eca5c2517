"""Who gets in, how long, and which forms count."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from freehold.console.words import coded
from freehold.identity import keys, people, sessions
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.console.conftest import Browser, token_of, words_of


def test_a_stranger_is_led_to_the_log_in_page_and_back_afterwards(browser: Any, house: Any) -> None:
    away = browser.get("/answers?service=claims-triage")
    assert away.status_code == 303
    assert away.headers["location"] == "/log-in?next=%2Fanswers%3Fservice%3Dclaims-triage"
    page = browser.get(away.headers["location"])
    said = browser.post(
        "/log-in",
        data={
            "form": token_of(page.text),
            "next": "/answers?service=claims-triage",
            "key": house.administrator_key,
        },
    )
    assert said.headers["location"] == "/answers?service=claims-triage"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "//["],
)
def test_nobody_is_sent_to_another_address_after_the_log_in(browser: Any, house: Any, elsewhere: str) -> None:
    token = token_of(browser.get("/log-in").text)
    said = browser.post("/log-in", data={"form": token, "next": elsewhere, "key": house.administrator_key})
    assert said.headers["location"] == "/"


def test_the_session_cookie_is_for_this_site_alone_and_for_no_script(browser: Any, house: Any) -> None:
    token = token_of(browser.get("/log-in").text)
    said = browser.post("/log-in", data={"form": token, "key": house.administrator_key})
    cookie = next(c for c in said.headers.get_list("set-cookie") if c.startswith("freehold="))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # plain http on this machine: a secure cookie would not come back
    assert house.administrator_key not in str(said.headers)


def test_over_tls_the_cookie_is_secure_and_bound_to_the_host(house: Any) -> None:
    browser = Browser(house.parts, "https://testserver")
    token = token_of(browser.get("/log-in").text)
    said = browser.post("/log-in", data={"form": token, "key": house.administrator_key})
    cookie = next(c for c in said.headers.get_list("set-cookie") if c.startswith("__Host-freehold="))
    assert "Secure" in cookie
    assert browser.get("/").status_code == 200


def test_a_key_that_is_wrong_or_of_another_zone_is_told_so_and_opens_nothing(
    browser: Any, house: Any
) -> None:
    serving = house.serving_key("claims")["authorization"].removeprefix("Bearer ")
    for key, why in (("nonsense", "not the shape of a key"), (serving, "key of the serving zone")):
        token = token_of(browser.get("/log-in").text)
        said = browser.post("/log-in", data={"form": token, "key": key})
        assert said.status_code == 401
        assert why in words_of(said.text)
        assert key not in said.text
    assert browser.get("/").status_code == 303


def test_a_session_is_recorded_when_it_begins_and_ends(house: Any, browser: Any) -> None:
    browser.log_in(house.administrator_key)
    assert browser.fill_in("/", "/log-out").headers["location"] == "/log-in"
    assert browser.get("/").status_code == 303
    assert len(house.entries("session.begun")) == len(house.entries("session.ended")) == 1


def test_what_is_kept_of_a_session_does_not_open_it(house: Any, browser: Any) -> None:
    browser.log_in(house.administrator_key)
    with house.parts.ground.db.read() as conn:
        kept = conn.execute(sa.select(tables.sessions)).one()
    token = browser.cookies["freehold"]
    assert token not in str(tuple(kept))
    thief = Browser(house.parts)
    thief.cookies["freehold"] = kept.id
    assert thief.get("/").status_code == 303


def test_a_session_ends_with_its_key(house: Any, signed_in: Any) -> None:
    browser = signed_in("claims/auditor")
    assert browser.get("/").status_code == 200
    with house.parts.ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=house.control_key_of("claims-auditor@example.org"))
    assert browser.get("/").status_code == 303


def test_a_session_ends_when_its_person_is_locked(house: Any, signed_in: Any) -> None:
    browser = signed_in("claims/auditor")
    with house.parts.ground.db.write() as tx:
        person = people.find(tx.connection, "claims-auditor@example.org")
        people.lock(tx, by=SYSTEM, person=person)
    assert browser.get("/").status_code == 303


def test_a_session_is_over_after_half_an_hour_without_a_page(house: Any, browser: Any, clock: Any) -> None:
    browser.log_in(house.administrator_key)
    for _ in range(3):
        clock.forward(seconds=sessions.IDLE / 1e6 - 60)
        assert browser.get("/").status_code == 200
    clock.forward(seconds=sessions.IDLE / 1e6 + 1)
    assert browser.get("/").status_code == 303


def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(house: Any, browser: Any, clock: Any) -> None:
    browser.log_in(house.administrator_key)
    for _ in range(2):
        clock.forward(seconds=sessions.IDLE / 1e6 * 0.6)
        last = browser.get("/", headers={"sec-fetch-mode": "cors"})
    assert last.status_code == 303


def test_a_session_is_over_after_twelve_hours_whatever_happens(house: Any, browser: Any, clock: Any) -> None:
    browser.log_in(house.administrator_key)
    for _ in range(12 * 3 - 1):
        clock.forward(seconds=1200)
        assert browser.get("/").status_code == 200
    clock.forward(seconds=1201)
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_form_without_our_token_changes_nothing(house: Any, browser: Any, token: str) -> None:
    browser.log_in(house.administrator_key)
    said = browser.post("/log-out", data={"form": token})
    assert said.status_code == 403
    assert "did not come from a page of this console" in words_of(said.text)
    assert browser.get("/").status_code == 200


def test_a_token_of_another_session_does_not_count(house: Any, browser: Any, signed_in: Any) -> None:
    other = signed_in("claims/auditor")
    browser.log_in(house.administrator_key)
    said = browser.post("/log-out", data={"form": token_of(other.get("/").text)})
    assert said.status_code == 403


def test_a_form_sent_from_another_site_changes_nothing(house: Any, browser: Any) -> None:
    browser.log_in(house.administrator_key)
    token = token_of(browser.get("/").text)
    for origin in ("https://evil.example", "null", "http://["):
        said = browser.post("/log-out", data={"form": token}, headers={"origin": origin})
        assert said.status_code == 403
    own = {
        "origin": "null",
        "sec-fetch-site": "same-origin",
    }  # what a browser says of a page without referrer
    assert browser.post("/log-out", data={"form": token}, headers=own).is_redirect


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{}", "application/json"), (b"a=%ff%fe", None), (b"a=" + b"x" * 2_000_000, None), (b"a&" * 300, None)],
)
def test_a_form_that_cannot_be_read_is_told_so(browser: Any, body: bytes, kind: str | None) -> None:
    headers = {"content-type": kind or "application/x-www-form-urlencoded"}
    said = browser.post("/log-in", content=body, headers=headers)
    assert said.status_code == 400


def test_every_answer_carries_the_headers_that_keep_a_page_to_itself(browser: Any, house: Any) -> None:
    for path in ("/log-in", "/", "/nowhere", "/assets/console.css", "/assets/nothing.css"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert ("no-store" in headers["cache-control"]) == (path != "/assets/console.css")


def test_what_is_not_there_is_a_page_for_people(browser: Any, house: Any) -> None:
    assert browser.get("/nowhere").status_code == 404
    said = browser.log_in(house.administrator_key).get("/nowhere")
    assert said.status_code == 404
    assert "there is no page <code>/nowhere</code>" in said.text


def test_what_errors_put_between_backticks_is_code_on_a_page_and_nothing_of_it_is_markup() -> None:
    assert coded("`<b>` & <i>") == "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"
    assert coded("one ` is left over <i>") == "one ` is left over &lt;i&gt;"
