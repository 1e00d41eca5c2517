"""The small words of a service file: `600/min`, `20 EUR/day`, `15m`; each read strictly, one form each."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from freehold.errors import BadInput
from freehold.spec.snapshot import Most

_REQUESTS = re.compile(r"^(\d{1,7})\s*/\s*min$", re.ASCII)
_SPEND = re.compile(r"^(\d{1,9}(?:\.\d{1,6})?)\s*([A-Z]{3})\s*/\s*day$", re.ASCII)
_TOKENS = re.compile(r"^(\d{1,9})\s*(?:tokens)?\s*/\s*min$", re.ASCII)
_AT_ONCE = re.compile(r"^(\d{1,5})\s*at once$", re.ASCII)
_SPAN = re.compile(r"^(\d{1,6})\s*(s|m|h|d)$", re.ASCII)
_PRICE = re.compile(r"^\d{1,9}(?:\.\d{1,9})?$", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class BadLimit(BadInput):
    """`{text}` is not a {kind}"""


def requests_per_minute(text: str) -> int | None:
    """`600/min` as 600; empty means no limit. Raises BadLimit."""
    if not text:
        return None
    found = _REQUESTS.match(text.strip())
    if not found or not int(found[1]):
        raise BadLimit(
            text=text[:40],
            kind="request limit",
            why="it is a whole number a minute",
            hint="write it as `600/min`",
        )
    return int(found[1])


def spend_per_day(text: str, currency: str) -> str | None:
    """`20 EUR/day` as decimal text in the project's currency; empty means no limit. Raises BadLimit."""
    if not text:
        return None
    found = _SPEND.match(text.strip())
    if not found:
        raise BadLimit(
            text=text[:40],
            kind="spending limit",
            why="it is an amount of money a day",
            hint=f"write it as `20 {currency}/day`",
        )
    if found[2] != currency:
        raise BadLimit(
            text=text[:40],
            kind="spending limit",
            why=f"the project counts in {currency}, and nothing here converts money",
            hint=f"write it as `{found[1]} {currency}/day`",
        )
    return format(Decimal(found[1]), "f")


def tokens_per_minute(text: str) -> int | None:
    """`100000/min` as 100000; empty means no limit. Raises BadLimit."""
    if not text:
        return None
    found = _TOKENS.match(text.strip())
    if not found or not int(found[1]):
        raise BadLimit(
            text=text[:40],
            kind="limit of tokens",
            why="it is counted by the minute",
            hint="write `100000/min`",
        )
    return int(found[1])


def most(text: str, currency: str) -> Most:
    """Several limits in one line: `60/min, 5000 tokens/min, 2 EUR/day, 3 at once`. Raises BadLimit."""
    said: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, value = _part(part, currency)
        if name in said:
            raise BadLimit(
                text=text[:60],
                kind="list of limits",
                why="the same thing is limited twice",
                hint="say it once",
            )
        said[name] = value
    return Most(**said)


def _part(text: str, currency: str) -> tuple[str, int | str | None]:
    if (found := _AT_ONCE.match(text)) and int(found[1]):
        return "at_once", int(found[1])
    if "token" in text and _TOKENS.match(text):
        return "tokens", tokens_per_minute(text)
    if text.replace(" ", "").endswith("/day"):
        return "spend", spend_per_day(text, currency)
    if _REQUESTS.match(text):
        return "requests", requests_per_minute(text)
    raise BadLimit(
        text=text[:40],
        kind="limit",
        why="it is none of the four there are",
        hint=f"write `60/min`, `5000 tokens/min`, `2 {currency}/day`, `3 at once`, with commas between",
    )


def seconds(text: str) -> int:
    """`30s`, `15m`, `1h` or `2d` in seconds. Raises BadLimit."""
    found = _SPAN.match(text.strip())
    if not found:
        raise BadLimit(
            text=text[:40],
            kind="span of time",
            why="a number needs its unit",
            hint="write it as `30s`, `15m`, `1h` or `2d`",
        )
    return int(found[1]) * _SECONDS[found[2]]


def price(text: str) -> str:
    """A price per 1,000 tokens as decimal text, such as `0.0025`. Raises BadLimit."""
    if not _PRICE.match(text.strip()):
        raise BadLimit(text=text[:40], kind="price", hint="write it as a plain number, such as `0.0025`")
    return format(Decimal(text.strip()), "f")


KEPT_AT_MOST = 30 * 86_400
"""Seconds: a month is what the law gives a controller to answer a request (GDPR, article 12 (3))."""


def on_forget(text: str) -> tuple[str, int]:
    """`fall_back` or `stop` with 0; `keep 14d` as (`keep`, seconds). Raises BadLimit."""
    word, _, span = text.strip().partition(" ")
    if word in ("fall_back", "stop") and not span:
        return word, 0
    if word == "keep" and span and 0 < (kept := seconds(span)) <= KEPT_AT_MOST:
        return word, kept
    raise BadLimit(
        text=text[:40],
        kind="way to go on when somebody is forgotten",
        why="a model is kept 30 days at most" if word == "keep" and span else "",
        hint="write `fall_back`, `stop` or `keep 14d`",
    )
