"""LoRA adapters: train a small low-rank addition to each linear layer and leave the base model as it is (peft).

Leaves out how adapters are stored (`tutelage.models.save`) and loaded (`tutelage.models.load`).
Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685; W' = W + (alpha / rank) · B·A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters instead of full fine-tuning."""

    rank: int = 0
    """Rank of the added matrices; 0 trains all weights instead. 8 to 64 is usual."""
    alpha: float | None = None
    """Scale of the addition, which is alpha / rank; twice the rank unless given."""
    dropout: float = 0.0
    """Share of an adapter's inputs dropped in training, 0 to below 1."""
    target_modules: str = "all-linear"
    """Layers that get an adapter: `all-linear`, or names with commas between, e.g. `q_proj,v_proj`."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ConfigError(f"lora.rank is {self.rank}; it is 0 (off) or more")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout is {self.dropout}; it is at least 0 and below 1")
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise ConfigError(f"lora.alpha is {self.alpha}; it is a number above 0")


def is_reward_model(model: Any) -> bool:
    """Whether `model`, with adapters or without, gives a score instead of the next token."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return type(inner).__name__.endswith("ForSequenceClassification")


def add_lora(model: Any, config: LoraConfig) -> PeftModel:
    """Freeze `model` and put fresh adapters on it, in place; they change nothing until trained (B starts at 0).

    The head of a reward model is trained in full beside them, and is saved with them.
    """
    import peft

    if config.rank == 0:
        raise ConfigError("lora.rank is 0, which means no adapters; give a rank of 1 or more")
    if isinstance(model, peft.PeftModel):
        raise ConfigError("the model has an adapter already; merge it first, or go on training it with lora.rank 0")
    names = [name.strip() for name in config.target_modules.split(",") if name.strip()]
    target = "all-linear" if names == ["all-linear"] else _known_targets(model, names)
    scores = is_reward_model(model)
    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=2 * config.rank if config.alpha is None else config.alpha,
        lora_dropout=config.dropout,
        target_modules=target,
        task_type=peft.TaskType.SEQ_CLS if scores else peft.TaskType.CAUSAL_LM,
        modules_to_save=["score"] if scores else None,
    )
    return peft.get_peft_model(model, lora)


def _known_targets(model: Any, names: list[str]) -> list[str]:
    import torch

    known = {path.rpartition(".")[2] for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    known -= {"score"} if is_reward_model(model) else set()  # it is trained in full
    if unknown := [name for name in names if name not in known] or [""] * (not names):
        raise ConfigError(
            f"lora.target_modules '{unknown[0]}' names no linear layer; known: {', '.join(sorted(known))}"
        )
    return names


def merge_lora(model: PeftModel) -> Any:
    """Add the adapters into the weights of the base model, in place, and return that model as a plain one."""
    return model.merge_and_unload()
