"""Commands that work on the host itself, past control's routes: each does what it does with its entries.

Each is tried twice: first while the database refuses every entry of it, and then nothing of the change may
stay; then for real. What works through a route is in test_every_change.py.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import embedded

from freehold.cli.exported import unpack
from freehold.control import export
from freehold.control.importing import import_
from freehold.control.restore import restore
from freehold.identity import first_run
from freehold.ledger import record
from freehold.spec.config import Config
from freehold.spec.ids import now
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.pieces import Pieces
from tests.control.conftest import house_in
from tests.control.test_backup import backed_up_to, put_data

pytestmark = embedded  # what is refused is refused to its file; recovering on Postgres: tests/store


@dataclass(frozen=True)
class Place:
    """An installation that is stopped, a backup of it, and an exact export."""

    home: Home
    backup: Path
    keys: Path
    export: Path

    @property
    def elsewhere(self) -> Home:
        """Where another one is made."""
        return Home(self.home.root.with_name("elsewhere"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on-host")
    with house_in(folder, now) as house:
        put_data(house)
        backed_up_to(house, folder / "backup")
        house.parts.sequencer.run_once()
        pieces = export.archive(house.parts, export.begin(house.parts, SYSTEM), exact=True)
        unpack(Pieces(pieces), folder / "export")
    (folder / "keys").mkdir()
    shutil.copy(folder / "freehold.d" / "control" / "epoch.key", folder / "keys")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    """A copy of all of it."""
    folder = tmp_path / "there"
    shutil.copytree(made, folder)
    return Place(Home(folder / "freehold.d"), folder / "backup", folder / "keys", folder / "export")


CASES: dict[str, tuple[Callable[[Place], object], dict[str, int]]] = {
    "up": (
        lambda p: first_run.create(p.elsewhere, Config()),
        {"installation.created": 1, "person.added": 1, "key.created": 3},
    ),
    "recover": (
        lambda p: first_run.recover(p.home),
        {"installation.recovered": 1, "key.created": 1, "key.revoked": 1},
    ),
    "restore": (
        lambda p: restore(p.backup, p.elsewhere, p.keys),
        {"installation.restored": 1, "snapshot.published": 1},
    ),
    "import": (
        lambda p: import_(p.export, p.elsewhere),
        {
            "installation.imported": 1,
            "installation.recovered": 1,
            "key.revoked": 3,
            "key.created": 3,
            "snapshot.published": 1,
        },
    ),
}
"""What is done, and which entries it writes."""


@pytest.mark.parametrize("command", CASES)
def test_what_is_done_on_the_host_is_one_with_its_entries(
    place: Place, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    do, writes = CASES[command]
    before, known = rows(place.home), kinds(place.home)
    with monkeypatch.context() as refusing:
        refusing.setattr(record, "_ENTRY", tables.entries.insert().values(body=sa.null()))
        with pytest.raises(sa.exc.IntegrityError):
            do(place)
    assert rows(place.home) == before, "what cannot be recorded is not done"
    assert first_run.needed(place.elsewhere), "and no installation is made"
    do(place)
    home = place.home if command == "recover" else place.elsewhere
    assert Counter(kind for id, kind in kinds(home).items() if id not in known) == writes


def rows(home: Home) -> dict[str, list[str]]:
    """Everything in the tables."""
    database = open_database(home)
    try:
        with database.read() as conn:
            return {
                table.name: sorted(map(repr, conn.execute(sa.select(table))))
                for table in tables.metadata.sorted_tables
            }
    finally:
        database.close()


def kinds(home: Home) -> dict[str, str]:
    """Which kind each entry is of."""
    database = open_database(home)
    try:
        with database.read() as conn:
            e = tables.entries.c
            return {row.id: row.kind for row in conn.execute(sa.select(e.id, e.kind))}
    finally:
        database.close()
