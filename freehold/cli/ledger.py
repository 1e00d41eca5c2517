"""`freehold verify`, `receipt`, `export`, `upgrade`: what an auditor or a leaving customer asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.path import segment
from freehold.cli.show import say, with_control
from freehold.spec.figures import plural

if TYPE_CHECKING:
    from freehold.client import Freehold, LastSeen
    from freehold.ledger.anchor import Anchor
    from freehold.spec.notes import VerifierKey
    from freehold.store.blobs import Blobs
    from freehold.store.home import Home

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--since", type=_FILE, help="a checkpoint kept from earlier: it must be the beginning")
@click.option("--from", "start", type=_FILE, help="begin behind this checkpoint: what it covers was verified")
@click.option(
    "--deep",
    is_flag=True,
    help="also hash every object, and compare each answer's row with its entries",
)
@click.option("--anchor", type=_FILE, help="a file of anchored checkpoints; else the one in freehold.yaml")
@click.option(
    "--receipt", "kept", type=_FILE, help="check this receipt alone; needs no installation with --key"
)
@click.option(
    "--certificate", "issued", type=_FILE, help="check this certificate alone, as --receipt does a receipt"
)
@click.option("--key", "given", help="the ledger's public key as you kept it; else the installation's own")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write a web page that verifies a copy of a ledger's files, without a server",
)
@click.option(
    "--accept-restored",
    "restored",
    metavar="ENTRY",
    help="you know that a backup was restored: go on from the ledger that control has now",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def verify(
    since: Path | None,
    start: Path | None,
    deep: bool,
    anchor: Path | None,
    kept: Path | None,
    issued: Path | None,
    given: str | None,
    page: Path | None,
    restored: str | None,
    as_json: bool,
) -> None:
    """Recompute the whole ledger of the installation in FREEHOLD_HOME, running or stopped.

    Every entry is hashed again, in its place; tiles, bundles and the signed checkpoint must follow from
    them, and the rows of state must be what the entries brought about. What you saw of this ledger last,
    on this machine, must be its beginning, and so must the checkpoint of --since and what is anchored in
    a second place. What does not hold is named, and the exit code is 8.
    """
    if page is not None:
        _write_page(page, as_json)
        return
    key = _key(given) if given else None
    if kept is not None:
        _verify_receipt(kept, key, as_json)
        return
    if issued is not None:
        _verify_certificate(issued, key, as_json)
        return
    if restored is not None:
        _accept_restored(restored, as_json)
        return
    _verify_all(since, start, anchor, key, deep=deep, as_json=as_json)


def _verify_all(
    since: Path | None,
    start: Path | None,
    anchor: Path | None,
    key: VerifierKey | None,
    *,
    deep: bool,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from freehold.ledger.verify import newest, own_key
    from freehold.ledger.verify import verify as look
    from freehold.store.home import Home

    home = Home.find()
    seen = _seen()
    key = key or _pinned(seen, own_key(home))
    second = _second_place(home, anchor)
    last = second.newest() if second else None
    anchored = {f"the anchor at {second.place}": last} if second and last else {}
    note = newest(home)  # before the look, which then covers it
    verdict = look(
        home,
        _text(since),
        key,
        seen=seen.by(key),
        anchored=anchored,
        start=_text(start),
        deep=_objects(home) if deep else None,
    )
    told = asdict(verdict)
    if second and not verdict.broken:
        told["anchor"] = _compared(home, second, key, given=anchor is not None)
    if as_json or not verdict.broken:
        say(told, as_json, _verified)
    verdict.raise_if_broken()
    if note:
        seen.remember(key, note)


def _write_page(path: Path, as_json: bool) -> None:
    from freehold.cli.files import write
    from freehold.console.offline import page

    write(path, page())
    say(
        {"page": str(path)},
        as_json,
        lambda told: f"{told['page']} is written: open it in a browser, from disk",
    )


def _text(path: Path | None) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path else None


def _second_place(home: Home, given: Path | None) -> Anchor | None:
    """The file given, or where the installation says that checkpoints are anchored."""
    from freehold.ledger.anchor import anchor_of
    from freehold.store.configured import config_of, read_config

    place = str(given) if given else read_config(config_of(home)).anchor
    return anchor_of(place) if place else None


def _compared(home: Home, second: Anchor, key: VerifierKey, *, given: bool) -> dict[str, Any]:
    """What is anchored, once all of it is shown to be of this ledger. Raises AnchorBroken, AnchorAway."""
    from freehold.errors import BadInput
    from freehold.ledger.anchor import check_every
    from freehold.ledger.tiles import TileFolder
    from freehold.ledger.verify import newest

    count = check_every(second, lambda: newest(home), key, TileFolder(home.ledger))
    if given and not count:  # a check that was asked for and compared nothing would be taken for a yes
        raise BadInput(
            what=f"no checkpoint is anchored in `{second.place}`",
            why="it has no line with one",
            hint="name the file that `anchor:` in freehold.yaml names; a checkpoint alone goes to --since",
        )
    return {"place": second.place, "checkpoints": count}


def _objects(home: Home) -> Blobs:
    from freehold.store.configured import config_of, read_config
    from freehold.store.elsewhere import objects_of

    return objects_of(home, read_config(config_of(home)))


def _accept_restored(entry: str, as_json: bool) -> None:
    from freehold.client import Freehold

    with Freehold() as control:
        size = control.accept_restored(entry)
    told = {"entry": entry, "entries": size}
    say(
        told,
        as_json,
        lambda told: f"{entry} is accepted: you go on from {plural(told['entries'], 'entry', 'entries')}",
    )


def _seen() -> LastSeen:
    """What this user saw of ledgers, with the key in use where there is one."""
    import os

    from freehold.client import LastSeen
    from freehold.spec.keys import KeyText

    known = KeyText.read(os.environ.get("FREEHOLD_KEY", ""))
    return LastSeen(known.id if known else None)


def _pinned(seen: LastSeen, own: VerifierKey) -> VerifierKey:
    """The key of this ledger as it was seen first: an installation may not change its own unnoticed."""
    from freehold.spec.notes import NoteWrong, VerifierKey

    try:
        first = VerifierKey.parse(seen.key or str(own))
    except NoteWrong:
        return own
    return first if first.name == own.name else own  # the key in use may be another installation's


def _verified(verdict: Mapping[str, Any]) -> str:
    signed, waiting = f"{verdict['signed']:,} signed", f"{verdict['waiting']:,} wait for a place"
    before = f" after the first {verdict['since']:,}" if verdict["since"] else ""
    lines = [
        f"ledger verified: {verdict['origin']}",
        f"  entries  {verdict['entries']:>9,}  hashed again, in their places{before}; {signed}, {waiting}",
        f"  files    {verdict['tiles']:>9,}  tiles and bundles, byte by byte",
        f"  rows     {verdict['rows']:>9,}  of state, each with the entries that brought it about",
        f"  objects  {verdict['objects']:>9,}  that rows cite, hashed again" if verdict["objects"] else "",
        _anchor_text(verdict["anchor"]) if "anchor" in verdict else "",
        f"  root     {verdict['root']}",
        f"  key      {verdict['key']}",
    ]
    return "\n".join(filter(None, lines))


def _anchor_text(anchor: Mapping[str, Any]) -> str:
    count, place = f"{anchor['checkpoints']:>9,}", anchor["place"]
    if not anchor["checkpoints"]:
        return f"  anchor   {count}  checkpoints are kept in {place} so far"
    return f"  anchor   {count}  checkpoints kept in {place}, each its beginning"


def _verify_receipt(path: Path, key: VerifierKey | None, as_json: bool) -> None:
    from freehold.spec.receipt import Receipt

    receipt = Receipt.parse(path.read_text(encoding="utf-8", errors="replace"))
    checkpoint, entry = receipt.check(key or _own_key())
    told = {"origin": checkpoint.origin, "ix": receipt.ix, "signed": checkpoint.size, "entry": entry}
    say(told, as_json, _receipt_holds)


def _receipt_holds(told: Mapping[str, Any]) -> str:
    entry = told["entry"]
    return "\n".join(
        (
            f"receipt holds: entry {told['ix']} of {told['signed']:,} in {told['origin']}",
            f"  {entry['kind']}  {entry['object']}",
            *(f"  {name}  {value}" for name, value in sorted(entry["detail"].items())),
        )
    )


def _verify_certificate(path: Path, key: VerifierKey | None, as_json: bool) -> None:
    from dataclasses import asdict

    from freehold.cli.forget import certificate_text
    from freehold.ledger.certified import check

    holds = check(path.read_text(encoding="utf-8", errors="replace"), key or _own_key())
    say(asdict(holds), as_json, certificate_text)


def _key(text: str) -> VerifierKey:
    from freehold.errors import BadInput
    from freehold.spec.notes import NoteWrong, VerifierKey

    try:
        return VerifierKey.parse(text)
    except NoteWrong as error:  # a mistyped key proves nothing against the ledger
        raise BadInput(
            what="this is no public key of a ledger",
            why="one reads `name+hash+key`, with an Ed25519 key in base64",
            hint="give the line you kept of /ledger/key, whole",
        ) from error


def _own_key() -> VerifierKey:
    """The key of the installation here; without one the user has to bring the key along."""
    from freehold.errors import BadInput, NotFound
    from freehold.ledger.verify import own_key
    from freehold.store.home import Home

    try:
        return own_key(Home.find())
    except NotFound as error:
        raise BadInput(
            what="there is no key to check the receipt with",
            why=error.what,
            hint="give --key: the installation tells it at /ledger/key, best kept from before",
        ) from error


@click.command()
@click.argument("answer")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="write it to this file")
@with_control
def receipt(control: Freehold, as_json: bool, answer: str, out: Path | None) -> None:
    """Get the proof that ANSWER stands in the ledger; whoever holds it needs nobody to check it.

    ANSWER is the id in the header `x-freehold-answer`. The text is a C2SP tlog-proof; check it with
    `freehold verify --receipt FILE`.
    """
    from freehold.cli.files import write
    from freehold.spec.receipt import Receipt

    text = control.text(f"/api/receipts/{segment(answer, 'answer')}")
    receipt = Receipt.parse(text)
    _, entry = receipt.check(control.ledger_key())
    if out is not None:
        write(out, text)
    told = {"answer": answer, "entry": entry["id"], "ix": receipt.ix, "receipt": text}
    said = f"written to {out}: entry {receipt.ix} of the ledger" if out else text.rstrip("\n")
    say(told, as_json, lambda _: said)


@click.command()
@click.option("--yes", is_flag=True, help="do it; without this the steps are only shown")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def upgrade(yes: bool, as_json: bool) -> None:
    """Bring the database in FREEHOLD_HOME to this release's schema: a backup first, then all steps or none.

    Freehold must be stopped. Without --yes it shows what would be done and changes nothing.
    """
    from freehold.store.home import Home
    from freehold.store.lock import alone
    from freehold.store.migrate import pending
    from freehold.store.migrate import upgrade as take

    home = Home.find()
    plan = pending(home)
    if yes and plan.steps:
        with alone(home.control):
            plan = take(home, _record_upgrade)
    told = {
        "before": plan.before,
        "after": plan.after,
        "steps": list(plan.steps),
        "backup": str(plan.backup),
        "done": yes and bool(plan.steps),
    }
    say(told, as_json, _upgraded)


def _record_upgrade(tx: Any, before: str, after: str) -> None:
    from freehold.ledger.record import record
    from freehold.spec.principal import SYSTEM

    detail = {"before": before, "after": after}
    record(tx, "installation.upgraded", by=SYSTEM, object="schema", detail=detail)


def _upgraded(told: Mapping[str, Any]) -> str:
    if not told["steps"]:
        return f"the schema is {told['after']}, the newest this release knows: nothing to do"
    steps = "\n".join(f"  {step}" for step in told["steps"])
    if told["done"]:
        return f"schema {told['before']} → {told['after']}\n{steps}\nthe copy from before: {told['backup']}"
    return (
        f"schema {told['before']} → {told['after']} would take\n{steps}\n"
        f"after a copy to {told['backup']}\nnothing is changed yet: add --yes"
    )


@click.command()
@click.option("--all", "everything", is_flag=True, help="all projects, all versions, every record")
@click.option("--exact", is_flag=True, help="with what `freehold import` needs: larger, and with keys")
@click.argument("folder", type=click.Path(path_type=Path))
@with_control
def export(control: Freehold, as_json: bool, everything: bool, exact: bool, folder: Path) -> None:
    """Write everything this installation holds to FOLDER, in open formats; for administrators.

    Rows as JSON Lines, data sets as plain Parquet, models as their files, the ledger as any verifier
    reads it. The export itself is recorded. Nothing in FOLDER is sealed: it is yours to keep safe.
    """
    from freehold.cli.exported import refuse_taken, unpack
    from freehold.errors import BadInput
    from freehold.store.pieces import Pieces

    if not everything:
        raise BadInput(
            what="it does not say what to export",
            why="this release exports everything or nothing",
            hint=f"freehold export --all {folder}",
        )
    refuse_taken(folder)
    with control.stream("POST", "/api/export?exact=true" if exact else "/api/export") as response:
        manifest = unpack(Pieces(response.iter_bytes()), folder)
    files = manifest["files"]
    told = {
        "folder": str(folder),
        "files": len(files),
        "bytes": sum(file["bytes"] for file in files.values()),
        "entry": manifest["entry"],
        "left_out": manifest["left_out"],
    }
    say(told, as_json, _exported)


def _exported(told: Mapping[str, Any]) -> str:
    lines = [
        f"{plural(told['files'], 'file')}, {told['bytes'] / 1e6:.1f} MB in {told['folder']}",
        f"recorded as {told['entry']}",
    ]
    lines += [f"left out: {item['path']}: {item['why']}" for item in told["left_out"]]
    return "\n".join([*lines, "README.md in it says what is what; nothing in it is sealed, so keep it safe"])
