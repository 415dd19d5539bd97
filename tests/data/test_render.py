"""From conversations to ids and masks: what is trained on, read back as text and compared."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny import tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data.render import Rendered, render_conversation, render_prompt
from tutelage.errors import DataError
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.types import Conversation, Message, Source

STYLES = ("gemma", "chatml", "plain")
SYSTEM = Message("system", "Be brief.")
ASK, ANSWER = Message("user", "How do you clean a pan?"), Message("assistant", "Mix vinegar and soda. Scrub.")
AGAIN, SECOND = Message("user", "And then?"), Message("assistant", "Rinse it.")
# Hides the thoughts of every turn but the last, as reasoning models' templates do.
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_template(style: str, template: str | None = None) -> Any:
    tokenizer = tiny_tokenizer(style)
    tokenizer.chat_template = template
    ensure_chat_template(tokenizer)
    return tokenizer


TOKENIZERS = {style: with_template(style) for style in STYLES}


def rendered(tokenizer: Any, *messages: Message) -> list[Rendered]:
    return render_conversation(tokenizer, Conversation(messages), end_of_turn_id(tokenizer))


def prompt_of(tokenizer: Any, *messages: Message) -> tuple[int, ...]:
    return render_prompt(tokenizer, messages, end_of_turn_id(tokenizer))


def runs(tokenizer: Any, sequence: Rendered) -> list[tuple[bool, str]]:
    """The text of each run of tokens with the same mask."""
    pieces: list[tuple[bool, list[int]]] = []
    for token, trained in zip(sequence.ids, sequence.mask, strict=True):
        if not pieces or pieces[-1][0] != trained:
            pieces.append((trained, []))
        pieces[-1][1].append(token)
    return [(trained, tokenizer.decode(ids)) for trained, ids in pieces]


def test_gemma_trains_every_answer_and_its_end_of_turn() -> None:
    tokenizer = TOKENIZERS["gemma"]
    (sequence,) = rendered(tokenizer, SYSTEM, ASK, ANSWER, AGAIN, SECOND)
    asked = "<bos><start_of_turn>user\nBe brief.\n\nHow do you clean a pan?<end_of_turn>\n<start_of_turn>model\n"
    assert runs(tokenizer, sequence) == [
        (False, asked),
        (True, "Mix vinegar and soda. Scrub.<end_of_turn>"),
        (False, "\n<start_of_turn>user\nAnd then?<end_of_turn>\n<start_of_turn>model\n"),
        (True, "Rinse it.<end_of_turn>"),
    ]


def test_chatml_trains_every_answer_and_its_end_of_turn() -> None:
    tokenizer = TOKENIZERS["chatml"]
    (sequence,) = rendered(tokenizer, SYSTEM, ASK, ANSWER, AGAIN, SECOND)
    system = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert runs(tokenizer, sequence) == [
        (False, f"{system}<|im_start|>user\nHow do you clean a pan?<|im_end|>\n<|im_start|>assistant\n"),
        (True, "Mix vinegar and soda. Scrub.<|im_end|>"),
        (False, "\n<|im_start|>user\nAnd then?<|im_end|>\n<|im_start|>assistant\n"),
        (True, "Rinse it.<|im_end|>"),
    ]


def test_plain_trains_every_answer_and_eos() -> None:
    tokenizer = TOKENIZERS["plain"]
    (sequence,) = rendered(tokenizer, SYSTEM, ASK, ANSWER, AGAIN, SECOND)
    assert runs(tokenizer, sequence) == [
        (False, "<s>System:\nBe brief.\n\nUser:\nHow do you clean a pan?\n\nAssistant:\n"),
        (True, "Mix vinegar and soda. Scrub.</s>"),
        (False, "\n\nUser:\nAnd then?\n\nAssistant:\n"),
        (True, "Rinse it.</s>"),
    ]


@pytest.mark.parametrize("style", STYLES)
def test_one_bos_and_one_system_prompt(style: str) -> None:
    tokenizer = TOKENIZERS[style]
    (sequence,) = rendered(tokenizer, SYSTEM, ASK, ANSWER, AGAIN, SECOND)
    if tokenizer.bos_token_id is not None:
        assert [place for place, token in enumerate(sequence.ids) if token == tokenizer.bos_token_id] == [0]
    assert tokenizer.decode(list(sequence.ids)).count("Be brief.") == 1


@pytest.mark.parametrize("style", STYLES)
def test_pad_equal_to_the_end_of_turn_does_not_erase_it(style: str) -> None:
    tokenizer = with_template(style)
    end = end_of_turn_id(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    (sequence,) = rendered(tokenizer, ASK, ANSWER, AGAIN, SECOND)
    assert tokenizer.pad_token_id == end
    ends = [trained for token, trained in zip(sequence.ids, sequence.mask, strict=True) if token == end]
    assert ends.count(True) == 2
    assert sequence.ids[-1] == end
    assert sequence.mask[-1]


def test_a_template_without_an_end_of_turn_gets_the_stop_token_all_the_same() -> None:
    tokenizer = with_template("plain", "{% for m in messages %}{{ m.content }}\n{% endfor %}")
    (sequence,) = rendered(tokenizer, ASK, ANSWER)
    assert runs(tokenizer, sequence) == [(False, f"{ASK.content}\n"), (True, f"{ANSWER.content}\n</s>")]


def test_a_stop_token_that_the_template_does_not_write_stands_in_no_history() -> None:
    tokenizer = with_template("plain", "{% for m in messages %}{{ m.content }}\n{% endfor %}")
    first, second = rendered(tokenizer, ASK, ANSWER, AGAIN, SECOND)
    assert runs(tokenizer, first) == [(False, f"{ASK.content}\n"), (True, f"{ANSWER.content}\n</s>")]
    asked = f"{ASK.content}\n{ANSWER.content}\n{AGAIN.content}\n"
    assert runs(tokenizer, second) == [(False, asked), (True, f"{SECOND.content}\n</s>")]


@pytest.mark.parametrize("style", STYLES)
def test_training_ids_are_prompt_ids_and_then_completion_ids(style: str) -> None:
    tokenizer = TOKENIZERS[style]
    (sequence,) = rendered(tokenizer, SYSTEM, ASK, ANSWER, AGAIN, SECOND)
    for messages, answer in (((SYSTEM, ASK), ANSWER), ((SYSTEM, ASK, ANSWER, AGAIN), SECOND)):
        prompt = prompt_of(tokenizer, *messages)
        completion = (*tokenizer(answer.content, add_special_tokens=False)["input_ids"], end_of_turn_id(tokenizer))
        assert sequence.ids[: len(prompt) + len(completion)] == prompt + completion
        assert sequence.mask[len(prompt) : len(prompt) + len(completion)] == (True,) * len(completion)
        assert not sequence.mask[len(prompt) - 1]


def test_a_template_that_rewrites_history_gives_one_sequence_a_turn() -> None:
    tokenizer = with_template("chatml", FORGETFUL)
    thought, more = (
        Message("assistant", "<think>Fat.</think>Scrub."),
        Message("assistant", "<think>Soap.</think>Rinse."),
    )
    first, second = rendered(tokenizer, ASK, thought, AGAIN, more)
    asked = "<|im_start|>user\nHow do you clean a pan?<|im_end|>\n<|im_start|>assistant\n"
    assert runs(tokenizer, first) == [(False, asked), (True, "<think>Fat.</think>Scrub.<|im_end|>")]
    assert runs(tokenizer, second) == [
        (False, f"{asked}Scrub.<|im_end|>\n<|im_start|>user\nAnd then?<|im_end|>\n<|im_start|>assistant\n"),
        (True, "<think>Soap.</think>Rinse.<|im_end|>"),
    ]
    assert prompt_of(tokenizer, ASK, thought, AGAIN) == second.ids[: second.mask.index(True)]


def test_a_template_that_rewrites_history_keeps_one_sequence_where_there_is_nothing_to_rewrite() -> None:
    tokenizer = with_template("chatml", FORGETFUL)
    assert len(rendered(tokenizer, ASK, ANSWER, AGAIN, SECOND)) == 1


def test_thoughts_that_the_template_drops_even_from_the_answer_are_not_trained_on() -> None:
    template = FORGETFUL.replace("m.content if loop.last else ", "")
    tokenizer = with_template("chatml", template)
    (sequence,) = rendered(tokenizer, ASK, Message("assistant", "<think>Fat.</think>Scrub."))
    assert runs(tokenizer, sequence)[-1] == (True, "Scrub.<|im_end|>")


@pytest.mark.parametrize(
    ("style", "token"),
    [
        ("gemma", "<bos>"),
        ("gemma", "<end_of_turn>"),
        ("gemma", "<start_of_turn>"),
        ("gemma", "<eos>"),
        ("chatml", "<|im_end|>"),
        ("chatml", "<|im_start|>"),
        ("chatml", "<|endoftext|>"),
        ("plain", "</s>"),
        ("plain", "<s>"),
    ],
)
def test_a_control_token_inside_a_message_is_an_error(style: str, token: str) -> None:
    tokenizer = TOKENIZERS[style]
    messages = (ASK, Message("assistant", f"Scrub it.{token} Yes."))
    conversation = Conversation(messages, source=Source("pairs.jsonl", 7))
    with pytest.raises(DataError) as caught:
        render_conversation(tokenizer, conversation, end_of_turn_id(tokenizer))
    assert str(caught.value) == (
        f"pairs.jsonl:7 field 'messages[1].content': holds the control token '{token}', as text that was rendered "
        "already does; give the plain text"
    )


def test_rendering_twice_fails_loudly() -> None:
    tokenizer = TOKENIZERS["chatml"]
    text = tokenizer.apply_chat_template([{"role": "user", "content": "How?"}], tokenize=False)
    with pytest.raises(DataError, match=r"^field 'messages\[0\]\.content': holds the control token"):
        prompt_of(tokenizer, Message("user", text))


def test_a_token_that_is_special_elsewhere_is_plain_text_here() -> None:
    tokenizer = TOKENIZERS["gemma"]
    (sequence,) = rendered(tokenizer, ASK, Message("assistant", "Write </s> or <|im_end|> by hand."))
    assert runs(tokenizer, sequence)[-1] == (True, "Write </s> or <|im_end|> by hand.<end_of_turn>")


def test_a_conversation_that_the_template_refuses_is_one_line() -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    )
    tokenizer = with_template("plain", template)
    conversation = Conversation((SYSTEM, ASK, ANSWER), source=Source("pairs.jsonl", 3))
    with pytest.raises(DataError) as caught:
        render_conversation(tokenizer, conversation, end_of_turn_id(tokenizer))
    assert str(caught.value) == (
        "pairs.jsonl:3: the model's chat template refuses this conversation (System role not supported); "
        "change the conversation, or use a model whose template takes it"
    )


# Tokenizers that put a space before any text, as SentencePiece does

PREFIX_SPACES: dict[str, dict[str, Any]] = {
    "first": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first", split=False)},
    "always": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="always", split=False)},
    # As in Llama 2's own tokenizer.json: a space more even before text that begins with one.
    "normalizer": {"normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])},
}
FOREIGN = {
    "llama2": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "tight": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "ours": None,
}


def letter_tokenizer(scheme: str, style: str, merges: Sequence[tuple[str, str]] = ()) -> Any:
    """One token a letter and one for each merge, with `▁` for a space; the spaces it adds are those of `scheme`."""
    tokens = ["<unk>", "<s>", "</s>", "▁", "\n", *string.ascii_letters, *string.punctuation, *map("".join, merges)]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab, list(merges), unk_token="<unk>"))
    for part, value in PREFIX_SPACES[scheme].items():
        setattr(tokenizer, part, value)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>"
    )
    wrapped.chat_template = FOREIGN[style]
    ensure_chat_template(wrapped)
    return wrapped


def chat_ids(tokenizer: Any, *messages: Message, generation_prompt: bool = False) -> tuple[int, ...]:
    """What transformers feeds the model: the whole chat rendered and tokenised at once."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return tuple(tokenizer.apply_chat_template(turns, add_generation_prompt=generation_prompt)["input_ids"])


@pytest.mark.parametrize("scheme", PREFIX_SPACES)
@pytest.mark.parametrize("style", FOREIGN)
@pytest.mark.parametrize("num_turns", [1, 2, 3])
def test_a_space_before_any_text_does_not_part_training_from_chats(scheme: str, style: str, num_turns: int) -> None:
    tokenizer = letter_tokenizer(scheme, style)
    messages = (ASK, ANSWER, AGAIN, SECOND, ASK, SECOND)[: 2 * num_turns]
    (sequence,) = rendered(tokenizer, *messages)
    assert sequence.ids == chat_ids(tokenizer, *messages)[: len(sequence.ids)]
    for asked in range(1, 2 * num_turns, 2):
        prompt = prompt_of(tokenizer, *messages[:asked])
        assert prompt == chat_ids(tokenizer, *messages[:asked], generation_prompt=True)
        assert sequence.ids[: len(prompt)] == prompt
        assert (sequence.mask[len(prompt) - 1], sequence.mask[len(prompt)]) == (False, True)
    trained = [text.strip() for is_trained, text in runs(tokenizer, sequence) if is_trained]
    end = " </s>" if style == "llama2" else "</s>"
    assert trained == [answer.content + end for answer in messages[1::2]]


@pytest.mark.parametrize("scheme", PREFIX_SPACES)
def test_an_answer_has_the_ids_it_has_in_the_chat_and_not_those_it_has_alone(scheme: str) -> None:
    tokenizer = letter_tokenizer(scheme, "ours")
    (sequence,) = rendered(tokenizer, ASK, ANSWER, AGAIN, SECOND)
    last = len(sequence.mask) - sequence.mask[::-1].index(False)
    assert tokenizer.convert_ids_to_tokens(list(sequence.ids[last:])) == [*"Rinse▁it.", "</s>"]
    assert tokenizer.tokenize(SECOND.content) == [*"▁Rinse▁it."]  # after "Assistant:\n" nobody wrote that space


def test_a_token_across_the_border_is_cut_in_the_answer_and_whole_in_the_history() -> None:
    # Nobody samples "]M" after "[/INST]", but a chat that goes on renders "[/INST]Mix" and tokenises it again.
    tokenizer = letter_tokenizer("always", "tight", merges=[("]", "M")])
    first, second = rendered(tokenizer, ASK, ANSWER, AGAIN, SECOND)
    for sequence, asked in ((first, (ASK,)), (second, (ASK, ANSWER, AGAIN))):
        prompt = chat_ids(tokenizer, *asked, generation_prompt=True)
        assert sequence.ids[: len(prompt)] == prompt == prompt_of(tokenizer, *asked)
        assert sequence.mask == (False,) * len(prompt) + (True,) * (len(sequence.ids) - len(prompt))
    across = tokenizer.convert_tokens_to_ids("]M")
    assert (first.ids.count(across), second.ids.count(across)) == (0, 1)
    assert runs(tokenizer, first)[-1] == (True, "Mix vinegar and soda. Scrub.</s>")
    assert runs(tokenizer, second)[-1] == (True, "Rinse it.</s>")


def test_turns_part_only_where_they_must() -> None:
    # The first two turns are one text; the third sees the second's thought gone.
    tokenizer = with_template("chatml", FORGETFUL)
    thought = Message("assistant", "<think>Soap.</think>Rinse.")
    first, second = rendered(tokenizer, ASK, ANSWER, AGAIN, thought, AGAIN, SECOND)
    assert [text for trained, text in runs(tokenizer, first) if trained] == [
        "Mix vinegar and soda. Scrub.<|im_end|>", "<think>Soap.</think>Rinse.<|im_end|>"
    ]  # fmt: skip
    assert [text for trained, text in runs(tokenizer, second) if trained] == ["Rinse it.<|im_end|>"]


texts = st.text(max_size=40)
# An answer of nothing but blanks never gets here: it is an error of the data room.
answers = texts.filter(lambda text: text.strip())


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STYLES),
    st.none() | texts,
    st.lists(st.tuples(texts, answers), min_size=1, max_size=3),
)
def test_any_text_in_any_style(style: str, system: str | None, turns: list[tuple[str, str]]) -> None:
    tokenizer = TOKENIZERS[style]
    messages = [] if system is None else [Message("system", system)]
    for question, answer in turns:
        messages += [Message("user", question), Message("assistant", answer)]
    assume(not any(token in message.content for token in tokenizer.all_special_tokens for message in messages))
    (sequence,) = rendered(tokenizer, *messages)
    trained = [text for is_trained, text in runs(tokenizer, sequence) if is_trained]
    end = tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer))
    assert trained == [answer.strip() + end for _, answer in turns]
    # The prompt is a prefix, and everything in it but earlier answers is read, not trained on.
    prompt = prompt_of(tokenizer, *messages[:-1])
    assert sequence.ids[: len(prompt)] == prompt
    assert all(sequence.mask[len(prompt) :])
    # Cut or whole, the text has the same tokens, so other tools that render this chat feed the model the same ids.
    turns_given = [{"role": message.role, "content": message.content} for message in messages]
    whole = tokenizer.apply_chat_template(turns_given, tokenize=False)
    assert tuple(tokenizer(whole, add_special_tokens=False)["input_ids"])[: len(sequence.ids)] == sequence.ids
