"""Runs in the environment that has TRL: GRPO and RLOO from rewards to the gradient, one JSON array in, one out.

The trainers are not built. Their own `_generate_and_score_completions` (advantages, correction for the sampler) and
`_compute_loss` run on a stand-in with the attributes they read; where they would run a model or a reward function, the
given numbers come back.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from ragged import flat, padded
from torch import Tensor
from trl import GRPOTrainer, RLOOTrainer


class Accelerator:
    device = torch.device("cpu")
    process_index, num_processes, sync_gradients = 0, 1, True

    def gather(self, value: Any) -> Any:
        return value

    gather_for_metrics = gather

    def reduce(self, value: Any, reduction: str) -> Any:
        return value


def model() -> Any:
    return SimpleNamespace(training=True, is_gradient_checkpointing=False)


DEFAULTS = {
    "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, "loss_type": "grpo", "importance_sampling_level": "token",
    "scale_rewards": "group", "max_completion_length": 128, "num_iterations": 2, "use_vllm": False,
    "vllm_importance_sampling_correction": True, "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_max": 3.0, "vllm_importance_sampling_clip_min": None,
    "multi_objective_aggregation": "sum_then_normalize", "normalize_advantages": False, "reward_clip_range": None,
    "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
}  # fmt: skip
"""What a job leaves out. TRL's own `loss_type` would be dapo, and `use_bias_correction_kl` (`bias_correction` of a job)
True; `num_iterations` 2 makes it keep the old logprobs."""


def trainer(job: dict[str, Any], logprobs: Tensor) -> Any:
    """The stand-in; `stepped` is the model after the step, whose logprobs have a gradient."""
    answers, ids = job["old"], [[1] * len(row) for row in job["old"]]
    prompts, sampled = [[1]] * len(ids), job["sampler"] if job["kind"] == "grpo" else None
    policy, reference, stepped = model(), model(), model()
    known = {id(policy): padded(answers), id(reference): padded(job["ref"]), id(stepped): logprobs}

    def look(which: Any, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        return known[id(which)], torch.zeros_like(logprobs), None

    def generate(_: Any) -> tuple[Any, ...]:
        if job["kind"] == "rloo":
            return prompts, ids, [""] * len(ids)
        return prompts, ids, None, [""] * len(ids), sampled, {}, None, [None] * len(ids)

    args = SimpleNamespace(
        per_device_train_batch_size=len(ids), gradient_checkpointing_kwargs=None, steps_per_generation=1,
        gradient_accumulation_steps=1, delta=None, use_bias_correction_kl=job.get("bias_correction", False),
    )  # fmt: skip
    size = job["groups"].count(job["groups"][0])
    own = {
        "args": args, "accelerator": Accelerator(), "model": policy, "ref_model": reference, "stepped": stepped,
        "_get_per_token_logps_and_entropies": look, "_generate": generate,
        "_calculate_rewards": lambda *_: torch.tensor(job["rewards"], dtype=torch.float64)[:, None],
        "reward_funcs": [None], "reward_func_names": ["given"], "reward_weights": torch.ones(1, dtype=torch.float64),
        "num_generations": size, "num_generations_eval": size, "current_gradient_accumulation_steps": 1,
        "_tokenizer": SimpleNamespace(pad_token_id=0), "pad_to_multiple_of": None, "mask_truncated_completions": False,
        "environment_factories": None, "environments": None, "tools": None, "log_multimodal": False,
        "aux_loss_enabled": False, "_entropy_bonus_enabled": False,
        "_metrics": defaultdict(lambda: defaultdict(list)), "_pending_extra_logs": {}, "_pending_metrics": {},
        "_logs": {"prompt": [], "completion": [], "advantages": [], "rewards": defaultdict(list)},
    }  # fmt: skip
    options = {key: job.get(key, value) for key, value in DEFAULTS.items()}
    unknown = set(job) - set(options) - {
        "kind", "old", "logprobs", "ref", "sampler", "values", "new_values", "rewards", "groups", "bias_correction"
    }  # fmt: skip
    assert not unknown, unknown
    return SimpleNamespace(**own, **options)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    cls = {"grpo": GRPOTrainer, "rloo": RLOOTrainer}[job["kind"]]
    logprobs = padded(job["logprobs"]).requires_grad_()
    own = trainer(job, logprobs)
    scored = cls._generate_and_score_completions(own, [{"prompt": ""} for _ in job["old"]])
    loss = cls._compute_loss(own, own.stepped, scored)
    loss.backward()
    advantages = scored["advantages"][:, None].expand_as(logprobs)
    return {
        "advantages": flat(advantages, job["old"]),
        "loss": float(loss.detach()),
        "gradient": flat(logprobs.grad, job["old"]),
        "metrics": {name: values[-1] for name, values in own._metrics["train"].items()},
        "has_old": scored.get("old_per_token_logps", scored.get("old_logps")) is not None,
    }


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)  # TRL's Bessel factor, a quotient of counts, is of the default type
    print(json.dumps([answer(job) for job in json.load(sys.stdin)]))
