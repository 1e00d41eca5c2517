"""Keys and values that one answer has seen so far. They belong to that answer alone.

Nothing is shared between answers, not even the same prompt under the same adapter: what was computed
under one adapter can never be read under another. Each row attends over exactly its own length, without
padding, so its numbers do not depend on how long its neighbours are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

FIRST = 64
"""Tokens there is room for at first; room doubles when it is used up."""


class KeptStates:
    """Of one row: per layer keys and values, [heads, tokens, width]."""

    __slots__ = ("_keys", "_length", "_values")

    def __init__(self) -> None:
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._length: dict[int, int] = {}

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of new tokens ([heads, new, width]); all of the layer, as views."""
        begin = self._length.get(layer, 0)
        end = begin + keys.shape[1]
        self._make_room(layer, end, keys, values)
        self._keys[layer][:, begin:end] = keys
        self._values[layer][:, begin:end] = values
        self._length[layer] = end
        return self._keys[layer][:, :end], self._values[layer][:, :end]

    def _make_room(self, layer: int, end: int, keys: Tensor, values: Tensor) -> None:
        there = self._keys.get(layer)
        if there is not None and end <= there.shape[1]:
            return
        room = FIRST
        while room < end:
            room *= 2
        for kept, like in ((self._keys, keys), (self._values, values)):
            larger = like.new_empty((like.shape[0], room, like.shape[2]))
            if there is not None:
                larger[:, : there.shape[1]] = kept[layer]
            kept[layer] = larger


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    rows: Sequence[KeptStates | None] = (),
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, over each row's own kept states.

    query: [rows, heads, new, width]; key, value: [rows, key heads, new, width]. A row that is None is
    an empty place of the batch. Returns [rows, new, heads, width].
    """
    out = torch.zeros_like(query)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    for place, kept in enumerate(rows):
        if kept is not None:
            keys, values = kept.add(module.layer_idx, key[place], value[place])
            out[place] = _one(query[place], keys, values, scale, sliding_window, softcap)
    return out.transpose(1, 2).contiguous(), None


def _one(
    query: Tensor, keys: Tensor, values: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """softmax(q k / sqrt(d)) v, each key head serving a group of query heads (Ainslie et al. 2023)."""
    heads, new, width = query.shape
    grouped = query.reshape(keys.shape[0], -1, width)  # [key heads, group x new, width]
    scores = grouped @ keys.transpose(1, 2) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    seen = keys.shape[1]
    if new > 1 or (window is not None and seen > window):
        scores = scores.reshape(-1, new, seen).masked_fill(
            _hidden(new, seen, window, query.device), -torch.inf
        )
        scores = scores.reshape(keys.shape[0], -1, seen)
    return (torch.softmax(scores, dim=-1) @ values).reshape(heads, new, width)


def _hidden(new: int, seen: int, window: int | None, device: torch.device) -> Tensor:
    """What a token may not look at: what follows it, and what lies outside its window. [new, seen]"""
    at = torch.arange(seen - new, seen, device=device)[:, None]
    other = torch.arange(seen, device=device)[None, :]
    hidden = other > at
    return hidden if window is None else hidden | (other <= at - window)
