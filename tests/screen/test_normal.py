"""A text as a reader sees it, with the origin of every character kept."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.screen.normal import _ORDINARY_LETTERS, _clusters, _is_mark, _one_for_one, normalize, readings


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("plain ASCII\nstays", "plain ASCII\nstays"),
        ("Ｉｇｎｏｒｅ", "Ignore"),
        ("ig\u200bno\u00adre\ufeff", "ignore"),
        ("𝐢𝐠𝐧𝐨𝐫𝐞 𝑡ℎ𝑖𝑠", "ignore this"),
        ("ign\u043ere the rul\u0435s", "ignore the rules"),
        ("\U000e0049\U000e0047", "IG"),
        ("i\u0336\u0352g\u0336n\u0337", "ign"),
        ("٤١١١ 1111", "4111 1111"),
        ("a\u00a0b\u2003c", "a b c"),
        ("“it’s” – so", '"it\'s" - so'),
        ("ﬁne ½", "fine 1⁄2"),
        ("ig\x00no\x08re\x7f", "ignore"),
        ("\x1b[1;31mDE44\x1b[0m\x1b[K 5001\x1b[38;2;255;0;0", "DE44 5001"),
        ("\x1b[4111111111111111m", "[4111111111111111m"),
    ],
)
def test_disguises_are_undone(text: str, normal: str) -> None:
    assert normalize(text).text == normal


@pytest.mark.parametrize(
    "text", ["Привет, как дела?", "Καλημέρα σας", "café naïve Ångström", "你好，世界", "مرحبا"]
)
def test_other_languages_are_left_alone(text: str) -> None:
    assert _one_for_one(text, set(text) - _ORDINARY_LETTERS) is not None
    letters = [c for c in unicodedata.normalize("NFKC", text) if c.isalpha()]
    assert [c for c in normalize(text).text if c.isalpha()] == letters


def test_a_mask_falls_on_what_was_written() -> None:
    text = "card 4\u200b111 is e\u0301crit"
    normal = normalize(text)
    start = normal.text.index("4111")
    begin, end = normal.origin(start, start + 4)
    assert text[begin:end] == "4\u200b111"
    start = normal.text.index("écrit")
    assert text[slice(*normal.origin(start, start + 5))] == "e\u0301crit"


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=120))
def test_every_part_has_an_origin_inside_the_text(text: str) -> None:
    normal = normalize(text)
    last = 0
    for place in range(len(normal.text)):
        begin, end = normal.origin(place, place + 1)
        assert 0 <= begin <= end <= len(text)
        assert begin >= last
        last = begin
    assert normal.origin(0, len(normal.text))[1] <= len(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"\nDE44", ["\\nDE44", "\nDE44"]),
        (r"j\u00fcrgen \ud83d\ude00", [r"j\u00fcrgen \ud83d\ude00", "jürgen "]),
        (r"\\\"a\\\\nb", [r"\\\"a\\\\nb", '"a\nb']),
        (r"C:\dir", [r"C:\dir"]),
    ],
)
def test_json_is_read_without_its_escapes_too(text: str, read: list[str]) -> None:
    assert [reading.text for reading in readings(text)] == read


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(("\\", "n", "u00fc", '"', "a", "é", "\u200b", "4")), max_size=24).map("".join)
)
def test_every_part_of_a_reading_has_an_origin(text: str) -> None:
    for reading in readings(text):
        last = 0
        for place in range(len(reading.text)):
            begin, end = reading.origin(place, place + 1)
            assert last <= begin <= end <= len(text)
            last = begin


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=120))
def test_plain_text_is_itself(text: str) -> None:
    normal = normalize(text)
    assert normal.text == text
    assert normal.origin(0, len(text)) == (0, len(text))


@settings(max_examples=200)
@given(st.text(st.characters(max_codepoint=0x7F)), st.sampled_from(["", "\x00", "\x1b[0m", "\x7f"]))
def test_what_is_ordinary_in_ascii_is_left_alone_and_nothing_else(text: str, strange: str) -> None:
    whole = text + strange
    ordinary = all(letter in "\t\n\r" or " " <= letter <= "~" for letter in whole)
    assert (normalize(whole).text == whole) == ordinary


MOVING = "\u0301\u0903\u200b…½ﬁ\x1b\x00𝐢\U000e0049"
ALONE = "aB7 \n-“”’–\u2014\ufe31äßЖжеαあ你\xa0\u2028４٤Ａ"


@settings(max_examples=400)
@given(st.text(ALONE, max_size=40) | st.text(ALONE + MOVING, max_size=40) | st.text(max_size=40))
def test_letters_at_once_are_the_letters_one_by_one(text: str) -> None:
    """Where no place moves there is a shorter way."""
    strange = set(text) - _ORDINARY_LETTERS
    pieces = list(_clusters(text, set(filter(_is_mark, strange))))
    turned = _one_for_one(text, strange)
    if turned is not None:
        assert turned == "".join(normal for _, _, normal in pieces)
        assert all(len(normal) == len(cluster) for _, cluster, normal in pieces)
