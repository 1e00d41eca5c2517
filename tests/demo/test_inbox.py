"""The inbox we wrote: the same everywhere, varied, and fair in what it judges by."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from freehold.demo.inbox import TOPICS, compose, sentences, write_csv
from freehold.demo.props import write_all
from freehold.store.home import FolderUnusable


def test_the_same_seed_gives_the_same_inbox_on_every_machine() -> None:
    found = compose()
    text = "".join(m.customer + m.message for m in (*found.first, *found.letters, *found.golden))
    assert compose() == found
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "16dd965aff2807da"


def test_it_is_large_varied_and_of_eight_topics() -> None:
    first = compose().first
    assert len(first) >= 600
    assert {m.topic for m in first} == set(TOPICS)
    assert len({m.message for m in first}) > 0.97 * len(first)
    lengths = [len(m.message) for m in first]
    assert min(lengths) < 40
    assert max(lengths) > 200
    assert max(Counter(m.customer for m in first).values()) >= 5


def test_nobody_who_is_learned_from_is_judged_by() -> None:
    found = compose()
    learned = {m.customer for m in (*found.first, *found.letters)}
    assert not learned & {m.customer for m in found.golden}
    assert "anna-k" in learned


def test_a_third_of_what_is_judged_by_was_never_said_in_training() -> None:
    found = compose()
    learned = " ".join(m.message.lower() for m in (*found.first, *found.letters))
    openings = [line.split("{")[0].lower() for topic in TOPICS for line in sentences(topic).everyday]
    said = [opening for opening in openings if len(opening) > 20]
    unsaid = [opening for opening in said if opening not in learned]
    assert 0.25 < len(unsaid) / len(said) < 0.45


def test_no_slot_is_left_open_and_the_file_reads_back(tmp_path: Path) -> None:
    found = compose()
    assert not [m for m in (*found.first, *found.letters, *found.golden) if "{" in m.message]
    write_csv(found.first, tmp_path / "inbox.csv")
    with (tmp_path / "inbox.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["message"] for row in rows] == [m.message for m in found.first]


def test_files_that_cannot_be_written_are_told_and_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusable):
        write_all(tmp_path / "nowhere")
    (tmp_path / "tumour-check.yaml").symlink_to(tmp_path / "nowhere" / "else")  # what fails at the very end
    with pytest.raises(FolderUnusable):
        write_all(tmp_path)
    assert not list(tmp_path.iterdir())
