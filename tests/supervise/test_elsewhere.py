"""`freehold up` with its objects in S3, and with its master key in a hardware module: live, end to end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import soft_hsm
from s3_server import S3Server

from freehold.store.home import Home
from freehold.store.keyring import EpochKeyWrong, Keyring
from tests.installation import Installation, wait_for
from tests.journeys.test_deliver import ask
from tests.supervise.test_several_controls import SERVICE
from tests.supervise.test_troubled import recorded

pytestmark = pytest.mark.timeout(300)


def serve(made: Installation) -> None:
    """From a file to a service that answers."""
    made.add_people()
    made.add_claims(rows=120)
    file = made.write("claims.yaml", SERVICE.format(name="claims-triage", seed=1))
    made.freehold("trainer", "apply", file)
    said = made.json("administrator", "keys", "create", "--project", "claims", "--purpose", "claims-handling")
    made.keys["serving"] = said["key_text"]
    wait_for(lambda: answers(made), 30, made.tell)


def answers(made: Installation) -> bool:
    return ask(made, "pipe burst kitchen").status_code == 200


def words(made: Installation, answer: str) -> str:
    """What was asked, as control opens it for who may see it."""
    wait_for(lambda: recorded(made, [answer]), 30, made.tell)
    return str(made.json("trainer", "answer", answer, "--words")["asked"])


# -- objects in S3 ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3") / "it") as running:
        yield running


def test_an_installation_with_its_objects_in_s3(server: S3Server, tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.given = dict(server.credentials)
    made.home.mkdir()
    home = Home(made.home)
    home.config.write_text(f"objects: {json.dumps(server.new_bucket('prod'))}\n")
    bucket = server.newest
    made.start()
    try:
        serve(made)
        assert [path for path in home.blobs.rglob("*") if path.is_file()] == []
        stored = [path for path in bucket.rglob("*") if path.is_file()]
        assert len(stored) >= 4, "data, commitments and the model"
        assert not any(b"flooded" in path.read_bytes() for path in stored)

        with server.away():
            assert answers(made), "who serves needs no bucket"
            more = made.folder / "more.csv"
            more.write_text((made.folder / "claims.csv").read_text().replace("pipe", "tube"))
            asked = ("data", "add", "more.csv", "--project", "claims", "--purpose", "claims-handling")
            asked += ("--basis", "contract", "--sensitivity", "Confidential", "--keep", "P3Y")
            asked += ("--owner", "claims-team@example.org", "--region", "eu", "--subject", "customer")
            asked += ("--target", "class", "--text", "message")
            assert "object" in made.freehold("trainer", *asked, code=9)
        made.freehold("trainer", *asked)
        assert len([path for path in bucket.rglob("*") if path.is_file()]) > len(stored)

        assert "ledger verified" in made.freehold("auditor", "verify", "--deep")
        then = datetime.now(UTC).isoformat()
        said = made.freehold("auditor", "status", "claims-triage", "--at", then)
        assert "100 % of the traffic  claims-triage@1, live" in said
        before = made.freehold("auditor", "status", "claims-triage", "--at", "2020-01-01", code=None)
        assert "claims-triage@1" not in before
        made.stop()
        made.start()
        wait_for(lambda: answers(made), 30, made.tell)
        for path in [path for path in bucket.rglob("*") if path.is_file()]:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        assert "is not what was stored" in made.freehold("auditor", "verify", "--deep", code=8)
    finally:
        made.stop()


# -- the master key in a module ---------------------------------------------------------------------


@contextmanager
def asking(made: Installation) -> Iterator[list[int]]:
    """Somebody asks all the while; the statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            statuses.append(ask(made, "car bumper scratched").status_code)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def test_an_installation_whose_master_key_moves_into_a_module(tmp_path: Path) -> None:
    soft_hsm.library()
    made, home = Installation(tmp_path / "it"), Home(tmp_path / "it" / "fh")
    made.folder.mkdir()
    made.given = soft_hsm.configure(tmp_path / "hsm")
    hsm = soft_hsm.new_token(tmp_path / "hsm", "freehold", made.given)
    made.start()
    try:
        serve(made)
        said = ask(made, "pipe burst kitchen").headers["x-freehold-answer"]
        assert "pipe burst" in words(made, said)
        assert len(home.epoch_key.read_bytes()) == 32, "it began with a file"

        made.stop()
        with home.config.open("a") as config:
            config.write(f"hsm: {{module: {hsm.module}, token: {hsm.token}, pin_file: {hsm.pin_file}}}\n")
        made.start()
        copies = [copied(home, tmp_path / "file")]
        with asking(made) as statuses:
            for number in range(2):
                wait_for(lambda: len(statuses) > 5, 30, made.tell)
                assert "wrapped by a new epoch key" in made.freehold("administrator", "keys", "rotate-epoch")
                copies.append(copied(home, tmp_path / f"hsm-{number}"))
                statuses_then = len(statuses)
                wait_for(lambda then=statuses_then: len(statuses) > then + 5, 30, made.tell)  # type: ignore[misc]
        assert set(statuses) == {200}
        assert home.epoch_key.read_bytes().startswith(b"{"), "what lies on the disk opens nothing"
        assert "pipe burst" in words(made, said)

        made.stop()
        made.start()
        wait_for(lambda: answers(made), 30, made.tell)
        assert "pipe burst" in words(made, said)
        assert "ledger verified" in made.freehold("auditor", "verify")
        made.stop()
        for copy in copies[:1]:  # the keyring of now with the file of then
            (copy / "keyring.db").write_bytes(home.keyring.read_bytes())
            with pytest.raises(EpochKeyWrong):
                Keyring(copy / "keyring.db", copy / "epoch.key")
        Path(hsm.pin_file).write_text("wrong\n")
        made.start_without_waiting()
        wait_for(lambda: "cannot be used" in made.said_lately(), 40, made.tell)
    finally:
        made.stop()


def copied(home: Home, to: Path) -> Path:
    """A copy of the epoch key, as somebody may have taken it."""
    to.mkdir()
    (to / "epoch.key").write_bytes(home.epoch_key.read_bytes())
    return to
