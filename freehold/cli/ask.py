"""`freehold ask`: a question to a service, over the same HTTP that any client uses."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from freehold.errors import BadInput, Failure, NotSignedIn, Told, Unavailable

if TYPE_CHECKING:
    import httpx

DEFAULT_GATEWAY = "http://127.0.0.1:7401"
_EXITS = {400: 2, 401: 4, 403: 4, 404: 3, 409: 5, 413: 2, 422: 2, 429: 10, 503: 9, 504: 9}


class GatewayAway(Unavailable):
    """the gateway at `{url}` does not answer"""


class NotGateway(Unavailable):
    """`{url}` does not answer as the gateway does"""


class NoServingKey(NotSignedIn):
    """there is no key to ask with"""


class BadColumn(BadInput):
    """`{text}` is not usable as an input"""


class CutOff(Unavailable):
    """the answer was cut off"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask, and how."""

    service: str
    text: str
    inputs: tuple[str, ...]
    purpose: str | None
    subject: str | None
    idempotency: str | None
    stream: bool


@dataclass(slots=True, kw_only=True)
class Heard:
    """What came back."""

    answer: str = ""
    tier: str = ""
    text: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    """Class and confidence, where the service is a classifier; what it says of the row besides."""

    def as_json(self) -> dict[str, Any]:
        said = self.fields or {"text": self.text}
        return {"answer": self.answer, **said} | ({"tier": self.tier} if self.tier else {})


@click.command()
@click.argument("service")
@click.argument("text", default="")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="a column's value, repeatable")
@click.option("--purpose", help="why you ask; else the key's default purpose")
@click.option("--subject", help="the person it is about")
@click.option("--idempotency-key", "idempotency", help="the same key again gets the same answer")
@click.option("--stream", is_flag=True, help="print the answer as it comes")
@click.option("--gateway", help="where the gateway is; else FREEHOLD_GATEWAY, else this machine")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False),
    help="a file with the serving key; else FREEHOLD_SERVING_KEY",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def ask(gateway: str | None, key_file: str | None, as_json: bool, **asked: Any) -> None:
    """Ask SERVICE, in words (TEXT, `-` reads standard input) or column by column (`--input`)."""
    question = Question(**asked)
    if question.text == "-":
        from freehold.cli.files import text_in

        question = Question(**{**asked, "text": text_in(sys.stdin)})
    with _client(gateway, key_file) as http:
        if question.inputs:
            heard = _infer(http, question)
        elif question.stream and not as_json:
            heard = _stream(http, question)
        else:
            heard = _chat(http, question)
    if as_json:
        click.echo(json.dumps(heard.as_json(), indent=2, ensure_ascii=False))
        return
    if not question.stream:
        click.echo(_said(heard))
    mark = f" · {heard.tier}" if heard.tier else ""
    click.echo(f"{heard.answer}{mark}")


def _said(heard: Heard) -> str:
    if not heard.fields:
        return heard.text
    outside = ", ".join(f"`{name}`" for name in heard.fields.get("outside_domain", ()))
    note = f"\noutside what the model was trained on: {outside}" if outside else ""
    return f"{heard.fields['class']}  {float(heard.fields['confidence']):.2f}{note}"


# -- HTTP -------------------------------------------------------------------------------------------


def gateway_and_key(gateway: str | None, key_file: str | None) -> tuple[str, str]:
    """Where to ask and with which key: as said, else from the environment.

    Raises NoServingKey, and for what can be neither address nor key NoAddress, KeyMangled.
    """
    from freehold.client import address, key_in, sendable

    said = address(gateway or os.environ.get("FREEHOLD_GATEWAY") or DEFAULT_GATEWAY, "the gateway")
    url = said.removesuffix("/v1")  # as `freehold up` shows it, and as `base_url` of other clients is
    key = key_in(key_file) if key_file else sendable(os.environ.get("FREEHOLD_SERVING_KEY", "").strip())
    if not key:
        raise NoServingKey(
            why="asking takes a key of the serving zone",
            hint="`freehold keys create --project NAME` makes one; put it into FREEHOLD_SERVING_KEY",
        )
    return url, key


def _client(gateway: str | None, key_file: str | None) -> httpx.Client:
    import httpx

    from freehold.tls import trusting_as_said

    url, key = gateway_and_key(gateway, key_file)
    headers = {"authorization": f"Bearer {key}"}
    trust = trusting_as_said() if url.startswith("https://") else True  # FREEHOLD_CA names its CA
    # trust_env off: a proxy variable of the shell must not carry the key elsewhere
    return httpx.Client(base_url=url, headers=headers, timeout=120.0, trust_env=False, verify=trust)


def _send(http: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    import httpx

    try:
        response = http.request(method, path, **options)
    except httpx.TransportError as error:
        raise _away(http, error) from error
    if response.status_code >= 400:
        raise _told(response)
    return response


def _away(http: httpx.Client, error: Exception) -> GatewayAway:
    why = str(error) or type(error).__name__
    unknown = "CERTIFICATE_VERIFY_FAILED" in why
    hint = "name its CA: `FREEHOLD_CA=FILE`" if unknown else "start it with `freehold up`"
    return GatewayAway(url=str(http.base_url).rstrip("/"), why=why, hint=hint)


def _told(response: httpx.Response) -> Failure:
    """A failure of the gateway, whose surfaces have one sentence for it, told in three lines again."""
    try:
        error = response.json()["error"]
        sentence = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        return _not_gateway(response)
    what, _, hint = sentence.partition(" (hint: ")
    what, _, why = what.partition(": ")
    hint = hint.removesuffix(")")
    if answer := response.headers.get("x-freehold-answer"):  # that it was refused is on the record
        hint = f"{hint}; its record is {answer}" if hint else f"its record is {answer}"
    told = {
        "what": what,
        "why": why,
        "hint": hint,
        "code": response.headers.get("x-freehold-reason", "failure"),
        "exit": _EXITS.get(response.status_code, 1),
    }
    return Told(told, response.status_code)


def _not_gateway(response: httpx.Response) -> NotGateway:
    from freehold.client import strange

    url, why = strange(response)
    return NotGateway(
        url=url,
        why=why,
        hint="FREEHOLD_GATEWAY or `--gateway` names it, as `freehold up` shows it; control is another one",
    )


def _heard(response: httpx.Response) -> Heard:
    """Raises NotGateway: every answer of a gateway says which one it is."""
    headers = response.headers
    if "x-freehold-answer" not in headers:
        raise _not_gateway(response)
    return Heard(answer=headers["x-freehold-answer"], tier=headers.get("x-freehold-tier", ""))


def _headers(question: Question) -> dict[str, bytes]:
    """Raises BadInput; what cannot be sent may be a name, and is not repeated."""
    said = {
        "x-freehold-purpose": question.purpose,
        "x-freehold-subject": question.subject,
        "idempotency-key": question.idempotency,
    }
    for name, value in said.items():
        if value and re.search(r"[\x00-\x1f\x7f]", value):
            raise BadInput(
                what=f"the {name.removeprefix('x-freehold-').replace('-', ' ')} cannot be sent as it is",
                why="there is a line's end or another control character in it",
                hint="give it on one line",
            )
    return {name: value.encode() for name, value in said.items() if value}


# -- in words ---------------------------------------------------------------------------------------


def _body(question: Question) -> dict[str, Any]:
    if not question.text.strip():
        raise BadInput(
            what="there is nothing to ask",
            hint=f"`freehold ask {question.service} 'your text'`, or `--input name=value` column by column",
        )
    return {"model": question.service, "messages": [{"role": "user", "content": question.text}]}


def _chat(http: httpx.Client, question: Question) -> Heard:
    response = _send(http, "POST", "/v1/chat/completions", json=_body(question), headers=_headers(question))
    heard = _heard(response)
    heard.text = response.json()["choices"][0]["message"]["content"] or ""
    heard.fields = _fields(heard.text)
    return heard


def _fields(text: str) -> dict[str, Any]:
    """Class and confidence, and what is said besides, when the text is a classifier's answer."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and _CLASSIFIED <= set(said) <= _CLASSIFIED | _BESIDES else {}


_CLASSIFIED, _BESIDES = {"class", "confidence"}, {"cut", "outside_domain"}


def _stream(http: httpx.Client, question: Question) -> Heard:
    import httpx

    body = _body(question) | {"stream": True}
    options: Mapping[str, Any] = {"json": body, "headers": _headers(question)}
    try:
        with http.stream("POST", "/v1/chat/completions", **options) as response:
            if response.status_code >= 400:
                response.read()
                raise _told(response)
            heard = _heard(response)
            for piece in _pieces(response):
                click.echo(piece, nl=False)
            click.echo()
            return heard
    except httpx.TransportError as error:
        raise _away(http, error) from error


def _pieces(response: httpx.Response) -> Iterator[str]:
    """The words of a stream; one that ends without `[DONE]` was cut off, and is told so."""
    why = "the stream ended before its end"
    for line in response.iter_lines():
        if line == "data: [DONE]":
            return
        if not line.startswith("data: "):
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            why = str(event["error"].get("message", why))
            break
        for choice in event.get("choices", ()):
            yield choice.get("delta", {}).get("content") or ""
    raise CutOff(why=why, hint=f"its record is {response.headers.get('x-freehold-answer', 'kept')}")


# -- column by column -------------------------------------------------------------------------------


def _infer(http: httpx.Client, question: Question) -> Heard:
    from urllib.parse import quote

    path = f"/v2/models/{quote(question.service, safe='')}"
    columns = _columns(_send(http, "GET", path))
    body = {"inputs": [_tensor(text, columns) for text in question.inputs]}
    response = _send(http, "POST", f"{path}/infer", json=body, headers=_headers(question))
    heard, said = _heard(response), response.json()
    outputs = {output["name"]: output["data"] for output in said["outputs"]}
    heard.fields = {"class": outputs["class"][0], "confidence": outputs["confidence"][0]}
    if outside := said.get("parameters", {}).get("outside_domain"):
        heard.fields["outside_domain"] = sorted(outside)
    return heard


def _columns(response: httpx.Response) -> dict[str, str]:
    """The type of each column, by name. Raises NotGateway."""
    try:
        return {column["name"]: column["datatype"] for column in response.json()["inputs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _not_gateway(response) from error


def _tensor(text: str, columns: Mapping[str, str]) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or name not in columns:
        raise BadColumn(
            text=name[:60],
            why="there is no such column" if equals else "it is written `name=value`",
            hint=f"its columns are {', '.join(list(columns)[:8])}{' …' if len(columns) > 8 else ''}",
        )
    return {
        "name": name,
        "datatype": columns[name],
        "shape": [1],
        "data": [_value(name, value, columns[name])],
    }


def _value(name: str, text: str, datatype: str) -> str | int | float | bool:
    try:
        if datatype == "BOOL":
            return {"true": True, "false": False}[text.lower()]
        if datatype == "INT64":
            return int(text)
        return float(text) if datatype == "FP64" else text
    except (ValueError, KeyError):
        raise BadColumn(text=name[:60], why=f"its value is no {_WORDS[datatype]}") from None


_WORDS = {"BOOL": "true or false", "INT64": "whole number", "FP64": "number"}
