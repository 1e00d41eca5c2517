"""What a service file or `freehold.yaml` must say beyond its types: each finding names its field.

Pure judgement on records, so that the same checks serve files, the API and tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from zoneinfo import ZoneInfo

from freehold.errors import BadInput
from freehold.spec.callers import CertificateGrant, TokenGrant, Tokens
from freehold.spec.config import Config, Hsm, Tls
from freehold.spec.figures import plural
from freehold.spec.guard import Guard, Side, milliseconds
from freehold.spec.ids import check_name, parse_reference
from freehold.spec.limits import (
    most,
    on_forget,
    requests_per_minute,
    seconds,
    spend_per_day,
    tokens_per_minute,
)
from freehold.spec.objectives import read_all
from freehold.spec.plain import DECIMAL
from freehold.spec.rollout import stages
from freehold.spec.s3 import SCHEME, place
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.service import Gate, Model, Service
from freehold.spec.sizes import memory_bytes
from freehold.spec.watching import LONGEST, MOST_RULES, Watch, settled

APPROVALS = {"sandbox": 0, "limited": 2, "high": 2}
"""How many people have to approve in each tier, at least."""

MOST_REASON = 400
_MOST_LEEWAY = 300
"""Seconds."""

_ADDRESS = re.compile(r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(\d{1,5})$")
_UP, _DOWN = ("accuracy", "macro_f1", "auc", "exact_match"), ("recall_gap", "token_loss")
_OF_TEXT = ("exact_match", "token_loss")
"""Metrics of text that is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    path: tuple[str | int, ...]
    why: str
    hint: str = ""


def service(given: Service) -> Iterator[Finding]:
    """Everything that is wrong with a service, in the order of the file."""
    yield from _words(given)
    yield from _model(given)
    for name, gate in given.gates.items():
        yield from _reads(partial(check_name, name, "gate"), ("gates", name))
        yield from _gate(("gates", name), gate)
        yield from _measures(("gates", name), gate, given.model)
    yield from _approvers(given)
    yield from _serving(given)
    for side, guard in given.guard.items():
        yield from guarding(("guard", side), side, guard)
        if guard.domain is not None and side == "in" and given.model.task != "tabular":
            yield Finding(
                path=("guard", side, "domain"), why="only `task: tabular` has one", hint="leave it out"
            )
    yield from _examples(given)
    for i in range(len(given.objectives)):  # one that is there twice is told where it is said again
        yield from _reads(partial(read_all, given.objectives[: i + 1]), ("objectives", i))


def guarding(path: tuple[str, ...], side: Side, guard: Guard) -> Iterator[Finding]:
    """What one direction cannot do, and thresholds that contradict each other."""
    yield from _reads(lambda: milliseconds(guard.budget), (*path, "budget"))
    if side == "out":
        for name, words in _ONLY_IN.items():
            if getattr(guard, name) in words:
                hint = "write `mask`" if name in ("pii", "secrets") else "write it under `in`"
                yield Finding(path=(*path, name), why="an answer is not guarded this way", hint=hint)
    for name in ("flag_above", "refuse_above"):
        above = getattr(guard, name)
        if above is not None and not 0 < above < 1:
            yield Finding(path=(*path, name), why="a score is between 0 and 1")
        elif above is not None and guard.injection == "none":
            yield Finding(path=(*path, name), why="it is for `injection`", hint="add `injection: refuse`")
    flag, refuse = guard.flag_above, guard.refuse_above
    if flag is not None and refuse is not None and flag > refuse:
        yield Finding(path=(*path, "flag_above"), why="what is refused is above what is flagged")


_ONLY_IN = {
    "pii": ("tokenize",),
    "secrets": ("tokenize",),
    "injection": ("observe", "refuse"),
    "documents": ("mark", "no-tools"),
    "domain": ("observe", "refuse"),
}


def _words(given: Service) -> Iterator[Finding]:
    yield from _reads(lambda: check_name(given.service, "service"), ("service",))
    yield from _reads(lambda: check_name(given.project, "project"), ("project",))
    yield from _reads(lambda: check_name(given.purpose, "purpose"), ("purpose",))
    yield from _reads(lambda: Sensitivity.parse(given.sensitivity), ("sensitivity",))
    if not given.owner.strip() or len(given.owner) > 254:
        yield Finding(path=("owner",), why="someone has to answer for the service", hint="write an address")
    for i, region in enumerate(given.regions):
        yield from _reads(partial(check_name, region, "region"), ("regions", i))


def _model(given: Service) -> Iterator[Finding]:
    model = given.model
    yield from _reads(lambda: parse_reference(model.data), ("model", "data"))
    if model.trainer == "boosting" and model.task != "tabular":
        yield Finding(
            path=("model", "trainer"),
            why="boosting learns from columns, and `classify` reads text",
            hint="write `trainer: linear`, or `task: tabular`",
        )
    if model.features and model.task != "tabular":
        yield Finding(
            path=("model", "features"), why="only `task: tabular` chooses columns", hint="leave it out"
        )
    yield from _tuning(model)
    if DECIMAL in model.train:
        yield Finding(path=("model", "train", DECIMAL), why="this name is used inside Freehold")
    yield from _reads(lambda: memory_bytes(model.memory), ("model", "memory"))
    yield from _reads(lambda: seconds(model.wall), ("model", "wall"))


def _tuning(model: Model) -> Iterator[Finding]:
    """A base and how it is tuned belong together."""
    if model.base:
        yield from _reads(lambda: parse_reference(model.base, "base model"), ("model", "base"))
    if model.base and model.tune == "none":
        yield Finding(
            path=("model", "tune"),
            why="a base model that is not tuned is no service of its own",
            hint="write `tune: lora`",
        )
    if model.tune != "none" and not model.base:
        yield Finding(path=("model", "tune"), why="there is no base model to tune", hint="add `base: name@1`")
    if model.task == "generate" and model.tune != "lora":
        yield Finding(
            path=("model", "tune"),
            why="`task: generate` is tuned from a base model with LoRA",
            hint="write `base: name@1` and `tune: lora`",
        )
    if model.base and model.task == "tabular":
        yield Finding(
            path=("model", "base"), why="`task: tabular` reads columns, base models text", hint="leave it out"
        )


def _gate(path: tuple[str, str], gate: Gate) -> Iterator[Finding]:
    if gate.against != "held-out":
        yield from _reads(lambda: parse_reference(gate.against), (*path, "against"))
    bounds = {"lower_bound": gate.lower_bound, "upper_bound": gate.upper_bound, "value": gate.value}
    said = [name for name, bound in bounds.items() if bound is not None]
    if len(said) != 1:
        yield Finding(
            path=path,
            why=f"it says {', '.join(said)}, and only one can count" if said else "it says no bound",
            hint="write exactly one of lower_bound, upper_bound, value",
        )
        return
    (which,) = said
    if gate.metric == "token_loss" and (bounds[which] or 0.0) < 0:
        yield Finding(path=(*path, which), why="a loss is at least 0")
    if gate.metric != "token_loss" and not 0 <= (bounds[which] or 0.0) <= 1:
        yield Finding(path=(*path, which), why=f"{gate.metric} lies between 0 and 1")
    if which == "upper_bound" and gate.metric in _UP:
        yield Finding(
            path=(*path, which), why=f"{gate.metric} is better when higher", hint="write `lower_bound`"
        )
    if which == "lower_bound" and gate.metric in _DOWN:
        yield Finding(
            path=(*path, which), why=f"{gate.metric} is better when lower", hint="write `upper_bound`"
        )
    yield from _across(path, gate)


def _measures(path: tuple[str, str], gate: Gate, model: Model) -> Iterator[Finding]:
    """Text that is written has other figures than classes."""
    writes = model.task == "generate"
    if writes != (gate.metric in _OF_TEXT):
        yield Finding(
            path=(*path, "metric"),
            why=f"`task: {model.task}` is not measured by {gate.metric}",
            hint="use exact_match or token_loss" if writes else "use accuracy, macro_f1, auc or recall_gap",
        )


def _across(path: tuple[str, str], gate: Gate) -> Iterator[Finding]:
    if gate.metric == "recall_gap" and not gate.across:
        yield Finding(
            path=path,
            why="a gap is between groups, and no column says which",
            hint="add `across: [column]`",
        )
    if gate.metric != "recall_gap" and gate.across:
        yield Finding(path=(*path, "across"), why=f"{gate.metric} compares no groups", hint="leave it out")
    if gate.metric != "recall_gap" and gate.of:
        yield Finding(path=(*path, "of"), why=f"{gate.metric} is of all classes", hint="leave it out")


def _approvers(given: Service) -> Iterator[Finding]:
    needed = APPROVALS[given.tier]
    if len(given.approve) < needed:
        yield Finding(
            path=("approve",),
            why=f"tier {given.tier} needs {plural(needed, 'person', 'people')}, {len(given.approve)} named",
            hint="list a role for each, such as `- role: model-risk`, or write `tier: sandbox`",
        )
    elif given.tier == "high" and len({a.role for a in given.approve}) < 2:
        yield Finding(
            path=("approve",),
            why="tier high needs two different roles: two of one kind look the same way",
            hint="use model-risk and data-protection",
        )
    if given.tier == "high" and not given.gates:
        yield Finding(path=("gates",), why="tier high needs at least one gate", hint="say what it must reach")


def _serving(given: Service) -> Iterator[Finding]:
    wanted = "torch" if given.model.task == "generate" else "onnx"
    if given.serve.engine != wanted:
        yield Finding(
            path=("serve", "engine"),
            why=f"`task: {given.model.task}` is answered by {wanted}",
            hint=f"write `serve: {{engine: {wanted}}}`",
        )
    yield from _reads(lambda: stages(given.serve.rollout), ("serve", "rollout"))
    yield from _reads(lambda: seconds(given.serve.stale_for), ("serve", "stale_for"))
    if given.serve.cache:
        yield from _reads(lambda: seconds(given.serve.cache), ("serve", "cache"))
    if given.serve.cache and given.sensitivity == "Restricted":
        yield Finding(
            path=("serve", "cache"), why="Restricted answers are never kept", hint="leave `cache` out"
        )
    yield from _standing_in(given)
    yield from _forgetting(given)
    yield from _reads(lambda: requests_per_minute(given.limits.requests), ("limits", "requests"))
    currency = re.search(r"[A-Z]{3}", given.limits.spend)  # whether it is the project's is asked at plan
    yield from _reads(
        lambda: spend_per_day(given.limits.spend, currency[0] if currency else "EUR"), ("limits", "spend")
    )
    yield from _reads(lambda: tokens_per_minute(given.limits.tokens), ("limits", "tokens"))
    if given.limits.at_once < 0:
        yield Finding(path=("limits", "at_once"), why="it is below zero", hint="write `at_once: 8`")
    for name, text in (("each_key", given.limits.each_key), ("each_subject", given.limits.each_subject)):
        spelled = re.search(r"[A-Z]{3}", text)
        yield from _reads(partial(most, text, spelled[0] if spelled else "EUR"), ("limits", name))
    if given.limits.each_subject and given.subject == "none":
        yield Finding(
            path=("limits", "each_subject"),
            why="no request to it names a person",
            hint="leave it out, or write `subject: optional`",
        )


def _standing_in(given: Service) -> Iterator[Finding]:
    if given.serve.fallback and given.model.task != "generate":
        yield Finding(
            path=("serve", "fallback"),
            why="another service has other classes: nobody stands in for a classifier",
            hint="leave it out; `freehold rollback` brings the earlier model back",
        )
    for i, name in enumerate(given.serve.fallback):
        yield from _reads(lambda name=name: check_name(name, "service"), ("serve", "fallback", i))  # type: ignore[misc]


def _forgetting(given: Service) -> Iterator[Finding]:
    yield from _reads(lambda: on_forget(given.serve.on_forget), ("serve", "on_forget"))
    keeps = given.serve.on_forget.startswith("keep")
    if keeps and not given.serve.keep_because.strip():
        yield Finding(
            path=("serve", "on_forget"),
            why="who asked to be forgotten may ask why the model that knew them still answers",
            hint="say so in `keep_because`, or write `on_forget: fall_back`",
        )
    if given.serve.keep_because and not keeps:
        yield Finding(
            path=("serve", "keep_because"), why="only `on_forget: keep …` keeps anything", hint="leave it out"
        )
    if len(given.serve.keep_because) > MOST_REASON:
        yield Finding(path=("serve", "keep_because"), why=f"it has more than {MOST_REASON} characters")


def _examples(given: Service) -> Iterator[Finding]:
    for i, example in enumerate(given.examples):
        word = "text" if given.model.task == "generate" else "class"
        if set(example.expect) != {word}:
            yield Finding(
                path=("examples", i, "expect"),
                why="a generator answers with a text"
                if word == "text"
                else "a classifier's answer has a class",
                hint=f"write `expect: {{{word}: …}}`",
            )
        if given.model.task != "tabular" and len(example.ask) != 1:
            yield Finding(
                path=("examples", i, "ask"),
                why=f"`task: {given.model.task}` reads one text",
                hint="write `ask: {…: …}` with the name of the text column",
            )
        if DECIMAL in example.ask:
            yield Finding(path=("examples", i, "ask"), why=f"the name `{DECIMAL}` is used inside Freehold")
        if not example.ask:
            yield Finding(path=("examples", i, "ask"), why="it asks nothing")


def config(given: Config) -> Iterator[Finding]:
    """Everything that is wrong with `freehold.yaml`."""
    for name in ("control", "gateway"):
        yield from _reads(lambda name=name: address(getattr(given, name)), (name,))  # type: ignore[misc]
    if given.database and not given.database.startswith(("postgresql://", "postgres://")):
        yield Finding(  # what stands there is not repeated: it may hold a password
            path=("database",),
            why="it is the address of a Postgres database",
            hint="write postgresql://user@host:5432/name, or leave it out for a file in the folder",
        )
    yield from _reads(lambda: check_name(given.region, "region"), ("region",))
    if not re.fullmatch(r"[A-Z]{3}", given.currency):
        yield Finding(path=("currency",), why="a currency has three letters", hint="write `EUR`")
    yield from _zone(given.timezone)
    for name in ("tariff", "watts_per_core", "grams_per_kwh"):
        yield from _decimal((name,), getattr(given, name))
    if not 1 <= given.gateways <= 32:
        yield Finding(path=("gateways",), why="between 1 and 32 gateways run on one machine")
    if not 0 <= given.workers <= 64:
        yield Finding(path=("workers",), why="between 0 and 64 workers run on one machine")
    if given.anchor.startswith(SCHEME):
        yield from _reads(lambda: place(given.anchor), ("anchor",))
    elif given.anchor and not given.anchor.startswith("/"):
        why = "it is neither an absolute path of a file nor a place in S3"
        hint = "write `/mnt/elsewhere/freehold.anchor` or `s3://BUCKET/PREFIX`"
        yield Finding(path=("anchor",), why=why, hint=hint)
    if not 1 <= given.mail.port <= 65535:
        yield Finding(path=("mail", "port"), why="ports lie between 1 and 65535")
    if given.objects:
        yield from _reads(lambda: place(given.objects), ("objects",))
    yield from _hsm(given.hsm)
    yield from _tls(given.tls)
    yield from _callers(given)
    if len(given.watch) > MOST_RULES:
        yield Finding(path=("watch",), why=f"there are {MOST_RULES} rules at most")
    for number, one in enumerate(given.watch):
        yield from _watch(("watch", number), one)


def _watch(path: tuple[str | int, ...], given: Watch) -> Iterator[Finding]:
    """A rule whose numbers can be reckoned with, and no field that nothing acts on."""
    if given.project:
        yield from _reads(lambda: check_name(given.project, "project"), (*path, "project"))
    for number, service in enumerate(given.services):
        yield from _reads(partial(check_name, service, "service"), (*path, "services", number))
    if given.services and not given.project:
        yield Finding(
            path=(*path, "services"), why="services are a project's", hint="say which: `project: claims`"
        )
    for name in ("within", "share", "to", "lasts"):
        alone = Watch(rule=given.rule, **{name: getattr(given, name)})
        yield from _reads(partial(settled, alone), (*path, name))
    if given.after and not 1 <= given.after <= 1_000_000:
        yield Finding(path=(*path, "after"), why="it is a number between 1 and 1,000,000")
    if given.within and not 1 <= seconds(given.within) <= LONGEST:
        yield Finding(path=(*path, "within"), why="a rule looks back a day at most", hint="write `10m`")
    if given.rule == "scraping" and given.share:
        yield Finding(path=(*path, "share"), why="scraping is counted, not compared", hint="leave it out")
    if not seconds(given.lasts):
        yield Finding(path=(*path, "lasts"), why="it is over before it begins", hint="write `15m`")
    if not given.to:
        yield Finding(path=(*path, "to"), why="it is a number of requests a minute", hint="write `6/min`")


def _tls(given: Tls) -> Iterator[Finding]:
    missing = [name for name in ("certificate", "key") if not getattr(given, name)]
    if len(missing) == 1:
        yield Finding(path=("tls", missing[0]), why="a certificate and its key go together")
    yield from _absolute(("tls", "certificate"), given.certificate)
    yield from _absolute(("tls", "key"), given.key)


def _absolute(path: tuple[str | int, ...], given: str) -> Iterator[Finding]:
    if given and not given.startswith("/"):
        why = "it is no absolute path, and parts work in folders of their own"
        yield Finding(path=path, why=why, hint="write `/etc/freehold/…`")


def _callers(given: Config) -> Iterator[Finding]:
    """Who may ask without an API key: words that can be read, and nothing said twice."""
    said = given.callers
    names = [issuer.issuer for issuer in said.tokens]
    for i, issuer in enumerate(said.tokens):
        at = ("callers", "tokens", i)
        if issuer.issuer in names[:i]:
            yield Finding(path=(*at, "issuer"), why="it is declared twice", hint="join their grants")
        yield from _issuer(at, issuer)
        for j, grant in enumerate(issuer.grants):
            yield from _grant((*at, "grants", j), grant, given.currency)
    yield from _absolute(("callers", "certificates", "ca"), said.certificates.ca)
    for i, named in enumerate(said.certificates.grants):
        where = ("callers", "certificates", "grants", i)
        if not re.fullmatch(r"(uri|dns|cn):\S.*", named.name):
            why = "it is a kind and a name: `uri:…`, `dns:…` or `cn:…`"
            yield Finding(path=(*where, "name"), why=why, hint="write `uri:spiffe://bank/claims`")
        yield from _grant(where, named, given.currency)
    if said.certificates.grants and not said.certificates.ca:
        yield Finding(path=("callers", "certificates"), why="it does not say whose certificates count: `ca`")


def _issuer(at: tuple[str | int, ...], given: Tokens) -> Iterator[Finding]:
    for name in ("issuer", "audience"):
        if not getattr(given, name):
            yield Finding(path=(*at, name), why="a token that does not say it would be anybody's")
    if not given.algorithms:
        yield Finding(path=(*at, "algorithms"), why="without one no token counts", hint="write `[RS256]`")
    if not re.match(r"/|https://.|http://(127\.0\.0\.1|\[::1\]|localhost)[:/]", given.keys):
        why = "it is an absolute path or an `https://…` address: keys that come in the open are anybody's"
        yield Finding(path=(*at, "keys"), why=why)
    yield from _absolute((*at, "ca"), given.ca)
    yield from _reads(lambda: seconds(given.leeway), (*at, "leeway"))
    if not list(_reads(lambda: seconds(given.leeway), ())) and seconds(given.leeway) > _MOST_LEEWAY:
        yield Finding(path=(*at, "leeway"), why="clocks that differ by more than five minutes are wrong")


def _grant(
    at: tuple[str | int, ...], given: TokenGrant | CertificateGrant, currency: str
) -> Iterator[Finding]:
    yield from _reads(lambda: check_name(given.project, "project"), (*at, "project"))
    for i, service in enumerate(given.services):
        yield from _reads(partial(check_name, service, "service"), (*at, "services", i))
    if given.purpose:
        yield from _reads(lambda: check_name(given.purpose, "purpose"), (*at, "purpose"))
    yield from _reads(lambda: most(given.limits, _currency_of(given.limits) or currency), (*at, "limits"))
    if given.sensitivity:
        yield from _reads(lambda: Sensitivity.parse(given.sensitivity), (*at, "sensitivity"))


def _currency_of(limits: str) -> str:
    """The currency a limit names: whether it is the project's own shows when gateways get it."""
    found = re.search(r"\b([A-Z]{3})\s*/\s*day", limits)
    return found[1] if found else ""


def _hsm(given: Hsm) -> Iterator[Finding]:
    said = {name: getattr(given, name) for name in ("module", "token", "pin_file")}
    missing = [name for name, value in said.items() if not value]
    if missing and len(missing) < len(said):
        yield Finding(path=("hsm", missing[0]), why="an HSM takes `module`, `token` and `pin_file`")
    if given.pin_file and not given.pin_file.startswith("/"):
        why = "it is no absolute path, and control works in a folder of its own"
        yield Finding(path=("hsm", "pin_file"), why=why, hint="write `/etc/freehold/pin`")


def address(text: str) -> tuple[str, int]:
    """`host:port` as a pair; port 0 means any free one. Raises BadInput."""
    found = _ADDRESS.match(text)
    if not found or int(found[2]) > 65535:
        raise BadInput(
            what=f"`{text[:80]}` is no address", why="it is `host:port`", hint="write `127.0.0.1:7400`"
        )
    return found[1].strip("[]"), int(found[2])


def _zone(name: str) -> Iterator[Finding]:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        yield Finding(
            path=("timezone",), why=f"`{name[:40]}` is no time zone", hint="write one such as `Europe/Vienna`"
        )


def _decimal(path: tuple[str], text: str) -> Iterator[Finding]:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        yield Finding(
            path=path, why=f"`{text[:40]}` is no amount", hint='write a number as text, such as "0.30"'
        )


def _reads(read: Callable[[], object], path: tuple[str | int, ...]) -> Iterator[Finding]:
    """A finding when a word cannot be read."""
    try:
        read()
    except BadInput as error:
        yield Finding(path=path, why=error.what + (f": {error.why}" if error.why else ""), hint=error.hint)
