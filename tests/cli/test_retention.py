"""What data protection types after a purge: where it is listed, its certificate, and that it holds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.cli.forget import _done, certificate_text
from freehold.data import holds
from freehold.journeys import purge
from freehold.spec.principal import SYSTEM
from tests.journeys.world import World


def test_a_purge_is_found_and_its_certificate_is_kept_and_checked(
    freehold: Any, house: Any, tmp_path: Path
) -> None:
    ground, world = house.parts.ground, World(house.parts.home, house.parts.ground)
    with ground.db.write() as tx:
        begun = purge.begin(tx, by=SYSTEM, project="claims", at=ground.clock())
    assert world.run(begun) == "done"
    house.parts.sequencer.run_once()
    _, header = house.person("bob@example.org", "claims/data-protection")
    bob = str(header["authorization"].removeprefix("Bearer "))

    (listed,) = json.loads(freehold("runs", "journeys", "--json", key=bob).out)
    assert (listed["id"], listed["kind"], listed["state"]) == (begun, "purge", "done")
    assert f"{begun}  purge  claims" in freehold("runs", "journeys", key=bob).out
    assert freehold("runs", "show", begun, key=bob).out.startswith(f"{begun} · purge in claims · done")

    file = tmp_path / "purged.json"
    said = freehold("retention", "certificate", begun, "--out", str(file), key=bob)
    assert said.out == f"written to {file}: check it with `freehold verify --certificate {file}`\n"
    shown = freehold("retention", "certificate", begun, key=bob)
    assert json.loads(shown.out) == json.loads(file.read_text())
    public = house.parts.sequencer.public
    held = freehold("verify", "--certificate", str(file), "--key", str(public))
    assert held.code == 0, held.err
    assert "of a purge in claims" in held.out


def test_a_person_under_a_hold_need_not_be_named_on_the_command_line(
    freehold: Any, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, header = house.person("bob@example.org", "claims/data-protection")
    bob = str(header["authorization"].removeprefix("Bearer "))
    monkeypatch.setattr("sys.stdin", io.StringIO("anna-k\n"))
    said = freehold("hold", "place", "claims", "--subject", "-", "--because", "case 12", key=bob)
    assert said.code == 0, said.err
    subject = house.parts.ground.keyring.subject("claims", "anna-k")
    with house.parts.ground.db.read() as conn:
        (stands,) = holds.listed(conn, "claims")
    assert (stands.what, stands.object) == ("subject", subject)
    asked = ("forget", "anna-k", "--project", "claims", "--request", "DSR-1")
    planned = freehold(*asked, key=bob)
    assert f"not to be done: {stands.id} covers it" in planned.out
    assert "--yes" not in planned.out
    assert freehold(*asked, "--yes", key=bob).code == 5


def test_a_certificate_in_words_says_what_went_and_not_what_somebody_held_meanwhile() -> None:
    found = {"data": [{"ref": ref, "keep": "P3Y", "digest": "sha256:d"} for ref in ("claims@1", "mail@1")]}
    done = {"remove": {"answers": 2, "words": 6, "versions": ["mail@1"]}, "destroy": {"keys": 3}}
    said = {"purge": "prg_1", "certificate": "crt_1", "project": "claims", "installation": "freehold.x/1"}
    said |= {"due_at": 0, "found": found | {"held": 1}, "done": done, "kept": "the records"}
    text = certificate_text({"said": said, "places": {"purge.begun": 4, "purge.removed": 7}})
    assert "  rows of mail@1 (P3Y), sha256:d\n" in text
    assert "claims@1" not in text
    assert text.endswith("entries of the ledger: begun 4, removed 7")


def test_what_a_control_of_before_certified_is_told_as_well() -> None:
    """It says what was made anew where it waited for it, and not once more at the end."""
    rebuilt = {"rebuilt": "triage@2", "state": "done", "same": True}
    results = {
        "remove": {"rows": 2, "answers": 0},
        "destroy": {"keys": 3, "left": 9},
        "revoke": {"models": ["mdl_1"]},
        "rebuild": {"rebuilds": [rebuilt]},
        "certify": {"certificate": "crt_1"},
    }
    journey = {"steps": [{"name": name, "result": result} for name, result in results.items()]}
    told = _done(journey, None).splitlines()
    assert told[2:] == ["rebuilt triage@2: done, the same bytes twice", "certificate crt_1"]
    results["certify"]["rebuilds"] = [{**rebuilt, "state": "waiting"}]
    assert "rebuilt triage@2: waiting, the same bytes twice" in _done(journey, None)
