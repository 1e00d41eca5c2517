"""How the reach of a forgetting is told: what a count stands before is one thing, or several."""

from __future__ import annotations

import pytest

from freehold.cli.forget import line_text
from freehold.data.forget import Found
from freehold.journeys.reach import PROOF, _destroyed, _kept


@pytest.mark.parametrize(
    ("count", "words", "consent", "entries"),
    [
        (1, "1 answer's words", "1 word of consent", "1 answer's entries, without words"),
        (2, "2 answers' words", "2 words of consent", "2 answers' entries, without words"),
    ],
)
def test_one_of_something_is_not_told_as_several(count: int, words: str, consent: str, entries: str) -> None:
    found = Found(removed=(), kept=(), answers=count, words=count, consents=count, services={})
    assert [line_text(line) for line in _destroyed(found)] == [words, "1 key of the person"]
    assert [line_text(line) for line in _kept(found)] == [f"{consent}: {PROOF}", f"{entries}: {PROOF}"]
    assert [line["what"] for line in _destroyed(found)] == ["words of answers", "key of the person"]
