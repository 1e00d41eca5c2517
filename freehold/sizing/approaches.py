"""Nine ways to a model that answers: when each fits, what it costs over three years, what comes with it.

A way is *open* when nothing forbids it, and *good enough* when it can be expected to meet the quality
asked for. Both are rules of thumb in words, each with its reason; the money follows from facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from freehold.sizing import formulas
from freehold.sizing.devices import draw
from freehold.sizing.facts import Facts
from freehold.sizing.need import Need
from freehold.sizing.serve import Fleet, Traffic, Wanted, cheapest, known_shape
from freehold.spec.sensitivity import Sensitivity

YEARS = 3
FEW, ENOUGH, MANY = 200, 2_000, 20_000
"""Examples with which a small model begins to be useful, an adapter or a good classifier is trained, and all
weights may be touched."""
OWN_TOKENS = 1e10
"""Tokens of own text below which nobody trains from scratch."""
AT_MACHINES = 0.5
"""Of the persons who keep a way running that serves a model, those who look after its machines."""
TEXT = ("classify", "extract", "answer", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is known of an approach before anybody asks."""

    name: str
    words: str
    first_months: float
    """Person-months until it works."""
    months: float
    """Months until it works."""
    people: float
    """Persons who keep it running."""
    risk: str
    laws: tuple[str, ...]
    shape: str = ""
    """The open model it serves; empty where it serves none."""


NO_DEVICE = "no known device holds it"

_OURS = ("AI Act Art. 25 and 53: whoever changes a model may become its provider",)
_RIGHTS = ("GDPR Art. 17: forgetting a person means training without them",)

WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way(
            name="api",
            words="an external model over its API",
            first_months=0.5,
            months=0.5,
            people=0.05,
            risk="the provider changes price, model or terms; what is asked leaves the house",
            laws=("GDPR Art. 28 and 44: contract and place of processing", "DORA Art. 28: register and exit"),
        ),
        Way(
            name="prompt",
            words="an open model on your machines, as it is, with a good prompt",
            first_months=1,
            months=1,
            people=0.5,
            risk="it knows nothing of your own; prompts grow",
            laws=("AI Act Art. 50: say that a machine answers",),
            shape="small",
        ),
        Way(
            name="rag",
            words="an open model that looks things up in your documents",
            first_months=3,
            months=3,
            people=0.6,
            risk="it answers as well as the search finds; documents have to be kept clean",
            laws=("GDPR Art. 5: only what the asker may see may be found",),
            shape="small",
        ),
        Way(
            name="cag",
            words="an open model with all of your text in its cached prompt",
            first_months=1.5,
            months=1.5,
            people=0.5,
            risk="it ends where the text outgrows the prompt",
            laws=("GDPR Art. 5: everybody who asks asks over all of it",),
            shape="small",
        ),
        Way(
            name="small",
            words="a small model of your own (linear, boosted trees, a tuned encoder)",
            first_months=1,
            months=1.5,
            people=0.1,
            risk="it does one thing, and drifts when the world changes",
            laws=("GDPR Art. 22: no decision by a machine alone that concerns a person", *_RIGHTS),
        ),
        Way(
            name="lora",
            words="an open model with an adapter trained on your examples",
            first_months=2,
            months=2.5,
            people=0.6,
            risk="it learns how to answer, hardly new facts; it has to be retrained when they change",
            laws=(*_OURS, *_RIGHTS),
            shape="small",
        ),
        Way(
            name="full",
            words="an open model with all of its weights trained on",
            first_months=5,
            months=5,
            people=1.0,
            risk="it forgets what it knew; each version is a whole model to keep, test and serve",
            laws=(*_OURS, *_RIGHTS),
            shape="small",
        ),
        Way(
            name="distill",
            words="a small model that learned from a large one's answers",
            first_months=4,
            months=4,
            people=0.3,
            risk="the teacher's mistakes come with it, and its terms may forbid it",
            laws=("the teacher's licence: may its answers train another model?", *_RIGHTS),
        ),
        Way(
            name="scratch",
            words="a language model trained from nothing",
            first_months=48,
            months=14,
            people=4.0,
            risk="most such runs are repeated; whoever could keep it going may leave",
            laws=("AI Act Art. 53: duties of a provider of a general-purpose model", *_RIGHTS),
            shape="small",
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way, looked at for one need."""

    way: Way
    closed: str
    """What forbids it; empty when it is open."""
    short: str
    """Why it will not be good enough; empty when it will."""
    compute: float
    """USD over three years."""
    labour: float
    energy: float
    """kWh over three years; of an API the provider's."""
    fleet: Fleet | None = None
    how: str = ""
    """How the compute was arrived at."""
    outside: bool = False
    """An external model answers."""

    @property
    def cost(self) -> float:
        """USD over three years."""
        return self.compute + self.labour


def look(facts: Facts, need: Need, name: str) -> Option:
    """One way for one need, with what it costs."""
    way = WAYS[name]
    if name == "prompt" and need.quality == "best":
        way = replace(way, shape="large")
    traffic = Traffic(
        requests_a_day=need.requests_a_day, tokens_in=need.tokens_in, tokens_out=need.tokens_out
    )
    priced = _PRICES.get(name, _served)(facts, need, way, traffic)
    option = replace(priced, labour=_labour(facts, priced.way))
    closed = _closed(facts, need, option)
    return replace(option, closed=closed, short=_RULES[name](facts, need))


def _labour(facts: Facts, way: Way) -> float:
    return (way.first_months / 12 + way.people * YEARS) * facts("people.year")


# -- what it costs ----------------------------------------------------------------------------------


def _option(way: Way, compute: float, energy: float, how: str, fleet: Fleet | None = None) -> Option:
    return Option(
        way=way, closed="", short="", compute=compute, labour=0, energy=energy, fleet=fleet, how=how
    )


def _api(facts: Facts, need: Need, way: Way, traffic: Traffic) -> Option:
    size = "large" if need.quality == "best" else "small"
    request = traffic.tokens_in * facts(f"api.{size}.in") + traffic.tokens_out * facts(f"api.{size}.out")
    total = traffic.requests_a_day * 365 * YEARS
    energy = total * facts("api.watt_hours") / 1000
    option = _option(way, total * request / 1e6, energy, f"{request / 1e6:.5f} USD a request, list price")
    return replace(option, outside=True)


def _with_own_text(facts: Facts, need: Need, way: Way, traffic: Traffic) -> Option:
    """What is found, or a cached prompt, is read with every question; by whatever may and costs less."""
    more = 2_000.0 if way.name == "rag" else 0.1 * need.pages * facts("text.tokens_a_page")
    traffic = replace(traffic, tokens_in=traffic.tokens_in + more)  # reading from a cache costs a tenth
    own = _served(facts, need, way, traffic)
    if need.level >= Sensitivity.RESTRICTED or not need.pretrained:
        return own
    rented = _api(facts, need, _outside(way), traffic)
    rented = replace(rented, how=f"{rented.how}, over an external model")
    whole = {option.how: option.compute + _labour(facts, option.way) for option in (own, rented)}
    return own if own.fleet and whole[own.how] <= whole[rented.how] else rented


def _outside(way: Way) -> Way:
    """The same over an external model: no machines to look after; what comes with an API comes with it."""
    api = WAYS["api"]
    return replace(
        way,
        people=way.people - AT_MACHINES + api.people,
        risk=f"{way.risk}; {api.risk}",
        laws=(*way.laws, *api.laws),
    )


def _served(facts: Facts, need: Need, way: Way, traffic: Traffic) -> Option:
    """An open model on rented accelerators, and what training it takes."""
    fleet = cheapest(facts, known_shape(facts, way.shape), traffic, Wanted())
    if fleet is None:
        return _option(way, 0, 0, NO_DEVICE)
    hours = YEARS * formulas.HOURS_A_YEAR
    training = _training(facts, need, way)
    energy = formulas.kilowatt_hours(fleet.watts * draw(facts, fleet.device), hours, facts("energy.pue"))
    how = f"{fleet.devices} x {fleet.device} rented for {fleet.hourly:.2f} USD an hour"
    if training:
        how += f", {training:,.0f} USD of training"
    how += _on_whose_ground(need)
    return _option(way, fleet.hourly * hours + training, energy, how, fleet)


def _training(facts: Facts, need: Need, way: Way) -> float:
    """USD over three years: each time what has to be known changes, once a quarter at least."""
    parameters, rent = facts("shape.small.parameters"), facts("device.h100.rent")
    tflops = facts("device.h100.tflops")
    tokens = need.examples * (need.tokens_in + need.tokens_out) * 3  # epochs
    times = YEARS * {"never": 1, "yearly": 4, "monthly": 12, "weekly": 52, "daily": 365}[need.changes]
    match way.name:
        case "lora":
            flops, mfu = formulas.lora_flops(parameters, tokens) * times, facts("train.mfu")
        case "full":
            flops, mfu = formulas.training_flops(parameters, tokens) * times, facts("train.mfu")
        case "scratch":
            flops = formulas.training_flops(parameters, facts("train.tokens")) * facts("train.repeats")
            mfu = facts("train.mfu_large")
        case _:
            return 0.0
    return formulas.device_hours(flops, tflops, mfu) * rent


def _small(facts: Facts, need: Need, way: Way, traffic: Traffic) -> Option:
    """Processors are enough."""
    a_second = traffic.requests_a_day / 86_400 * facts("serve.peak")
    machines = max(2, -(-a_second // (facts("cpu.answers_per_second") * facts("serve.utilisation"))))
    hours = YEARS * formulas.HOURS_A_YEAR
    energy = formulas.kilowatt_hours(machines * facts("cpu.watts"), hours, facts("energy.pue"))
    how = f"{machines:.0f} machines of eight cores, {facts('cpu.rent'):.2f} USD an hour each"
    how += _on_whose_ground(need)
    return _option(way, machines * facts("cpu.rent") * hours, energy, how)


def _on_whose_ground(need: Need) -> str:
    restricted = need.level >= Sensitivity.RESTRICTED
    return "; priced as rented, but Restricted stays on your ground: see `freehold size`" * restricted


_PRICES: dict[str, Callable[[Facts, Need, Way, Traffic], Option]] = {
    "api": _api,
    "rag": _with_own_text,
    "cag": _with_own_text,
    "small": _small,
    "distill": _small,
}


# -- what forbids it --------------------------------------------------------------------------------


def _closed(facts: Facts, need: Need, option: Option) -> str:
    way = option.way
    if way.name == "api" and need.level >= Sensitivity.RESTRICTED:
        return "what is asked is Restricted and stays inside"
    if not need.pretrained and way.name not in ("api", "small", "scratch"):
        return "there is no open model that knows this field"
    if way.name in ("lora", "full", "distill", "scratch") and need.skills == "none":
        return "nobody here can train models"
    if way.name in ("full", "scratch") and need.skills != "team":
        return "it needs a team that trains models"
    if way.months > need.months:
        return f"it works after about {way.months:g} months, asked for are {need.months:g}"
    if option.how == NO_DEVICE:
        return "no known device holds the model"
    if option.fleet and option.fleet.first_token * 1000 > need.latency_ms:
        return f"the first token comes after {option.fleet.first_token * 1000:,.0f} ms"
    if option.cost > need.budget:
        return f"it costs about {option.cost:,.0f} USD, there are {need.budget:,.0f}"
    return ""


# -- what is not good enough ------------------------------------------------------------------------


def _enough_api(_facts: Facts, need: Need) -> str:
    if need.task == "predict":
        return "tables are not what language models read best"
    if need.knowledge == "ours" and need.pages > 0:
        return "it does not know what only you know"
    taught = need.task in ("classify", "extract") and need.quality != "good" and need.examples >= ENOUGH
    if taught:
        return f"what {need.examples:,.0f} examples teach does not fit into a prompt"
    return "" if need.pretrained else "no model knows this field"


def _enough_prompt(_facts: Facts, need: Need) -> str:
    if short := _enough_api(_facts, need):
        return short
    return "a small open model with a prompt alone is good, not more" if need.quality == "high" else ""


def _enough_rag(_facts: Facts, need: Need) -> str:
    if need.task not in ("answer", "write", "extract"):
        return "there is nothing to look up in this task"
    return "" if need.knowledge == "ours" and need.pages else "there is nothing of yours to look up"


def _enough_cag(facts: Facts, need: Need) -> str:
    if short := _enough_rag(facts, need):
        return short.replace("look up", "put into the prompt")
    tokens = need.pages * facts("text.tokens_a_page")
    if tokens > facts("text.context"):
        return f"{tokens:,.0f} tokens do not fit into a prompt"
    return "a cache that changes every day is none" if need.changes == "daily" else ""


def _enough_small(_facts: Facts, need: Need) -> str:
    if need.task not in ("classify", "predict"):
        return "it cannot write or find things in text"
    least = FEW if need.quality == "good" else ENOUGH
    if need.examples < least:
        return f"{need.examples:,.0f} examples are too few, it takes {least:,}"
    many = need.quality == "best" and need.task == "classify" and need.examples < MANY
    return f"the best of classifiers take {MANY:,} examples" if many else ""


def _enough_lora(_facts: Facts, need: Need) -> str:
    if need.task == "predict":
        return "tables are not what language models read best"
    if need.examples < ENOUGH:
        return f"{need.examples:,.0f} examples are too few, it takes {ENOUGH:,}"
    if need.moves:
        return f"what it has to know changes {need.changes}: an adapter learns manners, not news"
    asks_facts = need.knowledge == "ours" and need.task == "answer"
    return "an adapter learns manners, hardly facts" if asks_facts else ""


def _enough_full(facts: Facts, need: Need) -> str:
    if short := _enough_lora(facts, need):
        return short
    return "" if need.examples >= MANY else f"it takes {MANY:,} examples to be better than an adapter"


def _enough_distill(_facts: Facts, need: Need) -> str:
    if need.task not in ("classify", "extract"):
        return "a small student writes worse than its teacher"
    if need.quality == "best":
        return "a student is not better than its teacher"
    return "" if need.requests_a_day >= 10_000 else "it pays above 10,000 requests a day"


def _enough_scratch(facts: Facts, need: Need) -> str:
    if need.pretrained:
        return "an open model that knows the field is a better beginning"
    tokens = need.pages * facts("text.tokens_a_page")
    return "" if tokens >= OWN_TOKENS else f"{tokens:,.0f} tokens of own text are too few: {OWN_TOKENS:,.0f}"


_RULES: dict[str, Callable[[Facts, Need], str]] = {
    "api": _enough_api,
    "prompt": _enough_prompt,
    "rag": _enough_rag,
    "cag": _enough_cag,
    "small": _enough_small,
    "lora": _enough_lora,
    "full": _enough_full,
    "distill": _enough_distill,
    "scratch": _enough_scratch,
}
