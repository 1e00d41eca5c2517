"""Hyperparameters: what each trainer understands, its defaults and its limits. The manual lists the same.

Names a trainer does not know are refused with the nearest one it does, never ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from freehold.errors import BadInput

Scalar = str | int | float | bool


class SettingUnusable(BadInput):
    """`{name}` cannot be used as a training setting of `{trainer}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One hyperparameter."""

    name: str
    kind: Literal["whole", "decimal", "choice", "truth"]
    default: Scalar
    about: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()


SPLIT = (
    Setting(
        name="held_out",
        kind="decimal",
        default=0.2,
        low=0,
        high=0.5,
        about="share of rows kept for testing; 0 when every gate uses a golden set",
    ),
    Setting(
        name="seed", kind="whole", default=7, low=0, high=2**31 - 1, about="decides the split and every draw"
    ),
)

COMMON = (
    *SPLIT,
    Setting(
        name="balanced",
        kind="truth",
        default=False,
        about="weigh rare classes up, so that each class counts the same",
    ),
)

TEXT = (
    Setting(
        name="solver",
        kind="choice",
        default="svm",
        choices=("svm", "logistic"),
        about="linear support-vector machine, or logistic regression",
    ),
    Setting(
        name="strength",
        kind="decimal",
        default=0.3,
        low=1e-4,
        high=1e4,
        about="inverse of regularization (C): larger fits the training rows more closely",
    ),
    Setting(name="words", kind="whole", default=2, low=0, high=4, about="longest run of words, 0 for none"),
    Setting(
        name="characters",
        kind="whole",
        default=4,
        low=0,
        high=8,
        about="longest run of characters within a word, 0 for none",
    ),
    Setting(
        name="min_count",
        kind="whole",
        default=2,
        low=1,
        high=10_000,
        about="a term counts when so many texts have it",
    ),
    Setting(
        name="max_terms",
        kind="whole",
        default=100_000,
        low=10,
        high=2_000_000,
        about="most terms of each kind; the most frequent are kept",
    ),
    Setting(
        name="max_characters",
        kind="whole",
        default=20_000,
        low=100,
        high=1_000_000,
        about="how much of a text is read, in training as in serving",
    ),
)

CATEGORIES = (
    Setting(
        name="min_count",
        kind="whole",
        default=5,
        low=1,
        high=10_000,
        about="a category counts when so many rows have it",
    ),
    Setting(
        name="max_categories",
        kind="whole",
        default=100,
        low=2,
        high=10_000,
        about="most categories of a column; the most frequent are kept",
    ),
)

LINEAR = (
    Setting(
        name="strength",
        kind="decimal",
        default=1.0,
        low=1e-4,
        high=1e4,
        about="inverse of regularization (C): larger fits the training rows more closely",
    ),
)

BOOSTING = (
    Setting(name="trees", kind="whole", default=100, low=1, high=5_000, about="how many rounds"),
    Setting(
        name="learning_rate", kind="decimal", default=0.1, low=1e-4, high=1, about="how much each tree counts"
    ),
    Setting(name="leaves", kind="whole", default=31, low=2, high=1024, about="most leaves of a tree"),
    Setting(name="min_leaf", kind="whole", default=20, low=1, high=100_000, about="fewest rows in a leaf"),
    Setting(
        name="l2",
        kind="decimal",
        default=0.0,
        low=0,
        high=1e4,
        about="L2 regularization of the leaves' values",
    ),
)

LORA = (
    Setting(name="rank", kind="whole", default=16, low=1, high=256, about="width of the adapter's matrices"),
    Setting(
        name="alpha",
        kind="decimal",
        default=32.0,
        low=0.1,
        high=1024,
        about="how much the adapter counts: alpha / rank times",
    ),
)


def _tuning(*, rate: float, epochs: int, tokens: int, rows: int) -> tuple[Setting, ...]:
    """What every tuning of a base model has, with the defaults of its kind."""
    return (
        Setting(
            name="learning_rate",
            kind="decimal",
            default=rate,
            low=1e-7,
            high=1,
            about="the highest step; it rises over the first 6 %, then falls to 0",
        ),
        Setting(
            name="epochs", kind="whole", default=epochs, low=1, high=1000, about="how often each row is seen"
        ),
        Setting(
            name="batch_size", kind="whole", default=rows, low=1, high=1024, about="rows of a step on average"
        ),
        Setting(
            name="max_length",
            kind="whole",
            default=tokens,
            low=8,
            high=8192,
            about="how many tokens are read, in training as in serving",
        ),
    )


ANSWERS = (
    Setting(
        name="max_new_tokens",
        kind="whole",
        default=256,
        low=1,
        high=4096,
        about="how long an answer may be where a request does not say, and when it is evaluated",
    ),
)


TRAINERS: dict[tuple[str, str], tuple[Setting, ...]] = {
    ("classify", "linear"): (*COMMON, *TEXT),
    ("tabular", "linear"): (*COMMON, *CATEGORIES, *LINEAR),
    ("tabular", "boosting"): (*COMMON, *CATEGORIES, *BOOSTING),
    ("classify", "lora"): (*COMMON, *LORA, *_tuning(rate=1e-3, epochs=3, tokens=128, rows=32)),
    ("classify", "head"): (*COMMON, *_tuning(rate=1e-2, epochs=20, tokens=128, rows=32)),
    ("generate", "lora"): (*SPLIT, *LORA, *_tuning(rate=2e-4, epochs=3, tokens=512, rows=8), *ANSWERS),
}
"""(task, trainer) -> its settings. A base model is tuned by `lora` or `head`."""


def of(task: str, trainer: str) -> tuple[Setting, ...]:
    """The settings of a trainer. Raises BadInput when there is no such trainer for the task."""
    try:
        return TRAINERS[task, trainer]
    except KeyError:
        raise BadInput(
            what=f"there is no trainer `{trainer}` for the task `{task}`",
            why="trainers are " + ", ".join(f"{name} ({for_task})" for for_task, name in TRAINERS),
            hint="boosting reads columns; for text use linear" if trainer == "boosting" else "",
        ) from None


def complete(task: str, trainer: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Every setting of the trainer with its value: the given one, checked, or the default."""
    known = {setting.name: setting for setting in of(task, trainer)}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise SettingUnusable(
                name=name[:60],
                trainer=trainer,
                why="it has " + ", ".join(sorted(known)),
                hint=f"did you mean `{near[0]}`?" if near else "",
            )
    return {name: _checked(s, given.get(name, s.default), trainer) for name, s in known.items()}


def _checked(setting: Setting, value: Scalar, trainer: str) -> Scalar:
    match setting.kind:
        case "truth":
            good = isinstance(value, bool)
            wanted = "true or false"
        case "choice":
            good = value in setting.choices
            wanted = " or ".join(setting.choices)
        case "whole":
            good = isinstance(value, int) and not isinstance(value, bool) and _within(setting, value)
            wanted = f"a whole number from {setting.low:g} to {setting.high:g}"
        case "decimal":
            good = isinstance(value, int | float) and not isinstance(value, bool) and _within(setting, value)
            wanted = f"a number from {setting.low:g} to {setting.high:g}"
    if not good:
        raise SettingUnusable(
            name=setting.name,
            trainer=trainer,
            why=f"it is {wanted}",
            hint=f"its default is {setting.default}",
        )
    return float(value) if setting.kind == "decimal" else value


def _within(setting: Setting, value: float) -> bool:
    return setting.low <= value <= setting.high


def as_text(settings: Mapping[str, Scalar]) -> dict[str, str | int | bool]:
    """With decimals as text, for canonical records."""
    return {name: repr(v) if isinstance(v, float) else v for name, v in settings.items()}


def from_text(task: str, trainer: str, said: Mapping[str, str | int | bool]) -> dict[str, Scalar]:
    """Read what `as_text` wrote."""
    decimals = {s.name for s in of(task, trainer) if s.kind == "decimal"}
    return complete(task, trainer, {n: float(v) if n in decimals else v for n, v in said.items()})
