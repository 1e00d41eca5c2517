"""What the rules find in a text, what they leave alone, and that hiding does not help."""

from __future__ import annotations

import base64
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.screen.found import Found, masked, settled, without
from freehold.screen.rules import _FAMILIES, find
from tests.screen.samples import PERSONAL, SECRETS, parted

PII, KEYS = frozenset(("pii",)), frozenset(("secrets",))


@pytest.mark.parametrize(("kind", "marked"), [*PERSONAL, *SECRETS])
def test_each_kind_is_found_where_it_stands_and_nowhere_else(kind: str, marked: str) -> None:
    text, start, end = parted(marked)
    assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [(kind, text[start:end])]


@pytest.mark.parametrize(("kind", "marked"), [*PERSONAL, *SECRETS])
def test_a_group_that_is_not_wanted_is_not_looked_for(kind: str, marked: str) -> None:
    text, _, _ = parted(marked)
    wanted, other = (PII, KEYS) if (kind, marked) in PERSONAL else (KEYS, PII)
    assert find(text, wanted)  # type: ignore[arg-type]
    assert not find(text, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "DE44 5001 0517 5407 3249 32 has a wrong digit",
        "order 4111111111111112 was sent",
        "version 1.2.3.4 of the program",
        "it is 12:30:45 now, or 12:30",
        "call me between 2019 and 2023",
        "my order number is 123 456 789",
        "in 1999 there were 12 345 678 of them",
        "the password is not working",
        "I forgot my password, the token expired",
        "password: <your password>",
        "api_key = os.environ['KEY']",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 3c9a8b7e6d5f4c3b2a1908f7e6d5c4b3a2918070",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "a 9-digit number 111222333 with nothing beside it",
        "the ratio is 3/4 and 12.5 %",
        "mail me @ home",
        "Article 12(3), point (b), of Regulation (EU) 2016/679",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == ()


@pytest.mark.parametrize(
    "disguise",
    [
        lambda value: "\u200b".join(value),
        lambda value: value.translate({ord(c): ord(c) + 0xFEE0 for c in map(chr, range(0x21, 0x7F))}),
        lambda value: "".join(chr(0xE0000 + ord(c)) for c in value),
        lambda value: value.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
        "\x00".join,
        lambda value: f"{value[:4]}\x1b[01;31m\x1b[K{value[4:]}",
        lambda value: base64.b64encode(f"account {value} is mine".encode()).decode(),
        lambda value: f"account {value} is mine".encode().hex(),
    ],
)
def test_a_disguised_number_is_found_and_the_disguise_is_what_is_masked(disguise: object) -> None:
    hidden = disguise("DE44500105175407324931")  # type: ignore[operator]
    text = f"pay to {hidden} now"
    (found,) = find(text)
    assert found.kind == "iban"
    assert without(text, (found,), masked) == "pay to [iban] now"


def test_what_overlaps_is_one_by_the_name_of_the_better_rule() -> None:
    url = Found(0, 20, "url", "pii", 11)
    password = Found(10, 14, "password", "secrets", 2)
    phone = Found(18, 26, "phone", "pii", 30)
    beside = (("pii", "phone"), ("pii", "url"))
    assert settled((phone, url, password)) == (Found(0, 26, "password", "secrets", 2, beside),)
    assert Found(0, 26, "password", "secrets", 2, beside).said[0] == ("secrets", "password")
    assert [f.kind for f in settled((Found(0, 3, "a", "pii"), Found(3, 5, "b", "pii")))] == ["a", "b"]


def test_a_password_in_a_url_may_have_the_sign_that_ends_it() -> None:
    text = "it is postgres://bob:pa55@w0rd@db.example/claims now"
    for groups in (KEYS, PII | KEYS):
        said = without(text, find(text, groups), masked)  # type: ignore[arg-type]
        assert "pa55" not in said
        assert "w0rd" not in said


def test_what_is_encoded_is_found_behind_any_number_of_encoded_runs() -> None:
    runs = " ".join(base64.b64encode(f"value number {n:04} of many".encode()).decode() for n in range(30))
    last = base64.b64encode(b"account DE44500105175407324931 is mine").decode()
    assert [one.kind for one in find(f"{runs} {last}")] == ["iban"]


def test_a_text_in_parts_is_found_in_all_of_them() -> None:
    text = "IBAN DE44 5001 0517 5407 3249 31. " + "The water came through the ceiling. " * 6000
    places = (0, 56 << 10, (56 << 10) - 10, 64 << 10, len(text) - 40)
    for place in places:
        whole = text[40 : 40 + place] + text[:34] + text[40 + place :]
        assert [one.kind for one in find(whole)] == ["iban"], place


@pytest.mark.parametrize("between", ["\x0b", "\x0c", "\x1e", "\x85", "\u00a0", "\u2028"])
def test_the_end_of_a_page_or_a_record_is_the_end_of_a_word(between: str) -> None:
    assert [one.kind for one in find(f"Anna{between}DE44500105175407324931{between}Berlin")] == ["iban"]


@pytest.mark.parametrize(("kind", "marked"), [*PERSONAL, *SECRETS])
def test_every_sign_is_there_where_its_rule_hits(kind: str, marked: str) -> None:
    """The quick pass never says no where the exact one says yes."""
    text, _, _ = parted(marked)
    for family in _FAMILIES:
        if list(family.hits(text)):
            sign = family.sign.replace("(?i)", "")
            flags = re.IGNORECASE if family.sign.startswith("(?i)") else re.NOFLAG
            assert re.search(sign, text, flags), family.sign


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_looked_at(text: str) -> None:
    for found in find(text):
        assert 0 <= found.start < found.end <= len(text)


_PIECES = (
    *("4111", " ", "-", "+49", "(", ")", "@", "a.b", "password", ": ", "=", '"', "DE44", "://", "ey", "."),
    *("\n", "\u200b", "0", "x", "-----BEGIN ", "PRIVATE KEY-----"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=80).map("".join))
def test_texts_made_of_signs_can_be_looked_at(text: str) -> None:
    found = find(text)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert "[" not in without(text, found, lambda _one, _value: "")
