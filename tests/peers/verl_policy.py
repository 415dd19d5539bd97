"""Runs in the environment that has verl: its `core_algos` on given numbers, one JSON array in, one out.

verl is installed without what it needs to spread work over machines: `ray`, which its package imports at once and none
of this arithmetic touches, is stood in for by an empty name.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from ragged import flat, mask_of, padded
from torch import Tensor

sys.modules["ray"] = MagicMock()

from verl.trainer.config import AlgoConfig  # noqa: E402
from verl.trainer.ppo import core_algos, rollout_corr_helper  # noqa: E402
from verl.utils.torch_functional import masked_whiten  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402


def token_rewards(job: dict[str, Any]) -> Tensor:
    """The score at the last token of each answer, as verl's reward managers place it, less the KL penalty."""
    scores = padded([[0.0] * (len(row) - 1) + [reward] for row, reward in zip(job["old"], job["rewards"], strict=True)])
    return core_algos.compute_rewards(scores, padded(job["old"]), padded(job["ref"]), job.get("kl_coef", 0.0))


def estimate(job: dict[str, Any]) -> dict[str, Tensor]:
    """Advantages and returns by the estimator named."""
    rewards, mask, index = token_rewards(job), mask_of(job["old"]), np.array(job["groups"])
    own = job.get("options", {})
    match job["estimator"]:
        case "gae":
            found = core_algos.compute_gae_advantage_return(rewards, padded(job["values"]), mask, **own)
        case "grpo":
            found = core_algos.compute_grpo_outcome_advantage(rewards, mask, index, **own)
        case "rloo":
            found = core_algos.compute_rloo_outcome_advantage(rewards, mask, index)
        case "rloo_vectorized":
            found = core_algos.compute_rloo_vectorized_outcome_advantage(rewards, mask, index)
        case "reinforce++":
            found = core_algos.compute_reinforce_plus_plus_outcome_advantage(rewards, mask, config=AlgoConfig(**own))
        case "reinforce++-baseline":
            found = core_algos.compute_reinforce_plus_plus_baseline_outcome_advantage(rewards, mask, index)
    return dict(zip(("advantages", "returns"), found, strict=True))


def advantages(job: dict[str, Any]) -> dict[str, list[float]]:
    return {name: flat(values, job["old"]) for name, values in estimate(job).items()}


def policy(job: dict[str, Any]) -> dict[str, Any]:
    """Loss and gradient; the advantages are verl's as well, or those given."""
    mask, logprobs = mask_of(job["old"]), padded(job["logprobs"]).requires_grad_()
    found = estimate(job)["advantages"] if "estimator" in job else padded(job["advantages"])
    old = logprobs.detach() if job.get("on_policy") else padded(job["old"])
    how = job["aggregation"]
    info = {"loss_scale_factor": job["loss_scale_factor"]} if "loss_scale_factor" in job else {}
    config = ActorConfig(
        strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, loss_agg_mode=how, global_batch_info=info, **job["config"]
    )
    weights = None
    if "rollout_is_threshold" in job:
        weights, _ = rollout_corr_helper.compute_rollout_correction_weights(
            old - padded(job["sampler"]), mask, "token", job["rollout_is_threshold"]
        )
    loss, metrics = core_algos.get_policy_loss_fn(job["loss"])(old, logprobs, found, mask, how, config, weights)
    loss.backward()
    gradient = flat(logprobs.grad, job["old"])
    return {
        "advantages": flat(found, job["old"]), "loss": float(loss.detach()), "gradient": gradient, "metrics": metrics
    }  # fmt: skip


def kl_loss(job: dict[str, Any]) -> dict[str, Any]:
    """The KL estimate of each token, and as a loss with its gradient."""
    logprobs = padded(job["logprobs"]).requires_grad_()
    tokens = core_algos.kl_penalty(logprobs, padded(job["ref"]), job["estimator"])
    loss = core_algos.agg_loss(tokens, mask_of(job["old"]), job["aggregation"])
    loss.backward()
    return {
        "tokens": flat(tokens, job["old"]), "loss": float(loss.detach()), "gradient": flat(logprobs.grad, job["old"])
    }  # fmt: skip


def value_loss(job: dict[str, Any]) -> dict[str, Any]:
    """Loss and gradient of the critic; the returns are those given."""
    predicted, mask = padded(job["new_values"]).requires_grad_(), mask_of(job["old"])
    loss, _ = core_algos.compute_value_loss(
        predicted, padded(job["returns"]), padded(job["values"]), mask, job["clip"], "token-mean"
    )
    loss.backward()
    return {"loss": float(loss.detach()), "gradient": flat(predicted.grad, job["old"])}


def whiten(job: dict[str, Any]) -> list[float]:
    return flat(masked_whiten(padded(job["values"]), mask_of(job["values"]), job["shift_mean"]), job["values"])


def controller(job: dict[str, Any]) -> list[float]:
    """The coefficient after each of the KLs seen."""
    own = core_algos.AdaptiveKLController(job["kl_coef"], job["target"], job["horizon"])
    found = []
    for kl in job["seen"]:
        own.update(kl, job["num"])
        found.append(float(own.value))
    return found


if __name__ == "__main__":
    KINDS = {
        "advantages": advantages, "policy": policy, "kl": kl_loss, "value": value_loss, "whiten": whiten,
        "controller": controller, "version": lambda _: version("verl"),
    }  # fmt: skip
    print(json.dumps([KINDS[job["kind"]](job) for job in json.load(sys.stdin)]))
