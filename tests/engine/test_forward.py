"""Which path a model takes, what the log says, and what is read from its config."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from tiny import tiny_model
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    GPT2Config,
    GptOssConfig,
    GraniteConfig,
    Lfm2Config,
    Llama4TextConfig,
    PhimoeConfig,
    PreTrainedModel,
)

from tutelage.engine import forward
from tutelage.engine.attention import ATTENTION_NAME
from tutelage.engine.forward import (
    TreeEngine,
    ordinary_attention,
    ordinary_implementation,
    padded_logprobs,
    read_head,
    tree_logprobs,
)
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree, TreeBatch
from tutelage.models.adapt import LoraConfig, add_lora

SMALL: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def build(config: Any) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()


def gpt2(**options: Any) -> PreTrainedModel:
    return build(GPT2Config(vocab_size=120, n_embd=32, n_layer=2, n_head=4, n_positions=64, **options))


def some_batch() -> TreeBatch:
    fork = Tree(Tokens.prompt(range(3, 16)), (Tokens.completion(range(20, 33)), Tokens.completion(range(40, 46))))
    return pack([fork, Tree(Tokens.prompt(range(50, 54)), (Tokens.completion(range(60, 80)),))])


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tutelage"]


def assert_right(engine: TreeEngine) -> None:
    """The engine's logprobs are those of the model's own forward, whatever path it took."""
    with torch.no_grad(), ordinary_attention(engine.model):
        expected = padded_logprobs(engine.model, some_batch()).logprobs
    with torch.no_grad():
        torch.testing.assert_close(engine.logprobs(some_batch()).logprobs, expected, rtol=1e-4, atol=1e-4)


def test_the_families_take_the_tree_path(family: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = TreeEngine(tiny_model(family))
    assert (engine.path, engine.reason) == ("tree", "")
    assert warnings_of(caplog) == []
    assert engine.model.config._attn_implementation == ATTENTION_NAME


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            BloomConfig(vocab_size=120, hidden_size=32, n_layer=2, n_head=4),
            "BloomForCausalLM does not use the pluggable attention interface",
        ),
        (GptOssConfig(**SMALL, **EXPERTS), "GptOssForCausalLM: attention sinks"),
        (Llama4TextConfig(**SMALL, **EXPERTS, attention_chunk_size=8), "Llama4ForCausalLM uses chunked attention"),
    ],
    ids=["bloom", "gpt-oss", "llama4"],
)
def test_models_that_need_the_padded_path(config: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="tutelage"):
        engine = TreeEngine(build(config))
    assert (engine.path, engine.reason) == ("padded", reason)
    assert warnings_of(caplog) == [f"padded path (slower): {reason}"]
    assert engine.model.config._attn_implementation != ATTENTION_NAME
    assert_right(engine)


def test_layers_that_carry_a_state_along_the_row_need_the_padded_path() -> None:
    """A short convolution would run from one document into the next."""
    config = Lfm2Config(**SMALL, layer_types=["conv", "full_attention"], block_ff_dim=48)
    engine = TreeEngine(build(config))
    assert engine.path == "padded"
    assert engine.reason.startswith("Lfm2ForCausalLM: packed and separate logprobs differ by ")
    assert_right(engine)


def test_a_leak_shows_even_where_all_logprobs_are_nearly_equal() -> None:
    """A freshly made model says next to nothing about its input; the check must not take that for agreement."""
    config = Lfm2Config(**{**SMALL, "initializer_range": 0.02}, layer_types=["conv", "full_attention"], block_ff_dim=48)
    assert TreeEngine(build(config)).path == "padded"


def test_a_window_that_only_the_mask_knows_needs_the_padded_path() -> None:
    """PhiMoE builds its window into the mask and does not hand it to the attention function."""
    engine = TreeEngine(build(PhimoeConfig(**SMALL, **EXPERTS, sliding_window=8)))
    assert_right(engine)
    assert engine.path == "padded"


def test_attention_dropout_needs_the_padded_path_when_it_is_on() -> None:
    engine = TreeEngine(gpt2(attn_pdrop=0.1))
    engine.model.train()
    torch.manual_seed(0)
    engine.logprobs(some_batch()).logprobs.sum().backward()
    engine.model.eval()
    assert_right(engine)


def test_a_model_with_learned_positions_takes_the_tree_path_without_dropout() -> None:
    engine = TreeEngine(gpt2(attn_pdrop=0.0))
    assert engine.path == "tree", engine.reason
    assert_right(engine)


def test_a_model_whose_forward_fails_takes_the_padded_path() -> None:
    from transformers import ElectraConfig

    sizes = {key: SMALL[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    # Its head is narrower than its decoder, with a projection between them that the fast path does not know.
    engine = TreeEngine(build(ElectraConfig(**sizes, embedding_size=16, intermediate_size=48, is_decoder=True)))
    assert engine.path == "padded"


def test_the_check_leaves_the_model_as_it_was() -> None:
    model = tiny_model("llama").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    TreeEngine(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_low_precision_model_is_checked_in_fp32_and_stays_low(family: str) -> None:
    engine = TreeEngine(tiny_model(family).bfloat16())
    assert engine.path == "tree", engine.reason
    assert {parameter.dtype for parameter in engine.model.parameters()} == {torch.bfloat16}


def test_a_large_low_precision_model_is_checked_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "FP32_PROBE_PARAMETERS", 0)
    assert TreeEngine(tiny_model("llama").bfloat16()).path == "tree"


def test_an_adapted_model_takes_the_tree_path(family: str) -> None:
    engine = TreeEngine(add_lora(tiny_model(family), LoraConfig(rank=2)))
    assert engine.path == "tree", engine.reason


def test_ordinary_attention_is_given_back() -> None:
    engine = TreeEngine(tiny_model("llama"))
    used = []

    def fail() -> None:
        used.append(engine.model.config._attn_implementation)
        raise KeyError

    with pytest.raises(KeyError), ordinary_attention(engine.model):
        fail()
    assert used == ["sdpa"]
    assert engine.model.config._attn_implementation == ATTENTION_NAME


def test_only_the_eager_attention_knows_soft_capping() -> None:
    assert ordinary_implementation(tiny_model("gemma2")) == "eager"
    assert ordinary_implementation(tiny_model("gemma3_text")) == "sdpa"


def test_the_head_is_read_with_its_scalings() -> None:
    assert read_head(tiny_model("gemma2")).softcap == 5.0
    assert read_head(build(CohereConfig(**SMALL, logit_scale=0.25))).scale == 0.25
    assert read_head(build(GraniteConfig(**SMALL, logits_scaling=8.0))).scale == 1 / 8
    plain = tiny_model("llama")
    head = read_head(plain)
    assert head.weight is plain.lm_head.weight
    assert (head.bias, head.scale, head.softcap) == (None, 1.0, None)


@pytest.mark.parametrize(
    "config",
    [CohereConfig(**SMALL, logit_scale=0.25), GraniteConfig(**SMALL, logits_scaling=8.0)],
    ids=["cohere", "granite"],
)
def test_scaled_logits_are_honoured(config: Any) -> None:
    engine = TreeEngine(build(config))
    assert engine.path == "tree", engine.reason
    assert_right(engine)


def test_the_final_soft_cap_is_honoured() -> None:
    capped, free = (tiny_model("gemma2", final_logit_softcapping=cap) for cap in (0.5, None))
    found = []
    for model in (capped, free):
        engine = TreeEngine(model)
        assert_right(engine)
        with torch.no_grad():
            found.append(engine.logprobs(some_batch()).logprobs)
    # With a cap of .5 all logits lie within 1 of each other, so no logprob is far from that of a fair draw.
    fair = -torch.tensor(float(capped.config.vocab_size)).log()
    assert (found[0] - fair).abs().max() <= 1.0
    assert (found[1] - fair).abs().max() > 1.0


def test_temperature_and_entropy_agree_on_both_paths() -> None:
    model = tiny_model("gemma2")
    TreeEngine(model)
    with torch.no_grad():
        found = tree_logprobs(model, some_batch(), temperature=0.5, with_entropy=True)
        with ordinary_attention(model):
            expected = padded_logprobs(model, some_batch(), temperature=0.5, with_entropy=True)
            assert padded_logprobs(model, some_batch()).entropy is None
    torch.testing.assert_close(found.logprobs, expected.logprobs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.entropy, expected.entropy, rtol=1e-4, atol=2e-4)


def test_layers_can_be_left_unfused() -> None:
    model = tiny_model("llama")
    TreeEngine(model, fuse=False)
    assert not any("forward" in vars(module) for module in model.modules())
