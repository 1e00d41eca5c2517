"""The playground's question: sent to the gateway like any other, with the key the visitor typed.

The key lives for this one request: it is not kept, not logged, and not written into the page.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from freehold.control.parts import Parts
from freehold.errors import BadInput, Unavailable
from freehold.spec.keys import KeyText
from freehold.tls import pinned, trusting

LATE = 60.0
"""Seconds after which the gateway's answer is no longer waited for."""
_NUMBERS = {"FP64": float, "INT64": int}


class GatewayAway(Unavailable):
    """the gateway does not answer"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back."""

    answer: str
    """The answer's id."""
    status: int
    text: str


def gateway(parts: Parts) -> str:
    """Where the gateway listens: as the supervisor wrote down, else as configured."""
    try:
        said = json.loads(parts.home.addresses().read_text())
        return str(said["gateway"]).rstrip("/")
    except (OSError, ValueError, KeyError):
        return parts.config.gateway_url


def trust(parts: Parts) -> ssl.SSLContext | bool:
    """How the gateway is known: beside us by its very certificate, whatever name that is for."""
    if not gateway(parts).startswith("https://"):
        return True
    shown = parts.config.tls.certificate
    return pinned(Path(shown)) if shown else trusting()


def ask(
    address: str,
    service: str,
    *,
    key: str,
    task: str,
    inputs: Sequence[tuple[str, str]],
    form: Mapping[str, str],
    trust: ssl.SSLContext | bool = True,
) -> Heard:
    """Ask `service` as its callers do. Raises BadInput for what is no serving key, GatewayAway."""
    text = KeyText.read(key.strip())
    if text is None or text.zone != "serving":
        raise BadInput(
            what="this is no key of the serving zone",
            why="the playground asks through the gateway, as any caller does",
            hint="`freehold keys create --project NAME` makes one; it begins with `fhs_`",
        )
    path, body = _question(service, task, inputs, form)
    headers = {"authorization": f"Bearer {key.strip()}"}
    said = {"x-freehold-purpose": form.get("purpose", ""), "x-freehold-subject": form.get("subject", "")}
    sent = {name.encode(): value.strip().encode() for name, value in said.items() if value.strip()}
    try:
        # trust_env off: a proxy variable must not carry the key elsewhere
        with httpx.Client(
            base_url=address, timeout=LATE, trust_env=False, headers=headers, verify=trust
        ) as http:
            response = http.post(path, json=body, headers=sent)
    except httpx.TransportError as error:
        raise GatewayAway(
            why=str(error) or type(error).__name__, hint="start it with `freehold up`"
        ) from error
    return Heard(
        answer=response.headers.get("x-freehold-answer", ""),
        status=response.status_code,
        text=_told(response),
    )


def _question(
    service: str, task: str, inputs: Sequence[tuple[str, str]], form: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    if task != "tabular":
        message = {"role": "user", "content": form.get("text", "")}
        return "/v1/chat/completions", {"model": service, "messages": [message]}
    tensors = [
        {"name": name, "datatype": kind, "shape": [1], "data": [_cell(name, kind, form)]}
        for name, kind in inputs
    ]
    return f"/v2/models/{service}/infer", {"inputs": tensors}


def _cell(name: str, kind: str, form: Mapping[str, str]) -> Any:
    text = form.get(f"input:{name}", "").strip()
    try:
        if kind == "BOOL":
            return text.lower() in ("true", "yes", "1")
        return _NUMBERS[kind](text) if kind in _NUMBERS else text
    except ValueError as error:
        raise BadInput(what=f"`{name[:80]}` is to be a number", why="it is not one") from error


def _told(response: httpx.Response) -> str:
    """The words of a chat's answer; whatever else came, as it came."""
    try:
        said = response.json()
    except ValueError:
        return response.text[:20_000]
    if response.is_success and "choices" in said:
        return str(said["choices"][0]["message"]["content"] or "")
    return json.dumps(said, indent=2, ensure_ascii=False)[:20_000]
