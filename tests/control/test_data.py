"""The routes of data sets: who may add and see what, files on their way, consents heard by gateways."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from serving import serving
from starlette.testclient import TestClient

from freehold.data import scratch
from freehold.store import tables

INBOX = b"id,text,ok\nann,water,yes\nbob,car,withdrawn\n"
SAID: dict[str, Any] = {
    "project": "claims",
    "name": "inbox",
    "format": "csv",
    "purpose": "claims-handling",
    "basis": "consent",
    "sensitivity": "Confidential",
    "keep": "3y",
    "region": "eu",
    "subject": "id",
    "consent_from": "ok",
}
OWNER = {"x-freehold-owner": "claims-platform"}


@pytest.fixture
def client(house: Any) -> Iterator[TestClient]:
    with house.client("data") as client:
        yield client


@pytest.fixture
def tom(house: Any) -> dict[str, str]:
    """The header of a trainer in `claims`."""
    _, headers = house.person("tom@example.org", "claims/trainer")
    return dict(headers)


def _add(client: TestClient, who: dict[str, str], data: bytes = INBOX, **said: Any) -> Any:
    return client.post("/api/data", params=SAID | said, content=data, headers=who | OWNER)


def test_a_file_is_added_and_seen(client: TestClient, tom: dict[str, str]) -> None:
    answer = _add(client, tom)
    assert answer.status_code == 201
    added = answer.json()
    assert (added["ref"], added["new"], added["rows"]) == ("inbox@1", True, 1)
    assert added["left_out"] == {"consent withdrawn": 1}
    shown = client.get("/api/data/inbox@1", headers=tom).json()
    assert (shown["digest"], shown["owner"]) == (added["digest"], "claims-platform")
    assert [v["ref"] for v in client.get("/api/data", headers=tom).json()] == ["inbox@1"]
    assert client.get("/api/data", params={"project": "claims"}, headers=tom).json() == [shown]


def test_an_owner_we_know_is_kept_by_id_and_shown_by_address(
    house: Any, client: TestClient, tom: dict[str, str]
) -> None:
    person, _ = house.person("ann@example.org", "claims/trainer")
    client.post(
        "/api/data",
        params=SAID,
        content=INBOX,
        headers=tom | {"x-freehold-owner": "Ann%40example.org"},
    )
    with house.parts.ground.db.read() as conn:
        assert conn.scalar(sa.select(tables.datasets.c.owner)) == person
    assert client.get("/api/data/inbox@1", headers=tom).json()["owner"] == "ann@example.org"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"allow_bad_rows": -1}, "allow_bad_rows"),
        ({"colour": "red"}, "colour"),
        ({"type": "age"}, "age"),
        ({"format": "xlsx"}, "xlsx"),
        ({"purpose": "Claims"}, "Claims"),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, tom: dict[str, str], said: dict[str, Any], word: str
) -> None:
    answer = _add(client, tom, **said)
    assert answer.status_code == 400
    assert word in json.dumps(answer.json())


def test_broken_rows_are_told_by_line(client: TestClient, tom: dict[str, str]) -> None:
    answer = _add(client, tom, INBOX + b"cleo\n")
    assert answer.status_code == 400
    assert answer.json()["error"]["why"] == "line 4: 1 cells instead of 3"
    assert client.get("/api/data", headers=tom).json() == []


@pytest.mark.parametrize("role", ["administrator", "approver", "operator", "auditor", "data-protection"])
def test_only_trainers_add(house: Any, client: TestClient, role: str) -> None:
    _, who = house.person("ann@example.org", f"claims/{role}")
    assert _add(client, who).status_code == 403
    assert len(house.entries("refusal")) == 1


def test_nothing_is_taken_from_who_may_not(house: Any, client: TestClient, monkeypatch: Any) -> None:
    def never() -> Any:
        raise AssertionError("a byte was taken")

    monkeypatch.setattr("freehold.control.routes.data.Scratch", never)
    _, who = house.person("ann@example.org", "claims/auditor")
    assert _add(client, who).status_code == 403
    assert _add(client, {}).status_code == 401


def test_a_project_is_a_wall(house: Any, client: TestClient, tom: dict[str, str]) -> None:
    house.project("motor")
    _, mia = house.person("mia@example.org", "motor/trainer")
    _add(client, tom)
    assert client.get("/api/data", headers=mia).json() == []
    assert client.get("/api/data", params={"project": "claims"}, headers=mia).status_code == 403
    assert client.get("/api/data/inbox@1", headers=mia).status_code == 404
    assert client.get("/api/data/inbox@1", params={"project": "claims"}, headers=mia).status_code == 403
    assert client.get("/api/data/inbox@1/diff/inbox@1", headers=mia).status_code == 404
    assert _add(client, mia).status_code == 403


def test_a_name_in_several_projects_needs_the_project(
    house: Any, client: TestClient, tom: dict[str, str]
) -> None:
    house.project("motor")
    _, mia = house.person("mia@example.org", "motor/trainer", "claims/trainer")
    _add(client, tom)
    _add(client, mia, project="motor")
    answer = client.get("/api/data/inbox@1", headers=mia)
    assert answer.status_code == 400
    assert answer.json()["error"]["hint"] == "add `--project`"
    assert client.get("/api/data/inbox@1", params={"project": "motor"}, headers=mia).status_code == 200
    assert client.get("/api/data/inbox@1", headers=tom).json()["project"] == "claims"


def test_a_file_on_its_way_is_nowhere_in_clear(
    client: TestClient, tom: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    real = scratch.Scratch.close

    def close(self: scratch.Scratch) -> None:
        if not self.closed:
            self._file.seek(0)
            seen.append(self._file.read())
        real(self)

    monkeypatch.setattr(scratch.Scratch, "close", close)
    data = b"id,text,ok\n" + b"anna-k,marker-of-anna,yes\n" * 500
    assert _add(client, tom, data).status_code == 201
    assert sum(map(len, seen)) > len(data)
    assert not any(b"marker-of-anna" in each for each in seen)


def test_withdrawals_in_a_file_reach_gateways_with_the_same_transaction(
    house: Any, client: TestClient, tom: dict[str, str]
) -> None:
    before = len(house.entries("snapshot.published"))
    _add(client, tom)
    assert len(house.entries("snapshot.published")) == before + 1
    _add(client, tom, INBOX.replace(b"water", b"fire"))
    assert len(house.entries("snapshot.published")) == before + 1


def test_a_withdrawal_is_published_at_once(house: Any, client: TestClient, tom: dict[str, str]) -> None:
    _, dora = house.person("dora@example.org", "claims/data-protection")
    _add(client, tom)
    before = len(house.entries("snapshot.published"))
    body = {"project": "claims", "subject": " ann ", "purpose": "claims-handling", "state": "withdrawn"}
    said = client.post("/api/consents", json=body, headers=dora).json()
    assert (said["changed"], said["applied"], said["stands_in"]) == (True, True, {"inbox@1": 1})
    assert len(house.entries("snapshot.published")) == before + 1
    assert not client.post("/api/consents", json=body, headers=dora).json()["changed"]
    assert len(house.entries("snapshot.published")) == before + 1
    assert client.post("/api/consents", json=body, headers=tom).status_code == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"subject": "  "}, 400),
        ({"purpose": "marketing"}, 400),
        ({"state": "perhaps"}, 400),
        ({"project": "motor"}, 403),
        ({"why": "x"}, 400),
    ],
)
def test_a_word_about_consent_that_cannot_be(
    house: Any, client: TestClient, tom: dict[str, str], change: dict[str, str], status: int
) -> None:
    _, dora = house.person("dora@example.org", "claims/data-protection")
    _add(client, tom)
    body = {"project": "claims", "subject": "ann", "purpose": "claims-handling", "state": "withdrawn"}
    assert client.post("/api/consents", json=body | change, headers=dora).status_code == status


def test_a_project_that_is_not_there_gets_no_consents(house: Any, client: TestClient) -> None:
    _, dora = house.person("dora@example.org", "*/data-protection")
    body = {"project": "motor", "subject": "ann", "purpose": "claims-handling", "state": "withdrawn"}
    assert client.post("/api/consents", json=body, headers=dora).status_code == 404


def test_an_upload_that_breaks_off_leaves_nothing(
    house: Any, client: TestClient, tom: dict[str, str]
) -> None:
    from urllib.parse import urlencode

    closed = threading.Event()

    class Watched(scratch.Scratch):
        def close(self) -> None:
            super().close()
            closed.set()

    with pytest.MonkeyPatch.context() as patch, serving(client.app) as url:
        patch.setattr("freehold.control.routes.data.Scratch", Watched)
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as caller:
            head = f"POST /api/data?{urlencode(SAID)} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            caller.sendall(head.encode() + f"Authorization: {tom['authorization']}\r\n\r\n".encode() + INBOX)
        assert closed.wait(10)
    assert client.get("/api/data", headers=tom).json() == []
