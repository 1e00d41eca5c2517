"""From rows to what a gateway may know: serving keys, services with their routes, withdrawals."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.identity.floors import floors_of
from freehold.release import settings
from freehold.release.address import is_private
from freehold.release.words import gateway_key
from freehold.spec.domain import read
from freehold.spec.floor import of_ten_thousand, stricter, view_of
from freehold.spec.guard import Side, milliseconds, read_guards
from freehold.spec.limits import most, requests_per_minute, seconds, spend_per_day, tokens_per_minute
from freehold.spec.plain import unplain
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import (
    NO_GUARD,
    REBUILT,
    STOPPED,
    Column,
    GrantView,
    GuardView,
    IssuerView,
    KeyView,
    Most,
    Restraint,
    Route,
    ServiceView,
    Target,
    TokenKey,
    Withdrawal,
)
from freehold.store.consented import ranked
from freehold.store.few import few
from freehold.store.ground import Ground
from freehold.store.hpke import seal_to
from freehold.store.tables import (
    consents,
    forgettings,
    incidents,
    keys,
    models,
    projects,
    releases,
    services,
)

RESTRICTED_STALE = 30
"""Seconds: what a Restricted service is served without news at most, whatever its file says."""

CALLERS = "callers"
"""The setting that holds what freehold.yaml declares under this name, keys and CA beside it."""
KeyOf = Callable[[str], str]
"""A service's provider key, sealed to the gateway."""

SHARED = ("canary", "ab")
"""The states of a release that gets a share beside the live one; `ab`: while it is compared with it."""
SERVING = (*SHARED, "live")
"""The states of a release that get traffic."""
RUNNING = (*SERVING, "shadow")
"""The states of one that is asked, be it for nobody."""


def serving_keys(conn: sa.Connection, at: int, ids: Sequence[str] | None = None) -> tuple[KeyView, ...]:
    """Keys of the serving zone that are neither revoked nor expired; among `ids`, or of all."""
    query = (
        sa.select(keys, projects.c.currency)
        .outerjoin(projects, projects.c.name == keys.c.project)
        .where(keys.c.zone == "serving", keys.c.revoked_at.is_(None))
        .where(sa.or_(keys.c.expires_at.is_(None), keys.c.expires_at > at))
        .order_by(keys.c.id)
    )
    queries = [query] if ids is None else [query.where(keys.c.id.in_(some)) for some in few(sorted(ids))]
    return tuple(_key_view(row) for one in queries for row in conn.execute(one).mappings())


_NO_LIMIT = Most()


def _key_view(row: Mapping[Any, Any]) -> KeyView:
    guards = read_guards(row["guard"].split()) if row["guard"] else {}
    return KeyView(
        id=row["id"],
        secret_digest=row["secret_digest"],
        owner=row["owner"],
        project=row["project"],
        services=() if row["services"] == "[]" else tuple(json.loads(row["services"])),
        purpose=row["purpose"],
        expires_at=row["expires_at"],
        most=most(row["limits"], row["currency"] or "") if row["limits"] else _NO_LIMIT,
        guard_in=view_of(guards["in"]) if "in" in guards else NO_GUARD,
        guard_out=view_of(guards["out"]) if "out" in guards else NO_GUARD,
        sensitivity=row["sensitivity"],
        origin=row["origin"] or "",
    )


def declared(conn: sa.Connection) -> dict[str, Any]:
    """Who may ask without an API key, as `release.callers.declare` wrote it down."""
    return settings.said(conn, CALLERS) or {"tokens": [], "ca": "", "certificates": []}


def issuers(conn: sa.Connection) -> tuple[IssuerView, ...]:
    """The identity providers whose tokens count."""
    known = currencies(conn)
    return tuple(
        IssuerView(
            issuer=one["issuer"],
            audience=one["audience"],
            keys=tuple(TokenKey(**{**key, "algorithms": tuple(key["algorithms"])}) for key in one["keys"]),
            leeway=seconds(one["leeway"]),
            subject=one["subject"],
            grants=_grants(one["grants"], known),
        )
        for one in declared(conn)["tokens"]
    )


def certificates(conn: sa.Connection) -> tuple[str, tuple[GrantView, ...]]:
    """The CA of client certificates, and what they may ask."""
    said = declared(conn)
    return said["ca"], _grants(said["certificates"], currencies(conn))


def currencies(conn: sa.Connection) -> dict[str, str]:
    """What each project counts money in."""
    rows = conn.execute(sa.select(projects.c.name, projects.c.currency))
    return {row.name: row.currency for row in rows}


def _grants(said: list[Mapping[str, Any]], known: Mapping[str, str]) -> tuple[GrantView, ...]:
    return tuple(view for one in said if (view := grant_view(one, known)) is not None)


def grant_view(said: Mapping[str, Any], known: Mapping[str, str]) -> GrantView | None:
    """A grant, unless its project is unknown or counts money otherwise: then nobody has it."""
    if said["project"] not in known:
        return None
    try:
        limits = most(said["limits"], known[said["project"]])
        clearance = said.get("sensitivity", "")
        sensitivity = int(Sensitivity.parse(clearance)) if clearance else None
    except BadInput:
        return None
    return GrantView(
        project=said["project"],
        services=tuple(said["services"]),
        purpose=said["purpose"] or None,
        most=limits,
        sensitivity=sensitivity,
        where=dict(said.get("where", {})),
        name=said.get("name", ""),
    )


def withdrawals(conn: sa.Connection, ids: Sequence[str] | None = None) -> tuple[Withdrawal, ...]:
    """Who withdrew what: the newest word per person and purpose counts; at the same time, the no.

    `ids` are the persons to look at, each as `Withdrawal.id` has it; all without them.
    """
    if ids is None:
        return tuple(_withdrawals(conn))
    c = consents.c
    found: list[Withdrawal] = []
    for project, some in groupby(sorted(ids), key=lambda id: id.partition("/")[0]):
        subjects = [id.partition("/")[2] for id in some]
        for each in few(subjects):
            found += _withdrawals(conn, (c.project == project) & c.subject.in_(each))
    return tuple(found)


def _withdrawals(conn: sa.Connection, *where: sa.ColumnElement[bool]) -> Iterator[Withdrawal]:
    said = ranked(*where).c
    rows = conn.execute(
        sa.select(said.project, said.subject, said.purpose)
        .where(said.rank == 1, said.state == "withdrawn")
        .order_by(said.project, said.subject, said.purpose)
    )
    return (Withdrawal(project=p, subject=s, purpose=u) for p, s, u in rows)


def holds_at(at: int) -> sa.ColumnElement[bool]:
    """Whether an incident holds somebody back at a time: a throttle that is over holds nobody."""
    i = incidents.c
    return sa.and_(i.held.is_(True), sa.or_(i.until.is_(None), i.until > at))


def restraints(conn: sa.Connection, at: int) -> tuple[Restraint, ...]:
    """Who is held back, and not by what is over."""
    i = incidents.c
    rows = conn.execute(
        sa.select(i.id, i.key, i.subject, i.does, i.seen_at, i.until, i.pace)
        .where(holds_at(at))
        .order_by(i.id)
    )
    return tuple(
        Restraint(
            incident=row.id,
            key=row.key,
            subject=row.subject or "",
            does=row.does,
            since=row.seen_at,
            until=row.until,
            pace=row.pace,
        )
        for row in rows
    )


def forgotten_at(conn: sa.Connection) -> int:
    """When a forgetting last began to count."""
    return int(conn.scalar(sa.select(sa.func.coalesce(sa.func.max(forgettings.c.marked_at), 0))) or 0)


def revoked(conn: sa.Connection, at: int) -> tuple[str, ...]:
    """The serving digests of forgotten models, but for those that their service keeps until later.

    A version of the same digest that is not forgotten was trained afterwards, without the person: that
    it came out the same proves that they had left no trace in it.
    """
    others = models.alias()
    twin = sa.select(others.c.id).where(
        others.c.serving_digest == models.c.serving_digest, others.c.state != "forgotten"
    )
    kept = sa.select(releases.c.id).where(
        releases.c.model == models.c.id, releases.c.state.in_(SERVING), releases.c.until > at
    )
    query = sa.select(models.c.serving_digest).where(
        models.c.state == "forgotten", ~twin.exists(), ~kept.exists()
    )
    return tuple(sorted(set(conn.scalars(query))))


def lookup_keys(conn: sa.Connection, ground: Ground) -> dict[str, str]:
    """Each project's lookup key, sealed to the gateway."""
    public = gateway_key(conn)
    return {
        name: base64.b64encode(
            seal_to(public, ground.keyring.ensure(f"lookup/{name}")[0], f"lookup/{name}".encode())
        ).decode()
        for name in conn.scalars(sa.select(projects.c.name).order_by(projects.c.name))
    }


def service_views(conn: sa.Connection, ground: Ground) -> tuple[ServiceView, ...]:
    """Every service that has, or had when it was stopped, a release with traffic."""
    return _views(conn, lambda service: _provider_key(conn, ground, service))


def known_views(conn: sa.Connection) -> tuple[ServiceView, ...]:
    """The same without anybody's key: for judging what they are."""
    return _views(conn, lambda _service: "")


def _views(conn: sa.Connection, key_of: KeyOf) -> tuple[ServiceView, ...]:
    rows = conn.execute(
        sa.select(services, projects.c.timezone, projects.c.currency, projects.c.guards)
        .join(projects, projects.c.name == services.c.project)
        .where(services.c.state.in_(("live", "stopped")))
        .order_by(services.c.name)
    )
    return tuple(_service_view(conn, key_of, row) for row in rows.mappings())


OUTSIDE = (
    "it is Restricted and its provider outside, and no contract lets Restricted words out; "
    "attach it again with --replace, at an address inside or as Confidential"
)


def silent(service: Mapping[Any, Any], answering: bool) -> str:
    """Why a service that nobody stopped answers nobody; empty where it answers, or is not to."""
    if service["state"] != "live":
        return ""
    if not answering:
        return REBUILT
    restricted = service["kind"] == "attached" and service["sensitivity"] >= Sensitivity.RESTRICTED
    return OUTSIDE if restricted and not _is_inside(json.loads(service["provider"])) else ""


def _service_view(conn: sa.Connection, key_of: KeyOf, row: Mapping[Any, Any]) -> ServiceView:
    spec = json.loads(row["spec"])
    parts = _traffic(conn, row["name"])
    routes = tuple(_route(key_of, row, part) for part in parts)
    about = json.loads(parts[0]["about"]) if parts and parts[0]["about"] else {}
    task = about.get("task", "generate")
    view = ServiceView(
        name=row["name"],
        project=row["project"],
        purpose=row["purpose"],
        sensitivity=row["sensitivity"],
        tier=row["tier"],
        subject=spec["subject"],
        kind=row["kind"],
        task=task,
        state="live" if parts and row["state"] == "live" else "stopped",
        because=STOPPED if row["state"] == "stopped" else "" if parts else REBUILT,
        inputs=tuple(Column(**column) for column in about.get("inputs", ())),
        classes=tuple(about.get("classes", ())),
        routes=routes,
        most=_most(spec["limits"], row["currency"]),
        each_key=most(spec["limits"].get("each_key", ""), row["currency"]),
        each_subject=most(spec["limits"].get("each_subject", ""), row["currency"]),
        timezone=row["timezone"],
        cache=seconds(spec["serve"]["cache"]) if spec["serve"].get("cache") else 0,
        stale_for=_stale_for(spec, row["sensitivity"]),
        fallback=tuple(spec["serve"].get("fallback", ())),
        regions=tuple(spec["regions"]),
        guard_in=guard_view(spec, "in", task),
        guard_out=guard_view(spec, "out"),
        shadow=_shadow(conn, key_of, row) if parts and row["kind"] == "own" else None,
    )
    return at_least(view, row["guards"])


def at_least(service: ServiceView, guards: str | None) -> ServiceView:
    """The same service, guarded by what its project wants too: `guards` as the project's row says it."""
    floors = [read_guards(floor.guard) for floor in floors_of(guards, service.purpose, service.sensitivity)]
    return replace(
        service,
        guard_in=stricter(service.guard_in, *(view_of(floor.get("in")) for floor in floors)),
        guard_out=stricter(service.guard_out, *(view_of(floor.get("out")) for floor in floors)),
    )


def guard_view(spec: Mapping[str, Any], side: Side, task: str = "generate") -> GuardView:
    """What a service's file says of one direction; services from before guards say nothing.

    On the way in rows of a tabular model are held to its domain, if only to observe, unless the file says no.
    """
    said = unplain(spec.get("guard", {}).get(side))
    unsaid: Literal["none", "observe"] = "observe" if (side, task) == ("in", "tabular") else "none"
    if said is None:
        return replace(NO_GUARD, domain=unsaid)
    return GuardView(
        pii=said["pii"],
        secrets=said["secrets"],
        injection=said["injection"],
        documents=said["documents"],
        domain=said.get("domain") or unsaid,
        flag_above=of_ten_thousand(said["flag_above"]),
        refuse_above=of_ten_thousand(said["refuse_above"]),
        budget=milliseconds(said["budget"]),
    )


def _most(limits: Mapping[str, Any], currency: str) -> Most:
    """The service's own limits; files from before there were more have two."""
    return Most(
        requests=requests_per_minute(limits["requests"]),
        tokens=tokens_per_minute(limits.get("tokens", "")),
        spend=spend_per_day(limits["spend"], currency),
        at_once=limits.get("at_once") or None,
    )


def project_limits(conn: sa.Connection) -> dict[str, Most]:
    """What each project may use, where that is limited."""
    rows = conn.execute(
        sa.select(projects.c.name, projects.c.limits, projects.c.currency)
        .where(projects.c.limits.is_not(None))
        .order_by(projects.c.name)
    )
    return {name: most(limits, currency) for name, limits, currency in rows if limits}


def longest_stale(conn: sa.Connection) -> int:
    """Seconds for which some service is served without news, as the files of all there are say it."""
    rows = conn.execute(sa.select(services.c.spec, services.c.sensitivity))
    return max((_stale_for(json.loads(spec), sensitivity) for spec, sensitivity in rows), default=0)


def _stale_for(spec: Mapping[str, Any], sensitivity: int) -> int:
    declared = seconds(spec["serve"]["stale_for"])
    return min(declared, RESTRICTED_STALE) if sensitivity >= Sensitivity.RESTRICTED else declared


def _traffic(conn: sa.Connection, service: str) -> list[Mapping[Any, Any]]:
    """The releases that get traffic: the live one first, whatever the shares are.

    A gateway gives the last one the highest places (`gateway.rules.pick`), so this order is what keeps
    somebody who came to a canary with it while it grows.
    """
    return _releases(conn, service, SERVING)


def _shadow(conn: sa.Connection, key_of: KeyOf, service: Mapping[Any, Any]) -> Route | None:
    """What gets copies: models of ours, which stand where the live one does; nothing else may have them."""
    return next(
        (_route(key_of, service, part) for part in _releases(conn, service["name"], ("shadow",))), None
    )


def _releases(conn: sa.Connection, service: str, states: Sequence[str]) -> list[Mapping[Any, Any]]:
    live_first = sa.case((releases.c.state == "live", 0), else_=1)
    rows = conn.execute(
        sa.select(
            *(releases.c[name] for name in ("id", "weight", "serving_digest", "until")),
            models.c.name,
            models.c.about,
        )
        .select_from(releases.outerjoin(models, models.c.id == releases.c.model))
        .where(releases.c.service == service, releases.c.state.in_(states))
        .order_by(live_first, releases.c.created_at, releases.c.id)
    )
    return list(rows.mappings())


def _route(key_of: KeyOf, service: Mapping[Any, Any], part: Mapping[Any, Any]) -> Route:
    if service["kind"] == "attached":
        target = _provider(key_of, service, part["serving_digest"])
    else:
        domain = read(json.loads(part["about"]).get("features", {})) if part["about"] else None
        digest = part["serving_digest"]
        target = Target(kind="engine", name=part["name"], serving_digest=digest, domain=domain)
    return Route(release=part["id"], weight=part["weight"], target=target, until=part["until"])


def _provider(key_of: KeyOf, service: Mapping[Any, Any], serving_digest: str) -> Target:
    said = json.loads(service["provider"])
    return Target(
        kind="provider",
        name=said["model"],
        serving_digest=serving_digest,
        url=said["url"],
        secret=key_of(service["name"]) if said["has_key"] else "",
        region=said["region"],
        contract_until=said["contract"]["until"] if said["contract"] else None,
        price_in=said["price_in"],
        price_out=said["price_out"],
        api=said.get("api", "openai"),
        inside=_is_inside(said),
        also=tuple(said.get("also", ())),
        ca=said.get("ca", ""),
    )


def _is_inside(provider: Mapping[str, Any]) -> bool:
    """Whether every address of it is on this machine or a private network."""
    urls = (provider["url"], *provider.get("also", ()))
    return all(is_private(urlsplit(url).hostname or "") for url in urls)


def _provider_key(conn: sa.Connection, ground: Ground, service: str) -> str:
    name = f"provider/{service}"
    sealed = seal_to(gateway_key(conn), ground.keyring.key(name), name.encode())
    return base64.b64encode(sealed).decode()
