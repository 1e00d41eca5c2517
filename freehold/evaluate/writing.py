"""How well text is written: answered word for word, and how surprised the model is by the right answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.engines.protocol import CannotAnswer, Completed, Generator
from freehold.engines.rows import Rows
from freehold.evaluate.intervals import Measured, decimal, proportion, z_of
from freehold.evaluate.paired import share
from freehold.jobs.folder import JobFolder

AT_ONCE = 32
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a generator wrote to rows whose answer is known; one place a row."""

    exact: NDArray[np.bool_]
    """Whether the answer is the right one, but for blanks at its ends."""
    loss: Floats
    """Sum of -log p of the right answer's tokens, the end token included."""
    tokens: Floats
    """How many these are; 0 where the model cannot read the row."""
    ended: int
    """Answers that ended by themselves."""
    unreadable: int
    """Rows it cannot read: too long, or with a mark of its template. They count as answered wrong."""


def ask(folder: JobFolder, generator: Generator, rows: Rows, stage: str, **told: str) -> Written:
    """Have it answer every row, greedily, and score the right answers."""
    (cells,) = rows.columns.values()
    asked = [[{"role": "user", "content": str(cell or "")}] for cell in cells]
    wanted = [str(label) for label in rows.labels]
    most = int(generator.metadata().features.get("max_new_tokens", 256))
    said: list[Completed | None] = []
    losses: list[tuple[float, int]] = []
    for start in range(0, len(rows), AT_ONCE):
        some = list(range(start, min(start + AT_ONCE, len(rows))))
        said += _completed(generator, [asked[i] for i in some], most)
        losses += [_loss(generator, asked[i], wanted[i]) for i in some]
        folder.report(stage=stage, done=len(said), of=len(rows), **told)
    return Written(
        exact=np.array(
            [s is not None and s.text.strip() == w.strip() for s, w in zip(said, wanted, strict=True)]
        ),
        loss=np.array([loss for loss, _ in losses]),
        tokens=np.array([float(count) for _, count in losses]),
        ended=sum(s.ended for s in said if s is not None),
        unreadable=sum(s is None for s in said),
    )


def _completed(
    generator: Generator, asked: Sequence[Sequence[Mapping[str, str]]], most: int
) -> list[Completed | None]:
    """All at once; where one of them cannot be read, each alone."""
    try:
        return list(generator.complete(asked, most))
    except CannotAnswer:
        return [one for conversation in asked for one in _alone(generator, conversation, most)]


def _alone(
    generator: Generator, conversation: Sequence[Mapping[str, str]], most: int
) -> Sequence[Completed | None]:
    """With less room where question and longest answer do not fit together."""
    while most >= 1:
        try:
            return generator.complete([conversation], most)
        except CannotAnswer:
            most //= 2
    return (None,)


def _loss(generator: Generator, conversation: Sequence[Mapping[str, str]], answer: str) -> tuple[float, int]:
    try:
        ((loss, tokens),) = generator.losses([(conversation, answer)])
        return loss, tokens
    except CannotAnswer:
        return 0.0, 0


# -- figures ----------------------------------------------------------------------------------------


def exact_match(written: Written) -> Measured:
    """The share of rows answered word for word."""
    return proportion(int(written.exact.sum()), len(written.exact))


def token_loss(written: Written) -> Measured | None:
    """The mean of -log p over all tokens of all right answers; none where none could be read.

    A ratio of sums over rows; variance by the delta method with rows as what is drawn (Cochran 1977,
    "Sampling Techniques", section 6.3), normal interval.
    """
    total = float(written.tokens.sum())
    if not total:
        return None
    value = float(written.loss.sum()) / total
    low, high = _around(value, (written.loss - value * written.tokens) / total)
    return Measured(value=value, low=max(0.0, low), high=high, method="ratio estimate, delta method")


def _around(value: float, pull: Floats) -> tuple[float, float]:
    """95 % by how far each row pulls the figure; with one row nothing is known of its spread."""
    rows = len(pull)
    spread = z_of(0.95) * sqrt(rows / (rows - 1) * float((pull**2).sum())) if rows > 1 else float("inf")
    spread = min(spread, 1e6)
    return value - spread, value + spread


def differences(first: Written, second: Written) -> dict[str, Measured | None]:
    """By how much the first is better than the second on the same rows: above 0 is better for both figures.

    Exact match as paired shares; loss as the difference of two ratios over the same rows, delta method.
    """
    found: dict[str, Measured | None] = {"exact_match": share(first.exact, second.exact), "token_loss": None}
    mine, theirs = token_loss(first), token_loss(second)
    if mine is not None and theirs is not None:
        pull = (second.loss - theirs.value * second.tokens) / second.tokens.sum()
        pull = pull - (first.loss - mine.value * first.tokens) / first.tokens.sum()
        value = theirs.value - mine.value
        low, high = _around(value, pull)
        found["token_loss"] = Measured(value=value, low=low, high=high, method="paired ratios, delta method")
    return found


def as_card(written: Written, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of one set of rows."""
    loss = token_loss(written)
    return {
        "rows": facts["rows"],
        "unlabelled": facts["unlabelled"],
        "also_in_training": facts["also_in_training"],
        "metrics": {
            "exact_match": exact_match(written).as_card(),
            "token_loss": loss.as_card() if loss else None,
        },
        "gaps": [],
        "answers": {"ended": written.ended, "unreadable": written.unreadable},
    }


def examples(generator: Generator, asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each example of the service, asked; the answer must be the expected text but for blanks at its ends."""
    most = int(generator.metadata().features.get("max_new_tokens", 256))
    told = []
    for example in asked:
        (text,) = example["ask"].values()
        (said,) = _alone(generator, [{"role": "user", "content": str(text)}], most)
        got = said.text.strip() if said else ""
        told.append(
            {
                "ask": example["ask"],
                "expect": example["expect"],
                "got": got,
                "confidence": decimal(float(np.exp(sum(said.logprobs))) if said else 0.0),
                "passed": got == str(example["expect"]).strip(),
            }
        )
    return told


def open_generator(about: Any, files: Mapping[str, bytes], base: Mapping[str, bytes]) -> Any:
    """The engine that will serve it, on a base of its own. Threads that have nothing to do sleep."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from freehold.engines.torch_engine import TorchGenerator

    return TorchGenerator.load(about, files, base)
