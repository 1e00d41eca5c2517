"""Arguments of a tool's call stay JSON when words in them are hidden, and are whole again on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.arguments import Arguments, parsing, unescaped
from freehold.gateway.lanes import Lane

PEM = '-----BEGIN KEY-----\nab"c\\d\n-----END KEY-----'
VALUES = {"[card 1]": "4111111111111111", "[key 1]": PEM, "[e-mail 1]": "jo@example.org"}


@pytest.mark.parametrize(
    ("hidden", "parses"),
    [
        ('{"card": [card]}', {"card": "[card]"}),
        ('{"card": [card 1], "n": 2}', {"card": "[card 1]", "n": 2}),
        ('{"card": "[card]"}', {"card": "[card]"}),
        ('{"said": "\\"[card]\\" it was"}', {"said": '"[card]" it was'}),
        ('{"all": [true], "none": [null], "numbers": [1]}', {"all": [True], "none": [None], "numbers": [1]}),
    ],
)
def test_what_is_hidden_leaves_json(hidden: str, parses: Any) -> None:
    assert json.loads(parsing(hidden)) == parses


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ('{"key": "[key 1]"}', {"key": PEM}),
        ('{"card": [card 1]}', {"card": 4111111111111111}),
        ('{"card": "[card 1]"}', {"card": "4111111111111111"}),
        ('{"to": [e-mail 1]}', {"to": "jo@example.org"}),
        ('{"to": "write to [e-mail 1], not [e-mail 2]"}', {"to": "write to jo@example.org, not [e-mail 2]"}),
    ],
)
def test_what_a_token_stands_for_is_turned_back_as_json(written: str, means: Any) -> None:
    assert json.loads(Arguments(VALUES).turned(written)) == means


def test_a_value_out_of_json_is_what_it_was_before() -> None:
    assert unescaped(json.dumps(PEM)[1:-1]) == PEM
    assert unescaped("\\x broken") == "\\x broken"


WORDS = st.sampled_from(["a", '"', "\\", "\n", "[card 1]", "[key 1]", "[", "]", "é"])
TEXTS = st.lists(WORDS, max_size=8).map("".join)
JSON = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.lists(st.integers(1, 6), max_size=40))
def test_however_it_is_cut_a_stream_of_arguments_says_the_same(said: Any, cuts: list[int]) -> None:
    text = json.dumps({"said": said}, ensure_ascii=False)
    lane = Lane(None, VALUES, Arguments(VALUES))
    left, pieces = text, []
    for cut in cuts:
        pieces.append(lane.feed(left[:cut]))
        left = left[cut:]
    out = "".join([*pieces, lane.feed(left), lane.finish()])
    assert out == Arguments(VALUES).turned(text)
    json.loads(out)
