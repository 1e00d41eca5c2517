"""LoRA adapters by PEFT, in files that PEFT reads, whose bytes follow from the weights alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from freehold.train import tuning

CONFIG, WEIGHTS = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"


def attach(model: Any, *, rank: int, alpha: float, targets: Sequence[str], seed: int) -> Any:
    """The model with an adapter that changes nothing yet; all else stays as it is."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(tuning.draw_for(seed, "adapter"))
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(targets), bias="none")
    with warnings.catch_warnings():  # PEFT still asks transformers by an old name
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        return get_peft_model(model, config)


def learned(model: Any) -> dict[str, Any]:
    """The adapter's parameters by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def merged(model: Any) -> dict[str, Any]:
    """The model's own weights with the adapter added in; the model itself stays as it is."""
    from copy import deepcopy

    return dict(deepcopy(model).merge_and_unload().state_dict())


def files(model: Any, *, rank: int, alpha: float, targets: Sequence[str], task: str) -> dict[str, bytes]:
    """`adapter/`: what PEFT's `from_pretrained` reads."""
    from peft import get_peft_model_state_dict

    # PEFT's own form holds sets and versions: its bytes would differ from run to run
    said = {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": "",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0,
        "target_modules": sorted(targets),
        "bias": "none",
        "inference_mode": True,
    }
    return {
        CONFIG: json.dumps(said, sort_keys=True).encode(),
        WEIGHTS: tensors(get_peft_model_state_dict(model)),
    }


def tensors(named: Mapping[str, Any]) -> bytes:
    """A safetensors file of these, by name."""
    from safetensors.torch import save

    data: bytes = save({name: named[name].detach().cpu().contiguous() for name in sorted(named)})
    return data
