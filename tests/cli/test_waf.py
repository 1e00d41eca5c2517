"""`freehold waf`: the same rules to the terminal and to a file, with ids from where they may be."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from started import FREEHOLD

from freehold.gateway.bounds import Bounds
from freehold.gateway.firewall import seclang


def waf(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In an empty folder: it needs no installation."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    return subprocess.run(
        [*FREEHOLD, "waf", *words], capture_output=True, text=True, env=env, cwd=cwd, timeout=60
    )


def test_the_rules_are_those_of_the_bounds_that_a_gateway_has(tmp_path: Path) -> None:
    told = waf(cwd=tmp_path)
    assert (told.returncode, told.stdout) == (0, seclang(Bounds()))
    written = waf("--to", "waf.conf", cwd=tmp_path)
    assert written.stdout == "waf.conf: rules for ModSecurity 3 and Coraza, ids 74000 to 74099\n"
    assert (tmp_path / "waf.conf").read_text() == told.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["waf.conf"]


def test_ids_begin_where_a_house_has_room(tmp_path: Path) -> None:
    ids = re.findall(r"\bid:(\d+)", waf("--first-id", "9000100", cwd=tmp_path).stdout)
    assert ids[0] == "9000100"
    refused = waf("--first-id", "0", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--first-id" in refused.stderr


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    refused = waf("--to", "no/such/waf.conf", cwd=tmp_path)
    assert refused.returncode == 2
    assert "`no/such/waf.conf` cannot be written" in refused.stderr
