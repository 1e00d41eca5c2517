"""Data in the browser: columns in bins, differences in counts, nobody's words."""

from __future__ import annotations

from typing import Any

from tests.console.conftest import words_of
from tests.support.line import Line

ROWS = "id,text,topic,age\n" + "".join(
    f"p{n},secret words {n},{'motor' if n % 2 else 'property'},{20 + n}\n" for n in range(40)
)


def test_without_data_the_page_says_which_command_adds_some(at: Any) -> None:
    assert "freehold data add" in at("tim").get("/data").text


def test_a_version_shows_its_columns_in_bins_and_no_row(line: Line, at: Any) -> None:
    line.data(ROWS + "p99,rare,theft,103\n", subject=("id",))
    assert "inbox@1" in words_of(at("tim").get("/data").text)
    page = at("tim").get("/data/claims/inbox@1").text
    told = words_of(page)
    assert "41 rows" in told
    assert "motor: 20" in told
    assert "not shown: it names the person" in told
    for hidden in ("secret words", "theft", "103", "p99"):
        assert hidden not in told


def test_two_versions_are_compared_by_number(line: Line, at: Any) -> None:
    line.data(ROWS)
    line.data(ROWS + "p99,more,motor,30\n")
    page = at("tim").get("/data/claims/inbox@1/diff/inbox@2")
    assert "added 1 41" in words_of(page.text)
    assert "more" not in words_of(page.text).replace("more than", "")
    assert "inbox@1/diff/inbox@2" in at("tim").get("/data/claims/inbox@2").text


def test_who_may_not_read_data_of_a_project_is_refused(house: Any, line: Line, at: Any) -> None:
    line.data(ROWS)
    for path in ("/data/claims/inbox@1", "/data/claims/inbox@1/diff/inbox@1"):
        assert at("eve").get(path).status_code == 403
    assert "inbox" not in at("eve").get("/data").text
    assert at("olga").get("/data").status_code == 403
    assert house.entries("refusal")


def test_a_version_that_is_not_there_is_told_so(line: Line, at: Any) -> None:
    page = at("tim").get("/data/claims/nothing@1")
    assert page.status_code == 404
    assert at("tim").get("/data/claims/nothing").status_code == 400


def test_a_column_with_markup_in_its_name_is_shown_as_words(line: Line, at: Any) -> None:
    line.data("<img src=x onerror=alert(1)>,topic\n" + "a,b\n" * 9)
    page = at("tim").get("/data/claims/inbox@1").text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
