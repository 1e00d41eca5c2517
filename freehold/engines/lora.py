"""LoRA adapters in PEFT's layout, several of them on one base at the same time.

y = W x + s B A x (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1), s = alpha / r, or
alpha / sqrt(r) where the adapter says so (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732).

Each row of a batch names the adapter object it is answered with: there is no table of names or slots
in which an adapter could be exchanged under a running answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn import functional

from freehold.engines.protocol import ModelUnreadable

CONFIG, WEIGHTS = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"

_NAME = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (False,),
    "use_qalora": (False,),
    "bias": ("none",),
    "modules_to_save": (None, []),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
    "layer_replication": (None,),
    "lora_bias": (False,),
    "megatron_config": (None,),
    "exclude_modules": (None, []),
    "alora_invocation_tokens": (None,),
}
"""Settings that would change the arithmetic, with the values under which they do not."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """One adapter: per module of the base the two matrices, B scaled already. Known by identity."""

    deltas: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)

    @classmethod
    def read(cls, files: Mapping[str, bytes], device: torch.device) -> Self:
        """From the files of a model. Raises ModelUnreadable for what this engine would compute otherwise."""
        try:
            config = json.loads(files[CONFIG])
            tensors = read_tensors(files[WEIGHTS])
        except KeyError as missing:
            raise ModelUnreadable(why=f"`{missing.args[0]}` is missing") from None
        except Exception as error:  # safetensors raises an error class of its own
            raise ModelUnreadable(why="its adapter cannot be read") from error
        scale = _scale(config)
        pairs = _pairs(tensors)
        return cls(
            {
                module: (a.to(device, torch.float32), b.to(device, torch.float32) * scale)
                for module, (a, b) in pairs.items()
            }
        )


def _scale(config: Mapping[str, Any]) -> float:
    if config.get("peft_type") != "LORA":
        raise ModelUnreadable(why=f"its adapter is of type `{str(config.get('peft_type'))[:40]}`, not LORA")
    for name, neutral in _NEUTRAL.items():
        if name in config and config[name] not in neutral:
            raise ModelUnreadable(why=f"its adapter sets `{name}`, which this engine does not compute")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ModelUnreadable(why="its adapter does not say `r` and `lora_alpha`")
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _pairs(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Module -> (A [r, in], B [out, r]). Every tensor must belong to a pair."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place = _NAME.match(name)
        if place is None:
            raise ModelUnreadable(why=f"its adapter has a tensor `{name[:100]}`, which is no LoRA matrix")
        found.setdefault(place["module"], {})[place["part"]] = tensor
    for module, parts in found.items():
        if len(parts) != 2 or parts["A"].shape[0] != parts["B"].shape[1]:
            raise ModelUnreadable(why=f"its adapter's matrices for `{module[:100]}` do not fit together")
    if not found:
        raise ModelUnreadable(why="its adapter is empty")
    return {module: (parts["A"], parts["B"]) for module, parts in found.items()}


@dataclass(slots=True)
class Turn:
    """Which adapter each row of the batch under way is answered with. Owned by the scheduler's thread."""

    rows: tuple[Adapter | None, ...] = ()
    _masks: tuple[tuple[Adapter, Tensor | None], ...] = ()

    def begin(self, rows: Sequence[Adapter | None], device: torch.device) -> None:
        """The rows of the next forward pass; None is the base alone."""
        self.rows = tuple(rows)
        distinct = {id(adapter): adapter for adapter in rows if adapter is not None}
        self._masks = tuple((adapter, self._mask(adapter, device)) for adapter in distinct.values())

    def _mask(self, adapter: Adapter, device: torch.device) -> Tensor | None:
        """Which rows are this adapter's; none when all are."""
        mine = [row is adapter for row in self.rows]
        return None if all(mine) else torch.tensor(mine, device=device)[:, None, None]

    def add(self, module: str, x: Tensor, y: Tensor) -> Tensor:
        """`y` with each row's own delta. x, y: [rows, tokens, width].

        Each adapter's delta is computed over all rows, then taken for its own alone: so its matrices
        meet a batch of one fixed shape, and a row's numbers do not depend on the company it is in. A
        delta that is not a row's own is dropped, not multiplied by zero: what is infinite in one
        adapter stays there.
        """
        for adapter, mask in self._masks:
            pair = adapter.deltas.get(module)
            if pair is not None:
                mine = y + functional.linear(functional.linear(x, pair[0]), pair[1])
                y = mine if mask is None else torch.where(mask, mine, y)
        return y


def make_tunable(model: nn.Module, turn: Turn) -> dict[str, tuple[int, int]]:
    """Let every linear map of a model add its rows' deltas; their names, with widths in and out."""
    from transformers.pytorch_utils import Conv1D

    shapes: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            out, into = module.weight.shape if isinstance(module, nn.Linear) else module.weight.shape[::-1]
            shapes[name] = (into, out)
            module.register_forward_hook(_adding(name, turn))
    return shapes


def _adding(name: str, turn: Turn) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    return lambda _module, args, out: turn.add(name, args[0], out)


def check_fits(adapter: Adapter, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise ModelUnreadable when the adapter was made for another base."""
    for module, (a, b) in adapter.deltas.items():
        if module not in shapes:
            raise ModelUnreadable(why=f"its adapter is for `{module[:100]}`, which the base does not have")
        if (a.shape[1], b.shape[0]) != shapes[module]:
            raise ModelUnreadable(why=f"its adapter's matrices for `{module[:100]}` have another width")
