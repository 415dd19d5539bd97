"""Our distillation against TRL 1.16's GKDTrainer, loss and gradient of the student's logits: `make test-peers`.

`beta` means the same in both, the ends included. TRL divides by the number of tokens: our `--aggregation token-mean`.
It has one `temperature` for sampling and for the loss, .9 unless told; neither loss has a factor of its square.
Not here and so not compared: `lmbda` below 1 (answers from data) and `seq_kd`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asking import ask
from torch import Tensor

from tutelage.engine.divergence import Side, chunked_divergence
from tutelage.engine.logprobs import Head
from tutelage.methods.registry import LossBatch, find_method

pytestmark = pytest.mark.peers

VOCAB, LENGTHS = 3000, (7, 3, 5)
BETAS, TEMPERATURES = (0.0, 0.1, 0.5, 0.9, 1.0), (1.0, 0.9, 2.0)


def logits(seed: int) -> Tensor:
    """`(3, 7, vocab)`, answers of 7, 3 and 5 tokens; what stands after their ends is not to matter."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(len(LENGTHS), max(LENGTHS), VOCAB, generator=generator, dtype=torch.float64)


STUDENT, TEACHER = logits(0), logits(1)
INSIDE = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def theirs() -> list[dict[str, Any]]:
    labels = torch.where(INSIDE, 1, -100).tolist()
    given = {"student": STUDENT.tolist(), "teacher": TEACHER.tolist(), "labels": labels}
    return ask("trl_distill.py", *(given | {"beta": b, "temperature": t} for b in BETAS for t in TEMPERATURES))


def ours(beta: float, temperature: float) -> tuple[float, Tensor]:
    """Hidden states are unit vectors, so that the head's weights are the logits."""
    student, teacher = STUDENT[INSIDE].T.clone().requires_grad_(), TEACHER[INSIDE].T
    hidden = torch.eye(sum(LENGTHS), dtype=torch.float64)
    found = chunked_divergence(
        Side(hidden, Head(student)), Side(hidden, Head(teacher)), torch.zeros(len(hidden), dtype=torch.long),
        beta=beta, num_vocab=VOCAB, temperature=temperature,
    )  # fmt: skip
    tokens = {
        "divergence": found.divergence, "teacher_logprobs": found.teacher_logprobs,
        "advantages": torch.ones(len(hidden), dtype=torch.float64),
    }  # fmt: skip
    sequences = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    batch = LossBatch(found.logprobs, sequences, torch.arange(len(LENGTHS)), tokens=tokens)
    method = find_method("distill")(beta=beta, distill_temperature=temperature, aggregation="token-mean")
    loss = method.loss(batch)
    (gradient,) = torch.autograd.grad(loss.total / loss.weight, student)
    return float(loss.total.detach()) / loss.weight, gradient.T


def test_loss_and_gradient() -> None:
    asked = [(beta, temperature) for beta in BETAS for temperature in TEMPERATURES]
    for (beta, temperature), expected in zip(asked, theirs(), strict=True):
        loss, gradient = ours(beta, temperature)
        assert loss == pytest.approx(expected["loss"], rel=1e-9), (beta, temperature)
        right = torch.tensor(expected["gradient"], dtype=torch.float64)
        torch.testing.assert_close(gradient, right, rtol=1e-8, atol=1e-12)
