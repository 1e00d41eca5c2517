"""Secrets made here, 25 kinds in sentences and files, and what only looks like one.

Rules and test have the same author, so these figures say that the rules do what they are for, and no more.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from shares import exact

from freehold.screen.rules import find

_ALNUM = string.ascii_letters + string.digits
_B64 = _ALNUM + "+/"
_HEX = "0123456789abcdef"
EACH = 20


def _of(chance: random.Random, letters: str, count: int) -> str:
    return "".join(chance.choice(letters) for _ in range(count))


def _jwt(chance: random.Random) -> str:
    def part(said: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    head = part({"alg": "HS256", "typ": "JWT"})
    return f"{head}.{part({'sub': _of(chance, string.digits, 9)})}.{_of(chance, _ALNUM + '-_', 43)}"


def _pem(chance: random.Random) -> str:
    kind = chance.choice(("", "RSA ", "EC ", "OPENSSH "))
    body = "\n".join(_of(chance, _B64, 64) for _ in range(chance.randint(4, 25)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def _password(chance: random.Random) -> str:
    word = chance.choice(("Winter", "dragon", "Sommer", "blue", "monkey", "Passw0rd"))
    return (
        word
        + _of(chance, string.digits, chance.randint(2, 4))
        + chance.choice("!#$%*")
        + _of(chance, _ALNUM, 2)
    )


KINDS: dict[str, Callable[[random.Random], str]] = {
    "aws": lambda c: "AKIA" + _of(c, string.ascii_uppercase + "234567", 16),
    "github": lambda c: "ghp_" + _of(c, _ALNUM, 36),
    "github fine": lambda c: "github_pat_" + _of(c, _ALNUM, 22) + "_" + _of(c, _ALNUM, 59),
    "gitlab": lambda c: "glpat-" + _of(c, _ALNUM, 20),
    "slack": lambda c: "xoxb-" + _of(c, string.digits, 12) + "-" + _of(c, _ALNUM, 24),
    "stripe": lambda c: "sk_live_" + _of(c, _ALNUM, 24),
    "google": lambda c: "AIza" + _of(c, _ALNUM + "-_", 35),
    "openai": lambda c: "sk-proj-" + _of(c, _ALNUM, 48),
    "anthropic": lambda c: "sk-ant-api03-" + _of(c, _ALNUM + "-_", 93) + "AA",
    "hugging face": lambda c: "hf_" + _of(c, string.ascii_letters, 34),
    "npm": lambda c: "npm_" + _of(c, _ALNUM, 36),
    "pypi": lambda c: "pypi-" + _of(c, _ALNUM, 120),
    "sendgrid": lambda c: "SG." + _of(c, _ALNUM, 22) + "." + _of(c, _ALNUM, 43),
    "twilio": lambda c: "SK" + _of(c, _HEX, 32),
    "telegram": lambda c: _of(c, "123456789", 9) + ":AA" + _of(c, _ALNUM + "-_", 33),
    "digitalocean": lambda c: "dop_v1_" + _of(c, _HEX, 64),
    "databricks": lambda c: "dapi" + _of(c, _HEX, 32),
    "shopify": lambda c: "shpat_" + _of(c, _HEX, 32),
    "vault": lambda c: "hvs." + _of(c, _ALNUM, 24),
    "jwt": _jwt,
    "private key": _pem,
    "url password": _password,
    "azure account": lambda c: _of(c, _B64, 86) + "==",
    "bearer": lambda c: _of(c, _HEX, 40),
    "password": _password,
}
_AROUND: dict[str, tuple[str, ...]] = {
    "url password": (
        "postgres://app:{}@db.example:5432/claims",
        "connect to redis://:{}@cache.example please",
    ),
    "azure account": ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};EndpointSuffix=core",),
    "bearer": ("curl -H 'Authorization: Bearer {}' https://api.example.org", "Authorization: bearer {}"),
    "password": ("my password is {}", "PASSWORD={}", 'password: "{}"', "db_passwd = '{}'", "the pwd: {} ok?"),
}
_PLAIN = (
    "here is the key {} for the server",
    "export TOKEN={}",
    'client = Client("{}")',
    "it says {} in the file",
    "{}",
)

LOOKALIKES: tuple[Callable[[random.Random], str], ...] = (
    lambda c: "commit " + _of(c, _HEX, 40),
    lambda c: "sha256:" + _of(c, _HEX, 64),
    lambda c: (
        f"id {_of(c, _HEX, 8)}-{_of(c, _HEX, 4)}-4{_of(c, _HEX, 3)}-a{_of(c, _HEX, 3)}-{_of(c, _HEX, 12)}"
    ),
    lambda c: (
        "password: " + c.choice(("<your password>", "********", "${DB_PASSWORD}", "changeme", "example"))
    ),
    lambda c: "api_key = os.environ['" + _of(c, string.ascii_uppercase, 8) + "']",
    lambda c: "I forgot my password " + c.choice(("again", "and the token", "yesterday", "for the portal")),
    lambda c: "the token is " + c.choice(("invalid", "expired", "missing", "not accepted")),
    lambda c: "see " + c.choice(("sk-learn", "hf_hub", "AKIA in the manual", "ghp_ tokens", "SG. 3")),
    lambda c: "https://example.org/" + _of(c, _ALNUM, 30),
)


def texts() -> Iterator[tuple[str, str, int, int]]:
    """Each secret in a text: its kind, the text, and where it stands."""
    chance = random.Random(20261121)
    for kind, make in KINDS.items():
        for n in range(EACH):
            value = make(chance)
            around = _AROUND.get(kind, _PLAIN)
            text = around[n % len(around)].format(value)
            begin = text.index(value)
            yield kind, text, begin, begin + len(value)


def measured() -> dict[str, Any]:
    """What of the secrets is found, what of them whole, and how often there is none."""
    found, whole = Counter[str](), Counter[str]()
    for kind, text, begin, end in texts():
        hits = [hit for hit in find(text) if hit.group == "secrets"]
        found[kind] += any(hit.start < end and hit.end > begin for hit in hits)
        whole[kind] += any(hit.start <= begin and hit.end >= end for hit in hits)
    chance = random.Random(20261122)
    alike = [make(chance) for make in LOOKALIKES for _ in range(EACH)]
    false = [text for text in alike if any(hit.group == "secrets" for hit in find(text))]
    total = EACH * len(KINDS)
    return {
        "found": exact(sum(found.values()), total),
        "whole": exact(sum(whole.values()), total),
        "not whole": {kind: EACH - whole[kind] for kind in KINDS if whole[kind] < EACH},
        "look-alikes taken for one": exact(len(false), len(alike)),
    }
