"""The reference engine answers as the model would alone, whoever else is being answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import needs
import numpy as np
import pytest

pytest.importorskip("torch", reason=needs.TRAIN)

import torch
import writers
from writers import asks

from freehold.engines import identity
from freehold.engines.generation import Broke, Ended, GeneratorBusy, How, Told, Written, begin_all
from freehold.engines.package import about_of
from freehold.engines.parity import OtherThanEvaluated
from freehold.engines.protocol import CannotAnswer, EngineClosed, ModelUnreadable
from freehold.engines.scheduler import StepFailed
from freehold.engines.torch_engine import SharedBase, TorchGenerator

torch.set_num_threads(1)  # nothing here is large enough for two

SEEDS = (1, 2, 3)
DRAWN = {"temperature": 0.9, "top_p": 0.95}
QUESTIONS = ("burst pipe in the kitchen", "a stolen bicycle", "wet", "Überschwemmung 水 🌊", "x" * 40)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch")


@pytest.fixture(scope="module")
def base(root: Path) -> dict[str, bytes]:
    return writers.base_files(root)


@pytest.fixture(scope="module")
def shared(base: dict[str, bytes]) -> Iterator[SharedBase]:
    made = SharedBase.read(base)
    yield made
    made.close()


@pytest.fixture(scope="module")
def models(root: Path, base: dict[str, bytes]) -> list[dict[str, bytes]]:
    return [writers.model_files(root, base, seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def generators(shared: SharedBase, models: list[dict[str, bytes]]) -> list[TorchGenerator]:
    return [shared.open(about_of(files), files) for files in models]


def opened(shared: SharedBase, files: dict[str, bytes]) -> TorchGenerator:
    return shared.open(about_of(files), files)


def listen(generator: TorchGenerator, question: Any, how: How) -> SimpleQueue[Told]:
    heard: SimpleQueue[Told] = SimpleQueue()
    generator.begin(asks(question)[0] if isinstance(question, str) else question, how, heard.put)
    return heard


def all_of(heard: SimpleQueue[Told]) -> list[Told]:
    """Everything until the last word."""
    told = [heard.get(timeout=30)]
    while not isinstance(told[-1], Ended | Broke):
        told.append(heard.get(timeout=30))
    return told


def text_of(told: Sequence[Told]) -> str:
    return "".join(one.text for one in told if isinstance(one, Written))


def test_greedy_answers_are_those_of_transformers_one_at_a_time(
    root: Path, base: dict[str, bytes], models: list[dict[str, bytes]], generators: list[TorchGenerator]
) -> None:
    """All adapters and questions at once here, each alone there."""
    how = How(most_tokens=16, alternatives=0)
    heard = [[listen(generator, question, how) for question in QUESTIONS] for generator in generators]
    for number, files in enumerate(models):
        reference = writers.Reference(root / f"reference-{number}", base, files)
        for question, one in zip(QUESTIONS, heard[number], strict=True):
            ids, logprobs = reference.answer(asks(question)[0], 16)
            (*_, ended) = all_of(one)
            assert isinstance(ended, Ended)
            assert list(ended.ids) == ids
            assert ended.logprobs == pytest.approx(logprobs, abs=1e-4)


def test_adapters_on_one_base_answer_differently(generators: list[TorchGenerator]) -> None:
    answers = {generator.complete(asks(QUESTIONS[0]), 12)[0].tokens for generator in generators}
    assert len(answers) == len(generators)


def test_a_row_is_bit_for_bit_the_same_in_any_company(generators: list[TorchGenerator]) -> None:
    """Log-probabilities, not only tokens: alone, then among neighbours of every adapter and length."""
    how = How(most_tokens=20, alternatives=3)
    alone = [all_of(listen(generator, question, how)) for generator in generators for question in QUESTIONS]
    noise = [
        listen(generator, "n" * length, How(most_tokens=3 + length % 11, temperature=1.0))
        for length in range(1, 24)
        for generator in generators
    ]
    together = [listen(generator, question, how) for generator in generators for question in QUESTIONS]
    assert [all_of(heard) for heard in together] == alone
    for heard in noise:
        assert isinstance(all_of(heard)[-1], Ended)


def test_the_same_seed_draws_the_same_words_in_any_company(generators: list[TorchGenerator]) -> None:
    how = How(most_tokens=24, seed=11, **DRAWN)
    alone = all_of(listen(generators[0], QUESTIONS[0], how))
    crowd = [listen(generators[n % 3], QUESTIONS[n % 5], How(most_tokens=9, **DRAWN)) for n in range(20)]
    among = listen(generators[0], QUESTIONS[0], how)
    crowd += [
        listen(generators[n % 3], QUESTIONS[n % 5], How(most_tokens=30, seed=n, **DRAWN)) for n in range(20)
    ]
    assert all_of(among) == alone
    other = all_of(listen(generators[0], QUESTIONS[0], How(most_tokens=24, seed=12, **DRAWN)))
    assert text_of(other) != text_of(alone)
    for heard in crowd:
        all_of(heard)


def test_without_a_seed_two_answers_differ(generators: list[TorchGenerator]) -> None:
    how = How(most_tokens=30, temperature=1.5)
    one, two = (text_of(all_of(listen(generators[0], QUESTIONS[0], how))) for _ in range(2))
    assert one != two


def test_pieces_hold_whole_characters_and_are_the_answer_together(generators: list[TorchGenerator]) -> None:
    for question in QUESTIONS:
        told = all_of(listen(generators[0], question, How(most_tokens=40, alternatives=0)))
        (completed,) = generators[0].complete(asks(question), 40)
        assert text_of(told) == completed.text
        tokens = [token for one in told if isinstance(one, Written) for token in one.tokens]
        assert b"".join(token.raw for token in tokens).decode("utf-8", "replace") == completed.text


def test_a_stop_sequence_ends_the_answer_wherever_its_tokens_are_cut(
    generators: list[TorchGenerator],
) -> None:
    (whole,) = generators[1].complete(asks(QUESTIONS[0]), 40)
    stop = whole.text[6:9]  # begins and ends anywhere in its tokens
    told = all_of(listen(generators[1], QUESTIONS[0], How(most_tokens=40, stop=("never", stop))))
    assert text_of(told) == whole.text[: whole.text.index(stop)]
    ended = told[-1]
    assert isinstance(ended, Ended)
    assert (ended.finish, ended.tokens < 40) == ("stop", True)


def test_the_end_token_ends_the_answer_is_counted_and_is_no_text(
    root: Path, base: dict[str, bytes], shared: SharedBase
) -> None:
    plain = opened(shared, writers.model_files(root, base, 2))
    (whole,) = plain.complete(asks(QUESTIONS[0]), 20)
    end = next(id for id in whole.tokens[3:] if id not in whole.tokens[:3])
    ends = opened(shared, writers.model_files(root, base, 2, features={"end_tokens": [end]}))
    (said,) = ends.complete(asks(QUESTIONS[0]), 20)
    place = whole.tokens.index(end)
    assert said.tokens == whole.tokens[: place + 1]
    assert (said.ended, len(said.logprobs)) == (True, place + 1)
    assert whole.text.startswith(said.text)


def test_a_long_prompt_is_read_in_parts_and_answers_as_one(
    root: Path, base: dict[str, bytes], models: list[dict[str, bytes]], generators: list[TorchGenerator]
) -> None:
    question = "the pipe burst " * 6  # beyond half of what the model reads
    reference = writers.Reference(root / "long", base, models[0])
    ids, _ = reference.answer(asks(question)[0], 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("freehold.engines.scheduler.CHUNK", 7)
        (said,) = generators[0].complete(asks(question), 8)
    assert list(said.tokens) == ids


def test_losses_are_those_of_transformers(
    root: Path, base: dict[str, bytes], models: list[dict[str, bytes]], generators: list[TorchGenerator]
) -> None:
    reference = writers.Reference(root / "losses", base, models[0])
    conversation, answer = asks("burst pipe")[0], "water damage"
    ((loss, count),) = generators[0].losses([(conversation, answer)])
    prompt = reference.tokenizer.apply_chat_template(conversation, add_generation_prompt=True)["input_ids"]
    said = [*reference.tokenizer(answer, add_special_tokens=False)["input_ids"], 1]
    ids = torch.tensor([[*prompt, *said]])
    labels = torch.tensor([[-100] * len(prompt) + said])
    with torch.inference_mode():
        mean = float(reference.model(ids, labels=labels).loss)
    assert count == len(said)
    assert loss == pytest.approx(mean * count, rel=1e-4)


def test_a_text_can_be_gone_on_from_without_a_template(generators: list[TorchGenerator]) -> None:
    (said,) = begin_all(generators[0], ["the pipe"], How(most_tokens=5))
    assert len(said.tokens) == 5


def test_requests_join_while_others_are_being_written(generators: list[TorchGenerator]) -> None:
    long = listen(generators[0], QUESTIONS[0], How(most_tokens=90))
    first = long.get(timeout=30)
    short = all_of(listen(generators[1], QUESTIONS[1], How(most_tokens=2)))
    assert isinstance(first, Written)
    assert isinstance(short[-1], Ended)
    assert not any(isinstance(told, Ended) for told in _so_far(long)), "the short one waited for the long one"
    all_of(long)


def _so_far(heard: SimpleQueue[Told]) -> list[Told]:
    """What was told until now, put back in its order."""
    told = [heard.get() for _ in range(heard.qsize())]
    for one in told:
        heard.put(one)
    return told


def test_who_hangs_up_is_written_for_no_longer(
    base: dict[str, bytes], models: list[dict[str, bytes]]
) -> None:
    shared = SharedBase.read(base, at_once=1)
    generator = opened(shared, models[0])
    heard: SimpleQueue[Told] = SimpleQueue()
    first = generator.begin(asks(QUESTIONS[0])[0], How(most_tokens=100), heard.put)
    heard.get(timeout=30)
    first.cancel()
    first.cancel()
    told = all_of(listen(generator, QUESTIONS[1], How(most_tokens=3)))  # there is one place only
    assert isinstance(told[-1], Ended)
    assert not any(isinstance(one, Ended) for one in _so_far(heard))
    shared.close()


def test_more_than_may_wait_is_refused_at_once(
    base: dict[str, bytes], models: list[dict[str, bytes]]
) -> None:
    shared = SharedBase.read(base, at_once=1, waiting=2)
    generator = opened(shared, models[0])
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(30)

    holder = threading.Thread(target=shared.scheduler.between_steps, args=(hold,))
    holder.start()
    held.wait(30)
    waiting = [listen(generator, QUESTIONS[0], How(most_tokens=1)) for _ in range(2)]
    with pytest.raises(GeneratorBusy):
        listen(generator, QUESTIONS[0], How(most_tokens=1))
    go.set()
    holder.join()
    for heard in waiting:
        assert isinstance(all_of(heard)[-1], Ended)
    shared.close()


def test_answers_wait_for_memory_and_not_in_vain(
    base: dict[str, bytes], models: list[dict[str, bytes]]
) -> None:
    small = SharedBase.read(base, memory=1)
    tokens = 64 * small.base.bytes_per_token
    small.close()
    shared = SharedBase.read(base, memory=tokens)
    generator = opened(shared, models[0])
    heard = [listen(generator, "wet", How(most_tokens=40)) for _ in range(5)]
    assert all(isinstance(all_of(one)[-1], Ended) for one in heard)
    with pytest.raises(CannotAnswer) as refused:
        listen(generator, "wet", How(most_tokens=64))
    assert "reads 64 together" in refused.value.why
    shared.close()


def test_numbers_that_are_not_finite_stay_in_their_own_answer(
    root: Path, base: dict[str, bytes], shared: SharedBase, generators: list[TorchGenerator]
) -> None:
    tensors = {name: matrix * np.float32(1e30) for name, matrix in writers.adapter_tensors(7).items()}
    wild = opened(shared, writers.model_files(root, base, 70, tensors=tensors))
    how = How(most_tokens=12, alternatives=0)
    alone = all_of(listen(generators[0], QUESTIONS[0], how))
    broken = [listen(wild, question, how) for question in QUESTIONS]
    among = listen(generators[0], QUESTIONS[0], how)
    for heard in broken:
        last = all_of(heard)[-1]
        assert isinstance(last, Broke)
        assert isinstance(last.failure, StepFailed)
        assert "not finite" in last.failure.why
    assert all_of(among) == alone


def test_a_step_that_breaks_is_told_and_the_engine_goes_on(
    base: dict[str, bytes], models: list[dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedBase.read(base)
    generator = opened(shared, models[0])

    def broken(*_: Any) -> None:
        raise RuntimeError("anna-kowalska")

    monkeypatch.setattr(shared.base, "step", broken)
    last = all_of(listen(generator, QUESTIONS[0], How(most_tokens=5)))[-1]
    assert isinstance(last, Broke)
    assert "kowalska" not in str(last.failure)
    monkeypatch.undo()
    assert isinstance(all_of(listen(generator, QUESTIONS[0], How(most_tokens=5)))[-1], Ended)
    shared.close()


def test_a_closed_generator_finishes_what_it_began_and_takes_no_more(
    shared: SharedBase, models: list[dict[str, bytes]]
) -> None:
    generator = opened(shared, models[2])
    (whole,) = generator.complete(asks(QUESTIONS[0]), 60)
    heard = listen(generator, QUESTIONS[0], How(most_tokens=60))
    generator.close()
    assert text_of(all_of(heard)) == whole.text
    assert not generator.ready
    with pytest.raises(EngineClosed):
        listen(generator, QUESTIONS[0], How(most_tokens=1))


def test_a_base_that_ends_tells_everybody(base: dict[str, bytes], models: list[dict[str, bytes]]) -> None:
    generator = TorchGenerator.load(about_of(models[0]), models[0], base)
    heard = [listen(generator, question, How(most_tokens=80)) for question in QUESTIONS]
    heard[0].get(timeout=30)
    generator.close()
    generator.close()
    assert all(isinstance(all_of(one)[-1], Ended | Broke) for one in heard)
    with pytest.raises(EngineClosed):
        listen(generator, QUESTIONS[0], How(most_tokens=1))


def test_a_prompt_that_does_not_fit_with_its_answer_is_told(generators: list[TorchGenerator]) -> None:
    with pytest.raises(CannotAnswer) as refused:
        listen(generators[0], "x" * 100, How(most_tokens=100))
    assert "the model reads 128 together" in refused.value.why


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"use_dora": True}, "`use_dora`"), ({"bias": "all"}, "`bias`"),
        ({"rank_pattern": {"q_proj": 2}}, "`rank_pattern`"), ({"peft_type": "IA3"}, "`IA3`"),
        ({"r": "four"}, "`r` and `lora_alpha`"), ({"modules_to_save": ["lm_head"]}, "`modules_to_save`"),
    ],
)  # fmt: skip
def test_an_adapter_that_would_be_computed_otherwise_is_refused(
    root: Path, base: dict[str, bytes], shared: SharedBase, config: dict[str, Any], says: str
) -> None:
    files = writers.model_files(root, base, 1, config={**writers.adapter_config(), **config})
    with pytest.raises(ModelUnreadable) as refused:
        opened(shared, files)
    assert says in refused.value.why


def test_an_adapter_of_another_base_is_refused(
    root: Path, base: dict[str, bytes], shared: SharedBase
) -> None:
    tensors = {
        name.replace("layers.1", "layers.9"): matrix for name, matrix in writers.adapter_tensors(1).items()
    }
    with pytest.raises(ModelUnreadable) as refused:
        opened(shared, writers.model_files(root, base, 1, tensors=tensors))
    assert "layers.9" in refused.value.why
    wide = {name: np.repeat(matrix, 2, axis=1) if "lora_A" in name else matrix
            for name, matrix in writers.adapter_tensors(1).items()}  # fmt: skip
    with pytest.raises(ModelUnreadable) as refused:
        opened(shared, writers.model_files(root, base, 1, tensors=wide))
    assert "another width" in refused.value.why


@pytest.mark.parametrize("ends", [None, [], "1", [99_999]])
def test_a_model_without_an_end_token_is_refused_by_that_name(
    root: Path, base: dict[str, bytes], shared: SharedBase, ends: Any
) -> None:
    with pytest.raises(ModelUnreadable) as refused:
        opened(shared, writers.model_files(root, base, 1, features={"end_tokens": ends}))
    assert refused.value.why.startswith("end token: ")


@pytest.mark.parametrize("part", ["template", "tokenizer"])
def test_another_template_or_tokenizer_than_its_description_names_is_refused(
    root: Path, base: dict[str, bytes], shared: SharedBase, part: str
) -> None:
    with pytest.raises(OtherThanEvaluated) as refused:
        opened(shared, writers.model_files(root, base, 1, features={part: "sha256:" + "2" * 64}))
    assert refused.value.why.startswith(f"{part}: ")


def test_the_identity_names_what_decides_the_numbers() -> None:
    flags = identity.flags("torch")
    assert flags["device"] in ("cpu", "cuda")
    assert {"transformers", "tokenizers", "lanes", "precision", "chunk"} <= flags.keys()
    assert identity.engine("torch") == f"torch {torch.__version__}"
