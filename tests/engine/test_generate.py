"""Sampling: greedy answers against step-by-step argmax, seeds, stops, limits and streams."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, GPT2Config

from tutelage.engine.generate import Completion, Sampling, stream
from tutelage.engine.generate import generate as sample
from tutelage.errors import ConfigError


def generate(*args: Any, **options: Any) -> list[Completion]:
    """What came of each prompt; end tokens and logprobs are looked at in test_sampler.py."""
    return [Completion(one.ids, one.stopped) for one in sample(*args, **options)]


NEVER = [295]
"""A stop token that the tiny models do not happen to write."""


def ids_of(num_tokens: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 290, (num_tokens,), generator=generator).tolist()


def some_prompts() -> list[list[int]]:
    """Some longer than the tiny models' windows of 8, in no order of length."""
    return [ids_of(length, length) for length in (9, 2, 23, 5, 14)]


def gpt2(**options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=296, n_embd=32, n_layer=2, n_head=4, n_positions=24, **options)
        return AutoModelForCausalLM.from_config(config).eval()


@torch.no_grad()
def by_hand(model: Any, prompt: list[int], num_tokens: int, stop: list[int]) -> Completion:
    """The most probable token each time, the whole sequence computed anew at every step."""
    ids: list[int] = []
    for _ in range(num_tokens):
        token = int(model(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0, -1].argmax())
        if token in stop:
            return Completion(tuple(ids), True)
        ids.append(token)
    return Completion(tuple(ids), False)


def test_greedy_is_argmax_step_by_step(family: str) -> None:
    model, prompts = tiny_model(family), some_prompts()
    found = generate(model, prompts, Sampling(max_new_tokens=12), stop_ids=NEVER, pad_id=0)
    assert found == [by_hand(model, prompt, 12, NEVER) for prompt in prompts]


def test_the_batch_size_does_not_change_greedy_answers(family: str) -> None:
    model, prompts = tiny_model(family), some_prompts()
    answers = [
        generate(model, prompts, Sampling(max_new_tokens=12), stop_ids=NEVER, pad_id=0, batch_size=size)
        for size in (1, 2, 5)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_stop_token_ends_an_answer_and_is_left_out() -> None:
    model, prompts = tiny_model("llama"), some_prompts()
    unstopped = [by_hand(model, prompt, 12, NEVER).ids for prompt in prompts]
    stop = [unstopped[0][4], unstopped[3][7]]
    found = generate(model, prompts, Sampling(max_new_tokens=12), stop_ids=stop, pad_id=0)
    assert found == [by_hand(model, prompt, 12, stop) for prompt in prompts]
    assert found[0].stopped
    assert len(found[0].ids) <= 4
    assert not any(token in stop for completion in found for token in completion.ids)


def test_an_answer_that_fills_its_limit_is_not_stopped() -> None:
    model, (prompt, *_) = tiny_model("llama"), some_prompts()
    fourth = by_hand(model, prompt, 4, NEVER).ids[3]
    for limit, stopped in ((3, False), (4, True)):
        (found,) = generate(model, [prompt], Sampling(max_new_tokens=limit), stop_ids=[fourth], pad_id=0)
        assert found.stopped is stopped


def test_a_prompt_may_hold_stop_and_pad_tokens() -> None:
    model, prompt = tiny_model("llama"), [2, 0, 7, 2, 0]
    (found,) = generate(model, [prompt], Sampling(max_new_tokens=5), stop_ids=[2], pad_id=0)
    assert found == by_hand(model, prompt, 5, [2])


@pytest.mark.parametrize("sampling", [{"top_k": 1}, {"top_p": 1e-6}], ids=["top_k", "top_p"])
def test_draws_from_one_token_are_greedy(sampling: dict[str, Any]) -> None:
    model, prompts = tiny_model("llama"), some_prompts()
    found = generate(model, prompts, Sampling(max_new_tokens=8, temperature=1, **sampling), stop_ids=NEVER, pad_id=0)
    assert found == [by_hand(model, prompt, 8, NEVER) for prompt in prompts]


def test_the_same_seed_draws_the_same() -> None:
    model, prompts = tiny_model("llama"), some_prompts()

    def draw(seed: int) -> list[Completion]:
        sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=seed)
        return generate(model, prompts, sampling, stop_ids=NEVER, pad_id=0)

    first = draw(3)
    torch.rand(5)
    assert draw(3) == first
    assert draw(4) != first


def test_the_global_random_states_are_left_alone() -> None:
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    model = tiny_model("llama")
    generate(model, some_prompts(), Sampling(max_new_tokens=4, temperature=1.0), stop_ids=NEVER, pad_id=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_draws_follow_the_models_distribution() -> None:
    model, prompt = tiny_model("llama"), ids_of(6, 1)
    with torch.no_grad():
        expected = (model(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.7).softmax(-1)
    sampling = Sampling(max_new_tokens=1, temperature=0.7)
    drawn = generate(model, [prompt] * 2000, sampling, stop_ids=NEVER, pad_id=0, batch_size=500)
    counts = torch.bincount(torch.tensor([one.ids[0] for one in drawn if one.ids]), minlength=296)
    # Five standard deviations of a share at n = 2000, for every token at once.
    assert ((counts / 2000 - expected).abs() <= 5 * (expected * (1 - expected) / 2000).sqrt() + 1e-3).all()


def test_progress_counts_every_prompt() -> None:
    told: list[int] = []
    generate(
        tiny_model("llama"), some_prompts(), Sampling(max_new_tokens=2), stop_ids=NEVER, pad_id=0, batch_size=2,
        progress=told.append,
    )  # fmt: skip
    assert told == [1] * 5


def test_no_prompts_no_answers() -> None:
    assert generate(tiny_model("llama"), [], Sampling(), stop_ids=NEVER, pad_id=0) == []


def test_a_training_model_answers_without_dropout_and_goes_on_training() -> None:
    model, prompts = gpt2(attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5), [[5, 6, 7]]
    sampling = Sampling(max_new_tokens=8)
    expected = generate(model, prompts, sampling, stop_ids=NEVER, pad_id=0)
    model.train()
    assert generate(model, prompts, sampling, stop_ids=NEVER, pad_id=0) == expected
    assert model.training


def test_a_streaming_model_in_training_answers_without_dropout() -> None:
    model = gpt2(attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5)
    (expected,) = generate(model, [[5, 6, 7]], Sampling(max_new_tokens=8), stop_ids=NEVER, pad_id=0)
    model.train()
    found = stream(
        model, tiny_tokenizer("llama"), [5, 6, 7], Sampling(max_new_tokens=8), stop_ids=NEVER, pad_id=0,
        emit=lambda piece: None,
    )  # fmt: skip
    assert found == expected
    assert model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "--max-new-tokens is 0; it must be at least 1"),
        ({"temperature": -0.5}, "--temperature is -0.5; it must be 0 or more"),
        ({"top_p": 0.0}, "--top-p is 0.0; it must be above 0 and at most 1"),
        ({"top_p": 1.5}, "--top-p is 1.5; it must be above 0 and at most 1"),
        ({"top_k": -1}, "--top-k is -1; it must be 0 or more"),
    ],
)
def test_limits_of_the_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("num_tokens", [24, 30])
def test_a_prompt_that_fills_the_context_is_an_error(num_tokens: int) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(gpt2(), [[5], [5] * num_tokens], Sampling(), stop_ids=NEVER, pad_id=0)
    assert str(caught.value) == (f"a prompt has {num_tokens} tokens and the model's context is 24; shorten the prompt")


def test_an_answer_ends_where_the_context_ends() -> None:
    prompts = [[5] * 20, [6] * 3]
    found = generate(gpt2(), prompts, Sampling(max_new_tokens=100), stop_ids=NEVER, pad_id=0, batch_size=1)
    assert [(len(one.ids), one.stopped) for one in found] == [(4, False), (21, False)]
    pieces: list[str] = []
    one = stream(
        gpt2(), tiny_tokenizer("llama"), prompts[0], Sampling(max_new_tokens=100), stop_ids=NEVER, pad_id=0,
        emit=pieces.append,
    )  # fmt: skip
    assert one == found[0]


# Streams --------------------------------------------------------------------------------------------------------------


class Parrot:
    """Stands for a model whose `generate` writes given tokens, as transformers' own would, through the streamer."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.inner = ids, tiny_model("llama")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def generate(self, *, input_ids: torch.Tensor, streamer: Any, **_: Any) -> torch.Tensor:
        streamer.put(input_ids)
        for token in self.ids:
            streamer.put(torch.tensor([token]))
        streamer.end()
        return torch.cat([input_ids[0], torch.tensor(self.ids)])[None]


def streamed(tokenizer: Any, ids: list[int], stop: int) -> tuple[list[str], Completion]:
    pieces: list[str] = []
    completion = stream(
        Parrot(ids), tokenizer, [5, 6, 7], Sampling(), stop_ids=[stop], pad_id=0, emit=pieces.append
    )  # fmt: skip
    return pieces, completion


TOKENIZER = tiny_tokenizer("llama")


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=30), st.booleans())
def test_the_pieces_of_a_stream_add_up_to_the_answer(text: str, stopped: bool) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    pieces, completion = streamed(TOKENIZER, [*ids, 2] if stopped else ids, stop=2)
    assert completion == Completion(tuple(ids), stopped, (2,) if stopped else ())
    assert "".join(pieces) == TOKENIZER.decode(ids)


def test_a_character_of_several_tokens_comes_in_one_piece() -> None:
    ids = TOKENIZER("a€😀b", add_special_tokens=False)["input_ids"]
    assert len(ids) == 1 + 3 + 4 + 1
    pieces, _ = streamed(TOKENIZER, ids, stop=2)
    assert [piece for piece in pieces if piece] == ["a", "€", "😀", "b"]


def test_half_a_character_at_the_end_is_shown_all_the_same() -> None:
    ids = TOKENIZER("a€", add_special_tokens=False)["input_ids"][:-1]
    pieces, _ = streamed(TOKENIZER, ids, stop=2)
    assert "".join(pieces) == TOKENIZER.decode(ids) == "a\ufffd"


def test_a_stream_is_what_a_batch_would_give(family: str) -> None:
    model, prompt = tiny_model(family), ids_of(11, 1)
    pieces: list[str] = []
    found = stream(
        model, tiny_tokenizer(family), prompt, Sampling(max_new_tokens=10), stop_ids=NEVER, pad_id=0,
        emit=pieces.append,
    )  # fmt: skip
    assert found == by_hand(model, prompt, 10, NEVER)
    assert "".join(pieces) == tiny_tokenizer(family).decode(list(found.ids))
