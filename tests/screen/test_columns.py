"""Which columns of a table look personal."""

from __future__ import annotations

import pyarrow as pa
import pytest

from freehold.screen.columns import CHECKED_AT_ONCE, Look, Survey, header_kinds


def _looked(name: str, *batches: object) -> tuple[Look, ...]:
    survey = Survey(name)
    for batch in batches:
        survey.look(pa.array(batch))
    return survey.found()


def test_one_address_in_a_thousand_texts_is_reported_with_its_count() -> None:
    texts = ["water in the kitchen"] * 999 + ["write to ann@example.org"]
    assert _looked("text", texts, [None]) == (Look(kind="e-mail", because="values", cells=1),)


def test_a_few_numbers_that_happen_to_pass_a_check_are_not() -> None:
    assert _looked("amount", list(range(100_000_000, 100_001_000))) == ()


def test_a_column_of_ids_as_whole_numbers_is() -> None:
    (look,) = _looked("x", [111222333] * 20)
    assert look == Look(kind="national id", because="values", cells=20)


def test_decimals_are_not_looked_at() -> None:
    assert _looked("x", [0.84123456, 111222333.0]) == ()


def test_many_suspicious_cells_are_estimated_from_a_sample() -> None:
    (look,) = _looked("x", [f"p{n}@example.org" for n in range(3 * CHECKED_AT_ONCE + 1)])
    assert look.cells == 3 * CHECKED_AT_ONCE + 1


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("GivenName", "name"),
        ("customer_name", "name"),
        ("Nachname", "name"),
        ("EmailAddress", "e-mail"),
        ("Geburtsdatum", "date of birth"),
        ("date_of_birth", "date of birth"),
        ("TelephoneNumber", "phone"),
        ("CCNumber", "payment card"),
        ("customerID", "person's number"),
        ("patient id", "person's number"),
        ("NationalID", "national id"),
        ("ZipCode", "address"),
        ("race", "special category"),
        ("PATIENT", "person's number"),
    ],
)
def test_a_header_says_what_it_holds(header: str, kind: str) -> None:
    assert kind in header_kinds(header)


@pytest.mark.parametrize(
    "header", ["text", "category", "product_name", "age", "charges", "NameSet", "traceroute"]
)
def test_other_headers_say_nothing(header: str) -> None:
    assert header_kinds(header) == ()


def test_the_whole_header_says_more_than_its_words() -> None:
    assert header_kinds("EmailAddress") == ("e-mail",)


def test_a_kind_seen_in_values_is_not_repeated_for_the_header() -> None:
    assert [look.because for look in _looked("email", ["ann@example.org"])] == ["values"]
