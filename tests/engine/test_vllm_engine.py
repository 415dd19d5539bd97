"""vLLM on the CPU beside our own sampler, on the real starter models: `make test-vllm` runs this where vLLM is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import tutelage
from tutelage.data.load import load_prompts
from tutelage.data.render import render_prompt
from tutelage.engine.answer import OwnEngine
from tutelage.engine.draw import restricted_logprobs
from tutelage.engine.forward import ordinary_attention
from tutelage.engine.generate import Completion, Sampling
from tutelage.engine.vllm import VllmEngine, start_vllm
from tutelage.models.adapt import LoraConfig, add_lora
from tutelage.models.load import load_model
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token

pytestmark = [pytest.mark.vllm, pytest.mark.starter, pytest.mark.timeout(3000)]
NUM_TOKENS = 32
STOP_TEXT = " the"


class World(NamedTuple):
    model: Any
    tokenizer: Any
    prompts: list[tuple[int, ...]]
    vllm: VllmEngine

    @property
    def own(self) -> OwnEngine:
        return OwnEngine(self.model, self.tokenizer)


@pytest.fixture(scope="module", params=["starter-chat", "starter-base"])
def world(request: pytest.FixtureRequest) -> World:
    pytest.importorskip("vllm")
    loaded = load_model(request.param)
    ensure_chat_template(loaded.tokenizer)
    ensure_pad_token(loaded.tokenizer)
    end = end_of_turn_id(loaded.tokenizer)
    prompts = [render_prompt(loaded.tokenizer, prompt.messages, end) for prompt in load_prompts("sealed")[:16]]
    how = Sampling(NUM_TOKENS, stop=(STOP_TEXT,))
    return World(
        loaded.model, loaded.tokenizer, prompts, start_vllm(loaded.model, loaded.tokenizer, prompts, how, batch_size=16)
    )


@torch.no_grad()
def recomputed(world: World, prompts: list[tuple[int, ...]], found: list[Completion], how: Sampling) -> torch.Tensor:
    """The model's own logprobs of what was sampled, under the same options."""
    rows = []
    with ordinary_attention(world.model):
        for prompt, one in zip(prompts, found, strict=True):
            ids = torch.tensor([[*prompt, *one.sampled]])
            logits = world.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
            rows.append(restricted_logprobs(logits, how).gather(1, ids[0, len(prompt) :, None]).squeeze(1))
    return torch.cat(rows)


def logprobs_of(found: list[Completion]) -> torch.Tensor:
    return torch.tensor([logprob for one in found for logprob in one.logprobs])


def test_greedy_is_ours_up_to_near_ties(world: World) -> None:
    """Where the two part, the model itself holds both tokens nearly equally probable."""
    how = Sampling(NUM_TOKENS)
    theirs, ours = world.vllm.sample(world.prompts, how), world.own.sample(world.prompts, how)
    same = sum(a.sampled == b.sampled for a, b in zip(theirs, ours, strict=True))
    gaps = []
    for prompt, a, b in zip(world.prompts, theirs, ours, strict=True):
        if a.sampled == b.sampled:
            continue
        place = next(i for i, (x, y) in enumerate(zip(a.sampled, b.sampled, strict=False)) if x != y)
        first = [Completion(one.sampled[: place + 1], False) for one in (a, b)]
        scores = recomputed(world, [prompt] * 2, first, how)
        gaps.append(abs(float(scores[place] - scores[-1])))
    print(f"greedy: {same} of {len(ours)} answers the same; gap where they part: {[round(gap, 3) for gap in gaps]}")
    assert same >= len(ours) // 4
    assert all(gap < 0.3 for gap in gaps)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7}, {"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_k": 20}]
)
def test_logprobs_are_those_of_the_distribution_drawn_from(world: World, options: dict[str, Any]) -> None:
    """bf16 may put a token just inside a nucleus for one and just outside for the other: those few are left out."""
    how = Sampling(**({"max_new_tokens": NUM_TOKENS, "temperature": 1.0, "seed": 5} | options))
    found = world.vllm.sample(world.prompts, how)
    gaps = logprobs_of(found) - recomputed(world, world.prompts, found, how)
    inside = gaps[gaps.isfinite()]
    ours = world.own.sample(world.prompts, how)
    own = logprobs_of(ours) - recomputed(world, world.prompts, ours, how)
    print(
        f"{options}: {len(gaps)} tokens, {len(gaps) - len(inside)} outside; |gap| mean {inside.abs().mean():.4f} max "
        f"{inside.abs().max():.3f}; of our own sampler {own[own.isfinite()].abs().mean():.4f}"
    )
    assert len(gaps) - len(inside) <= 0.02 * len(gaps)
    assert inside.abs().mean() < 0.1
    assert abs(inside.mean()) < 0.03
    plain = logprobs_of(found) - recomputed(world, world.prompts, found, Sampling(temperature=1.0))
    assert not options or plain.abs().mean() > 3 * inside.abs().mean()  # the model's own would be far away


def test_a_seed_draws_the_same_again_whatever_else_is_asked(world: World) -> None:
    how = Sampling(NUM_TOKENS, temperature=1.0, seed=9)
    first = world.vllm.sample(world.prompts, how)
    assert world.vllm.sample(world.prompts, how) == first
    assert world.vllm.sample(world.prompts, Sampling(NUM_TOKENS, temperature=1.0, seed=10)) != first
    pair = world.vllm.sample([world.prompts[0]] * 2, how)
    assert pair[0].sampled != pair[1].sampled
    turned = world.vllm.sample(world.prompts[::-1], how, keys=range(len(first) - 1, -1, -1))[::-1]
    kept = sum(a.sampled[:4] == b.sampled[:4] for a, b in zip(first, turned, strict=True))
    assert kept >= 0.75 * len(first)  # bf16 sums depend on the batch, and a draw on the edge falls either way


def test_stop_texts_and_tokens(world: World) -> None:
    found = world.vllm.sample(world.prompts, Sampling(NUM_TOKENS, temperature=1.0, stop=(STOP_TEXT,)))
    texts = [world.tokenizer.decode(one.ids) for one in found]
    by_text = [one for one, text in zip(found, texts, strict=True) if STOP_TEXT in text]
    assert by_text
    assert all(one.stopped and not one.end for one in by_text)
    for one in found:
        assert (len(one.sampled) == NUM_TOKENS) or one.stopped
        assert len(one.logprobs) == len(one.sampled)
    ignoring = world.vllm.sample(world.prompts, Sampling(NUM_TOKENS, temperature=1.0, ignore_eos=True))
    assert {len(one.ids) for one in ignoring} == {NUM_TOKENS}


def test_answers_follow_the_weights(world: World) -> None:
    how = Sampling(NUM_TOKENS)
    before = world.vllm.sample(world.prompts, how)
    layer = world.model.model.layers[3].mlp.down_proj.weight
    embedding = world.model.get_input_embeddings().weight  # tied: the head as well
    for weight, change in ((layer, -layer.detach()), (embedding, embedding.detach() * 1.1)):
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(change)
        world.vllm.sync()
        found = world.vllm.sample(world.prompts, how)
        assert found != before
        assert (logprobs_of(found) - recomputed(world, world.prompts, found, how)).abs().mean() < 0.1
        with torch.no_grad():
            weight.copy_(kept)
    world.vllm.sync()
    assert world.vllm.sample(world.prompts, how) == before


def test_an_adapter_is_followed_and_merged(world: World) -> None:
    how = Sampling(NUM_TOKENS)
    before = world.vllm.sample(world.prompts, how)
    model = add_lora(world.model, LoraConfig(rank=4))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    try:
        world.vllm.model = model
        world.vllm.sync()
        found = world.vllm.sample(world.prompts, how)
        seen = World(model, world.tokenizer, world.prompts, world.vllm)
        gap = (logprobs_of(found) - recomputed(seen, world.prompts, found, how)).abs().mean()
        print(f"with an adapter: |gap| mean {gap:.4f}")
        assert found != before
        assert gap < 0.15
    finally:
        model.unload()
        world.vllm.model = world.model
        world.vllm.sync()


def test_a_run_learns_from_what_vllm_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    prompts = [{"prompt": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in prompts), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run = tutelage.train(
        "grpo", model="starter-chat", reward="length:12", prompts="prompts.jsonl", out="tuned", sampler="vllm",
        max_steps=3, prompts_per_step=2, group_size=4, max_new_tokens=24, learning_rate=1e-5, num_samples=0,
        epochs=2, quiet=True,
    )  # fmt: skip
    shown = [{key: round(line[key], 5) for key in ("reward", "mismatch_kl", "syncing_seconds")} for line in run.metrics]
    print(shown)
    assert run.finished
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert all(0 < line["mismatch_kl"] < 0.02 for line in run.metrics)
