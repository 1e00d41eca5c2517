"""A file becomes a version; the same rows are the same version; nothing half-added stays."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.data import chunks, consent, intake, lineage, versions, writing
from freehold.data.declare import Intake, NoBasis, NotSaid, SaidOtherwise
from freehold.data.laying import AddedMeanwhile, Laying, NotStored
from freehold.data.reading import BadColumns, NoRows
from freehold.data.sift import BrokenRows
from freehold.errors import BadInput, NotFound
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Database, Tx

TOM = Principal(kind="person", id="per_tom", zone="control", key="key_tom")

INBOX = "text,class,age\nwater,property,34\ncar,motor,51\nfire,property,34\n"


def _rows(ground: Ground, ref: str, project: str = "claims") -> list[dict[str, Any]]:
    with ground.db.read() as conn:
        version = versions.find(conn, project, ref)
        layout = chunks.layout_of(conn, version.id)
    return [row for table in chunks.read(ground, layout) for row in table.to_pylist()]


# -- versions


def test_a_file_becomes_version_one(add: Any, ground: Ground) -> None:
    added = add(INBOX, target="class", text="text")
    assert (added.ref, added.new, added.rows, added.bad_rows) == ("inbox@1", True, 3, 0)
    with ground.db.read() as conn:
        version = versions.find(conn, "claims", "inbox@1")
    assert version == added.version
    assert version.digest.startswith("sha256:")
    assert [(c.name, c.type) for c in version.columns] == [
        ("text", "text"),
        ("class", "text"),
        ("age", "integer"),
    ]
    assert (version.purposes, version.basis, version.regions) == (("claims-handling",), "contract", ("eu",))
    assert (version.sensitivity, version.declared.keep) == (Sensitivity.CONFIDENTIAL, "P3Y")
    assert _rows(ground, "inbox@1")[1] == {"text": "car", "class": "motor", "age": 51, "_row": 2}


def test_every_change_has_its_entry(add: Any, entries: Any) -> None:
    version = add(INBOX).version
    (began,) = entries("data.added")
    assert began == {
        "dataset": version.dataset,
        "basis": "contract",
        "sensitivity": "Confidential",
        "purposes": ["claims-handling"],
        "regions": ["eu"],
        "keep": "P3Y",
    }
    (entry,) = entries("data.version")
    assert (entry["version"], entry["digest"], entry["rows"]) == (version.id, version.digest, 3)


def test_the_same_file_twice_is_the_same_version(add: Any, stored: Any) -> None:
    first = add(INBOX)
    before = stored()
    again = add(INBOX)
    assert (again.new, again.ref, again.version) == (False, "inbox@1", first.version)
    assert stored() == before


def test_a_changed_row_is_the_next_version_and_the_old_file_is_still_the_old_one(add: Any) -> None:
    add(INBOX)
    assert add(INBOX.replace("51", "52")).ref == "inbox@2"
    assert add(INBOX).ref == "inbox@1"


def test_the_order_of_rows_is_part_of_a_version(add: Any) -> None:
    add(INBOX)
    head, one, two, three = INBOX.splitlines()
    assert add("\n".join([head, two, one, three])).ref == "inbox@2"


def test_a_renamed_column_is_another_version_and_takes_nothing_away(add: Any, ground: Ground) -> None:
    first, second = add(INBOX).version, add(INBOX.replace("age", "years")).version
    assert second.ref == "inbox@2"
    assert lineage.check(ground, first) == lineage.check(ground, second) == 3


def test_how_the_file_was_cut_does_not_matter(add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "id,text\n" + "".join(f"p{n % 7},water {n % 5}\n" for n in range(200))
    first = add(data, subject=("id",)).version
    monkeypatch.setattr("freehold.data.read_csv.ROWS", 7)
    monkeypatch.setattr(chunks, "ROWS", 20)
    again = add(data, subject=("id",))
    assert (again.new, again.version.digest) == (False, first.digest)


def test_a_version_of_many_chunks_holds(add: Any, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.data.read_csv.ROWS", 7)
    monkeypatch.setattr(chunks, "ROWS", 20)
    data = "id,text\n" + "".join(f"p{n % 7},water {n % 5}\n" for n in range(200))
    version = add(data, subject=("id",)).version
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    assert len(layout.chunks) == 10
    assert [row["_row"] for row in _rows(ground, "inbox@1")] == list(range(1, 201))
    assert lineage.check(ground, version) == 200


def test_identical_rows_are_all_kept(add: Any, ground: Ground) -> None:
    version = add("a\nx\nx\nx\n").version
    assert version.rows == 3
    assert lineage.check(ground, version) == 3


def test_the_same_rows_in_another_format_are_the_same_version(add: Any) -> None:
    first = add("text,age,ok\nwater,34,true\n,,\n").version
    rows = [{"text": "water", "age": 34, "ok": True}, {"text": None, "age": None, "ok": None}]
    lines = "\n".join(map(json.dumps, rows))
    assert add(lines, format="jsonl").version == first
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    assert add(sink.getvalue(), format="parquet").version == first


def test_two_projects_have_nothing_in_common(add: Any, ground: Ground) -> None:
    first, other = add(INBOX).version, add(INBOX, project="other").version
    assert first.digest != other.digest
    with ground.db.read() as conn, pytest.raises(NotFound):
        versions.find(conn, "other", "inbox@2")


def test_a_plan_says_what_would_be_and_changes_nothing(add: Any, stored: Any) -> None:
    before = stored()
    planned = add(INBOX, plan=True)
    assert (planned.ref, planned.planned, planned.version, planned.rows) == ("inbox@1", True, None, 3)
    after = stored()
    assert after.pop("keys") - before.pop("keys") <= {"lookup/claims"}
    assert after == before


def test_a_project_that_is_not_there_is_told(add: Any) -> None:
    with pytest.raises(NotFound):
        add(INBOX, project="motor")


def test_a_file_by_its_path(ground: Ground, add: Any, tmp_path: Path) -> None:
    first = add(INBOX).version
    (tmp_path / "inbox.csv").write_text(INBOX)
    asked = Intake(name="inbox")
    again = intake.add(
        ground, by=TOM, project="claims", request=asked, source=tmp_path / "inbox.csv", format="csv"
    )
    assert again.version == first


# -- what is said of a data set


def test_what_was_said_holds_and_may_be_left_out(add: Any, ground: Ground) -> None:
    add(INBOX)
    left_out: dict[str, Any] = dict.fromkeys(("basis", "sensitivity", "owner", "keep"), "")
    assert add(INBOX.replace("51", "52"), **left_out, purposes=(), regions=()).ref == "inbox@2"


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ({"purposes": ("claims-handling", "marketing")}, "--purpose"),
        ({"basis": "legitimate-interest"}, "--basis"),
        ({"sensitivity": "Public"}, "--sensitivity"),
        ({"keep": "10y"}, "--keep"),
        ({"regions": ("us",)}, "--region"),
        ({"subject": ("text",)}, "--subject"),
    ],
)
def test_something_else_may_not_be_said_later(add: Any, said: dict[str, Any], option: str) -> None:
    add(INBOX)
    with pytest.raises(SaidOtherwise) as told:
        add(INBOX, **said)
    assert option in told.value.what


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"purposes": ()}, NotSaid),
        ({"basis": ""}, NotSaid),
        ({"keep": ""}, NotSaid),
        ({"basis": "consent"}, NotSaid),
        ({"basis": "because"}, NoBasis),
        ({"sensitivity": "Secret"}, BadInput),
        ({"purposes": ("Claims Handling",)}, BadInput),
        ({"purposes": ("withdrawn",)}, BadInput),
        ({"name": "In Box"}, BadInput),
        ({"keep": "long"}, BadInput),
        ({"subject": ("who",)}, BadColumns),
        ({"target": "clas"}, BadColumns),
        ({"target": "text", "text": "text"}, BadColumns),
        ({"types": {"age": "date"}}, BadColumns),
        ({"types": {"agee": "text"}}, BadColumns),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    add: Any, stored: Any, said: dict[str, Any], kind: type[Exception]
) -> None:
    before = stored()
    with pytest.raises(kind):
        add(INBOX, **said)
    assert stored() | {"keys": None} == before | {"keys": None}


def test_a_mistyped_column_is_told_with_the_nearest(add: Any) -> None:
    with pytest.raises(BadColumns) as told:
        add(INBOX, target="clas")
    assert told.value.hint == "did you mean `class`?"


# -- types


def test_types_of_the_version_before_hold(add: Any) -> None:
    add("a,b\n1,1.5\n2,2.5\n")
    second = add("a,b\n3,4\n").version
    assert [(c.name, c.type) for c in second.columns] == [("a", "integer"), ("b", "number")]
    with pytest.raises(BrokenRows) as told:
        add("a,b\nx,4\n")
    assert told.value.why == "line 2: `a` is no integer"
    assert [c.type for c in add("a,b\nx,4\n", types={"a": "text"}).version.columns] == ["text", "number"]


def test_persons_and_texts_are_text_even_when_they_are_numbers(add: Any, ground: Ground) -> None:
    version = add("id,text\n4711,123\n", subject=("id",), text="text").version
    assert [c.type for c in version.columns] == ["text", "text"]
    whole = add('{"id": 4711.0, "text": 1}\n', format="jsonl", name="b", subject=("id",), text="text").version
    with ground.db.read() as conn:
        subject = ground.keyring.subject("claims", "4711")
        found = lineage.versions_of(conn, "claims", subject)
    assert [(v.ref, rows) for v, rows in found] == [("b@1", [1]), ("inbox@1", [1])]
    assert whole.ref == "b@1"


def test_big_numbers_dates_and_nan_are_what_they_were(add: Any, ground: Ground) -> None:
    add("n,d\n9007199254740993,2024-01-31\n")
    assert _rows(ground, "inbox@1")[0]["n"] == 9007199254740993
    assert _rows(ground, "inbox@1")[0]["d"] == "2024-01-31"
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [float("nan"), float("-inf"), -0.0]}), sink)
    add(sink.getvalue(), format="parquet", name="floats")
    assert [str(row["x"]) for row in _rows(ground, "floats@1")] == ["nan", "-inf", "-0.0"]


def test_what_looks_personal_is_told(add: Any) -> None:
    added = add("email,text\nann@example.org,hello\n", sensitivity="Internal")
    (email, text) = added.columns
    assert [look.kind for look in email.looks] == ["e-mail"]
    assert text.looks == ()
    assert len(added.notes) == 2
    assert "--subject" in added.notes[0]


# -- broken rows


def test_broken_rows_are_told_by_line_and_the_file_is_refused(add: Any, stored: Any) -> None:
    before = stored()
    data = 'text,age\n"two\nlines",1\nx\n' + "ok,1\n" * 30 + "bad,one\n"
    with pytest.raises(BrokenRows) as told:
        add(data)
    assert told.value.what == "the file has 2 broken rows"
    assert told.value.why == "line 4: 1 cells instead of 2; line 35: `age` is no integer"
    ways = told.value.hint.split(", or ")
    assert ways[1:] == [
        "leave them out with `--allow-bad-rows 2`",
        "say `--type age=text` if it is meant to be text",
    ]
    assert stored() | {"keys": None} == before | {"keys": None}


def test_broken_rows_may_be_left_out_up_to_a_number(add: Any) -> None:
    data = "text,age\nx\n" + "ok,1\n" * 30 + "bad,one\nworse,two,3\n"
    with pytest.raises(BrokenRows):
        add(data, allow_bad_rows=2)
    added = add(data, allow_bad_rows=3)
    assert (added.rows, added.bad_rows, added.version.bad_rows) == (30, 3, 3)
    assert "line 34" in added.broken


def test_no_message_repeats_what_stands_in_a_row(add: Any) -> None:
    with pytest.raises(BrokenRows) as told:
        add("id,age\n" + "x,1\n" * 30 + "Anna Kowalska,thirty\nBert\n")
    assert "Anna" not in str(told.value)
    assert "thirty" not in str(told.value)


@pytest.mark.parametrize(
    "data",
    ["", "a,b\n", "a,b\n\n\n", "a,b\n1\n2\n", '{"a": 1'],
    ids=["empty", "header", "blank", "broken", "json"],
)
def test_a_file_without_a_whole_row_is_refused(add: Any, stored: Any, data: str) -> None:
    before = stored()
    with pytest.raises((NoRows, BrokenRows)):
        add(data, format="jsonl" if data.startswith("{") else "csv", allow_bad_rows=2)
    assert stored() | {"keys": None} == before | {"keys": None}


# -- consent

CONSENTS = (
    "id,text,ok\nann,a,yes\nbob,b,no\ncleo,c,withdrawn\ndan,d,claims-handling\neve,e,marketing\nfay,f,\n"
)
CONSENT: dict[str, Any] = {"basis": "consent", "subject": ("id",), "consent_from": "ok"}


def _states(ground: Ground, purpose: str = "claims-handling") -> dict[str, str]:
    with ground.db.read() as conn:
        said = consent.last_words(conn, "claims", purpose)
    names = {
        ground.keyring.subject("claims", name): name for name in ("ann", "bob", "cleo", "dan", "eve", "fay")
    }
    return {names[subject]: state for subject, (state, _) in said.items()}


def test_rows_without_consent_are_left_out_and_counted(add: Any, ground: Ground, entries: Any) -> None:
    added = add(CONSENTS, **CONSENT)
    assert added.left_out == {"no consent for claims-handling": 3, "consent withdrawn": 1}
    assert [row["id"] for row in _rows(ground, "inbox@1")] == ["ann", "dan"]
    assert _states(ground) == {"ann": "given", "dan": "given", "cleo": "withdrawn"}
    (entry,) = entries("consent.read")
    assert (entry["given"], entry["withdrawn"]) == (2, 1)


def test_every_declared_purpose_needs_consent(add: Any) -> None:
    listed = '"[""marketing"", ""claims-handling""]"'
    data = f"id,ok\na,yes\nb,claims-handling\nc,claims-handling;marketing\nd,{listed}\n"
    added = add(data, **CONSENT, purposes=("marketing", "claims-handling"))
    assert added.rows == 3
    assert added.left_out == {"no consent for marketing": 1}


def test_one_withdrawn_row_takes_all_rows_of_that_person(add: Any, ground: Ground) -> None:
    added = add("id,text,ok\nann,1,yes\nbob,2,yes\n ann ,3,Withdrawn\n", **CONSENT)
    assert [row["id"] for row in _rows(ground, "inbox@1")] == ["bob"]
    assert added.left_out == {"consent withdrawn": 2}


def test_an_unclear_consent_is_a_broken_row(add: Any) -> None:
    with pytest.raises(BrokenRows) as told:
        add("id,ok\na,yes\nb,perhaps so\n", **CONSENT)
    assert told.value.why.startswith("line 3: `ok` is none of yes, no")


def test_a_withdrawal_that_a_person_recorded_outlives_the_next_file(add: Any, ground: Ground) -> None:
    add(CONSENTS, **CONSENT)
    subject = ground.keyring.subject("claims", "ann")
    with ground.db.write() as tx:
        consent.withdraw(tx, by=TOM, project="claims", subject=subject, purpose="claims-handling")
    again = add(CONSENTS, **CONSENT)
    assert (again.ref, again.rows) == ("inbox@2", 1)
    assert again.left_out["consent withdrawn earlier"] == 1
    assert _states(ground)["ann"] == "withdrawn"


def test_a_withdrawal_that_came_with_a_file_ends_with_a_later_file(add: Any, ground: Ground) -> None:
    add(CONSENTS, **CONSENT)
    again = add(CONSENTS.replace("withdrawn", "given"), **CONSENT)
    assert "cleo" in [row["id"] for row in _rows(ground, again.ref)]
    assert _states(ground)["cleo"] == "given"


def test_news_of_consents_is_kept_even_when_the_rows_are_known(add: Any, ground: Ground) -> None:
    add(CONSENTS, **CONSENT)
    published: list[int] = []
    again = add(
        CONSENTS.replace("bob,b,no", "bob,b,withdrawn"), **CONSENT, also=lambda tx: published.append(tx.at)
    )
    assert not again.new
    assert _states(ground)["bob"] == "withdrawn"
    assert len(published) == 1


def test_gateways_hear_of_withdrawals_in_the_same_transaction(add: Any) -> None:
    published: list[int] = []
    add(CONSENTS, **CONSENT, also=lambda tx: published.append(tx.at))
    assert len(published) == 1
    add(CONSENTS, **CONSENT, also=lambda tx: published.append(tx.at))
    add("id,text,ok\nann,z,yes\n", **CONSENT, also=lambda tx: published.append(tx.at))
    assert len(published) == 1


def test_rows_are_indexed_by_person(add: Any, ground: Ground) -> None:
    add("a,b,t\nann,bob,1\nbob,,2\n,,3\nann,ann,4\n", subject=("a", "b"))
    with ground.db.read() as conn:
        found = {
            name: [
                rows
                for _, rows in lineage.versions_of(conn, "claims", ground.keyring.subject("claims", name))
            ]
            for name in ("ann", "bob", "cleo")
        }
    assert found == {"ann": [[1, 4]], "bob": [[1, 2]], "cleo": []}


# -- nothing half-added


class Fault(Exception):
    """What a test makes happen."""


def _fail(patch: pytest.MonkeyPatch, where: Any, name: str, *, at: int = 1, after: bool) -> None:
    """Let the call number `at` fail: it did not happen, or it happened and the answer was lost."""
    real, calls = getattr(where, name), [0]

    def failing(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == at and not after:
            raise Fault
        result = real(*given, **named)
        if calls[0] == at:
            raise Fault
        return result

    patch.setattr(where, name, failing)


_STAGES = [
    *((FileBlobs, "put", n) for n in (1, 2, 3)),
    (Keyring, "add", 1),
    *((Laying, "_note_now", n) for n in (1, 2, 3, 4, 5)),
    (writing, "_write_dataset", 1),
    (writing, "_write_version_row", 1),
    (writing, "insert_many", 1),
    (writing, "write_consents", 1),
    *((writing, "record", n) for n in (1, 2, 3)),
    (Tx, "refuse_unrecorded", 6),
]


@pytest.mark.parametrize("after", [False, True], ids=["it did not happen", "its answer was lost"])
@pytest.mark.parametrize(("where", "name", "at"), _STAGES)
def test_a_failure_at_any_stage_leaves_nothing(
    add: Any, stored: Any, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, at: int, after: bool
) -> None:
    monkeypatch.setattr("freehold.data.read_csv.ROWS", 2)
    monkeypatch.setattr(chunks, "ROWS", 2)
    with pytest.raises(NoRows):
        add("id,text,ok\n", **CONSENT)
    before = stored()
    with monkeypatch.context() as faulty:
        _fail(faulty, where, name, at=at, after=after)
        with pytest.raises(Fault):
            add(CONSENTS.replace("no", "yes"), **CONSENT)
    assert stored() == before


def test_a_version_whose_confirmation_was_lost_is_there_and_whole(
    add: Any, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Database.write, [0]

    @contextmanager
    def losing(self: Database) -> Iterator[Any]:
        calls[0] += 1
        with real(self) as tx:
            yield tx
        if calls[0] == 5:  # after the begin, two objects and the keys
            raise Fault

    with monkeypatch.context() as faulty:
        faulty.setattr(Database, "write", losing)
        with pytest.raises(Fault):
            add(CONSENTS, **CONSENT)
    again = add(CONSENTS, **CONSENT)
    assert not again.new
    assert lineage.check(ground, again.version) == 2


def test_a_full_disk_is_told_and_leaves_nothing(
    add: Any, ground: Ground, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.keyring.ensure("lookup/claims")
    before = stored()

    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as faulty:
        faulty.setattr(FileBlobs, "put", full)
        with pytest.raises(NotStored) as told:
            add(INBOX)
    assert "No space left" in told.value.why
    assert stored() == before


def test_a_key_that_somebody_else_made_meanwhile_is_used(
    add: Any, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Keyring.known
    name = "subject/claims/" + ground.keyring.subject("claims", "ann")

    def overtaken(self: Keyring, names: Any) -> Any:
        found = real(self, names)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(Keyring, "known", real)
            ground.keyring.ensure(name)  # an answer about ann is taken in right after we looked
        return found

    monkeypatch.setattr(Keyring, "known", overtaken)
    version = add(CONSENTS, **CONSENT).version
    monkeypatch.undo()
    assert lineage.check(ground, version) == 2


def test_a_failure_never_takes_a_key_that_others_need(
    add: Any, ground: Ground, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(CONSENTS, **CONSENT)
    before = stored()
    _fail(monkeypatch, writing, "_write_version_row", after=True)
    with pytest.raises(Fault):
        add(CONSENTS.replace("ann,a", "ann,z"), **CONSENT)
    assert stored() == before


def test_two_who_add_at_once_get_two_versions_or_a_clear_no(
    add: Any, ground: Ground, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Laying.finish

    def overtaken(self: Laying, write: Any) -> Any:
        monkeypatch.undo()
        add(INBOX.replace("51", "52"))
        return real(self, write)

    monkeypatch.setattr(Laying, "finish", overtaken)
    with pytest.raises(AddedMeanwhile):
        add(INBOX)
    assert len(stored()["data_versions"]) == 1
    assert not stored()["intakes"]
    assert add(INBOX).ref == "inbox@2"


_DIES = """
import os, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from freehold.data import intake
from freehold.spec.ids import now
from freehold.spec.principal import SYSTEM
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.place import rows_of

home, dies, data = Home(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
real = {"blobs": FileBlobs.put, "keys": Keyring.add}[dies]
def die(*given):
    real(*given)
    os._exit(9)
setattr(*{"blobs": (FileBlobs, "put"), "keys": (Keyring, "add")}[dies], die)
ground = Ground(
    db=rows_of(home), keyring=Keyring(home.keyring, home.control / "epoch.key"),
    blobs=FileBlobs(home.blobs), release_key=Ed25519PrivateKey.generate(), origin="test", clock=now,
)
asked = intake.Intake(
    name="inbox", purposes=("claims-handling",), basis="contract", sensitivity="Internal",
    owner="x", keep="1y", regions=("eu",),
)
intake.add(ground, by=SYSTEM, project="claims", request=asked, source=data, format="csv")
"""


@pytest.mark.parametrize("dies", ["blobs", "keys"])
def test_what_a_killed_process_left_is_swept_at_the_next_start(
    ground: Ground, home: Any, stored: Any, tmp_path: Path, dies: str
) -> None:
    (tmp_path / "inbox.csv").write_text(INBOX)
    ground.keyring.ensure("lookup/claims")
    before = stored()
    command = [sys.executable, "-c", _DIES, str(home.root), dies, str(tmp_path / "inbox.csv")]
    assert subprocess.run(command, check=False).returncode == 9
    assert stored() != before
    assert intake.sweep(ground) == 1
    assert stored() == before
    assert intake.sweep(ground) == 0


def test_an_intake_under_way_elsewhere_is_not_swept(ground: Ground) -> None:
    with Laying(ground, "claims") as laying:
        blob = laying.put(b"x")
        assert intake.sweep(ground, idle_seconds=60) == 0
        assert ground.blobs.get(blob) == b"x"


# -- memory

_MEASURE = """
import resource, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from freehold.data import chunks, intake, read_csv
from freehold.spec.ids import now
from freehold.spec.principal import SYSTEM
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.place import rows_of

read_csv.BYTES, chunks.BYTES = 2**18, 2**20
home, data = Home(Path(sys.argv[1])), Path(sys.argv[2])
ground = Ground(
    db=rows_of(home), keyring=Keyring(home.keyring, home.control / "epoch.key"),
    blobs=FileBlobs(home.blobs), release_key=Ed25519PrivateKey.generate(), origin="test", clock=now,
)
def add(name, source):
    asked = intake.Intake(
        name=name, purposes=("claims-handling",), basis="contract", sensitivity="Internal",
        owner="x", keep="1y", regions=("eu",),
    )
    intake.add(ground, by=SYSTEM, project="claims", request=asked, source=source, format="csv")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small = data.with_name("small.csv")
small.write_bytes(b"text\\n" + data.read_bytes()[5 : 2**21].rpartition(b"\\n")[0])
print(add("small", small), add("large", data))
"""


def test_a_file_larger_than_the_limits_is_read_in_bounded_memory(
    ground: Ground, home: Any, tmp_path: Path
) -> None:
    line = "water in the kitchen " * 190  # about 4 KB: the size is in the cells, not in the rows
    with (tmp_path / "large.csv").open("w") as file:
        file.write("text\n")
        file.writelines(f"{n} {line}\n" for n in range(6_000))
    size = (tmp_path / "large.csv").stat().st_size
    command = [sys.executable, "-c", _MEASURE, str(home.root), str(tmp_path / "large.csv")]
    small, large = map(
        int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    )
    assert size > 20_000_000
    assert large - small < size / 3, f"{large - small:,} bytes more for {size:,} bytes of file"
