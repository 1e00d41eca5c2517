"""Ids sort as they were made; a canonical record has one form."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.spec.ids import canonical, made_at, new_id, now


def test_ids_sort_as_they_were_made_and_no_two_are_alike() -> None:
    ids = [new_id("ans") for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"ans_[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)
    assert ids[0][4:12] <= ids[-1][4:12]


def test_an_id_says_when_it_was_made() -> None:
    before, made, after = now(), made_at(new_id("ans")), now()
    assert made is not None
    assert before - 1000 < made <= after


@pytest.mark.parametrize("id", ["", "ans_1", "ans_", "key_first", "ans_" + "u" * 26, "ans_" + "1" * 27])
def test_what_was_named_otherwise_says_nothing_of_when(id: str) -> None:
    assert made_at(id) is None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(PLAIN)
def test_a_record_has_one_form(value: Any) -> None:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    assert canonical(value) == text.encode()


class Word(str):
    """As an enumeration's value is."""


def test_what_is_derived_from_a_text_or_a_number_is_written_like_it() -> None:
    class Level(IntEnum):
        HIGH = 3

    value = {Word("b"): Word("x"), "a": [Level.HIGH, {"c": Word("y")}]}
    assert canonical(value) == b'{"a":[3,{"c":"y"}],"b":"x"}'


@pytest.mark.parametrize("value", [b"x", {"a": {1, 2}}, [Decimal(1)], {"a": Path("x")}, datetime.now(UTC)])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_every_character_is_written_as_it_is_by_the_other_encoder() -> None:
    every = [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000]
    assert canonical(every) == json.dumps(every, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("value", [0.5, [0.5], {"a": {"b": (1, 0.5)}}, {1: "a"}, {"a": [{2: 1}]}])
def test_floats_and_keys_that_are_no_text_are_refused_however_deep(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)
