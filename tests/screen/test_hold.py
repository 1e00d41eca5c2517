"""A text in pieces: nothing of what has to be hidden leaves, however it is cut."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.screen.found import masked, without
from freehold.screen.hold import _OPEN, CAP, Held, _starts
from freehold.screen.rules import BOTH, find
from tests.screen.samples import PERSONAL, SECRETS, parted

SAMPLES = [*PERSONAL, *SECRETS]
PROSE = "Thank you for your letter of last week. We have looked at the pictures, and the damage is covered. "


def streamed(pieces: list[str]) -> tuple[str, list[str], Held]:
    """What leaves at each piece, and at the end."""
    held = Held(BOTH)
    leaves = [held.feed(piece) for piece in pieces]
    return "".join(leaves) + held.finish(), leaves, held


def at_once(text: str) -> str:
    return without(text, find(text), masked)


@pytest.mark.parametrize(("kind", "marked"), SAMPLES)
def test_nothing_of_a_value_leaves_wherever_the_text_is_cut(kind: str, marked: str) -> None:
    text = PROSE + parted(marked)[0] + ". " + PROSE
    wanted = at_once(text)
    assert f"[{kind}]" in wanted
    for cut in range(len(PROSE), len(PROSE) + len(marked) + 30):
        assert streamed([text[:cut], text[cut:]])[0] == wanted


@pytest.mark.parametrize(("kind", "marked"), SAMPLES)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_it_comes_out_the_same_in_small_pieces(kind: str, marked: str, size: int) -> None:
    text = PROSE + parted(marked)[0] + ". " + PROSE
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    out, _, held = streamed(pieces)
    assert out == at_once(text)
    assert [one.kind for one in held.found] == [kind]


@pytest.mark.parametrize(("kind", "marked"), SAMPLES)
@pytest.mark.parametrize("deep", [1, 2])
def test_in_json_too_and_what_is_left_is_json(kind: str, marked: str, deep: int) -> None:
    """A line's end is two letters there, and the second one is none of the value's."""
    body = f"Thank you.\n{parted(marked)[0]}\nThank you ü 😀"
    text = json.dumps({"to": "us", "body": body})
    for _ in range(deep - 1):
        text = json.dumps([text])
    out = at_once(text)
    read = out
    for _ in range(deep - 1):
        (read,) = json.loads(read)
    assert json.loads(read) == {"to": "us", "body": at_once(body)}
    for size in (1, 5, 31):
        assert streamed([text[i : i + size] for i in range(0, len(text), size)])[0] == out


def test_nothing_of_a_colored_value_leaves_wherever_the_text_is_cut() -> None:
    text = "pay \x1b[1mDE44\x1b[38;5;196m 5001\x1b[0m 0517 5407 3249 31\x1b[K today"
    wanted = at_once(text)
    assert "[iban]" in wanted
    assert not any(letter.isdigit() for letter in re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", wanted))
    for cut in range(1, len(text)):
        assert streamed([text[:cut], text[cut:]])[0] == wanted


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*(parted(m)[0] for _, m in SAMPLES), PROSE, "No. ", "12 ", "of "]), max_size=6),
    st.integers(0, 2**32),
)
@example(["I was born on 12 March 1980 in Ulm", "No. "], 1)
def test_any_text_in_any_pieces_adds_up_to_the_masked_whole(parts: list[str], seed: int) -> None:
    text = ", ".join(parts)
    chance, pieces, done = random.Random(seed), list[str](), 0
    while done < len(text):
        size = chance.randint(1, 12)
        pieces.append(text[done : done + size])
        done += size
    assert streamed(pieces)[0] == at_once(text)


def test_ordinary_prose_is_held_back_for_a_word() -> None:
    held = Held(BOTH)
    waiting = []
    for letter in PROSE * 10:
        held.feed(letter)
        waiting.append(held.waiting)
    assert sum(waiting) / len(waiting) < 8
    assert max(waiting) <= 16


def test_text_without_blanks_is_not_held_back() -> None:
    """In Chinese there is no end of a word to wait for."""
    held = Held(BOTH)
    out = held.feed("我们已经看过照片损坏已承保" * 20)
    assert len(out) > 250


def test_a_long_run_is_let_go_at_the_cap() -> None:
    held = Held(BOTH)
    out = held.feed("x" * 2000)
    assert held.waiting <= CAP
    assert out + held.finish() == "x" * 2000


def test_a_key_longer_than_the_cap_is_masked_once_and_swallowed() -> None:
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" for _ in range(40))
    text = f"look: -----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY----- and so on"
    for size in (1, 5, 64, 5000):
        out, _, held = streamed([text[i : i + size] for i in range(0, len(text), size)])
        assert out == "look: [private key] and so on"
        assert held.waiting == 0


def test_a_key_that_never_ends_is_swallowed_to_the_end() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEF\n" * 60
    out, _, _ = streamed([text[i : i + 11] for i in range(0, len(text), 11)])
    assert out == "[private key]"


def test_a_token_longer_than_the_cap_is_swallowed() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIiwib" * 60 + ".c2lnbmF0dXJl"
    text = f"cookie {token} was set"
    out, _, _ = streamed([text[i : i + 9] for i in range(0, len(text), 9)])
    assert out == "cookie [jwt] was set"


ENDS = [*"aZ7 -/.,+(:=>'\"`\n你", "BEGIN", "----", "password", "token is ", "3rd of May", "DE44"]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(ENDS), max_size=20).map("".join))
@example("AB-")
@example("AB 12")
@example("AB/")
@example("API key:'it")
@example("token=`it")
@example('secret => "it')
@example("pwd was\n'it")
@example("the 3rd of May ")
@example("--BEGIN")
def test_where_a_sign_is_missing_nothing_is_open_that_has_it(tail: str) -> None:
    """Patterns whose sign is not there are not tried."""
    for sign, patterns in _OPEN:
        if any(pattern.search(tail) for pattern in patterns):
            assert sign.search(tail)


@settings(max_examples=100)
@given(st.text("ab -\n你가", max_size=12))
def test_the_last_word_is_open_wherever_it_begins(text: str) -> None:
    word = re.search(r"[ab\-]+\Z", text)
    assert _starts(text) == ([word.start()] if word else [])
