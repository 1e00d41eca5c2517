"""Who was forgotten comes in again on a new basis, with what comes from then on, and with nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.data import consent, readmission, suppression, use
from freehold.data.readmission import NoNewBasis, NotKeptOut, StillForgetting
from freehold.data.suppression import Terms
from freehold.store.ground import Ground
from freehold.store.tables import entries, forgettings
from tests.data.conftest import TOM, Add
from tests.data.test_forget import ROWS, mark, take_away, version_of

FOR = "claims-handling"


def let_in(ground: Ground, person: str = "anna", **said: Any) -> str:
    asked = {"basis": "contract", "purposes": (FOR,), "request": "CONTRACT-7"} | said
    terms = readmission.settle(**asked)
    subject = ground.keyring.subject("claims", person)
    with ground.db.write() as tx:
        return readmission.readmit(tx, ground.keyring, by=TOM, project="claims", subject=subject, terms=terms)


def seen(ground: Ground, ref: str, folder: Any) -> use.Written:
    """What a training sees of a version."""
    return use.write_arrow(ground, version_of(ground, ref), folder / f"{ref}.arrow", purpose=FOR)


def test_rows_of_files_from_then_on_come_in_and_older_ones_stay_out(
    ground: Ground, add: Add, tmp_path: Any
) -> None:
    add(ROWS, subject=("id",))  # as in a backup of before: her rows are in it, and she is forgotten
    mark(ground, "anna", at=5)
    let_in(ground)
    added = add(ROWS + "anna,five\n")
    assert (added.ref, added.rows, added.left_out) == ("inbox@2", 5, {})
    assert seen(ground, "inbox@2", tmp_path).left_out == {}
    assert seen(ground, "inbox@1", tmp_path).left_out == {"forgotten": 2}


def test_data_of_another_basis_or_another_purpose_stay_without_them(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    letters: dict[str, Any] = {"name": "letters", "basis": "legitimate-interest"}
    offers: dict[str, Any] = {"name": "offers", "purposes": (FOR, "marketing")}
    for other in (letters, offers):
        add(ROWS, subject=("id",), **other)
    mark(ground, "anna", at=5)
    let_in(ground)
    more = ROWS + "anna,five\n"
    assert add(more).left_out == {}
    assert add(more, **letters).left_out == {"forgotten": 3}
    assert add(more, **offers).left_out == {"forgotten": 3}
    let_in(ground, purposes=("marketing", FOR))
    assert add(more, **offers).left_out == {}, "who is let in for more comes in there, too"


def test_the_next_forgetting_keeps_them_out_again(ground: Ground, add: Add, tmp_path: Any) -> None:
    add("id,words\nbob,two\n", subject=("id",))
    mark(ground, "anna", at=5)
    let_in(ground)
    add(ROWS)
    mark(ground, "anna", at=9, forgetting="fgt_again")
    assert add(ROWS + "bob,six\n").left_out == {"forgotten": 2}
    assert seen(ground, "inbox@2", tmp_path).left_out == {"forgotten": 2}
    let_in(ground)
    assert add(ROWS + "bob,seven\n").left_out == {}


def test_what_a_law_keeps_is_no_more_learned_from_than_before(
    ground: Ground, add: Add, tmp_path: Any
) -> None:
    add(ROWS, subject=("id",), basis="legal-obligation")
    add(ROWS, name="letters", subject=("id",))
    mark(ground, "anna", at=5)
    let_in(ground)
    add(ROWS + "bob,six\n", basis="legal-obligation")
    assert seen(ground, "inbox@2", tmp_path).left_out == {"forgotten": 2}


def test_the_same_rows_are_a_new_version_where_the_old_one_lost_them(ground: Ground, add: Add) -> None:
    """Their key is kept, for a law keeps other rows of theirs: the digest is the same."""
    add(ROWS, subject=("id",))
    subject = ground.keyring.subject("claims", "anna")
    key = ground.keyring.key(f"subject/claims/{subject}")
    take_away(ground, "anna")
    ground.keyring.add({f"subject/claims/{subject}": key})
    mark(ground, "anna", at=5)
    let_in(ground)
    added = add(ROWS)
    assert (added.ref, added.new, added.rows) == ("inbox@2", True, 4)
    assert version_of(ground, "inbox@2").digest == version_of(ground, "inbox@1").digest
    assert add(ROWS).ref == "inbox@2"


def test_words_of_before_stay_gone(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    subject = mark(ground, "anna", at=5)
    let_in(ground)
    with ground.db.read() as conn:
        known = suppression.of_project(conn, ground.keyring, "claims")
    assert known.holds(subject, at=5)
    assert not known.holds(subject, at=6)


def test_it_is_one_entry_that_names_nobody_and_saying_it_twice_is_none(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    subject = mark(ground, "anna", at=5, forgetting="fgt_1")
    id = let_in(ground)
    assert let_in(ground) == id
    with ground.db.read() as conn:
        told = conn.scalars(sa.select(entries.c.body).where(entries.c.kind == "subject.readmitted")).all()
    assert len(told) == 1
    assert json.loads(told[0])["detail"] == {
        "readmission": id,
        "forgettings": ["fgt_1"],
        "basis": "contract",
        "purposes": [FOR],
        "request": "CONTRACT-7",
    }
    for name in ("anna", subject, suppression.mark(ground.keyring, "claims", subject)):
        assert name not in told[0]


def test_the_plan_says_where_to_and_which_consent_is_missing(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    add(ROWS, name="letters", subject=("id",), basis="legitimate-interest")
    subject = mark(ground, "anna", at=5)
    with ground.db.write() as tx:
        consent.withdraw(tx, by=TOM, project="claims", subject=subject, purpose=FOR)
    terms = Terms(basis="contract", purposes=(FOR,), request="CONTRACT-7")
    with ground.db.read() as conn:
        planned = readmission.plan(conn, ground.keyring, "claims", subject, terms)
    assert planned.new
    assert (planned.comes_into, planned.stays_out_of) == (("inbox",), ("letters",))
    assert (planned.forgotten, planned.withdrawn) == (("DSR-1",), (FOR,))


def test_who_is_not_kept_out_or_is_being_forgotten_is_refused(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    with pytest.raises(NotKeptOut):
        let_in(ground, "bob")
    subject = mark(ground, "anna")
    with ground.db.writer_engine.begin() as raw:
        raw.execute(forgettings.update().values(subject=subject))
    with pytest.raises(StillForgetting):
        let_in(ground)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"basis": ""}, NoNewBasis),
        ({"purposes": ()}, NoNewBasis),
        ({"basis": "because"}, NoNewBasis),
        ({"basis": "legal-obligation"}, NoNewBasis),
        ({"request": "Anna Karenina!"}, NoNewBasis),
        ({"purposes": ("marketting",)}, consent.UnknownPurpose),
    ],
)
def test_without_a_new_basis_nobody_comes_in(
    ground: Ground, add: Add, said: dict[str, Any], error: type[Exception]
) -> None:
    add(ROWS, subject=("id",))
    mark(ground, "anna", at=5)
    with pytest.raises(error):
        let_in(ground, **said)
