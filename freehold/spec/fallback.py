"""Whose target may answer in whose place, and what goes to none outside; control and gateways judge by it."""

from __future__ import annotations

from freehold.spec.guard import ACTIONS
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import GuardView, ServiceView, Target

MOST = 4
"""Services that one may name."""


def why_not(service: ServiceView, other: ServiceView) -> str:
    """Why no target of `other` may answer what `service` is asked; empty when they may."""
    if other.project != service.project:
        return "it belongs to another project"
    if other.purpose != service.purpose:
        return f"it is for {other.purpose}"
    if other.sensitivity < service.sensitivity:
        return f"it takes {Sensitivity(other.sensitivity).word} words at most"
    if not service.task == other.task == "generate":
        return "only what writes text stands in for another"
    if other.subject != "optional" and other.subject != service.subject:
        return f"it is asked with `subject: {other.subject}`"
    if not (covers(service.guard_in, other.guard_in) and covers(service.guard_out, other.guard_out)):
        return "it is guarded more strictly"
    return next((why for route in other.routes if (why := _leaves(service, other, route.target))), "")


def stays(service: ServiceView, target: Target) -> bool:
    """Whether words of `service` may not go to `target`, be it its own one, whatever a contract says."""
    return service.sensitivity >= Sensitivity.RESTRICTED and target.kind != "engine" and not target.inside


def _leaves(service: ServiceView, other: ServiceView, target: Target) -> str:
    """Why words of `service` may not be where `target` of `other` is; empty when they may."""
    if target.kind == "engine" or target.inside:
        return ""
    if stays(other, target):  # what may have the words of a Restricted service is Restricted, too
        return "it is Restricted and outside, so it answers nobody"
    if service.regions and target.region not in service.regions:
        return (
            f"it stands in {target.region or 'no region that is said'}, not in {', '.join(service.regions)}"
        )
    if not service.regions and service.sensitivity >= Sensitivity.CONFIDENTIAL:
        return "it is outside, and nothing says in which regions Confidential words may be"
    return ""


def covers(guard: GuardView, other: GuardView) -> bool:
    """Whether `guard` does at least what `other` does about everything."""
    if other.injection == "refuse" and guard.refuse_above != other.refuse_above:
        return False  # which of them is stricter, the shipped threshold or one's own, is not known here
    return all(
        actions.index(getattr(guard, name)) >= actions.index(getattr(other, name))
        for name, actions in ACTIONS.items()
    )
