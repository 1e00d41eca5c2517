"""Base models over the wire: looked at again by control, whoever sent them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bases
import pytest
from learning import inbox

from freehold.train.base import check
from freehold.train.bundle import pack

TEXTS = inbox()["text"]


@pytest.fixture
def tim(house: Any) -> dict[str, str]:
    _, key = house.person("tim@example.org", "claims/trainer")
    return dict(key)


def packed(folder: Path) -> bytes:
    checked = check(folder, allowed=None)
    files = (*checked.files, *([checked.card] if checked.card else []))
    return b"".join(pack(folder, files))


def send(house: Any, key: dict[str, str], body: bytes, **more: str) -> Any:
    query = {"project": "claims", "name": "tiny", **more}
    return house.client("bases").post("/api/bases", params=query, content=body, headers=key)


def test_a_base_is_added_listed_and_shown(house: Any, tim: dict[str, str], tmp_path: Path) -> None:
    folder = bases.encoder(tmp_path / "f", TEXTS)
    added = send(house, tim, packed(folder))
    assert added.status_code == 201, added.text
    said = added.json()
    assert (said["ref"], said["new"], said["licence"], said["licence_from"]) == (
        "tiny@1", True, "apache-2.0", "card",
    )  # fmt: skip
    assert said["digest"] == check(folder).digest
    client = house.client("bases")
    assert [one["ref"] for one in client.get("/api/bases", headers=tim).json()] == ["tiny@1"]
    shown = client.get("/api/bases/tiny@1", headers=tim).json()
    assert {file["path"] for file in shown["files"]} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    (entry,) = house.entries("model.version")
    assert json.loads(entry["body"])["detail"]["licence"] == "apache-2.0"
    assert send(house, tim, packed(folder)).json()["new"] is False


def test_control_looks_again_and_keeps_nothing_of_what_it_refuses(
    house: Any, tim: dict[str, str], tmp_path: Path
) -> None:
    """The client's own check is no evidence: here it is left out."""
    folder = bases.encoder(tmp_path / "f", TEXTS)
    whole = packed(folder)
    damaged = whole.replace(b'"F32"', b'"F16"', 1)
    refused = send(house, tim, damaged)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "base-unusable"
    assert send(house, tim, whole[:-10]).json()["error"]["code"] == "bundle-unusable"
    assert send(house, tim, whole.replace(b"apache-2.0", b"llama3-9.9")).json()["error"]["code"] == (
        "licence-not-allowed"
    )
    assert house.client("bases").get("/api/bases", headers=tim).json() == []
    assert house.entries("model.version") == []
    assert list(house.parts.home.control.glob("base-*")) == []
    assert list(house.parts.ground.blobs.list()) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"name": "Tiny!"}, "bad-name"),
        ({"project": "nowhere"}, "not-allowed"),
        ({"sensitivity": "Secret"}, None),
        ({"what": "else"}, None),
    ],
)
def test_what_is_said_of_it_is_checked_before_a_byte_is_taken(
    house: Any, tim: dict[str, str], more: dict[str, str], code: str | None
) -> None:
    refused = send(house, tim, b"", **more)
    assert refused.status_code in (400, 403, 404)
    if code:
        assert refused.json()["error"]["code"] == code


def test_who_may_not_train_may_not_add_bases_and_other_projects_see_none(
    house: Any, tim: dict[str, str], tmp_path: Path
) -> None:
    house.project("marketing")
    _, ann = house.person("ann@example.org", "claims/model-risk")
    _, eve = house.person("eve@example.org", "marketing/trainer")
    body = packed(bases.encoder(tmp_path / "f", TEXTS))
    assert send(house, ann, body).status_code == 403
    assert send(house, eve, body).status_code == 403
    assert send(house, tim, body).status_code == 201
    client = house.client("bases")
    assert len(client.get("/api/bases", headers=ann).json()) == 1
    assert client.get("/api/bases", headers=eve).json() == []
    assert client.get("/api/bases/tiny@1", headers=eve).status_code == 404
    assert client.get("/api/bases/tiny@1?project=claims", headers=eve).status_code == 403


def test_two_projects_with_the_same_name_are_told_apart(
    house: Any, tim: dict[str, str], tmp_path: Path
) -> None:
    house.project("marketing")
    _, sue = house.person("sue@example.org", "claims/trainer", "marketing/trainer")
    body = packed(bases.encoder(tmp_path / "f", TEXTS))
    for project in ("claims", "marketing"):
        assert send(house, sue, body, project=project).status_code == 201
    client = house.client("bases")
    assert "--project" in client.get("/api/bases/tiny@1", headers=sue).json()["error"]["hint"]
    assert client.get("/api/bases/tiny@1?project=marketing", headers=sue).json()["project"] == "marketing"
