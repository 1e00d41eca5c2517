"""Data that lies in a lake: read where the command is typed, with credentials that control never sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_server
import pytest
from s3_server import S3Server

from tests.cli.test_data import INBOX, SAID

SECRET = "wjqk-nobodys-business"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def trainer(house: Any) -> str:
    _, headers = house.person("tom@example.org", "claims/trainer")
    return str(headers["authorization"].removeprefix("Bearer "))


def logs(house: Any) -> str:
    home = house.parts.home
    return "".join(path.read_text(errors="replace") for path in home.root.rglob("*.log"))


def test_an_object_in_s3_becomes_a_data_set_and_with_other_keys_nothing_does(
    freehold: Any, house: Any, trainer: str, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.let_in(monkeypatch)
    address = server.new_bucket("lake")
    (server.newest / "lake").mkdir(exist_ok=True)
    (server.newest / "lake" / "inbox.csv").write_text(INBOX)
    before, _, asked = address.partition("?")
    there = f"{before}/inbox.csv?{asked}"
    added = freehold("data", "add", there, *SAID, key=trainer)
    assert added.code == 0, added.err
    assert "inbox@1 added: 2 rows" in added.out
    missing = freehold("data", "add", there.replace("inbox.csv", "other.csv"), *SAID, key=trainer)
    assert (missing.code != 0, "other.csv" in missing.err) == (True, True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    refused = freehold("data", "add", there, "--name=again", *SAID, key=trainer)
    assert refused.code != 0
    assert "where you type this" in refused.err
    assert SECRET not in refused.out + refused.err + logs(house)
    listed = freehold("data", "list", key=trainer)
    assert "again" not in listed.out
    assert "other" not in listed.out


@pytest.fixture
def lake() -> Iterator[str]:
    """A table of somebody else's, and the address to it."""
    server = postgres_server.server()
    name = postgres_server.new_database()
    server.sql("CREATE TABLE inbox (id text, text text, class text, consent text)", name)
    server.sql("INSERT INTO inbox VALUES ('anna-k', 'water, \"deep\"', 'property', 'yes')", name)
    server.sql("INSERT INTO inbox VALUES ('bob', 'my car', 'motor', 'withdrawn')", name)
    yield server.url(name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_what_a_postgres_answers_becomes_a_data_set_and_nothing_is_changed_there(
    freehold: Any, trainer: str, lake: str
) -> None:
    asked = ("--query", "SELECT * FROM inbox ORDER BY id;", "--name", "inbox", *SAID)
    added = freehold("data", "add", lake, *asked, key=trainer)
    assert added.code == 0, added.err
    assert "inbox@1 added: 1 row · 1 left out: consent withdrawn" in added.out
    taken = ("--query", "DELETE FROM inbox RETURNING *", "--name", "gone", *SAID)
    refused = freehold("data", "add", lake, *taken, key=trainer)
    assert refused.code != 0
    assert "ReadOnlySqlTransaction, 25006" in refused.err
    again = freehold("data", "add", lake, *asked, key=trainer)
    assert "these rows are inbox@1 already" in again.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{lake}",), "--query"),
        (("{lake}", "--query", "SELECT 1"), "--name"),
        (("postgresql://u:{secret}@127.0.0.1/x", "--query", "SELECT 1"), "PGPASSWORD"),
        (("{lake}", "--query", "SELECT text::int FROM inbox", "--name", "x"), "22P02"),
        (("inbox.csv",), "does not exist"),
        (("s3://{secret}@bucket/x.csv",), "no place in S3"),
    ],
)
def test_what_cannot_be_read_is_told_without_a_secret_or_a_row(
    freehold: Any, trainer: str, lake: str, tmp_path: Path, words: tuple[str, ...], says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    told = freehold(
        "data", "add", *(word.format(lake=lake, secret=SECRET) for word in words), *SAID, key=trainer
    )
    assert told.code != 0
    assert says in told.err
    assert SECRET not in told.out + told.err
    assert "water" not in told.out + told.err
