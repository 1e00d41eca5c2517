"""Restoring in tests: where the suite is on Postgres, the rows go into a new database of it."""

from __future__ import annotations

from pathlib import Path

import postgres_server

from freehold.control import restore as real
from freehold.store.home import Home


def restore(source: Path, home: Home, keys: Path) -> real.Restored:
    """`control.restore.restore`, beside the home."""
    return real.restore(source, home, keys, postgres_server.config_for(home.root.parent))


def words(folder: Path) -> list[str]:
    """What a command line says more."""
    config = postgres_server.config_for(folder)
    return ["--config", str(config)] if config else []
