"""Putting a model server or provider that exists already under the same rules: a service in a minute.

Nothing is called from here: control opens no connection to what it attaches. The provider's key goes
into the keyring and crosses to the gateway sealed; it stands in no row, entry or snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound, Refused
from freehold.identity import floors
from freehold.ledger.record import record
from freehold.release import fallbacks
from freehold.release.address import checked_url, is_private, shown, with_version
from freehold.release.contract import Contract, check_covers, read_contract
from freehold.release.publish import publish
from freehold.release.views import guard_view
from freehold.spec import checks
from freehold.spec.guard import BadGuard, Guard, Side, read_guards, told_guards
from freehold.spec.ids import canonical, check_name, digest, digest_bytes, new_id
from freehold.spec.limits import most, price, requests_per_minute, seconds, spend_per_day, tokens_per_minute
from freehold.spec.objectives import read_all
from freehold.spec.plain import plain
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import ServiceView
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import projects, releases, services
from freehold.tls import checked_ca

_MODEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$")
_KEY = re.compile(r"^[\x21-\x7e]{1,4096}$")
MOST_ALSO = 15
"""Addresses beside the first one."""


class NameTaken(Conflict):
    """the name `{name}` is taken"""


class ContractNeeded(Refused):
    """{sensitivity} words may not leave for `{host}` without a contract"""


class RestrictedStays(Refused):
    """Restricted words may not leave for `{host}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What is attached, as it was asked for."""

    service: str
    project: str
    purpose: str
    url: str
    model: str
    owner: str
    key: str | None = field(default=None, repr=False)
    """The provider's API key; None keeps the one that is there when the service is replaced."""
    region: str = ""
    contract: str = ""
    """The contract's file as text."""
    sensitivity: str = "Internal"
    subject: Literal["required", "optional", "none"] = "optional"
    requests: str = ""
    spend: str = ""
    tokens: str = ""
    at_once: int = 0
    each_key: str = ""
    each_subject: str = ""
    cache: str = ""
    """For how long the same question gets the same answer."""
    price_in: str = "0"
    price_out: str = "0"
    guard: tuple[str, ...] = ()
    """Such as `in.pii=mask`."""
    also: tuple[str, ...] = ()
    """Further addresses where the same model answers."""
    ca: str = ""
    """The certificates (PEM) that alone vouch for its addresses."""
    fallback: tuple[str, ...] = ()
    """Services whose targets are asked when this one's cannot answer, in this order."""
    api: Literal["openai", "azure", "anthropic", "gemini"] = "openai"
    """Whose words the provider understands."""
    objectives: tuple[str, ...] = ()
    """What it has to keep: `99.5% answered`."""
    insecure: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What came of it."""

    service: str
    release: str
    serving_digest: str
    url: str
    also: tuple[str, ...]
    snapshot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """An attachment whose words were all read."""

    asked: Attachment
    url: str
    also: tuple[str, ...]
    ca: str
    sensitivity: Sensitivity
    contract: Contract | None
    spec: dict[str, Any]

    def provider(self, has_key: bool) -> dict[str, Any]:
        """The row's `provider` column."""
        # OpenAI's words are not named: a declaration from before there were others has the same digest
        api: dict[str, Any] = {} if self.asked.api == "openai" else {"api": self.asked.api}
        more: dict[str, Any] = {"also": list(self.also)} if self.also else {}
        more |= {"ca": self.ca} if self.ca else {}
        return api | {
            "url": self.url,
            "model": self.asked.model,
            "region": self.asked.region,
            "contract": self.contract.as_plain() if self.contract else None,
            "price_in": price(self.asked.price_in),
            "price_out": price(self.asked.price_out),
            "has_key": has_key,
            **more,
        }


def attach(tx: Tx, ground: Ground, *, by: Principal, asked: Attachment) -> Attached:
    """Make (or with `replace` change) an attached service, give it all its traffic, and publish.

    Raises BadInput for an address, limit or contract that cannot be used, Refused for what the
    contract does not cover, NameTaken, NotFound for the project.
    """
    checked = _checked(tx.connection, asked, tx.at)
    tx.execute(sa.select(services.c.name).where(services.c.name == asked.service).with_for_update())
    there = _there(tx.connection, asked)
    has_key = asked.key is not None or bool(there and json.loads(there["provider"])["has_key"])
    provider = checked.provider(has_key)
    serving_digest = digest({name: said for name, said in provider.items() if name != "has_key"})
    _write(tx, checked, provider, there is not None)
    _note(tx, by, checked, there["spec_digest"] if there else None)
    release = _route(tx, by, asked, serving_digest)
    if asked.key is not None:
        ground.keyring.put(f"provider/{asked.service}", asked.key.encode())
    return Attached(
        service=asked.service,
        release=release,
        serving_digest=serving_digest,
        url=checked.url,
        also=checked.also,
        snapshot=publish(tx, ground, by=by),
    )


def plan(conn: sa.Connection, *, asked: Attachment, at: int) -> dict[str, Any]:
    """What `attach` would do; changes nothing. Raises what `attach` raises."""
    checked = _checked(conn, asked, at)
    there = _there(conn, asked)
    return {
        "service": asked.service,
        "url": checked.url,
        "also": list(checked.also),
        "ca": digest_bytes(checked.ca.encode()) if checked.ca else None,
        "api": asked.api,
        "model": asked.model,
        "sensitivity": checked.sensitivity.word,
        "region": asked.region or None,
        "contract": checked.contract.as_plain() if checked.contract else None,
        "guard": checked.spec["guard"],
        "objectives": list(asked.objectives),
        "guard_at_least": floors.least(conn, asked.project, asked.purpose, int(checked.sensitivity)),
        "fallback": list(asked.fallback),
        "replaces": there is not None,
    }


def _checked(conn: sa.Connection, asked: Attachment, at: int) -> _Checked:
    """Read every word before anything is written."""
    check_name(asked.service, "service")
    check_name(asked.purpose, "purpose")
    currency = conn.scalar(sa.select(projects.c.currency).where(projects.c.name == asked.project))
    if currency is None:
        raise NotFound(
            kind="project", name=asked.project[:80], hint=f"`freehold project add {asked.project}`"
        )
    _check_words(asked)
    read_all(asked.objectives)
    _check_limits(asked, currency)
    url, *also = _addresses(asked)
    sensitivity = Sensitivity.parse(asked.sensitivity)
    contract = read_contract(asked.contract) if asked.contract else None
    for each in (url, *also):
        _check_contract(asked, each, sensitivity, contract, at)
    spec = _spec(asked)
    _check_fallback(conn, asked, sensitivity, spec)
    return _Checked(
        asked=asked,
        url=url,
        also=tuple(also),
        ca=_ca(asked, (url, *also)),
        sensitivity=sensitivity,
        contract=contract,
        spec=spec,
    )


def _ca(asked: Attachment, urls: Iterable[str]) -> str:
    """The certificates that vouch for it, where something is there to be vouched for."""
    if not asked.ca:
        return ""
    if plain := next((url for url in urls if not url.startswith("https:")), None):
        raise BadInput(
            what=f"nobody is asked to vouch for `{shown(plain)}`",
            why="over plain HTTP no certificate is shown",
            hint="use https, or leave out --provider-ca",
        )
    return checked_ca(asked.ca, "--provider-ca")


def _addresses(asked: Attachment) -> list[str]:
    """The first one, and those where the same model answers, too."""
    if len(asked.also) > MOST_ALSO:
        raise BadInput(
            what="a model has too many addresses",
            why=f"{MOST_ALSO} may stand beside the first one",
            hint="put a balancer of your own in front of the others",
        )
    found = [
        with_version(checked_url(url, what="provider", insecure=asked.insecure), asked.api)
        for url in (asked.url, *asked.also)
    ]
    if (twice := next((url for url in found if found.count(url) > 1), None)) is not None:
        raise BadInput(
            what=f"`{shown(twice)}` is named twice", why="it is one address", hint="leave one of them out"
        )
    return found


def _check_words(asked: Attachment) -> None:
    if not _MODEL.match(asked.model):
        raise BadInput(
            what="the model's name cannot be used",
            why="it is letters, digits and `. _ : / @ + -`, 200 characters at most",
            hint="add `--model NAME` as the provider calls it",
        )
    if asked.key is not None and not _KEY.match(asked.key):
        raise BadInput(
            what="the provider's key cannot be used",
            why="it is empty or holds blanks or characters that no HTTP header carries",
            hint="check the environment variable that --key-from names",
        )
    if asked.region:
        check_name(asked.region, "region")


def _check_limits(asked: Attachment, currency: str) -> None:
    requests_per_minute(asked.requests)
    tokens_per_minute(asked.tokens)
    if asked.cache:
        seconds(asked.cache)
    each = most(asked.each_key, currency), most(asked.each_subject, currency)
    money = spend_per_day(asked.spend, currency) or any(one.spend for one in each)
    if money and not any(Decimal(price(text)) for text in (asked.price_in, asked.price_out)):
        raise BadInput(
            what="a limit of money would hold nothing back",
            why="nothing says what a token costs, so nothing is ever spent",
            hint="add `--price-in` and `--price-out`, money per 1,000 tokens",
        )


def _check_contract(
    asked: Attachment, url: str, sensitivity: Sensitivity, contract: Contract | None, at: int
) -> None:
    host = urlsplit(url).hostname or ""
    if not is_private(host):
        _check_stays(host, sensitivity, contract)
    if contract is not None:
        check_covers(contract, purpose=asked.purpose, region=asked.region, sensitivity=sensitivity, at=at)
        return
    if sensitivity >= Sensitivity.CONFIDENTIAL and not is_private(host):
        raise ContractNeeded(
            sensitivity=sensitivity.word,
            host=host,
            why="nothing says that its operator may process them, where, and until when",
            hint="add `--region` and `--contract FILE`; docs/manual/attach.md shows one",
        )


def _check_stays(host: str, sensitivity: Sensitivity, contract: Contract | None) -> None:
    """No contract lets Restricted words out, and none says it does."""
    why = "they stay on this machine and private networks, whatever a contract says"
    if sensitivity >= Sensitivity.RESTRICTED:
        hint = "attach a model at an address there, or say `--sensitivity Confidential` at most"
        raise RestrictedStays(host=host, why=why, hint=hint)
    if contract is not None and contract.sensitivity >= Sensitivity.RESTRICTED:
        hint = "write `sensitivity: Confidential` in the contract's file"
        raise RestrictedStays(host=host, why=why, hint=hint)


def _check_fallback(
    conn: sa.Connection, asked: Attachment, sensitivity: Sensitivity, spec: dict[str, Any]
) -> None:
    """Judge it as gateways will see it."""
    fallbacks.check(
        conn,
        ServiceView(
            name=asked.service,
            project=asked.project,
            purpose=asked.purpose,
            sensitivity=int(sensitivity),
            tier="limited",
            subject=asked.subject,
            kind="attached",
            task="generate",
            state="live",
            regions=tuple(spec["regions"]),
            fallback=asked.fallback,
            guard_in=guard_view(spec, "in"),
            guard_out=guard_view(spec, "out"),
        ),
    )


def _spec(asked: Attachment) -> dict[str, Any]:
    """The parts of a service file that a gateway acts on, in a service file's words."""
    return {
        "service": asked.service,
        "project": asked.project,
        "owner": asked.owner,
        "purpose": asked.purpose,
        "sensitivity": asked.sensitivity,
        "tier": "limited",
        "regions": [asked.region] if asked.region else [],
        "subject": asked.subject,
        "limits": _limits(asked),
        "serve": _serve(asked),
        "guard": plain({side: asdict(guard) for side, guard in _guards(asked).items()}),
        "approve": [],
        **({"objectives": list(asked.objectives)} if asked.objectives else {}),
    }


def _serve(asked: Attachment) -> dict[str, Any]:
    more = {"cache": asked.cache, "fallback": list(asked.fallback)}
    return {"stale_for": "15m"} | {name: said for name, said in more.items() if said}


def _guards(asked: Attachment) -> dict[Side, Guard]:
    guards = read_guards(asked.guard)
    for side, guard in guards.items():
        for finding in checks.guarding(("guard", side), side, guard):
            raise BadGuard(word=".".join(map(str, finding.path)), why=finding.why, hint=finding.hint)
        if guard.domain is not None:
            raise BadGuard(
                word=f"{side}.domain",
                why="it is for tabular models of your own: nobody knows what a provider's learned from",
                hint="leave it out",
            )
    return guards


def _limits(asked: Attachment) -> dict[str, Any]:
    """As a service file writes them; what is not limited is left out, but for the two that always were."""
    more = {name: getattr(asked, name) for name in ("tokens", "at_once", "each_key", "each_subject")}
    said = {name: value for name, value in more.items() if value}
    return {"requests": asked.requests, "spend": asked.spend, **said}


def _there(conn: sa.Connection, asked: Attachment) -> dict[str, Any] | None:
    row = conn.execute(sa.select(services).where(services.c.name == asked.service)).mappings().first()
    if row is None:
        return None
    if row["project"] != asked.project or row["kind"] != "attached":
        raise NameTaken(
            name=asked.service,
            why="callers name a service without its project, so a name is given once",
            hint="choose another name with --as",
        )
    if not asked.replace:
        raise NameTaken(name=asked.service, why="it is attached already", hint="add --replace to change it")
    guarded = told_guards(json.loads(row["spec"]).get("guard", {}))
    if guarded and not asked.guard:
        raise BadInput(
            what=f"`{asked.service}` is guarded, and would not be any more",
            why=f"replacing takes everything that is not said again: {', '.join(guarded)}",
            hint="say its guards again, or `--guard in.pii=none` to take them away",
        )
    return dict(row)


def _write(tx: Tx, checked: _Checked, provider: dict[str, Any], there: bool) -> None:
    asked = checked.asked
    values = {
        "owner": asked.owner,
        "purpose": asked.purpose,
        "sensitivity": int(checked.sensitivity),
        "tier": "limited",
        "spec": canonical(checked.spec).decode(),
        "spec_digest": digest(checked.spec),
        "provider": canonical(provider).decode(),
        "changed_at": tx.at,
    }
    if there:  # a stopped service stays stopped
        tx.execute(services.update().where(services.c.name == asked.service).values(**values))
        return
    tx.execute(
        services.insert().values(
            name=asked.service,
            project=asked.project,
            kind="attached",
            state="live",
            because="",
            created_at=tx.at,
            **values,
        )
    )


def _note(tx: Tx, by: Principal, checked: _Checked, before: str | None) -> None:
    asked = checked.asked
    contract = checked.contract.digest if checked.contract else None
    detail: dict[str, str | None] = {"service": asked.service, "spec": digest(checked.spec)}
    detail |= {"region": asked.region or None, "contract": contract, "before": before}
    record(tx, "service.attached", by=by, object=asked.service, project=asked.project, detail=detail)


def _route(tx: Tx, by: Principal, asked: Attachment, serving_digest: str) -> str:
    """End what ran before, unless it is the same declaration, and begin a release of this one."""
    running = releases.select().where(releases.c.service == asked.service, releases.c.state == "live")
    for row in tx.execute(running).mappings().all():
        if row["serving_digest"] == serving_digest:
            return str(row["id"])
        tx.execute(releases.update().where(releases.c.id == row["id"]).values(state="ended", ended_at=tx.at))
        detail = {"release": row["id"], "service": asked.service, "state": "ended", "because": "replaced"}
        record(tx, "release.ended", by=by, object=row["id"], project=asked.project, detail=detail)
    id = new_id("rel")
    values = {"service": asked.service, "serving_digest": serving_digest, "weight": 10_000, "state": "live"}
    tx.execute(
        releases.insert().values(id=id, model=None, approvals="[]", because="", created_at=tx.at, **values)
    )
    record(tx, "release.begun", by=by, object=id, project=asked.project, detail={"release": id, **values})
    return id
