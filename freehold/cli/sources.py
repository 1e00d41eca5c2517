"""What `freehold data add` reads from: a file, an object in S3, or what a Postgres answers.

The lake is read by whoever types the command, with credentials of their own (AWS's variables, libpq's):
control gets the rows, never what opens the lake. When the credentials are taken back in the middle,
nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from freehold.errors import BadInput, Unavailable

PIECE = 1 << 20
_POSTGRES = ("postgresql://", "postgres://")


class NoQuery(BadInput):
    """what is asked of `{place}` is not said"""


class SecretInAddress(BadInput):
    """the address of `{place}` holds a password"""


class NoDriver(Unavailable):
    """reading from Postgres needs the extra `postgres`"""


class SourceRefused(Unavailable):
    """`{place}` does not give what was asked of it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Bytes of a table, and what is known of them by where they lie."""

    name: str
    """Of the file or object; empty where it has none."""
    format: str
    """`csv` where it can only be that; else empty."""
    pieces: Callable[[], Iterator[bytes]]


def source(said: str, query: str | None) -> Source:
    """A path, `s3://…` or `postgresql://…`.

    Raises NotAnAddress, AddressUnreadable, NoQuery, SecretInAddress; while it is read what S3 raises,
    NoDriver and SourceRefused.
    """
    if said.startswith(_POSTGRES):
        return _postgres(said, query)
    if query is not None:
        raise click.UsageError("--query is for a Postgres: postgresql://…")
    return _object(said) if said.startswith("s3://") else _file(Path(said))


def _file(path: Path) -> Source:
    click.Path(exists=True, dir_okay=False, readable=True).convert(path, None, None)

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return Source(name=path.name, format="", pieces=pieces)


def _object(said: str) -> Source:
    from freehold.spec.s3 import place
    from freehold.store import s3

    at = place(said)

    def pieces() -> Iterator[bytes]:
        try:
            yield from s3.read(at.folder, at.name)
        except s3.ObjectsRefused as error:
            raise SourceRefused(
                place=at,
                why="no credentials, or ones that may not read it",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or take a role, where you type this",
            ) from error

    return Source(name=PurePosixPath(at.name).name, format="", pieces=pieces)


def _postgres(said: str, query: str | None) -> Source:
    from freehold.store.postgres import named, url_of

    url = url_of(said)
    place = named(url)
    if url.password:
        raise SecretInAddress(
            place=place,
            why="others on this machine see what commands are given",
            hint="take it out, and set PGPASSWORD, or write it to ~/.pgpass",
        )
    if not query:
        raise NoQuery(place=place, why="a database holds many tables", hint="say it with --query 'SELECT …'")
    address = url.set(drivername="postgresql").render_as_string()
    return Source(name="", format="csv", pieces=lambda: _asked(address, query, place))


def _asked(address: str, query: str, place: str) -> Iterator[bytes]:
    """What it answers as CSV, in a transaction that can change nothing."""
    try:
        import psycopg
    except ImportError as error:
        raise NoDriver(why="`psycopg` is not installed", hint="pip install 'freehold[postgres]'") from error
    try:
        with closing(psycopg.connect(address, client_encoding="UTF8")) as connection:
            connection.read_only = True
            with connection.cursor() as cursor, cursor.copy(_copy(query)) as answer:
                for piece in answer:
                    yield bytes(piece)
    except psycopg.Error as error:
        raise SourceRefused(place=place, why=_why(error), hint="try the query with psql first") from error


def _copy(query: str) -> bytes:
    return f"COPY ({query.strip().rstrip(';')}) TO STDOUT (FORMAT csv, HEADER)".encode()


def _why(error: Any) -> str:
    """The server's own words may quote a row: only what kind of error it is, is told."""
    code = f", {error.sqlstate}" if error.sqlstate else ""
    return f"{type(error).__name__}{code}"
