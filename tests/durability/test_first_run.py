"""The power fails during the first run: the installation is there with its first key, or begins again."""

from __future__ import annotations

from pathlib import Path

from freehold.app import open_parts
from freehold.errors import Failure
from freehold.identity import first_run, keys
from freehold.spec.config import Config
from freehold.spec.ids import now
from freehold.store.home import Home
from tests.durability.cuts import Cut, cut_off, watched
from tests.durability.recovery import Found, Told

POINTS = 12


def look(folder: Path, told: Told) -> Found:
    """As `freehold up` goes on: it makes what is not whole anew, unless somebody has a key to it."""
    home, found = Home(folder / "fh"), Found()
    key = next(iter(told.entries), None)
    try:
        if first_run.needed(home):
            found.lost += key is not None
            key = first_run.create(home, Config()).administrator_key
        with open_parts(home, Config()) as parts, parts.ground.db.read() as conn:
            if key is not None:
                keys.authenticate(conn, key, zone="control", at=now())
    except Failure as failure:
        found.wrong.append(f"{failure.code}: {failure.what}: {failure.why}")
    return found


def test_whenever_it_is_cut_off_it_is_there_with_its_key_or_begins_again(
    recorder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    record = watched(recorder, tmp_path / "empty", tmp_path / "it", "begin")
    every = max(1, len(record.points) // POINTS)
    cuts = [Cut(at=at, seed=at) for at in record.points[::every]]
    cuts += [Cut(at=len(record.events), outcome=outcome) for outcome in ("lost", "mixed", "kept")]
    bad = [str(left) for left in cut_off(record, cuts, tmp_path, look) if not left.found.well]
    assert not bad, "\n".join(bad)
