"""Who is asking, and may they: the two questions every route asks before anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa
from fastapi import Request

from freehold.errors import Failure, NotSignedIn, Refused
from freehold.identity import keys, projects
from freehold.ledger.record import record
from freehold.policy.decide import NOBODY, Action, Decision, Question
from freehold.spec.asking import allowed_by
from freehold.spec.principal import INSTALLATION, Principal, Zone

if TYPE_CHECKING:
    from freehold.control.parts import Parts

_FOR_THE_RECORD = re.compile(r"[a-z0-9][a-z0-9_:-]{0,99}(?:@[0-9]{1,9})?")
"""The shape of ids and references. Anything else a caller sent may be a person's name."""


class NotAllowed(Refused):
    """you may not {action} in {where}"""


class BoundYes(Refused):
    """you may {action} in {where} only with conditions that control cannot keep"""


class Gate:
    """Signs callers in by their key and asks the policies; each refusal stands in the ledger."""

    def __init__(self, parts: Parts) -> None:
        self._db = parts.ground.db
        self._policies = parts.policies

    def signed_in(self, request: Request) -> Principal:
        """The person whose control key the request carries. Raises NotSignedIn."""
        return self._holder(request, "control")

    def holder(self, text: str) -> Principal:
        """The person whose control key this is, where it came in another way. Raises NotSignedIn."""
        with self._db.read() as conn:
            return keys.authenticate(conn, text, zone="control", at=self._db.clock())

    def machine(self, request: Request) -> Principal:
        """The machine whose border key the request carries. Raises NotSignedIn."""
        return self._holder(request, "border")

    def may(
        self,
        who: Principal,
        action: Action,
        *,
        project: str | None = None,
        resource: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Pass when `who` may, and entries say why; else record the refusal, and raise NotAllowed with why.

        Without `project` the question is about the whole installation. Ask before the write
        transaction begins: a refusal is recorded in one of its own.
        """
        question = Question(
            principal=who,
            action=action,
            project=project or INSTALLATION,
            resource=resource,
            facts=dict(facts or {}),
        )
        decision = self._policies.decide(question)
        if not decision.allowed:
            self._record(question, decision.because)
            raise self._refusal(question, decision)
        if decision.must:  # a yes whose condition nobody keeps would be a silent no-op
            self._record(question, decision.must)
            raise BoundYes(**_said(question), why=f"the policy demands {', '.join(decision.must)}")
        allowed_by(decision.because)

    def would(
        self,
        who: Principal,
        action: Action,
        *,
        project: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether `who` may, without recording: for leaving out of a list what is not theirs to see.

        Without `facts` it is about what is nobody's own.
        """
        place = project or INSTALLATION
        decision = (
            self._policies.in_principle(who, action, place)
            if facts is None
            else self._policies.decide(Question(principal=who, action=action, project=place, facts=facts))
        )
        return decision.allowed and not decision.must

    def places(self, conn: sa.Connection, who: Principal, *actions: Action, resource: str = "") -> list[str]:
        """The projects in which `who` may do all of this, by name; a refusal is told when that is nowhere.

        Raises NotAllowed.
        """
        named = (project.name for project in projects.listed(conn))
        seen = [name for name in named if all(self.would(who, each, project=name) for each in actions)]
        if not seen:
            for action in actions:
                self.may(who, action, resource=resource)
        return seen

    def may_read(
        self, who: Principal, action: Action, *, project: str, resource: str, not_there: Failure
    ) -> None:
        """Pass when `who` may read what is in this project.

        Raises NotAllowed; and `not_there` where they see nothing of the project, so that nobody finds out
        what there is elsewhere.
        """
        if self.would(who, action, project=project):
            return
        if not self.would(who, "service:read", project=project):
            raise not_there
        self.may(who, action, project=project, resource=resource)

    def _holder(self, request: Request, zone: Zone) -> Principal:
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not text:
            raise NotSignedIn(
                why="the request carries no key",
                hint="set FREEHOLD_KEY, or send `Authorization: Bearer fhc_…`",
            )
        with self._db.read() as conn:
            return keys.authenticate(conn, text.strip(), zone=zone, at=self._db.clock())

    def _record(self, question: Question, reasons: tuple[str, ...]) -> None:
        named = question.resource if _FOR_THE_RECORD.fullmatch(question.resource) else ""
        project = question.project if _FOR_THE_RECORD.fullmatch(question.project[:63]) else None
        detail = {"action": question.action, "resource": named, "reasons": list(reasons)}
        with self._db.write() as tx:
            record(
                tx,
                "refusal",
                by=question.principal,
                object=named or question.action,
                project=project,
                detail=detail,
            )

    def _refusal(self, question: Question, decision: Decision) -> NotAllowed:
        roles = " or ".join(self._policies.roles_for(question.action, question.project))
        if decision.because == (NOBODY,) and question.principal.kind == "person":
            why = f"none of your roles there permits it ({_roles_there(question)})"
            hint = f"ask someone who is {roles} there" if roles else ""
        else:
            why = "; ".join(self._policies.words(reason) for reason in decision.because)
            hint = f"ask another person who is {roles} there" if roles else ""
        return NotAllowed(**_said(question), why=why, hint=hint)


def _said(question: Question) -> dict[str, str]:
    """The question in the user's words."""
    everywhere = question.project == INSTALLATION
    where = "the installation" if everywhere else f"project `{question.project[:63]}`"
    return {"action": f"`{question.action}`", "where": where}


def _roles_there(question: Question) -> str:
    held = sorted(
        role for where, role in question.principal.roles if where in (question.project, INSTALLATION)
    )
    return f"you are {', '.join(held)}" if held else "you have none"
