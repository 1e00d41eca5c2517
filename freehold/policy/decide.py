"""May they? A pure function from a Question to a Decision, over Cedar policies.

A question carries every fact its rules need, so deciding reads nothing else and is tested in tables.
Four things make a no: no policy permits it, a policy forbids it, a policy fails, or a fact is missing
that a `forbid` looks at. Cedar itself skips a `forbid` that fails; here a guard that breaks blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import cedarpy

from freehold.errors import BadInput
from freehold.spec.principal import ROLES, Principal

Action = Literal[
    "person:read",
    "person:manage",
    "project:read",
    "project:manage",
    "key:read",
    "key:create",
    "key:renew",
    "key:revoke",
    "data:read",
    "data:add",
    "consent:change",
    "subject:read",
    "subject:forget",
    "subject:readmit",
    "retention:set",
    "hold:change",
    "train:submit",
    "run:read",
    "approve",
    "release:rollback",
    "service:read",
    "service:attach",
    "service:stop",
    "service:resume",
    "answer:read",
    "incident:read",
    "incident:change",
    "ledger:read",
    "export:make",
    "notice:configure",
    "keyring:rotate",
    "snapshot:read",
    "spool:send",
    "gateway:report",
    "model:fetch",
    "job:work",
]
"""What the shipped schema knows; a test holds the two lists equal."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "approve": ("owner", "submitter"),
    "incident:change": ("owner",),
    "person:manage": ("person",),
    "service:resume": ("stopped_by",),
}
"""The facts without which a question does not fit, because a `forbid` looks at them."""

NOBODY = "no-policy-permits"
"""The reason of a no that no policy spoke: what is not permitted is refused."""
FAILED = "a-policy-failed"
"""The reason of a no because a policy could not be evaluated."""
UNFIT = "not-a-question"
"""The reason of a no because the schema does not know such a principal, action or fact, or misses one."""

_WORDS = {
    NOBODY: "no policy permits it",
    FAILED: "a policy could not be evaluated, and a guard that fails says no",
    UNFIT: "the policies' schema does not know this question",
}
_ENTITY = {"person": "Person", "machine": "Machine", "service": "Service"}


class BadPolicy(BadInput):
    """the policies cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May `principal` do `action` in `project`, about `resource`?"""

    principal: Principal
    action: str
    project: str
    """A project's name, or `*` for what concerns the whole installation."""
    resource: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the rules need to know beyond the principal: ids, by the names in the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A yes or no that can be logged, shown and contested."""

    allowed: bool
    because: tuple[str, ...]
    """The ids of the policies that decided, or NOBODY, FAILED, UNFIT."""
    must: tuple[str, ...] = ()
    """What the yes is bound to: the `@must` words of the policies that permitted it."""


class Policies:
    """Policies read and checked once; decisions then cost some tens of microseconds."""

    def __init__(self, text: str, schema: str) -> None:
        self.text = text
        self._schema = _read(cedarpy.Schema.from_str, schema)
        _validate(text, self._schema)
        self._set = _read(cedarpy.PolicySet.from_str, text)
        self._notes = _annotations(text)

    @classmethod
    def from_text(cls, cedar: str, schema: str) -> Policies:
        """Read policies in Cedar's text form against a schema in Cedar's text form.

        Raises BadPolicy for a word the schema does not know, a policy without an `@id`, or two with
        the same.
        """
        return cls(cedar, schema)

    @classmethod
    def shipped(cls) -> Policies:
        """The policies this release comes with."""
        return _shipped()

    def decide(self, question: Question) -> Decision:
        """Yes or no, and by which policies. Never raises: whatever goes wrong is a no."""
        try:
            result = cedarpy.is_authorized(_request(question), self._set, _entities(question), self._schema)
        except (TypeError, ValueError):  # a word that is no text, such as half of a surrogate pair
            return Decision(allowed=False, because=(UNFIT,))
        if result.decision is cedarpy.Decision.NoDecision:
            return Decision(allowed=False, because=(UNFIT,))
        if result.diagnostics.errors:
            return Decision(allowed=False, because=(FAILED,))
        spoke = tuple(sorted(self._notes[policy]["id"] for policy in result.diagnostics.reasons))
        if not result.allowed:
            return Decision(allowed=False, because=spoke or (NOBODY,))
        return Decision(allowed=True, because=spoke, must=self._musts(result.diagnostics.reasons))

    def in_principle(self, principal: Principal, action: str, project: str) -> Decision:
        """Whether `principal` may where it is nobody's own: for hints and lists, never for doing it."""
        facts = dict.fromkeys(NEEDED.get(action, ()), "")
        return self.decide(Question(principal=principal, action=action, project=project, facts=facts))

    def _musts(self, spoke: list[str]) -> tuple[str, ...]:
        words = {word for policy in spoke for word in self._notes[policy].get("must", "").split()}
        return tuple(sorted(words))

    def words(self, reason: str) -> str:
        """A reason of a decision in a sentence: its policy's `@because`."""
        if reason in _WORDS:
            return _WORDS[reason]
        said = (notes.get("because", "") for notes in self._notes.values() if notes["id"] == reason)
        return next(said, "") or reason

    def roles_for(self, action: str, project: str) -> tuple[str, ...]:
        """The roles that may do `action` in `project`, found by asking: for hints."""
        return tuple(role for role in ROLES if self._role_may(role, action, project))

    def _role_may(self, role: str, action: str, project: str) -> bool:
        someone = Principal(
            kind="person", id="someone", zone="control", key="-", roles=frozenset({(project, role)})
        )
        return self.in_principle(someone, action, project).allowed


@cache
def _shipped() -> Policies:
    folder = files("freehold.policy")
    cedar, schema = (folder / "shipped.cedar").read_text(), (folder / "shipped.cedarschema").read_text()
    return Policies(cedar, schema)


def _request(question: Question) -> dict[str, Any]:
    return {
        "principal": _principal_uid(question.principal),
        "action": {"type": "Action", "id": question.action},
        "resource": _project_uid(question.project),
        "context": {"resource": question.resource, **question.facts},
    }


def _entities(question: Question) -> list[dict[str, Any]]:
    who = question.principal
    said: dict[str, Any] = {"id": who.id}
    if who.kind == "person":
        said["roles"] = [{"project": project, "role": role} for project, role in sorted(who.roles)]
    return [
        {"uid": _principal_uid(who), "attrs": said, "parents": []},
        {"uid": _project_uid(question.project), "attrs": {"name": question.project}, "parents": []},
    ]


def _principal_uid(who: Principal) -> dict[str, str]:
    return {"type": _ENTITY[who.kind], "id": who.id}


def _project_uid(project: str) -> dict[str, str]:
    return {"type": "Project", "id": project}


def _read(reader: Any, text: str) -> Any:
    try:
        return reader(text)
    except ValueError as error:
        raise BadPolicy(why=str(error)) from error


def _validate(text: str, schema: cedarpy.Schema) -> None:
    checked = cedarpy.validate_policies(text, schema)
    if not checked.validation_passed:
        raise BadPolicy(
            why="; ".join(str(error) for error in checked.errors),
            hint="compare the word with `policy/shipped.cedarschema`",
        )


def _annotations(text: str) -> dict[str, dict[str, str]]:
    """The engine's name of each policy -> its annotations, `id` among them."""
    read = json.loads(cedarpy.policies_to_json_str(text))
    notes = {name: policy.get("annotations", {}) for name, policy in read["staticPolicies"].items()}
    _refuse_optional(read["staticPolicies"].values())
    ids = [said.get("id", "") for said in notes.values()]
    if read["templates"]:
        raise BadPolicy(why="a template has open slots and would permit or forbid nothing")
    if not all(ids) or len(set(ids)) != len(ids):
        raise BadPolicy(
            why="each policy needs an `@id` of its own, so that a decision can say why",
            hint='write `@id("some-words")` above it',
        )
    return notes


def _refuse_optional(policies: Iterable[Mapping[str, Any]]) -> None:
    """A `forbid` that asks whether a fact is there would say nothing when it is missing."""
    for policy in policies:
        if policy["effect"] == "forbid" and _asks_whether(policy.get("conditions", [])):
            raise BadPolicy(
                why="a forbid with `context has` passes in silence when the fact is missing",
                hint="make the fact required in the schema, for the actions it forbids",
            )


def _asks_whether(condition: Any) -> bool:
    if isinstance(condition, dict):
        has = condition.get("has")
        if isinstance(has, dict) and has.get("left") == {"Var": "context"}:
            return True
        return any(map(_asks_whether, condition.values()))
    return isinstance(condition, list) and any(map(_asks_whether, condition))
