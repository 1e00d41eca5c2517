"""`freehold base` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bases
import hub
import pytest
from learning import inbox

TEXTS = inbox()["text"]


@pytest.fixture
def tim(house: Any) -> str:
    _, header = house.person("tim@example.org", "claims/trainer")
    return str(header["authorization"]).removeprefix("Bearer ")


def test_a_folder_becomes_a_base_and_is_listed_and_shown(freehold: Any, tim: str, tmp_path: Path) -> None:
    folder = bases.encoder(tmp_path / "Tiny_BERT", TEXTS)
    (folder / "notes.py").write_text("print()")
    said = freehold("base", "add", str(folder), "--project", "claims", key=tim)
    assert said.code == 0, said.err
    assert said.out.startswith("tiny-bert@1 added: bert, ")
    assert "licence apache-2.0" in said.out
    assert "left out: notes.py" in said.out
    again = freehold("base", "add", str(folder), "--project", "claims", key=tim)
    assert again.out == "these files are tiny-bert@1 already, nothing was added\n"
    assert "tiny-bert@1" in freehold("base", "list", key=tim).out
    shown = freehold("base", "show", "tiny-bert@1", key=tim).out
    assert "apache-2.0, says its card" in shown
    assert "model.safetensors" in shown


def test_a_hub_model_says_which_commit_it_was(freehold: Any, tim: str, tmp_path: Path) -> None:
    with hub.serving("acme/tiny", bases.encoder(tmp_path / "there", TEXTS)) as there:
        words = ("--hub", "acme/tiny", "--endpoint", there.address, "--project", "claims", "--json")
        said = freehold("base", "add", *words, key=tim)
    assert said.code == 0, said.err
    assert json.loads(said.out)["source"] == f"hub acme/tiny at {hub.COMMIT}"
    assert json.loads(said.out)["ref"] == "tiny@1"


def test_what_cannot_be_a_base_is_refused_before_anything_is_sent(
    freehold: Any, tim: str, tmp_path: Path
) -> None:
    folder = bases.encoder(tmp_path / "tiny", TEXTS)
    (folder / "old.pkl").write_bytes(b"x")
    said = freehold("base", "add", str(folder), "--project", "claims", key=tim)
    assert said.code == 2
    assert "runs code when it is opened" in said.err


def test_one_place_is_named_and_no_more(freehold: Any, tim: str, tmp_path: Path) -> None:
    for words in ((), (str(tmp_path), "--hub", "a/b"), (str(tmp_path), "--revision", "main")):
        said = freehold("base", "add", *words, "--project", "claims", key=tim)
        assert said.code == 2
        assert "hint" in said.err or "--hub" in said.err


def test_a_base_that_is_not_there_is_told(freehold: Any, tim: str) -> None:
    said = freehold("base", "show", "tiny@1", key=tim)
    assert said.code == 3
    assert "base list" in said.err
