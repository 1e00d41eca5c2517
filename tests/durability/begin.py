"""The first run, while the power fails: python begin.py FOLDER makes an installation in FOLDER/fh."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from freehold.identity import first_run
from freehold.spec.config import Config
from freehold.store.home import Home
from tests.durability.work import recorder


def main(folder: str) -> None:
    made = first_run.create(Home(Path(folder) / "fh"), Config())
    text = json.dumps({"entry": made.administrator_key}).encode()  # it is shown once: from now on it counts
    recorder()(text, len(text))


if __name__ == "__main__":
    main(*sys.argv[1:])
