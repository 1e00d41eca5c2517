"""The gate: who is asking, may they, and a record of every no."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from freehold.control.signed_in import BoundYes, Gate, NotAllowed
from freehold.errors import NotSignedIn
from freehold.identity import keys
from freehold.policy.decide import Policies
from freehold.spec.principal import SYSTEM, Principal


def request(header: str | None) -> Request:
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    return Request({"type": "http", "headers": headers})


@pytest.fixture
def gate(house: Any) -> Gate:
    return Gate(house.parts)


def signed(house: Any, gate: Gate, *roles: str) -> Principal:
    _, header = house.person("ann@example.org", *roles)
    return gate.signed_in(request(header["authorization"]))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic fhc_x", "fhc_x", "Bearer fhc_x"])
def test_a_request_without_a_key_is_not_signed_in(gate: Gate, header: str | None) -> None:
    with pytest.raises(NotSignedIn) as refused:
        gate.signed_in(request(header))
    assert refused.value.hint


OF_BEN = {"owner": "per_ben", "submitter": "per_ben"}


def test_a_key_of_another_zone_opens_neither_door(house: Any, gate: Gate) -> None:
    border = f"Bearer {house.parts.home.gateway_border.read_text()}"
    control = house.administrator["authorization"]
    assert gate.machine(request(border)).id == "gateway"
    assert gate.signed_in(request(control)).has("administrator", "claims")
    with pytest.raises(NotSignedIn):
        gate.machine(request(control))
    with pytest.raises(NotSignedIn):
        gate.signed_in(request(border))


def test_the_word_bearer_is_read_in_any_case(house: Any, gate: Gate) -> None:
    assert gate.signed_in(request(f"bearer  {house.administrator_key} "))


def test_what_is_allowed_passes_without_an_entry(house: Any, gate: Gate) -> None:
    gate.may(signed(house, gate, "claims/trainer"), "data:add", project="claims")
    assert house.entries("refusal") == []


def test_a_refusal_says_why_names_who_can_and_is_recorded(house: Any, gate: Gate) -> None:
    ann = signed(house, gate, "claims/trainer")
    with pytest.raises(NotAllowed) as refused:
        gate.may(ann, "approve", project="claims", resource="apr_1", facts=OF_BEN)
    assert str(refused.value) == (
        "you may not `approve` in project `claims`\n"
        "  why:  none of your roles there permits it (you are trainer)\n"
        "  hint: ask someone who is approver or model-risk or data-protection there"
    )
    (entry,) = house.entries("refusal")
    body = json.loads(entry["body"])
    assert (entry["actor"], entry["project"], entry["object"]) == (ann.id, "claims", "apr_1")
    assert body["key"] == ann.key
    assert body["detail"] == {"action": "approve", "resource": "apr_1", "reasons": ["no-policy-permits"]}


def test_a_refusal_by_a_forbid_gives_the_policys_own_words(house: Any, gate: Gate) -> None:
    ann = signed(house, gate, "claims/approver")
    with pytest.raises(NotAllowed) as refused:
        gate.may(ann, "approve", project="claims", facts={**OF_BEN, "submitter": ann.id})
    assert "does not decide about it" in refused.value.why
    assert json.loads(house.entries("refusal")[0]["body"])["detail"]["reasons"] == [
        "nobody-approves-their-own"
    ]


def test_a_question_that_forgets_a_fact_is_a_no_that_is_recorded(house: Any, gate: Gate) -> None:
    with pytest.raises(NotAllowed):
        gate.may(signed(house, gate, "claims/approver"), "approve", project="claims")
    assert json.loads(house.entries("refusal")[0]["body"])["detail"]["reasons"] == ["not-a-question"]


@pytest.mark.parametrize("resource", ["ann@example.org", "Anna Müller", "x" * 400, "claims@", "per_1\nx"])
def test_what_a_caller_wrote_does_not_reach_the_ledger_when_it_may_be_a_name(
    house: Any, gate: Gate, resource: str
) -> None:
    trainer = signed(house, gate, "claims/trainer")
    with pytest.raises(NotAllowed):
        gate.may(trainer, "approve", project="claims", resource=resource, facts=OF_BEN)
    (entry,) = house.entries("refusal")
    assert resource not in entry["body"]
    assert entry["object"] == "approve"


def test_a_project_that_no_name_can_be_is_refused_and_left_out(house: Any, gate: Gate) -> None:
    for name in ["Claims " * 30, "a\x00b", "claims/../x"]:
        with pytest.raises(NotAllowed):
            gate.may(Principal(kind="person", id="per_x", zone="control", key="k"), "data:add", project=name)
    assert {entry["project"] for entry in house.entries("refusal")} == {None}


def test_looking_whether_one_would_records_nothing(house: Any, gate: Gate) -> None:
    ann = signed(house, gate, "claims/trainer")
    assert gate.would(ann, "data:add", project="claims")
    assert not gate.would(ann, "data:add", project="motor")
    assert not gate.would(ann, "data:add")
    assert house.entries("refusal") == []


def test_a_yes_with_a_condition_that_nobody_keeps_is_a_no(house: Any, gate: Gate) -> None:
    from importlib.resources import files

    text = Policies.shipped().text.replace('@id("trainers', '@must("mask")\n@id("trainers')
    schema = (files("freehold.policy") / "shipped.cedarschema").read_text()
    gate._policies = Policies.from_text(text, schema)
    ann = signed(house, gate, "claims/trainer")
    with pytest.raises(BoundYes):
        gate.may(ann, "data:add", project="claims")
    assert not gate.would(ann, "data:add", project="claims")
    assert len(house.entries("refusal")) == 1


def test_a_revoked_key_is_refused_at_the_next_request(house: Any, gate: Gate) -> None:
    _, header = house.person("ann@example.org", "claims/trainer")
    who = gate.signed_in(request(header["authorization"]))
    with house.parts.ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=who.key)
    with pytest.raises(NotSignedIn):
        gate.signed_in(request(header["authorization"]))
