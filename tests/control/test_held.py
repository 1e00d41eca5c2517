"""What is held about a person, in full: their rows and answers, all of them and nobody else's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from freehold.store import tables
from tests.control.test_backup import answer_about, put_data

ROWS = b"customer,row,class\nanna-k,7,water\nben-o,8,my car\nanna-k,9,water again\n"


def test_what_is_exported_of_a_person_is_what_is_recorded_of_them(house: Any, dpo: dict[str, str]) -> None:
    put_data(house, ROWS)
    for answer, person in (("ans_1", "anna-k"), ("ans_2", "ben-o"), ("ans_3", "anna-k")):
        answer_about(house, answer, person)
    asked = {"project": "claims", "subject": "anna-k"}
    held = house.client("subjects").post("/api/subjects/export", json=asked, headers=dpo).json()
    assert held["rows"] == {
        "inbox@1": [
            {"customer": "anna-k", "row": 7, "class": "water", "_row": 1},
            {"customer": "anna-k", "row": 9, "class": "water again", "_row": 3},
        ]
    }
    assert [column["name"] for column in held["columns"]["inbox@1"]] == ["customer", "row", "class"]
    anna, a = house.parts.ground.keyring.subject("claims", "anna-k"), tables.answers.c
    with house.parts.ground.db.read() as conn:
        query = sa.select(a.id, a.service, a.purpose, a.ending, a.at).where(a.subject == anna)
        recorded = [dict(row) for row in conn.execute(query.order_by(a.at)).mappings()]
    assert held["answers"] == [{**row, "request": "what did Anna say"} for row in recorded]
    assert [row["id"] for row in recorded] == ["ans_1", "ans_3"]
