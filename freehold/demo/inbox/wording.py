"""How sentences become messages: greetings, second thoughts, names, numbers, slips of the finger."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from freehold.demo.inbox.people import Person

T = TypeVar("T")

SLOTS: dict[str, tuple[str, ...]] = {
    "day": (
        *("yesterday", "last night", "this morning", "on Monday", "on Tuesday evening", "on Friday"),
        *("at the weekend", "two days ago", "last week", "over the bank holiday", "on Thursday"),
    ),
    "soon": ("tomorrow", "on Friday", "next week", "next Monday", "at the end of the month"),
    "room": ("kitchen", "bathroom", "bedroom", "hallway", "living room", "utility room", "home office"),
    "car": ("Golf", "Corolla", "Fiesta", "Octavia", "Yaris", "Kona", "Qashqai", "Clio", "Duster"),
    "place": (
        *("Cork", "Galway", "Limerick", "Sligo", "Kilkenny", "Wexford", "Ennis", "Tralee", "Athlone"),
        *("Dundalk", "Naas", "Carlow"),
    ),
    "abroad": (
        *("Lisbon", "Tenerife", "Rome", "Faro", "Krakow", "Malta", "Nice", "Dubrovnik", "Seville"),
        *("Crete", "Lourdes", "Vienna"),
    ),
    "sum": ("85 euro", "€120", "€240", "about 300 euro", "€460", "€780", "1,150 euro", "€2,300", "39.90"),
    "month": ("January", "February", "March", "April", "May", "June", "September", "October", "November"),
    "n": ("three", "four", "five", "six", "3", "4", "5"),
}
HELLO = (
    "Hi,",
    "Hello,",
    "Hi there,",
    "Good morning,",
    "Good afternoon,",
    "Dear team,",
    "Hey,",
    "Hello again,",
)
BYE = (
    *("Thanks, {name}", "Thank you", "Regards, {name}", "Best, {name}", "{name}", "Kind regards, {name}"),
    *("Policy {policy}, {name}", "Thanks", "Cheers, {name}", "You can reach me on {phone}. {name}"),
    *("My policy number is {policy}.", "Please mail me at {mail}.", "Sent from my phone"),
)
DEAR = ("Dear Sirs,", "Dear Sir or Madam,", "Gentlemen,", "Dear Sir,", "To whom it may concern,")
FAITHFULLY = (
    *("I remain, yours faithfully, {name}", "Yours truly, {name}", "Yours faithfully, {name}"),
    *("I have the honour to remain yours, {name}", "With respectful regards, {name}"),
    "Awaiting your reply I am yours sincerely, {name}",
)
SHORT = {"please": "pls", "you": "u", "your": "ur", "because": "cos", "thanks": "thx", "are": "r"}


def pick(rng: random.Random, words: Sequence[T]) -> T:
    """One of them. Only `random()` is promised to give the same numbers on every Python."""
    return words[int(rng.random() * len(words))]


def everyday(rng: random.Random, about: Sequence[str], main: str, more: Sequence[str], person: Person) -> str:
    """As typed into an app."""
    parts = [pick(rng, HELLO)] if rng.random() < 0.4 else []
    if rng.random() < 0.45:
        parts.append(pick(rng, about))
    parts.append(main)
    if rng.random() < 0.6:
        parts.append(pick(rng, more))
    if rng.random() < 0.45:
        parts.append(_signed(rng, pick(rng, BYE), person))
    return _slips(rng, _filled(rng, " ".join(parts)))


def letter(rng: random.Random, about: Sequence[str], main: str, more: Sequence[str], person: Person) -> str:
    """As written with a pen, and read in by the post room."""
    parts = [pick(rng, DEAR)]
    if rng.random() < 0.45:
        parts.append(pick(rng, about))
    parts.append(main)
    if rng.random() < 0.7:
        parts.append(pick(rng, more))
    parts.append(_signed(rng, pick(rng, FAITHFULLY), person))
    return _filled(rng, " ".join(parts))


def _signed(rng: random.Random, words: str, person: Person) -> str:
    digits = f"{int(rng.random() * 10_000):04}"
    return words.format(
        name=person.name,
        policy=f"HP-{digits}-{int(rng.random() * 90) + 10}",
        phone=f"085 555 {digits}",
        mail=f"{person.id}@example.org",
    )


def _filled(rng: random.Random, text: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda slot: pick(rng, SLOTS[slot[1]]), text)


def _slips(rng: random.Random, text: str) -> str:
    """A fifth of them in a hurry: no capitals, phone spelling, or two letters the wrong way round."""
    chance = rng.random()
    if chance < 0.08:
        return text.lower()
    if chance < 0.13:
        return re.sub(r"\b\w+\b", lambda w: SHORT.get(w[0].lower(), w[0]), text).lower()
    if chance < 0.21:
        return _swapped(rng, _swapped(rng, text))
    return text


def _swapped(rng: random.Random, text: str) -> str:
    at = int(rng.random() * (len(text) - 1))
    if text[at : at + 2].isalpha():
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text
