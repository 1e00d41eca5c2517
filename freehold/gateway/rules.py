"""What the gateway decides by: one verified snapshot, laid out for looking things up."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import NotFound, Unavailable
from freehold.gateway.pages import (
    Arriving,
    Held,
    SnapshotStrange,
    Withdrew,
    keys_in,
    must_be_all,
    withdrawals_in,
)
from freehold.gateway.tokens import Tokens
from freehold.spec.snapshot import PAYLOAD_TYPE, KeyView, Restraint, Route, ServiceView, Snapshot
from freehold.store.hpke import open_with
from freehold.store.sealed import SealBroken
from freehold.store.signing import Envelope, verify


class ServiceUnknown(NotFound):
    """there is no service `{name}` for this key"""


class LookupMissing(Unavailable):
    """persons of this project cannot be looked up"""


Routes = Mapping[str, tuple[Route, ...]]
Shadows = Mapping[str, Route]
Restraints = Mapping[tuple[str, str], tuple[Restraint, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything at one index. Swapped by pointer: a request sees one of them from first to last."""

    snapshot: Snapshot
    keys: Mapping[str, KeyView] = field(repr=False)
    services: Mapping[str, ServiceView] = field(repr=False)
    withdrawn: Container[Withdrew] = field(repr=False)
    lookup: Mapping[str, bytes] = field(repr=False)
    """project -> the key that turns a person into an HMAC, opened."""
    secrets: Mapping[str, str] = field(repr=False)
    """service -> the provider's API key, opened; in memory only."""
    tokens: Tokens | None = field(default=None, repr=False)
    """What identity providers' tokens are verified with; None where none is trusted."""
    restraints: Restraints = field(default_factory=dict)
    """Key and person (or nobody) -> what was done about them."""
    routes: Routes
    """service -> the routes in force: the newest whose engines are all ready."""
    shadows: Shadows = field(default_factory=dict)
    """service -> what gets copies now: its engine is ready."""
    pages: Held = field(default_factory=dict, repr=False)
    """What those that follow take over where it did not change."""

    def service_for(self, caller: KeyView, name: str) -> ServiceView:
        """The service `name`, when this key may know of it.

        One of another project and one that does not exist fail alike: a key is no way to find out.
        """
        service = self.services.get(name)
        if service is None or not _may_know(caller, service):
            raise self._unknown(caller, name)
        return service

    def service_told(self, caller: KeyView, name: str) -> ServiceView:
        """As `service_for`, where nothing is asked of it; one above the key's clearance is not there."""
        service = self.service_for(caller, name)
        if is_above(caller, service):
            raise self._unknown(caller, name)
        return service

    def services_of(self, caller: KeyView) -> tuple[ServiceView, ...]:
        """What the key may ask."""
        return tuple(s for s in self.snapshot.services if _may_know(caller, s) and not is_above(caller, s))

    def _unknown(self, caller: KeyView, name: str) -> ServiceUnknown:
        mine = ", ".join(f"`{s.name}`" for s in self.services_of(caller))
        return ServiceUnknown(
            name=name[:80],
            why="it does not exist, or belongs to others",
            hint=f"this key may ask {mine}" if mine else "this key has no service to ask yet",
        )

    def subject(self, project: str, person: str) -> str:
        """The person's HMAC under the project's lookup key, hex. Raises LookupMissing."""
        key = self.lookup.get(project)
        if key is None:
            raise LookupMissing(why="its lookup key does not open here", hint="enrol this gateway again")
        return hmac.new(key, person.encode(), hashlib.sha256).hexdigest()

    def digests(self) -> tuple[str, ...]:
        """The serving digests of every engine that the snapshot names."""
        named = (r.target for s in self.snapshot.services for r in self._allowed(s.routes))
        wanted = [t.serving_digest for t in named if t.kind == "engine"]
        return tuple(dict.fromkeys(wanted + [r.target.serving_digest for r in self._shadows().values()]))

    def targets(self) -> frozenset[str]:
        """The serving digests of everything that is routed to or will be."""
        asked = (*self._routed(), *self._shadows().values())
        return frozenset(route.target.serving_digest for route in asked)

    def providers(self) -> frozenset[tuple[str, str]]:
        """(address, who alone vouches for it) of everybody else's that is routed to or will be."""
        theirs = (route.target for route in self._routed() if route.target.kind == "provider")
        return frozenset((url, target.ca) for target in theirs for url in (target.url, *target.also))

    def _routed(self) -> Iterator[Route]:
        return (r for s in self.snapshot.services for r in (*s.routes, *self.routes.get(s.name, ())))

    def _shadows(self) -> Shadows:
        """What is to get copies: models of ours alone, whatever else the snapshot says."""
        named = ((s.name, s.shadow) for s in self.snapshot.services if s.shadow is not None)
        return {name: r for name, r in named if r.target.kind == "engine" and self._allowed((r,))}

    def _allowed(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Without those that lead to a revoked model, whatever else the snapshot says of them."""
        return tuple(route for route in routes if route.target.serving_digest not in self.snapshot.revoked)

    def with_ready(self, before: Rules | None, ready: Callable[[str], bool]) -> Rules:
        """These rules with the newest routes where all their engines are ready, else those of `before`.

        A shadow keeps nobody waiting: it gets copies from when its own engine is ready.
        """
        earlier: Routes = before.routes if before else {}
        routes: dict[str, tuple[Route, ...]] = {}
        for service in self.snapshot.services:
            wanted = self._allowed(service.routes)
            waits = any(r.target.kind == "engine" and not ready(r.target.serving_digest) for r in wanted)
            routes[service.name] = self._allowed(earlier.get(service.name, ())) if waits else wanted
        known: Shadows = before.shadows if before else {}
        shadows = {
            name: route
            for name, route in self._shadows().items()
            if known.get(name) == route or ready(route.target.serving_digest)
        }
        if (routes, shadows) == (self.routes, self.shadows):
            return self
        return replace(self, routes=routes, shadows=shadows)

    @property
    def spool_key(self) -> bytes:
        """Control's public key, raw: records are sealed to it."""
        return base64.b64decode(self.snapshot.spool_key)

    @property
    def settled(self) -> bool:
        """Whether every service is served by the routes of this very snapshot, and its shadow gets copies."""
        served = all(self.routes.get(s.name) == self._allowed(s.routes) for s in self.snapshot.services)
        return served and self.shadows == self._shadows()


def is_above(caller: KeyView, service: ServiceView) -> bool:
    """Whether a service is more sensitive than what somebody may ask: answers tell of what was learned."""
    return caller.sensitivity is not None and service.sensitivity > caller.sensitivity


def _may_know(caller: KeyView, service: ServiceView) -> bool:
    return caller.project == service.project and (not caller.services or service.name in caller.services)


def read_snapshot(envelope: bytes, public: Ed25519PublicKey) -> Snapshot:
    """What a snapshot says that the pinned release key signed. Raises SignatureWrong, SnapshotStrange."""
    return _decode(verify(public, _envelope(envelope), PAYLOAD_TYPE))


def rules_of(arriving: Arriving, private: bytes) -> Rules:
    """Rules from a snapshot whose pages are all here, none of its routes in force yet.

    `private` opens what was sealed to this gateway. Raises SnapshotStrange, PageMissing.
    """
    snapshot, pages = arriving.snapshot, arriving.pages
    withdrawn = frozenset((w.project, w.subject, w.purpose) for w in snapshot.withdrawals)
    return Rules(
        snapshot=snapshot,
        keys=keys_in(pages) if snapshot.key_pages.digests else {key.id: key for key in snapshot.keys},
        services={service.name: service for service in snapshot.services},
        withdrawn=withdrawals_in(pages) if snapshot.withdrawal_pages.digests else withdrawn,
        lookup=_opened(snapshot.lookup, "lookup", private),
        secrets={
            name: secret.decode()
            for name, secret in _opened(_sealed_secrets(snapshot), "provider", private).items()
        },
        tokens=_tokens(snapshot),
        restraints=_restraints(snapshot),
        routes={},
        pages=pages,
    )


def _restraints(snapshot: Snapshot) -> Restraints:
    found: dict[tuple[str, str], tuple[Restraint, ...]] = {}
    for one in snapshot.restraints:
        who = one.key, one.subject
        found[who] = (*found.get(who, ()), one)
    return found


def _tokens(snapshot: Snapshot) -> Tokens | None:
    try:
        return Tokens(snapshot.issuers) if snapshot.issuers else None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SnapshotStrange(why="a key of an identity provider cannot be read") from error


def _envelope(text: bytes) -> Envelope:
    try:
        return Envelope.from_json(msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise SnapshotStrange(why="it is not JSON") from error


_snapshot_of = msgspec.json.Decoder(Snapshot).decode


def _decode(payload: bytes) -> Snapshot:
    """Every word of the payload, or none: a rule that we do not know might have been a restriction."""
    try:
        snapshot = _snapshot_of(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SnapshotStrange(why="a field is missing or has another type") from error
    must_be_all(snapshot.canonical(), payload)
    return snapshot


def _sealed_secrets(snapshot: Snapshot) -> dict[str, str]:
    return {
        service.name: route.target.secret
        for service in snapshot.services
        for route in service.routes
        if route.target.secret
    }


def _opened(sealed: Mapping[str, str], kind: str, private: bytes) -> dict[str, bytes]:
    """What opens. What does not is left out: requests that need it are refused, the others go on."""
    opened: dict[str, bytes] = {}
    for name, text in sealed.items():
        try:
            opened[name] = open_with(private, base64.b64decode(text), f"{kind}/{name}".encode())
        except (SealBroken, ValueError):
            continue
    return opened


def pick(routes: tuple[Route, ...], sticky: str) -> Route | None:
    """A route by weight; the same `sticky` text gets the same one while the weights stand.

    Each has a place of 10,000, and the newest release (last of the routes) the highest ones: when it
    gets more, somebody new may come to it, and nobody leaves it. The places are drawn anew for each
    release: it is not always the same people who try what is new.
    """
    if not routes:
        return None
    drawn = hashlib.sha256(f"{routes[-1].release}/{sticky}".encode()).digest()
    place = int.from_bytes(drawn[:8]) % 10_000
    for route in routes:
        place -= route.weight
        if place < 0:
            return route
    return None
