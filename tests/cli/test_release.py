"""Approve, roll back, stop, attach and notify as people type them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from receivers import Quiet, listening

from freehold.release import approvals, roll
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Approver, Model, Service
from tests.support.line import waiting


def key(headers: dict[str, str]) -> str:
    return headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
def people(house: Any) -> dict[str, str]:
    """name -> key."""
    roles = {
        "ann": "claims/model-risk",
        "bob": "claims/data-protection",
        "olga": "claims/operator",
        "otto": "claims/operator",
        "tim": "claims/trainer",
    }
    return {name: key(house.person(f"{name}@example.org", role)[1]) for name, role in roles.items()}


@pytest.fixture
def candidate(house: Any) -> Callable[[str], tuple[str, ...]]:
    """A candidate that waits for two people; returns the approvals' ids."""
    ground = house.parts.ground
    service = Service(
        service="claims-triage",
        project="claims",
        owner="claims-team@example.org",
        purpose="claims-handling",
        sensitivity="Internal",
        model=Model(data="claims@1", task="classify"),
        approve=(Approver(role="model-risk"), Approver(role="data-protection")),
    )

    return lambda content: waiting(ground, service, content, submitter="per_tim")


@pytest.fixture
def live(
    house: Any, people: dict[str, str], freehold: Any, candidate: Callable[[str], tuple[str, ...]]
) -> Callable[[str], None]:
    """Approves a candidate on the command line, and releases it as the journey would."""
    ground = house.parts.ground

    def make(content: str) -> None:
        for id, name in zip(candidate(content), ("ann", "bob"), strict=True):
            assert freehold("approve", "give", id, key=people[name]).code == 0
        with ground.db.write() as tx:
            model = approvals.find(tx.connection, id, tx.at).model
            roll.release(tx, ground, by=SYSTEM, service="claims-triage", model=model)

    return make


def test_what_waits_is_seen_shown_and_given(
    freehold: Any, people: dict[str, str], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, protection = candidate("one")
    listed = freehold("approve", key=people["ann"])
    assert listed.code == 0
    assert risk in listed.out
    assert "you may decide" in listed.out
    shown = freehold("approve", "show", risk, key=people["ann"]).out
    assert "others    data-protection waiting" in shown
    given = freehold("approve", "give", risk, "--because", "fine", key=people["ann"])
    assert given.out == (
        "claims-triage@1 for claims-triage: model-risk given; still waits for data-protection\n"
    )
    done = freehold("approve", "give", protection, key=people["bob"]).out
    assert "all approvals are there, the release begins" in done
    every = json.loads(freehold("approve", "list", "--all", "--json", key=people["bob"]).out)
    assert {a["state"] for a in every} == {"given"}


def test_the_one_that_waits_for_you_is_named_by_its_service(
    freehold: Any, people: dict[str, str], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, _ = candidate("one")
    assert freehold("approve", "show", "claims-triage", key=people["ann"]).out.startswith(
        f"{risk} is waiting"
    )
    nobody = freehold("approve", "give", "claims-triage", key=people["tim"])
    assert nobody.code == 3
    assert "it asks for the role model-risk in claims" in nobody.err
    assert freehold("approve", "give", "claims-triage", key=people["ann"]).code == 0
    assert freehold("approve", "give", "claims-triage", key=people["ann"]).code == 3
    assert freehold("approve", "give", "nothing", key=people["ann"]).code == 3


def test_approving_twice_or_without_the_role_leaves_with_its_own_code(
    freehold: Any, people: dict[str, str], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, _ = candidate("one")
    assert freehold("approve", "give", risk, key=people["bob"]).code == 4
    assert freehold("approve", "give", risk, key=people["ann"]).code == 0
    twice = freehold("approve", "give", risk, key=people["ann"])
    assert twice.code == 5
    assert "is decided already" in twice.err
    assert freehold("approve", "give", "apr_none", key=people["ann"]).code == 3


def test_a_refusal_needs_its_reason_and_says_what_follows(
    freehold: Any, people: dict[str, str], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, protection = candidate("one")
    assert freehold("approve", "refuse", risk, key=people["ann"]).code == 2
    refused = freehold("approve", "refuse", risk, "--because", "too risky", key=people["ann"])
    assert refused.out.endswith("model-risk refused; the model is held\n")
    assert freehold("approve", "give", protection, key=people["bob"]).code == 5


def test_rollback_shows_its_plan_then_does_it_with_a_reason(
    freehold: Any, people: dict[str, str], live: Callable[[str], None]
) -> None:
    live("one")
    nothing = freehold("rollback", "claims-triage", "--because", "x", key=people["olga"])
    assert nothing.code == 5
    assert "this is its first one" in nothing.err
    live("two")
    plan = freehold("rollback", "claims-triage", "--plan", key=people["olga"]).out
    assert "would go back from claims-triage@2 to claims-triage@1" in plan
    assert freehold("rollback", "claims-triage", key=people["olga"]).code == 2
    done = freehold("rollback", "claims-triage", "--because", "wrong", key=people["olga"])
    assert done.out == "claims-triage answers with claims-triage@1 again; every gateway has heard\n"


def test_stop_and_resume_by_two_people(
    freehold: Any, people: dict[str, str], live: Callable[[str], None]
) -> None:
    live("one")
    assert freehold("stop", "nothing", "--because", "x", key=people["olga"]).code == 3
    assert freehold("stop", "claims-triage", "--because", "x", key=people["tim"]).code == 4
    stopped = freehold("stop", "claims-triage", "--because", "it insults people", key=people["olga"])
    assert stopped.out.startswith("claims-triage is stopped; every gateway has heard\n")
    assert freehold("stop", "claims-triage", "--because", "x", key=people["olga"]).code == 5
    assert freehold("resume", "claims-triage", key=people["olga"]).code == 4
    assert freehold("resume", "claims-triage", key=people["otto"]).out.startswith(
        "claims-triage answers again"
    )


# -- attach -----------------------------------------------------------------------------------------


class Server:
    """A model server as far as `attach` looks at it."""

    def __init__(self) -> None:
        self.url = ""
        self.models = ["tiny-1b"]
        self.needs = ""
        self.seen: list[str] = []


@pytest.fixture
def server() -> Iterator[Server]:
    said = Server()

    class Answer(Quiet):
        def do_GET(self) -> None:
            said.seen.append(f"{self.path} {self.headers.get('authorization', '')}".strip())
            refused = said.needs and self.headers.get("authorization") != f"Bearer {said.needs}"
            body = json.dumps({"data": [{"id": name} for name in said.models]}).encode()
            self.send_response(401 if refused else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Answer) as said.url:
        yield said


TO = ("--as", "claims-chat", "--project", "claims", "--purpose", "claims-handling")


def test_attach_asks_the_server_for_its_only_model(
    freehold: Any, people: dict[str, str], server: Server
) -> None:
    done = freehold("attach", server.url, *TO, key=people["olga"])
    assert done.code == 0, done.err
    assert done.out.startswith(f"claims-chat asks tiny-1b at {server.url}/v1; every gateway has heard\n")
    assert server.seen == ["/v1/models"]


def test_several_models_are_listed_and_one_is_to_be_named(
    freehold: Any, people: dict[str, str], server: Server
) -> None:
    server.models = ["tiny-1b", "large-70b"]
    wrong = freehold("attach", server.url, *TO, key=people["olga"])
    assert wrong.code == 2
    assert "tiny-1b, large-70b" in wrong.err
    assert "--model NAME" in wrong.err
    assert freehold("attach", server.url, *TO, "--model", "large-70b", key=people["olga"]).code == 0


def test_the_providers_key_comes_from_the_environment_and_shows_up_nowhere(
    freehold: Any, people: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.needs = "sk-secret"
    refused = freehold("attach", server.url, *TO, key=people["olga"])
    assert (refused.code, "--key-from" in refused.err) == (2, True)
    missing = freehold("attach", server.url, *TO, "--key-from", "NO_SUCH_KEY", key=people["olga"])
    assert missing.code == 2
    assert "`NO_SUCH_KEY` is not set" in missing.err
    monkeypatch.setenv("PROVIDER_KEY", "sk-secret")
    done = freehold("attach", server.url, *TO, "--key-from", "PROVIDER_KEY", key=people["olga"])
    assert done.code == 0
    assert "sk-secret" not in done.out + done.err


@pytest.mark.parametrize("key", ["sk-secret\nsk-older", "sk secret", "sk-sécret"])
def test_a_providers_key_that_no_header_carries_is_told_and_not_shown(
    freehold: Any, people: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", key)
    wrong = freehold("attach", server.url, *TO, "--key-from", "PROVIDER_KEY", key=people["olga"])
    assert wrong.code == 2
    assert wrong.err.startswith("freehold: the provider's key cannot be used\n  why:  it holds blanks")
    assert "cret" not in wrong.err
    assert server.seen == []


def test_the_key_does_not_leave_for_an_address_that_is_refused(
    freehold: Any, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "sk-secret")
    wrong = freehold("attach", "http://example.com/v1", *TO, "--key-from", "PROVIDER_KEY", key=people["olga"])
    assert wrong.code == 2
    assert "reads along" in wrong.err


def test_a_server_that_is_away_is_told_with_what_to_do(freehold: Any, people: dict[str, str]) -> None:
    away = freehold("attach", "http://127.0.0.1:1", *TO, key=people["olga"])
    assert away.code == 9
    assert "does not answer" in away.err


def test_attach_shows_its_plan_and_an_expired_contract_ends_it(
    freehold: Any, people: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "contract.yaml"
    words = (
        "party: Example AI\nuntil: {}\npurposes: [claims-handling]\nregions: [eu]\nsensitivity: Internal\n"
    )
    file.write_text(words.format("2030-12-31"))
    common = ("https://api.example.com/v1", *TO, "--model", "m", "--region", "eu", "--contract", str(file))
    plan = freehold("attach", *common, "--plan", key=people["olga"])
    assert "contract  Example AI until 2030-12-31" in plan.out
    assert "claims-chat would be attached" in plan.out
    file.write_text(words.format("2020-12-31"))
    ended = freehold("attach", *common, key=people["olga"])
    assert ended.code == 4
    assert "it ended on 2020-12-31" in ended.err


def test_what_a_service_has_to_keep_is_planned_declared_and_told(
    freehold: Any, people: dict[str, str]
) -> None:
    common = ("attach", "http://127.0.0.1:8000", *TO, "--model", "m", "--objective")
    wrong = freehold(*common, "99.5% good", key=people["olga"])
    assert (wrong.code, "`99.5% good` is not an objective" in wrong.err) == (2, True)
    common = (*common, "99.5% answered", "--objective", "95% within 2s over 7d")
    plan = freehold(*common, "--plan", key=people["olga"])
    assert "keeps     99.5% answered, 95% within 2s over 7d\n" in plan.out
    assert freehold(*common, key=people["olga"]).code == 0
    told = freehold("status", "claims-chat", key=people["olga"]).out
    assert "objective                state       reached  counted  budget left  pace" in told
    assert "95% within 2s over 7d    no verdict  –        0        –            –" in told
    assert "pace: how fast" not in told, "nothing was asked"
    told = json.loads(freehold("status", "claims-chat", "--json", key=people["olga"]).out)
    assert [one["state"] for one in told["objectives"]] == ["no verdict", "no verdict"]


def test_attach_shows_who_alone_vouches_for_it(freehold: Any, people: dict[str, str], tmp_path: Path) -> None:
    common = ("attach", "https://api.example.com/v1", *TO, "--model", "m", "--plan")
    vouches = Authority(tmp_path / "theirs").ca
    plan = freehold(*common, "--provider-ca", str(vouches), key=people["olga"])
    assert "vouched   by the certificates of `--provider-ca` alone, sha256:" in plan.out
    assert "vouched" not in freehold(*common, key=people["olga"]).out
    vouches.write_text("nothing")
    wrong = freehold(*common, "--provider-ca", str(vouches), key=people["olga"])
    assert (wrong.code, "there is no certificate in it" in wrong.err) == (2, True)


def test_attach_twice_is_told_how_to_change_it(freehold: Any, people: dict[str, str]) -> None:
    once = ("attach", "http://127.0.0.1:8000", *TO, "--model", "m")
    assert freehold(*once, key=people["olga"]).code == 0
    twice = freehold(*once, key=people["olga"])
    assert (twice.code, "--replace" in twice.err) == (5, True)
    assert freehold(*once, "--replace", key=people["olga"]).code == 0


# -- notices ----------------------------------------------------------------------------------------


def test_an_administrator_says_where_notices_go(
    freehold: Any, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert freehold("notify", "webhook", "https://hooks.example.com/x", key=people["olga"]).code == 4
    added = freehold("notify", "webhook", "https://hooks.example.com/x")
    assert added.out.endswith("notices go to https://hooks.example.com, signed with ed25519\n")
    assert freehold("notify", "webhook", "https://hooks.example.com/x").code == 5
    monkeypatch.setenv("HOOK_SECRET", "a secret of sufficient length")
    assert (
        "hmac" in freehold("notify", "webhook", "https://b.example.com", "--secret-from", "HOOK_SECRET").out
    )
    listed = freehold("notify")
    assert "whpk_" in listed.out
    assert freehold("notify", "mail").code == 2
    assert freehold("notify", "remove", "ntc_none").code == 3
    (first, *_) = json.loads(freehold("notify", "list", "--json").out)["channels"]
    assert freehold("notify", "remove", first["id"]).code == 0
