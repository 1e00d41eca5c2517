"""Telephone numbers of many countries, in sentences that the rules were not written by.

The numbers are those of made-up persons (`fake_identities`), as they are written at home and behind their
country's number; the sentences and what only looks like a number were written when the rules were done, by
somebody who had not read them, and nothing of the rules was changed for them.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screens_text import Labelled, ours, scored

SENTENCES = (
    "Please call me back on {}, after five if you can.",
    "My mobile is {} and I am on the late shift this week.",
    "You can reach the claimant by phone: {}.",
    "Tel. {}, ask for the night desk",
    "If the courier gets lost he should ring {}.",
    "phone={}; preferred=evening",
    "I texted {} twice and nobody answered.",
    "New telephone number of the policy holder: {} (the old one is dead).",
    "fax to {} by Friday, please",
    "WhatsApp {} works best for us.",
    "The caller left {} as a contact number",
    "Emergency contact: my sister, {}.",
)
LOOK_ALIKES = (
    "Order {n8} has not arrived.",
    "Invoice {year}-{n5} of {day}.{month}.{year} is still open, please check.",
    "The meter read {n6} on {year}-{month}-{day} and {n6} a month later.",
    "Parcel {n12} left the depot at 14:35.",
    "We produced {n7} parts between {year} and 2024, 3 percent of them for spares.",
)
EACH = 60


@dataclass(frozen=True, slots=True)
class Number:
    """One number of one person."""

    home: str
    abroad: str
    country: str


def numbers(data: Path) -> Iterator[Number]:
    """Every number there is, in the order of the file."""
    with (data / "3_health_pii/fake_identities.dev.csv").open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            home = row["TelephoneNumber"].strip()
            abroad = f"+{row['TelephoneCountryCode'].strip()} {home.removeprefix('0')}"
            if home:
                yield Number(home, abroad, row["Country"])


def measured(data: Path) -> dict[str, Any]:
    """How many are found, at home and from abroad, and what only looks like one."""
    there = list(numbers(data))
    home = [_said(n, one.home) for n, one in enumerate(there)]
    abroad = [_said(n, one.abroad) for n, one in enumerate(there)]
    alike = list(look_alikes())
    missed = Counter(
        one.country
        for one, row in zip(there, home, strict=True)
        if not scored([row], ours)["phone"]["recall"]
    )
    return {
        "persons": len(there),
        "countries": len({one.country for one in there}),
        "sentences": len(SENTENCES),
        "look-alikes": len(alike),
        "all": scored([*home, *abroad, *alike], ours)["phone"],
        "as written at home": scored(home, ours)["phone"],
        "behind the country's number": scored(abroad, ours)["phone"],
        "look-alikes taken for one": sum(
            1 for row in alike if any(kind == "phone" for kind, _, _ in ours(row.text))
        ),
        "missed at home, by country": dict(missed.most_common()),
    }


def _said(n: int, number: str) -> Labelled:
    before, _, after = SENTENCES[n % len(SENTENCES)].partition("{}")
    return Labelled(f"{before}{number}{after}", 0, (("phone", len(before), len(before) + len(number)),))


def look_alikes() -> Iterator[Labelled]:
    """Numbers that are none of anybody's telephone."""
    chance = random.Random(11)
    for template in LOOK_ALIKES:
        for _ in range(EACH):
            words = {
                f"n{count}": str(chance.randrange(10 ** (count - 1), 10**count)) for count in (5, 6, 7, 8, 12)
            }
            day = {"day": f"{chance.randint(1, 28):02}", "month": f"{chance.randint(1, 12):02}"}
            yield Labelled(template.format(**words, **day, year=chance.randint(1990, 2025)), 0, ())
