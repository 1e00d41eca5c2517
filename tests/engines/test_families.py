"""Each family of models is computed as transformers computes it."""

from __future__ import annotations

import inspect
import json
from typing import Any

import needs
import pytest

pytest.importorskip("torch", reason=needs.TRAIN)

import torch

from freehold.engines.identity import FAMILIES
from freehold.engines.protocol import ModelUnreadable
from freehold.engines.torch_base import Row, TorchBase

SMALL = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "sliding_window": 7,
    "use_sliding_window": True, "max_window_layers": 1, "query_pre_attn_scalar": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
PROMPT = [5, 9, 77, 3, 44, 8, 12, 60, 31, 2]
STEPS = 12


def tiny(family: str) -> tuple[Any, dict[str, bytes]]:
    """A model of a family with weights large enough to matter, and its files."""
    from safetensors.torch import save
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    known = set(inspect.signature(CONFIG_MAPPING[family].__init__).parameters)
    config = CONFIG_MAPPING[family](**{name: said for name, said in SMALL.items() if name in known})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for matrix in model.parameters():
            if matrix.dim() > 1:
                matrix.copy_(torch.randn(matrix.shape, generator=draw) * 0.15)
    weights = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    files = {"config.json": config.to_json_string().encode(), "model.safetensors": save(weights)}
    return model, files


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_computed_as_transformers_computes_it(family: str) -> None:
    model, files = tiny(family)
    expected = model.generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT)), max_new_tokens=STEPS,
        do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    base = TorchBase.read(files)
    row, others = Row(None), [Row(None) for _ in range(3)]
    logits = base.read_prompt(row, PROMPT)
    for number, other in enumerate(others):
        base.read_prompt(other, PROMPT[: number + 2])
    for step, id in enumerate(expected.sequences[0, len(PROMPT) :].tolist()):
        assert torch.allclose(logits, expected.logits[step][0], atol=1e-4)
        assert int(logits.argmax()) == id
        logits = base.step([others[0], row, *others[1:]], [7, id, 8, 9])[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "mamba"}, "`mamba`"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "`dynamic`"),
        ({"hidden_size": 40}, "another shape"),
        ({"num_hidden_layers": 3}, "lacks the weights"),
        ({"num_hidden_layers": 1}, "does not know"),
    ],
)
def test_a_base_that_would_be_computed_otherwise_is_refused(change: dict[str, Any], says: str) -> None:
    _, files = tiny("llama")
    config = json.loads(files["config.json"]) | change
    with pytest.raises(ModelUnreadable) as refused:
        TorchBase.read({**files, "config.json": json.dumps(config).encode()})
    assert says in refused.value.why


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_base_with_a_broken_or_missing_file_is_told(damage: str) -> None:
    _, files = tiny("llama")
    for damaged in ({**files, damage: files[damage][:50]}, {n: c for n, c in files.items() if n != damage}):
        with pytest.raises(ModelUnreadable):
            TorchBase.read(damaged)
