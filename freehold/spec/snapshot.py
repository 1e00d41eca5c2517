"""What gateways serve by: keys, services with routes, withdrawals; signed by control, swapped by pointer."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import msgspec

from freehold import __version__
from freehold.spec.domain import Domain
from freehold.spec.guard import Action
from freehold.spec.ids import canonical, digest_bytes

STOPPED = "stopped by its operators"
REBUILT = "its model learned from somebody who was forgotten; the rebuilt one is not approved yet"
"""Why a service does not answer, for callers."""

PAYLOAD_TYPE = "application/vnd.freehold.snapshot+json"
FEW = 512
"""Keys, or withdrawals, that stand in the snapshot itself; more of them stand in pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """What may be used; None is no limit."""

    requests: int | None = None
    """In any 60 seconds."""
    tokens: int | None = None
    """Read and written, in any 60 seconds."""
    spend: str | None = None
    """Decimal text in the project's currency, a day."""
    at_once: int | None = None
    """Requests under way together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardView:
    """What one direction of a service is guarded by; `none` is not looked for."""

    pii: Action = "none"
    secrets: Action = "none"
    injection: Literal["none", "observe", "refuse"] = "none"
    documents: Literal["none", "mark", "no-tools"] = "none"
    domain: Literal["none", "observe", "refuse"] = "none"
    flag_above: int | None = None
    """Injection: of 10,000; None is the shipped one."""
    refuse_above: int | None = None
    budget: int = 500
    """Milliseconds one guard may take for one request."""


NO_GUARD = GuardView()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A serving key as a gateway sees it: enough to recognise it, not to use it."""

    id: str
    secret_digest: str
    """SHA-256 of the secret, hex."""
    owner: str
    project: str
    services: tuple[str, ...]
    """Empty: every service of the project."""
    purpose: str | None
    """The default purpose of requests with this key."""
    expires_at: int | None
    most: Most = field(default_factory=Most)
    """What its requests may use, at all services together."""
    guard_in: GuardView = NO_GUARD
    guard_out: GuardView = NO_GUARD
    """What its requests are guarded by at least, at every service."""
    sensitivity: int | None = None
    """The most sensitive services it may ask; None: any."""
    origin: str = ""
    """Of a renewed one the first of them: what was used with that counts for it, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that answers: our own engine on a Unix socket, or a provider at a URL."""

    kind: Literal["engine", "provider"]
    name: str
    """The model's name there."""
    serving_digest: str
    """For a provider: the digest of its declaration (URL, model, region, contract)."""
    url: str = ""
    """Providers: the base URL that `/chat/completions` is put behind. Engines: empty, the socket follows
    from the digest."""
    secret: str = ""
    """Providers: the API key, sealed to the gateway (HPKE about `provider/{service}`, base64); empty
    when none is needed."""
    region: str = ""
    contract_until: int | None = None
    """A provider whose contract has ended is not called."""
    price_in: str = "0"
    """Decimal text per 1,000 tokens of input, in the project's currency."""
    price_out: str = "0"
    api: Literal["openai", "azure", "anthropic", "gemini"] = "openai"
    """Whose words a provider understands."""
    inside: bool = False
    """Providers: whether it stands on this machine or a private network."""
    also: tuple[str, ...] = ()
    """Providers: further base URLs where the same model answers."""
    ca: str = ""
    """Providers: the certificates (PEM) that alone vouch for its addresses; empty: the machine's CAs."""
    domain: Domain | None = None
    """Tabular models: what they were trained on. None: nobody learned it; empty: it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A release's share of a service's traffic."""

    release: str
    weight: int
    """Of 10,000."""
    target: Target
    until: int | None = None
    """Microseconds UTC: after that nobody is answered by it, whether control is there to say so or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input of a model, in Open Inference Protocol words."""

    name: str
    datatype: Literal["BYTES", "FP64", "INT64", "BOOL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service as a gateway sees it."""

    name: str
    project: str
    purpose: str
    sensitivity: int
    tier: str
    subject: Literal["required", "optional", "none"]
    kind: Literal["own", "attached"]
    task: Literal["classify", "tabular", "generate"]
    state: Literal["live", "stopped"]
    because: str = ""
    """Why it is stopped, for callers: a fixed word, never free text."""
    inputs: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    most: Most = field(default_factory=Most)
    """What may be used of it, by everybody together."""
    each_key: Most = field(default_factory=Most)
    each_subject: Most = field(default_factory=Most)
    """What each key, and requests about each person, may use of it."""
    timezone: str = "UTC"
    """Where its days begin and end."""
    cache: int = 0
    """Seconds for which the same question gets the same answer; 0: never."""
    stale_for: int = 900
    """Seconds it is served without news from control."""
    fallback: tuple[str, ...] = ()
    """Services whose targets are asked in its place when its own cannot answer, in this order."""
    regions: tuple[str, ...] = ()
    guard_in: GuardView = NO_GUARD
    guard_out: GuardView = NO_GUARD
    shadow: Route | None = None
    """The release that gets a copy of what its live one has answered, and answers nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A subject who withdrew consent for a purpose in a project."""

    project: str
    subject: str
    purpose: str

    @property
    def id(self) -> str:
        """Whose it is: one person in one project."""
        return f"{self.project}/{self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantView:
    """What callers without a key of ours may ask."""

    project: str
    services: tuple[str, ...]
    """Empty: every service of the project."""
    purpose: str | None
    most: Most = field(default_factory=Most)
    """What each of them may use."""
    sensitivity: int | None = None
    """The most sensitive services they may ask; None: any."""
    where: dict[str, str] = field(default_factory=dict)
    """Tokens: the claims it takes."""
    name: str = ""
    """Certificates: the name it takes, such as `uri:spiffe://bank/claims`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A public key of an identity provider."""

    kid: str
    spki: str
    """SubjectPublicKeyInfo, DER, base64."""
    algorithms: tuple[str, ...]
    """The signatures it may have made: asymmetric ones of its own kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerView:
    """An identity provider whose tokens count."""

    issuer: str
    audience: str
    keys: tuple[TokenKey, ...]
    leeway: int
    """Seconds that clocks may differ."""
    subject: str
    """The claim that names the person; empty: the request says it."""
    grants: tuple[GrantView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What was done about somebody who looks like an attacker."""

    incident: str
    key: str
    """The id of the key, or what stands for the holder of a token or certificate."""
    subject: str
    """HMAC of the person whose requests with this key it is about; empty: all of its requests."""
    does: Literal["throttle", "lock", "renew"]
    since: int
    """Microseconds UTC: a token that was issued later is another one."""
    until: int | None
    """None: until somebody ends it."""
    pace: int
    """Throttled: requests a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Records that are too many to stand in the snapshot: it names the pages that hold them, by digest.

    A page is the canonical JSON of a list. What a change leaves as it is keeps its page, and whoever has
    that already needs not ask for it.
    """

    form: str = ""
    """Which fields the records have (`form_of`)."""
    digests: dict[str, str] = field(default_factory=dict)
    """`page_of` a record's id -> the digest of the page it is in."""


NO_PAGES = Pages()


def page_of(id: str) -> str:
    """Which page a record is in: its id ends in random letters, which spread them evenly."""
    return id[-2:]


def form_of(*kinds: type[Any]) -> str:
    """What changes when a release gives these records other fields, and with each release: it may make
    another record of the same row. Then none of their pages can stay."""
    said = {kind.__name__: [(one.name, str(one.type)) for one in fields(kind)] for kind in kinds}
    return digest_bytes(canonical({"release": __version__, "records": said}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one index. A higher index replaces a lower one, never the other way round."""

    ix: int
    entry: str
    """The ledger entry that published it."""
    issued_at: int
    origin: str
    """The installation's name, as in its ledger checkpoints."""
    spool_key: str
    """Control's HPKE public key, base64: gateways seal their spools to it."""
    lookup: dict[str, str] = field(default_factory=dict)
    """project -> the key that turns a subject into its HMAC, sealed to the gateway (HPKE about
    `lookup/{project}`, base64): a snapshot also lies in the database and its backups, where these keys
    may not stand open."""
    projects: dict[str, Most] = field(default_factory=dict)
    """What all services of a project may use together, where that is limited."""
    keys: tuple[KeyView, ...] = ()
    key_pages: Pages = NO_PAGES
    """Where the keys are when they are many; then none stands here."""
    issuers: tuple[IssuerView, ...] = ()
    client_ca: str = ""
    """Who signs client certificates (PEM); empty: none is asked for."""
    certificates: tuple[GrantView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    withdrawal_pages: Pages = NO_PAGES
    """Where the withdrawals are when they are many; then none stands here."""
    revoked: tuple[str, ...] = ()
    """Serving digests that learned from somebody who was forgotten: neither routed to nor loaded."""
    forgotten_at: int = 0
    """When somebody was forgotten last, microseconds UTC; no answer kept from before is given again."""
    restraints: tuple[Restraint, ...] = ()
    """Who is held back."""
    policy: str = ""
    """Digest of the Cedar policies by which control let people change what stands here."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        from dataclasses import asdict

        return asdict(self)

    def canonical(self) -> bytes:
        """What is signed: `ids.canonical` of `as_json`, straight from the records, which hold no floats."""
        return _written(self)


_written = msgspec.json.Encoder(order="sorted").encode
KEY_FORM = form_of(KeyView, Most, GuardView)
WITHDRAWAL_FORM = form_of(Withdrawal)
