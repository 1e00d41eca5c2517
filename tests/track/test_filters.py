"""The search language: what is understood means what it says, the rest is refused by name."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.track.filters import Comparison, FilterUnusable, Order, parse, parse_order

ALL = ("attribute", "metric", "param", "tag")


def read(text: str) -> tuple[Comparison, ...]:
    return parse(text, attributes=("status", "run_name", "start_time"), numbers=("start_time",), kinds=ALL)


def test_comparisons_joined_by_and_are_read() -> None:
    assert read(
        "metrics.`val loss` <= -1.5e-3 and params.lr = '0.1' AND tags.mlflow.user != \"x\""
        " AND status IN ('A', 'B')"
    ) == (
        Comparison("metric", "val loss", "<=", -0.0015),
        Comparison("param", "lr", "=", "0.1"),
        Comparison("tag", "mlflow.user", "!=", "x"),
        Comparison("attribute", "status", "IN", ("A", "B")),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("metrics.a > 1 OR metrics.b > 1", "`OR` stands where AND is expected"),
        ("(metrics.a > 1)", "is not supported here"),
        ("NOT metrics.a > 1", "is not supported here"),
        ("metrics.a > 'x'", "is no number"),
        ("metrics.a LIKE 'x'", "is no number|does not go with"),
        ("params.a > '1'", "does not go with `a`"),
        ("params.a = 1", "write it in quotes"),
        ("colour = 'red'", "`colour` is not known"),
        ("metrics.a >", "it ends in the middle"),
        ("metrics.a", "it ends in the middle"),
        ("params.a IN ()", "is no text"),
        ("params.a = 'open", "is not understood"),
        ("datasets.name = 'x'", "is not known"),
        (" AND ".join(["metrics.a > 1"] * 51), "50 comparisons are the most"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(FilterUnusable) as told:
        read(text)
    assert any(part in told.value.why for part in why.split("|"))


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("params.a LIKE 'lin%'", "linear", True),
        ("params.a LIKE 'lin%'", "Linear", False),
        ("params.a ILIKE 'LIN_AR'", "linear", True),
        ("params.a NOT IN ('x')", "y", True),
        ("params.a NOT IN ('x')", None, False),
        ("tags.a IS NULL", None, True),
        ("tags.a IS NOT NULL", "", True),
        ("params.a LIKE '%.*%'", "abc", False),
    ],
)
def test_texts_compare_as_in_sql(condition: str, value: str | None, holds: bool) -> None:
    (one,) = read(condition)
    assert one.holds(value) is holds


def test_an_order_is_read() -> None:
    known = {"attributes": ("start_time",), "kinds": ALL}
    assert parse_order("metrics.acc DESC", **known) == Order("metric", "acc", True)  # type: ignore[arg-type]  # a test's short form
    assert parse_order("start_time", **known) == Order("attribute", "start_time", False)  # type: ignore[arg-type]  # as above
    with pytest.raises(FilterUnusable, match="cannot be used"):
        parse_order("metrics.acc SIDEWAYS", **known)  # type: ignore[arg-type]  # as above


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(FilterUnusable):
        read(text)


@given(st.text(st.characters(exclude_characters="'\\", exclude_categories=["Cs"]), max_size=30))
def test_any_quoted_value_comes_through(value: str) -> None:
    assert read(f"params.a = '{value}'")[0].value == value
