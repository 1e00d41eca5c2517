"""The customers: invented, a few hundred of them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from freehold.demo.inbox.wording import pick

NAMES = """
    Aisling Anna Anton Bea Bernard Brigid Carlos Carmel Cathal Chloe Clara Conor Daria David Dermot
    Eileen Elena Emil Eoin Fatima Fiona Frank Gerda Grace Greta Hanna Hugo Ines Ivan Jana Joan Jonas
    Karin Kevin Kofi Lena Leo Liam Lucia Maeve Marek Marta Milan Mona Nadia Niall Nora Oisin Olga
    Orla Otto Paula Pavel Peter Petra Rita Roisin Rosa Ruth Samir Sara Sean Sofia Stefan Tara Tess
    Theo Tomas Una Vera Walter Wanda Yusuf Zoe
""".split()  # noqa: SIM905  (a page of names is read faster than a list)
INITIALS = "abcdefghjklmnoprstvw"
REGIONS = ("north", "south", "coast", "city")
AGES = ("18-39", "40-69", "70+")
WELL_KNOWN = "anna-k"
"""The customer whom the demo and the manual ask about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One invented customer."""

    id: str
    """Such as `anna-k`."""
    name: str
    """How they sign: Anna."""
    age_band: str
    region: str
    consent: str
    """`yes`, or `withdrawn`."""


def people(rng: random.Random, count: int = 420) -> list[Person]:
    """As many customers, each with an identifier of their own."""
    ids = [f"{name.lower()}-{initial}" for name in NAMES for initial in INITIALS]
    others = [id for id in sorted(ids, key=lambda _: rng.random()) if id != WELL_KNOWN]
    chosen = [others[0], WELL_KNOWN, *others[1 : count - 1]]
    return [_person(rng, id, AGES[i % len(AGES)]) for i, id in enumerate(chosen)]


def _person(rng: random.Random, id: str, age_band: str) -> Person:
    return Person(
        id=id,
        name=id.split("-")[0].capitalize(),
        age_band=age_band,
        region=pick(rng, REGIONS),
        consent="yes" if id == WELL_KNOWN or rng.random() > 0.06 else "withdrawn",
    )
