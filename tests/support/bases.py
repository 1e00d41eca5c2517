"""Tiny base models in the layout of Hugging Face, written with numpy alone: seconds to tune, no download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from freehold.engines.package import about_bytes
from freehold.engines.tokens import TokenFeatures
from freehold.spec.model import About
from freehold.spec.snapshot import Column
from freehold.train import encoder_graph

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CARD = "---\nlicense: apache-2.0\n---\nA model for tests.\n"
Weights = Mapping[str, np.ndarray[Any, Any]]


def write_safetensors(path: Path, tensors: Weights) -> None:
    """A safetensors file; the format is small enough to write by hand."""
    head: dict[str, Any] = {}
    at = 0
    for name, array in tensors.items():
        head[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(array, dtype=np.float32).tobytes() for array in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write_json(path: Path, said: Any) -> None:
    path.write_text(json.dumps(said, ensure_ascii=False, indent=1))


def encoder(folder: Path, texts: Sequence[str], *, seed: int = 3, hidden: int = 32, layers: int = 2) -> Path:
    """A BERT with random weights and a WordPiece vocabulary of `texts`."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordPiece(_pieces(texts), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    write_json(folder / "config.json", _bert_config(size, hidden, layers))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    write_safetensors(folder / "model.safetensors", bert_weights(size, hidden, layers, seed))
    (folder / "README.md").write_text(CARD)
    return folder


def _pieces(texts: Sequence[str]) -> dict[str, int]:
    """The words of `texts` and the letters they are made of.

    Not learned: `WordPieceTrainer` finds other pieces in each process, and models would differ with them.
    """
    split, lower = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(lower.normalize_str(text))}
    letters = {letter for word in words for letter in word}
    pieces = words | letters | {f"##{letter}" for letter in letters}
    return {piece: at for at, piece in enumerate((*SPECIAL, *sorted(pieces)))}


def _bert_config(vocabulary: int, hidden: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocabulary,
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 2 * hidden, "hidden_act": "gelu", "max_position_embeddings": 64,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    }  # fmt: skip


def bert_weights(vocabulary: int, hidden: int, layers: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random, under the names that BERT checkpoints have."""
    draw = np.random.default_rng(seed)
    out: dict[str, np.ndarray[Any, Any]] = {}

    def matrix(name: str, *shape: int) -> None:
        out[name] = draw.normal(0, 0.2, shape).astype(np.float32)

    def norm(name: str) -> None:
        out[f"{name}.weight"] = np.ones(hidden, np.float32)
        out[f"{name}.bias"] = np.zeros(hidden, np.float32)

    def dense(name: str, rows: int, columns: int) -> None:
        matrix(f"{name}.weight", rows, columns)
        out[f"{name}.bias"] = np.zeros(rows, np.float32)

    matrix("embeddings.word_embeddings.weight", vocabulary, hidden)
    matrix("embeddings.position_embeddings.weight", 64, hidden)
    matrix("embeddings.token_type_embeddings.weight", 2, hidden)
    norm("embeddings.LayerNorm")
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            dense(f"{at}.attention.self.{part}", hidden, hidden)
        dense(f"{at}.attention.output.dense", hidden, hidden)
        norm(f"{at}.attention.output.LayerNorm")
        dense(f"{at}.intermediate.dense", 2 * hidden, hidden)
        dense(f"{at}.output.dense", hidden, 2 * hidden)
        norm(f"{at}.output.LayerNorm")
    return out


TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def causal(
    folder: Path,
    texts: Sequence[str],
    *,
    seed: int = 5,
    hidden: int = 32,
    layers: int = 2,
    template: str | None = TEMPLATE,
) -> Path:
    """A two-layer Llama with random weights and a byte-level BPE vocabulary of `texts`."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    write_json(folder / "config.json", _llama_config(size, hidden, layers))
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<pad>",
        "model_max_length": 128,
    }
    write_json(folder / "tokenizer_config.json", said)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    write_safetensors(folder / "model.safetensors", llama_weights(size, hidden, layers, seed))
    (folder / "README.md").write_text(CARD)
    return folder


def _llama_config(vocabulary: int, hidden: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary,
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 2 * hidden, "hidden_act": "silu",
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "torch_dtype": "float32",
    }  # fmt: skip


def llama_weights(vocabulary: int, hidden: int, layers: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random, under the names that Llama checkpoints have."""
    draw = np.random.default_rng(seed)
    out: dict[str, np.ndarray[Any, Any]] = {}

    def matrix(name: str, *shape: int) -> None:
        out[name] = draw.normal(0, 0.08, shape).astype(np.float32)

    matrix("model.embed_tokens.weight", vocabulary, hidden)
    for layer in range(layers):
        at = f"model.layers.{layer}"
        matrix(f"{at}.self_attn.q_proj.weight", hidden, hidden)
        matrix(f"{at}.self_attn.k_proj.weight", hidden // 2, hidden)
        matrix(f"{at}.self_attn.v_proj.weight", hidden // 2, hidden)
        matrix(f"{at}.self_attn.o_proj.weight", hidden, hidden)
        matrix(f"{at}.mlp.gate_proj.weight", 2 * hidden, hidden)
        matrix(f"{at}.mlp.up_proj.weight", 2 * hidden, hidden)
        matrix(f"{at}.mlp.down_proj.weight", hidden, 2 * hidden)
        out[f"{at}.input_layernorm.weight"] = np.ones(hidden, np.float32)
        out[f"{at}.post_attention_layernorm.weight"] = np.ones(hidden, np.float32)
    out["model.norm.weight"] = np.ones(hidden, np.float32)
    matrix("lm_head.weight", vocabulary, hidden)
    return out


def tuned_classifier(folder: Path, texts: Sequence[str], max_length: int = 16) -> dict[str, bytes]:
    """A tuned classifier as its folder would be, with random weights; needs no torch."""
    base = encoder(folder, texts)
    config = json.loads((base / "config.json").read_text())
    weights = bert_weights(config["vocab_size"], 32, 2, seed=3)
    head = np.random.default_rng(4).normal(size=(3, 32)).astype(np.float32)
    graph = encoder_graph.classifier(encoder_graph.Shape.of(config), weights, head, np.zeros(3, np.float32))
    tokenizer = (base / "tokenizer.json").read_bytes()
    about = About(
        task="classify",
        trainer="lora",
        inputs=(Column(name="text", datatype="BYTES"),),
        classes=("a", "b", "c"),
        data="claims@1",
        data_digest="sha256:" + "1" * 64,
        run="",
        features=TokenFeatures.of(tokenizer, max_length).as_features(),
    )
    return {"model.onnx": graph, "tokenizer.json": tokenizer, "about.json": about_bytes(about)}
