"""`freehold backup` and `freehold restore`: everything, sealed, elsewhere; and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table, with_control
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from freehold.client import Freehold
    from freehold.store.backup_files import Found


@click.command()
@click.argument("to", required=False)
@click.option("--list", "listing", is_flag=True, help="the backups there were, newest first")
@click.option("--gone", help="record that this backup was destroyed, by its id")
@with_control
def backup(control: Freehold, as_json: bool, to: str | None, listing: bool, gone: str | None) -> None:
    """Write a backup of everything to TO: a new folder, one file (TO ends in `.tar`), or an object in S3.

    An object is written as `s3://BUCKET/PATH/NAME.tar`, with `?endpoint=URL` for a server of your own; the
    credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of whoever calls. Freehold goes on meanwhile;
    the backup shows one moment. It is sealed: nothing in it opens without the epoch key
    (`control/epoch.key`), which is in no backup, so keep a copy of that elsewhere. TO is there when every
    byte of it was read again, or not at all. Where that could not be recorded any more, because control went
    away at that moment, the same command again records it.
    """
    if (to is not None) + listing + (gone is not None) != 1:
        from freehold.errors import BadInput

        raise BadInput(
            what="it does not say what to do",
            why="one of TO, `--list` and `--gone ID` is needed",
            hint="freehold backup freehold-backup.tar",
        )
    if listing:
        say(control.get("/api/backups"), as_json, _listed)
    elif gone is not None:
        from freehold.cli.path import segment

        told = control.delete(f"/api/backups/{segment(gone, 'backup')}")
        say(told, as_json, lambda told: f"{told['backup']} is gone, recorded as {told['entry']}")
    else:
        assert to is not None
        say(_make(control, to), as_json, _made)


def _listed(rows: Any) -> str:
    from freehold.cli.times import moment

    shown = [{**row, "made": moment(row["at"])} for row in rows]
    return table(shown, ("id", "state", "made", "entries", "bytes", "digest"))


def _make(control: Freehold, to: str) -> dict[str, Any]:
    from dataclasses import asdict

    from freehold.cli.receiving import target_of

    found = _arrived(control, to) or _received(control, to)
    body = {"statement": asdict(found.statement), "signature": dict(found.signature)}
    recorded = control.post("/api/backups/made", body)
    made = {"to": str(target_of(to)), "files": found.statement.count, "bytes": found.statement.bytes}
    return {"backup": found.statement.backup, **made, "entry": recorded["entry"]}


def _arrived(control: Freehold, to: str) -> Found | None:
    """A backup that lies at `to` whole, and of which a crash kept from us whether it was recorded."""
    from freehold.cli.receiving import found_at

    begun = {one["id"] for one in control.get("/api/backups") if one["state"] == "begun"}
    found = found_at(to) if begun else None  # every byte of what lies there is read
    return found if found and found.statement.backup in begun else None


def _received(control: Freehold, to: str) -> Found:
    from freehold.cli.receiving import target_of

    target = target_of(to)
    target.refuse_taken()
    with control.stream("POST", "/api/backups") as response:
        size = int(response.headers["x-freehold-bytes"])
        target.refuse_full(size)
        with _progress(size) as counted:
            return target.write(counted(response.iter_bytes()))


@contextmanager
def _progress(size: int) -> Iterator[Any]:
    """How far it is, on the screen of a person; a script is told nothing."""
    import sys

    with click.progressbar(
        length=size, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                bar.update(len(piece))
                yield piece

        yield counted


def _made(told: Mapping[str, Any]) -> str:
    return "\n".join(
        (
            f"{plural(told['files'], 'file')}, {told['bytes'] / 1e6:.1f} MB in {told['to']}, each read again",
            f"{told['backup']}, recorded as {told['entry']}",
            "it opens with the epoch key only: keep a copy of control/epoch.key, and never beside a backup",
        )
    )


@click.command()
@click.argument("source", metavar="FROM")
@click.option(
    "--keys",
    required=True,
    type=click.Path(path_type=Path),
    help="the folder with the current epoch.key, and the current keyring.db where there is one",
)
@click.option("--home", help="the folder to restore into; else FREEHOLD_HOME, else ./freehold.d")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="becomes the new home's freehold.yaml: says where rows, objects and the epoch key go",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def restore(source: str, keys: Path, home: str | None, config: Path | None, as_json: bool) -> None:
    """Make an installation from the backup FROM (as `freehold backup` took it), in an empty home folder.

    Rows and objects may go elsewhere than they came from, into the folder, a Postgres, S3: FILE of --config
    says it.
    The folder is there when everything in it was checked, its ledger included, or not at all. The ledger
    says from then on that it was restored, and from what: what came after the backup is gone.
    """
    from dataclasses import asdict

    from freehold.cli.receiving import source_of
    from freehold.control.restore import restore as make
    from freehold.store.home import Home

    restored = make(source_of(source), Home.find(home), keys, config)
    say(asdict(restored), as_json, _restored)


def _restored(told: Mapping[str, Any]) -> str:
    from freehold.cli.times import moment

    verified = plural(told["entries"], "entry", "entries")
    return "\n".join(
        (
            f"{told['origin']} in {told['home']}, as it was at {moment(told['made_at'])}",
            f"  ledger   {verified} verified; that it went back is {told['entry']}",
            *_forgotten(told["forgotten"], told["home"]),
            *_kept_out(told["kept_out"]),
            "  lost     whatever came after that moment. Look at these before you start it:",
            "           keys and people locked since are not locked here, consents withdrawn since are not",
            "           withdrawn, releases ended since go on; do these again",
            f"  start    FREEHOLD_HOME={told['home']} freehold up",
            "  clients  each says once that the ledger went back:",
            f"           freehold verify --accept-restored {told['entry']}",
        )
    )


def _forgotten(count: int, home: str) -> list[str]:
    if not count:
        return []
    return [
        f"  forgotten  {count} person(s) of the backup were forgotten after it, and are not in here",
        f"             keep a copy of {home}/control/epoch.key anew: it has changed",
    ]


def _kept_out(references: Sequence[str] | None) -> list[str]:
    """Who was let in again after the backup: a person decides it, no restoration."""
    if references is None:
        return [
            "  kept out   everybody who was forgotten. Who was let in again after that moment is not known:",
            "             `forgotten` is not beside the keys; do it again with `freehold subject readmit`",
        ]
    if not references:
        return []
    return [
        f"  kept out   whom {', '.join(references)} let in again after that moment;",
        "             do it again with `freehold subject readmit`",
    ]


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--home", help="the folder to make it in; else FREEHOLD_HOME, else ./freehold.d")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="becomes its freehold.yaml: says where rows, objects and the epoch key go",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def import_(folder: Path, home: str | None, config: Path | None, as_json: bool) -> None:
    """Make an installation of its own from FOLDER, which `freehold export --all --exact` wrote.

    It has the same rows, models and answers under a name and signing keys of its own, and its ledger goes
    on where the other one's ended. No key signs in any more: the administrator's new one is shown once.
    """
    from dataclasses import asdict

    from freehold.control.importing import import_ as make
    from freehold.store.home import Home

    say(asdict(make(folder, Home.find(home), config)), as_json, _imported)


def _imported(told: Mapping[str, Any]) -> str:
    missing = f"give these their secrets again: {', '.join(told['missing'])}" if told["missing"] else ""
    root = told["root"][:12]
    lines = (
        f"{told['origin']} in {told['home']}, made of {told['before']}",
        f"  ledger   begins with its {told['entries']:,} signed entries, root {root}…, signed by",
        f"           {told['signer']}",
        f"  start    FREEHOLD_HOME={told['home']} freehold up",
        f"  keys     none of before signs in; {told['administrator']} has a new one, shown this once:",
        f"           {told['administrator_key']}",
        f"  missing  {missing}" if missing else "",
    )
    return "\n".join(line for line in lines if line)
