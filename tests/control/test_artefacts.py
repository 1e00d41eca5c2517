"""`freehold verify --deep`: every object that a row cites lies there, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.ledger.verify import Verdict, verify
from freehold.store import tables
from tests.support.line import Line


@pytest.fixture
def line(house: Any) -> Line:
    made = Line(house)
    made.data("text,category\nwater,property\ncar,motor\n")
    made.live()
    return made


def deep(line: Line) -> Verdict:
    line.house.parts.sequencer.run_once()
    return verify(line.house.parts.home, deep=line.ground.blobs)


def files(line: Line) -> list[Path]:
    return [path for path in line.house.parts.home.blobs.rglob("*") if path.is_file()]


def test_what_is_whole_verifies_and_says_how_much_was_hashed(line: Line) -> None:
    verdict = deep(line)
    verdict.raise_if_broken()
    assert verdict.objects == len(files(line)) == 3, "a chunk, its commitments, a model's file"
    assert verify(line.house.parts.home).objects == 0, "only when it is asked for"


def test_no_object_is_held_in_memory_as_a_whole(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(type(line.ground.blobs), "get", whole)
    deep(line).raise_if_broken()


def test_every_changed_object_is_named_with_whose_it_is(line: Line) -> None:
    for path in files(line):
        body = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
        (broken,) = deep(line).broken
        assert broken.place.split()[0] in ("data_versions", "models")
        assert path.name in broken.why
        assert not verify(line.house.parts.home).broken, "the entries and the rows are as they were"
        path.write_bytes(body)


def test_a_missing_object_is_named(line: Line) -> None:
    files(line)[0].unlink()
    (broken,) = deep(line).broken
    assert "is not there" in broken.why


def test_a_forgotten_models_files_are_not_missed(line: Line) -> None:
    with line.ground.db.write() as tx:
        models = tables.models
        tx.execute(sa.update(models).values(state="forgotten"))
        tx.tells_of(("models",))
        model_files = [row.files for row in tx.execute(sa.select(models.c.files))]
    for path in files(line):
        if any(path.name in said for said in model_files):
            path.unlink()
    assert not [one for one in deep(line).broken if "object" in one.why]
