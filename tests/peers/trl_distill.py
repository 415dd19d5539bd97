"""Runs in the environment that has TRL: GKDTrainer's loss and its gradient, one JSON array in, one out."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from trl.experimental.gkd import GKDTrainer


def answer(job: dict[str, Any]) -> dict[str, Any]:
    student = torch.tensor(job["student"], dtype=torch.float64).requires_grad_()
    teacher, labels = torch.tensor(job["teacher"], dtype=torch.float64), torch.tensor(job["labels"])
    loss = GKDTrainer.generalized_jsd_loss(student, teacher, labels, beta=job["beta"], temperature=job["temperature"])
    loss.backward()
    assert student.grad is not None
    return {"loss": float(loss.detach()), "gradient": student.grad[labels != -100].tolist()}


if __name__ == "__main__":
    print(json.dumps([answer(job) for job in json.load(sys.stdin)]))
