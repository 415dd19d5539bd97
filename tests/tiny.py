"""Tiny random models of every family, with a small tokenizer made on the spot: the ground that tests stand on.

They have the structure of the real ones (grouped heads, sliding windows shorter than a document, soft-capping, tied
embeddings) and none of the size: hidden 32, a vocabulary of 296, fp32, always the same weights for the same seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "mistral")
VOCAB_SIZE = 296

_SENTENCES = (
    "How do you clean a dirty pan? Mix vinegar and baking soda, scrub, rinse and dry.",
    "The capital of France is Paris. The answer is short and the question is simple.",
    "Write a list of three things: bread, butter and tea. Thank you for the letter.",
    "What is the weather like in the north? It is cold and dry, and then it rains.",
)
# The way each family marks its turns; pad, bos and eos come first, so pad is id 0.
_SPECIAL_TOKENS = {
    "gemma": ("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "chatml": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "plain": ("<pad>", "<s>", "</s>"),
}
_TURNS = {"gemma2": "gemma", "gemma3_text": "gemma", "qwen2": "chatml", "qwen3": "chatml"}
_SHARED: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    # Large enough that attention is far from uniform, so that a leak or a wrong mask changes the logits visibly.
    "initializer_range": 0.2,
}
_GEMMA3_LAYERS = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
_FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "llama": (LlamaConfig, {"tie_word_embeddings": False}),
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, {"tie_word_embeddings": True}),
    "gemma2": (
        Gemma2Config,
        {
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 5.0,
        },
    ),
    "gemma3_text": (
        Gemma3TextConfig,
        {"sliding_window": 8, "num_hidden_layers": 4, "layer_types": _GEMMA3_LAYERS, "query_pre_attn_scalar": 8},
    ),
    "mistral": (MistralConfig, {"sliding_window": 8, "tie_word_embeddings": False}),
}


def tiny_tokenizer(family: str = "llama") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without a chat template: Gemma turn tokens, ChatML tokens, or neither ("plain").

    Takes a family, or one of the three by name. It puts BOS first where the family does ("plain" and Gemma).
    """
    turns = family if family in _SPECIAL_TOKENS else _TURNS.get(family, "plain")
    special = _SPECIAL_TOKENS[turns]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    if turns == "chatml":
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], eos_token=special[2])
    pad, bos, eos = special[:3]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=eos)


def tiny_model(family: str = "llama", *, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """A random fp32 model of `family` in evaluation mode; `overrides` go into its config."""
    config_class, own = _FAMILIES[family]
    tokenizer = tiny_tokenizer(family)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = config_class(**(_SHARED | own | ids | {"pad_token_id": tokenizer.pad_token_id} | overrides))
    # SDPA would leave out the soft cap on attention scores.
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
        _disturb_vectors(model)
    return model.eval()


def _disturb_vectors(model: PreTrainedModel) -> None:
    """Move norms and biases off their 1 and 0, where a mistake in using them would not show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


def tiny_folder(folder: Path, family: str = "llama", *, name: str | None = None, **overrides: Any) -> Path:
    """Save a tiny model and its tokenizer as an ordinary Hugging Face folder, `folder/name`, and return that path."""
    path = folder / (name or f"tiny-{family}")
    tiny_model(family, **overrides).save_pretrained(path)
    tiny_tokenizer(family).save_pretrained(path)
    return path
