"""The page without a server: from disk, with a folder and a key, in a browser that reaches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from freehold.console.offline import page as offline
from freehold.ledger.tiles import ENTRIES, Tile
from tests.console.test_pages import answered


@pytest.fixture
def copy(house: Any, line: Any, tmp_path: Path) -> Path:
    """A copy of a ledger's files, with the page and the key beside it."""
    answered(house, line)
    for number in range(300):
        house.project(f"project{number}")
    house.parts.sequencer.run_once()
    shutil.copytree(house.parts.home.ledger, tmp_path / "copy")
    (tmp_path / "verify.html").write_text(offline(), encoding="utf-8")
    return tmp_path


def verify(chromium: Any, copy: Path, house: Any, **fields: str) -> str:
    """What the page found."""
    context = chromium.new_context(offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(f"file://{copy / 'verify.html'}")
    page.fill("#key", fields.pop("key", str(house.parts.sequencer.public)))
    page.set_input_files("#folder", str(copy / "copy"))
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.click("#verify button")
    page.wait_for_selector(".verdict")
    found = str(page.locator("#found").inner_text())
    context.close()
    assert not said
    return found


def test_a_whole_ledger_verifies_from_disk(chromium: Any, copy: Path, house: Any) -> None:
    entry = house.entries("project.added")[-1]["id"]
    note = house.parts.sequencer.newest()
    house.project("another")
    house.parts.sequencer.run_once()
    shutil.rmtree(copy / "copy")
    shutil.copytree(house.parts.home.ledger, copy / "copy")
    found = verify(chromium, copy, house, entry=entry, kept=note)
    assert "every entry was hashed again and leads to the signed root" in found
    assert "the checkpoint you kept is its beginning" in found
    assert ": project.added" in found
    assert found.strip().endswith("verified")


@pytest.mark.parametrize("planted", ["checkpoint", "hash", "bundle", "key", "kept", "missing", "entry"])
def test_what_was_planted_is_found(chromium: Any, copy: Path, house: Any, planted: str) -> None:
    files = {"checkpoint": "checkpoint", "hash": "tile/0/000", "bundle": Tile(ENTRIES, 0).path}
    fields: dict[str, str] = {}
    if planted in files:
        file = copy / "copy" / files[planted]
        body = bytearray(file.read_bytes())
        body[len(body) // 2] ^= 1
        file.write_bytes(body)
    elif planted == "missing":
        (copy / "copy" / "tile" / "0" / "000").unlink()
    elif planted == "key":
        fields["key"] = str(house.parts.sequencer.public).replace("+", "+0", 1)
    elif planted == "kept":
        fields["kept"] = (house.parts.sequencer.newest() or "").replace("\n3", "\n2", 1)
    else:
        fields["entry"] = "ent_nowhere"
    found = verify(chromium, copy, house, **fields)
    assert "does not hold" in found
    assert "verified" not in found
