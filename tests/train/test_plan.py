"""What a plan fixes before anything runs, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from learning import facts, inbox, loans, planned, service

from freehold.errors import BadInput
from freehold.spec.base import Base, BaseFacts
from freehold.spec.config import Config
from freehold.spec.ids import canonical
from freehold.spec.service import Example, Gate, Service
from freehold.train.plan import BaseUnfit, CannotTrain, plan
from freehold.train.settings import SettingUnusable


def test_a_plan_writes_out_every_default_and_is_canonical() -> None:
    spec = planned(service(), inbox()).spec
    assert spec["settings"]["held_out"] == "0.2"
    assert spec["inputs"] == [{"name": "text", "datatype": "BYTES"}]
    assert canonical(spec)


FACTS = BaseFacts(
    role="encoder", model_type="bert", parameters=22_700_000, hidden=384, layers=6, vocabulary=30_522,
    longest=512, precision="F32", licence="apache-2.0", licence_from="card", tokenizer="sha256:1",
    template=None,
)  # fmt: skip
BASE = Base(model="mod_1", ref="minilm-l6@1", digest="sha256:" + "b" * 64, facts=FACTS)


def tuned(tune: Literal["lora", "head"] = "lora", **train: int) -> Service:
    asked = service(train=train)
    return replace(asked, model=replace(asked.model, base="minilm-l6@1", tune=tune))


def test_a_tuning_says_which_base_to_the_byte_and_how_many_threads() -> None:
    asked = tuned()
    spec = plan(asked, data=facts(inbox(), target="kind", text="text"), config=Config(), base=BASE).spec
    assert spec["base"] == {"ref": "minilm-l6@1", "digest": BASE.digest}
    assert (spec["trainer"], spec["settings"]["rank"]) == ("lora", 16)
    assert 1 <= spec["threads"] <= 2
    assert float(spec["checkpoint_seconds"]) > 0, "a worker of the release before fails without it"
    assert canonical(spec)


def test_a_tuning_is_estimated_by_weights_tokens_and_epochs() -> None:
    data = facts(inbox(), target="kind", text="text")
    one = plan(tuned(epochs=10), data=data, config=Config(), base=BASE).estimate
    two = plan(tuned(epochs=20), data=data, config=Config(), base=BASE).estimate
    head = plan(tuned("head"), data=data, config=Config(), base=BASE).estimate
    assert int(two.seconds) > int(one.seconds) > int(head.seconds) > 0
    assert one.estimated
    assert one.memory_bytes > FACTS.parameters * 4


def test_a_base_that_cannot_do_the_task_is_refused() -> None:
    data = facts(inbox(), target="kind", text="text")
    causal = replace(BASE, facts=replace(FACTS, role="causal", model_type="llama"))
    with pytest.raises(BaseUnfit, match="classify"):
        plan(tuned(), data=data, config=Config(), base=causal)
    with pytest.raises(BaseUnfit):
        plan(tuned(), data=data, config=Config())


def test_a_setting_of_another_trainer_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingUnusable) as refused:
        plan(tuned(ranks=8), data=facts(inbox(), target="kind", text="text"), config=Config(), base=BASE)
    assert refused.value.hint == "did you mean `rank`?"


def test_the_same_service_gives_the_same_specification() -> None:
    assert canonical(planned(service(), inbox()).spec) == canonical(planned(service(), inbox()).spec)


def test_columns_that_gates_compare_across_are_not_learned_from() -> None:
    gate = Gate(metric="recall_gap", across=("sex",), upper_bound=0.1)
    asked = planned(service(task="tabular", gates={"bias": gate}), loans())
    assert "sex" not in [c["name"] for c in asked.spec["inputs"]]
    assert asked.left_out["sex"] == "compared across by a gate"


def test_a_named_feature_is_learned_from_even_when_a_gate_compares_across_it() -> None:
    gate = Gate(metric="recall_gap", across=("sex",), upper_bound=0.1)
    asked = service(task="tabular", gates={"bias": gate}, features=("income", "sex"))
    assert [c["name"] for c in planned(asked, loans()).spec["inputs"]] == ["income", "sex"]


def test_a_mistyped_feature_is_refused_with_the_nearest_column() -> None:
    with pytest.raises(CannotTrain) as refused:
        planned(service(task="tabular", features=("incme",)), loans())
    assert refused.value.hint == "did you mean `income`?"


def test_the_target_cannot_be_a_feature() -> None:
    with pytest.raises(CannotTrain, match="cannot be trained on"):
        planned(service(task="tabular", features=("paid",)), loans())


def test_a_data_set_without_target_is_refused_with_the_option_to_add_it() -> None:
    with pytest.raises(CannotTrain) as refused:
        plan(service(), data=facts(inbox(), target=None, text="text"), config=Config())
    assert "--target" in refused.value.hint


def test_a_classifier_needs_a_text_column() -> None:
    with pytest.raises(CannotTrain) as refused:
        plan(service(), data=facts(inbox(), target="kind"), config=Config())
    assert "--text" in refused.value.hint


def test_nested_values_are_refused_by_name() -> None:
    data = facts(loans(), target="paid")
    data = type(data)(
        ref=data.ref,
        digest=data.digest,
        rows=data.rows,
        columns={**data.columns, "notes": "json"},
        target="paid",
        text=None,
    )
    with pytest.raises(CannotTrain) as refused:
        plan(service(task="tabular"), data=data, config=Config())
    assert "`notes`" in refused.value.why


def test_an_example_that_asks_for_something_else_is_refused() -> None:
    example = Example(ask={"message": "hello"}, expect={"class": "car"})
    with pytest.raises(BadInput) as refused:
        planned(service(examples=(example,)), inbox())
    assert "inputs are text" in refused.value.hint


def test_an_example_of_another_type_is_refused() -> None:
    example = Example(ask={"text": 4}, expect={"class": "car"})
    with pytest.raises(BadInput):
        planned(service(examples=(example,)), inbox())


def test_estimates_say_that_they_are_and_how_they_were_made() -> None:
    estimate = planned(service(), inbox()).estimate
    assert estimate.estimated
    assert "rows x 0.6 ms" in estimate.formula
    assert float(estimate.watt_hours) > 0


def test_what_needs_more_memory_than_asked_for_does_not_fit() -> None:
    data = facts(inbox(), target="kind", text="text")
    big = type(data)(
        ref=data.ref, digest=data.digest, rows=10_000_000, columns=data.columns, target="kind", text="text"
    )
    assert not plan(service(), data=big, config=Config()).fits
