"""A model kept ready: its pieces, several answers at once, stop texts, and being cut off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import tiny_model, tiny_tokenizer

from tutelage.engine import live
from tutelage.engine.answer import decode_answer
from tutelage.engine.generate import Sampling, generate
from tutelage.engine.live import LiveModel, Pieces
from tutelage.errors import ConfigError, DataError
from tutelage.models.template import ensure_bare_template
from tutelage.types import Message

TOKENIZER = tiny_tokenizer("llama")
ASKED = (Message("user", "How do you clean a pan?"),)


def ready(family: str = "llama") -> LiveModel:
    tokenizer = tiny_tokenizer(family)
    ensure_bare_template(tokenizer)
    return LiveModel(tiny_model(family), tokenizer)


def spoken(one: LiveModel, sampling: Sampling, num: int = 1, most: int = 10**9) -> tuple[list[str], list[Any]]:
    """(the pieces of each answer joined, the answers); cut off after `most` pieces."""
    texts, count = [""] * num, 0

    def emit(index: int, piece: str) -> None:
        nonlocal count
        count += 1
        texts[index] += piece

    found = one.answer(one.render(ASKED, 500), sampling, num, emit, lambda: count < most)
    return texts, found


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=2))
@example("a\x00b", ["\x00"])
@example("a\x00b", ["\N{REPLACEMENT CHARACTER}"])
def test_pieces_add_up_to_the_answer(text: str, stop: list[str]) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    pieces = Pieces(TOKENIZER, stop)
    taken = [pieces.take(ids[:end]) for end in range(1, len(ids) + 1)]
    whole = "".join(taken) + pieces.take(ids, last=True)
    assert whole == pieces.text == decode_answer(TOKENIZER, ids, stop).replace("\x00", "\ufffd")


def test_half_a_stop_text_is_held_back_until_it_is_known() -> None:
    pieces = Pieces(TOKENIZER, ["END"])
    ids = TOKENIZER("a EN b END c", add_special_tokens=False)["input_ids"]
    taken = [pieces.take(ids[:end]) for end in range(1, len(ids) + 1)]
    assert "".join(taken) == "a EN b"
    assert not any(piece[-1:] == "E" for piece in taken)


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gemma2"])
def test_one_answer_is_what_a_batch_gives(family: str) -> None:
    sampling = Sampling(max_new_tokens=20, temperature=0.9, seed=5)
    with ready(family) as one:
        prompt = one.render(ASKED, 500)
        texts, (found,) = spoken(one, sampling)
        assert spoken(one, sampling)[1] == [found]  # and the same again, with what is kept
    (expected,) = generate(one.model, [prompt], sampling, stop_ids=one.stop_ids, pad_id=0)
    assert found.text == texts[0] == decode_answer(one.tokenizer, expected.ids).replace("\x00", "\ufffd")
    assert (found.num_tokens, found.stopped) == (len(expected.ids), expected.stopped)


def test_several_answers_at_once_differ_and_the_first_is_what_it_would_be_alone() -> None:
    sampling = Sampling(max_new_tokens=12, temperature=1.0, seed=3)
    with ready() as one:
        texts, found = spoken(one, sampling, num=3)
        alone = spoken(one, sampling)[1][0]
    assert texts == [each.text for each in found]
    assert len(set(texts)) == 3
    assert found[0] == alone


def test_an_answer_is_cut_off_when_told() -> None:
    with ready() as one:
        texts, (found,) = spoken(one, Sampling(max_new_tokens=200), most=3)
        assert not found.stopped
        assert found.num_tokens < 60
        assert found.text == texts[0]
        assert spoken(one, Sampling(max_new_tokens=4))[1][0].num_tokens <= 4  # and goes on with the next


def test_a_stop_text_ends_an_answer() -> None:
    with ready() as one:
        (whole,) = spoken(one, Sampling(max_new_tokens=40))[1]
        stop = whole.text[10:13]
        (found,) = spoken(one, Sampling(max_new_tokens=40, stop=(stop,)))[1]
    assert found.stopped
    assert found.text == whole.text[: whole.text.index(stop)].strip()


def test_a_model_that_our_sampler_cannot_run_answers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with ready() as one:
        (whole,) = spoken(one, Sampling(max_new_tokens=40))[1]
    monkeypatch.setattr(live, "why_not", lambda model: "for a test")
    with ready() as one:
        texts, found = spoken(one, Sampling(max_new_tokens=40), num=2)
        assert texts == [whole.text] * 2
        assert found[0] == whole
        stop = whole.text[10:13]
        (ended,) = spoken(one, Sampling(max_new_tokens=40, stop=(stop,)))[1]
        assert (ended.text, ended.stopped) == (whole.text[: whole.text.index(stop)].strip(), True)
        drawn = spoken(one, Sampling(max_new_tokens=12, temperature=1.0), num=2)[0]
        assert drawn[0] != drawn[1]
        assert spoken(one, Sampling(max_new_tokens=300), most=3)[1][0].num_tokens < 60


def test_a_conversation_that_is_too_long_is_refused() -> None:
    with ready() as one:
        with pytest.raises(DataError, match="at most 5 are read here"):
            one.render(ASKED, 5)
        with pytest.raises(ConfigError, match="the model's context is 512"):
            one.render((Message("user", "word " * 600),), 10**6)
