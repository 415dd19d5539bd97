"""The other sampler: vLLM in this process, with the model's weights copied into it whenever they have changed.

It begins with weights that mean nothing and is given the model's own, under the names of a saved folder and with
adapters merged in, so that nothing but the model itself decides what is sampled. Before the first answer its logprobs
are compared with the model's. Only token ids go in and come out. Leaves out: several devices, vLLM's sleep mode, models
whose code comes along with them.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.engine.answer import stop_ids
from tutelage.engine.forward import base_causal_lm, ordinary_attention, padded_logprobs
from tutelage.engine.generate import Completion, Sampling, completion_of, room_in_context
from tutelage.engine.merged import merged_adapters
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, ModelError

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
"""Set unless the user has set them: nothing is reported to anyone, and the log is not flooded."""
LOWEST_TEMPERATURE = 0.01
"""vLLM samples at this one where a lower one above 0 is asked for."""
BLOCK_TOKENS = 128
"""The largest block of its cache, that of CPUs."""
PROBE_TOKENS = 16
LARGEST_GAP = 0.25
"""Nats a token that vLLM may be away from the model; bf16 alone makes .03 to .06."""


def require_vllm() -> None:
    """Raises ConfigError where vLLM is not installed, without importing it where it is."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "--sampler vllm: vLLM is not installed; run `pip install 'tutelage[vllm]'` (Linux), or leave --sampler out"
        )


# What vLLM is told: pure ---------------------------------------------------------------------------------------------


def seed_of(seed: int, key: int) -> int:
    """A seed of its own for each answer, below 2^63, made of the run's seed and the answer's key.

    vLLM's own `n` answers to a prompt have seeds one after another, so neighbouring prompts would share their draws.
    """
    digest = hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def request_options(sampling: Sampling, *, seed: int, limit: int, stop_ids: Sequence[int]) -> dict[str, Any]:
    """The arguments of vLLM's `SamplingParams` for one answer of at most `limit` tokens."""
    greedy = sampling.temperature == 0
    return {
        "n": 1,
        "temperature": sampling.temperature,
        "top_p": 1.0 if greedy else sampling.top_p,
        "top_k": 0 if greedy else sampling.top_k,
        "min_p": 0.0 if greedy else sampling.min_p,
        "seed": None if greedy else seed,
        "max_tokens": limit,
        # The tokens that end an answer are ours alone: neither the tokenizer's nor a generation config's are added.
        "ignore_eos": True,
        "stop_token_ids": [] if sampling.ignore_eos else list(stop_ids),
        "stop": list(sampling.stop),
        "include_stop_str_in_output": True,
        "detokenize": bool(sampling.stop),
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "logprobs": 0,
    }


def cache_bytes(config: Any, *, num_sequences: int, num_tokens: int, bytes_per_number: int) -> int:
    """Memory for keys and values of so many sequences of so many tokens, whole blocks, and a quarter to spare."""
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    num_blocks = num_sequences * (-(-num_tokens // BLOCK_TOKENS) + 1) + 1
    return int(1.25 * num_blocks * BLOCK_TOKENS * 2 * config.num_hidden_layers * heads * dim * bytes_per_number)


def engine_options(model: Any, *, max_tokens: int, batch_size: int, with_text: bool) -> dict[str, Any]:
    """The arguments of vLLM's `LLM` beside the folder with the model's config."""
    dtype = base_causal_lm(model).dtype
    return {
        "load_format": "dummy",
        "dtype": str(dtype).removeprefix("torch."),
        "skip_tokenizer_init": not with_text,
        "generation_config": "vllm",
        "logprobs_mode": "processed_logprobs",
        "max_model_len": max_tokens,
        "max_num_seqs": batch_size,
        "kv_cache_memory_bytes": cache_bytes(
            base_causal_lm(model).config, num_sequences=batch_size, num_tokens=max_tokens,
            bytes_per_number=dtype.itemsize,
        ),
        # Only looked at before the cache's size is: most of the device may be the trainer's.
        "gpu_memory_utilization": 0.05,
        # On the CPU compiling takes minutes, and weights packed for its kernels are packed anew at each sync.
        "enforce_eager": model.device.type == "cpu",
        "disable_log_stats": True,
        "seed": 0,
    }  # fmt: skip


# Weights -------------------------------------------------------------------------------------------------------------


def saved_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name → tensor as the model's saved folder would have them; call it inside `merged_adapters`.

    A tied head comes under its own name as well, since vLLM keeps the old one where it is not told of a new one. Raises
    ModelError for an adapter that has not been merged.
    """
    from transformers.core_model_loading import revert_weight_conversion

    inner = base_causal_lm(model)
    weights = inner.state_dict()
    parts = {"base_layer", "modules_to_save", "original_module"}
    if unmerged := next((name for name in weights if parts & set(name.split("."))), None):
        raise ModelError(
            f"--sampler vllm: the adapter of {unmerged} cannot be merged for vLLM, only LoRA's on linear layers can; "
            "leave --sampler out"
        )
    return revert_weight_conversion(inner, weights)


# The engine ----------------------------------------------------------------------------------------------------------


@contextmanager
def _left_alone() -> Iterator[None]:
    """vLLM seeds every generator and sets the threads of the whole process; afterwards all is as it was."""
    set_threads, num_threads = torch.set_num_threads, torch.get_num_threads()
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads = set_threads
        set_threads(num_threads)
        random.setstate(states[0])
        np.random.set_state(states[1])


class VllmEngine:
    """vLLM sampling from `model`, whose weights `sync` copies into it. Use `start_vllm` to make one."""

    def __init__(self, model: Any, tokenizer: Any, llm: Any, max_tokens: int) -> None:
        self.model, self.llm, self.max_tokens = model, llm, max_tokens
        self.stop_ids = stop_ids(tokenizer)
        self.num_requests = 0

    def sync(self) -> None:
        """Take the model's weights as they are now, and forget what was computed with the ones before."""
        with _left_alone(), torch.no_grad(), merged_adapters(self.model):
            # vLLM packs, fuses and lays out what it is given as it did when it first loaded the model.
            weights = iter(saved_weights(self.model).items())
            self.llm.collective_rpc(
                "reload_weights", kwargs={"weights_iterator": weights, "is_checkpoint_format": True}
            )
            if not self.llm.reset_prefix_cache():
                raise ModelError("vLLM did not forget its prompts' keys and values; start the run again")

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        keys: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """A completion for each prompt of token ids, in the order given; see `generate`.

        Raises ConfigError for a prompt without room and for a temperature that vLLM does not sample at.
        """
        check_temperature(sampling)
        keys = range(len(prompts)) if keys is None else keys
        requests = [
            request_options(sampling, seed=seed_of(sampling.seed, key), limit=limit, stop_ids=self.stop_ids)
            for key, limit in zip(keys, self._limits(prompts, sampling), strict=True)
        ]
        found: dict[int, Completion] = {}
        with _left_alone():
            for index, output in self._run(prompts, requests):
                found[index] = _completion(output, self.stop_ids, sampling)
                if progress is not None:
                    progress(1)
        return [found[index] for index in range(len(prompts))]

    def _limits(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[int]:
        if any(not prompt for prompt in prompts):
            raise ConfigError("a prompt has no tokens; give it at least one")
        room_in_context(self.model, prompts)
        longest = max(map(len, prompts), default=0)
        if longest >= self.max_tokens:
            raise ConfigError(
                f"a prompt has {longest} tokens and vLLM was started for {self.max_tokens}, answer included"
            )
        return [min(sampling.max_new_tokens, self.max_tokens - len(prompt)) for prompt in prompts]

    def _run(
        self, prompts: Sequence[Sequence[int]], requests: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """(index, output) of each answer as soon as it has ended; what still runs when nobody wants more is dropped."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        engine, first = self.llm.llm_engine, self.num_requests
        self.num_requests += len(prompts)
        waiting = {str(first + index): index for index in range(len(prompts))}
        try:
            for (name, index), options in zip(waiting.items(), requests, strict=True):
                params = SamplingParams(**options, output_kind=RequestOutputKind.FINAL_ONLY)
                engine.add_request(name, {"prompt_token_ids": list(prompts[index])}, params)
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished:
                        yield waiting.pop(output.request_id), output.outputs[0]
        finally:
            if waiting:
                engine.abort_request(list(waiting))

    def check(self, prompt: Sequence[int]) -> None:
        """Raises ModelError when vLLM computes something else than the model: weights or options it does not know."""
        (found,) = self.sample([prompt], Sampling(PROBE_TOKENS, ignore_eos=True))
        tree = Tree(Tokens.prompt(prompt), (Tokens.completion(found.ids),))
        with torch.no_grad(), ordinary_attention(self.model):
            own = padded_logprobs(self.model, pack([tree]).to(self.model.device)).logprobs.cpu()
        gap = float((own - torch.tensor(found.logprobs)).abs().mean())
        if not gap <= LARGEST_GAP:
            raise ModelError(
                f"--sampler vllm: vLLM's logprobs of this model are {gap:.2f} nats a token away from its own, at most "
                f"{LARGEST_GAP} is rounding; it does not compute the same, so leave --sampler out"
            )


def check_temperature(sampling: Sampling) -> None:
    """Raises ConfigError for a temperature that vLLM would quietly raise."""
    if 0 < sampling.temperature < LOWEST_TEMPERATURE:
        raise ConfigError(
            f"--temperature is {sampling.temperature}; vLLM samples at 0 or from {LOWEST_TEMPERATURE} up: give one of "
            "these, or leave --sampler out"
        )


def _completion(output: Any, stop_ids: Sequence[int], sampling: Sampling) -> Completion:
    if output.finish_reason not in ("stop", "length"):
        raise ModelError(f"vLLM ended an answer by '{output.finish_reason}'; start again, or leave --sampler out")
    ids = list(output.token_ids)
    logprobs = [found[token].logprob for token, found in zip(ids, output.logprobs, strict=True)]
    return completion_of(ids, logprobs, stop_ids, sampling.ignore_eos, ended=output.finish_reason == "stop")


def start_vllm(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, *, batch_size: int
) -> VllmEngine:
    """vLLM with the model's weights, for answers to these prompts or shorter ones, `batch_size` at once.

    Takes a minute or so. Raises ConfigError where vLLM is not installed or cannot run the model's device, ModelError
    where it cannot run the model or computes something else.
    """
    require_vllm()
    check_temperature(sampling)
    if model.device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--sampler vllm: vLLM does not run on {model.device.type}; leave --sampler out")
    longest = max(map(len, prompts))
    max_tokens = longest + min(sampling.max_new_tokens, room_in_context(model, prompts))
    options = engine_options(model, max_tokens=max_tokens, batch_size=batch_size, with_text=bool(sampling.stop))
    with _left_alone():
        engine = VllmEngine(model, tokenizer, _load(model, tokenizer, options), max_tokens)
    engine.sync()
    engine.check(prompts[0])
    return engine


def _load(model: Any, tokenizer: Any, options: Mapping[str, Any]) -> Any:
    # In this process, so that weights are handed over as they are, and nothing is pickled.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    with tempfile.TemporaryDirectory(prefix="tutelage-vllm-") as folder:
        _write_config(model, Path(folder))
        if not options["skip_tokenizer_init"]:
            from tutelage.models.save import save_tokenizer

            save_tokenizer(tokenizer, Path(folder))
        try:
            return LLM(folder, **options)
        except (ValueError, RuntimeError) as error:
            what = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(f"--sampler vllm: vLLM cannot run this model: {what[0]}; leave --sampler out") from error


def _write_config(model: Any, folder: Path) -> None:
    inner = base_causal_lm(model)
    config = copy.deepcopy(inner.config)
    config.architectures = [type(inner).__name__]
    config.save_pretrained(folder)
