"""Who may do what, as one table; and the three ways to a no."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.policy.decide import (
    FAILED,
    NEEDED,
    NOBODY,
    UNFIT,
    Action,
    BadPolicy,
    Decision,
    Policies,
    Question,
    _shipped,
)
from freehold.spec.principal import APPROVER_ROLES, INSTALLATION, ROLES, SYSTEM, Principal

POLICIES = Policies.shipped()
MACHINE_ACTIONS = {"snapshot:read", "spool:send", "gateway:report", "model:fetch", "job:work"}
PEOPLE_ACTIONS = set(get_args(Action)) - MACHINE_ACTIONS

_DECIDES = "project:read data:read run:read service:read answer:read approve"
MAY = {
    "administrator": "person:read person:manage project:read project:manage key:read key:create key:renew "
    "key:revoke incident:read incident:change "
    "run:read service:read service:attach ledger:read export:make notice:configure keyring:rotate",
    "trainer": "project:read data:read data:add train:submit run:read service:read answer:read",
    "approver": _DECIDES,
    "model-risk": _DECIDES,
    "data-protection": f"{_DECIDES} consent:change subject:read subject:forget subject:readmit "
    "retention:set hold:change",
    "operator": "project:read key:read run:read service:read answer:read "
    "service:attach service:stop service:resume release:rollback incident:read incident:change",
    "auditor": "person:read project:read key:read data:read run:read service:read answer:read ledger:read "
    "incident:read",
}


def person(*roles: tuple[str, str], id: str = "per_ann") -> Principal:
    return Principal(kind="person", id=id, zone="control", key="key_a", roles=frozenset(roles))


def machine(name: str) -> Principal:
    return Principal(kind="machine", id=name, zone="border", key="key_m")


def ask(who: Principal, action: str, project: str = "claims", **facts: str) -> Decision:
    """Decide, with the facts the action needs about nobody in particular, unless `facts` says more."""
    given = {**dict.fromkeys(NEEDED.get(action, ()), ""), **facts}
    return POLICIES.decide(Question(principal=who, action=action, project=project, facts=given))


def test_the_table_names_every_role() -> None:
    assert set(MAY) == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", sorted(PEOPLE_ACTIONS))
def test_each_role_may_do_exactly_what_the_table_says(role: str, action: str) -> None:
    assert ask(person(("claims", role)), action).allowed is (action in MAY[role].split())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", sorted(PEOPLE_ACTIONS))
def test_a_role_in_one_project_says_nothing_about_another(role: str, action: str) -> None:
    assert ask(person(("claims", role)), action, project="motor").because == (NOBODY,)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", sorted(PEOPLE_ACTIONS))
def test_a_role_in_one_project_says_nothing_about_the_installation(role: str, action: str) -> None:
    assert not ask(person(("claims", role)), action, project=INSTALLATION).allowed


@pytest.mark.parametrize("role", ROLES)
def test_a_role_in_the_installation_holds_in_every_project(role: str) -> None:
    for action in MAY[role].split():
        assert ask(person((INSTALLATION, role)), action, project="motor").allowed


@given(
    held=st.frozensets(st.tuples(st.sampled_from(["claims", "motor", "*"]), st.sampled_from(ROLES))),
    project=st.sampled_from(["claims", "motor", "fleet", "*"]),
    action=st.sampled_from(sorted(PEOPLE_ACTIONS)),
)
def test_roles_add_up_and_nothing_else_does(
    held: frozenset[tuple[str, str]], project: str, action: str
) -> None:
    expected = any(p in (project, INSTALLATION) and action in MAY[role].split() for p, role in held)
    assert ask(person(*held), action, project=project).allowed is expected


@pytest.mark.parametrize("action", sorted(PEOPLE_ACTIONS))
def test_someone_without_a_role_may_nothing(action: str) -> None:
    assert ask(person(), action).because == (NOBODY,)


@pytest.mark.parametrize("action", sorted(MACHINE_ACTIONS))
def test_machines_have_one_job_each(action: str) -> None:
    assert ask(machine("gateway"), action, INSTALLATION).allowed is (action != "job:work")
    assert ask(machine("worker"), action, INSTALLATION).allowed is (action == "job:work")
    assert not ask(machine("engine"), action, INSTALLATION).allowed


@pytest.mark.parametrize("action", sorted(PEOPLE_ACTIONS))
@pytest.mark.parametrize("who", [machine("gateway"), machine("worker"), SYSTEM])
def test_a_machine_may_nothing_that_people_do(who: Principal, action: str) -> None:
    assert not ask(who, action, INSTALLATION).allowed


def test_a_service_key_may_nothing_at_control() -> None:
    key = Principal(kind="service", id="key_s", zone="serving", key="key_s")
    assert all(ask(key, action).because == (UNFIT,) for action in get_args(Action))


# -- separation of duties


def test_an_administrator_neither_trains_nor_approves() -> None:
    root = person((INSTALLATION, "administrator"))
    assert not ask(root, "approve").allowed
    assert not ask(root, "train:submit").allowed
    assert not ask(root, "data:read").allowed


def test_nobody_changes_their_own_roles() -> None:
    root = person((INSTALLATION, "administrator"))
    assert ask(root, "person:manage", INSTALLATION, person="per_ben").allowed
    assert ask(root, "person:manage", INSTALLATION, person="per_ann").because == (
        "nobody-changes-their-own-roles",
    )


@pytest.mark.parametrize("role", sorted(APPROVER_ROLES))
@pytest.mark.parametrize("part", ["owner", "submitter"])
def test_nobody_approves_what_they_own_or_submitted(role: str, part: str) -> None:
    ann = person(("claims", role), ("claims", "administrator"), ("claims", "trainer"))
    assert ask(ann, "approve", **{part: "per_ben"}).allowed
    assert ask(ann, "approve", **{part: "per_ann"}).because == ("nobody-approves-their-own",)


def test_whoever_stopped_a_service_does_not_resume_it() -> None:
    operator = person(("claims", "operator"))
    assert ask(operator, "service:resume", stopped_by="per_ben").allowed
    assert ask(operator, "service:resume", stopped_by="per_ann").because == ("another-person-resumes",)


def test_whoever_answers_for_a_key_does_not_free_it() -> None:
    operator = person(("claims", "operator"), ("claims", "administrator"))
    assert ask(operator, "incident:change", owner="per_ben").allowed
    assert ask(operator, "incident:change", owner="").allowed, "of a token's holder"
    assert ask(operator, "incident:change", owner="per_ann").because == ("another-person-frees-a-key",)


@pytest.mark.parametrize(
    ("action", "missing"), [(action, fact) for action, facts in NEEDED.items() for fact in facts]
)
def test_a_forbid_whose_fact_is_missing_is_a_no(action: str, missing: str) -> None:
    everything = person(*((INSTALLATION, role) for role in ROLES))
    facts = dict.fromkeys(NEEDED[action], "per_ben")
    whole = Question(principal=everything, action=action, project="claims", facts=facts)
    assert POLICIES.decide(whole).allowed
    del facts[missing]
    lacking = Question(principal=everything, action=action, project="claims", facts=facts)
    assert POLICIES.decide(lacking) == Decision(allowed=False, because=(UNFIT,))


def test_the_code_knows_every_fact_that_the_shipped_forbids_look_at() -> None:
    text = (files("freehold.policy") / "shipped.cedar").read_text()
    forbids = re.findall(r"forbid \(.*?;", text, re.DOTALL)
    assert len(forbids) == 4
    for forbid in forbids:
        action = re.search(r'Action::"([a-z:]+)"', forbid)
        assert action
        assert set(re.findall(r"context\.(\w+)", forbid)) == set(NEEDED[action[1]])


def test_everyone_may_make_control_keys_of_their_own_and_no_others() -> None:
    assert ask(person(), "key:create", owner="per_ann", zone="control").because == ("your-own-key",)
    assert not ask(person(), "key:create", owner="per_ann", zone="serving").allowed
    assert not ask(person(), "key:create", owner="per_ben", zone="control").allowed
    assert not ask(person(), "key:create").allowed


def test_whoever_answers_for_a_key_renews_it_when_an_incident_asks_for_it() -> None:
    asked = {"zone": "serving", "held": "renew"}
    assert ask(person(), "key:renew", owner="per_ann", **asked).because == ("your-own-key-renewed",)
    assert not ask(person(), "key:renew", owner="per_ann", zone="serving").allowed
    assert not ask(person(), "key:renew", owner="per_ann", zone="serving", held="").allowed
    assert not ask(person(), "key:renew", owner="per_ben", **asked).allowed


# -- the ways to a no

SCHEMA = """
entity Person = { id: String, roles: Set<{ project: String, role: String }> };
entity Project = { name: String };
action "look" appliesTo { principal: [Person], resource: [Project], context: { resource: String, n?: Long } };
"""
ANYONE = '@id("anyone-looks")\npermit (principal, action == Action::"look", resource);\n'


def test_a_forbid_that_fails_counts_as_a_no_where_cedar_itself_says_yes() -> None:
    failing = (
        '@id("breaks") forbid (principal, action, resource) '
        'when { context.resource == "deep" && 9223372036854775807 + context.resource.size > 1 };'
    )
    overflow = (
        '@id("breaks")\nforbid (principal, action, resource) when { '
        "(if principal.roles.isEmpty() then 9223372036854775807 else 1) + 1 > 9 };"
    )
    with pytest.raises(BadPolicy):
        Policies.from_text(ANYONE + failing, SCHEMA)  # what the schema can see is refused beforehand
    policies = Policies.from_text(ANYONE + overflow, SCHEMA)
    alone = cedarpy.is_authorized(
        {"principal": 'Person::"a"', "action": 'Action::"look"', "resource": 'Project::"claims"'},
        ANYONE + overflow,
        [{"uid": {"type": "Person", "id": "a"}, "attrs": {"id": "a", "roles": []}, "parents": []}],
    )
    assert alone.allowed, "cedar skips a forbid that fails: that is why we look at its errors"
    question = Question(principal=person(), action="look", project="claims")
    assert policies.decide(question) == Decision(allowed=False, because=(FAILED,))
    fine = Question(principal=person(("claims", "trainer")), action="look", project="claims")
    assert policies.decide(fine).allowed


def test_a_yes_names_its_policy_and_what_it_is_bound_to() -> None:
    bound = ANYONE.replace("permit", '@must("mask log")\npermit')
    decision = Policies.from_text(bound, SCHEMA).decide(
        Question(principal=person(), action="look", project="claims")
    )
    assert decision == Decision(allowed=True, because=("anyone-looks",), must=("log", "mask"))


@pytest.mark.parametrize(
    ("action", "facts"),
    [
        ("look", {"typo": "x"}),
        ("see", {}),
        ("look", {"n": "not a number"}),
        ("look", {"resource\udc80": "x"}),
    ],
)
def test_a_question_the_schema_does_not_know_is_a_no(action: str, facts: dict[str, str]) -> None:
    policies = Policies.from_text(ANYONE, SCHEMA)
    question = Question(principal=person(), action=action, project="claims", facts=facts)
    assert policies.decide(question).because == (UNFIT,)


def test_odd_names_are_data_and_never_syntax() -> None:
    for name in ['x", role: "trainer', "a\nb", "’–ü", "", "*\x00"]:
        assert not ask(person((name, "trainer")), "data:add", project="claims").allowed
        assert ask(person((name, "trainer")), "data:add", project=name).allowed


# -- what is refused when policies are read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ANYONE.replace("resource);", "resource) when { principal.rolez.isEmpty() };"), "rolez"),
        (ANYONE.replace('"look"', '"lok"'), "lok"),
        (ANYONE.replace("permit", "permitt"), "permitt"),
        (ANYONE.replace("(principal,", "(principal == Persn::'x',"), ""),
        ("permit (principal, action, resource);", "@id"),
        (ANYONE + ANYONE, "@id"),
        (ANYONE.replace("(principal,", "(principal == ?principal,"), "slots"),
        (
            ANYONE
            + '@id("small") forbid (principal, action, resource) when { context has n && context.n > 9 };',
            "in silence",
        ),
    ],
)
def test_a_mistake_in_a_policy_is_refused_when_it_is_read(text: str, says: str) -> None:
    with pytest.raises(BadPolicy) as refused:
        Policies.from_text(text, SCHEMA)
    assert says in refused.value.why


def test_a_broken_schema_is_refused() -> None:
    with pytest.raises(BadPolicy):
        Policies.from_text(ANYONE, SCHEMA.replace("entity Person", "entty Person"))


def test_the_code_and_the_schema_know_the_same_actions() -> None:
    schema = (files("freehold.policy") / "shipped.cedarschema").read_text()
    assert set(re.findall(r'"([a-z:]+)"', schema)) == set(get_args(Action))


def test_every_reason_has_words() -> None:
    for role in ROLES:
        for action in PEOPLE_ACTIONS:
            for reason in ask(person(("claims", role)), action).because:
                assert " " in POLICIES.words(reason)


def test_the_roles_that_may_are_found_by_asking() -> None:
    assert POLICIES.roles_for("approve", "claims") == ("approver", "model-risk", "data-protection")
    assert POLICIES.roles_for("job:work", "claims") == ()


def test_the_shipped_policies_are_read_once() -> None:
    assert Policies.shipped() is Policies.shipped()
    assert _shipped.cache_info().currsize == 1
