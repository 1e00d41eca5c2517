"""The next token: the likeliest, or one that is drawn with the request's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from freehold.engines.generation import How
from freehold.errors import Unavailable


class NotFinite(Unavailable):
    """the model's numbers are not finite"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, and what is told of it."""

    id: int
    logprob: float = 0.0
    others: tuple[tuple[int, float], ...] = ()


def choose(logits: Tensor, words: int, how: How, random: Random) -> Chosen:
    """`logits`: [vocabulary], of which the first `words` may be chosen: matrices are often wider.

    Takes one number from `random` when a token is drawn, none when it is not.
    """
    if not bool(logits.isfinite().all()):
        raise NotFinite
    known = logits[:words]
    id = int(known.argmax()) if how.temperature == 0 else _draw(known, how, random)
    if how.alternatives is None:
        return Chosen(id)
    logprobs = logits.double().log_softmax(-1)
    best = logprobs[:words].topk(min(how.alternatives, words))
    others = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return Chosen(id, float(logprobs[id]), others)


def _draw(logits: Tensor, how: How, random: Random) -> int:
    """By inverse distribution function, over the nucleus (Holtzman et al. 2020) where `top_p` is below 1.

    Ties stand in the order of their ids, so that equal numbers draw equal tokens.
    """
    chances = (logits.double() / how.temperature).softmax(-1)
    if how.top_p >= 1:
        return _place(chances, random.random())
    ordered, ids = chances.sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    kept = int((before < how.top_p).sum().clamp(min=1))
    return int(ids[_place(ordered[:kept], random.random())])


def _place(chances: Tensor, at: float) -> int:
    """The first place whose cumulative share exceeds `at`; places without any chance are never hit."""
    sums = chances.cumsum(-1)
    place = int(torch.searchsorted(sums, at * float(sums[-1]), right=True))
    return min(place, int(chances.nonzero()[-1]))
