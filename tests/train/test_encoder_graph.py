"""The graph of an encoder, against transformers itself: each family and setting it is written for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tuned

from freehold.engines.onnx import _options
from freehold.engines.runtime import onnxruntime
from freehold.train import encoder_graph
from freehold.train.encoder_graph import Shape

torch = pytest.importorskip("torch", reason=tuned.NEEDS)

SMALL: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": 40, "type_vocab_size": 2,
}  # fmt: skip


def model_of(family: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    import transformers

    kinds = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
    config = getattr(transformers, f"{kinds[family]}Config")(**SMALL, **more)
    torch.manual_seed(1)
    model = getattr(transformers, f"{kinds[family]}Model")(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():  # biases and norms too: nothing may hide behind a zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model, {**config.to_dict(), "model_type": family}


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_graph_says_what_transformers_says(family: str, activation: str) -> None:
    model, config = model_of(family, hidden_act=activation, pad_token_id=1)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    draw = np.random.default_rng(2)
    head, bias = draw.normal(size=(5, 24)).astype(np.float32), draw.normal(size=5).astype(np.float32)
    data = encoder_graph.classifier(Shape.of(config), weights, head, bias)
    session = onnxruntime().InferenceSession(data, _options(), providers=["CPUExecutionProvider"])
    for size in (1, 2, 17, encoder_graph.longest(config)):
        ids = draw.integers(5, 90, (1, size))
        with torch.no_grad():
            state = model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.ones(1, size, dtype=torch.long)
            ).last_hidden_state
        wanted = state.mean(1).numpy() @ head.T + bias
        scores, chances = session.run(["scores", "probabilities"], {"ids": ids})
        assert np.abs(scores - wanted).max() < 1e-4
        assert abs(chances.sum() - 1) < 1e-12
        assert chances.argmax() == wanted.argmax()


def test_the_same_weights_give_the_same_bytes() -> None:
    model, config = model_of("bert")
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    head, bias = np.ones((2, 24), np.float32), np.zeros(2, np.float32)
    one = encoder_graph.classifier(Shape.of(config), weights, head, bias)
    assert encoder_graph.classifier(Shape.of(config), dict(reversed(weights.items())), head, bias) == one


@pytest.mark.parametrize(
    "more",
    [{"hidden_act": "swish"}, {"position_embedding_type": "relative_key"}, {"is_decoder": True}],
)
def test_what_the_graph_does_not_do_is_told(more: dict[str, Any]) -> None:
    config = {**SMALL, "model_type": "bert", **more}
    with pytest.raises(ValueError, match=r"activation|positions|decoder"):
        Shape.of(config)
