"""A token in SoftHSM (BSD licence, Debian's `softhsm2`): PKCS #11 as a hardware module speaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from freehold.spec.config import Hsm

PIN = "a-pin-of-the-tests"
LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def library() -> str:
    """Where it is; the reason of the skip is what FREEHOLD_REQUIRE names."""
    found = next((path for path in LIBRARIES if Path(path).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm is not installed here: no PKCS #11 module to test against")
    return found


def configure(folder: Path) -> dict[str, str]:
    """SoftHSM's own settings: tokens lie in `folder`. What the environment has to say of it."""
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n"
    )
    return {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}


def new_token(folder: Path, label: str, given: Mapping[str, str] = os.environ) -> Hsm:
    """A token of its own, as `hsm:` of freehold.yaml names it, in an environment that is configured."""
    module = library()
    words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, **given})
    pin = folder / f"{label}.pin"
    pin.write_text(f"{PIN}\n")
    pin.chmod(0o600)
    return Hsm(module=module, token=label, pin_file=str(pin))
