"""An exact export into an empty home: equal digests, the same answers, a ledger that goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.app import open_parts
from freehold.cli.exported import unpack
from freehold.control import export
from freehold.control.importing import ExportChanged, Imported, NotExact, import_
from freehold.control.parts import Parts
from freehold.control.restore import HomeTaken
from freehold.data import lineage, versions
from freehold.engines.host import open_engine
from freehold.engines.package import read_verified
from freehold.identity import keys
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.verify import verify
from freehold.policy.decide import Policies
from freehold.release import files, paged, services
from freehold.release.publish import publish
from freehold.spec.config import Config
from freehold.spec.merkle import root_of
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.pieces import Pieces
from freehold.store.signing import Envelope, inflated, kept_payload, load_key_file
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World, copy_of, make_live, make_template
from tests.support.records import an_incident

ASKED = {
    "message": ["water in the kitchen, the pipe burst", "the car was hit in the car park", "stolen bike"]
}
SAME = (
    "datasets",
    "data_versions",
    "models",
    "cards",
    "services",
    "approvals",
    "answers",
    "certificates",
    "readmissions",
    "incidents",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A live service, some answers with words, and somebody who was forgotten."""
    first = make_template(tmp_path_factory.mktemp("template"))
    home = make_live(first, tmp_path_factory.mktemp("live"), SERVICE + "objectives: [99.5% answered]\n")
    world = World(home)
    world.answered("ans_a", "c-7")
    world.answered("ans_b")
    assert world.run(world.forget("c-9")) == "done"
    world.readmit("c-9")
    locked(world)
    a_serving_key(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paged, "FEW", 0)
        a_serving_key(world)
    world.close()
    return home


def a_serving_key(world: World) -> None:
    """One more, and gateways are told: in a snapshot where there are few, on a page where there are many."""
    owner = world.person("trainer").id
    with world.db.write() as tx:
        keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project="claims")
        publish(tx, world.ground, by=SYSTEM)


def locked(world: World) -> None:
    """A key that a rule has locked."""
    an_incident(world.ground, subject="a" * 64)


def parts_of(world: World) -> Parts:
    key = load_key_file(world.home.ledger_key)
    sequencer = Sequencer(world.db, world.home.ledger, key, world.ground.origin)
    sequencer.run_once()
    return Parts(
        home=world.home,
        config=Config(),
        ground=world.ground,
        sequencer=sequencer,
        policies=Policies.shipped(),
    )


@pytest.fixture(scope="module")
def exported(live: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(live)
    parts = parts_of(world)
    folder = tmp_path_factory.mktemp("export") / "everything"
    unpack(Pieces(export.archive(parts, export.begin(parts, SYSTEM), exact=True)), folder)
    world.close()
    return folder


@pytest.fixture(scope="module")
def made(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return import_(exported, Home(tmp_path_factory.mktemp("elsewhere") / "fh"))


@pytest.fixture
def there(made: Imported) -> Iterator[Parts]:
    with open_parts(Home(Path(made.home)), Config()) as parts:
        yield parts


@pytest.fixture
def here(live: Home) -> Iterator[World]:
    world = World(live)
    yield world
    world.close()


def state(ground: Ground, table: str) -> list[dict[str, Any]]:
    """Every row; a manifest by what it says, for who signs it is another."""
    which = tables.metadata.tables[table]
    with ground.db.read() as conn:
        rows = conn.execute(sa.select(which).order_by(*which.primary_key.columns)).mappings().all()
    return [
        {**row, "manifest": Envelope.from_json(json.loads(row["manifest"])).payload}
        if "manifest" in row
        else dict(row)
        for row in rows
    ]


def answers_of(ground: Ground, folder: Path) -> list[Any]:
    """What the live model answers, loaded as an engine loads it: signed files, verified, probed."""
    with ground.db.read() as conn:
        live = conn.scalar(
            sa.select(tables.releases.c.serving_digest).where(tables.releases.c.state == "live")
        )
    model = files.open_model(ground, str(live))
    folder.mkdir()
    for path, content in model.read_all():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    envelope = Envelope.from_json(dict(model.envelope))
    engine = open_engine(read_verified(folder, envelope, ground.release_key.public_key()))
    told = engine.infer(ASKED)
    return [told.classes, [float(one).hex() for one in told.confidence]]


@pytest.mark.parametrize("table", SAME)
def test_digests_and_rows_are_equal(here: World, there: Parts, table: str) -> None:
    rows = state(here.ground, table)
    assert rows or table == "certificates"
    assert state(there.ground, table) == rows


def test_what_a_service_has_to_keep_and_how_it_does_is_the_same_there(here: World, there: Parts) -> None:
    said = []
    for ground in (here.ground, there.ground):
        with ground.db.read() as conn:
            said.append(there.objectives.of(conn, services.find(conn, "claims-triage"), ground.clock()))
    assert [(str(one.objective), one.span.all) for one in said[0]] == [("99.5% answered over 30d", 2)]
    assert [one.span for one in said[1]] == [one.span for one in said[0]]


def test_the_same_answers_come_from_what_is_served_there(here: World, there: Parts, tmp_path: Path) -> None:
    assert answers_of(there.ground, tmp_path / "there") == answers_of(here.ground, tmp_path / "here")


def test_versions_hold_row_by_row_and_words_open(here: World, there: Parts) -> None:
    from freehold.store.contents import open_words

    with there.ground.db.read() as conn:
        for version in versions.list(conn, "claims"):
            assert lineage.check(there.ground, version) > 0
        words = conn.execute(sa.select(tables.contents).where(tables.contents.c.part == "request")).all()
    told = {
        row.answer: open_words(there.ground.keyring, row.key, row.answer, "request", row.sealed)
        for row in words
    }
    assert told == {"ans_a": b"ans_a said", "ans_b": b"ans_b said"}
    assert there.ground.keyring.subject("claims", "c-7") == here.ring.subject("claims", "c-7")


def test_its_ledger_begins_with_the_others_and_is_signed_by_itself(made: Imported, exported: Path) -> None:
    home = Home(Path(made.home))
    verdict = verify(home)
    assert verdict.broken == ()
    assert made.origin != made.before
    assert verdict.origin == made.origin
    old = (exported / "ledger" / "checkpoint").read_text().splitlines()
    with open_parts(home, Config()) as parts, parts.ground.db.read() as conn:
        leaves = list(conn.scalars(sa.select(tables.ledger.c.leaf).order_by(tables.ledger.c.ix)))
        told = conn.scalars(
            sa.select(tables.entries.c.kind).where(tables.entries.c.object == made.origin)
        ).all()
    assert root_of(leaves[: made.entries]).hex() == made.root
    assert old[:2] == [made.before, str(made.entries)]
    assert "installation.imported" in told


def test_no_key_of_before_signs_in_and_the_new_one_does(there: Parts, made: Imported) -> None:
    k, now = tables.keys.c, there.ground.clock()
    with there.ground.db.read() as conn:
        valid = conn.execute(sa.select(k.id, k.owner, k.zone).where(k.revoked_at.is_(None))).all()
        who = keys.authenticate(conn, made.administrator_key, zone="control", at=now)
        digests = conn.scalars(sa.select(k.secret_digest)).all()
    assert sorted(key.owner for key in valid if key.zone == "border") == ["gateway", "worker"]
    assert [key.id for key in valid if key.zone != "border"] == [who.key]
    assert digests.count("") == len(digests) - 3


def test_who_was_forgotten_is_known_again_there(there: Parts, here: World) -> None:
    from freehold.data import suppression

    subject = here.ring.subject("claims", "c-9")
    with there.ground.db.read() as conn:
        assert suppression.of_project(conn, there.ground.keyring, "claims").holds(subject)
        declared = versions.find(conn, "claims", "claims@1").declared
        assert not suppression.coming(conn, there.ground.keyring, "claims", declared).holds(subject)


def test_no_secret_of_others_and_no_signing_key_is_in_the_export(exported: Path, live: Home) -> None:
    names = {
        json.loads(line)["name"]
        for file in (exported / "exact" / "keys").glob("*.jsonl")
        for line in file.read_text().splitlines()
    }
    assert not [name for name in names if name.startswith(("provider/", "installation/", "notice/"))]
    assert [name for name in names if name.startswith("subject/")]
    secret = [live.epoch_key, live.ledger_key, live.release_key, live.spool_key, live.gateway_key]
    secret += [live.gateway_border, live.worker_border]
    for path in (path for path in exported.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for key in secret:
            assert key.read_bytes().strip() not in data, (path, key)


def test_digests_of_keys_leave_in_what_gateways_were_told_and_nowhere_else(
    exported: Path, here: World
) -> None:
    k, found = tables.keys.c, dict[str, set[str]]()
    with here.db.read() as conn:
        rows = conn.execute(sa.select(k.zone, k.secret_digest)).all()
    assert {zone for zone, _ in rows} == {"border", "control", "serving"}
    for file in exported.glob("**/tables/*/*.jsonl"):
        for line in file.read_text().splitlines():
            said = plainly(file.parent.name, line)
            for zone in (zone for zone, digest in rows if digest in said):
                found.setdefault(file.parent.name, set()).add(zone)
    assert found == {"snapshots": {"serving"}, "snapshot_pages": {"serving"}}


def plainly(table: str, line: str) -> str:
    """A row, with what it holds deflated."""
    if table == "snapshots":
        return kept_payload(json.loads(line)["envelope"]).decode()
    if table == "snapshot_pages":
        return inflated(bytes.fromhex(json.loads(line)["content"])).decode()
    return line


def change(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: change(next((folder / "exact" / "objects").glob("??/*"))),
        lambda folder: change(next((folder / "exact" / "tables" / "models").glob("*"))),
        lambda folder: next((folder / "ledger").rglob("checkpoint")).unlink(),
        lambda folder: (folder / "exact" / "keys" / "000009.jsonl").write_text("{}"),
    ],
)
def test_what_was_changed_is_told_and_nothing_is_left(
    exported: Path, tmp_path: Path, spoil: Callable[[Path], Any]
) -> None:
    shutil.copytree(exported, tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    with pytest.raises(ExportChanged):
        import_(tmp_path / "spoilt", Home(tmp_path / "fh"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spoilt"]


def test_entries_that_the_checkpoint_does_not_sign_are_told(exported: Path, tmp_path: Path) -> None:
    """Even where the manifest was written anew over them."""
    import hashlib

    shutil.copytree(exported, tmp_path / "spoilt")
    (file,) = (tmp_path / "spoilt" / "exact" / "tables" / "ledger").glob("*.jsonl")
    first, second, *rest = file.read_text().splitlines(keepends=True)
    one, two = json.loads(first), json.loads(second)
    one["leaf"], two["leaf"] = two["leaf"], one["leaf"]
    file.write_text("".join([json.dumps(one) + "\n", json.dumps(two) + "\n", *rest]))
    manifest = tmp_path / "spoilt" / "MANIFEST.json"
    said = json.loads(manifest.read_text())
    path = file.relative_to(tmp_path / "spoilt").as_posix()
    said["files"][path]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(said))
    with pytest.raises(ExportChanged, match="not the ones its checkpoint signs"):
        import_(tmp_path / "spoilt", Home(tmp_path / "fh"))
    assert not (tmp_path / "fh").exists()


def test_an_installation_that_goes_on_while_it_is_exported_can_be_imported(
    live: Home, tmp_path: Path
) -> None:
    """The entry of the export itself gets its place meanwhile, as the sequencer's thread does it."""
    world = World(copy_of(live, tmp_path / "copy"))
    parts = parts_of(world)

    def meanwhile() -> Iterator[bytes]:
        for number, piece in enumerate(export.archive(parts, export.begin(parts, SYSTEM), exact=True)):
            if number == 20:
                assert parts.sequencer.run_once() > 0
            yield piece

    unpack(Pieces(meanwhile()), tmp_path / "moving")
    world.close()
    made = import_(tmp_path / "moving", Home(tmp_path / "fh"))
    assert verify(Home(Path(made.home))).broken == ()


def test_what_cannot_be_imported_is_said_before_anything_is_made(
    live: Home, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotExact, match="no manifest"):
        import_(tmp_path / "empty", Home(tmp_path / "fh"))
    world = World(copy_of(live, tmp_path / "copy"))
    parts = parts_of(world)
    unpack(Pieces(export.archive(parts, export.begin(parts, SYSTEM))), tmp_path / "plain")
    world.close()
    with pytest.raises(NotExact, match="exact"):
        import_(tmp_path / "plain", Home(tmp_path / "fh"))
    with pytest.raises(HomeTaken):
        import_(exported, Home(tmp_path / "plain"))
    assert not (tmp_path / "fh").exists()
