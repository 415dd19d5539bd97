"""Write the folder of a starter model from its GGUF and check that what came out is the model that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ModelError
from tutelage.models.gguf import GgufFile, fast_tokenizer, model_config, model_weights
from tutelage.models.save import save_tokenizer

if TYPE_CHECKING:
    from tutelage.models.catalogue import Starter

ROUND_TRIP_TEXTS = (
    "How do you clean a dirty pan?",
    "  two leading blanks, a\ttab,\n\na blank line and 12345.67",
    "naïve café, 你好, 😀, ∑x²; l'été",
)


def convert_starter(starter: Starter, gguf_path: Path, folder: Path) -> None:
    """Fill `folder` with config, bf16 safetensors, generation config and tokenizer, then verify it."""
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    gguf = GgufFile(gguf_path)
    config, tokenizer = model_config(gguf), _tokenizer(starter, gguf)
    config.pad_token_id = tokenizer.pad_token_id
    save_file(model_weights(gguf), folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    (folder / "NOTICE").write_text(
        f"{starter.terms_line}.\nConverted from {starter.source_model} (GGUF {starter.quantisation}), "
        "unpacked to bfloat16; the weights were modified by that quantisation.\n",
        encoding="utf-8",
    )
    verify_starter(starter, folder)


def _tokenizer(starter: Starter, gguf: GgufFile) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokens = gguf.value("tokenizer.ggml.tokens")
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown"}
    special = {role: tokens[gguf.value(f"tokenizer.ggml.{key}_token_id")] for role, key in named.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast_tokenizer(gguf),
        pad_token=starter.pad_token,
        padding_side="left",
        model_max_length=gguf.value("{arch}.context_length"),
        clean_up_tokenization_spaces=False,
        **special,
    )
    tokenizer.chat_template = gguf.value("tokenizer.chat_template")
    return tokenizer


def verify_starter(starter: Starter, folder: Path) -> None:
    """Raise `ModelError` unless config, tokenizer and greedy continuation of `folder` are those of `starter`."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(folder)
    for key, expected in starter.config.items():
        _expect(starter, key, getattr(config, key), expected)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for token, token_id in starter.token_ids.items():
        _expect(starter, f"id of {token!r}", tokenizer.convert_tokens_to_ids(token), token_id)
    _expect(starter, "pad token", tokenizer.pad_token, starter.pad_token)
    for text in ROUND_TRIP_TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        _expect(starter, "round trip", tokenizer.decode(ids), text)
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    _expect(starter, "missing tensors", sorted(info["missing_keys"]), [])
    _expect(starter, "unexpected tensors", sorted(info["unexpected_keys"]), [])
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    _expect(starter, "tied embeddings", tied, True)
    prompt, continuation = starter.probe
    ids = tokenizer(prompt, return_tensors="pt")
    out = model.generate(
        **ids, max_new_tokens=len(tokenizer(continuation, add_special_tokens=False)["input_ids"]), do_sample=False
    )
    _expect(starter, f"continuation of {prompt!r}", tokenizer.decode(out[0, ids["input_ids"].shape[1] :]), continuation)


def _expect(starter: Starter, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ModelError(
            f"{starter.name}: after conversion {what} is {found!r}, expected {expected!r}; "
            "install the pinned versions of torch, transformers and tokenizers and run the command again"
        )
