"""The client remembers the ledger it saw, over a real server: history may grow, never change."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from postgres_server import past_us
from serving import serving

from freehold.client import ControlAway, Freehold, HistoryChanged
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.spec.principal import SYSTEM


@pytest.fixture
def url(house: Any) -> Iterator[str]:
    """Control's people and ledger routes, served."""
    app: FastAPI = house.client("people", "ledger").app
    with serving(app) as url:
        yield url


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "freehold"


def me(url: str, key: str) -> Any:
    with Freehold(url, key) as control:
        return control.get("/api/me")


def grow(house: Any, count: int = 3) -> None:
    with house.parts.ground.db.write() as tx:
        for number in range(count):
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            record(tx, "setting.changed", by=SYSTEM, object="tariff", detail=detail)
    house.parts.sequencer.run_once()


def begin_again(house: Any, key: Ed25519PrivateKey | None = None) -> None:
    """What an administrator of the host could do: the same rows, another order of the ledger."""
    parts = house.parts
    with past_us(parts.ground.db) as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
        connection.exec_driver_sql("UPDATE entries SET at = -at")
    shutil.rmtree(parts.home.ledger)
    parts.home.ledger.mkdir()
    one = Sequencer(parts.ground.db, parts.home.ledger, key or parts.sequencer.key, parts.sequencer.origin)
    one.run_once()


def test_a_control_without_a_checkpoint_is_simply_used(house: Any, url: str, state: Path) -> None:
    assert me(url, house.administrator_key)["email"]
    assert not state.exists()


def test_a_ledger_that_grows_is_followed(house: Any, url: str, state: Path) -> None:
    for _ in range(3):
        grow(house)
        assert me(url, house.administrator_key)["email"]
        (kept,) = (state / "ledgers").iterdir()
        assert kept.read_text() == house.parts.sequencer.newest()
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_a_ledger_that_is_gone_is_not_taken_for_a_new_one(house: Any, url: str) -> None:
    grow(house)
    me(url, house.administrator_key)
    (house.parts.home.ledger / "checkpoint").unlink()
    with pytest.raises(HistoryChanged) as told:
        me(url, house.administrator_key)
    assert "no ledger" in told.value.why


def test_a_rewritten_history_is_refused_before_anything_is_done(house: Any, url: str) -> None:
    grow(house)
    me(url, house.administrator_key)
    begin_again(house)
    with pytest.raises(HistoryChanged) as told:
        me(url, house.administrator_key)
    assert told.value.exit_code == 8
    assert "history was changed" in told.value.why


def test_a_history_that_became_shorter_is_refused(house: Any, url: str) -> None:
    grow(house, 3)
    before = {p: p.read_bytes() for p in house.parts.home.ledger.rglob("*") if p.is_file()}
    grow(house, 3)
    me(url, house.administrator_key)
    for path, data in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(HistoryChanged, match="history that does not hold") as told:
        me(url, house.administrator_key)
    assert "fewer than" in told.value.why


def test_a_ledger_under_another_key_is_refused(house: Any, url: str) -> None:
    grow(house)
    me(url, house.administrator_key)
    begin_again(house, Ed25519PrivateKey.generate())
    with pytest.raises(HistoryChanged):
        me(url, house.administrator_key)


def test_another_key_of_the_same_user_has_the_same_memory(house: Any, url: str) -> None:
    _, second = house.person("ada@example.org", "*/auditor")
    grow(house)
    me(url, house.administrator_key)
    begin_again(house)
    with pytest.raises(HistoryChanged):
        me(url, second["authorization"].removeprefix("Bearer "))


def test_where_nothing_can_be_remembered_commands_still_work(
    house: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    grow(house)
    assert me(url, house.administrator_key)["email"]


def test_one_session_looks_once(house: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(house)
    asked: list[str] = []
    with Freehold(url, house.administrator_key) as control:
        real = control._http.request
        monkeypatch.setattr(
            control._http, "request", lambda method, path, **o: asked.append(path) or real(method, path, **o)
        )
        control.get("/api/me")
        control.get("/api/me")
    assert asked == ["/ledger/checkpoint", "/ledger/key", "/api/me", "/api/me"]


def test_a_control_that_is_away_is_told_with_the_command_that_helps() -> None:
    with socket.socket() as held:  # it is nobody else's, and nobody listens
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(ControlAway, match=str(port)) as told:
            me(f"http://127.0.0.1:{port}", "fhc_" + "0" * 26 + "_" + "A" * 43)
    assert "freehold up" in told.value.hint
