"""What somebody needs, in a dozen answers: from a file, or asked one by one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from freehold.errors import BadInput
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.yaml import read

TASKS = ("classify", "extract", "answer", "write", "predict")
KNOWLEDGE = ("general", "ours")
CHANGES = ("never", "yearly", "monthly", "weekly", "daily")
QUALITY = ("good", "high", "best")
SKILLS = ("none", "some", "team")


class BadNeed(BadInput):
    """`{field}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One of the answers: how it is asked for, and what may be said."""

    name: str
    asks: str
    words: tuple[str, ...] = ()
    least: float = 0
    """For numbers."""


QUESTIONS = (
    Question(name="task", asks="what should it do", words=TASKS),
    Question(name="examples", asks="how many examples with the right answer are there"),
    Question(name="knowledge", asks="does it need to know what only you know", words=KNOWLEDGE),
    Question(name="pages", asks="how many pages of your own is that"),
    Question(name="changes", asks="how often does that change", words=CHANGES),
    Question(
        name="sensitivity",
        asks="how sensitive is what is asked",
        words=("Public", "Internal", "Confidential", "Restricted"),
    ),
    Question(name="requests_a_day", asks="requests a day", least=1),
    Question(name="tokens_in", asks="tokens of one request (a page has about 500)", least=1),
    Question(name="tokens_out", asks="tokens of one answer (1 for a class)", least=1),
    Question(name="latency_ms", asks="milliseconds until the answer begins, at most", least=1),
    Question(name="quality", asks="how good must it be", words=QUALITY),
    Question(name="skills", asks="who can train models here", words=SKILLS),
    Question(name="pretrained", asks="is there any open model that knows this language or field (yes, no)"),
    Question(name="budget", asks="money for three years, USD, people included", least=1),
    Question(name="months", asks="months until it must work", least=0.25),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The answers."""

    task: str
    sensitivity: str
    requests_a_day: float
    tokens_in: float
    tokens_out: float
    examples: float = 0
    knowledge: str = "general"
    pages: float = 0
    changes: str = "yearly"
    latency_ms: float = 3000
    quality: str = "good"
    skills: str = "some"
    pretrained: bool = True
    budget: float = 1_000_000
    months: float = 12

    @property
    def level(self) -> Sensitivity:
        return Sensitivity.parse(self.sensitivity)

    @property
    def moves(self) -> bool:
        """Whether what has to be known changes faster than anybody retrains."""
        return self.knowledge == "ours" and self.changes in ("weekly", "daily")


def from_text(text: str) -> Need:
    """Read a YAML file of answers. Raises BadNeed, BadYaml."""
    said = read(text).value
    if not isinstance(said, dict):
        raise BadNeed(field="(file)", why="it is no list of `name: answer`", hint=_NAMES)
    return from_answers(said)


def from_answers(said: Mapping[str, Any]) -> Need:
    """Answers by name, as text or as they are. Raises BadNeed."""
    known = {question.name: question for question in QUESTIONS}
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise BadNeed(
                field=name,
                why="there is no such answer",
                hint=f"did you mean `{near[0]}`?" if near else _NAMES,
            )
    must = [f.name for f in fields(Need) if f.name in REQUIRED and f.name not in said]
    if must:
        raise BadNeed(field=must[0], why="it is missing", hint=f"add `{must[0]}: …`, {known[must[0]].asks}")
    return Need(**{name: read_answer(known[str(name)], value) for name, value in said.items()})


STANDARD: Mapping[str, Any] = {
    f.name: ("yes" if f.default is True else f.default) for f in fields(Need) if f.default is not MISSING
}
"""What is offered where somebody is asked."""
REQUIRED = ("task", "sensitivity", "requests_a_day", "tokens_in", "tokens_out")
"""What has to be answered."""
_NAMES = "answers are: " + ", ".join(question.name for question in QUESTIONS)


def read_answer(question: Question, said: Any) -> Any:
    """One answer as it is used. Raises BadNeed."""
    if question.name == "pretrained":
        return _yes(said)
    if question.words:
        word = next((w for w in question.words if w.casefold() == str(said).strip().casefold()), None)
        if word is None:
            near = difflib.get_close_matches(str(said).strip(), question.words, n=1, cutoff=0.4)
            hint = f"did you mean `{near[0]}`?" if near else question.asks
            why = f"it is one of: {', '.join(question.words)}"
            raise BadNeed(field=question.name, why=why, hint=hint)
        return word
    try:
        number = float(str(said).replace(",", "").replace("_", ""))
    except ValueError as error:
        hint = f"a plain number without a unit: {question.asks}"
        raise BadNeed(field=question.name, why="it is no number", hint=hint) from error
    if not question.least <= number < 1e15:
        why = f"{number:.15g} is not {question.least:g} or more"
        raise BadNeed(field=question.name, why=why, hint=question.asks)
    return number


def _yes(said: Any) -> bool:
    words = {"yes": True, "true": True, "no": False, "false": False}
    answer = words.get(str(said).strip().casefold())
    if answer is None:
        raise BadNeed(field="pretrained", why="it is yes or no", hint="write `pretrained: yes`")
    return answer
