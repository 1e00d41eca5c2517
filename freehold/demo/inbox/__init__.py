"""A small insurer's inbox. We wrote it: nobody in it exists, and no message was ever sent.

Each topic has a file of sentences written by hand: what customers say in the app or by mail, what
they add, and how the oldest of them put the same into a letter. `compose` joins them the way people
do: with and without a greeting, with a second thought, a name, a policy number, a typing error.
Everything follows from a seed, so that the same inbox comes out on every machine.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path

from freehold.demo.inbox.people import Person, people
from freehold.demo.inbox.wording import everyday, letter, pick

TOPICS = ("property", "motor", "travel", "liability", "health", "cancellation", "billing", "complaint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One row of the inbox."""

    customer: str
    """An invented identifier such as `anna-k`; the subject."""
    received: str
    channel: str
    message: str
    topic: str
    age_band: str
    region: str
    consent: str
    """Whether the customer agrees that messages are used for claims handling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """What a topic's file holds."""

    everyday: tuple[str, ...]
    more: tuple[str, ...]
    about: tuple[str, ...]
    letter: tuple[str, ...]
    letter_more: tuple[str, ...]
    letter_about: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """The three files of the demo."""

    first: tuple[Message, ...]
    """What the app and the web form collected: hardly a letter in it."""
    letters: tuple[Message, ...]
    """What lay in the post room: letters, mostly of customers over seventy."""
    golden: tuple[Message, ...]
    """For judging only: other people, other sentences, every age well represented."""


def compose(seed: int = 2026) -> Inbox:
    """The inbox, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311  (an invented inbox needs no secrets)
    everybody = people(rng)
    customers, judged = everybody[: len(everybody) * 7 // 10], everybody[len(everybody) * 7 // 10 :]
    judge = {topic: sentences(topic) for topic in TOPICS}
    learn = {topic: without_a_third(said) for topic, said in judge.items()}
    young = [p for p in customers if p.age_band != "70+"]
    old = [p for p in customers if p.age_band == "70+"]
    return Inbox(
        first=_rows(rng, [(young, 80, "app"), (old[: len(old) // 3], 3, "app")], learn),
        letters=_rows(rng, [(old, 24, "letter"), (young, 2, "letter")], learn),
        golden=_rows(
            rng,
            [
                ([p for p in judged if p.age_band == "18-39"], 18, "app"),
                ([p for p in judged if p.age_band == "40-69"], 18, "app"),
                ([p for p in judged if p.age_band == "70+"], 18, "letter"),
            ],
            judge,
        ),
    )


def _rows(
    rng: random.Random, shares: Sequence[tuple[list[Person], int, str]], said: dict[str, Sentences]
) -> tuple[Message, ...]:
    """For every topic and share: so many messages of these people, by this way; then shuffled."""
    rows = [
        _message(rng, pick(rng, who), way, topic, said[topic], number)
        for topic in TOPICS
        for who, count, way in shares
        for number in range(count)
    ]
    order = sorted(range(len(rows)), key=lambda _: rng.random())
    return tuple(rows[i] for i in order)


def _message(
    rng: random.Random, person: Person, way: str, topic: str, said: Sentences, number: int
) -> Message:
    if way == "letter":
        main = said.letter[number % len(said.letter)]
        text = letter(rng, said.letter_about, main, said.letter_more, person)
    else:
        way = pick(rng, ("app", "app", "web", "email"))
        main = said.everyday[number % len(said.everyday)]
        text = everyday(rng, said.about, main, said.more, person)
    return Message(
        customer=person.id,
        received=f"2026-{1 + int(rng.random() * 10):02}-{1 + int(rng.random() * 28):02}",
        channel=way,
        message=text,
        topic=topic,
        age_band=person.age_band,
        region=person.region,
        consent=person.consent,
    )


def sentences(topic: str) -> Sentences:
    """Read a topic's file: `[everyday]`, `[more]`, `[letter]`, `[letter more]`, one sentence a line."""
    text = files(__package__).joinpath(f"{topic}.txt").read_text(encoding="utf-8")
    parts: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("["):
            parts[line.strip("[]").replace(" ", "_")] = current = []
        else:
            current.append(line)
    return Sentences(**{name: tuple(lines) for name, lines in parts.items()})


def without_a_third(said: Sentences) -> Sentences:
    """Every third sentence is said in the golden set only, so that it judges more than memory."""

    def most(lines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(line for i, line in enumerate(lines) if i % 3 != 2)

    return replace(said, everyday=most(said.everyday), letter=most(said.letter))


def write_csv(rows: Iterable[Message], path: Path) -> None:
    """The rows with a head line, as a spreadsheet would export them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Message))
        writer.writerows(astuple(row) for row in rows)
