"""Turn the GGUF file of a starter model into an ordinary Hugging Face folder: plain bf16 weights and a tokenizer.

The quantised weights are unpacked once, so what comes out has the precision of the GGUF, not of the original release.
Covers the two layouts that the starter models need, Gemma 3 text and Llama; any other GGUF is a `ModelError`.
transformers reads GGUF as well, but between 5.16 and 5.19 the same file gave different tokens, and a model that could
be saved or not; docs/decisions/001-starter-models.md has the particulars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tutelage.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL: never part of a text, e.g. <bos>
_USER_DEFINED_TOKEN = 4  # gguf.TokenType.USER_DEFINED: always matched whole, e.g. "\n\n" in Gemma
_UNPACK_BYTES = 4_000_000
_SPACE = "▁"  # how a SentencePiece vocabulary spells a blank

_SHARED_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES = {
    "llama": _SHARED_NAMES | {"ffn_norm": "post_attention_layernorm"},
    "gemma3": _SHARED_NAMES
    | {
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}


class GgufFile:
    """A GGUF file opened for reading: its metadata by key and its tensors, unpacked one at a time."""

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        self._reader = GGUFReader(path)
        self.architecture: str = self.value("general.architecture")
        if self.architecture not in _NAMES:
            raise ModelError(
                f"{path.name}: GGUF architecture '{self.architecture}' cannot be converted; known: gemma3, llama"
            )

    def value(self, key: str, default: Any = None) -> Any:
        """The metadata value of `key`; `{arch}` in it stands for the architecture."""
        field = self._reader.fields.get(key.replace("{arch}", getattr(self, "architecture", "")))
        return default if field is None else field.contents()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and unpacked values in fp32; the next one is unpacked only when it is asked for."""
        for tensor in self._reader.tensors:
            yield tensor.name, torch.from_numpy(_unpack(tensor.data, tensor.tensor_type))


def _unpack(data: np.ndarray, kind: Any) -> np.ndarray:
    """Unpack some rows at a time: unpacking makes temporaries several times the size of its result."""
    from gguf import dequantize

    num_rows = max(1, _UNPACK_BYTES // max(1, data[0].nbytes))
    chunks = [dequantize(data[start : start + num_rows], kind) for start in range(0, len(data), num_rows)]
    return np.concatenate(chunks)


def model_config(gguf: GgufFile) -> Any:
    """The transformers config that the metadata describe."""
    from transformers import Gemma3TextConfig, LlamaConfig

    tokens = gguf.value("tokenizer.ggml.tokens")
    num_heads, hidden_size = gguf.value("{arch}.attention.head_count"), gguf.value("{arch}.embedding_length")
    rope_theta = gguf.value("{arch}.rope.freq_base")
    shared: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": hidden_size,
        "intermediate_size": gguf.value("{arch}.feed_forward_length"),
        "num_hidden_layers": gguf.value("{arch}.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": gguf.value("{arch}.attention.head_count_kv"),
        "head_dim": gguf.value("{arch}.attention.key_length", hidden_size // num_heads),
        # The file stores fp32, so 1e-6 reads as 9.9999999747e-07.
        "rms_norm_eps": float(f"{gguf.value('{arch}.attention.layer_norm_rms_epsilon'):.6g}"),
        "max_position_embeddings": gguf.value("{arch}.context_length"),
        "bos_token_id": gguf.value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": gguf.value("tokenizer.ggml.eos_token_id"),
        "pad_token_id": gguf.value("tokenizer.ggml.padding_token_id"),
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
    if gguf.architecture == "llama":
        rope = {"rope_type": "default", "rope_theta": rope_theta}
        return LlamaConfig(rope_parameters=rope, architectures=["LlamaForCausalLM"], **shared)
    return Gemma3TextConfig(
        sliding_window=gguf.value("{arch}.attention.sliding_window"),
        # Not in the file: Gemma 3 has one full-attention layer in six, and 10 000 as the base of the sliding ones.
        layer_types=_gemma3_layer_types(shared["num_hidden_layers"]),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        query_pre_attn_scalar=shared["head_dim"],
        architectures=["Gemma3ForCausalLM"],
        **shared,
    )


def _gemma3_layer_types(num_layers: int) -> list[str]:
    return ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(num_layers)]


def model_weights(gguf: GgufFile) -> dict[str, torch.Tensor]:
    """All tensors in bf16 under their Hugging Face names."""
    num_heads = {
        "attn_q": gguf.value("{arch}.attention.head_count"),
        "attn_k": gguf.value("{arch}.attention.head_count_kv"),
    }
    weights = {}
    for name, values in gguf.tensors():
        block, part = _split_name(name)
        if gguf.architecture == "llama" and part in num_heads:
            own = _undo_rotary_order(values, num_heads[part])
        elif gguf.architecture == "gemma3" and part.endswith("norm"):
            own = values - 1.0  # GGUF stores 1 + w, the factor itself; Hugging Face stores w
        else:
            own = values
        weights[block + _NAMES[gguf.architecture][part] + ".weight"] = own.bfloat16()
    return weights


def _split_name(name: str) -> tuple[str, str]:
    """`blk.3.attn_q.weight` → (`model.layers.3.`, `attn_q`); tensors outside the layers have no prefix."""
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if match is None:
        raise ModelError(f"GGUF tensor '{name}' has no place in a Gemma 3 or Llama model")
    layer, part = match.groups()
    return ("" if layer is None else f"model.layers.{layer}."), part


def _undo_rotary_order(values: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of q or k, `(num_heads * head_dim, hidden)`, from GGUF's interleaved rotary pairs back to halves."""
    num_rows, num_columns = values.shape
    pairs = values.reshape(num_heads, num_rows // num_heads // 2, 2, num_columns)
    return pairs.transpose(1, 2).reshape(num_rows, num_columns)


def fast_tokenizer(gguf: GgufFile) -> Tokenizer:
    """The tokenizer of the `tokenizers` library that the metadata describe, special tokens included."""
    from tokenizers import AddedToken

    kind, pre = gguf.value("tokenizer.ggml.model"), gguf.value("tokenizer.ggml.pre")
    tokens: list[str] = gguf.value("tokenizer.ggml.tokens")
    if kind == "llama" and gguf.architecture == "gemma3":
        tokens = [_SPACE * len(token) if token.strip(" ") == "" else token for token in tokens]
        tokenizer = _gemma_tokenizer(tokens)
    elif kind == "gpt2" and pre == "smollm":
        tokenizer = _smollm_tokenizer(tokens, gguf.value("tokenizer.ggml.merges"))
    else:
        raise ModelError(
            f"GGUF tokenizer '{kind}' with pre-tokenizer '{pre}' cannot be converted; known: gemma, smollm"
        )
    types: Sequence[int] = gguf.value("tokenizer.ggml.token_type")
    typed = list(zip(tokens, types, strict=True))
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token, kind in typed if kind == _CONTROL_TOKEN]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in typed if kind == _USER_DEFINED_TOKEN])
    return tokenizer


def _gemma_tokenizer(tokens: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocab = {token: index for index, token in enumerate(tokens)}
    bpe = models.BPE(vocab, _merges_by_rank(vocab), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", vocab["<bos>"])]
    )
    return tokenizer


def _merges_by_rank(vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every way to join two tokens into a third; joins that make earlier tokens come first, as in training."""
    merges = []
    for token, rank in vocab.items():
        for cut in range(1, len(token)):
            left, right = vocab.get(token[:cut]), vocab.get(token[cut:])
            if left is not None and right is not None:
                merges.append((rank, left, right, token[:cut], token[cut:]))
    merges.sort()
    return [(left, right) for *_, left, right in merges]


def _smollm_tokenizer(tokens: Sequence[str], merges: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {token: index for index, token in enumerate(tokens)}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
