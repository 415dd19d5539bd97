"""Runs in the environment that has TRL: its own loss code on given logprobs, one JSON object in, one out.

The trainers are not built; their loss methods run on a stand-in that has the attributes they read, and on one for the
model that hands out the given logprobs.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from trl import DPOTrainer, RewardTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.kto_trainer import KTOTrainer


class Accelerator:
    device = torch.device("cpu")

    def gather(self, value: Any) -> Any:
        return value

    gather_for_metrics = gather


def trainer(**own: Any) -> Any:
    common = {
        "accelerator": Accelerator(), "model": SimpleNamespace(training=True), "_total_train_tokens": 0, "_tp_size": 1,
        "_metrics": defaultdict(lambda: defaultdict(list)), "aux_loss_enabled": False, "precompute_ref_logps": True,
        "ld_alpha": None, "f_divergence_type": "reverse_kl", "use_weighting": False, "loss_weights": [1.0],
    }  # fmt: skip
    return SimpleNamespace(**common | own)


def padded(sides: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(logprobs `(num, longest)`, completion mask `(num, longest + 1)`): a prompt of one token before each answer."""
    longest = max(map(len, sides))
    logprobs, mask = torch.zeros(len(sides), longest), torch.zeros(len(sides), longest + 1, dtype=torch.long)
    for row, side in enumerate(sides):
        logprobs[row, : len(side)] = torch.tensor(side)
        mask[row, 1 : len(side) + 1] = 1
    return logprobs, mask


def outputs(logprobs: torch.Tensor) -> Any:
    nothing = torch.zeros_like(logprobs)
    return SimpleNamespace(log_probs=logprobs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def dpo(job: dict[str, Any]) -> float:
    logprobs, mask = padded([job["chosen"], job["rejected"]])
    inputs = {
        "input_ids": torch.ones_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
        "ref_chosen_logps": torch.tensor([job["ref_chosen"]]),
        "ref_rejected_logps": torch.tensor([job["ref_rejected"]]),
    }  # fmt: skip
    own = {"loss_types": [job["loss_type"]], "args": SimpleNamespace(discopop_tau=0.05)}
    own |= {key: job[key] for key in ("beta", "label_smoothing", "f_divergence_type") if key in job}
    return float(DPOTrainer._compute_loss(trainer(**own), lambda **_: outputs(logprobs), inputs, False))


def kto(job: dict[str, Any]) -> float:
    logprobs, mask = padded([job["chosen"], job["rejected"]])
    batch = {
        "input_ids": torch.ones_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
        "label": torch.tensor([True, False]), "ref_logps": torch.tensor([job["ref_chosen"], job["ref_rejected"]]),
        "ref_KL_logps": torch.tensor([0.0, 0.0]),
    }  # fmt: skip
    own = {
        "loss_type": "kto",
        "calculate_KL": True,
        **{key: job[key] for key in ("beta", "desirable_weight", "undesirable_weight")},
    }
    own["_compute_kl_logps"] = lambda *_: torch.tensor([job["kl"], job["kl"]])
    return float(KTOTrainer._compute_loss(trainer(**own), lambda **_: outputs(logprobs), batch, False))


def reward(job: dict[str, Any]) -> float:
    scores = SimpleNamespace(logits=torch.tensor([[job["chosen"]], [job["rejected"]]]))
    inputs = {"attention_mask": torch.ones(2, 1)} | (
        {"margin": torch.tensor([job["margin"]])} if "margin" in job else {}
    )
    own = {"args": SimpleNamespace(center_rewards_coefficient=job.get("centre"))}
    return float(RewardTrainer.compute_loss(trainer(**own), lambda **_: scores, inputs))


def cpo(job: dict[str, Any]) -> float:
    own = {"alpha": 0.0, "label_smoothing": 0.0, **{key: job[key] for key in ("beta", "loss_type", "simpo_gamma")}}
    losses, _, _ = CPOTrainer.cpo_loss(trainer(**own), torch.tensor([job["chosen"]]), torch.tensor([job["rejected"]]))
    return float(losses.mean())


def orpo(job: dict[str, Any]) -> float:
    """The part with the odds alone, as it is subtracted from the NLL."""
    losses = ORPOTrainer.odds_ratio_loss(
        trainer(beta=job["beta"]), torch.tensor([job["chosen"]]), torch.tensor([job["rejected"]])
    )[0]
    return float(losses.mean())


if __name__ == "__main__":
    KINDS = {"dpo": dpo, "kto": kto, "reward": reward, "cpo": cpo, "orpo": orpo}
    print(json.dumps([KINDS[job["kind"]](job) for job in json.load(sys.stdin)]))
