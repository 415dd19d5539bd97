"""AdamW on fp32 master weights, whatever precision the model computes in.

Each trainable parameter gets an fp32 master, an fp32 gradient buffer (`parameter.main_grad`) and Adam's two moments.
Gradients are added to the buffer as autograd produces them, so accumulating micro-batches never rounds to bf16 and no
`.grad` is kept; engine functions write into the buffer directly. After a step the masters are copied into the model.
Leaves out: the learning rate's course (`schedule`), and saving (`checkpoint`): `tensors()` gives what must be saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.errors import TrainingError


@dataclass(frozen=True)
class AdamWSettings:
    """The optimiser's constants; the learning rate arrives with each step."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0


def decays(name: str, parameter: Tensor) -> bool:
    """Weight decay applies to matrices only: not to biases, norms and embeddings."""
    return parameter.ndim >= 2 and not any(part in name for part in ("embed", "norm", "bias", "lm_head", "wte", "wpe"))


class MasterAdamW:
    """Owns the masters, the gradient buffers and the moments of every trainable parameter of a model."""

    def __init__(self, model: nn.Module, settings: AdamWSettings, compute_dtype: torch.dtype | None = None) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise TrainingError("the model has no trainable parameters")
        self.masters = {name: p.detach().to(torch.float32, copy=True) for name, p in self.parameters.items()}
        self.gradients = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        self.optimizer = torch.optim.AdamW(
            list(self._groups(settings)), lr=0.0, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True
        )
        self._prepare(compute_dtype)

    def _groups(self, settings: AdamWSettings) -> Iterator[dict[str, object]]:
        for decay in (True, False):
            chosen = [self.masters[name] for name, p in self.parameters.items() if decays(name, p) == decay]
            if chosen:
                yield {"params": chosen, "weight_decay": settings.weight_decay if decay else 0.0}

    def _prepare(self, compute_dtype: torch.dtype | None) -> None:
        for name, parameter in self.parameters.items():
            if compute_dtype is not None:  # fresh adapters are fp32; they compute in what the model computes in
                parameter.data = parameter.data.to(compute_dtype)
            master = self.masters[name]
            master.grad = self.gradients[name]
            parameter.main_grad = master.grad  # type: ignore[attr-defined]
            parameter.register_post_accumulate_grad_hook(_move_to_main_grad)
            self.optimizer.state[master] = {
                "step": torch.tensor(0.0, dtype=torch.float32),
                "exp_avg": torch.zeros_like(master),
                "exp_avg_sq": torch.zeros_like(master),
            }

    def scale_gradients(self, factor: float) -> None:
        """Multiply every accumulated gradient, e.g. by one over the step's weight."""
        torch._foreach_mul_(list(self.gradients.values()), factor)

    def gradient_norm(self) -> float:
        """L2 norm of all accumulated gradients together."""
        norms = torch._foreach_norm(list(self.gradients.values()))
        return float(torch.stack(norms).norm())

    def step(self, learning_rate: float, max_grad_norm: float, divisor: float = 1.0) -> float:
        """One update with gradients divided by `divisor`; returns their norm before clipping.

        Division and clipping are one multiplication. Raises TrainingError, with the weights as they were, when the norm
        is not finite.
        """
        norm = self.gradient_norm() / divisor
        if not norm < float("inf"):
            raise TrainingError(f"the gradient norm is {norm}")
        clip = min(1.0, max_grad_norm / (norm + 1e-6)) if max_grad_norm else 1.0
        self.scale_gradients(clip / divisor)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.zero_gradients()
        self.publish()
        return norm

    def zero_gradients(self) -> None:
        torch._foreach_zero_(list(self.gradients.values()))

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the model."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.masters[name])

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold, by name; loading copies into these same tensors."""
        saved = {}
        for name, master in self.masters.items():
            state = self.optimizer.state[master]
            saved[f"master.{name}"] = master
            saved[f"exp_avg.{name}"] = state["exp_avg"]
            saved[f"exp_avg_sq.{name}"] = state["exp_avg_sq"]
            saved[f"step.{name}"] = state["step"]
        return saved

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            odd = sorted(own.keys() ^ tensors.keys())[0]
            raise TrainingError(f"the checkpoint belongs to another model or LoRA setting: '{odd}' is on one side only")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.publish()


def _move_to_main_grad(parameter: Tensor) -> None:
    if parameter.grad is None:  # an engine function wrote into the buffer itself
        return
    parameter.main_grad.add_(parameter.grad)  # type: ignore[attr-defined]
    parameter.grad = None
