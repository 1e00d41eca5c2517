"""Tiny generators for tests: a two-layer Llama and adapters that answer recognisably differently."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bases import causal, write_safetensors
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosting import write_rules

from freehold.engines import identity, parity, places
from freehold.engines.package import about_bytes, entries_of, manifest_bytes
from freehold.engines.package import about_of as read_about
from freehold.spec.base import base_digest
from freehold.spec.ids import digest_bytes
from freehold.spec.model import MANIFEST_TYPE, About, Manifest
from freehold.spec.snapshot import Column
from freehold.store.home import Home
from freehold.store.signing import sign

TEXTS = (
    "burst pipe in the kitchen", "the car hit a bumper", "a stolen bicycle and a laptop",
    "Überschwemmung im Keller", "wet ceiling 水 🌊", "please say what happened and when",
)  # fmt: skip
HIDDEN, LAYERS = 32, 2


def base_files(root: Path, **how: Any) -> dict[str, bytes]:
    """The files of a tiny base."""
    folder = causal(root / "base", TEXTS, hidden=HIDDEN, layers=LAYERS, **how)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def digest_of(base: Mapping[str, bytes]) -> str:
    """The base's digest, as its registration has it."""
    return base_digest(entries_of(base))


def adapter_tensors(seed: int, *, strength: float = 0.5, rank: int = 4) -> dict[str, np.ndarray[Any, Any]]:
    """Random matrices under PEFT's names, strong enough that every adapter answers in its own way."""
    draw = np.random.default_rng(seed)
    shapes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
              "mlp.up_proj": (HIDDEN, 2 * HIDDEN), "mlp.down_proj": (2 * HIDDEN, HIDDEN)}  # fmt: skip
    out: dict[str, np.ndarray[Any, Any]] = {}
    for layer in range(LAYERS):
        for name, (into, wide) in shapes.items():
            at = f"base_model.model.model.layers.{layer}.{name}"
            out[f"{at}.lora_A.weight"] = draw.normal(0, strength, (rank, into)).astype(np.float32)
            out[f"{at}.lora_B.weight"] = draw.normal(0, strength, (wide, rank)).astype(np.float32)
    return out


def adapter_config(rank: int = 4, alpha: int = 8, **more: Any) -> dict[str, Any]:
    """What PEFT writes beside the matrices, as far as anybody reads it."""
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "bias": "none",
        "target_modules": ["q_proj", "o_proj", "up_proj", "down_proj"], "use_rslora": False,
        "use_dora": False, "inference_mode": True, "base_model_name_or_path": None, **more,
    }  # fmt: skip


def model_files(
    root: Path,
    base: Mapping[str, bytes],
    seed: int,
    *,
    tensors: Mapping[str, np.ndarray[Any, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
    change: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """The files of a tuned generator, as training leaves them."""
    weights = root / f"adapter-{seed}.safetensors"
    write_safetensors(weights, tensors or adapter_tensors(seed))
    files = {
        "adapter/adapter_config.json": json.dumps(config or adapter_config()).encode(),
        "adapter/adapter_model.safetensors": weights.read_bytes(),
        **{name: base[name] for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")},
        **(change or {}),
    }
    return {**files, "about.json": about_bytes(about_of(files, base, features or {}))}


def about_of(files: Mapping[str, bytes], base: Mapping[str, bytes], features: Mapping[str, Any]) -> About:
    """What its about.json says."""
    return About(
        task="generate",
        trainer="lora",
        inputs=(Column(name="message", datatype="BYTES"),),
        classes=(),
        data="claims@1",
        data_digest="sha256:" + "1" * 64,
        run="",
        features={
            "kind": "chat",
            "base": digest_of(base),
            "max_length": 128,
            "max_new_tokens": 24,
            "end_tokens": [1],
            "template": digest_bytes(files["chat_template.jinja"]),
            "tokenizer": digest_bytes(files["tokenizer.json"]),
            **features,
        },
    )


def manifest_of(
    files: Mapping[str, bytes],
    name: str = "letters",
    version: int = 3,
    engine: str = "",
    flags: Mapping[str, str] | None = None,
) -> Manifest:
    """As registration would write it; the engine is this machine's where none is named."""
    return Manifest(
        model="mod_1",
        name=name,
        version=version,
        files=entries_of(files),
        about=read_about(files, run="run_1"),
        engine=engine or identity.engine("torch"),
        engine_flags=dict(flags or identity.flags("torch")),
    )


@dataclass(frozen=True)
class Zone:
    """A serving zone for one base: models are laid into it as the supervisor would."""

    home: Home
    base: Mapping[str, bytes]
    key: Ed25519PrivateKey

    @classmethod
    def make(cls, root: Path, base: Mapping[str, bytes]) -> Zone:
        home = Home(root)
        home.create()
        key = Ed25519PrivateKey.generate()
        home.release_pub.write_bytes(key.public_key().public_bytes_raw())
        write_files(places.base_folder(home, digest_of(base)), base)
        write_rules(places.rules_path(home), key)
        return cls(home, base, key)

    @property
    def digest(self) -> str:
        return digest_of(self.base)

    def lay(self, files: Mapping[str, bytes], evidence: Mapping[str, Any], **how: Any) -> Manifest:
        """Lay a signed model into the zone, with what its card says of it."""
        manifest = manifest_of(files, **how)
        folder = places.model_folder(self.home, manifest.serving_digest)
        write_files(folder, files)
        said = parity.payload(manifest.serving_digest, "sha256:" + "0" * 64, evidence)
        for name, kind, payload in (
            ("envelope", MANIFEST_TYPE, manifest_bytes(manifest)),
            ("evidence", parity.EVIDENCE_TYPE, said),
        ):
            signed = json.dumps(sign(self.key, kind, payload).as_json())
            (folder.parent / f"{name}.json").write_text(signed)
        return manifest

    def want(self, *manifests: Manifest) -> None:
        """Say which models are to be served."""
        digests = frozenset(manifest.serving_digest for manifest in manifests)
        places.write_wanted(self.home, self.digest, digests)

    def socket(self, manifest: Manifest) -> Path:
        return places.socket_path(self.home, manifest.serving_digest)

    def state(self, manifest: Manifest) -> dict[str, str]:
        """What is said of a model."""
        try:
            said: dict[str, str] = json.loads(self.socket(manifest).with_suffix(".json").read_text())
        except FileNotFoundError:
            return {}
        return said


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def asks(*texts: str) -> list[list[dict[str, str]]]:
    """One conversation each, of one message."""
    return [[{"role": "user", "content": text}] for text in texts]


class Reference:
    """The same model through transformers and PEFT, one request at a time."""

    def __init__(self, root: Path, base: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        write_files(root / "base", base)
        write_files(root, files)
        self._torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(root / "base")
        model = AutoModelForCausalLM.from_pretrained(root / "base", attn_implementation="eager")
        with warnings.catch_warnings():  # PEFT asks transformers by a name that is going
            warnings.simplefilter("ignore", FutureWarning)
            self.model = PeftModel.from_pretrained(model, root / "adapter").eval()

    def answer(self, conversation: Sequence[Mapping[str, str]], most: int) -> tuple[list[int], list[float]]:
        """Tokens with the end token, and each one's log-probability."""
        torch = self._torch
        prompt = self.tokenizer.apply_chat_template(
            list(conversation), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            made = self.model.generate(
                **prompt, max_new_tokens=most, do_sample=False, eos_token_id=1, pad_token_id=0,
                output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
        ids = made.sequences[0, prompt["input_ids"].shape[1] :].tolist()
        logprobs = [
            float(step[0].double().log_softmax(-1)[id]) for step, id in zip(made.logits, ids, strict=True)
        ]
        return ids, logprobs
