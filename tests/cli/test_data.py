"""`freehold data` as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

INBOX = """id,text,class,age,consent
anna-k,there is water in my kitchen,property,34,yes
bob,"my car was hit,
twice",motor,51,claims-handling
cleo,write to me at cleo@example.org,other,70,withdrawn
dan,a stone broke my window,property,44,no
"""
SAID = [
    "--project=claims",
    "--purpose=claims-handling",
    "--basis=consent",
    "--sensitivity=Confidential",
    "--owner=claims-platform",
    "--keep=3y",
    "--region=eu",
    "--subject=id",
    "--consent-from=consent",
    "--target=class",
]


@pytest.fixture
def trainer(house: Any) -> str:
    """The key of someone who may add data."""
    return _key_of(house, "tom@example.org", "claims/trainer")


@pytest.fixture
def protector(house: Any) -> str:
    """The key of someone who may write down consents."""
    return _key_of(house, "dora@example.org", "claims/data-protection")


def _key_of(house: Any, email: str, role: str) -> str:
    _, headers = house.person(email, role)
    return str(headers["authorization"].removeprefix("Bearer "))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    file = tmp_path / "inbox.csv"
    file.write_text(INBOX)
    return file


def test_a_file_is_added_with_its_types_and_what_was_left_out(
    freehold: Any, trainer: str, inbox: Path
) -> None:
    said = freehold("data", "add", str(inbox), *SAID, key=trainer)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == (
        "inbox@1 added: 2 rows · 1 left out: consent withdrawn · 1 left out: no consent for claims-handling"
    )
    assert lines[1].startswith("digest sha256:")
    assert "age      integer      0" in lines


def test_the_same_file_is_no_new_version(freehold: Any, trainer: str, inbox: Path) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    said = freehold("data", "add", str(inbox), *SAID, key=trainer)
    assert said.code == 0
    assert said.out.startswith("these rows are inbox@1 already, nothing was added")


def test_a_changed_row_is_version_two_and_diff_shows_it(freehold: Any, trainer: str, inbox: Path) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    inbox.write_text(INBOX.replace("34", "35"))
    assert freehold("data", "add", str(inbox), "--project", "claims", key=trainer).out.startswith(
        "inbox@2 added"
    )
    said = freehold("data", "diff", "inbox@1", "inbox@2", key=trainer)
    assert said.out.splitlines() == [
        "inbox@1 → inbox@2: 2 → 2 rows",
        "changed 1 · added 0 · removed 0",
        "row 1 → 1: age",
    ]
    assert "nothing differs" in freehold("data", "diff", "inbox@1", "inbox@1", key=trainer).out


def test_a_plan_adds_nothing(freehold: Any, trainer: str, inbox: Path) -> None:
    said = freehold("data", "add", str(inbox), *SAID, "--plan", key=trainer)
    assert said.out.startswith("inbox@1 would be added: 2 rows")
    assert freehold("data", "list", key=trainer).out == "(none)\n"


def test_list_and_show(freehold: Any, trainer: str, inbox: Path) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    assert (
        "inbox@1  claims      2  claims-handling  consent  Confidential"
        in freehold("data", "list", "--project", "claims", key=trainer).out
    )
    shown = freehold("data", "show", "inbox@1", key=trainer).out
    for line in ("purposes     claims-handling", "subject      id", "target       class", "regions      eu"):
        assert line in shown.splitlines()
    told = json.loads(freehold("data", "show", "inbox@1", "--json", key=trainer).out)
    assert told["columns"][3] == {"name": "age", "type": "integer", "empty": 0, "looks": []}


def test_what_looks_personal_is_shown_and_noted(freehold: Any, trainer: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("email,text\nann@example.org,hello\n")
    asked = [word for word in SAID if not word.startswith(("--subject", "--consent", "--target", "--basis"))]
    said = freehold("data", "add", str(file), *asked, "--basis=contract", key=trainer)
    assert "email   text      0  e-mail in 1 cells" in said.out
    assert "note: email looks personal, and no --subject says whom a row is about" in said.out


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--subject=idd"], 2, "did you mean `id`?"),
        (["--basis=because"], 2, "legitimate-interest"),
        (["--sensitivity=Secret"], 2, "Public, Internal, Confidential, Restricted"),
        (["--keep=long"], 2, "`3y`, `18m`"),
        (["--name=In Box"], 2, "try `in-box`"),
        (["--type=age"], 2, "--type age=text"),
        (["--type=age=date"], 2, "types are text, integer, number, boolean"),
        (["--project=motor"], 4, "ask someone who is trainer there"),
        (["--format=parquet"], 2, "cannot be read as Parquet"),
    ],
)
def test_each_mistake_is_told_with_a_way_out(
    freehold: Any, trainer: str, inbox: Path, change: list[str], code: int, words: str
) -> None:
    said = freehold("data", "add", str(inbox), *SAID, *change, key=trainer)
    assert said.code == code
    assert words in said.err


def test_broken_rows_are_told_by_line(freehold: Any, trainer: str, inbox: Path) -> None:
    inbox.write_text(INBOX + "eve,too,few\n")
    said = freehold("data", "add", str(inbox), *SAID, key=trainer)
    assert said.code == 2
    assert "line 7: 3 cells instead of 5" in said.err
    allowed = freehold("data", "add", str(inbox), *SAID, "--allow-bad-rows", "1", key=trainer)
    assert "1 left out: broken" in allowed.out
    assert "broken: line 7: 3 cells instead of 5" in allowed.out


def test_a_new_data_set_says_what_it_still_needs(freehold: Any, trainer: str, inbox: Path) -> None:
    said = freehold("data", "add", str(inbox), "--project=claims", "--purpose=claims-handling", key=trainer)
    assert said.code == 2
    assert "a new data set needs --basis, --sensitivity, --owner, --keep, --region" in said.err


def test_a_file_whose_name_says_nothing(freehold: Any, trainer: str, tmp_path: Path) -> None:
    (tmp_path / "inbox.xlsx").write_bytes(b"PK\x03\x04")
    said = freehold("data", "add", str(tmp_path / "inbox.xlsx"), *SAID, key=trainer)
    assert (said.code, "`--format csv`" in said.err) == (2, True)
    assert freehold("data", "add", str(tmp_path / "nothing.csv"), *SAID, key=trainer).code == 2


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["show", "inbox"], 2, "write `inbox@1`"),
        (["show", "inbox@9"], 3, "freehold data list"),
        (["diff", "inbox@1", "inbox@9"], 3, "freehold data list"),
        (["list", "--project", "motor"], 4, "ask someone"),
    ],
)
def test_what_is_not_there_is_told(
    freehold: Any, trainer: str, inbox: Path, words: list[str], code: int, hint: str
) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    said = freehold("data", *words, key=trainer)
    assert said.code == code
    assert hint in said.err


def test_consent_is_withdrawn_and_given_again(
    freehold: Any, trainer: str, protector: str, inbox: Path
) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    about = ("claims", "anna-k", "--purpose", "claims-handling")
    said = freehold("data", "withdraw", *about, key=protector)
    assert said.out.splitlines() == [
        "consent for claims-handling withdrawn",
        "about them: 1 row in inbox@1",
        "training leaves these rows out from now on; requests about them for it are refused",
    ]
    assert "as it was already" in freehold("data", "withdraw", *about, key=protector).out
    assert "consent for claims-handling given\n" in freehold("data", "consent", *about, key=protector).out


@pytest.mark.parametrize("command", ["withdraw", "consent"])
def test_a_purpose_nobody_has_or_a_role_that_may_not_is_told(
    freehold: Any, trainer: str, protector: str, inbox: Path, command: str
) -> None:
    freehold("data", "add", str(inbox), *SAID, key=trainer)
    wrong = freehold("data", command, "claims", "anna-k", "--purpose", "claim-handling", key=protector)
    assert (wrong.code, "its purposes are: claims-handling" in wrong.err) == (2, True)
    refused = freehold("data", command, "claims", "anna-k", "--purpose", "claims-handling", key=trainer)
    assert (refused.code, "data-protection" in refused.err) == (4, True)
