"""Where an answer ends, and what should not stand after it."""

import pytest

from tutelage.evaluate.endings import goes_on_past_end, is_empty, leaks_role_token, truncated


@pytest.mark.parametrize("text", ["Scrub until", "- salt\n- pep", "```python\nprint(1).", ""])
def test_a_cut_off_answer_that_breaks_off_is_truncated(text):
    assert truncated(text, stopped=False)


@pytest.mark.parametrize("text", ["Scrub until clean.", "Done!  \n", 'He said "yes"', "```\nx\n```"])
def test_a_cut_off_answer_that_happens_to_be_whole_is_not_truncated(text):
    assert not truncated(text, stopped=False)


def test_an_answer_that_stopped_is_never_truncated():
    assert not truncated("Paris", stopped=True)


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>",
        "<end_of_turn>",
        "<start_of_turn>",
        "</s>",
        "[INST]",
        "<|eot_id|>",
        "<<SYS>>",
        "<｜User｜>",
        "<turn|>",
    ],
)
def test_role_tokens_are_seen(token):
    assert leaks_role_token(f"Hello {token}")


@pytest.mark.parametrize("text", ["a < b and c > d", "use <b>bold</b>", "x <| y", "[INSTALL]", "List<String>"])
def test_ordinary_angle_brackets_are_not_role_tokens(text):
    assert not leaks_role_token(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.<end_of_turn>\n<start_of_turn>user\nAnd Spain?",
        "Paris.\n\nUser: And Spain?",
        "Paris.\n**Question 2:** And Spain?",
        "Paris.\n### Instruction\nName a river.",
        "Paris.</s> The city of",
        "Paris.\nUser:",
    ],
)
def test_text_after_the_end_is_seen(text):
    assert goes_on_past_end(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.<end_of_turn>",  # a token leaks, nothing follows
        "<start_of_turn>model\nParis.",  # a token leaks, nothing stood before
        "Question: what is 6 × 7? That is 42.",  # the question repeated, then the answer
        "Ask the user: are you sure?",  # not at the start of a line
        "Steps:\nAnswer: 42",
        "User: and Spain?",  # nothing stood before
        "User:",
        "<end_of_turn>User:",
    ],
)
def test_text_that_ends_where_it_should(text):
    assert not goes_on_past_end(text)


@pytest.mark.parametrize("text", ["", " \n\t", "<end_of_turn>", "<|im_end|>\n", "\u200b\x00"])
def test_nothing_to_read_is_empty(text):
    assert is_empty(text)


@pytest.mark.parametrize("text", ["7", "...", "👍", "é"])
def test_anything_to_read_is_not_empty(text):
    assert not is_empty(text)


def test_a_text_of_many_role_tokens_takes_no_time():
    assert goes_on_past_end("a" + "<|im_end|>" * 50_000 + "b")
