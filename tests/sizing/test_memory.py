"""What a training takes in memory, beside what one step of torch was seen to take on these processors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import training
from freehold.sizing.workload import Model, Train, known_models

PEAK_OF = Path("/proc/self/clear_refs")
"""Where Linux lets a process ask for its own highest point anew."""
seen_on_linux = pytest.mark.skipif(not PEAK_OF.exists(), reason="only Linux tells how much was taken at most")
FACTS = figures.load()
LLAMA = known_models()["llama-3-8b"]
PEAK = """\
import gc, torch
from pathlib import Path

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

def peak(work):
    "Bytes above what was there, at the highest, while `work` runs for the second time."
    work()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    work()
    return status("VmHWM") - before
"""
LOSS = """
tokens, vocabulary = 2048, 32_000
hidden = torch.randn(tokens, 8, dtype=torch.bfloat16, requires_grad=True)
head = torch.randn(8, vocabulary, dtype=torch.bfloat16, requires_grad=True)
wanted = torch.randint(0, vocabulary, (tokens,))

def step():
    logits = hidden @ head
    torch.nn.functional.cross_entropy(logits.float(), wanted).backward()
    hidden.grad = head.grad = None

print(peak(step) / (tokens * vocabulary))
"""
STEP = """
from transformers import LlamaConfig, LlamaForCausalLM
before = status("VmRSS")
model = LlamaForCausalLM(LlamaConfig(
    hidden_size=256, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=704, vocab_size=32_000, tie_word_embeddings=False, use_cache=False,
))
model.gradient_checkpointing_enable()
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
words = torch.randint(0, 32_000, (8, 256))

def step():
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=words, labels=words).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()

above = peak(step)
held = sum(p.numel() for p in model.parameters()) * 12
print(held + above, sum(p.numel() for p in model.parameters()))
"""


def seen(script: str) -> list[float]:
    """What a process of its own printed."""
    ran = subprocess.run(
        [sys.executable, "-c", PEAK + script], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return [float(word) for word in ran.stdout.split()]


def test_logits_grow_with_tokens_and_vocabulary_and_with_nothing_else() -> None:
    train = Train(method="full", tokens=1e9, sequence=4096, batch=2)
    held = training.memory(FACTS, LLAMA, train)
    assert held.logits == 14 * 2 * 4096 * 128_256
    assert held.total == held.shared + held.activations + held.logits
    deeper = training.memory(FACTS, replace(LLAMA, layers=64, hidden=8192), train)
    assert deeper.logits == held.logits
    fewer = training.memory(FACTS, replace(LLAMA, vocabulary=32_064), train)
    assert fewer.logits == held.logits / 4


def test_a_run_whose_logits_alone_fill_a_card_does_not_fit_it() -> None:
    wide = replace(LLAMA, layers=1, hidden=64, vocabulary=1e6)
    train = Train(method="lora", tokens=1e7, sequence=32_768, batch=1)
    assert training.memory(FACTS, wide, train).logits > 400e9
    devices = {one.device for one in training.on_devices(FACTS, wide, train)}
    assert "l4" not in devices
    narrow = training.on_devices(FACTS, replace(wide, vocabulary=1000), train)
    assert "l4" in {one.device for one in narrow}


@seen_on_linux
def test_the_loss_takes_as_many_bytes_a_logit_as_the_plan_says(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    (measured,) = seen(LOSS)
    with capsys.disabled():
        print(f"\nbytes of a logit: {measured:.1f} measured, {FACTS('train.logit_bytes'):g} planned", end="")
    fact = FACTS.used["train.logit_bytes"]
    assert fact.low <= measured <= fact.high


@seen_on_linux
def test_a_step_takes_no_more_than_planned_and_not_much_less(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    measured, parameters = seen(STEP)
    model = Model(parameters=parameters, layers=4, kv_heads=2, head=64, hidden=256, vocabulary=32_000)
    planned = training.memory(FACTS, model, Train(method="full", tokens=1, sequence=256, batch=8)).total
    with capsys.disabled():
        print(f"\na step: {measured / 1e6:.0f} MB measured, {planned / 1e6:.0f} planned", end="")
    assert 1.0 <= planned / measured <= 1.5
