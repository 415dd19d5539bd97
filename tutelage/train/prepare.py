"""What a run works on: the model and its tokenizer, the engine and the optimiser, and answers to look at on the way.

Leaves out data (`dataset`) and the loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch

from tutelage.data.load import load_prompts
from tutelage.data.render import render_prompt
from tutelage.engine.answer import answer_prompts
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling
from tutelage.engine.memory import keep_freed_memory
from tutelage.errors import ConfigError
from tutelage.models.adapt import add_lora
from tutelage.models.load import load_model
from tutelage.models.reward import load_reward_model
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
from tutelage.train.config import TrainConfig
from tutelage.train.dropout import disable_dropout, dropout_line
from tutelage.train.optimizer import AdamWSettings, MasterAdamW


def load_for_training(config: TrainConfig, sees: str, say: Callable[[str], None]) -> tuple[Any, Any]:
    """(model, tokenizer) with a chat template, a pad token and no dropout of the model's own.

    A method that sees scores gets a model with a scalar head, drawn from the run's seed where it has none yet.
    """
    options: dict[str, Any] = {
        "workspace": config.workspace, "dtype": _dtype(config), "trust_remote_code": config.trust_remote_code,
        "progress": say,
    }  # fmt: skip
    if sees == "scores":
        loaded = load_reward_model(config.model, seed=config.seed, **options)
    else:
        loaded = load_model(config.model, **options)
    if ensure_chat_template(loaded.tokenizer):
        say(f"{config.model} has no chat template; it gets ours")
    ensure_pad_token(loaded.tokenizer)
    if turned_off := disable_dropout(loaded.model):
        say(dropout_line(turned_off))
    return loaded.model, loaded.tokenizer


def _dtype(config: TrainConfig) -> str:
    return "bfloat16" if config.precision == "bf16" else "float32"


def other_engine(
    config: TrainConfig, tokenizer: Any, say: Callable[[str], None], option: str = "--ref-model"
) -> Callable[[str], TreeEngine]:
    """What loads another model, frozen, as the reference or the teacher; it must have the same tokens.

    Raises ConfigError, naming `option`, where it has others.
    """

    def load(name: str) -> TreeEngine:
        loaded = load_model(
            name, workspace=config.workspace, dtype=_dtype(config), trust_remote_code=config.trust_remote_code,
            progress=say,
        )  # fmt: skip
        _check_same_tokens(name, loaded.tokenizer, config.model, tokenizer, option)
        disable_dropout(loaded.model)
        return TreeEngine(loaded.model.requires_grad_(False))

    return load


def _check_same_tokens(name: str, theirs: Any, own_name: str, own: Any, option: str) -> None:
    other, known = theirs.get_vocab(), own.get_vocab()
    if other == known:
        return
    num_shared = len(other.items() & known.items())
    raise ConfigError(
        f"{option}: {name} has other tokens than {own_name} ({len(other)} against {len(known)}, and {num_shared} have "
        "the same number in both); give a model with the same tokenizer"
    )


def prepare(model: Any, config: TrainConfig) -> tuple[TreeEngine, MasterAdamW]:
    """The engine and the optimiser, with fresh weights drawn from the run's seed."""
    keep_freed_memory()
    torch.manual_seed(config.seed)
    dtype = model.dtype
    model = adapted(model, config)
    engine = TreeEngine(model)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if hasattr(model, "peft_config"):
            model.enable_input_require_grads()
    settings = AdamWSettings(config.beta1, config.beta2, config.adam_eps, config.weight_decay)
    return engine, MasterAdamW(model, settings, compute_dtype=dtype)


def adapted(model: Any, config: TrainConfig) -> Any:
    """The model with every weight trainable, or with fresh adapters, or with the adapter it was loaded with."""
    if config.lora.rank:
        return add_lora(model, config.lora)
    if config.merge_lora and not hasattr(model, "peft_config"):
        raise ConfigError(f"--merge-lora: {config.model} has no adapter to merge; give --lora.rank 16, or leave it out")
    return trainable(model)


def trainable(model: Any) -> Any:
    """The model with every weight trainable, or only those of the adapter that it has."""
    if not hasattr(model, "peft_config"):
        return model.requires_grad_(True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name or "modules_to_save" in name)
    return model


def sampler(config: TrainConfig, model: Any, tokenizer: Any) -> Callable[[], list[Mapping[str, Any]]]:
    """Answers to the first sealed prompts that have room in the model's context."""
    end = end_of_turn_id(tokenizer)
    room = (getattr(model.config, "max_position_embeddings", None) or sys.maxsize) - config.sample_tokens
    fitting = (p for p in load_prompts("sealed") if len(render_prompt(tokenizer, p.messages, end)) <= room)
    prompts = list(islice(fitting, config.num_samples))

    def take() -> list[Mapping[str, Any]]:
        answers = answer_prompts(model, tokenizer, prompts, Sampling(max_new_tokens=config.sample_tokens))
        return [
            {"prompt": prompt.messages[-1].content, "answer": answer.text, "stopped": answer.stopped}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    return take
