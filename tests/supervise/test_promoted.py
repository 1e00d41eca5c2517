"""The database fails over: a standby is promoted that has everything, and one that lacks what came last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from postgres_server import Server, pair

from freehold.store.home import Home
from tests.installation import Installation, wait_for

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with pair() as both:
        yield both


@pytest.fixture
def installation(servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """On whichever of the two takes writes, as libpq finds it: nobody has to change freehold.yaml."""
    made = Installation(tmp_path_factory.mktemp("promoted"))
    primary, standby = servers
    primary.sql("CREATE DATABASE freehold")
    hosts, ports = f"{primary.root},{standby.root}", f"{primary.port},{standby.port}"
    address = f"postgresql://freehold@/freehold?host={hosts}&port={ports}&target_session_attrs=read-write"
    made.home.mkdir()
    Home(made.home).config.write_text(f"database: {json.dumps(address)}\n")
    return made


@contextmanager
def running(made: Installation) -> Iterator[None]:
    made.start()
    try:
        yield
    finally:
        made.stop()


def caught_up(primary: Server) -> bool:
    """Whether the standby has all that there is."""
    behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
    return primary.sql(behind) == "1"


def wrong(made: Installation) -> str:
    return " ".join(made.json("administrator", "status")["wrong"])


def everything_has_its_place(made: Installation) -> bool:
    return bool(made.json("administrator", "status")["ledger"]["waiting_since_seconds"] == 0)


def add(made: Installation, name: str) -> None:
    made.freehold("administrator", "project", "add", name)


def projects(made: Installation) -> set[str]:
    return {one["name"] for one in made.json("administrator", "project", "list")}


def test_a_standby_that_has_everything_takes_over_and_nothing_is_lost(
    servers: tuple[Server, Server], installation: Installation
) -> None:
    primary, standby = servers
    wait_for(lambda: caught_up(primary), 30, lambda: "no standby")
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.sql("SELECT pg_reload_conf()")
    with running(installation):
        names = [f"before-{number}" for number in range(8)]
        for name in names:
            add(installation, name)
        control = installation.processes()["control"]["pid"]
        primary.stop("immediate")
        standby.promote()
        wait_for(lambda: projects_or_none(installation) == set(names), 60, installation.tell)
        add(installation, "after")
        wait_for(lambda: everything_has_its_place(installation), 30, installation.tell)
        assert projects(installation) == {*names, "after"}
        assert installation.processes()["control"]["pid"] == control
        assert "ledger verified" in installation.freehold("administrator", "verify")


def projects_or_none(made: Installation) -> set[str] | None:
    try:
        return projects(made)
    except AssertionError:
        return None


def test_a_standby_that_lacks_what_came_last_is_noticed_and_nothing_is_signed_over_it(
    servers: tuple[Server, Server], installation: Installation
) -> None:
    primary, standby = servers
    with running(installation):
        add(installation, "kept")
        wait_for(lambda: caught_up(primary), 30, installation.tell)
        standby.stop()
        add(installation, "lost")
        wait_for(lambda: everything_has_its_place(installation), 30, installation.tell)
        before = (Home(installation.home).ledger / "checkpoint").read_bytes()
        primary.stop("immediate")
        standby.start()
        standby.promote()
        wait_for(lambda: projects_or_none(installation) == {"kept"}, 60, installation.tell)
        wait_for(lambda: "the database lost all but" in wrong(installation), 30, installation.tell)
        add(installation, "later")
        assert "the database lost all but" in wrong(installation)
        assert (Home(installation.home).ledger / "checkpoint").read_bytes() == before
        told = installation.freehold("administrator", "verify", code=8)
        assert "the ledger ends here" in told
    installation.start()  # nor after a restart
    try:
        wait_for(lambda: "the database lost all but" in wrong(installation), 30, installation.tell)
        assert (Home(installation.home).ledger / "checkpoint").read_bytes() == before
    finally:
        installation.stop()
