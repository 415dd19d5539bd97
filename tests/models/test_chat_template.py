"""Chat templates for models that have none, what ends a turn, and padding that is not that token."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import tiny_folder, tiny_tokenizer
from transformers import AutoTokenizer

from tutelage.errors import ModelError
from tutelage.models.load import load_model
from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token

SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "How do you clean a pan?"}
ANSWER = {"role": "assistant", "content": "Scrub it."}
THANKS = {"role": "user", "content": "Thanks."}


def with_template(turns: str) -> Any:
    tokenizer = tiny_tokenizer(turns)
    assert ensure_chat_template(tokenizer)
    return tokenizer


def render(tokenizer: Any, *messages: dict[str, str], prompt: bool = False) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))


def test_a_tokenizer_that_has_a_template_keeps_it():
    tokenizer = tiny_tokenizer("gemma")
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    assert not ensure_chat_template(tokenizer)
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"


def test_gemma_folds_the_system_message_into_the_first_user_turn():
    assert render(with_template("gemma"), SYSTEM, QUESTION, ANSWER, THANKS, prompt=True) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHow do you clean a pan?<end_of_turn>\n"
        "<start_of_turn>model\nScrub it.<end_of_turn>\n"
        "<start_of_turn>user\nThanks.<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_chatml_keeps_the_system_message_and_has_no_bos():
    assert render(with_template("chatml"), SYSTEM, QUESTION, ANSWER) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHow do you clean a pan?<|im_end|>\n"
        "<|im_start|>assistant\nScrub it.<|im_end|>\n"
    )


def test_without_turn_tokens_eos_ends_the_answer():
    assert render(with_template("plain"), SYSTEM, QUESTION, ANSWER, THANKS, prompt=True) == (
        "<s>System:\nBe brief.\n\nUser:\nHow do you clean a pan?\n\nAssistant:\nScrub it.</s>\n\n"
        "User:\nThanks.\n\nAssistant:\n"
    )


def test_plain_has_no_bos_when_the_tokenizer_never_puts_one():
    tokenizer = tiny_tokenizer("plain")
    tokenizer.bos_token = None
    ensure_chat_template(tokenizer)
    assert render(tokenizer, QUESTION) == "User:\nHow do you clean a pan?\n\n"


@pytest.mark.parametrize("turns", ["gemma", "chatml", "plain"])
def test_the_generation_prompt_is_a_prefix_of_the_training_text(turns):
    tokenizer = with_template(turns)
    for messages in ([QUESTION], [SYSTEM, QUESTION], [SYSTEM, QUESTION, ANSWER, THANKS]):
        text, prompt = render(tokenizer, *messages, ANSWER), render(tokenizer, *messages, prompt=True)
        assert text.startswith(prompt)
        # Also in tokens: none spans the border, so what is trained is what will be generated after the prompt.
        ids, prompt_ids = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, prompt))
        assert ids[: len(prompt_ids)] == prompt_ids


@pytest.mark.parametrize("turns", ["gemma", "chatml", "plain"])
def test_blanks_at_the_ends_of_a_turn_are_dropped(turns):
    tokenizer = with_template(turns)
    padded = [{"role": message["role"], "content": f"\n {message['content']} \n"} for message in (QUESTION, ANSWER)]
    assert render(tokenizer, *padded) == render(tokenizer, QUESTION, ANSWER)


@pytest.mark.parametrize(("turns", "num_bos"), [("gemma", 1), ("plain", 1)])
def test_rendered_text_has_exactly_one_bos(turns, num_bos):
    tokenizer = with_template(turns)
    text = render(tokenizer, SYSTEM, QUESTION, ANSWER, THANKS, ANSWER)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == num_bos
    assert ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(("turns", "end"), [("gemma", "<end_of_turn>"), ("chatml", "<|im_end|>"), ("plain", "</s>")])
def test_the_token_that_ends_a_turn(turns, end):
    tokenizer = with_template(turns)
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(end)


def test_the_end_of_a_turn_is_found_in_a_foreign_template():
    tokenizer = tiny_tokenizer("gemma")
    # Text stands between the answer and the token that ends it, and eos comes only after that.
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}|{{ m.content }} [end]<end_of_turn>{{ eos_token }}{% endfor %}"
    )
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids("<end_of_turn>")


def test_a_template_that_ends_turns_with_mere_text_falls_back_to_eos():
    tokenizer = tiny_tokenizer("gemma")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert end_of_turn_id(tokenizer) == tokenizer.eos_token_id == 2


def test_templates_refuse_a_role_that_they_do_not_know():
    tool = {"role": "tool", "content": "42"}
    with pytest.raises(Exception, match="unknown role 'tool'; known: system, user, assistant"):
        render(with_template("chatml"), QUESTION, tool)
    with pytest.raises(Exception, match="a 'system' turn cannot stand here"):
        render(with_template("gemma"), QUESTION, SYSTEM)


def test_a_template_that_fails_or_drops_the_answer_is_one_line():
    tokenizer = tiny_tokenizer("gemma")
    tokenizer.chat_template = "{{ raise_exception('tools only') }}"
    with pytest.raises(ModelError) as error:
        end_of_turn_id(tokenizer)
    assert str(error.value) == (
        "the tokenizer's chat template fails on a question and an answer (tools only); correct it or remove it"
    )
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(ModelError) as error:
        end_of_turn_id(tokenizer)
    assert str(error.value) == "the tokenizer's chat template drops the assistant's answer; correct it or remove it"


def test_a_tokenizer_with_nothing_to_end_a_turn_is_refused():
    tokenizer = tiny_tokenizer("plain")
    tokenizer.eos_token = None
    with pytest.raises(ModelError) as error:
        ensure_chat_template(tokenizer)
    assert str(error.value) == ("the tokenizer has neither turn tokens nor an eos token; set its eos_token and save it")


def test_a_distinct_pad_token_is_left_alone():
    tokenizer = with_template("gemma")
    assert not ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<pad>"


@pytest.mark.parametrize("pad", [None, "<|im_end|>"])
def test_pad_becomes_a_token_that_does_not_end_a_turn(pad):
    tokenizer = with_template("chatml")
    tokenizer.pad_token = pad
    assert ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"


def test_pad_moves_off_the_end_of_turn_even_when_eos_is_another_token():
    tokenizer = with_template("gemma")
    tokenizer.pad_token = "<end_of_turn>"
    assert ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<pad>"


def test_pad_stays_eos_where_the_vocabulary_has_no_other():
    tokenizer = with_template("plain")
    tokenizer.eos_token = tokenizer.pad_token = "<pad>"  # the only name for padding that this vocabulary has
    assert not ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<pad>"


def test_the_template_is_saved_and_loaded_with_the_tokenizer(tmp_path):
    folder = tiny_folder(tmp_path, "gemma3_text")
    tokenizer = load_model(str(folder), dtype="float32").tokenizer
    ensure_chat_template(tokenizer)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert render(again, SYSTEM, QUESTION, prompt=True) == render(tokenizer, SYSTEM, QUESTION, prompt=True)
