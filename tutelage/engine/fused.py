"""Leaner versions of common layers: RMSNorm and what reads it, the gated activation and the embedding look-up.

Written as autograd functions that keep less for the backward pass and make fewer passes over memory than the
modules they stand in for. A module is replaced only after its own output and gradients were compared with ours
on a probe; anything that differs is left alone, so an unknown family loses speed, never correctness. Only
`forward` of the instance changes: names, weights and saved files stay the same. Leaves out: matrix products,
which the libraries below PyTorch do well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Readers:
    """The layers that read one norm's output; for the backward pass they compute it again, once for all of them."""

    def __init__(self, offset: float, round_first: bool) -> None:
        self.how = offset, round_first
        self.num = 0
        self._output: Tensor | None = None

    def read_again(self, x: Tensor, weight: Tensor, rstd: Tensor) -> Tensor:
        """The output, computed for the first of them and let go after the last."""
        output = self._output
        if output is None:
            output = _normalise(x.float(), weight, rstd, x.dtype, *self.how)
        self.num -= 1
        self._output = output if self.num > 0 else None
        return output


def _normalise(wide: Tensor, weight: Tensor, rstd: Tensor, dtype: torch.dtype, offset: float, first: bool) -> Tensor:
    """x / rms(x) * (weight + offset) in `dtype`; `wide` is x in fp32. It is rounded before the product, or after."""
    normed = wide * rstd
    if first:
        return normed.to(dtype) * (weight if not offset else weight + offset)
    return normed.mul_(weight.float() + offset).to(dtype)


def _rstd(wide: Tensor, eps: float) -> Tensor:
    return wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()


class _RMSNorm(torch.autograd.Function):
    """y = x / rms(x) * (weight + offset), statistics in fp32; gives y and 1 / rms(x), and keeps x and the latter."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float, round_first: bool
    ) -> tuple[Tensor, Tensor]:
        wide = x.float()
        rstd = _rstd(wide, eps)
        ctx.save_for_backward(x, weight, rstd)
        ctx.mark_non_differentiable(rstd)
        ctx.offset = offset
        return _normalise(wide, weight, rstd, x.dtype, offset, round_first), rstd

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, rstd = ctx.saved_tensors
        normed = x.float() * rstd
        wide = grad.float()
        weight_grad = (wide * normed).flatten(0, -2).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        scaled = wide * (weight.float() + ctx.offset)
        projection = (scaled * normed).mean(-1, keepdim=True)
        x_grad = scaled.sub_(normed.mul_(projection)).mul_(rstd).to(x.dtype)
        return x_grad, weight_grad, None, None, None


def _gate_gradient(grad: Tensor, gate: Tensor, name: str) -> Tensor:
    if name == "silu":
        return torch.ops.aten.silu_backward(grad, gate)
    return torch.ops.aten.gelu_backward(grad, gate, approximate="tanh")


class _GatedActivation(torch.autograd.Function):
    """act(gate) * up, keeping only gate and up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, name: str) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.name = name
        return ACTIVATIONS[name](gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        up_grad = ACTIVATIONS[ctx.name](gate).mul_(grad)
        return _gate_gradient(grad * up, gate, ctx.name), up_grad, None


class _GatedDown(torch.autograd.Function):
    """(act(gate) * up) @ weight.T, keeping only gate and up: the product's left side is computed again."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor, name: str) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        ctx.name = name
        return functional.linear(ACTIVATIONS[name](gate).mul_(up), weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        active = ACTIVATIONS[ctx.name](gate)
        weight_grad = None
        if ctx.needs_input_grad[2]:
            weight_grad = grad.flatten(0, -2).T @ (active * up).flatten(0, -2)
        inner = grad @ weight
        up_grad = active.mul_(inner)
        return _gate_gradient(inner.mul_(up), gate, ctx.name), up_grad, weight_grad, None


class _LinearAfterNorm(torch.autograd.Function):
    """x @ weight.T + bias, where x is a norm's output, which is computed again for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, readers: _Readers, *normed: Tensor) -> Tensor:
        ctx.save_for_backward(weight, *normed)
        ctx.readers = readers
        readers.num += 1
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *normed = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        weight_grad = rows.T @ ctx.readers.read_again(*normed).flatten(0, -2)
        bias_grad = rows.sum(0) if ctx.needs_input_grad[2] else None
        x_grad = grad @ weight if ctx.needs_input_grad[0] else None
        return x_grad, weight_grad, bias_grad, None, *[None] * len(normed)


class _Embedding(torch.autograd.Function):
    """weight[ids], whose gradient goes straight into `main_grad` where there is one instead of a dense copy."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, padding_idx: int | None) -> Tensor:
        ctx.save_for_backward(weight, ids)
        ctx.padding_idx = padding_idx
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, ids = ctx.saved_tensors
        main_grad = getattr(weight, "main_grad", None)
        target = torch.zeros_like(weight) if main_grad is None else main_grad
        rows = grad.flatten(0, -2).to(target.dtype)
        if ctx.padding_idx is not None:  # torch never trains the padding row by look-up
            rows = rows.masked_fill((ids.flatten() == ctx.padding_idx)[:, None], 0.0)
        target.index_add_(0, ids.flatten(), rows)
        return (target if main_grad is None else None), None, None


def _silu(x: Tensor) -> Tensor:
    return functional.silu(x)


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": _silu, "gelu_pytorch_tanh": _gelu_tanh}


def _run_norm(module: Any, eps: float, offset: float, round_first: bool, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        wide = x.float()
        return _normalise(wide, module.weight, _rstd(wide, eps), x.dtype, offset, round_first)
    output, rstd = _RMSNorm.apply(x, module.weight, eps, offset, round_first)  # type: ignore[no-untyped-call]
    output.normed = (_Readers(offset, round_first), x.detach(), module.weight.detach(), rstd)
    return output


def _run_linear(module: Any, x: Tensor) -> Tensor:
    normed = getattr(x, "normed", None)
    if normed is None or not module.weight.requires_grad or not torch.is_grad_enabled():
        return functional.linear(x, module.weight, module.bias)
    output: Tensor = _LinearAfterNorm.apply(x, module.weight, module.bias, *normed)  # type: ignore[no-untyped-call]
    return output


def is_plain_linear(module: nn.Module) -> bool:
    """Whether the module computes x·Wᵀ + b and no more, with torch's forward or with this file's."""
    own = vars(module).get("forward")
    return type(module) is nn.Linear and (own is None or getattr(own, "func", None) is _run_linear)


def _run_mlp(module: Any, name: str, x: Tensor) -> Tensor:
    gate, up, down = module.gate_proj(x), module.up_proj(x), module.down_proj
    if not torch.is_grad_enabled():
        inner: Tensor = down(ACTIVATIONS[name](gate).mul_(up))
        return inner
    if is_plain_linear(down) and down.bias is None:
        output: Tensor = _GatedDown.apply(gate, up, down.weight, name)  # type: ignore[no-untyped-call]
        return output
    return down(_GatedActivation.apply(gate, up, name))  # type: ignore[no-untyped-call]


def _run_embedding(module: Any, ids: Tensor) -> Tensor:
    found = _Embedding.apply(module.weight, ids, module.padding_idx)  # type: ignore[no-untyped-call]
    scale = getattr(module, "embed_scale", None)
    return found if scale is None else found * torch.as_tensor(scale).to(module.weight.dtype)


# Forwards are partial objects over functions of this file, not closures: a deep copy of the model then computes with
# the copy's weights, and a model can still be saved whole.
def _norm_forward(module: nn.Module, offset: float, round_first: bool) -> Callable[[Tensor], Tensor]:
    eps: Any = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return partial(_run_norm, module, eps, offset, round_first)


def _linear_forward(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return partial(_run_linear, module)


def _mlp_forward(module: Any, name: str) -> Callable[[Tensor], Tensor]:
    return partial(_run_mlp, module, name)


def _embedding_forward(module: Any) -> Callable[[Tensor], Tensor]:
    return partial(_run_embedding, module)


def _same(module: nn.Module, replacement: Callable[[Tensor], Tensor], probe: Tensor) -> bool:
    """Do module and replacement agree on the probe, in output and in the gradients of input and parameters?"""

    def run(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = probe.clone().requires_grad_(probe.is_floating_point())
        wanted = [p for p in module.parameters() if p.requires_grad] + ([x] if x.requires_grad else [])
        output = function(x)
        weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        return [output.detach(), *torch.autograd.grad((output * weights).sum(), wanted)]

    try:
        pairs = list(zip(run(module.forward), run(replacement), strict=True))
    except (TypeError, AttributeError, RuntimeError):
        return False
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)


def _probe_copy(module: nn.Module) -> nn.Module:
    """A small fp32 copy with random weights, so that a zero or one weight cannot hide a difference."""
    twin = copy.deepcopy(module).float().cpu().requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    for parameter in twin.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return twin


def _candidate_norms(module: nn.Module) -> list[Callable[[nn.Module], Callable[[Tensor], Tensor]]]:
    return [
        lambda m: _norm_forward(m, 0.0, True),
        lambda m: _norm_forward(m, 1.0, False),
        lambda m: _norm_forward(m, 0.0, False),
    ]


def _find_norm(module: nn.Module) -> Callable[[nn.Module], Callable[[Tensor], Tensor]] | None:
    twin = _probe_copy(module)
    weight = next(module.parameters())
    probe = torch.linspace(-2, 3, 4 * weight.numel()).view(1, 4, -1)
    # In fp32 the rounding order cannot be told apart, so bf16 decides between equal candidates.
    matching = [make for make in _candidate_norms(module) if _same(twin, make(twin), probe)]
    low = twin.bfloat16()
    for make in matching:
        if torch.equal(low(probe.bfloat16()), make(low)(probe.bfloat16())):
            return make
    return None


def _is_plain_norm(module: nn.Module) -> bool:
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    named = type(module).__name__.endswith("RMSNorm") and isinstance(getattr(module, "weight", None), Tensor)
    return named and isinstance(eps, float)


def _gated_name(module: Any) -> str | None:
    """The activation's name when the module is a gated MLP whose activation we know."""
    if not all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return None
    probe = torch.linspace(-4, 4, 101)
    for name, function in ACTIVATIONS.items():
        if torch.allclose(module.act_fn(probe), function(probe), atol=1e-6):
            return name
    return None


def _mlp_agrees(module: Any, name: str) -> bool:
    """Compare on the module's own weights: a forward of another shape (a router, a bias we do not know) shows here."""
    weight = next(module.parameters())
    width = getattr(module.gate_proj, "in_features", None)
    if width is None:
        return False
    probe = torch.linspace(-1, 1, 2 * width).view(1, 2, width).to(weight)
    with torch.no_grad():
        return torch.allclose(module(probe).float(), _mlp_forward(module, name)(probe).float(), rtol=1e-2, atol=1e-3)


def fuse_layers(model: nn.Module) -> dict[str, int]:
    """Replace the forwards that can be replaced; returns how many of each kind were."""
    counts = {"norm": 0, "mlp": 0, "embedding": 0, "linear": 0}
    norms: dict[tuple[type, torch.Size], Any] = {}
    for module in model.modules():
        if isinstance(vars(module).get("forward"), partial):  # done by an earlier engine on this model
            continue
        if _is_plain_norm(module):
            key = (type(module), next(module.parameters()).shape)
            if key not in norms:
                norms[key] = _find_norm(module)
            if norms[key] is not None:
                module.forward = norms[key](module)
                counts["norm"] += 1
        elif (name := _gated_name(module)) is not None and _mlp_agrees(module, name):
            module.forward = _mlp_forward(module, name)
            counts["mlp"] += 1
        elif isinstance(module, nn.Embedding) and _embedding_agrees(module):
            module.forward = _embedding_forward(module)  # type: ignore[assignment, method-assign]
            counts["embedding"] += 1
        elif is_plain_linear(module):
            module.forward = _linear_forward(module)
            counts["linear"] += 1
    return counts


def _embedding_agrees(module: nn.Embedding) -> bool:
    if module.max_norm is not None or module.sparse or module.scale_grad_by_freq:
        return False
    ids = torch.arange(min(8, module.num_embeddings), device=module.weight.device)[None]
    with torch.no_grad():
        return torch.equal(module(ids), _embedding_forward(module)(ids))
