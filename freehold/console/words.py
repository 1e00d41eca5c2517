"""How figures, times and digests are written on a page; the filters of every template."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from freehold.spec.figures import in_words, plural
from freehold.spec.sensitivity import Sensitivity

SECOND = 1_000_000
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def at(micros: int, zone: str) -> dt.datetime:
    """A time of ours in a zone."""
    return dt.datetime.fromtimestamp(micros / SECOND, ZoneInfo(zone))


@pass_context
def when(context: Context, micros: int | None) -> Markup:
    """A time, to the second, in the installation's zone; readable by machines too."""
    if micros is None:
        return Markup("–")
    told = at(micros, context["zone"])
    return Markup('<time datetime="{}">{}</time>').format(
        told.isoformat(timespec="seconds"), told.strftime("%Y-%m-%d %H:%M:%S")
    )


def span(micros: float | None) -> str:
    """A length of time in its two largest units: `2 h 5 min`; below a minute with a decimal, `340 ms`."""
    if micros is None:
        return "–"
    seconds = micros / SECOND
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    told, left = [], int(seconds)
    for length, unit in _SPANS:
        if left >= length:
            told.append(f"{left // length} {unit}")
            left %= length
    return " ".join(told[:2])


def ago(micros: float) -> str:
    """How long ago, roughly: `40 s ago`, `3 min ago`."""
    seconds = max(0, int(micros / SECOND))
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def count(number: float) -> str:
    """A whole number with commas: `18,204`."""
    return f"{number:,.0f}"


def short(digest: str | None, most: int = 19) -> Markup:
    """The beginning of a digest or id, the whole of it where somebody points at it."""
    if not digest:
        return Markup("–")
    if len(digest) <= most:
        return Markup("<code>{}</code>").format(digest)
    return Markup('<code title="{}">{}…</code>').format(digest, digest[:most])


def size(number: int) -> str:
    """Bytes: `3.4 MB`."""
    for length, unit in _SIZES:
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} bytes"


def energy(kwh: Decimal) -> str:
    """`1.25 kWh`, `3.4 Wh`, `0.04 Wh`."""
    return (
        f"{kwh:.2f} kWh" if kwh >= 1 else f"{kwh * 1000:.2f} Wh" if kwh < Decimal("0.1") else f"{kwh:.3f} kWh"
    )


def money(amount: Decimal, currency: str) -> str:
    """`12.40 EUR`; what is less than a hundredth is said to be so."""
    return f"< 0.01 {currency}" if 0 < amount < Decimal("0.01") else f"{amount:,.2f} {currency}"


def sensitivity(step: int) -> str:
    """`Confidential` for its number."""
    return Sensitivity(step).word


def held_back(reaction: str) -> str:
    """What somebody is whom a rule about who asks holds back: `throttled`."""
    return {"throttle": "throttled", "lock": "locked", "renew": "refused until renewed"}[reaction]


def cut(text: str, most: int) -> str:
    """At most so many characters, with `…` where some are missing."""
    return text if len(text) <= most else text[: most - 1] + "…"


def coded(text: str) -> Markup:
    """A sentence of ours, in which what stands between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return Markup("{}").format(text)  # one is left over: it means itself
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if n % 2 else part for n, part in enumerate(parts))


FILTERS: dict[str, Callable[..., Any]] = {
    "when": when,
    "span": span,
    "ago": ago,
    "count": count,
    "plural": plural,
    "short": short,
    "size": size,
    "energy": energy,
    "money": money,
    "sensitivity": sensitivity,
    "held_back": held_back,
    "cut": cut,
    "coded": coded,
    "in_words": in_words,
}
