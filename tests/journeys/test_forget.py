"""A person is forgotten in a whole installation, and nothing of them is found in any of its files.

Words that stand nowhere else are planted as one person's data: in rows, in their name, in questions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from looking import files_in

from tests.installation import Installation, messages
from tests.journeys.test_deliver import SERVICE, deliver

ANNA = "anna-qvxzjkwhp-kowalska"
MARKERS = ("qvxzjkwhp", "wjqkrow", "hzvwasked")
LEARNT = "gkvlearnt"
"""In several rows, so that it becomes a word of the model that learns from them."""
ROWS = "".join(f"pipe burst kitchen wjqkrow{n} gkvlearnt leak,water,{ANNA},40-69\n" for n in range(3))
ASKED = "flooded basement hzvwasked at home"


@dataclass
class Story:
    """An installation that knew Anna."""

    house: Installation
    answer: str = ""
    forgotten: str = ""

    def ask(self, words: str) -> httpx.Response:
        return httpx.post(
            self.house.addresses["gateway"] + "/v1/chat/completions",
            headers={
                "authorization": f"Bearer {self.house.keys['serving']}",
                "x-freehold-subject": ANNA,
                "idempotency-key": "once-0123456789abcdef",
            },
            json={"model": "claims-triage", "messages": [{"role": "user", "content": words}]},
            trust_env=False,
            timeout=20,
        )


def found_in(folder: Path, markers: tuple[str, ...] = MARKERS) -> list[str]:
    """Files in which a marker stands in clear, as UTF-8 or UTF-16, or in a file's own name."""
    wanted = [form for marker in markers for form in (marker.encode(), marker.encode("utf-16-le"))]
    looked = ((path, (path.name.encode() + b"\n" + held).lower()) for path, held in files_in(folder))
    return [str(path.relative_to(folder)) for path, held in looked if any(form in held for form in wanted)]


@pytest.fixture(scope="module")
def story(installation: Installation) -> Story:
    house = installation
    house.add_people()
    house.write("claims.csv", messages(240, 7) + ROWS)
    _add(house)
    deliver(house, SERVICE.replace("tier: limited", "tier: limited\nsubject: optional"))
    return Story(house)


def _add(house: Installation) -> dict[str, Any]:
    said: dict[str, Any] = house.json(
        "trainer", "data", "add", "claims.csv", "--project", "claims", "--purpose", "claims-handling",
        "--basis", "contract", "--sensitivity", "Confidential", "--owner", "claims-team@example.org",
        "--keep", "P3Y", "--region", "eu", "--subject", "customer", "--target", "class", "--text", "message",
    )  # fmt: skip
    return said


def test_nothing_of_a_person_lies_in_clear_before(story: Story) -> None:
    asked = story.ask(ASKED)
    assert asked.status_code == 200, asked.text
    story.answer = asked.headers["x-freehold-answer"]
    story.house.freehold("trainer", "why", story.answer)  # waits until the record is taken in
    assert found_in(story.house.home) == []
    learnt = found_in(story.house.home, (LEARNT,))
    assert all(path.startswith("serving/models/") for path in learnt)  # what answers is open to its engine
    story.house.freehold("administrator", "backup", "before")
    assert found_in(story.house.folder / "before", (*MARKERS, LEARNT)) == []


def test_what_is_held_about_a_person_is_shown_and_exported(story: Story) -> None:
    house = story.house
    shown = house.freehold("privacy", "subject", "show", ANNA, "--project", "claims")
    assert "rows           3  in claims@1" in shown
    assert "claims-triage@1 learned from them" in shown
    house.freehold("privacy", "subject", "export", ANNA, "--project", "claims", "--out", "anna.json")
    held = json.loads((house.folder / "anna.json").read_text())
    first, *_ = held["rows"]["claims@1"]
    assert first["message"] == "pipe burst kitchen wjqkrow0 gkvlearnt leak"
    assert ASKED in json.dumps(held["answers"])


def test_a_plan_changes_nothing(story: Story) -> None:
    forget = ("forget", ANNA, "--project", "claims", "--request", "DSR-2026-118")
    planned = story.house.freehold("privacy", *forget)
    for line in ("3 rows claims@1", "model claims-triage@1, answers claims-triage", "add --yes"):
        assert line in planned
    shown = story.house.freehold("privacy", "subject", "show", ANNA, "--project", "claims")
    assert "in claims@1" in shown


def test_a_forgotten_person_is_in_no_file(story: Story) -> None:
    house = story.house
    said = house.freehold(
        "privacy", "forget", ANNA, "--project", "claims", "--request", "DSR-2026-118", "--yes",
        "--certificate", "certificate.json",
    )  # fmt: skip
    assert "rows 3 · words of 1 answer · models 1" in said
    assert found_in(house.home, (*MARKERS, LEARNT)) == []
    house.freehold("administrator", "export", "--all", "exported")
    assert found_in(house.folder / "exported", (*MARKERS, LEARNT)) == []


def test_the_certificate_holds_names_nobody_and_needs_nobody(story: Story) -> None:
    house = story.house
    text = (house.folder / "certificate.json").read_text()
    assert not any(marker in text for marker in MARKERS)
    assert "certificate holds" in house.freehold("auditor", "verify", "--certificate", "certificate.json")
    house.write("changed.json", text[:-9])
    house.freehold("auditor", "verify", "--certificate", "changed.json", code=2)
    other = json.loads(text)
    other["receipts"]["certificate.issued"] = other["receipts"]["forgetting.asked"]
    house.write("changed.json", json.dumps(other))
    house.freehold("auditor", "verify", "--certificate", "changed.json", code=8)


def test_why_shows_a_hole_and_the_ledger_still_holds(story: Story) -> None:
    why = story.house.freehold("trainer", "why", story.answer)
    assert "243 rows (3 forgotten)" in why
    assert "claims@1#241" in why
    story.house.freehold("auditor", "verify")


def test_what_comes_in_again_is_left_out(story: Story) -> None:
    added = _add(story.house)
    assert added["left_out"] == {"forgotten": 3}
    assert found_in(story.house.home) == []


def test_the_old_answer_is_given_to_nobody_any_more(story: Story) -> None:
    assert story.ask(ASKED).status_code != 200
    assert not any((story.house.home / "serving" / "replays").iterdir())
