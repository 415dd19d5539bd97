"""Prompts to answers, and what a reference or a text costs a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from tutelage.data.render import render_prompt
from tutelage.engine import answer
from tutelage.engine.answer import answer_prompts, nll_of_references, nll_of_texts, stop_ids, stream_answer
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling, generate
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.types import Message, Prompt

PROMPTS = [
    Prompt((Message("user", "How do you clean a pan?"),), reference="Scrub it."),
    Prompt(
        (
            Message("system", "Be brief."),
            Message("user", "A list?"),
            Message("assistant", "Bread."),
            Message("user", "?"),
        ),
        reference="Butter and tea.",
    ),
]


def chat_tokenizer(style: str) -> Any:
    tokenizer = tiny_tokenizer(style)
    ensure_chat_template(tokenizer)
    return tokenizer


@torch.no_grad()
def cost(model: Any, prompt: list[int], completion: list[int]) -> float:
    """-log p of the completion after the prompt, from the model's own logits."""
    logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0].double().log_softmax(-1)
    return -sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(completion))


def test_both_the_end_of_turn_and_eos_stop_an_answer() -> None:
    gemma = chat_tokenizer("gemma")
    assert stop_ids(gemma) == sorted(gemma.convert_tokens_to_ids(["<eos>", "<end_of_turn>"]))
    assert stop_ids(chat_tokenizer("plain")) == [chat_tokenizer("plain").eos_token_id]


@pytest.mark.parametrize("style", ["gemma", "chatml", "plain"])
def test_answers_are_what_was_sampled_after_the_rendered_prompt(style: str) -> None:
    model, tokenizer = tiny_model("llama"), chat_tokenizer(style)
    answers = answer_prompts(model, tokenizer, PROMPTS, Sampling(max_new_tokens=9), name="tiny")
    for prompt, found in zip(PROMPTS, answers, strict=True):
        ids = render_prompt(tokenizer, prompt.messages, end_of_turn_id(tokenizer))
        (completion,) = generate(model, [ids], Sampling(max_new_tokens=9), stop_ids=stop_ids(tokenizer), pad_id=0)
        assert found.prompt is prompt
        assert found.text == tokenizer.decode(list(completion.ids)).strip()
        assert (found.num_tokens, found.stopped, found.model) == (len(completion.ids), completion.stopped, "tiny")
        pieces: list[str] = []
        streamed = stream_answer(model, tokenizer, prompt.messages, Sampling(max_new_tokens=9), pieces.append)
        assert "".join(pieces).strip() == found.text == streamed.text


@pytest.mark.parametrize("style", ["gemma", "chatml", "plain"])
def test_a_reference_costs_its_own_tokens_and_the_end_of_turn(style: str) -> None:
    model, tokenizer = tiny_model("llama"), chat_tokenizer(style)
    end = end_of_turn_id(tokenizer)
    expected = []
    for prompt in PROMPTS:
        reference = [*tokenizer(prompt.reference, add_special_tokens=False)["input_ids"], end]
        ids = list(render_prompt(tokenizer, prompt.messages, end))
        expected.append((pytest.approx(cost(model, ids, reference), rel=1e-4), len(reference)))
    assert nll_of_references(TreeEngine(model), tokenizer, PROMPTS) == expected


def test_a_text_costs_every_token_but_its_first() -> None:
    model, tokenizer = tiny_model("llama"), chat_tokenizer("plain")
    texts = ["It is cold and dry.", "And then it rains in the north."]
    expected = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        expected.append((pytest.approx(cost(model, ids[:1], ids[1:]), rel=1e-4), len(ids) - 1))
    assert nll_of_texts(TreeEngine(model), tokenizer, texts) == expected


def test_texts_of_one_token_cost_nothing() -> None:
    model, tokenizer = tiny_model("llama"), chat_tokenizer("plain")
    assert len(tokenizer("")["input_ids"]) == 1  # the beginning of the text, which nothing predicts
    assert nll_of_texts(TreeEngine(model), tokenizer, ["", ""]) == [(0.0, 0), (0.0, 0)]


def test_the_order_and_the_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, tokenizer = TreeEngine(tiny_model("llama")), chat_tokenizer("plain")
    texts = [f"{'It is cold and dry. ' * count}Tea." for count in (3, 1, 4, 2)]
    whole = nll_of_texts(engine, tokenizer, texts)
    assert [count for _, count in whole] == [len(tokenizer(text)["input_ids"]) - 1 for text in texts]
    monkeypatch.setattr(answer, "ROW_TOKENS", 100)
    assert max(len(tokenizer(text)["input_ids"]) for text in texts) <= 100
    rows = nll_of_texts(engine, tokenizer, texts)
    assert [nll for nll, _ in rows] == pytest.approx([nll for nll, _ in whole], rel=1e-5)


def test_costs_leave_no_gradient() -> None:
    model = tiny_model("llama")
    engine, tokenizer = TreeEngine(model), chat_tokenizer("plain")
    nll_of_references(engine, tokenizer, PROMPTS)
    assert all(parameter.grad is None for parameter in model.parameters())
