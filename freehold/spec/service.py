"""A service as a user declares it: from data to rollout in one YAML file (design section 10).

Only what this release acts on is here. A field that nothing would act on is refused by the reader,
with the nearest known one: never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What to train, on what, how."""

    data: str
    """`name@version` of a data set in the project."""
    task: Literal["classify", "tabular"]
    """`classify` reads a text column; `tabular` reads the other columns."""
    trainer: Literal["linear", "boosting"] = "linear"
    """`linear`: logistic or support-vector; on text over TF-IDF. `boosting`: tabular only."""
    features: tuple[str, ...] = ()
    """Tabular columns to learn from; empty means every column that is neither target, subject nor consent."""
    train: dict[str, str | int | float | bool] = field(default_factory=dict)
    """Hyperparameters; each trainer refuses names it does not know."""
    memory: str = "4 GB"
    wall: str = "1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One bar a candidate has to clear; the bound that counts is written out."""

    metric: Literal["accuracy", "macro_f1", "auc", "recall_gap"]
    against: str = "held-out"
    """`held-out`, or `name@version` of a golden set."""
    across: tuple[str, ...] = ()
    """For gaps: the columns whose groups are compared."""
    of: str = ""
    """For gaps: the class whose recall is compared; empty compares the share of rows answered right."""
    lower_bound: float | None = None
    """The lower end of the interval must be at least this."""
    upper_bound: float | None = None
    """The upper end of the interval must be at most this."""
    value: float | None = None
    """The point estimate must be at least this; for a gap at most, as small is good there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """One signature that is needed. Different entries need different people."""

    role: Literal["approver", "model-risk", "data-protection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """How it is served."""

    engine: Literal["onnx"] = "onnx"
    rollout: tuple[str, ...] = ("100%",)
    stale_for: str = "15m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What callers may use: `600/min`, `20 EUR/day`; empty means none."""

    requests: str = ""
    spend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question with the answer every candidate must give."""

    ask: dict[str, str | int | float | bool]
    expect: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The whole file."""

    service: str
    project: str
    owner: str
    purpose: str
    sensitivity: str
    model: Model
    tier: Literal["sandbox", "limited", "high"] = "limited"
    regions: tuple[str, ...] = ()
    subject: Literal["required", "optional", "none"] = "optional"
    gates: dict[str, Gate] = field(default_factory=dict)
    approve: tuple[Approver, ...] = ()
    serve: Serve = field(default_factory=Serve)
    limits: Limits = field(default_factory=Limits)
    examples: tuple[Example, ...] = ()
