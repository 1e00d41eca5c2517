"""Guard in, of a tabular model: rows unlike those it was trained on are flagged or refused.

It comes when the route is known: two releases of a service may have learned from different rows.
"""

from __future__ import annotations

from dataclasses import replace

from freehold.gateway.classifier_chat import ClassifierChat
from freehold.gateway.guards import ContentFilter, Verdicts, missing, working
from freehold.gateway.infer import InferQuestion
from freehold.gateway.questions import Question
from freehold.screen.domain import outside
from freehold.spec.snapshot import ServiceView, Target


def in_domain(question: Question, service: ServiceView, target: Target, verdicts: Verdicts) -> Question:
    """The question, knowing which of its columns are outside what `target` was trained on.

    A model from before domains answers on, and its record says that nothing is known. Raises ContentFilter
    where the service refuses such rows, GuardUnusable for a domain that does not speak of every input.
    """
    guard = service.guard_in
    if guard.domain == "none" or not isinstance(question, InferQuestion | ClassifierChat):
        return question
    if service.task != "tabular":
        return question
    if target.domain is None:
        verdicts.say("in", "domain", "unknown")
        return question
    domain, values = target.domain, question.values

    def look() -> dict[str, int]:
        if {column.name for column in domain} != values.keys():
            missing("domain")
        return outside(domain, values)

    found = working("domain", guard, verdicts, "in", look)
    if not found:
        return question
    verdicts.say("in", "domain", guard.domain, found)
    if guard.domain == "refuse":
        raise ContentFilter(
            guard="domain",
            what="this request",
            why="outside what the model was trained on: " + ", ".join(f"`{name}`" for name in sorted(found)),
            hint="look whether the values are meant so; somebody has to decide without the model",
        )
    return replace(question, outside=found)
