"""Where it may stand: what the law asks, how far away the users are, and which kind of site fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.sizing import formulas
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section, Table
from freehold.sizing.serving import Choice
from freehold.sizing.workload import Workload
from freehold.spec.sensitivity import Sensitivity

EEA = frozenset(
    [
        "at",
        "be",
        "bg",
        "hr",
        "cy",
        "cz",
        "dk",
        "ee",
        "fi",
        "fr",
        "de",
        "gr",
        "hu",
        "ie",
        "it",
        "lv",
        "lt",
        "lu",
        "mt",
        "nl",
        "pl",
        "pt",
        "ro",
        "sk",
        "si",
        "es",
        "se",
        "no",
        "is",
        "li",
    ]
)
"""Countries between which personal data moves freely (GDPR)."""
ADEQUATE = frozenset(
    ["gb", "ch", "jp", "kr", "nz", "ca", "il", "ar", "uy", "ad", "fo", "gg", "im", "je", "us"]
)
"""Countries that the European Commission found adequate, some in part (believed, 2025: look it up)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a country asks of where its people's data lies."""

    countries: frozenset[str]
    says: str
    stays: bool
    """Whether it has to stay in the country."""
    read: bool
    """Whether we read a source for it; else it is believed."""


RULES = (
    Rule(
        countries=EEA,
        says="GDPR ch. V: anywhere in the EEA; beyond it adequacy, SCC or BCR; remote access is a transfer",
        stays=False,
        read=True,
    ),
    Rule(
        countries=frozenset({"gb", "ch"}),
        says="UK GDPR, FADP: as in the EEA, adequacy both ways",
        stays=False,
        read=False,
    ),
    Rule(
        countries=frozenset({"us"}),
        says="HIPAA, GLBA: no localisation, a contract (BAA) is needed",
        stays=False,
        read=False,
    ),
    Rule(
        countries=frozenset({"cn"}),
        says="CSL, DSL, PIPL: important data and large volumes stay; export is reviewed",
        stays=True,
        read=True,
    ),
    Rule(
        countries=frozenset({"ru"}),
        says="242-FZ, 152-FZ: primary databases of citizens stay",
        stays=True,
        read=True,
    ),
    Rule(
        countries=frozenset({"in"}),
        says="DPDP Rules 2025: some categories only in India; payment data only in India (RBI 2018)",
        stays=True,
        read=True,
    ),
    Rule(
        countries=frozenset({"sa", "ae", "vn"}),
        says="local storage or a permit, by sector",
        stays=True,
        read=True,
    ),
)

CITIES: dict[str, tuple[float, float]] = {
    # the largest hub of a country: degrees north, degrees east
    "us": (39.0, -77.5), "ca": (45.5, -73.6), "br": (-23.5, -46.6), "gb": (51.5, -0.1), "ie": (53.3, -6.3),
    "fr": (48.9, 2.4), "de": (50.1, 8.7), "nl": (52.4, 4.9), "be": (50.8, 4.4), "ch": (47.4, 8.5),
    "at": (48.2, 16.4), "it": (45.5, 9.2), "es": (40.4, -3.7), "pl": (52.2, 21.0), "cz": (50.1, 14.4),
    "dk": (55.7, 12.6), "se": (59.3, 18.1), "no": (59.9, 10.8), "fi": (60.2, 24.9), "is": (64.1, -21.9),
    "cn": (31.2, 121.5), "in": (19.1, 72.9), "jp": (35.7, 139.7), "sg": (1.35, 103.8), "au": (-33.9, 151.2),
    "ae": (25.3, 55.3), "sa": (24.7, 46.7), "za": (-26.2, 28.0),
}  # fmt: skip


def section(facts: Facts, work: Workload, found: tuple[Choice, ...]) -> Section | None:
    """None where no country was said."""
    if not (work.country or work.users):
        return None
    users = work.users or (work.country,)
    stands = work.country or users[0]
    return Section(
        name="place",
        title="where it may stand",
        figures=tuple(_figures(facts, work, stands, users, found)),
        tables=(_map(facts, stands, users),),
        notes=(*_unknown(facts, work), *_notes(work, stands, users)),
        breaks=_broken(work, stands, users),
    )


def kilometres(one: str, other: str) -> float | None:
    """Between their largest hubs, in a straight line; 150 within one country; none where one is not known."""
    if one not in CITIES or other not in CITIES:
        return None
    if one == other:
        return 150.0
    north1, east1, north2, east2 = map(math.radians, (*CITIES[one], *CITIES[other]))
    half = math.sin((north2 - north1) / 2) ** 2
    half += math.cos(north1) * math.cos(north2) * math.sin((east2 - east1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))


def _figures(
    facts: Facts, work: Workload, stands: str, users: tuple[str, ...], found: tuple[Choice, ...]
) -> Iterator[Figure]:
    far = [km for user in users if (km := kilometres(stands, user)) is not None]
    if not far:
        return
    trip = formulas.round_trip_ms(max(far), facts("distance.ms_km"))
    yield Figure(
        name="on the way, to the farthest",
        value=trip,
        unit="ms, there and back",
        formula="straight line between the countries' hubs x what the internet makes of it",
        facts=("distance.ms_km",),
    )
    if found and work.serve:
        yield Figure(
            name="first token there",
            value=1000 * found[0].fleet.first_token + trip,
            unit="ms",
            formula="at the device, and once the way; each further token comes at its own pace",
        )


def _map(facts: Facts, stands: str, users: tuple[str, ...]) -> Table:
    rows = []
    for user in dict.fromkeys((stands, *users)):
        away = kilometres(stands, user)
        rows.append(
            {
                "users in": user,
                "kilometres": f"{away:,.0f}" if away is not None else "not known",
                "there and back": f"{away * facts('distance.ms_km'):,.0f} ms" if away is not None else "",
                "may stand": _may(stands, user),
            }
        )
    return Table(title=f"from {stands}", columns=tuple(rows[0]), rows=tuple(rows))


def _may(stands: str, user: str) -> str:
    if stands == user:
        return "yes"
    rule = rule_of(user)
    if rule is not None and rule.stays:
        return f"no: it stays in {user}"
    if user in EEA:
        if stands in EEA:
            return "yes"
        return "by adequacy, look it up" if stands in ADEQUATE else "with SCC or BCR and an assessment"
    return "no rule known" if rule is None else "yes, with what the rule asks"


def rule_of(country: str) -> Rule | None:
    """What is known of its law."""
    return next((rule for rule in RULES if country in rule.countries), None)


def _broken(work: Workload, stands: str, users: tuple[str, ...]) -> str:
    held = [user for user in users if user != stands and (rule := rule_of(user)) and rule.stays]
    if not held:
        return ""
    return f"residency: data of {', '.join(held)} may not stand in {stands}; a site in each would satisfy it"


def _unknown(facts: Facts, work: Workload) -> Iterator[str]:
    """What the plan took of the world because nobody knows it of the country."""
    own = [f"country.{work.country}.{part}" for part in ("kwh", "grams")] if work.country else []
    if missing := [name for name in own if facts.get(name) is None]:
        yield f"{work.country}: {' and '.join(missing)} are no facts, a mean is taken in their place"


def _notes(work: Workload, stands: str, users: tuple[str, ...]) -> Iterator[str]:
    for country in dict.fromkeys((stands, *users)):
        rule = rule_of(country)
        if rule is not None:
            yield f"{country}: {rule.says}" + ("" if rule.read else " (believed, not read)")
        else:
            yield f"{country}: no rule is known here; ask"
    if Sensitivity.parse(work.sensitivity) >= Sensitivity.RESTRICTED:
        yield "Restricted: no external API; your own ground, or colocation with your own keys"
    if any(country in EEA for country in (stands, *users)):
        yield "finance: DORA wants a register and an exit plan; health data may want a certified provider"
