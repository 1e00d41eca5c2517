"""The same action on the command line, with curl and in Python: what every page offers to copy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Three texts that do the same; each reads the key from FREEHOLD_KEY, none holds it."""

    cli: str
    curl: str
    python: str


def ways(cli: str, method: str, path: str, body: Mapping[str, Any] | None, address: str) -> Ways:
    """`path` is under `/api`, quoted already; `body` is what is sent as JSON, none for no body."""
    return Ways(cli=cli, curl=_curl(method, path, body, address), python=_python(method, path, body, address))


def quoted(*words: str) -> str:
    """Words as a shell takes them."""
    return shlex.join(words)


def _curl(method: str, path: str, body: Mapping[str, Any] | None, address: str) -> str:
    lines = ['curl -sS -H "Authorization: Bearer $FREEHOLD_KEY"']
    if method != "GET":
        lines[0] += f" -X {method}"
    if body is not None:
        lines.append(
            f"  -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
        )
    lines.append(f"  {shlex.quote(address + path)}")
    return " \\\n".join(lines)


def _python(method: str, path: str, body: Mapping[str, Any] | None, address: str) -> str:
    said = f", {body!r}" if body is not None else ""
    call = f"control.{method.lower()}({path!r}{said})"
    return (
        "from freehold.client import Freehold\n\n"
        f"with Freehold({address!r}) as control:  # key from FREEHOLD_KEY\n"
        f"    print({call})"
    )
