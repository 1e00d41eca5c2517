"""On Postgres: what is planted as one person's data stands in clear in no file of the database server."""

from __future__ import annotations

import io
from pathlib import Path

import postgres_server
import sqlalchemy as sa

from freehold.data import forget as data
from freehold.data import intake
from freehold.data.declare import Intake
from freehold.spec.principal import SYSTEM
from freehold.store import contents, tables
from tests.journeys.test_forget import found_in
from tests.journeys.world import World, make_template

ANNA = "anna-qvxz-kowalska"
MARKERS = ("qvxz", "wjqkrow", "hzvwasked")
ROWS = f"message,class,customer\npipe burst wjqkrow leak,water,{ANNA}\nnothing of note,motor,ben\n"
ASKED = "ans_of_anna"


def files_with(world: World, *markers: str) -> list[str]:
    """Files of the server in which one stands: pages of this database, write-ahead files, its log."""
    server = postgres_server.server()
    name = postgres_server.database_of(world.home)
    server.sql("CHECKPOINT")  # what is in memory alone is in no file yet
    oid = server.sql(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
    places = (Path("data/base") / oid, Path("data/pg_wal"))
    found = [f"{place}/{file}" for place in places for file in found_in(server.root / place, markers)]
    log = (server.root / "log").read_bytes()
    return [*found, *("log" for marker in markers if marker.encode() in log)]


def add_rows(world: World) -> dict[str, int]:
    asked = Intake(
        name="letters",
        purposes=("claims-handling",),
        basis="contract",
        sensitivity="Confidential",
        owner="claims-team",
        keep="P3Y",
        regions=("eu",),
        subject=("customer",),
        target="class",
        text="message",
    )
    source = io.BytesIO(ROWS.encode())
    added = intake.add(world.ground, by=SYSTEM, project="claims", request=asked, source=source, format="csv")
    return dict(added.left_out)


def ask(world: World) -> None:
    """An answer about her, whose words are sealed under her key."""
    world.answered(ASKED, ANNA)
    at, subject = world.ground.clock(), world.ring.subject("claims", ANNA)
    key = contents.key_name("claims", subject, at)
    period = contents.Period.of("claims", "claims-triage", "claims-handling", at)
    words = contents.seal_words(world.ring, key, period, ASKED, "request", b"a flooded basement, hzvwasked")
    part = (tables.contents.c.answer == ASKED) & (tables.contents.c.part == "request")
    with postgres_server.past_us(world.db) as past:
        past.execute(tables.contents.update().where(part).values(sealed=words))


def test_nothing_of_a_person_stands_in_a_file_of_the_server_before_or_after(tmp_path: Path) -> None:
    postgres_server.server()  # skips where there is none
    with postgres_server.everywhere():
        world = World(make_template(tmp_path))
        try:
            assert add_rows(world) == {}
            ask(world)
            assert "hzvwasked" in (world.words(ASKED) or "")
            assert files_with(world, ASKED), "the look finds what stands there in clear"
            assert files_with(world, *MARKERS) == []
            assert world.run(world.forget(ANNA)) == "done"
            assert data.found(world.ground, "claims", world.ring.subject("claims", ANNA)).nothing
            with world.db.read() as conn:
                assert conn.scalar(sa.select(sa.func.count()).select_from(tables.contents)) == 0
            assert add_rows(world) == {"forgotten": 1}
            assert files_with(world, *MARKERS) == []
        finally:
            world.close()
