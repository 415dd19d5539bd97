"""The sampler: what it draws, with which logprobs, from which keys and values, and who its neighbours were."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import tiny_model
from transformers import AutoModelForCausalLM, GPT2Config

from tutelage.engine.draw import draw, restricted_logprobs, uniforms
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Completion, Sampling, generate
from tutelage.engine.rows import pack
from tutelage.engine.slots import Prefill
from tutelage.engine.tree import Tokens, Tree
from tutelage.models.adapt import LoraConfig, add_lora

NEVER = [295]


def ids_of(num_tokens: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 290, (num_tokens,), generator=generator).tolist()


PROMPTS = [ids_of(length, length) for length in (9, 2, 23, 1, 14)]


def sample(model: Any, prompts: list[list[int]], *, stop: list[int] = NEVER, **options: Any) -> list[Completion]:
    own = {key: options.pop(key) for key in ("batch_size", "keys", "ends_text") if key in options}
    sampling = Sampling(**{"max_new_tokens": 12, "temperature": 1.0} | options)
    return generate(model, prompts, sampling, stop_ids=stop, pad_id=0, **own)


def elsewhere(**options: Any) -> Any:
    """A model that our sampler does not take: its attention cannot be exchanged."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=296, n_embd=32, n_layer=2, n_head=4, **options))
    model._tutelage_tree_support = "not in this test"
    return model.eval()


# What is drawn ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_draws_do_not_depend_on_the_batch_size(family: str, batch_size: int) -> None:
    model, prompts = tiny_model(family), [prompt for prompt in PROMPTS for _ in range(3)]
    assert sample(model, prompts, batch_size=batch_size) == sample(model, prompts, batch_size=15)


def test_in_bf16_neither_and_with_a_stop_token_that_ends_some() -> None:
    model, prompts = tiny_model("llama").bfloat16(), [prompt for prompt in PROMPTS for _ in range(4)]
    often = sample(model, prompts, max_new_tokens=40)
    stop = [max(range(296), key=[token for one in often for token in one.ids].count)]
    runs = [sample(model, prompts, stop=stop, max_new_tokens=40, batch_size=size) for size in (1, 3, 20)]
    assert runs[0] == runs[1] == runs[2]
    assert len({len(one.ids) for one in runs[0]}) > 3
    assert all(one.end == tuple(stop) if one.stopped else one.end == () for one in runs[0])


def test_the_key_decides_and_not_the_place() -> None:
    model = tiny_model("llama")
    one, two = sample(model, [PROMPTS[0]] * 2, keys=[5, 9])
    other, again = sample(model, [PROMPTS[0]] * 2, keys=[9, 5])
    assert (one, two) == (again, other)
    assert one.ids != two.ids


def test_uniforms_are_fixed_numbers_of_seed_and_key() -> None:
    assert uniforms(1, 2, 3).tolist() == uniforms(1, 2, 9)[:3].tolist()
    rows = {tuple(uniforms(seed, key, 2)) for seed in (0, 1, -1) for key in (0, 1, 2**40, 2**65 + 1)}
    assert len(rows) == 3 * 3 + 3 - 3  # 2^65 + 1 is 1 again: keys are 64 bits


def test_a_draw_inverts_the_cumulative_distribution() -> None:
    probabilities = torch.tensor([[0.5, 0.2, 0.0, 0.3]])
    for number, token in ((0.0, 0), (0.49, 0), (0.51, 1), (0.69, 1), (0.71, 3), (0.9999999999, 3), (1.0, 3)):
        drawn = draw(probabilities.log(), Sampling(temperature=1.0), torch.tensor([number]))
        assert int(drawn.ids) == token
        assert float(drawn.logprobs) == pytest.approx(math.log(float(probabilities[0, token])), abs=1e-6)


@pytest.mark.parametrize("vocab", [3, 256, 257, 1000, 3001])
def test_draws_over_many_tiles_are_those_of_one_cumulative_sum(vocab: int) -> None:
    torch.manual_seed(vocab)
    logits, numbers = torch.randn(50, vocab) * 2, torch.rand(50, dtype=torch.float64)
    drawn = draw(logits, Sampling(temperature=0.7), numbers)
    cumulative = (logits / 0.7).double().softmax(-1).cumsum(-1)
    expected = torch.searchsorted(cumulative, numbers[:, None], right=True).squeeze(1)
    assert (drawn.ids == expected).sum() >= 49  # a number within fp32 rounding of an edge may go either way
    assert torch.allclose(drawn.logprobs, (logits / 0.7).log_softmax(-1).gather(1, drawn.ids[:, None])[:, 0], atol=1e-5)


RESTRICTIONS = [{"top_k": 3}, {"top_p": 0.6}, {"min_p": 0.2}, {"top_k": 40, "top_p": 0.8, "min_p": 0.05}]


@pytest.mark.parametrize("options", RESTRICTIONS, ids=str)
def test_restrictions_are_those_of_transformers(options: dict[str, Any]) -> None:
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = torch.randn(20, 296) * 2
    expected = TemperatureLogitsWarper(0.8)(None, logits)
    makers = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    for name, value in options.items():
        expected = makers[name](value)(None, expected)
    found = restricted_logprobs(logits, Sampling(temperature=0.8, **options))
    assert torch.equal(found.isinf(), expected.isinf())
    assert torch.allclose(found.exp(), expected.softmax(-1), atol=1e-6)


def test_a_nucleus_wider_than_the_first_look_is_whole() -> None:
    torch.manual_seed(0)
    flat = torch.randn(2, 5000) * 0.01
    kept = (~restricted_logprobs(flat, Sampling(temperature=1.0, top_p=0.9)).isinf()).sum(-1)
    assert ((kept > 4400) & (kept < 4600)).all()


# With which logprobs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"temperature": 0.0}, *RESTRICTIONS], ids=str)
@torch.no_grad()
def test_logprobs_are_those_of_the_distribution_drawn_from(family: str, options: dict[str, Any]) -> None:
    model = tiny_model(family)
    for prompt, one in zip(PROMPTS, sample(model, PROMPTS, **options), strict=True):
        logits = model(input_ids=torch.tensor([[*prompt, *one.sampled]]), use_cache=False).logits[
            0, len(prompt) - 1 : -1
        ]
        how = Sampling(**{"temperature": 1.0} | options)
        expected = restricted_logprobs(logits, how).gather(1, torch.tensor(one.sampled)[:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(one.logprobs), expected, atol=2e-4)


@torch.no_grad()
def test_the_trainer_finds_the_same_logprobs_on_the_sampled_ids() -> None:
    model = tiny_model("gemma2")
    found = sample(model, [PROMPTS[0]] * 4, temperature=0.8)
    tree = Tree(Tokens.prompt(PROMPTS[0]), tuple(Tokens.completion(one.sampled) for one in found))
    logprobs = TreeEngine(model).logprobs(pack([tree]), temperature=0.8).logprobs
    assert torch.allclose(logprobs, torch.tensor([p for one in found for p in one.logprobs]), atol=2e-4)


def test_the_stop_token_is_sampled_and_has_a_logprob() -> None:
    model = tiny_model("llama")
    (free,) = sample(model, [PROMPTS[0]])
    (one,) = sample(model, [PROMPTS[0]], stop=[free.ids[4]])
    first = free.ids.index(free.ids[4])
    assert (one.ids, one.end, one.stopped) == (free.ids[:first], (free.ids[4],), True)
    assert one.sampled == free.ids[: first + 1]
    assert one.logprobs == free.logprobs[: first + 1]


def test_ignore_eos_goes_on_through_stop_tokens() -> None:
    model = tiny_model("llama")
    (free,) = sample(model, [PROMPTS[0]])
    assert sample(model, [PROMPTS[0]], stop=[free.ids[4]], ignore_eos=True) == [free]


def test_a_stop_text_ends_an_answer_with_its_last_token() -> None:
    model = tiny_model("llama")
    (free,) = sample(model, [PROMPTS[0]])
    (one,) = sample(model, [PROMPTS[0]], ends_text=lambda ids: list(ids[-2:]) == list(free.ids[3:5]))
    assert (one.ids, one.end, one.stopped) == (free.ids[:5], (), True)


# Keys and values ----------------------------------------------------------------------------------------------------


def test_a_prompt_of_a_group_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    before = Prefill.__init__

    def counted(self: Prefill, layout: Any, num_layers: int) -> None:
        computed.append(layout.num_tokens)
        before(self, layout, num_layers)

    monkeypatch.setattr(Prefill, "__init__", counted)
    model = tiny_model("llama").bfloat16()
    sample(model, [PROMPTS[2]] * 9, batch_size=4)
    assert computed == [22]


def test_the_policy_of_an_adapter_is_sampled_and_not_its_base() -> None:
    model = add_lora(tiny_model("qwen3"), LoraConfig(rank=4))
    base = sample(model, PROMPTS)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    assert sample(model, PROMPTS) != base
    with model.disable_adapter():
        assert sample(model, PROMPTS) == base


def test_the_models_attention_is_put_back() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    sample(model, PROMPTS)
    assert model.config._attn_implementation == before != "tutelage_tree"


# Models that are sampled elsewhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 20}, {"temperature": 0.0}], ids=str)
@torch.no_grad()
def test_elsewhere_the_logprobs_are_of_the_distribution_too(options: dict[str, Any]) -> None:
    model = elsewhere()
    for prompt, one in zip(PROMPTS, sample(model, PROMPTS, **options), strict=True):
        logits = model(input_ids=torch.tensor([[*prompt, *one.sampled]]), use_cache=False).logits[
            0, len(prompt) - 1 : -1
        ]
        how = Sampling(**{"temperature": 1.0} | options)
        expected = restricted_logprobs(logits, how).gather(1, torch.tensor(one.sampled)[:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-4)


def test_elsewhere_answers_end_in_the_same_ways() -> None:
    model = elsewhere()
    (free,) = sample(model, [PROMPTS[0]])
    (one,) = sample(model, [PROMPTS[0]], stop=[free.ids[4]])
    first = free.ids.index(free.ids[4])
    assert (one.ids, one.end, one.stopped) == (free.ids[:first], (free.ids[4],), True)
    assert sample(model, [PROMPTS[0]], stop=[free.ids[4]], ignore_eos=True) == [free]
    (cut, other) = sample(
        model, [PROMPTS[0], PROMPTS[2]], batch_size=1, ends_text=lambda ids: list(ids[-2:]) == list(free.ids[3:5])
    )
    assert (cut.ids, cut.end, cut.stopped) == (free.ids[:5], (), True)
    assert len(other.ids) == 12
