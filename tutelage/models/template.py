"""Chat templates for models that have none, the token that ends an answer, and a pad token that is not that token.

A template lives in the tokenizer, so it is saved with the model and every other tool renders chats the same way.
Rendered text holds its own BOS and is tokenised with `add_special_tokens=False`. Blanks at the ends of a turn are
dropped, so no token ever spans the border between the template and what somebody wrote.
Leaves out rendering records to token ids and masks, which is the data room's.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2

from tutelage.errors import ModelError

_PROBE_QUESTION, _PROBE_ANSWER = "Which probe is this?", "The zeroth-probe-answer."
_PAD_TOKENS = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|endoftext|>",
    "<|finetune_right_pad_id|>",
    "<|fim_pad|>",
    "<|vision_pad|>",
    "<unused0>",
    "<|reserved_special_token_0|>",
    "<unk>",
)


def ensure_chat_template(tokenizer: Any) -> bool:
    """Give `tokenizer` a chat template where it has none; True if one was added.

    The vocabulary decides: Gemma's turn tokens, ChatML's, or else plain text in which EOS ends an answer.
    """
    if tokenizer.chat_template:
        return False
    vocab = tokenizer.get_vocab()
    if "<start_of_turn>" in vocab and "<end_of_turn>" in vocab:
        tokenizer.chat_template = _own_template("gemma", bos=tokenizer.bos_token is not None)
        return True
    if "<|im_start|>" in vocab and "<|im_end|>" in vocab:
        tokenizer.chat_template = _own_template("chatml", bos=_puts_bos_first(tokenizer))
        return True
    if tokenizer.eos_token is None:
        raise ModelError("the tokenizer has neither turn tokens nor an eos token; set its eos_token and save it")
    tokenizer.chat_template = _own_template("plain", bos=_puts_bos_first(tokenizer))
    return True


def ensure_bare_template(tokenizer: Any) -> bool:
    """Give `tokenizer` the barest template where it has none: each message on a line; True if one was added.

    This is how a base model is asked before training: in plain text, which it goes on with, and not with turn tokens
    that it has never seen.
    """
    if tokenizer.chat_template:
        return False
    tokenizer.chat_template = _own_template("bare", bos=_puts_bos_first(tokenizer))
    return True


def _own_template(name: str, *, bos: bool) -> str:
    text = (files("tutelage.models") / "templates" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")
    return ("{{- bos_token -}}\n" if bos else "") + text


def _puts_bos_first(tokenizer: Any) -> bool:
    """Whether this model is used to a BOS: its tokenizer puts one before any text (Llama), or does not (Qwen)."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id


def end_of_turn_id(tokenizer: Any) -> int:
    """The id of the token that ends an assistant's turn: the first special token after an answer, else EOS."""
    if tokenizer.chat_template:
        special = set(tokenizer.all_special_ids)
        special.update(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
        tail_ids = tokenizer(_text_after_answer(tokenizer), add_special_tokens=False)["input_ids"]
        for token_id in tail_ids:
            if token_id in special:
                return int(token_id)
    if tokenizer.eos_token_id is None:
        raise ModelError("nothing ends an answer: the tokenizer has no eos token; set its eos_token and save it")
    return int(tokenizer.eos_token_id)


def _text_after_answer(tokenizer: Any) -> str:
    messages = [{"role": "user", "content": _PROBE_QUESTION}, {"role": "assistant", "content": _PROBE_ANSWER}]
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    except jinja2.TemplateError as error:
        raise ModelError(
            f"the tokenizer's chat template fails on a question and an answer ({error}); correct it or remove it"
        ) from error
    _, found, tail = text.rpartition(_PROBE_ANSWER)
    if not found:
        raise ModelError("the tokenizer's chat template drops the assistant's answer; correct it or remove it")
    return tail


def ensure_pad_token(tokenizer: Any) -> bool:
    """Give `tokenizer` a pad token other than EOS and the end of a turn, where its vocabulary has one; True if changed.

    With pad == eos, code that masks padding also masks the stop token, and the model never learns to stop.
    """
    taken = {tokenizer.eos_token_id, tokenizer.bos_token_id, _end_of_turn_or_none(tokenizer)}
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in taken:
        return False
    vocab = tokenizer.get_vocab()
    for token in _PAD_TOKENS:
        if token in vocab and vocab[token] not in taken:
            tokenizer.pad_token = token
            return True
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
        return True
    return False


def _end_of_turn_or_none(tokenizer: Any) -> int | None:
    return end_of_turn_id(tokenizer) if tokenizer.chat_template else None


def set_generation_tokens(model: Any, tokenizer: Any) -> None:
    """Set pad and the stopping tokens in the generation config: its own, EOS and the end of a turn."""
    config = model.generation_config
    own = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    ends = [*own, tokenizer.eos_token_id, end_of_turn_id(tokenizer) if tokenizer.chat_template else None]
    config.eos_token_id = list(dict.fromkeys(end for end in ends if end is not None)) or None
    config.pad_token_id = model.config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else config.bos_token_id
