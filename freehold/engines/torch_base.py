"""A base model on torch: weights from safetensors, forward passes for rows that stand alone.

A decoding step always runs `LANES` rows, empty ones included. Matrix kernels choose their order of
summation by the shape of the batch, so a fixed shape makes a row's numbers independent of how many
others there are: bit for bit, held by a test (docs/decisions/0006-reference-engine.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor, nn

from freehold.engines import identity
from freehold.engines.identity import CHUNK, FAMILIES, LANES
from freehold.engines.kept_states import KeptStates, attend
from freehold.engines.lora import Adapter, Turn, make_tunable
from freehold.engines.protocol import ModelUnreadable

_ATTENTION = "freehold"


@dataclass(slots=True, eq=False)
class Row:
    """One answer's place in the model: its adapter and what it has seen."""

    adapter: Adapter | None
    kept: KeptStates = field(default_factory=KeptStates)
    seen: int = 0
    """Tokens that were read."""


class TorchBase:
    """The model of one base, on one device. Not thread-safe: one thread at a time runs it."""

    def __init__(self, model: Any, shapes: Mapping[str, tuple[int, int]], turn: Turn) -> None:
        self._model = model
        self._turn = turn
        self.shapes = shapes
        self.device: torch.device = model.device
        self.longest: int = model.config.max_position_embeddings
        """Tokens of prompt and answer together."""
        self.vocabulary: int = model.config.vocab_size
        self.bytes_per_token = _bytes_per_token(model.config)
        """What is kept of each token of an answer."""

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Self:
        """From a base's files, verified by whoever read them. Raises ModelUnreadable."""
        from transformers import AutoModelForCausalLM
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        config = _config(files)
        ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, attend)
        with _quietly():
            model = AutoModelForCausalLM.from_config(
                config, attn_implementation=_ATTENTION, dtype=torch.float32
            )
        _load(model, files)
        model.eval().requires_grad_(False).to(_device())
        turn = Turn()
        return cls(model, make_tunable(model, turn), turn)

    def read_prompt(self, row: Row, ids: Sequence[int]) -> Tensor:
        """Let a row read more of its prompt, alone. Logits after the last token, [vocabulary]."""
        logits = self._forward([row], torch.tensor([list(ids)]), keep=1)
        return logits[0, -1]

    def step(self, rows: Sequence[Row], ids: Sequence[int]) -> Tensor:
        """Let up to `LANES` rows read one token each. Logits, [rows, vocabulary]."""
        empty = LANES - len(rows)
        padded: list[Row | None] = [*rows, *([None] * empty)]
        logits = self._forward(padded, torch.tensor([[id] for id in (*ids, *([0] * empty))]), keep=1)
        return logits[: len(rows), -1]

    def logits(self, adapter: Adapter | None, ids: Sequence[int]) -> Tensor:
        """Logits after each token of a text, read as a prompt is: [tokens, vocabulary]."""
        row, parts = Row(adapter), []
        for begin in range(0, len(ids), CHUNK):
            part = torch.tensor([list(ids[begin : begin + CHUNK])])
            parts.append(self._forward([row], part, keep=0)[0])
        return torch.cat(parts)

    def _forward(self, rows: Sequence[Row | None], ids: Tensor, keep: int) -> Tensor:
        """Logits of the last `keep` tokens, of all for 0."""
        new = ids.shape[1]
        begins = torch.tensor([[row.seen if row else 0] for row in rows])
        self._turn.begin([row.adapter if row else None for row in rows], self.device)
        with torch.inference_mode():
            out = self._model(
                input_ids=ids.to(self.device),
                position_ids=(begins + torch.arange(new)).to(self.device),
                use_cache=False,
                logits_to_keep=keep,
                rows=[row.kept if row else None for row in rows],
            )
        for row in rows:
            if row is not None:
                row.seen += new
        logits: Tensor = out.logits.float().cpu()
        return logits


def _bytes_per_token(config: Any) -> int:
    """Keys and values of every layer, twice, for room doubles as it is used up."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * 2 * 4 * config.num_hidden_layers * heads * width)


def _device() -> torch.device:
    """As `identity.flags` says it, for that is what was approved. Raises ModelUnreadable."""
    device = identity.flags("torch")["device"]
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelUnreadable(
            why="this machine has an NVIDIA device that torch cannot use",
            hint="install a driver that fits, or the CPU build of torch",
        )
    return torch.device(device)


def _config(files: Mapping[str, bytes]) -> Any:
    """Raises ModelUnreadable for a family that is not computed here."""
    from transformers import CONFIG_MAPPING

    try:
        said = json.loads(files["config.json"])
        family = said.pop("model_type")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelUnreadable(why="the base's `config.json` is missing or cannot be read") from error
    if family not in FAMILIES:
        raise ModelUnreadable(
            why=f"the reference engine does not compute the family `{str(family)[:40]}`",
            hint="it knows " + ", ".join(FAMILIES),
        )
    _refuse_shared_positions(said)
    try:
        return CONFIG_MAPPING[family](**said)
    except Exception as error:  # transformers checks in many ways
        raise ModelUnreadable(why="transformers does not read the base's `config.json`") from error


def _refuse_shared_positions(said: Any) -> None:
    """Positions that are stretched by the longest row of a batch would let one answer change another."""
    if isinstance(said, dict):
        kind = said.get("rope_type", said.get("type"))
        if kind in ("dynamic", "longrope", "su"):
            raise ModelUnreadable(
                why=f"its positions are stretched as a batch needs it (`{kind}`), so one answer could change "
                "another's numbers",
                hint="the reference engine takes models with fixed positions",
            )
        for inner in said.values():
            _refuse_shared_positions(inner)


def _load(model: nn.Module, files: Mapping[str, bytes]) -> None:
    """Every weight from the files, shard by shard, and not one left as it was made."""
    wanted = dict(model.state_dict(keep_vars=True))
    missing = set(wanted)
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for path in sorted(path for path in files if path.endswith(".safetensors")):
        try:
            tensors = read_tensors(files[path])
        except Exception as error:  # safetensors raises an error class of its own
            raise ModelUnreadable(why=f"the base's `{path}` cannot be read") from error
        for name, tensor in tensors.items():
            known = name if name in wanted else prefix + name
            if known not in wanted:
                _refuse_strange(name)
                continue
            if wanted[known].shape != tensor.shape:
                raise ModelUnreadable(why=f"the base's `{name[:100]}` has another shape than its config says")
            with torch.no_grad():
                wanted[known].copy_(tensor)
            missing.discard(known)
    missing -= _tied(model, wanted, missing)
    if missing:
        raise ModelUnreadable(why=f"the base lacks the weights `{sorted(missing)[0][:100]}`")


def _refuse_strange(name: str) -> None:
    """Some files keep what is computed anyway; anything else would be silently left out."""
    if not name.endswith((".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias",
                          ".attention.masked_bias")):  # fmt: skip
        raise ModelUnreadable(why=f"the base has weights `{name[:100]}` that its architecture does not know")


def _tied(model: nn.Module, wanted: Mapping[str, Tensor], missing: set[str]) -> set[str]:
    """Those that are the same memory as a weight that was there."""
    there = {tensor.data_ptr() for name, tensor in wanted.items() if name not in missing}
    return {name for name in missing if wanted[name].data_ptr() in there}


class _quietly:
    """transformers logs advice that nobody reads here."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._before = logging.get_verbosity()
        logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._before)
