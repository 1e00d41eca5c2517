"""`freehold verify`, `receipt`, `export` and `upgrade`, as a shell sees them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from postgres_server import embedded, past_us

from freehold.cli.exported import ExportBroken, FolderTaken, unpack
from freehold.data import intake
from freehold.data.intake import Intake
from freehold.ledger.anchor import FileAnchor
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.tiles import ENTRIES, TileFolder, tile_at, unbundle
from freehold.release import versions, words
from freehold.spec.merkle import leaf_hash, root_of
from freehold.spec.model import About
from freehold.spec.notes import VerifierKey, read_checkpoint
from freehold.spec.principal import SYSTEM, Principal
from freehold.store import contents, migrate, signing, tables
from freehold.store.pieces import Pieces

TOM = Principal(kind="person", id="per_tom", zone="control", key="key_tom")
CSV = b"customer,note,class\nanna-k,water damage in the kitchen,property\nben-o,my car was hit,motor\n"


@pytest.fixture
def at_home(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that look at the host itself look at this house."""
    monkeypatch.setenv("FREEHOLD_HOME", str(house.parts.home.root))


def answered(house: Any, words: dict[str, bytes] | None = None) -> None:
    """An answer as ingestion leaves it: row, words, entries."""
    ground = house.parts.ground
    name = contents.key_name("claims", None, 1_800_000_000_000_000)
    period = contents.Period.of("claims", "claims-triage", "claims-handling", 1_800_000_000_000_000)
    ground.keyring.ensure(name, period.key)
    with ground.db.write() as tx:
        tx.execute(tables.answers.insert().values(_ANSWER))
        for part, said in (words or {}).items():
            sealed = contents.seal_words(ground.keyring, name, period, "ans_1", part, said)
            row = {"answer": "ans_1", "part": part, "key": name, "sealed": sealed}
            tx.execute(tables.contents.insert().values(row))
        intent = {"answer": "ans_1", "service": "claims-triage", "key": "key_1", "purpose": "claims-handling"}
        intent |= {"request": "-", "snapshot": 1}
        close = {"answer": "ans_1", "ending": "answered", "status": 200, "reason": "ok"}
        close |= {"tokens_in": 3, "tokens_out": 5, "cost": "0"}
        for kind, detail in (("answer.intent", intent), ("answer.close", close)):
            record(tx, kind, by=SYSTEM, object="ans_1", project="claims", detail=detail)


_ANSWER = {
    "id": "ans_1", "project": "claims", "service": "claims-triage", "key": "key_1",
    "purpose": "claims-handling", "ending": "answered", "reason": "ok", "status": 200,
    "sandbox": False, "snapshot": 1, "request": "-",
    "tokens_in": 3, "tokens_out": 5, "cost": "0", "estimated": False, "spool": "s1", "sequence": 1, "at": 1,
}  # fmt: skip


# -- verify


@pytest.mark.usefixtures("at_home")
def test_an_anchor_with_nothing_in_it_is_not_taken_for_a_yes(
    house: Any, freehold: Any, tmp_path: Path
) -> None:
    house.parts.sequencer.run_once()
    kept = tmp_path / "kept"
    kept.write_text("a list of telephone numbers\n")
    said = freehold("verify", "--anchor", str(kept))
    assert said.code == 2
    assert "no checkpoint is anchored in" in said.err
    assert said.out == ""
    FileAnchor(kept).keep(house.parts.sequencer.newest())
    said = freehold("verify", "--anchor", str(kept))
    assert said.code == 0, said.err
    assert f"anchor           1  checkpoints kept in {kept}, each its beginning" in said.out
    with house.parts.home.config.open("a") as config:
        config.write(f"anchor: {tmp_path / 'empty'}\n")
    assert "0  checkpoints are kept in" in freehold("verify").out


@pytest.mark.usefixtures("at_home")
def test_verify_says_what_it_looked_at(house: Any, freehold: Any) -> None:
    house.parts.sequencer.run_once()
    said = freehold("verify")
    assert said.code == 0
    assert said.out.startswith(f"ledger verified: {house.parts.ground.origin}\n")
    told = json.loads(freehold("verify", "--json").out)
    assert told["entries"] == told["signed"] > 0
    assert told["broken"] == []


@pytest.mark.usefixtures("at_home")
def test_verify_ends_with_8_and_names_the_place(house: Any, freehold: Any) -> None:
    house.parts.sequencer.run_once()
    with past_us(house.parts.home) as raw:
        raw.exec_driver_sql(
            "UPDATE entries SET body = replace(body, 'added', 'adder') WHERE kind = 'project.added'"
        )
    said = freehold("verify")
    assert said.code == 8
    assert "the ledger does not verify at entry " in said.err
    told = freehold("verify", "--json")
    assert told.code == 8
    assert json.loads(told.out)["broken"][0]["place"].startswith("entry ")


def test_verify_where_nothing_is_says_so(
    freehold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "nowhere"))
    said = freehold("verify")
    assert said.code == 3
    assert "FREEHOLD_HOME" in said.err


@pytest.mark.usefixtures("at_home")
def test_verify_takes_a_kept_checkpoint_and_a_kept_key(house: Any, freehold: Any, tmp_path: Path) -> None:
    house.parts.sequencer.run_once()
    (tmp_path / "kept").write_text(house.parts.sequencer.newest())
    key = str(house.parts.sequencer.public)
    house.project("sales")
    house.parts.sequencer.run_once()
    assert freehold("verify", "--since", str(tmp_path / "kept"), "--key", key).code == 0
    other = VerifierKey(name=house.parts.ground.origin, public=bytes(32))
    assert freehold("verify", "--key", str(other)).code == 8
    assert freehold("verify", "--key", "nonsense").code == 2


@embedded
def test_verify_refuses_a_ledger_that_went_backwards(
    house: Any, freehold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.parts.sequencer.run_once()
    earlier = tmp_path / "earlier"
    shutil.copytree(house.parts.home.root, earlier, ignore=shutil.ignore_patterns("lock"))
    house.project("sales")
    house.parts.sequencer.run_once()
    monkeypatch.setenv("FREEHOLD_HOME", str(house.parts.home.root))
    assert freehold("verify", key="").code == 0  # whoever looks without a key remembers, too
    monkeypatch.setenv("FREEHOLD_HOME", str(earlier))
    back = freehold("verify", key="")
    assert back.code == 8
    assert "at the checkpoint you saw last" in back.err
    assert "the ledger went backwards" in back.err
    monkeypatch.setenv("FREEHOLD_HOME", str(house.parts.home.root))
    assert freehold("verify").code == 0


@pytest.mark.usefixtures("at_home")
def test_verify_refuses_another_key_than_the_one_seen_first(house: Any, freehold: Any) -> None:
    house.parts.sequencer.run_once()
    assert freehold("project", "list").code == 0
    assert freehold("verify").code == 0
    shutil.rmtree(house.parts.home.ledger)
    house.parts.home.ledger_key.unlink()
    signing.new_key_file(house.parts.home.ledger_key)
    forged = Sequencer(
        house.parts.ground.db,
        house.parts.home.ledger,
        signing.load_key_file(house.parts.home.ledger_key),
        house.parts.ground.origin,
    )
    forged.run_once()
    said = freehold("verify")
    assert said.code == 8
    assert "at checkpoint" in said.err


# -- receipt


def test_a_receipt_is_written_and_holds_without_the_installation(
    house: Any, freehold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(house)
    _, auditor = house.person("ada@example.org", "claims/auditor")
    key = auditor["authorization"].removeprefix("Bearer ")
    path = tmp_path / "ans_1.tlog-proof"
    said = freehold("receipt", "ans_1", "--out", str(path), key=key)
    assert said.code == 0, said.err
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "nowhere"))
    public = str(house.parts.sequencer.public)
    held = freehold("verify", "--receipt", str(path), "--key", public)
    assert held.out.startswith("receipt holds: entry ")
    assert "ans_1" in held.out
    assert freehold("verify", "--receipt", str(path)).code == 2
    path.write_text(path.read_text().replace("index ", "index 1"))
    assert freehold("verify", "--receipt", str(path), "--key", public).code == 8


def test_a_receipt_for_no_answer_ends_with_3(
    freehold: Any, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.control.routes.ledger.WAIT", 0.05)
    said = freehold("receipt", "ans_nothing")
    assert said.code == 3
    assert "no such answer was taken in" in said.err


# -- upgrade


@pytest.mark.usefixtures("at_home")
def test_upgrade_with_nothing_to_do_says_so(house: Any, freehold: Any) -> None:
    house.parts.ground.db.close()
    said = freehold("upgrade")
    assert (said.code, "nothing to do" in said.out) == (0, True)


@pytest.mark.usefixtures("at_home")
def test_upgrade_is_refused_while_freehold_runs(house: Any, freehold: Any) -> None:
    with house.parts.ground.db.write():
        pass
    said = freehold("upgrade", "--yes")
    assert said.code == 9
    assert "is in use" in said.err


HEAD = migrate.revisions()[-1]
NEXT = f"{int(HEAD) + 1:04}"


@pytest.mark.usefixtures("at_home")
def test_upgrade_shows_its_plan_and_then_does_it(
    house: Any, freehold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.parts.ground.db.close()
    _next_release(tmp_path, monkeypatch)
    plan = freehold("upgrade")
    assert f"{NEXT}_a_column_more" in plan.out
    assert "add --yes" in plan.out
    done = json.loads(freehold("upgrade", "--yes", "--json").out)
    assert (done["done"], Path(done["backup"]).exists()) == (True, True)
    (entry,) = house.entries("installation.upgraded")
    assert json.loads(entry["body"])["detail"] == {"before": HEAD, "after": NEXT}


def _next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    folder = tmp_path / "migrations"
    shutil.copytree(migrate._STEPS.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEXT}_a_column_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = '{NEXT}'\ndown_revision = '{HEAD}'\n\n\n"
        "def upgrade():\n    op.add_column('people', sa.Column('nickname', sa.String(20)))\n"
    )
    monkeypatch.setattr(migrate, "_STEPS", folder / "versions")


# -- export


@pytest.fixture
def furnished(house: Any) -> Any:
    """A house with a data set, a model, an answer with words, and a stopped service."""
    ground = house.parts.ground
    request = Intake(
        name="inbox", purposes=("claims-handling",), basis="contract", sensitivity="Confidential",
        owner="claims", keep="3y", regions=("eu",), subject=("customer",), target="class",
    )  # fmt: skip
    intake.add(ground, by=TOM, project="claims", request=request, source=io.BytesIO(CSV), format="csv")
    about = About(
        task="classify", trainer="linear", inputs=(), classes=("motor", "property"), data="inbox@1",
        data_digest="sha256:0", run="",
    )  # fmt: skip
    prepared = versions.prepare(
        ground, project="claims", name="claims-triage", run=None, about=about, engine="fake", flags={},
        files={"model.onnx": b"weights", "about.json": b"{}"}, sensitivity=3,
    )  # fmt: skip
    with ground.db.write() as tx:
        versions.register(tx, by=TOM, prepared=prepared)
    answered(house, {"request": '{"text": "Wasser in der Küche"}'.encode(), "response": b"\xff\x00"})
    house.parts.sequencer.run_once()
    return house


def test_an_export_holds_rows_words_data_models_and_a_ledger_that_verifies(
    furnished: Any, freehold: Any, tmp_path: Path
) -> None:
    said = freehold("export", "--all", str(tmp_path / "out"), "--json")
    assert said.code == 0, said.err
    told, out = json.loads(said.out), tmp_path / "out"
    assert told["left_out"] == []
    assert pq.read_table(out / "data/claims/inbox@1/part-00001.parquet")["note"].to_pylist() == [
        "water damage in the kitchen", "my car was hit",
    ]  # fmt: skip
    assert (out / "models/claims/claims-triage@1/model.onnx").read_bytes() == b"weights"
    assert (out / "models/claims/claims-triage@1/manifest.dsse.json").exists()
    parts = {(w["answer"], w["part"]): w for w in lines(out / "answers")}
    assert parts["ans_1", "request"]["text"] == '{"text": "Wasser in der Küche"}'
    assert parts["ans_1", "response"]["base64"] == "/wA="
    assert {row["name"] for row in lines(out / "tables/projects")} == {"claims"}
    assert out.stat().st_mode & 0o777 == 0o700
    check_ledger(out / "ledger")
    (entry,) = furnished.entries("export.made")
    assert told["entry"] == entry["id"]


def lines(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def check_ledger(folder: Path) -> None:
    """As somebody else would: from the entries to the signed root."""
    key = VerifierKey.parse((folder / "key").read_text())
    signed = read_checkpoint((folder / "checkpoint").read_text(), key)
    bodies: list[bytes] = []
    while len(bodies) < signed.size:
        tile = tile_at(ENTRIES, len(bodies) // 256, signed.size)
        bodies += unbundle(TileFolder(folder).read(tile))
    assert root_of([leaf_hash(body) for body in bodies]) == signed.root


def test_every_table_is_in_the_export_and_no_secret_is(furnished: Any, freehold: Any, tmp_path: Path) -> None:
    freehold("export", "--all", str(tmp_path / "out"))
    there = {path.name for path in (tmp_path / "out/tables").iterdir()}
    elsewhere = {"contents", "mlflow_words"}
    passing = {"outbox", "job_beats", "mlflow_uploads", "notices", "sessions", "unpublished"}
    assert {*tables.metadata.tables} - there == elsewhere | passing
    home = furnished.parts.home
    secrets = [path.read_bytes() for path in home.control.glob("*.key")] + [home.gateway_key.read_bytes()]
    ring = furnished.parts.ground.keyring
    secrets += [key for key in ring._open.values() if len(key) == 32]
    exported = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not [s for s in secrets if s in exported or s.hex().encode() in exported]
    assert all("secret_digest" not in row for row in lines(tmp_path / "out/tables/keys"))


def test_a_reason_is_exported_in_clear(furnished: Any, freehold: Any, tmp_path: Path) -> None:
    ground = furnished.parts.ground
    with ground.db.write() as tx:
        place = "service/claims-triage"
        sealed = words.seal_words(ground, "claims", tx.at, place, "it answers nonsense")
        tx.execute(tables.services.insert().values(_SERVICE | {"because": sealed}))
        detail = {"service": "claims-triage", "spec": "sha256:0"}
        record(tx, "service.declared", by=TOM, object="claims-triage", project="claims", detail=detail)
    freehold("export", "--all", str(tmp_path / "out"))
    (row,) = lines(tmp_path / "out/tables/services")
    assert row["because"] == "it answers nonsense"


_SERVICE = {
    "name": "claims-triage", "project": "claims", "kind": "own", "owner": "claims", "tier": "sandbox",
    "purpose": "claims-handling", "sensitivity": 3, "spec": "{}", "spec_digest": "sha256:0",
    "provider": "{}", "state": "stopped", "created_at": 1, "changed_at": 1,
}  # fmt: skip


def test_what_cannot_be_opened_is_left_out_and_named(furnished: Any, freehold: Any, tmp_path: Path) -> None:
    ring = furnished.parts.ground.keyring
    names = [name for name in list(ring._open) if name.startswith(("chunk/", "day/"))]
    ring.drop(names)
    said = freehold("export", "--all", str(tmp_path / "out"))
    assert said.code == 0
    assert "left out: data/claims/inbox@1/part-00001.parquet" in said.out
    assert all(w["forgotten"] for w in lines(tmp_path / "out/answers"))


def test_only_administrators_export_and_a_refusal_leaves_nothing(
    house: Any, freehold: Any, tmp_path: Path
) -> None:
    _, auditor = house.person("ada@example.org", "*/auditor")
    key = auditor["authorization"].removeprefix("Bearer ")
    said = freehold("export", "--all", str(tmp_path / "out"), key=key)
    assert said.code == 4
    assert not (tmp_path / "out").exists()
    assert house.entries("export.made") == []


def test_an_export_never_mixes_with_a_folder_that_is_there(house: Any, freehold: Any, tmp_path: Path) -> None:
    assert freehold("export", "--all", str(tmp_path)).code == 5
    assert freehold("export", str(tmp_path / "out")).code == 2
    assert house.entries("export.made") == []


# -- an export that does not arrive whole


def tar(files: dict[str, bytes], manifest: bool = True) -> bytes:
    said = {path: {"sha256": hashlib.sha256(data).hexdigest()} for path, data in files.items()}
    whole = {**files, "MANIFEST.json": json.dumps({"files": said}).encode()} if manifest else files
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as made:
        for path, data in whole.items():
            info = tarfile.TarInfo(f"freehold-export/{path}")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def pieces(data: bytes, size: int = 1000) -> Pieces:
    return Pieces(data[at : at + size] for at in range(0, len(data), size))


def test_an_export_in_pieces_is_put_together(tmp_path: Path) -> None:
    unpack(pieces(tar({"a/b": b"x" * 5000, "c": b""})), tmp_path / "out")
    assert (tmp_path / "out/a/b").read_bytes() == b"x" * 5000


@pytest.mark.parametrize("cut", [0, 100, 700, 2000])
def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path, cut: int) -> None:
    whole = tar({"a": b"x" * 5000})
    with pytest.raises(ExportBroken):
        unpack(pieces(whole[:cut]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_its_manifest_or_with_other_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportBroken, match="whole"):
        unpack(pieces(tar({"a": b"x"}, manifest=False)), tmp_path / "out")
    with pytest.raises(ExportBroken) as told:
        unpack(pieces(tar({"a": b"x" * 900}).replace(b"x" * 900, b"y" * 900)), tmp_path / "out")
    assert "`a` is not what the manifest says" in told.value.why


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "other/x", "freehold-export/../../x"])
def test_no_member_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as made:
        made.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ExportBroken):
        unpack(pieces(sink.getvalue()), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderTaken):
        unpack(pieces(b""), tmp_path)
