"""Write a tiny model as GGUF, the way llama.cpp's converter does, for the tests that read it back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from tiny import tiny_model, tiny_tokenizer
from transformers import PreTrainedConfig, PreTrainedModel

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS = {
    "llama": {"post_attention_layernorm": "ffn_norm"},
    "gemma3": {
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    },
}
# A vocabulary in SentencePiece's spelling. Special tokens, then tokens matched whole, bytes, and pieces in merge order.
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
GEMMA_WHOLE = ["\n", "\n\n", "  ", "   "]
GEMMA_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
GEMMA_PIECES = ["th", "the", "an", "pan", "▁the", "▁", *"abcdehilnoprstuwy"]
GEMMA_TOKENS = [*GEMMA_SPECIAL, *GEMMA_WHOLE, *GEMMA_BYTES, *GEMMA_PIECES]


def tiny_gemma(**overrides: object) -> PreTrainedModel:
    """A Gemma 3 whose config is what a GGUF implies: one full-attention layer in six."""
    layers = ["sliding_attention"] * 5 + ["full_attention"]
    shape = {"num_hidden_layers": 6, "layer_types": layers, "vocab_size": len(GEMMA_TOKENS), "bos_token_id": 2}
    return bf16_exact(tiny_model("gemma3_text", **(shape | {"eos_token_id": 1} | overrides)))


def tiny_smollm() -> PreTrainedModel:
    """A tied Llama with the tiny ChatML tokenizer's vocabulary."""
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return bf16_exact(tiny_model("llama", tie_word_embeddings=True, **ids))


def bf16_exact(model: PreTrainedModel) -> PreTrainedModel:
    """Round the weights to what bf16 can hold (norms so that 1 + w is exact too), so a round trip can be exact."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 64).round() / 64 if parameter.ndim == 1 else parameter.bfloat16())
    return model


def write_gguf(path: Path, model: PreTrainedModel, *, quantised: bool = False) -> Path:
    """Write `model` with its tokenizer to `path`; with `quantised`, the MLP as Q8_0."""
    config, is_gemma = model.config, model.config.model_type == "gemma3_text"
    architecture = "gemma3" if is_gemma else "llama"
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(1_000_000.0 if is_gemma else 10_000.0)
    if is_gemma:
        writer.add_key_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    _add_tokenizer(writer, is_gemma)
    for name, parameter in model.named_parameters():
        _add_tensor(writer, name, parameter, config, quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tensor(
    writer: GGUFWriter, name: str, parameter: torch.Tensor, config: PreTrainedConfig, quantised: bool
) -> None:
    values = parameter.detach().float().numpy()
    is_gemma = config.model_type == "gemma3_text"
    layer, part = name.removesuffix(".weight"), ""
    if layer.startswith("model.layers."):
        number, layer = layer.removeprefix("model.layers.").split(".", 1)
        part = f"blk.{number}."
    if is_gemma and "norm" in layer:
        values = values + 1
    if not is_gemma and layer.endswith(("q_proj", "k_proj")):
        heads = config.num_attention_heads if layer.endswith("q_proj") else config.num_key_value_heads
        rows, columns = values.shape
        values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    gguf_name = part + (NAMES | NORMS["gemma3" if is_gemma else "llama"])[layer] + ".weight"
    if quantised and "mlp" in layer:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(gguf_name, quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(gguf_name, np.ascontiguousarray(values))


def _add_tokenizer(writer: GGUFWriter, is_gemma: bool) -> None:
    if is_gemma:
        kinds = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.BYTE, TokenType.NORMAL)
        groups = (GEMMA_SPECIAL, GEMMA_WHOLE, GEMMA_BYTES, GEMMA_PIECES)
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(GEMMA_TOKENS)
        writer.add_token_scores([-1000.0] * len(GEMMA_TOKENS))
        writer.add_token_types([kind for kind, group in zip(kinds, groups, strict=True) for _ in group])
        ids = (2, 1, 3, 0)
    else:
        tokenizer = tiny_tokenizer("chatml")
        vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list([token for token, _ in vocab])
        writer.add_token_types([TokenType.CONTROL if index < 3 else TokenType.NORMAL for _, index in vocab])
        writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer.backend_tokenizer.to_str())])
        writer.add_chat_template(
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        )
        ids = (1, 2, 0, 2)
    writer.add_bos_token_id(ids[0])
    writer.add_eos_token_id(ids[1])
    writer.add_unk_token_id(ids[2])
    writer.add_pad_token_id(ids[3])


def _merges(tokenizer_json: str) -> list[list[str]]:
    return list(json.loads(tokenizer_json)["model"]["merges"])
