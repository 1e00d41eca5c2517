"""The ledger over HTTP: hashes for anyone, entries for auditors, receipts for whoever may read answers."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.ledger.record import record
from freehold.ledger.tiles import unbundle
from freehold.spec.merkle import check_consistency, leaf_hash
from freehold.spec.notes import VerifierKey, read_checkpoint
from freehold.spec.principal import SYSTEM
from freehold.spec.receipt import Receipt
from tests.ledger import test_foreign as foreign

verifier = foreign.verifier

INTENT = {"answer": "ans_1", "service": "claims-triage", "key": "key_1", "purpose": "claims-handling"}
CLOSE = {"answer": "ans_1", "ending": "answered", "status": 200, "reason": "ok"}


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("ledger")
    return client


def answered(house: Any, *, closed: bool = True) -> None:
    with house.parts.ground.db.write() as tx:
        intent = {**INTENT, "request": "-", "snapshot": 1}
        record(tx, "answer.intent", by=SYSTEM, object="ans_1", project="claims", detail=intent)
        if closed:
            close = {**CLOSE, "tokens_in": 3, "tokens_out": 5, "cost": "0"}
            record(tx, "answer.close", by=SYSTEM, object="ans_1", project="claims", detail=close)


def key_of(client: TestClient) -> VerifierKey:
    return VerifierKey.parse(client.get("/ledger/key").text)


def test_before_anything_is_sequenced_there_is_no_checkpoint(client: TestClient) -> None:
    answer = client.get("/ledger/checkpoint")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found")


def test_anyone_may_read_checkpoint_key_and_hashes(house: Any, client: TestClient) -> None:
    house.parts.sequencer.run_once()
    checkpoint = read_checkpoint(client.get("/ledger/checkpoint").text, key_of(client))
    tile = client.get(f"/ledger/tile/0/000.p/{checkpoint.size}")
    assert len(tile.content) == 32 * checkpoint.size
    assert "immutable" in tile.headers["cache-control"]


def test_only_who_may_read_the_ledger_gets_its_entries(house: Any, client: TestClient) -> None:
    house.parts.sequencer.run_once()
    size = read_checkpoint(client.get("/ledger/checkpoint").text, key_of(client)).size
    path = f"/ledger/tile/entries/000.p/{size}"
    _, auditor = house.person("ada@example.org", "*/auditor")
    _, trainer = house.person("tom@example.org", "claims/trainer")
    assert client.get(path).status_code == 401
    assert client.get(path, headers=trainer).status_code == 403
    bodies = unbundle(client.get(path, headers=auditor).content)
    leaves = client.get(f"/ledger/tile/0/000.p/{size}").content
    assert b"".join(map(leaf_hash, bodies)) == leaves


@pytest.mark.parametrize(
    "path",
    ["0/000", "0/000.p/200", "1/000.p/1", "0/../checkpoint", "x", "64/000", "0/000.p/0", "%2e%2e/lock"],
)
def test_what_is_no_tile_of_this_ledger_is_not_found(house: Any, client: TestClient, path: str) -> None:
    house.parts.sequencer.run_once()
    assert client.get(f"/ledger/tile/{path}").status_code == 404


def test_a_client_can_prove_that_the_ledger_only_grew(house: Any, client: TestClient) -> None:
    house.parts.sequencer.run_once()
    key = key_of(client)
    old = read_checkpoint(client.get("/ledger/checkpoint").text, key)
    answered(house)
    house.parts.sequencer.run_once()
    new = read_checkpoint(client.get("/ledger/checkpoint").text, key)
    hashes = client.get(f"/ledger/consistency/{old.size}/{new.size}").json()
    proof = [base64.b64decode(item) for item in hashes]
    check_consistency(old.size, new.size, old.root, new.root, proof)
    assert client.get(f"/ledger/consistency/{new.size}/{new.size + 1}").status_code == 404
    assert client.get("/ledger/consistency/3/2").status_code == 404


def test_the_receipt_of_an_answer_holds_without_us(house: Any, client: TestClient) -> None:
    answered(house)
    _, auditor = house.person("ada@example.org", "claims/auditor")
    text = client.get("/api/receipts/ans_1", headers=auditor).text
    _, entry = Receipt.parse(text).check(key_of(client))
    assert (entry["kind"], entry["detail"]["ending"]) == ("answer.close", "answered")


def test_a_receipt_is_refused_across_project_walls(house: Any, client: TestClient) -> None:
    answered(house)
    house.project("sales")
    _, other = house.person("sue@example.org", "sales/auditor")
    refused = client.get("/api/receipts/ans_1", headers=other)
    assert refused.status_code == 403
    (entry,) = house.entries("refusal")
    assert json.loads(entry["body"])["detail"]["action"] == "answer:read"


@pytest.mark.parametrize(
    ("begun", "why"), [(True, "has not ended yet"), (False, "no such answer was taken in")]
)
def test_an_answer_that_is_not_there_yet_is_told_apart(
    house: Any, client: TestClient, monkeypatch: pytest.MonkeyPatch, begun: bool, why: str
) -> None:
    monkeypatch.setattr("freehold.control.routes.ledger.WAIT", 0.05)
    if begun:
        answered(house, closed=False)
    _, auditor = house.person("ada@example.org", "claims/auditor")
    missing = client.get("/api/receipts/ans_1", headers=auditor)
    assert missing.status_code == 404
    assert why in missing.json()["error"]["why"]


def test_go_verifies_what_control_serves_below_ledger_and_an_answers_receipt(
    house: Any, client: TestClient, verifier: Path, tmp_path: Path
) -> None:
    """As an auditor fetches it; Go's packages know nothing of us."""
    answered(house)
    for number in range(300):
        house.project(f"project{number}")
    house.parts.sequencer.run_once()
    _, auditor = house.person("ada@example.org", "*/auditor")
    key = key_of(client)
    size = read_checkpoint(client.get("/ledger/checkpoint").text, key).size
    copy = foreign.mirrored(
        lambda path: client.get(f"/ledger/{path}", headers=auditor).raise_for_status().content,
        key,
        tmp_path / "copy",
    )
    done = subprocess.run([str(verifier), str(copy), str(key)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{size} entries, root ")
    text = client.get("/api/receipts/ans_1", headers=auditor).text
    code, said = foreign.checked(verifier, text, key, tmp_path)
    assert (code, json.loads(said)["detail"]["ending"]) == (0, "answered")
