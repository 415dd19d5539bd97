"""What PPO trains or learns from beside the policy: the critic, and the likelihood of other data (PPO-ptx).

Leaves out a critic that shares the policy's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tree, TreeBatch
from tutelage.errors import ConfigError, TrainingError
from tutelage.methods.registry import LossBatch
from tutelage.models.adapt import add_lora
from tutelage.models.reward import load_reward_model, score_head
from tutelage.train.config import TrainConfig
from tutelage.train.dropout import disable_dropout
from tutelage.train.optimizer import AdamWSettings, MasterAdamW
from tutelage.train.prepare import trainable

PREFIX = "critic."


@dataclass
class Critic:
    """A model of its own that says what is still to come, and its optimiser."""

    engine: TreeEngine
    optimizer: MasterAdamW
    learning_rate: float
    warmup_steps: int = 0
    offset: Callable[[], float] = lambda: 0.0
    """Added to every value: rewards are shifted, and a critic made of a reward model starts from unshifted scores."""

    def values(self, batch: TreeBatch) -> Tensor:
        """`(num_targets,)` fp32, the value of the state before each trained token, differentiable."""
        return self.engine.values(batch) + self.offset()

    def learn(
        self, method: Any, trees: Sequence[Tree], rate: float, max_grad_norm: float
    ) -> dict[str, tuple[float, float]]:
        """One update on these trees; the value loss and how much of the returns it explains, as sums and weights."""
        device = next(self.engine.model.parameters()).device
        total = errors = spread = weight = 0.0
        returns = torch.cat([tree.token_values["returns"] for tree in trees])
        for row in split_by_budget(trees, self.engine.row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(device)
            values = self.values(batch)
            seen = LossBatch(
                values, batch.sequence_index, batch.tree_index, values=batch.values, tokens=batch.token_values
            )
            losses = method.value_losses(values, seen)
            (method.vf_coef * losses.sum()).backward()
            total, weight = total + float(losses.detach().sum()), weight + len(losses)
            gap = batch.token_values["returns"] - values.detach()
            errors += float(gap.square().sum())
        spread = float((returns - returns.mean()).square().sum())
        norm = self.optimizer.step(rate, max_grad_norm, weight)
        found = {"value_loss": (total, weight), "value_grad_norm": (norm, 1.0)}
        return found | ({"value_explained": (spread - errors, spread)} if spread > 0 else {})

    def tensors(self) -> dict[str, Tensor]:
        return {PREFIX + name: tensor for name, tensor in self.optimizer.tensors().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        self.optimizer.load(own)


def make_critic(
    config: TrainConfig, method: Any, name: str | None, tokenizer: Any, rate: float, say: Callable[[str], None]
) -> Critic:
    """A critic from the model `name`: a reward model keeps its head, a language model gets one of zeros.

    Where the policy trains adapters, so does the critic, and its head in full.
    Without a name it is the policy's starting point. Raises ConfigError when its tokens are not the policy's.
    """
    dtype = "bfloat16" if config.precision == "bf16" else "float32"
    loaded = load_reward_model(
        name or config.model, workspace=config.workspace, dtype=dtype, seed=config.seed,
        trust_remote_code=config.trust_remote_code, progress=say,
    )  # fmt: skip
    if loaded.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"--critic: {name} has other tokens than {config.model}; give a critic with the same tokenizer, "
            f"e.g. --critic {config.model}"
        )
    if name is None or not _is_trained(loaded.path):
        torch.nn.init.zeros_(score_head(loaded.model).weight)
    disable_dropout(loaded.model)
    compute_dtype = loaded.model.dtype
    is_plain = not hasattr(loaded.model, "peft_config")
    model = add_lora(loaded.model, config.lora) if config.lora.rank and is_plain else trainable(loaded.model)
    engine = TreeEngine(model)
    engine.model.train()
    settings = AdamWSettings(config.beta1, config.beta2, config.adam_eps, config.weight_decay)
    optimizer = MasterAdamW(model, settings, compute_dtype=compute_dtype)
    return Critic(engine, optimizer, method.critic_learning_rate or 10 * rate, method.critic_warmup)


def _is_trained(path: Any) -> bool:
    from tutelage.models.find import kind_of

    return kind_of(path) == "reward model"


@dataclass
class PretrainingMix:
    """γ·E[log π] on other data, added to each update (Ouyang et al. 2022, equation 2)."""

    trees: list[Tree]
    coef: float
    batch: int
    seed: int

    def accumulate(self, engine: TreeEngine, optimizer: MasterAdamW, step: int, number: int, weight: float) -> float:
        """Add the gradient of γ times the mean NLL per token, times the update's weight; returns its norm without that.

        The update divides by that weight. Must come before any other gradient of the update.
        """
        generator = np.random.default_rng([self.seed, 5, step, number])
        chosen = [self.trees[i] for i in generator.integers(len(self.trees), size=self.batch).tolist()]
        num_tokens = sum(tree.num_trained_tokens for tree in chosen)
        device = next(engine.model.parameters()).device
        for row in split_by_budget(chosen, engine.row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(device)
            loss = -engine.logprobs(batch).logprobs.sum()
            (loss * (self.coef * weight / num_tokens)).backward()
        norm = optimizer.gradient_norm() / weight
        if not norm < float("inf"):
            raise TrainingError(f"the gradient norm of --ptx-data is {norm}; look at that data")
        return norm
