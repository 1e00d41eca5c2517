"""Where the rows are: in a file of the folder, or in the Postgres that `database:` of freehold.yaml names.

What works on the folder alone (`freehold verify`, `upgrade`, `recover`) finds its way from here, too.
"""

from __future__ import annotations

from sqlalchemy.engine import URL

from freehold.spec.ids import Clock, now
from freehold.store.configured import config_of, read_config
from freehold.store.home import Home
from freehold.store.postgres import url_of
from freehold.store.rows import Database


def postgres_of(home: Home) -> URL | None:
    """The Postgres of this installation; none where it has a file. Raises what reading the config raises."""
    said = read_config(config_of(home)).database
    return url_of(said) if said else None


def rows_of(home: Home, clock: Clock = now, *, read_only: bool = False) -> Database:
    """The database of this installation, whatever its schema. Connects to nothing yet."""
    url = postgres_of(home)
    if url is None:
        return Database.at(home.database, clock, read_only=read_only)
    return Database(url, clock, read_only=read_only)
