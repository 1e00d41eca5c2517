"""Control looks at its own ledger by itself, and what it found stands in the status and on the first page."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from freehold.control import progress
from freehold.control.checking import Checker


@pytest.fixture
def checker(house: Any) -> Checker:
    house.person("ada@example.org", "*/auditor")
    house.parts.sequencer.run_once()
    parts = house.parts
    return Checker(home=parts.home, clock=parts.ground.clock, checked=parts.checked)


def flip_a_byte(house: Any) -> None:
    (first, *_) = sorted((house.parts.home.ledger / "tile" / "entries").rglob("*.p/*"))
    data = bytearray(first.read_bytes())
    data[40] ^= 1
    first.write_bytes(bytes(data))


def wrong(house: Any) -> str:
    return "\n".join(progress.status(house.parts, None)["wrong"])


def test_a_ledger_that_holds_is_said_to_hold_and_when(house: Any, checker: Checker) -> None:
    before = house.parts.ground.clock()
    checker.look()
    assert house.parts.checked.because == ""
    assert before < house.parts.checked.at < house.parts.ground.clock()
    assert "verify" not in wrong(house)


def test_a_changed_byte_is_seen_named_and_forgotten_when_it_is_mended(house: Any, checker: Checker) -> None:
    flip_a_byte(house)
    checker.look()
    assert "the ledger does not verify: tile/entries/000" in wrong(house)
    assert "why:" not in wrong(house)
    flip_a_byte(house)
    checker.look()
    assert "verify" not in wrong(house)


def test_it_looks_by_itself_and_leaves_at_once(house: Any, checker: Checker) -> None:
    checker.first_after = 0.01
    checker.start()
    deadline = time.monotonic() + 60
    while house.parts.checked.at is None and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    checker.stop()
    assert house.parts.checked.at is not None
    assert "checker" not in {thread.name for thread in threading.enumerate()}


def test_what_could_not_be_looked_at_leaves_the_last_word_standing(
    house: Any, checker: Checker, caplog: pytest.LogCaptureFixture
) -> None:
    checker.look()
    at = house.parts.checked.at
    house.parts.home.ledger_key.rename(house.parts.home.control / "elsewhere")
    (house.parts.home.control / "ledger").rename(house.parts.home.control / "gone")
    checker.look()
    assert house.parts.checked.at == at
    assert "could not be looked at" in caplog.text


def test_a_ledger_that_held_and_did_not_grow_is_looked_at_seldom(house: Any, checker: Checker) -> None:
    checker.look()
    assert not checker._is_due(checker.every)
    assert checker._is_due(checker.every * checker.quiet)
    house.person("tom@example.org", "*/auditor")
    house.parts.sequencer.run_once()
    assert checker._is_due(checker.every)


def test_a_ledger_that_did_not_hold_is_looked_at_as_often_as_ever(house: Any, checker: Checker) -> None:
    flip_a_byte(house)
    checker.look()
    assert checker._is_due(checker.every)
