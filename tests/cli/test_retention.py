"""What data protection types after a purge: where it is listed, its certificate, and that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
