"""Go's own transparency log packages, which know nothing of us, read our files and agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import obstore
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from postgres_server import past_us
from s3_server import S3Server

from freehold.ledger.proof import receipt
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.tiles import needed
from freehold.spec.notes import VerifierKey, read_checkpoint
from freehold.spec.principal import SYSTEM
from freehold.spec.receipt import Receipt
from freehold.spec.s3 import place
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.rows import Database
from freehold.store.s3 import open_store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GO_PATH = Path("/usr/share/gocode")
PACKAGES = GO_PATH / "src/golang.org/x/mod/sumdb/tlog"


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of `foreign/main.go`, built against the packages that Debian ships."""
    if shutil.which("go") is None or not PACKAGES.is_dir():
        pytest.skip("this machine has no go with golang-golang-x-mod-dev: nobody else read the ledger")
    folder = tmp_path_factory.mktemp("foreign")
    source = Path(__file__).parent / "foreign" / "main.go"
    surroundings = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache")}
    command = ["go", "build", "-o", str(folder / "verifier"), str(source)]
    subprocess.run(command, check=True, env={**os.environ, **surroundings}, timeout=100)
    return folder / "verifier"


@pytest.fixture
def log(db: Database, home: Home) -> Sequencer:
    """A ledger of 700 entries, and beside it the checkpoint it had at 300."""
    one = Sequencer(db, home.ledger, KEY, "freehold.local/0a1b2c3d")
    for count in (300, 400):
        fill(db, count)
        one.run_once()
        if count == 300:
            (home.root / "kept").write_text(one.newest() or "")
    return one


def fill(db: Database, count: int) -> None:
    with db.write() as tx:
        for number in range(count):
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            record(tx, "setting.changed", by=SYSTEM, object="tariff", detail=detail)


def run(verifier: Path, log: Sequencer, *kept: Path) -> tuple[int, str]:
    command = [str(verifier), str(log.tiles.folder), str(log.public), *map(str, kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_go_reads_every_entry_and_agrees_on_the_root(verifier: Path, log: Sequencer, home: Home) -> None:
    root = read_checkpoint(log.newest() or "", log.public).root
    assert run(verifier, log, home.root / "kept") == (0, f"700 entries, root {root.hex()}\n")


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/1/000.p/2", "tile/entries/002.p/188"])
def test_go_refuses_a_changed_byte(verifier: Path, log: Sequencer, path: str) -> None:
    file = log.tiles.folder / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert run(verifier, log)[0] == 1


def test_go_refuses_a_log_that_did_not_grow_from_the_kept_checkpoint(
    verifier: Path, db: Database, log: Sequencer, home: Home
) -> None:
    with past_us(db) as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
        connection.exec_driver_sql("UPDATE entries SET at = -at")
    (home.root / "other").mkdir()
    other = Sequencer(db, home.root / "other", KEY, log.origin)
    other.run_once()
    assert run(verifier, other)[0] == 0
    assert run(verifier, other, home.root / "kept")[0] == 1


# -- a receipt ----------------------------------------------------------------------------------------


def receipt_of(log: Sequencer, db: Database, number: int) -> Receipt:
    with db.read() as conn:
        entry = conn.scalar(sa.select(tables.ledger.c.id).where(tables.ledger.c.ix == number))
    return receipt(log, str(entry))


def checked(verifier: Path, text: str, key: object, folder: Path) -> tuple[int, str]:
    """What Go says of a receipt."""
    file = folder / "it.tlog-proof"
    file.write_text(text)
    command = [str(verifier), "receipt", str(file), str(key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("number", [0, 255, 256, 511, 698, 699])
def test_go_checks_a_receipt_and_reads_its_entry(
    verifier: Path, db: Database, log: Sequencer, tmp_path: Path, number: int
) -> None:
    proof = receipt_of(log, db, number)
    code, said = checked(verifier, proof.text(), log.public, tmp_path)
    assert (code, said) == (0, proof.entry.decode() + "\n")


def test_go_refuses_a_receipt_in_which_anything_was_changed(
    verifier: Path, db: Database, log: Sequencer, tmp_path: Path
) -> None:
    proof = receipt_of(log, db, 300)
    other = receipt_of(log, db, 301)
    wrong = {
        "another entry": replace(proof, entry=other.entry).text(),
        "another place": replace(proof, ix=301).text(),
        "a hash less": replace(proof, proof=proof.proof[:-1]).text(),
        "a hash of another": replace(proof, proof=other.proof).text(),
        "another checkpoint": proof.text().replace("\n700\n", "\n699\n"),
    }
    for what, text in wrong.items():
        assert text != proof.text()
        assert checked(verifier, text, log.public, tmp_path)[0] == 1, what


# -- over HTTP ----------------------------------------------------------------------------------------


def mirrored(get: Callable[[str], bytes], key: VerifierKey, to: Path) -> Path:
    """What an auditor fetches: the checkpoint, and every tile and bundle of its size."""
    note = get("checkpoint")
    for path in ["checkpoint", *(tile.path for tile in needed(read_checkpoint(note.decode(), key).size))]:
        file = to / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(note if path == "checkpoint" else get(path))
    return to


def test_any_web_server_serves_the_folder_to_an_auditor(
    verifier: Path, log: Sequencer, tmp_path: Path
) -> None:
    """Python's own, which knows nothing of ledgers."""
    served = partial(Silent, directory=str(log.tiles.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as http:
            copy = mirrored(lambda path: http.get(path).raise_for_status().content, log.public, tmp_path)
        server.shutdown()
        thread.join()
    assert read(verifier, copy, log).startswith("700 entries, root ")


def read(verifier: Path, copy: Path, log: Sequencer) -> str:
    """What Go says of a copy."""
    command = [str(verifier), str(copy), str(log.public)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def test_a_bucket_serves_the_folder_to_an_auditor(
    verifier: Path, log: Sequencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied into it as it lies, under the same names."""
    folder = log.tiles.folder
    with S3Server(tmp_path / "s3") as server:
        server.let_in(monkeypatch)
        bucket = open_store(place(server.new_bucket("ledger")))
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            obstore.put(bucket, path.relative_to(folder).as_posix(), path.read_bytes())

        def get(name: str) -> bytes:
            return obstore.get(bucket, name).bytes().to_bytes()

        copy = mirrored(get, log.public, tmp_path / "copy")
    assert read(verifier, copy, log).startswith("700 entries, root ")


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""
