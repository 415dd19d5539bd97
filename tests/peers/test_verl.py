"""Our advantages, losses and KL estimates against verl 0.9's `core_algos`: `make test-peers`.

What has other names or defaults there:

- the standard deviation of a group is Bessel's, and 1e-6 is added to it: `std_eps=1e-6`; ours is 1e-4;
- advantages by GAE are whitened, rewards are not: `whiten_rewards=False`;
- token losses are put together by `loss_agg_mode`: token-mean is `token-mean`, seq-mean-token-mean `sequence-mean`,
  seq-mean-token-sum `sequence-sum`, and seq-mean-token-sum-norm `constant`, where `loss_scale_factor` is what for us is
  `max_new_tokens`;
- CISPO's `clip_ratio_low` and `clip_ratio_high` are taken off 1 and added to it, as ours; in TRL they are not;
- a sampler weight is cut by a threshold (`truncate`), or zeroed outside of two (`mask`, "lower_upper").

verl also keeps log ratios within ±20, which no number here comes near.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from asking import ask
from practice import LENGTHS, STEP, Practice, advantages, assert_agree, ours, same

from tutelage.methods.advantages import whiten
from tutelage.methods.policy import k1, k2, k3
from tutelage.methods.registry import LossBatch, find_method

pytestmark = pytest.mark.peers

AS_VERL = {"std_eps": 1e-6}
NO_STD = {"options": {"norm_adv_by_std_in_grpo": False}}
NEVER = 1e9
"""A bound so far away that nothing reaches it."""


def verl(kind: str, *jobs: dict[str, Any], step: Practice = STEP) -> list[Any]:
    return ask("verl_policy.py", *(step.told() | {"kind": kind} | job for job in jobs))


ADVANTAGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ppo", {"whiten_rewards": False}, {"estimator": "gae", "kl_coef": 0.05, "options": {"gamma": 1.0, "lam": 0.95}}),
    (
        "ppo",
        {"whiten_rewards": False, "kl_coef": 0.3, "gamma": 0.9, "lam": 0.7},
        {"estimator": "gae", "kl_coef": 0.3, "options": {"gamma": 0.9, "lam": 0.7}},
    ),
    ("grpo", AS_VERL, {"estimator": "grpo"}),
    ("dapo", AS_VERL, {"estimator": "grpo"}),
    ("dr-grpo", {}, {"estimator": "grpo"} | NO_STD),
    ("rloo", {"kl_coef": 0.0}, {"estimator": "rloo"}),
    ("rloo", {"kl_coef": 0.3}, {"estimator": "rloo", "kl_coef": 0.3}),
    ("rloo", {"kl_coef": 0.3}, {"estimator": "rloo_vectorized", "kl_coef": 0.3}),
    ("reinforce++", {}, {"estimator": "reinforce++", "kl_coef": 0.01, "options": {"gamma": 1.0}}),
    (
        "reinforce++",
        {"kl_coef": 0.3, "gamma": 0.9},
        {"estimator": "reinforce++", "kl_coef": 0.3, "options": {"gamma": 0.9}},
    ),
    ("reinforce++", {"baseline": "group", "kl_coef": 0.0}, {"estimator": "reinforce++-baseline"}),
]


def test_advantages() -> None:
    theirs = verl("advantages", *(job for _, _, job in ADVANTAGES))
    for (method, options, job), expected in zip(ADVANTAGES, theirs, strict=True):
        found = advantages(method, **options)
        assert found["advantages"].tolist() == same(expected["advantages"]), f"{method} {options} {job}"
        if "returns" in found:
            assert found["returns"].tolist() == same(expected["returns"]), f"{method} {options} {job}"


GAE = {"estimator": "gae", "options": {"gamma": 1.0, "lam": 0.95}, "kl_coef": 0.05}
VANILLA = {"loss": "vanilla", "estimator": "grpo", "config": {}}
HIGHER = {"clip_ratio_high": 0.28}
NARROW = {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4}
TRUNCATE = {"mismatch": "truncate", "mismatch_cap": 1.3}
MASK = {"mismatch": "mask", "mismatch_cap": 1.3}
BAND = {"rollout_is_threshold": f"{1 / 1.3}_1.3"}
TOKENS, SEQUENCES = {"aggregation": "token-mean"}, {"aggregation": "seq-mean-token-mean"}

LOSSES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ppo", {"whiten_rewards": False}, VANILLA | GAE | TOKENS),
    ("grpo", AS_VERL | {"kl_coef": 0.0}, VANILLA | SEQUENCES),
    (
        "grpo",
        AS_VERL | {"kl_coef": 0.0, "aggregation": "sequence-sum"},
        VANILLA | {"aggregation": "seq-mean-token-sum"},
    ),
    ("dapo", AS_VERL, VANILLA | TOKENS | {"config": HIGHER}),
    (
        "dr-grpo",
        {"max_new_tokens": 7},
        VANILLA | NO_STD | {"aggregation": "seq-mean-token-sum-norm", "loss_scale_factor": 7},
    ),
    (
        "reinforce++",
        {"kl_coef": 0.3, "gamma": 0.9},
        VANILLA | TOKENS | {"estimator": "reinforce++", "kl_coef": 0.3, "options": {"gamma": 0.9}},
    ),
    ("gspo", AS_VERL, VANILLA | SEQUENCES | {"loss": "gspo", "config": NARROW}),
    (
        "gspo",
        AS_VERL | {"clip_low": 0.1, "clip_high": 0.2, "aggregation": "token-mean"},
        VANILLA | TOKENS | {"loss": "gspo", "config": {"clip_ratio_low": 0.1}},
    ),
    (
        "cispo",
        AS_VERL | {"clip_low": 0.2, "clip_high": 0.28},
        VANILLA | TOKENS | {"loss": "cispo", "config": HIGHER},
    ),
    ("dapo", AS_VERL | TRUNCATE, VANILLA | TOKENS | {"config": HIGHER, "rollout_is_threshold": 1.3}),
    ("dapo", AS_VERL | MASK, VANILLA | TOKENS | BAND | {"config": HIGHER}),
    (
        "cispo",
        AS_VERL | TRUNCATE | {"clip_low": 0.2, "clip_high": 0.28},
        VANILLA | TOKENS | {"loss": "cispo", "config": HIGHER, "rollout_is_threshold": 1.3},
    ),
]


def test_losses_from_rewards_to_gradient_and_the_share_of_clipped_tokens() -> None:
    theirs = verl("policy", *(job for _, _, job in LOSSES))
    for (method, options, job), expected in zip(LOSSES, theirs, strict=True):
        found = ours(method, **options)
        assert_agree(found, expected, f"{method} {options} {job}")
        assert found.metrics["clip_frac"] == same(expected["metrics"]["actor/pg_clipfrac"]), f"{method} {options}"


def test_the_first_update_of_rloo_is_reinforce() -> None:
    """Where every ratio is 1, a whole answer's ratio has the gradient of its tokens' ratios, each summed."""
    job = VANILLA | {"estimator": "rloo", "aggregation": "seq-mean-token-sum", "on_policy": True}
    (theirs,) = verl("policy", job)
    found = ours("rloo", on_policy=True, kl_coef=0.0)
    assert found.advantages == same(theirs["advantages"])
    assert found.gradient == same(theirs["gradient"])


def test_verl_weighs_gspos_tokens_one_by_one_for_the_sampler() -> None:
    """Their ratio of an answer has each token's own gradient, so a token gets its own weight of trainer over sampler.

    Ours, and TRL's, is a mean over the answer, so its tokens share the mean of their weights: the same loss, and the
    same gradient on average over the answer.
    """
    job = VANILLA | SEQUENCES | BAND | {"loss": "gspo", "config": NARROW}
    (theirs,) = verl("policy", job)
    found = ours("gspo", **AS_VERL, **MASK)
    assert found.loss == same(theirs["loss"])
    assert found.gradient != same(theirs["gradient"])
    gradient = torch.tensor(theirs["gradient"], dtype=torch.float64)
    shared = [row.mean().expand_as(row) for row in gradient.split(LENGTHS)]
    assert found.gradient == same(torch.cat(shared).tolist())


@pytest.mark.parametrize(("how", "aggregation"), [("token-mean", TOKENS), ("sequence-mean", SEQUENCES)])
def test_kl_estimates_as_they_are_and_as_losses(how: str, aggregation: dict[str, str]) -> None:
    jobs = verl("kl", *({"estimator": name} | aggregation for name in ("k1", "k2", "k3")))
    moved = STEP.logprobs - STEP.ref
    for tokens, theirs in zip((k1(moved), k2(moved), k3(-moved)), jobs, strict=True):
        assert tokens.tolist() == same(theirs["tokens"])
    without = ours("grpo", kl_coef=0.0, aggregation=how)
    for name, theirs in (("k2", jobs[1]), ("k3", jobs[2])):
        found = ours("grpo", kl_coef=0.7, kl_estimator=name, aggregation=how)
        assert (found.loss - without.loss) / 0.7 == same(theirs["loss"])
        gained = [(a - b) / 0.7 for a, b in zip(found.gradient, without.gradient, strict=True)]
        assert gained == same(theirs["gradient"])


def test_verl_cuts_k3_at_ten_nats() -> None:
    """A token that the reference finds e⁴ times as probable: e⁴ − 1 − 4 = 49.6, and there verl has no gradient."""
    job = {"kind": "kl", "estimator": "k3", "old": [[0.0]], "logprobs": [[-5.0]], "ref": [[-1.0]]} | TOKENS
    (theirs,) = ask("verl_policy.py", job)
    assert theirs["tokens"] == [10.0]
    assert theirs["gradient"] == [0.0]
    assert float(k3(torch.tensor(4.0))) == pytest.approx(math.exp(4) - 5)


def test_the_clipped_value_loss() -> None:
    returns, index = advantages("ppo")["returns"], STEP.sequence_index
    jobs = [{"returns": STEP.rows(returns), "clip": clip} for clip in (0.2, 1.0, NEVER)]
    for clip, theirs in zip((0.2, 1.0, 0.0), verl("value", *jobs), strict=True):  # 0 is our way to say never
        values = STEP.new_values.clone().requires_grad_()
        tokens = {"returns": returns, "old_values": STEP.values}
        batch = LossBatch(values, index, torch.tensor(STEP.groups), tokens=tokens)
        loss = find_method("ppo")(value_clip=clip).value_losses(values, batch).mean()
        loss.backward()
        assert values.grad is not None
        assert float(loss.detach()) == same(theirs["loss"])
        assert values.grad.tolist() == same(theirs["gradient"])


def test_whitening_with_and_without_the_mean() -> None:
    shifted, kept = verl("whiten", {"shift_mean": True}, {"shift_mean": False})
    assert whiten(STEP.values).tolist() == same(shifted)
    assert whiten(STEP.values, shift_mean=False).tolist() == same(kept)


def test_the_adaptive_kl_coefficient() -> None:
    """verl feeds it a token's mean KL, ours an answer's (as Ziegler et al.), so targets are not to be carried over."""
    seen = [1.0, 12.0, 6.5, 5.0, 6.0]
    (theirs,) = verl("controller", {"kl_coef": 0.1, "target": 6.0, "horizon": 100, "num": 8, "seen": seen})
    method, found = find_method("ppo")(kl_coef=0.1, kl_target=6.0, kl_horizon=100), []
    for kl in seen:
        found.append(method.next_kl_coef(found[-1] if found else 0.1, kl, 8))
    assert found == same(theirs)


def test_verl_bounds_the_loss_where_a_bad_answer_has_become_likely() -> None:
    """Dual clip: for A < 0 no loss above −3·A, where PPO's paper goes on; a large `clip_ratio_c` undoes it."""
    bad = torch.tensor(ours("grpo").advantages) < 0
    step = dataclasses.replace(STEP, logprobs=torch.where(bad, STEP.old + math.log(4), STEP.logprobs))
    off = VANILLA | SEQUENCES | {"config": {"clip_ratio_c": NEVER}}
    default, without = verl("policy", VANILLA | SEQUENCES, off, step=step)
    found = ours("grpo", step, **AS_VERL, kl_coef=0.0)
    assert_agree(found, without, "without the dual clip")
    assert default["loss"] < found.loss
    assert [g for g, low in zip(default["gradient"], bad.tolist(), strict=True) if low] == same([0.0] * int(bad.sum()))


def test_an_answer_alone_of_its_group_teaches_us_nothing() -> None:
    """verl takes its reward as it is for GRPO and for RLOO, but not for its vectorised RLOO."""
    groups = (*STEP.groups[:-1], 3)
    step = dataclasses.replace(STEP, groups=groups)
    grpo, rloo, vectorized = verl(
        "advantages", *({"estimator": name} for name in ("grpo", "rloo", "rloo_vectorized")), step=step
    )
    assert LENGTHS[-1] == 1
    assert grpo["advantages"][-1] == same(STEP.rewards[-1])
    assert rloo["advantages"][-1] == same(STEP.rewards[-1])
    assert vectorized["advantages"][-1] == 0
    assert advantages("grpo", step)["advantages"][-1] == 0
    mine = advantages("rloo", step, kl_coef=0.0)["advantages"].tolist()
    assert mine == same(vectorized["advantages"])


def test_verls_reinforce_with_a_baseline_sums_kl_over_the_answer() -> None:
    """Its KL enters the group's mean and every token; ours stays with the token and what comes after it."""
    (theirs,) = verl("advantages", {"estimator": "reinforce++-baseline", "kl_coef": 0.3})
    mine = advantages("reinforce++", baseline="group", kl_coef=0.3)["advantages"].tolist()
    assert len(set(theirs["advantages"][:3])) == 1
    assert len(set(mine[:3])) == 3


def test_it_is_the_version_that_is_written_about() -> None:
    (found,) = verl("version", {})
    assert found.startswith("0.9")
