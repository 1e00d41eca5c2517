"""A service as a user declares it: from data to rollout in one YAML file (design section 10).

Only what this release acts on is here. A field that nothing would act on is refused by the reader,
with the nearest known one: never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freehold.spec.guard import Guard, Side
from freehold.spec.plain import UNSAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What to train, on what, how."""

    data: str
    """`name@version` of a data set in the project."""
    task: Literal["classify", "tabular", "generate"]
    """`classify` reads a text column, `tabular` the other columns; `generate` answers a text with a text."""
    trainer: Literal["linear", "boosting"] = "linear"
    """`linear`: logistic or support-vector; on text over TF-IDF. `boosting`: tabular only. Without `base`."""
    base: str = ""
    """`name@version` of a base model to tune; empty: the model learns from the data alone."""
    tune: Literal["none", "lora", "head"] = "none"
    """With `base`. `lora`: small matrices beside its own; `head`: only what stands on top of it."""
    features: tuple[str, ...] = ()
    """Tabular columns to learn from; empty means every column that is neither target, subject nor consent."""
    train: dict[str, str | int | float | bool] = field(default_factory=dict)
    """Hyperparameters; each trainer refuses names it does not know."""
    memory: str = "4 GB"
    """What a training or evaluation may use: `512 MB`, `4 GB`; the job ends when it needs more."""
    wall: str = "1h"
    """How long one may take: `30m`, `2h`; the job is stopped then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One bar a candidate has to clear; the bound that counts is written out."""

    metric: Literal["accuracy", "macro_f1", "auc", "recall_gap", "exact_match", "token_loss"]
    """What is measured; each comes with a 95 % interval. Of text that is written: the last two."""
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
    """The point estimate must be at least this; for a gap or a loss at most, as small is good there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """One signature that is needed. Different entries need different people."""

    role: Literal["approver", "model-risk", "data-protection"]
    """Whose signature it is; `approver` is satisfied by any of the three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """How it is served."""

    engine: Literal["onnx", "torch"] = "onnx"
    """What answers, in a process of its own: ONNX Runtime; for `task: generate` our torch engine."""
    rollout: tuple[str, ...] = ("100%",)
    """How a new version gets the traffic: `shadow 1d` or none, `canary 5% 1h` as often as wanted, rising,
    `ab 50% 14d` or none, then `100%`."""
    stale_for: str = "15m"
    """How long a gateway serves without news from control: `30s`, `15m`, `1h`."""
    cache: str = ""
    """For how long the same question by the same person gets the same answer: `10m`; empty: never."""
    fallback: tuple[str, ...] = ()
    """With `task: generate`: services that are asked when this one cannot answer, in this order."""
    on_forget: str = "fall_back"
    """When a model has to be rebuilt without a person, until that is approved: `fall_back` to an earlier
    model that never saw them (else stop), `stop`, or `keep 14d`, so long at most."""
    keep_because: str = ""
    """With `keep`: why answers of a model that learned from them may go on. No names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What callers may use: `600/min`, `20 EUR/day`; empty means none."""

    requests: str = ""
    """Requests of all callers together, such as `600/min`."""
    spend: str = ""
    """The service's money in a day, in the project's currency, such as `20 EUR/day`; for what has prices."""
    tokens: str = ""
    """Tokens read and written for all callers together, such as `100000/min`."""
    at_once: int = 0
    """Requests under way together; 0 means no limit."""
    each_key: str = ""
    """What each key may use of it: `60/min, 5000 tokens/min, 2 EUR/day, 3 at once`, or some of these."""
    each_subject: str = ""
    """What requests about one person may use of it, in the same words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question with the answer every candidate must give."""

    ask: dict[str, str | int | float | bool]
    """Input by column; for `classify` the text column alone."""
    expect: dict[str, str]
    """`{class: …}`, for `generate` `{text: …}`: what it has to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The whole file."""

    service: str
    """Its name, by which callers ask for it; unique in the installation."""
    project: str
    """The project it belongs to, with its data, keys and budgets."""
    owner: str
    """Who answers for it: a person's address or a team's. The owner never approves."""
    purpose: str
    """What it is for; a purpose that the data was collected for."""
    sensitivity: str
    """Public, Internal, Confidential or Restricted; at least that of the data."""
    model: Model
    """What to train; see Model."""
    tier: Literal["sandbox", "limited", "high"] = "limited"
    """`sandbox` needs nobody and marks every answer; `limited` two people; `high` two roles and a gate."""
    regions: tuple[str, ...] = ()
    """Where the data must be allowed to be, besides here."""
    subject: Literal["required", "optional", "none"] = "optional"
    """Whether a request has to name the person it is about."""
    gates: dict[str, Gate] = field(default_factory=dict)
    """Bars by name; a candidate that misses one is held. See Gate."""
    approve: tuple[Approver, ...] = ()
    """Whose signatures a release needs: two different people, neither owner nor submitter."""
    serve: Serve = field(default_factory=Serve)
    """How it is served; see Serve."""
    guard: dict[Side, Guard] = field(default_factory=dict)
    """What is looked for in requests (`in`) and answers (`out`), and what is done about it. See Guard."""
    limits: Limits = field(default_factory=Limits)
    """What callers may use; see Limits."""
    examples: tuple[Example, ...] = ()
    """Questions with answers: a gate on every candidate. See Example."""
    objectives: tuple[str, ...] = field(default=(), metadata=UNSAID)
    """What is to be kept: `99.5% answered`, `95% within 2s over 7d`; over 30 days where none are said."""
