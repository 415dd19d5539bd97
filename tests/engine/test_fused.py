"""The leaner layers against the ones they stand in for, and what a model with them can still do."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import Tensor, nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3MLP, Gemma3RMSNorm, Gemma3TextScaledWordEmbedding
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

from tutelage.engine.forward import TreeEngine, tree_logprobs
from tutelage.engine.fused import fuse_layers
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree

BATCH = pack([Tree(Tokens.prompt(range(5, 12)), (Tokens.completion(range(30, 50)),))])


def shaken(module: nn.Module) -> nn.Module:
    """The module with random weights, so that a weight of 0 or 1 hides nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module


def norm_llama() -> nn.Module:
    return shaken(LlamaRMSNorm(24, eps=1e-5))


def norm_gemma() -> nn.Module:
    return shaken(Gemma3RMSNorm(24, eps=1e-6))


def norm_olmo() -> nn.Module:
    return shaken(Olmo2RMSNorm(24, eps=1e-5))


def mlp_silu() -> nn.Module:
    config = tiny_model("llama").config
    return shaken(LlamaMLP(config))


def mlp_gelu() -> nn.Module:
    return shaken(Gemma3MLP(tiny_model("gemma3_text").config))


def hidden(width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (3 * torch.randn(2, 5, width, generator=generator)).to(dtype)


def fused_twin(make: Callable[[], nn.Module], kind: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """(the original, the same module fused); says so when it was not replaced."""
    original, fused = make().to(dtype), make().to(dtype)
    assert fuse_layers(fused)[kind] == 1
    return original, fused


def values_and_gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    leaf = x.clone().requires_grad_(x.is_floating_point())
    output = module(leaf)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
    wanted = [*module.parameters()] + ([leaf] if leaf.requires_grad else [])
    return [output, *torch.autograd.grad((output * weights).sum(), wanted)]


def assert_same(module: nn.Module, fused: nn.Module, x: Tensor) -> None:
    for found, right in zip(values_and_gradients(fused, x), values_and_gradients(module, x), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5 * float(right.detach().abs().max()))


@pytest.mark.parametrize("make", [norm_llama, norm_gemma, norm_olmo])
def test_norms(make: Callable[[], nn.Module]) -> None:
    assert_same(*fused_twin(make, "norm"), hidden(24))


@pytest.mark.parametrize("make", [norm_llama, norm_gemma, norm_olmo])
@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_norms_are_bit_equal_in_bf16(make: Callable[[], nn.Module], size: float) -> None:
    original, fused = fused_twin(make, "norm", torch.bfloat16)
    x = size * hidden(24, torch.bfloat16)
    assert torch.equal(fused(x), original(x))


@pytest.mark.parametrize("make", [norm_llama, norm_gemma, norm_olmo])
def test_norms_of_tiny_inputs_show_the_epsilon(make: Callable[[], nn.Module]) -> None:
    assert_same(*fused_twin(make, "norm"), 1e-3 * hidden(24))


def test_a_norm_with_an_epsilon_of_another_name_keeps_it() -> None:
    class OddRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.epsilon = nn.Parameter(torch.ones(24)), 1e-2

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon))

    original, fused = OddRMSNorm(), OddRMSNorm()
    fuse_layers(fused)
    assert_same(original, fused, 0.03 * hidden(24))


def test_torchs_own_norm_keeps_its_epsilon() -> None:
    original, fused = nn.RMSNorm(24), nn.RMSNorm(24)
    fuse_layers(fused)
    assert_same(original, fused, 1e-3 * hidden(24))


@pytest.mark.parametrize("make", [mlp_silu, mlp_gelu])
def test_gated_activations(make: Callable[[], nn.Module]) -> None:
    assert_same(*fused_twin(make, "mlp"), 0.3 * hidden(32))


@pytest.mark.parametrize("make", [mlp_silu, mlp_gelu])
def test_gated_activations_are_bit_equal_in_bf16(make: Callable[[], nn.Module]) -> None:
    original, fused = fused_twin(make, "mlp", torch.bfloat16)
    x = hidden(32, torch.bfloat16)
    assert torch.equal(fused(x), original(x))


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """What the backward pass keeps besides the parameters."""
    kept: dict[int, int] = {}
    own = {parameter.data_ptr() for parameter in module.parameters()}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(x)
    return sum(kept.values())


def test_a_gated_mlp_keeps_its_input_and_two_products() -> None:
    _, fused = fused_twin(mlp_silu, "mlp")
    x = hidden(32).requires_grad_()
    inner = fused.up_proj.out_features
    assert saved_bytes(fused, x) == 4 * 10 * (32 + 2 * inner)  # fp32, 2 x 5 tokens


def test_a_gated_mlp_whose_last_matrix_has_a_bias_is_right_too() -> None:
    def make() -> nn.Module:
        module = mlp_silu()
        module.down_proj = nn.Linear(module.down_proj.in_features, 32)
        return shaken(module)

    assert_same(*fused_twin(make, "mlp"), 0.3 * hidden(32))


def test_frozen_weights_of_a_gated_mlp_get_no_gradient() -> None:
    original, fused = fused_twin(mlp_gelu, "mlp")
    x, y = hidden(32).requires_grad_(), hidden(32).requires_grad_()
    original(x).sum().backward()
    fused.requires_grad_(False)(y).sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    assert all(parameter.grad is None for parameter in fused.parameters())


def plain_embedding() -> nn.Module:
    return shaken(nn.Embedding(50, 12))


def embedding_with_padding() -> nn.Module:
    return shaken(nn.Embedding(50, 12, padding_idx=3))


def scaled_embedding() -> nn.Module:
    return shaken(Gemma3TextScaledWordEmbedding(50, 12, 3, embed_scale=12**0.5))


@pytest.mark.parametrize("make", [plain_embedding, embedding_with_padding, scaled_embedding])
def test_embeddings(make: Callable[[], nn.Module]) -> None:
    original, fused = make(), make()
    fuse_layers(fused)
    ids = torch.tensor([[3, 7, 7, 49], [0, 3, 1, 7]])
    assert_same(original, fused, ids)


@pytest.mark.parametrize("make", [plain_embedding, scaled_embedding])
def test_embeddings_write_into_the_optimisers_buffer(make: Callable[[], nn.Module]) -> None:
    original, fused = fused_twin(make, "embedding")
    ids = torch.tensor([[7, 7, 49], [0, 1, 7]])
    _, right = values_and_gradients(original, ids)
    weights = torch.linspace(-1, 1, ids.numel() * 12).view(2, 3, 12)
    fused.weight.main_grad = torch.zeros_like(fused.weight)
    for _ in range(2):
        (fused(ids) * weights).sum().backward()
    assert fused.weight.grad is None
    torch.testing.assert_close(fused.weight.main_grad, 2 * right)


def test_an_unknown_norm_is_left_alone() -> None:
    class SquaredRMSNorm(LlamaRMSNorm):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return super().forward(hidden_states).square()

    module = shaken(SquaredRMSNorm(24))
    assert not any(fuse_layers(module).values())
    assert "forward" not in vars(module)


def test_an_unknown_activation_is_left_alone() -> None:
    config = tiny_model("llama", hidden_act="relu").config
    assert fuse_layers(shaken(LlamaMLP(config)))["mlp"] == 0


def test_an_mlp_of_another_shape_is_left_alone() -> None:
    class Doubled(LlamaMLP):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    assert fuse_layers(shaken(Doubled(tiny_model("llama").config)))["mlp"] == 0


def test_an_embedding_with_a_norm_limit_is_left_alone() -> None:
    assert fuse_layers(nn.Embedding(9, 4, max_norm=1.0))["embedding"] == 0


def test_every_norm_mlp_and_embedding_of_a_family_is_replaced(family: str) -> None:
    model = tiny_model(family)
    norms = sum(type(module).__name__.endswith("RMSNorm") for module in model.modules())
    linear = sum(type(module) is nn.Linear for module in model.modules())
    layers = model.config.num_hidden_layers
    assert fuse_layers(model) == {"norm": norms, "mlp": layers, "embedding": 1, "linear": linear}


class NormedHeads(nn.Module):
    """Three layers that read one norm, and one that reads something else."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.norm = LlamaRMSNorm(24)
        self.heads = nn.ModuleList(nn.Linear(24, width, bias=bias) for width in (24, 8, 8))
        self.last = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return torch.cat([head(normed) for head in self.heads] + [self.last(x)], -1).square()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_reads_a_norm_has_the_same_gradients_to_the_last_bit(bias: bool, dtype: torch.dtype) -> None:
    fused = shaken(NormedHeads(bias)).to(dtype)
    assert fuse_layers(fused)["linear"] == 4
    plain = copy.deepcopy(fused)
    for head in plain.last, *plain.heads:
        del head.forward
    outputs = []
    for module in plain, fused:
        x = torch.linspace(-2, 3, 5 * 24).view(1, 5, 24).to(dtype).requires_grad_(True)
        for _ in range(2):  # a second pass begins anew
            result = module(x)
            result.float().sum().backward()
        outputs.append([result, x.grad, *(parameter.grad for parameter in module.parameters())])
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)


def test_what_reads_a_norm_can_be_walked_back_twice() -> None:
    module = shaken(NormedHeads(bias=True))
    fuse_layers(module)
    result = module(torch.linspace(-2, 3, 5 * 24).view(1, 5, 24)).sum()
    first, second = (torch.autograd.grad(result, list(module.parameters()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_frozen_layer_keeps_nothing_of_what_it_reads() -> None:
    module = shaken(NormedHeads(bias=False)).requires_grad_(False)
    fuse_layers(module)
    module.norm.weight.requires_grad_(True)
    module(torch.ones(1, 5, 24)).sum().backward()
    assert module.norm.weight.grad is not None
    assert all(parameter.grad is None for name, parameter in module.named_parameters() if name != "norm.weight")


def test_the_outputs_of_norms_are_not_kept() -> None:
    """Kept of each layer: its input and its middle, queries, keys, values, attention, gate and up."""
    model = tiny_model("llama").train()
    engine = TreeEngine(model)
    config, batch = model.config, pack([Tree(Tokens.prompt(range(3, 20)), (Tokens.completion(range(30, 61)),))])
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)
        return tensor

    alive: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        engine.logprobs(batch)
    heads, kv_heads, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    numbers = 2 * config.hidden_size + (2 * heads + 2 * kv_heads) * dim + 2 * config.intermediate_size
    layers = batch.layout.num_tokens * config.num_hidden_layers * numbers * 4
    assert sum(kept.values()) < 1.35 * layers  # with the norms' outputs it would be more


def test_names_and_files_stay_the_same(family: str, tmp_path: Any) -> None:
    plain, fused = tiny_model(family), tiny_model(family)
    fuse_layers(fused)
    assert list(fused.state_dict()) == list(plain.state_dict())
    plain.save_pretrained(tmp_path / "plain")
    fused.save_pretrained(tmp_path / "fused")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "fused" / name).read_bytes()


# A fused model is still a module like any other -----------------------------------------------------------------------


def test_a_deep_copy_computes_with_its_own_weights(family: str) -> None:
    model = tiny_model(family)
    engine = TreeEngine(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = engine.logprobs(BATCH).logprobs
        for parameter in model.parameters():
            parameter.mul_(1.5)
        assert torch.equal(tree_logprobs(twin, BATCH).logprobs, before)


def test_gradients_of_a_deep_copy_stay_in_the_copy(family: str) -> None:
    model = tiny_model(family)
    TreeEngine(model)
    twin = copy.deepcopy(model)
    tree_logprobs(twin, BATCH).logprobs.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in twin.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_second_engine_on_the_same_model(family: str, dtype: torch.dtype) -> None:
    model = tiny_model(family).to(dtype)
    with torch.no_grad():
        first = TreeEngine(model).logprobs(BATCH).logprobs
        second = TreeEngine(model)
        assert second.path == "tree"
        assert torch.equal(second.logprobs(BATCH).logprobs, first)


def test_a_fused_model_can_change_its_precision(family: str) -> None:
    model = tiny_model(family)
    TreeEngine(model)
    with torch.no_grad():
        found = tree_logprobs(model.bfloat16(), BATCH).logprobs
        assert torch.equal(found, TreeEngine(tiny_model(family).bfloat16()).logprobs(BATCH).logprobs)


def test_a_fused_module_can_be_saved_whole() -> None:
    model = tiny_model("llama")
    fuse_layers(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again(ids).logits, model(ids).logits)


def test_adapters_can_be_added_after_fusing(family: str) -> None:
    import peft

    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    torch.manual_seed(0)
    before = peft.get_peft_model(tiny_model(family), config)
    expected = TreeEngine(before).logprobs(BATCH).logprobs
    fused = tiny_model(family)
    TreeEngine(fused)
    torch.manual_seed(0)
    after = peft.get_peft_model(fused, config)
    found = tree_logprobs(after, BATCH).logprobs
    assert torch.equal(found, expected)
    found.sum().backward()
    assert all(parameter.grad is not None for name, parameter in after.named_parameters() if "lora_" in name)


def test_an_embedding_saved_beside_the_adapter_is_trained_itself() -> None:
    """peft deep-copies `modules_to_save`; the copy must not look up the original's rows."""
    import peft

    model = tiny_model("llama")
    TreeEngine(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, modules_to_save=["embed_tokens"]))
    tree_logprobs(adapted, BATCH).logprobs.sum().backward()
    copies = [p for name, p in adapted.named_parameters() if "modules_to_save" in name]
    assert len(copies) == 1
    assert copies[0].grad is not None
