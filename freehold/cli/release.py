"""`freehold approve`, `rollback`, `stop`, `resume`, `attach`, `notify`: what people decide about services."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.groups import Group
from freehold.cli.path import segment
from freehold.cli.show import say, table, with_control
from freehold.cli.times import moment
from freehold.errors import BadInput, NotFound

if TYPE_CHECKING:
    from freehold.client import Freehold


class NoVariable(BadInput):
    """the environment variable `{name}` is not set"""


class NothingForYou(NotFound):
    """no approval for `{service}` waits for you"""


def _from_environment(name: str | None) -> str | None:
    """A secret by the name of its variable: on the command line it would stand in the shell's history."""
    if name is None:
        return None
    if not os.environ.get(name):
        raise NoVariable(
            name=name[:60],
            why="the key is read from there, so that it is in no command line and no history",
            hint=f"`read -rs {name} && export {name}`",
        )
    return os.environ[name]


# -- approvals --------------------------------------------------------------------------------------


@click.group(cls=Group, invoke_without_command=True, about="give")
@with_control
def approve(control: Freehold, as_json: bool) -> None:
    """See what waits for you, with its evidence; give it or refuse it."""
    if click.get_current_context().invoked_subcommand is None:
        _list_approvals(control, as_json, "waiting")


@approve.command("list")
@click.option("--all", "every", is_flag=True, help="the decided ones too")
@with_control
def list_approvals(control: Freehold, as_json: bool, every: bool) -> None:
    """What waits, and whether you may decide it."""
    _list_approvals(control, as_json, "all" if every else "waiting")


def _list_approvals(control: Freehold, as_json: bool, state: str) -> None:
    say(control.get("/api/approvals", state=state), as_json, _approvals_table)


def _approvals_table(found: list[dict[str, Any]]) -> str:
    rows = [
        row
        | {
            "asked": moment(row["requested_at"]),
            "you": "you may decide" if not row["not_you"] else f"not you: {row['not_you']}",
        }
        for row in found
    ]
    return table(rows, ("id", "service", "model", "role", "state", "asked", "you"))


@approve.command("show")
@click.argument("approval")
@with_control
def show_approval(control: Freehold, as_json: bool, approval: str) -> None:
    """One approval with its evidence: the gates, the digest, who else decides.

    APPROVAL is its id, or a service's name for the one that waits for you there.
    """
    say(control.get(f"/api/approvals/{_meant(control, approval)}"), as_json, _evidence)


def _meant(control: Freehold, word: str) -> str:
    """The approval's id: itself, or by the service whose approval waits for whoever asks."""
    if word.startswith("apr_"):
        return segment(word, "approval")
    waiting = control.get("/api/approvals", state="waiting")
    mine = [a["id"] for a in waiting if a["service"] == word and not a["not_you"]]
    if len(mine) == 1:
        return str(mine[0])
    reasons = {a["not_you"] for a in waiting if a["service"] == word} - {""}
    why = f"{len(mine)} do: name one by its id" if mine else "; ".join(sorted(reasons))
    raise NothingForYou(service=word[:63], why=why, hint="`freehold approve` lists what waits")


def _evidence(a: Mapping[str, Any]) -> str:
    lines = [
        f"{a['id']} is {a['state']}",
        f"  service   {a['service']} in {a['project']}",
        f"  model     {a['model']}",
        f"  digest    {a['serving_digest']}",
        f"  role      {a['role']}",
        f"  asked by  {a['requested_by']} at {moment(a['requested_at'])}",
        f"  counts    until {moment(a['expires_at'])}",
    ]
    if a["decided_by"]:
        lines.append(f"  decided   {a['decided_by']} at {moment(a['decided_at'])}")
    if a["because"]:
        lines.append(f"  because   {a['because']}")
    lines += [f"  {name.ljust(9)} {value}" for name, value in a["evidence"].items() if isinstance(value, str)]
    others = ", ".join(f"{o['role']} {o['state']}" for o in a["set"] if o["id"] != a["id"])
    lines += [f"  others    {others or 'none'}", *_gates(a["card"])]
    lines.append("you may decide" if not a["not_you"] else f"you may not decide: {a['not_you']}")
    return "\n".join(lines)


def _gates(card: Mapping[str, Any] | None) -> list[str]:
    if card is None:
        return ["  card      none"]
    gates = card["body"].get("gates", [])
    told = [f"    {'✓' if gate['passed'] else '✗'} {gate['name']}: {gate['because']}" for gate in gates]
    return [f"  card      {card['id']}, {'passed' if card['passed'] else 'not passed'}", *told]


@approve.command("give")
@click.argument("approval")
@click.option("--because", default="", help="a reason for the record")
@with_control
def give(control: Freehold, as_json: bool, approval: str, because: str) -> None:
    """Approve it, by its id or its service. The last one given lets the release begin."""
    _decide(control, as_json, approval, {"give": True, "because": because})


@approve.command("refuse")
@click.argument("approval")
@click.option("--because", required=True, help="why; whoever reads the record later has only this")
@with_control
def refuse(control: Freehold, as_json: bool, approval: str, because: str) -> None:
    """Refuse it, by its id or its service. The model is held, and nobody else can approve it."""
    _decide(control, as_json, approval, {"give": False, "because": because})


def _decide(control: Freehold, as_json: bool, approval: str, body: dict[str, Any]) -> None:
    done = control.post(f"/api/approvals/{_meant(control, approval)}", body)
    say(done, as_json, _decided)


def _decided(done: Mapping[str, Any]) -> str:
    said = f"{done['model']} for {done['service']}: {done['role']} {done['state']}"
    if done["state"] != "given":
        return f"{said}; the model is held"
    if done["complete"]:
        return f"{said}; all approvals are there, the release begins"
    return f"{said}; still waits for {' and '.join(done['waiting'])}"


# -- services ---------------------------------------------------------------------------------------


@click.command()
@click.argument("service")
@click.option("--because", default="", help="why, for the record; needed unless --plan")
@click.option("--plan", is_flag=True, help="only show what would happen")
@with_control
def rollback(control: Freehold, as_json: bool, service: str, because: str, plan: bool) -> None:
    """Give SERVICE its previous release back."""
    path = f"/api/services/{segment(service, 'service')}/rollback"
    if plan:
        say(control.get(path), as_json, _rollback_plan)
        return
    say(control.post(path, {"because": because}), as_json, _rolled_back)


def _rollback_plan(plan: Mapping[str, Any]) -> str:
    ends, serves = plan["ends"], plan["serves"]
    return (
        f"{plan['service']} would go back from {ends['model']} to {serves['model']}\n"
        f"  ends    {ends['release']}  {ends['serving_digest']}\n"
        f"  serves  {serves['release']}  {serves['serving_digest']}"
    )


def _rolled_back(done: Mapping[str, Any]) -> str:
    return f"{done['service']} answers with {done['model']} again; {_heard(done)}"


@click.command()
@click.argument("service")
@click.option("--because", required=True, help="why; callers do not see it")
@with_control
def stop(control: Freehold, as_json: bool, service: str, because: str) -> None:
    """Stop SERVICE at once: every request is refused from now on."""
    done = control.post(f"/api/services/{segment(service, 'service')}/stop", {"because": because})
    say(
        done,
        as_json,
        lambda d: f"{d['service']} is stopped; {_heard(d)}\nanother person can `freehold resume` it",
    )


@click.command()
@click.argument("service")
@click.option("--because", default="", help="why, for the record")
@with_control
def resume(control: Freehold, as_json: bool, service: str, because: str) -> None:
    """Let a stopped SERVICE answer again. Not by the person who stopped it."""
    done = control.post(f"/api/services/{segment(service, 'service')}/resume", {"because": because})
    say(done, as_json, lambda d: f"{d['service']} answers again; {_heard(d)}")


def _heard(done: Mapping[str, Any]) -> str:
    if done["applied"]:
        return "every gateway has heard"
    return "a gateway has not confirmed yet: `freehold status` shows which"


# -- attach -----------------------------------------------------------------------------------------


@click.command()
@click.argument("address", metavar="URL")
@click.option("--as", "service", required=True, help="the service's name")
@click.option("--project", required=True, help="where it belongs")
@click.option("--purpose", required=True, help="what it may be asked for")
@click.option(
    "--api",
    type=click.Choice(["openai", "azure", "anthropic", "gemini"]),
    default="openai",
    show_default=True,
    help="whose words the provider understands; your clients speak OpenAI's in any case",
)
@click.option("--key-from", metavar="VARIABLE", help="the environment variable that holds the provider's key")
@click.option("--model", help="the model's name there; left out: the server's only one")
@click.option("--also", multiple=True, metavar="URL", help="another address where the same model answers")
@click.option(
    "--provider-ca",
    type=click.Path(exists=True, dir_okay=False),
    help="certificates (PEM) that alone vouch for its addresses; left out: the CAs of the gateway's machine",
)
@click.option("--owner", help="who answers for it; left out: you")
@click.option("--region", default="", help="where it computes, such as eu")
@click.option("--contract", type=click.Path(exists=True, dir_okay=False), help="what was agreed, a YAML file")
@click.option("--sensitivity", default="Internal", show_default=True, help="the most that callers may send")
@click.option(
    "--subject",
    type=click.Choice(["required", "optional", "none"]),
    default="optional",
    show_default=True,
    help="must a request name the person it is about?",
)
@click.option("--requests", default="", help="a limit such as 600/min")
@click.option("--spend", default="", help="a limit such as '20 EUR/day'")
@click.option("--tokens", default="", help="a limit such as 100000/min")
@click.option("--at-once", default=0, metavar="N", help="requests under way together; 0: no limit")
@click.option("--each-key", default="", metavar="LIST", help="for each key: '60/min, 2 EUR/day, 3 at once'")
@click.option("--each-subject", default="", metavar="LIST", help="for each person it is asked about")
@click.option("--cache", default="", metavar="10m", help="the same question gets the same answer so long")
@click.option("--price-in", default="0", help="per 1,000 tokens of input")
@click.option("--price-out", default="0", help="per 1,000 tokens of output")
@click.option("--guard", multiple=True, metavar="WORD", help="such as in.pii=mask or out.secrets=refuse")
@click.option("--fallback", multiple=True, metavar="NAME", help="a service asked when this one cannot answer")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="TEXT",
    help="what it has to keep: '99.5% answered', '95% within 2s over 7d'",
)
@click.option("--insecure", is_flag=True, help="plain HTTP beyond this machine and private addresses")
@click.option("--replace", is_flag=True, help="change a service that is attached already")
@click.option("--plan", is_flag=True, help="only show what would happen")
@with_control
def attach(
    control: Freehold,
    as_json: bool,
    address: str,
    key_from: str | None,
    model: str | None,
    contract: str | None,
    provider_ca: str | None,
    **words: Any,
) -> None:
    """Put the model server or provider at URL under the same rules, record and stop."""
    from freehold.cli.upstream import only_model
    from freehold.tls import read_ca

    key, vouch = _from_environment(key_from), read_ca(Path(provider_ca)) if provider_ca else ""
    body = {name: value for name, value in words.items() if value is not None}
    body |= {"url": address, "key": key, "contract": _read(contract) if contract else ""}
    body |= {"ca": vouch} if vouch else {}
    body["model"] = model or only_model(address, key, api=words["api"], insecure=words["insecure"], ca=vouch)
    say(control.post("/api/attached", body), as_json, _attach_plan if words["plan"] else _attached)


def _read(file: str) -> str:
    from freehold.cli.files import text_in

    with open(file, encoding="utf-8") as contract:
        return text_in(contract)


def _attach_plan(plan: Mapping[str, Any]) -> str:
    contract = plan["contract"]
    agreed = f"{contract['party']} until {contract['last_day']}" if contract else "none"
    verb = "would be changed" if plan["replaces"] else "would be attached"
    return (
        f"{plan['service']} {verb}\n"
        f"  asks      {plan['model']} at {_places(plan)}\n"
        f"{_vouched(plan.get('ca'))}"
        f"  region    {plan['region'] or 'not said'}\n"
        f"  contract  {agreed}\n"
        f"  guarded   {_guarded(plan['guard'])}\n{_at_least(plan['guard_at_least'])}"
        f"  else      {', '.join(plan['fallback']) or 'nobody: it has no `--fallback`'}\n"
        f"{_kept(plan['objectives'])}  callers   may send up to {plan['sensitivity']}"
    )


def _vouched(ca: str | None) -> str:
    return f"  vouched   by the certificates of `--provider-ca` alone, {ca}\n" if ca else ""


def _kept(objectives: Sequence[str]) -> str:
    return f"  keeps     {', '.join(objectives)}\n" if objectives else ""


def _places(told: Mapping[str, Any]) -> str:
    return " and ".join((told["url"], *told["also"]))


def _guarded(guard: Mapping[str, Mapping[str, Any]]) -> str:
    from freehold.spec.guard import told_guards

    return ", ".join(told_guards(guard)) or "by nothing: `--guard in.pii=mask` and the like"


def _at_least(words: Sequence[str]) -> str:
    return f"  at least  {', '.join(words)}: so its project wants it\n" if words else ""


def _attached(done: Mapping[str, Any]) -> str:
    return (
        f"{done['service']} asks {done['model']} at {_places(done)}; {_heard(done)}\n"
        f"try it: freehold ask {done['service']} 'hello'"
    )


# -- notices ----------------------------------------------------------------------------------------


@click.group(cls=Group, invoke_without_command=True, about="webhook")
@with_control
def notify(control: Freehold, as_json: bool) -> None:
    """Where notices go when someone has to decide, or something failed: signed webhooks, mail."""
    if click.get_current_context().invoked_subcommand is None:
        say(control.get("/api/notices"), as_json, _channels)


@notify.command("list")
@with_control
def list_channels(control: Freehold, as_json: bool) -> None:
    """The channels, whether notices arrive, and the key that verifies their signatures."""
    say(control.get("/api/notices"), as_json, _channels)


def _channels(found: Mapping[str, Any]) -> str:
    text = table(found["channels"], ("id", "kind", "to", "signed"))
    outbox = table(found["outbox"], ("state", "count", "because"))
    return f"{text}\n\nverify Ed25519 signatures with {found['verify_with']}\n\n{outbox}"


@notify.command("webhook")
@click.argument("address", metavar="URL")
@click.option("--secret-from", metavar="VARIABLE", help="sign with this variable's secret by HMAC instead")
@with_control
def add_webhook(control: Freehold, as_json: bool, address: str, secret_from: str | None) -> None:
    """Post notices to URL, signed with the installation's Ed25519 key."""
    body = {"kind": "webhook", "url": address, "secret": _from_environment(secret_from)}
    done = control.post("/api/notices", body)
    say(done, as_json, lambda d: f"{d['id']}: notices go to {d['to']}, signed with {d['signed']}")


@notify.command("mail")
@with_control
def add_mail(control: Freehold, as_json: bool) -> None:
    """Write to whoever may decide, or asked for what failed, by the mail host in freehold.yaml."""
    done = control.post("/api/notices", {"kind": "mail"})
    say(done, as_json, lambda d: f"{d['id']}: whoever may decide is written to")


@notify.command("remove")
@click.argument("channel")
@with_control
def remove_channel(control: Freehold, as_json: bool, channel: str) -> None:
    """Send no more notices there."""
    done = control.delete(f"/api/notices/{segment(channel, 'notice channel')}")
    say(done, as_json, lambda d: f"{d['removed']}: no more notices go there")
