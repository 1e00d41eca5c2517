"""Advice in the browser: the form, one of four houses, the answer, and a wrong answer told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.console.conftest import Browser, words_of
from tests.support.line import Line


@pytest.fixture
def browser(house: Any) -> Browser:
    return Browser(house.parts).log_in(Line(house).keys["aud"])


def test_the_form_asks_what_the_command_asks(browser: Browser) -> None:
    page = browser.get("/advise")
    assert page.status_code == 200
    for name in ("task", "sensitivity", "requests_a_day", "budget", "months"):
        assert f'name="{name}"' in page.text
    assert 'value="1000000"' in page.text
    assert not re.search(r'inputmode="decimal" value="[\d.]+e', page.text)


def test_a_house_fills_it_in_and_is_advised(browser: Browser) -> None:
    assert 'value="6000"' in browser.get("/advise?example=hospital").text
    told = browser.fill_in(
        "/advise", "/advise", task="classify", sensitivity="Restricted", requests_a_day="10", tokens_in="50",
        tokens_out="1", examples="900",
    )  # fmt: skip
    assert told.status_code == 200
    words = words_of(told.text)
    assert "small: a small model of your own" in words
    assert "What would flip this answer" in words
    assert re.search(r"USD over three years, [\d,]+ to [\d,]+: ", words)
    assert re.search(r"Works after 1(\.\d)? to 2(\.\d)? months", words)
    assert "what is asked is Restricted and stays inside" in words
    assert "the provider changes price, model or terms" in words
    assert "GDPR Art. 28 and 44" in words


def test_a_wrong_answer_is_told_and_the_others_stay(browser: Browser) -> None:
    told = browser.fill_in(
        "/advise", "/advise", task="classify", sensitivity="Public", budget="-5", tokens_in="50"
    )
    words = words_of(told.text)
    assert "cannot be used" in words
    assert 'value="50"' in told.text


def test_a_form_of_somebody_else_is_refused(browser: Browser) -> None:
    assert browser.post("/advise", data={"task": "classify"}).status_code == 403
