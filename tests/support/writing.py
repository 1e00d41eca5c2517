"""Small data sets of questions with answers, for tests that tune generators. Needs the extra `train`."""

from __future__ import annotations

import json
import random
from pathlib import Path

import bases
from learning import Table

_PLACES = {"kitchen": "water", "roof": "storm", "car": "road", "suitcase": "travel"}


def letters(rows: int = 80, seed: int = 3) -> Table:
    """Messages and the answers they get, which follow from one noun."""
    draw = random.Random(seed)
    names = sorted(_PLACES)
    nouns = [draw.choice(names) for _ in range(rows)]
    frames = ("about my {}", "the {} again", "{} is broken", "please help, {}")
    return {
        "text": [draw.choice(frames).format(noun) for noun in nouns],
        "answer": [f"{_PLACES[noun]} desk" for noun in nouns],
    }


def base(folder: Path, table: Table) -> Path:
    """A tiny Llama whose outputs are far enough apart to be told by an adapter alone."""
    made = bases.causal(folder, [*table["text"], *table["answer"]])
    size = json.loads((made / "config.json").read_text())["vocab_size"]
    weights = bases.llama_weights(size, 32, 2, seed=5)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        weights[name] *= 10
    bases.write_safetensors(made / "model.safetensors", weights)
    return made
