"""Our policy gradients against TRL 1.16's GRPOTrainer and RLOOTrainer, from rewards to the gradient: `make test-peers`.

TRL's `loss_type` is our method and `aggregation` in one. What has other names or defaults there:

- the standard deviation is Bessel's and 1e-4 is added to it: our defaults (`std="sample"`, `std_eps=1e-4`);
- KL in the loss is k3: `kl_estimator="k3"`; ours is k2 unless told. TRL multiplies it by the ratio unless told, which
  is looked at in a test of its own; elsewhere `use_bias_correction_kl` is off. RLOO's is k1 in the reward, as ours;
- `dapo` is a token mean over the step, zero-spread groups counted; our run drops and refills those before the loss;
- CISPO's `epsilon_high` is the largest weight itself, and it has no smallest: `clip_high=epsilon_high − 1, clip_low=1`;
- `importance_sampling_level="sequence"` is GSPO;
- vLLM's importance sampling by tokens is our `mismatch`; `token_mask` needs `clip_min=1/cap` to be our `mask`.

Not here and so not compared: TRL's sequence-wise sampler weights, two-sided clip (`delta`), high-entropy tokens only.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asking import ask
from practice import REWARDS, STEP, Found, assert_agree, ours, same

pytestmark = pytest.mark.peers

SEQUENCE = {"importance_sampling_level": "sequence"}
TRUNCATED = {"use_vllm": True, "vllm_importance_sampling_mode": "token_truncate"}
MASKED = TRUNCATED | {"vllm_importance_sampling_mode": "token_mask"}
CAP = 1.3

GRPO: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("grpo", {"kl_coef": 0.0}, {}),
    ("grpo", {"kl_estimator": "k3"}, {"beta": 0.04}),
    ("grpo", {"kl_coef": 0.0, "clip_low": 0.1, "clip_high": 0.28}, {"epsilon_low": 0.1, "epsilon_high": 0.28}),
    ("grpo", {"kl_coef": 0.0, "aggregation": "token-mean"}, {"loss_type": "bnpo"}),
    ("dapo", {}, {"loss_type": "dapo", "epsilon_high": 0.28}),
    ("dapo", {"kl_coef": 0.1, "kl_estimator": "k3"}, {"loss_type": "dapo", "epsilon_high": 0.28, "beta": 0.1}),
    (
        "dr-grpo",
        {"max_new_tokens": 7},
        {"loss_type": "dr_grpo", "scale_rewards": "none", "max_completion_length": 7},
    ),
    ("cispo", {"clip_high": 0.25}, {"loss_type": "cispo", "epsilon_high": 1.25}),
    ("gspo", {}, SEQUENCE | {"epsilon_low": 3e-4, "epsilon_high": 4e-4}),
    ("gspo", {"clip_low": 0.1, "clip_high": 0.2}, SEQUENCE | {"epsilon_low": 0.1}),
    (
        "gspo",
        {"kl_coef": 0.1, "kl_estimator": "k3"},
        SEQUENCE | {"epsilon_low": 3e-4, "epsilon_high": 4e-4, "beta": 0.1},
    ),
    (
        "grpo",
        {"kl_estimator": "k3", "mismatch": "truncate", "mismatch_cap": CAP},
        TRUNCATED | {"beta": 0.04, "vllm_importance_sampling_clip_max": CAP},
    ),
    (
        "grpo",
        {"kl_estimator": "k3", "mismatch": "mask", "mismatch_cap": CAP},
        MASKED
        | {"beta": 0.04, "vllm_importance_sampling_clip_max": CAP, "vllm_importance_sampling_clip_min": 1 / CAP},
    ),
    (
        "cispo",
        {"clip_high": 0.25, "mismatch": "truncate", "mismatch_cap": CAP},
        TRUNCATED | {"loss_type": "cispo", "epsilon_high": 1.25, "vllm_importance_sampling_clip_max": CAP},
    ),
    (
        "gspo",
        {"mismatch": "truncate", "mismatch_cap": CAP},
        SEQUENCE | TRUNCATED
        | {"epsilon_low": 3e-4, "epsilon_high": 4e-4, "vllm_importance_sampling_clip_max": CAP},
    ),
]  # fmt: skip
RLOO: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("rloo", {}, {"beta": 0.05}),
    ("rloo", {"kl_coef": 0.0}, {}),
    ("rloo", {"kl_coef": 0.3, "clip_high": 0.5}, {"beta": 0.3, "epsilon_high": 0.5}),
]


def trl(kind: str, *options: dict[str, Any]) -> list[dict[str, Any]]:
    return ask("trl_policy.py", *(STEP.told() | {"kind": kind} | own for own in options))


def test_grpo_and_its_kin_from_rewards_to_gradient() -> None:
    theirs = trl("grpo", *(own for _, _, own in GRPO))
    for (method, options, own), expected in zip(GRPO, theirs, strict=True):
        assert expected["has_old"]
        assert_agree(ours(method, **options), expected, f"{method} {options} {own}")


def test_rloo_from_rewards_to_gradient() -> None:
    theirs = trl("rloo", *(own for _, _, own in RLOO))
    for (method, options, own), expected in zip(RLOO, theirs, strict=True):
        assert_agree(ours(method, **options), expected, f"{method} {options} {own}")


def test_the_first_update_where_the_policy_is_its_own_old_one() -> None:
    first = {"num_iterations": 1}
    grpo, dapo, cispo = trl(
        "grpo", first, first | {"loss_type": "dapo"}, first | {"loss_type": "cispo", "epsilon_high": 5.0}
    )
    assert not grpo["has_old"]
    assert_agree(ours("grpo", on_policy=True, kl_coef=0.0), grpo, "grpo")
    assert_agree(ours("dapo", on_policy=True), dapo, "dapo")
    assert_agree(ours("cispo", on_policy=True), cispo, "cispo")


def test_the_share_of_clipped_tokens() -> None:
    grpo, higher = trl("grpo", {}, {"loss_type": "dapo", "epsilon_high": 0.28})
    for found, theirs in ((ours("grpo", kl_coef=0.0), grpo), (ours("dapo"), higher)):
        assert found.metrics["clip_frac"] == same(theirs["metrics"]["clip_ratio/region_mean"])
        assert theirs["metrics"]["clip_ratio/low_mean"] > 0
        assert theirs["metrics"]["clip_ratio/high_mean"] > 0


def test_trl_counts_clipped_answers_under_gspo_and_rloo() -> None:
    """Ours counts the tokens of those answers."""
    (gspo,) = trl("grpo", SEQUENCE | {"epsilon_low": 0.1, "epsilon_high": 0.2})
    (rloo,) = trl("rloo", {})
    assert gspo["metrics"]["clip_ratio/region_mean"] == same(3 / 12)
    assert ours("gspo", clip_low=0.1, clip_high=0.2).metrics["clip_frac"] == same(10 / 31)
    assert rloo["metrics"]["clip_ratio/region_mean"] == same(4 / 12)
    assert ours("rloo", kl_coef=0.0).metrics["clip_frac"] == same(13 / 31)


def test_trls_cispo_means_the_largest_weight_itself() -> None:
    """So their .25 cuts every weight to .25, where ours adds it to 1; and they count a cut only where A > 0."""
    (quarter,) = trl("grpo", {"loss_type": "cispo", "epsilon_high": 0.25})
    flat = [-a * 0.25 / 31 for a in quarter["advantages"]]
    assert quarter["gradient"] == same(flat)
    assert ours("cispo", clip_high=0.25).gradient != same(flat)
    (cut,) = trl("grpo", {"loss_type": "cispo", "epsilon_high": 1.25})
    assert cut["metrics"]["cispo_clip_ratio"] < ours("cispo", clip_high=0.25).metrics["clip_frac"]


def test_trl_can_scale_by_the_spread_of_the_whole_batch() -> None:
    """No method of ours does; it is Dr. GRPO's advantage in another unit."""
    (batch,) = trl("grpo", {"scale_rewards": "batch"})
    unit = float(torch.tensor(REWARDS, dtype=torch.float64).std()) + 1e-4
    assert ours("dr-grpo").advantages == same([a * unit for a in batch["advantages"]])


def test_our_default_kl_is_k2_where_trls_is_k3() -> None:
    (k3,) = trl("grpo", {"beta": 0.04})
    assert ours("grpo", kl_estimator="k2").loss != same(k3["loss"])


def test_trls_default_kl_has_our_gradient_and_k3s_value_at_the_first_update() -> None:
    """k3 times the ratio: ∇(ρ·k3) = ∇log π · (k3 + 1 − e^{−x}) = x·∇log π at ρ = 1, which is ∇k2."""
    first = {"num_iterations": 1, "beta": 0.3}
    default, plain = trl("grpo", first | {"bias_correction": True}, first)
    k2, k3 = (ours("grpo", on_policy=True, kl_coef=0.3, kl_estimator=kind) for kind in ("k2", "k3"))
    assert default["gradient"] == same(k2.gradient)
    assert plain["gradient"] == same(k3.gradient)
    assert default["loss"] == plain["loss"] == same(k3.loss)
    assert k2.gradient != same(k3.gradient)


def test_the_step_tries_what_it_should() -> None:
    """Clips above and below, sampler weights beyond the cap and its inverse, a group that teaches nothing."""
    ratio, weights = (STEP.logprobs - STEP.old).exp(), (STEP.old - STEP.sampler).exp()
    advantages = torch.tensor(ours("grpo").advantages)
    for tried in (
        (ratio > 1.28) & (advantages > 0), (ratio > 1.28) & (advantages < 0), (ratio < 0.8) & (advantages < 0),
        (ratio < 0.8) & (advantages > 0), weights > CAP, weights < 1 / CAP, advantages == 0,
    ):  # fmt: skip
        assert bool(tried.any())
    narrow: Found = ours("gspo")
    assert 0 < narrow.metrics["clip_frac"] < 1
