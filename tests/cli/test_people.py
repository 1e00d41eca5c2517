"""People, projects and keys as somebody types them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest


def key_in(out: str) -> str:
    return out.split("): ")[1].split()[0]


def test_a_person_is_added_and_signs_in_with_the_key_that_was_shown(freehold: Any) -> None:
    added = freehold("people", "add", "ann@example.org", "--role", "model-risk", "--project", "claims")
    assert added.code == 0
    assert added.out.startswith("ann@example.org is model-risk in claims\nkey (shown once, good until 20")
    me = freehold("people", "me", key=key_in(added.out))
    assert me.out.startswith("ann@example.org is model-risk in claims\nmay ")
    assert "approve" in me.out
    assert "trainer" not in me.out


def test_the_list_shows_roles_by_project(freehold: Any) -> None:
    freehold(
        "people", "add", "tom@example.org", "--role", "trainer", "--role", "operator", "--project", "claims"
    )
    lines = freehold("people", "list").out.splitlines()
    assert lines[0].split() == ["email", "roles", "state", "since"]
    assert "administrator everywhere" in lines[1]
    assert "operator, trainer in claims" in lines[2]


def test_a_key_goes_to_a_file_that_only_its_owner_reads(freehold: Any, tmp_path: Path) -> None:
    file = tmp_path / "tom.key"
    added = freehold("people", "add", "tom@example.org", "--role", "trainer", "--write-key", str(file))
    assert "fhc_" not in added.out
    assert f"key written to {file}" in added.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert freehold("people", "me", "--key-file", str(file), key="").out.startswith("tom@example.org")


def test_a_key_file_that_is_there_is_never_overwritten_and_no_key_is_made(
    freehold: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tom.key"
    file.write_text("precious")
    refused = freehold("people", "add", "tom@example.org", "--role", "trainer", "--write-key", str(file))
    assert refused.code == 2
    assert "cannot take a new key" in refused.err
    assert file.read_text() == "precious"
    assert "tom" not in freehold("people", "list").out


def test_a_refused_command_leaves_no_key_file_behind(freehold: Any, tmp_path: Path) -> None:
    file = tmp_path / "tom.key"
    assert freehold("people", "add", "tom", "--role", "trainer", "--write-key", str(file)).code == 2
    assert not file.exists()


def test_roles_are_given_and_taken(freehold: Any) -> None:
    freehold("people", "add", "tom@example.org", "--role", "trainer", "--project", "claims")
    changed = freehold(
        "people", "roles", "tom@example.org", "--give", "operator", "--take", "trainer", "--project", "claims"
    )
    assert changed.out == "tom@example.org is operator in claims\n"


def test_a_person_is_locked_unlocked_and_gets_a_new_key(freehold: Any) -> None:
    key = key_in(freehold("people", "add", "tom@example.org", "--role", "trainer").out)
    assert freehold("people", "lock", "tom@example.org").out == "tom@example.org is locked; 1 key void\n"
    refused = freehold("people", "me", key=key)
    assert (refused.code, "revoked" in refused.err) == (4, True)
    assert "tom@example.org is unlocked" in freehold("people", "unlock", "tom@example.org").out
    again = key_in(freehold("keys", "create", "--zone", "control", "--for", "tom@example.org").out)
    assert freehold("people", "me", key=again).out.startswith("tom@example.org is trainer everywhere")


def test_a_project_is_added_and_listed(freehold: Any) -> None:
    added = freehold("project", "add", "motor", "--timezone", "Europe/Vienna", "--currency", "CHF")
    assert added.out == "project motor · CHF · Europe/Vienna\n"
    assert "motor   CHF       Europe/Vienna  active" in freehold("project", "list").out


def test_a_serving_key_is_created_listed_and_revoked(freehold: Any) -> None:
    made = freehold(
        "keys",
        "create",
        "--project",
        "claims",
        "--purpose",
        "claims-handling",
        "--expires",
        "90d",
        "--label",
        "web",
    )
    assert key_in(made.out).startswith("fhs_")
    (row,) = [row for row in json.loads(freehold("keys", "list", "--json").out) if row["zone"] == "serving"]
    assert (row["project"], row["purpose"], row["label"], row["state"]) == (
        "claims", "claims-handling", "web", "active",
    )  # fmt: skip
    assert row["owner"] == "administrator@localhost"
    assert freehold("keys", "revoke", row["id"]).out == f"{row['id']} is void\n"
    assert "revoked" in freehold("keys", "list").out


def test_a_key_that_leaked_is_revoked_by_pasting_it(freehold: Any) -> None:
    key = key_in(freehold("keys", "create", "--project", "claims").out)
    assert freehold("keys", "revoke", key).out == f"key_{key.split('_')[1]} is void\n"


def test_a_key_of_the_serving_zone_does_not_open_control(freehold: Any) -> None:
    key = key_in(freehold("keys", "create", "--project", "claims").out)
    refused = freehold("people", "list", key=key)
    assert refused.code == 4
    assert "this is a key of the serving zone" in refused.err
    assert "hint: control takes keys that begin with `fhc_`" in refused.err


def test_a_renewed_key_voids_the_one_that_was_handed_over(freehold: Any, tmp_path: Path) -> None:
    first = key_in(freehold("people", "add", "tom@example.org", "--role", "trainer").out)
    renewed = freehold("keys", "renew", "--write-key", str(tmp_path / "mine.key"), key=first)
    assert renewed.out.endswith("1 key void\n")
    assert freehold("people", "me", key=first).code == 4
    assert freehold("people", "me", key=(tmp_path / "mine.key").read_text().strip()).code == 0


def test_json_is_what_the_route_answers(freehold: Any) -> None:
    made = json.loads(freehold("people", "add", "tom@example.org", "--role", "trainer", "--json").out)
    assert made["key_text"].startswith("fhc_")
    assert made["roles"] == [{"project": "*", "role": "trainer"}]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["people", "add", "ann@example.org"], 2, "--role"),
        (["people", "add", "ann", "--role", "trainer"], 2, "not an e-mail address"),
        (["people", "add", "ann@example.org", "--role", "trainr"], 2, "did you mean `trainer`?"),
        (
            ["people", "add", "ann@example.org", "--role", "trainer", "--project", "clams"],
            3,
            "no project `clams`",
        ),
        (
            ["people", "add", "ann@example.org", "--role", "trainer", "--role", "administrator"],
            4,
            "two people",
        ),
        (["people", "add", "administrator@localhost", "--role", "trainer"], 5, "already"),
        (["people", "add", "ann@example.org", "--role", "trainer", "--expires", "soon"], 2, "span of time"),
        (["people", "roles", "administrator@localhost", "--give", "trainer"], 4, "nobody gives roles"),
        (["people", "lock", "nobody@example.org"], 3, "no person"),
        (["people", "lock", "administrator@localhost"], 4, "locks themselves out"),
        (["people", "unlock", "nobody@example.org"], 3, "no person"),
        (["project", "add", "Claims"], 2, "try `claims`"),
        (["project", "add", "claims"], 5, "already"),
        (["project", "add", "motor", "--timezone", "Europe/Vienn"], 2, "did you mean `Europe/Vienna`?"),
        (["project", "add", "motor", "--currency", "euros"], 2, "ISO 4217"),
        (["keys", "create"], 2, "--project"),
        (["keys", "create", "--project", "clams"], 3, "no project `clams`"),
        (["keys", "create", "--project", "claims", "--service", "nowhere"], 2, "no service `nowhere`"),
        (["keys", "create", "--zone", "control", "--purpose", "x"], 2, "serving keys"),
        (["keys", "create", "--zone", "border"], 2, "border"),
        (["keys", "create", "--zone", "control", "--for", "nobody@example.org"], 3, "no person"),
        (["keys", "revoke", "key_nowhere"], 3, "no key `key_nowhere`"),
        (["keys", "revoke", "../people"], 2, "not the id of a key"),
        (["keys", "renew", "--expires", "5"], 2, "span of time"),
    ],
)
def test_a_mistake_is_told_with_its_exit_code(freehold: Any, words: list[str], code: int, says: str) -> None:
    said = freehold(*words)
    assert (said.code, says in said.err) == (code, True), said.err
    assert said.out == ""


@pytest.mark.parametrize("key", ["", "fhc_x", "nonsense"])
@pytest.mark.parametrize(
    "words", [["people", "list"], ["project", "list"], ["keys", "list"], ["people", "me"]]
)
def test_without_a_key_every_command_says_so(freehold: Any, words: list[str], key: str) -> None:
    said = freehold(*words, key=key)
    assert said.code == 4
    assert "the key is missing or not valid here" in said.err
    assert "hint:" in said.err


def test_a_trainer_hears_who_can(freehold: Any) -> None:
    key = key_in(freehold("people", "add", "tom@example.org", "--role", "trainer", "--project", "claims").out)
    said = freehold("keys", "create", "--project", "claims", key=key)
    assert said.code == 4
    assert "you are trainer" in said.err
    assert "ask someone who is administrator there" in said.err
