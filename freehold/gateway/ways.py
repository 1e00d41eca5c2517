"""Whom a request may be asked of: a service's own target, then those that stand in for it, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from freehold.errors import Failure, Refused, Unavailable
from freehold.gateway.answering import EngineNotReady
from freehold.gateway.limits import Scope, scope_of
from freehold.gateway.rules import Rules, is_above, pick
from freehold.spec.fallback import stays, why_not
from freehold.spec.snapshot import REBUILT, KeyView, Route, ServiceView


class ContractEnded(Unavailable):
    """the contract with the provider of `{service}` has ended"""

    denies = True
    elsewhere = True


class StaysInside(Refused):
    """what is said to `{service}` is Restricted, and its provider is outside"""

    elsewhere = True


class KeptNoLonger(Unavailable):
    """`{service}` stands still"""


class SecretClosed(Unavailable):
    """the provider's key of `{service}` does not open at this gateway"""

    elsewhere = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One target that may be asked."""

    service: ServiceView
    """Whose target it is."""
    route: Route
    secret: str | None
    scopes: tuple[Scope, ...] = ()
    """What is limited there beside what is limited of the service that was asked."""


def own_way(rules: Rules, service: ServiceView, sticky: str, now: int) -> Way:
    """A release in force, by weight; the same person always gets the same one.

    Raises EngineNotReady, StaysInside, SecretClosed, KeptNoLonger, ContractEnded.
    """
    route = pick(rules.routes.get(service.name, ()), f"{service.name}/{sticky}")
    if route is None:
        raise EngineNotReady(service=service.name, why="no release of it is loaded yet")
    if stays(service, route.target):  # attached before that was refused, by a contract that allowed it
        raise StaysInside(
            service=service.name,
            why="Restricted words do not leave, whatever a contract says",
            hint="its operators can attach it at an address inside, or with less: docs/manual/attach.md",
        )
    if route.target.secret and service.name not in rules.secrets:
        raise SecretClosed(service=service.name, hint="enrol this gateway again, then attach it again")
    if route.until is not None and route.until <= now:
        raise KeptNoLonger(service=service.name, why=REBUILT, hint="ask again later")
    until = route.target.contract_until
    if until is not None and until <= now:
        raise ContractEnded(
            service=service.name,
            why="it is not called without one",
            hint="attach it again with the new contract",
        )
    return Way(service=service, route=route, secret=rules.secrets.get(service.name))


def others(rules: Rules, service: ServiceView, caller: KeyView, sticky: str, now: int) -> Iterator[Way]:
    """Those that stand in for a service now; whoever may not, or cannot, is passed over.

    So is what is more sensitive than the caller may ask: an answer tells of what a model learned.

    They were judged when they were named; since then they may have changed.
    """
    for name in service.fallback:
        other = rules.services.get(name)
        if other is None or other.state != "live" or why_not(service, other) or is_above(caller, other):
            continue
        try:
            way = own_way(rules, other, sticky, now)
        except Failure:
            continue
        if not why_not(service, replace(other, routes=(way.route,))):  # of the rules in force
            yield replace(way, scopes=scope_of(other))


def goes_on(failure: Failure) -> bool:
    """Whether somebody else may be asked after this: nothing of it is under way where it was asked."""
    return bool(getattr(failure, "elsewhere", False))
