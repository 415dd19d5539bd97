"""Adapters merged into their layers while a model samples, and packed weights: both make each step cheaper.

The layers' own weights are kept and put back as they were, to the last bit. Leaves out adapters other than LoRA on
linear layers, which stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tutelage.engine.fused import is_plain_linear

PACK_FROM = 50_000
"""Weights with fewer numbers are not worth packing."""
PACK_BYTES = 2 * 2**30
"""Room for packed copies of a model's layers; what does not fit is computed from the weights themselves."""


@contextmanager
def merged_adapters(model: nn.Module) -> Iterator[None]:
    """Inside, every LoRA layer is a plain linear layer with weight W + (alpha / rank) · B·A in W's own precision."""
    places = list(_lora_places(model)) if hasattr(model, "peft_config") else []
    before: list[Tensor] = []
    try:
        for parent, name, layer in places:
            base = layer.get_base_layer()
            before.append(base.weight.data)
            base.weight.data = _merged_weight(layer)
            setattr(parent, name, base)
        yield
    finally:
        for (parent, name, layer), weight in zip(places, before, strict=False):
            layer.get_base_layer().weight.data = weight
            setattr(parent, name, layer)


def _lora_places(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """(parent, name, layer) of every LoRA layer that does no more than add to a linear layer."""
    from peft.tuners.lora import Linear

    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is Linear and not layer.merged and not layer.disable_adapters and not layer.lora_variant:
                yield parent, name, layer


def _merged_weight(layer: Any) -> Tensor:
    weight: Tensor = layer.get_base_layer().weight.data
    added = sum(
        layer.scaling[name] * (layer.lora_B[name].weight.float() @ layer.lora_A[name].weight.float())
        for name in layer.active_adapters if name in layer.lora_A
    )  # fmt: skip
    if isinstance(added, int):
        return weight
    whole = weight.float() + (added.T if layer.fan_in_fan_out else added)
    return whole.to(weight.dtype)


READ_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers that read the same input one after the other: their weights are packed as one."""


@contextmanager
def packed_layers(model: nn.Module) -> Iterator[None]:
    """Inside, linear layers compute with packed copies of their weights, as many as there is room for."""
    room = PACK_BYTES
    before: list[tuple[nn.Module, Any]] = []
    try:
        for layers in _read_together(model):
            room -= sum(layer.weight.nbytes for layer in layers)
            if room >= 0:
                before += [(layer, vars(layer).get("forward")) for layer in layers]
                for layer, forward in zip(layers, packed_together(layers), strict=True):
                    layer.forward = forward  # type: ignore[assignment, method-assign]
        yield
    finally:
        for module, own in before:
            del module.forward
            if own is not None:
                module.forward = own


def _read_together(model: nn.Module) -> Iterator[list[nn.Linear]]:
    """Every layer that can be packed, with those that read what it reads."""
    for parent in list(model.modules()):
        children = {
            name: child for name, child in parent.named_children()
            if isinstance(child, nn.Linear) and is_plain_linear(child) and can_pack(child.weight)
        }  # fmt: skip
        for names in READ_TOGETHER:
            found = [children[name] for name in names if name in children]
            if len(found) == len(names) and len({(one.in_features, one.bias is None) for one in found}) == 1:
                yield found
                children = {name: child for name, child in children.items() if name not in names}
        yield from ([child] for child in children.values())


def packed_together(layers: Sequence[nn.Linear]) -> list[Callable[[Tensor], Tensor]]:
    """A forward for each of the layers; given the same input in turn, they compute one product together."""
    if len(layers) == 1:
        return [packed_linear(layers[0].weight, layers[0].bias)]
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    product = packed_linear(
        torch.cat([layer.weight.detach() for layer in layers]), torch.cat(biases) if biases else None
    )
    sizes = [layer.out_features for layer in layers]
    waiting: list[Tensor] = []  # the input, and what the layers after the first will give for it

    def first(x: Tensor) -> Tensor:
        own, *others = product(x).split(sizes, -1)
        waiting[:] = [x, *others]
        return own

    def later(place: int) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            if len(waiting) <= place or waiting[0] is not x:
                return functional.linear(x, layers[place].weight, layers[place].bias)
            found = waiting[place]
            if place == len(layers) - 1:
                waiting.clear()
            return found

        return forward

    return [first, *(later(place) for place in range(1, len(layers)))]


def can_pack(weight: Tensor) -> bool:
    """Whether this processor has kernels that read the weight in a layout of their own."""
    return (
        weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and weight.numel() >= PACK_FROM
        and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )  # fmt: skip


def packed_linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x ↦ x·Wᵀ + b, with the weight laid out once as the processor's kernels read it where that is possible.

    Holds a copy of the weight, as it is now.
    """
    if not can_pack(weight):
        return lambda x: functional.linear(x, weight, bias)
    operators = torch.ops.mkldnn
    packed = operators._reorder_linear_weight(weight.detach())
    return lambda x: operators._linear_pointwise(x, packed, bias, "none", [], "")
