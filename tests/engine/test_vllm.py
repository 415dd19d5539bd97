"""What vLLM is told and given, and what its answers become; vLLM itself runs in `test_vllm_engine`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import FAMILIES, tiny_folder, tiny_model, tiny_tokenizer

import tutelage
from tutelage.cli import main
from tutelage.engine import vllm
from tutelage.engine.generate import Completion, Sampling
from tutelage.engine.merged import merged_adapters
from tutelage.errors import ConfigError, ModelError
from tutelage.models.adapt import LoraConfig, add_lora, merge_lora

STOP = [2, 5]


def options(*, limit: int = 12, seed: int = 7, **sampling: Any) -> dict[str, Any]:
    return vllm.request_options(Sampling(**sampling), seed=seed, limit=limit, stop_ids=STOP)


# Options -------------------------------------------------------------------------------------------------------------


def test_the_options_of_a_draw_are_passed_on() -> None:
    found = options(temperature=0.7, top_p=0.9, top_k=40, min_p=0.1)
    assert {key: found[key] for key in ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "n")} == {
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 7, "max_tokens": 12, "n": 1,
    }  # fmt: skip
    assert found["logprobs"] == 0  # the drawn token's alone


def test_greedy_takes_no_seed_and_restricts_nothing() -> None:
    found = options(temperature=0.0, top_p=0.5, top_k=3, min_p=0.2)
    assert (found["temperature"], found["top_p"], found["top_k"], found["min_p"]) == (0, 1, 0, 0)
    assert found["seed"] is None


def test_only_our_own_tokens_and_texts_end_an_answer() -> None:
    found = options(stop=("\n\n",))
    assert (found["ignore_eos"], found["stop_token_ids"], found["stop"]) == (True, STOP, ["\n\n"])
    assert found["detokenize"] is True
    assert found["skip_special_tokens"] is False
    assert options()["detokenize"] is False
    assert options(ignore_eos=True)["stop_token_ids"] == []


def test_every_answer_has_a_seed_of_its_own_that_is_always_the_same() -> None:
    seeds = {vllm.seed_of(seed, key) for seed in range(20) for key in [*range(50), (3 << 32) + 1]}
    assert len(seeds) == 20 * 51
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert vllm.seed_of(0, 0) == 5903642253403033523


def test_the_cache_has_room_for_every_sequence() -> None:
    """Llama with 2 layers, 2 kv heads of dim 16: a token takes 2·2·2·16 numbers."""
    config = tiny_model("llama").config
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * dim * 2
    found = vllm.cache_bytes(config, num_sequences=4, num_tokens=200, bytes_per_number=2)
    assert found == 1.25 * per_token * 128 * (4 * 3 + 1)  # 200 tokens are 2 blocks of 128, and one to spare


def test_the_engine_is_told_the_models_precision_and_to_report_what_was_drawn_from() -> None:
    model = tiny_model("llama").bfloat16()
    found = vllm.engine_options(model, max_tokens=64, batch_size=8, with_text=False)
    assert found["logprobs_mode"] == "processed_logprobs"
    assert (found["dtype"], found["max_model_len"], found["max_num_seqs"]) == ("bfloat16", 64, 8)
    assert found["load_format"] == "dummy"
    assert found["skip_tokenizer_init"] is True


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_saved_folder_and_a_tied_head(tmp_path: Path, family: str) -> None:
    from safetensors.torch import load_file

    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    saved, given = load_file(tmp_path / "model.safetensors"), vllm.saved_weights(model)
    assert given.keys() == saved.keys() | {"lm_head.weight"}
    assert all(torch.equal(saved[name], given[name]) for name in saved)
    assert torch.equal(given["lm_head.weight"], model.get_output_embeddings().weight)


def adapted(seed: int = 1) -> Any:
    model = add_lora(tiny_model("qwen2"), LoraConfig(rank=2))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


def test_an_adapter_is_merged_as_saving_merges_it() -> None:
    model = adapted()
    with merged_adapters(model):
        given = vllm.saved_weights(model)
    plain = vllm.saved_weights(merge_lora(model))
    assert plain.keys() == given.keys()
    assert all(torch.allclose(plain[name], given[name], atol=1e-6) for name in plain)
    base = vllm.saved_weights(tiny_model("qwen2"))
    assert sum(not torch.equal(base[name], given[name]) for name in base) > 4


def test_another_kind_of_adapter_is_an_error() -> None:
    import peft

    config = peft.LoraConfig(r=2, target_modules="all-linear", use_dora=True, task_type=peft.TaskType.CAUSAL_LM)
    model = peft.get_peft_model(tiny_model("qwen2"), config)
    with (
        merged_adapters(model),
        pytest.raises(ModelError, match="only LoRA's on linear layers can; leave"),
    ):
        vllm.saved_weights(model)


# Answers, with a stand-in for vLLM -----------------------------------------------------------------------------------


class Engine:
    """Answers in reverse order: each a token of the prompt, then what ends it."""

    def __init__(self, reason: str = "stop") -> None:
        self.reason, self.waiting, self.aborted = reason, [], []  # type: ignore[var-annotated]

    def add_request(self, name: str, prompt: dict[str, list[int]], params: Any) -> None:
        self.waiting.append((name, prompt["prompt_token_ids"], params))

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[Any]:
        name, ids, _ = self.waiting.pop()
        token_ids = [ids[0], 2]
        logprobs = [{token: SimpleNamespace(logprob=-float(token))} for token in token_ids]
        answer = SimpleNamespace(token_ids=token_ids, logprobs=logprobs, finish_reason=self.reason)
        return [SimpleNamespace(request_id=name, finished=True, outputs=[answer])]

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names
        self.waiting = []


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A module `vllm` with as much as `_run` takes from it."""
    import sys
    from types import ModuleType

    package, inner = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    package.SamplingParams = lambda **given: given  # type: ignore[attr-defined]
    inner.RequestOutputKind = SimpleNamespace(FINAL_ONLY=2)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", inner)
    return Engine()


def engine_of(stand_in: Engine, max_tokens: int = 16) -> vllm.VllmEngine:
    tokenizer = tiny_tokenizer("llama")
    found = vllm.VllmEngine(tiny_model("llama"), tokenizer, SimpleNamespace(llm_engine=stand_in), max_tokens)
    found.stop_ids = STOP
    return found


def test_answers_come_in_the_order_of_the_prompts_with_the_stop_token_apart(stand_in: Engine) -> None:
    told: list[int] = []
    found = engine_of(stand_in).sample([[7], [8, 9]], Sampling(temperature=1.0), progress=told.append)
    assert found == [Completion((7,), True, (2,), (-7.0, -2.0)), Completion((8,), True, (2,), (-8.0, -2.0))]
    assert told == [1, 1]


def test_where_nothing_ends_an_answer_a_stop_token_is_a_token(stand_in: Engine) -> None:
    stand_in.reason = "length"
    (found,) = engine_of(stand_in).sample([[7]], Sampling(ignore_eos=True))
    assert found == Completion((7, 2), False, (), (-7.0, -2.0))


def test_limits_and_seeds_of_the_requests(stand_in: Engine) -> None:
    asked: list[dict[str, Any]] = []
    add = stand_in.add_request
    stand_in.add_request = lambda name, prompt, params: (asked.append(params), add(name, prompt, params))  # type: ignore
    engine_of(stand_in, 16).sample([[7] * 10, [8]], Sampling(12, temperature=1.0, seed=3), keys=[4, 5])
    assert [params["max_tokens"] for params in asked] == [6, 12]
    assert [params["seed"] for params in asked] == [vllm.seed_of(3, 4), vllm.seed_of(3, 5)]


def test_what_is_interrupted_is_taken_from_vllm_again(stand_in: Engine) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine_of(stand_in).sample([[7], [8], [9]], Sampling(), progress=stop)
    assert stand_in.aborted == ["0", "1"]


def test_an_answer_that_vllm_gave_up_is_an_error(stand_in: Engine) -> None:
    stand_in.reason = "abort"
    with pytest.raises(ModelError, match="vLLM ended an answer by 'abort'"):
        engine_of(stand_in).sample([[7]], Sampling())


def test_a_model_that_vllm_computes_otherwise_is_an_error(stand_in: Engine) -> None:
    """The stand-in's logprobs are −7 and −2, where a random model with 296 tokens has about −5.7 each."""
    with pytest.raises(ModelError, match=r"vLLM's logprobs of this model are 2\.\d\d nats a token away from its own"):
        engine_of(stand_in).check([7])


def test_prompts_without_room_are_errors(stand_in: Engine) -> None:
    with pytest.raises(ConfigError, match="a prompt has no tokens"):
        engine_of(stand_in).sample([[]], Sampling())
    with pytest.raises(ConfigError, match="a prompt has 16 tokens and vLLM was started for 16, answer included"):
        engine_of(stand_in).sample([[7] * 16], Sampling())


def test_the_process_is_left_as_it_was() -> None:
    import random

    import numpy as np

    before = torch.set_num_threads, torch.get_num_threads()
    torch.manual_seed(1)
    expected = torch.rand(1), np.random.default_rng, random.getstate()
    torch.manual_seed(1)
    with vllm._left_alone():
        random.seed(5)
        torch.manual_seed(5)
        torch.set_num_threads = lambda _: None  # type: ignore[assignment]
    assert (torch.set_num_threads, torch.get_num_threads()) == before
    assert torch.equal(torch.rand(1), expected[0])
    assert random.getstate() == expected[2]


# Mistakes ------------------------------------------------------------------------------------------------------------

MISSING = "--sampler vllm: vLLM is not installed; run `pip install 'tutelage[vllm]'` (Linux), or leave --sampler out"


@pytest.fixture
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "vllm" else find(name, *more))


@pytest.mark.usefixtures("no_vllm")
def test_without_vllm_a_run_says_how_to_get_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_folder(tmp_path, "llama").rename(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is it?"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    given = ["--model", "model", "--reward", "length:12", "--prompts", "prompts.jsonl", "--out", "tuned"]
    with pytest.raises(SystemExit) as stopped:
        main(["train", "grpo", *given, "--sampler", "vllm"])
    assert (stopped.value.code, capsys.readouterr().err) == (2, f"tutelage: {MISSING}\n")
    assert not (tmp_path / "workspace").exists()
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--model", "model", "--prompts", "prompts.jsonl", "--out", "a.jsonl", "--sampler", "vllm"])
    assert (stopped.value.code, capsys.readouterr().err) == (2, f"tutelage: {MISSING}\n")


def test_a_temperature_that_vllm_would_raise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is it?"}\n', encoding="utf-8")
    monkeypatch.setattr(vllm, "require_vllm", lambda: None)
    with pytest.raises(ConfigError, match=r"--temperature is 0.005; vLLM samples at 0 or from 0.01 up"):
        tutelage.train(
            "grpo", model="starter-chat", reward="length:12", prompts=tmp_path / "prompts.jsonl", sampler="vllm",
            temperature=0.005, out="cold", quiet=True,
        )  # fmt: skip


def test_a_device_that_vllm_does_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "require_vllm", lambda: None)
    with pytest.raises(ConfigError, match="vLLM does not run on mps"):
        vllm.start_vllm(SimpleNamespace(device=torch.device("mps")), None, [[1]], Sampling(), batch_size=1)
