"""Consent: what a cell says, and what people say later."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.data import consent
from freehold.data.consent import UnknownPurpose, left_out_because
from freehold.spec.principal import Principal
from freehold.store.ground import Ground

DORA = Principal(kind="person", id="per_dora", zone="control", key="key_dora")
A, B = "claims-handling", "marketing"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("yes", ""),
        ("TRUE", ""),
        (" given ", ""),
        ("claims-handling;marketing", ""),
        ("Marketing ; Claims-Handling;research", ""),
        ('["claims-handling", "marketing"]', ""),
        ("withdrawn", "consent withdrawn"),
        ("Withdrawn", "consent withdrawn"),
        ("no", "no consent for claims-handling, marketing"),
        ("false", "no consent for claims-handling, marketing"),
        ("", "no consent for claims-handling, marketing"),
        (None, "no consent for claims-handling, marketing"),
        ("claims-handling", "no consent for marketing"),
        ("[]", "no consent for claims-handling, marketing"),
        ("yse", "no consent for claims-handling, marketing"),
        ("y e s", None),
        ("1", None),
        ("claims-handling;yes", None),
        ("[1", None),
        ('["claims handling"]', None),
        ("claims_handling", None),
    ],
)
def test_what_a_consent_cell_says(cell: str | None, reason: str | None) -> None:
    assert left_out_because(cell, (A, B)) == reason


def _withdraw(ground: Ground, subject: str, purpose: str = A) -> consent.Changed:
    with ground.db.write() as tx:
        return consent.withdraw(tx, by=DORA, project="claims", subject=subject, purpose=purpose)


def _give(ground: Ground, subject: str) -> consent.Changed:
    with ground.db.write() as tx:
        return consent.give(tx, by=DORA, project="claims", subject=subject, purpose=A)


def test_a_withdrawal_is_recorded_with_its_entry_and_tells_where_it_counts(
    add: Any, ground: Ground, entries: Any
) -> None:
    add("id\nann\nbob\nann\n", subject=("id",))
    ann = ground.keyring.subject("claims", "ann")
    said = _withdraw(ground, ann)
    assert (said.changed, said.stands_in) == (True, {"inbox@1": 2})
    assert entries("consent.withdrawn") == [{"subject": ann, "purpose": A, "source": "per_dora"}]
    with ground.db.read() as conn:
        assert consent.withdrawn(conn, "claims", A) == {ann}
        assert consent.withdrawn(conn, "claims", B) == frozenset()
        assert consent.withdrawn(conn, "other", A) == frozenset()
        assert consent.of_subject(conn, "claims", ann) == {A: "withdrawn"}


def test_saying_it_twice_changes_nothing(add: Any, ground: Ground, entries: Any) -> None:
    add("id\nann\n", subject=("id",))
    assert _withdraw(ground, "0" * 64).changed
    assert not _withdraw(ground, "0" * 64).changed
    assert len(entries("consent.withdrawn")) == 1


def test_the_last_word_counts(add: Any, ground: Ground) -> None:
    add("id\nann\n", subject=("id",))
    for _ in range(2):
        assert _withdraw(ground, "0" * 64).changed
        assert _give(ground, "0" * 64).changed
    with ground.db.read() as conn:
        assert consent.withdrawn(conn, "claims", A) == frozenset()


def test_a_person_may_confirm_what_a_file_said(add: Any, ground: Ground) -> None:
    """Else the next file could take a withdrawal back that was also told to us in person."""
    said: dict[str, Any] = {"basis": "consent", "subject": ("id",), "consent_from": "ok"}
    add("id,ok\nann,withdrawn\nbob,yes\n", **said)
    assert _withdraw(ground, ground.keyring.subject("claims", "ann")).changed
    added = add("id,ok\nann,yes\nbob,yes\n", **said)
    assert added.left_out == {"consent withdrawn earlier": 1}


@pytest.mark.parametrize("purpose", ["claim-handling", "marketing"])
def test_a_purpose_that_nothing_has_is_refused(add: Any, ground: Ground, purpose: str) -> None:
    add("id\nann\n", subject=("id",))
    with pytest.raises(UnknownPurpose) as told:
        _withdraw(ground, "0" * 64, purpose)
    assert "claims-handling" in told.value.why
