"""Text that leaves is whole characters, holds no stop sequence, and is the same in pieces as at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.generation import Token, Written
from freehold.engines.pieces import Characters, Pieces, Stops

WORDS = st.text(alphabet="ab水🌊é \n", min_size=0, max_size=40)


def tokens_of(text: bytes, cuts: list[int]) -> list[Token]:
    """The bytes cut anywhere, as byte-level tokens are."""
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [Token(id=n, raw=text[a:b]) for n, (a, b) in enumerate(pairwise(places))]


def said(tokens: list[Token], *stops: str, blank_first: bool = False) -> tuple[list[Written], Pieces]:
    pieces = Pieces(Characters(blank_first=blank_first), Stops(stops))
    out = []
    for token in tokens:
        out.append(pieces.add(token))
        if pieces.stopped:
            break
    return [one for one in (*out, pieces.rest()) if one], pieces


@given(WORDS, st.lists(st.integers(0, 160), max_size=30))
def test_pieces_together_are_the_text_and_no_character_is_split(text: str, cuts: list[int]) -> None:
    written, _ = said(tokens_of(text.encode(), cuts))
    assert "".join(one.text for one in written) == text
    assert "\ufffd" not in "".join(one.text for one in written)


@given(WORDS, st.lists(st.integers(0, 160), max_size=30))
def test_every_token_leaves_once_in_order_with_its_place(text: str, cuts: list[int]) -> None:
    tokens = tokens_of(text.encode(), cuts)
    written, _ = said(tokens)
    left = [token for one in written for token in one.tokens]
    assert [token.id for token in left] == [token.id for token in tokens]
    for token in left:
        assert text[: token.begins].encode() == text.encode()[: len(text[: token.begins].encode())]
    assert [token.begins for token in left] == sorted(token.begins for token in left)


@given(
    WORDS,
    st.lists(st.integers(0, 160), max_size=30),
    st.lists(st.text("ab水 ", min_size=1, max_size=4), max_size=3),
)
def test_nothing_of_a_stop_sequence_leaves_wherever_tokens_are_cut(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    written, pieces = said(tokens_of(text.encode(), cuts), *stops)
    places = [text.find(stop) for stop in stops if stop in text]
    whole = "".join(one.text for one in written)
    assert pieces.stopped == bool(places)
    if not places:
        assert whole == text
    else:  # which one is met first depends on where tokens end; none of them is in what left
        assert text.startswith(whole)
        assert not any(stop in whole for stop in stops)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=20))
def test_bytes_that_are_no_text_are_told_as_such_and_never_get_stuck(raw: bytes, cuts: list[int]) -> None:
    written, _ = said(tokens_of(raw, cuts))
    assert "".join(one.text for one in written) == raw.decode("utf-8", "replace")


def test_a_stop_sequence_over_three_tokens_is_cut_and_its_tokens_are_not_told() -> None:
    tokens = [Token(id=n, raw=word) for n, word in enumerate((b"well ", b"EN", b"D o", b"f story"))]
    written, pieces = said(tokens, "END of")
    assert pieces.stopped
    assert "".join(one.text for one in written) == "well "
    assert [token.id for one in written for token in one.tokens] == [0]


def test_what_only_looked_like_a_stop_sequence_is_told_in_the_end() -> None:
    written, pieces = said([Token(id=0, raw=b"the EN")], "END")
    assert not pieces.stopped
    assert [one.text for one in written] == ["the ", "EN"]


def test_a_mark_is_no_text() -> None:
    written, _ = said([Token(id=0, raw=b"<|user|>", special=True), Token(id=1, raw=b"hi")])
    assert "".join(one.text for one in written) == "hi"
    assert [token.id for one in written for token in one.tokens] == [0, 1]


@pytest.mark.parametrize(("raw", "text"), [(b" hi", "hi"), (b"hi", "hi"), (b"  hi", " hi")])
def test_the_blank_that_a_tokenizer_puts_before_a_text_is_taken_off_once(raw: bytes, text: str) -> None:
    written, _ = said([Token(id=0, raw=raw), Token(id=1, raw=b" you")], blank_first=True)
    assert "".join(one.text for one in written) == text + " you"
