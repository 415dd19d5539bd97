"""Greedy answers of the real starter models: ours against transformers' own `generate`, token for token."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.load import load_prompts
from tutelage.data.render import render_prompt
from tutelage.engine.answer import stop_ids
from tutelage.engine.generate import Sampling, generate
from tutelage.models.load import load_model
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token

pytestmark = [pytest.mark.slow, pytest.mark.starter]


@pytest.mark.parametrize("name", ["starter-chat", "starter-base"])
@torch.no_grad()
def test_greedy_is_transformers_token_for_token(name: str) -> None:
    """In fp32: in bf16 near-ties fall either way, and transformers differs from itself at another batch size."""
    loaded = load_model(name, dtype="float32")
    ensure_chat_template(loaded.tokenizer)
    ensure_pad_token(loaded.tokenizer)
    end, stop = end_of_turn_id(loaded.tokenizer), stop_ids(loaded.tokenizer)
    prompts = [render_prompt(loaded.tokenizer, prompt.messages, end) for prompt in load_prompts("sealed")[:6]]
    expected = []
    for prompt in prompts:
        output = loaded.model.generate(
            input_ids=torch.tensor([prompt]), do_sample=False, max_new_tokens=24, eos_token_id=stop, pad_token_id=0,
            temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
        expected.append(tuple(output[0, len(prompt) :].tolist()))
    found = generate(loaded.model, prompts, Sampling(24), stop_ids=stop, pad_id=0)
    assert [one.sampled for one in found] == expected
