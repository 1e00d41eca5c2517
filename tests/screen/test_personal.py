"""Formats about people: true hits, and look-alikes that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.screen import personal
from freehold.screen.personal import kinds_in, kinds_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("please write to bob.o'neil@mail.example.co.uk today", "e-mail"),
        ("refund to DE89 3704 0044 0532 0130 00.", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("card 4111 1111 1111 1111 was stolen", "payment card"),
        ("378282246310005", "payment card"),
        ("call +49 (170) 123-4567", "phone"),
        ("from 192.0.2.17, twice", "ip address"),
        ("2001:db8::1", "ip address"),
        ("SSN 086-09-5742", "national id"),
        ("RSSMRA85T10A562S", "national id"),
        ("DNI 12345678-Z", "national id"),
        ("X1234567L", "national id"),
        ("811228-9874", "national id"),
        ("85.07.30-033.28", "national id"),
        ("1 84 12 76 451 089 46", "national id"),
    ],
)
def test_what_is_personal_is_found_inside_a_sentence(text: str, kind: str) -> None:
    assert kind in kinds_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "noone@here",
        "4111 1111 1111 1112",
        "DE88 3704 0044 0532 0130 00",
        "1.2.3.4.5",
        "127.0.0.1",
        "12:30:45",
        "2024-01-31 10:00:00",
        "order 1700000000000000 of 31.01.2024",
        "666-12-3456",
        "12345678A",
        "RSSMRA٨٥T١٠A٥٦٢S",
        "811332-9874",
        "",
    ],
)
def test_a_look_alike_is_not(text: str) -> None:
    assert kinds_in(text) == frozenset()


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("86095742719", "national id"),
        ("44051401359", "national id"),
        ("85073003328", "national id"),
        ("111222333", "national id"),
        ("8112289874", "national id"),
        ("0170 1234567", "phone"),
        ("(212) 555-0100", "phone"),
    ],
)
def test_plain_digits_count_as_a_whole_cell_only(cell: str, kind: str) -> None:
    assert kind in kinds_of(cell)
    assert kinds_in(f"item {cell} sold") == frozenset()


@pytest.mark.parametrize("cell", ["01.02.2024", "01/02/24", "0.84123456", "20240131", "2024"])
def test_dates_and_decimals_are_no_phone_numbers(cell: str) -> None:
    assert kinds_of(cell) == frozenset()


@given(st.text(max_size=60))
def test_any_text_can_be_looked_at(text: str) -> None:
    assert kinds_in(text) <= {rule.kind for rule in personal.RULES}
    assert kinds_of(text) <= {rule.kind for rule in personal.RULES}


@given(st.text(alphabet="0123456789 -+@.:/()abDEXZtr", max_size=30))
def test_the_quick_look_never_hides_what_a_rule_would_find(text: str) -> None:
    hit = any(rule.holds(m.group()) for rule in personal.RULES for m in rule.pattern.finditer(text))
    assert not hit or personal.HINT.search(text)


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18))
def test_luhn_finds_every_single_wrong_digit(digits: list[int]) -> None:
    whole = next([*digits, d] for d in range(10) if personal.luhn([*digits, d]))
    for place, digit in enumerate(whole):
        wrong = [*whole[:place], (digit + 1) % 10, *whole[place + 1 :]]
        assert not personal.luhn(wrong)
