"""What can be said about an answer without asking anyone: does it stop, loop, leak, copy, fit in length?

Each measure but one is a pure function of one answer's text (or of any sequence: words, token ids); `measure_answer`
applies these, `measure_answers` all of them, and `MEASURES` says what each one means. Measures that do not apply to an
answer (no reference, no checks) are left out of its result, so that nothing is ever NaN.

Leaves out: intervals and comparisons (`tutelage.evaluate.summary`), and negative log-likelihoods, which need the model;
their rows stand in `MEASURES` and their numbers arrive with `tutelage.evaluate.report.ModelResult`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.data.words import words
from tutelage.evaluate.endings import goes_on_past_end, is_empty, leaks_role_token, truncated
from tutelage.rewards.instructions import check_loose, check_strict
from tutelage.types import Answer, Prompt

NGRAM_WORDS = 4
LOOP_WORDS = 10


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the report: what is measured, in which unit, and which direction is good."""

    name: str
    label: str
    meaning: str
    better: Literal["higher", "lower"]
    kind: Literal["proportion", "mean"]
    unit: Literal["%", "words", "nats", ""] = ""


MEASURES: tuple[Measure, ...] = (
    Measure(
        "stopped",
        "Stops by itself",
        "The model ended its answer before the token limit did.",
        "higher",
        "proportion",
        "%",
    ),
    Measure(
        "truncated",
        "Breaks off mid-sentence",
        "The token limit cut the answer off inside a sentence or an open code block.",
        "lower",
        "proportion",
        "%",
    ),
    Measure(
        "text_after_end",
        "Goes on past its end",
        "After the answer the text goes on: a role token with more behind it, or a new turn such as “User:”.",
        "lower",
        "proportion",
        "%",
    ),
    Measure(
        "role_leak",
        "Leaks a role token",
        "A token of the chat format, such as “<end_of_turn>”, stands in the text.",
        "lower",
        "proportion",
        "%",
    ),
    Measure("empty", "Empty answer", "Nothing to read but white space and role tokens.", "lower", "proportion", "%"),
    Measure(
        "loops",
        "Gets stuck in a loop",
        f"Some phrase is repeated at once for {LOOP_WORDS} words or more.",
        "lower",
        "proportion",
        "%",
    ),
    Measure(
        "longest_loop",
        "Longest loop",
        "Words in the longest stretch that repeats one phrase immediately; ordinary prose has 0 to 2.",
        "lower",
        "mean",
        "words",
    ),
    Measure(
        "repetition",
        "Repetition",
        "Share of the answer's four-word sequences that it has already used (1 − distinct-4).",
        "lower",
        "mean",
        "%",
    ),
    Measure(
        "prompt_copy",
        "Copies the prompt",
        "Share of the answer's four-word sequences that stand in the prompt; rewriting tasks rightly have some.",
        "lower",
        "mean",
        "%",
    ),
    Measure(
        "alike",
        "Says the same to everything",
        "Share of the answer's four-word sequences that also stand in this model's answers to other prompts.",
        "lower",
        "mean",
        "%",
    ),
    Measure(
        "length_fit",
        "Length misfit",
        "|log(words / words of the reference answer)|: 0 is the same length, 0.69 is half or double.",
        "lower",
        "mean",
    ),
    Measure(
        "instructions_strict",
        "Follows every instruction",
        "Every verifiable instruction of the prompt holds for the answer as it stands.",
        "higher",
        "proportion",
        "%",
    ),
    Measure(
        "instructions_loose",
        "Follows, read loosely",
        "The same after dropping a first or last line, emphasis marks or code fences.",
        "higher",
        "proportion",
        "%",
    ),
    Measure(
        "nll_reference",
        "Surprise at the reference answers",
        "Negative log-likelihood per token of the reference answers, end of turn included.",
        "lower",
        "mean",
        "nats",
    ),
    Measure(
        "nll_general",
        "Surprise at general text",
        "The same for ordinary prose: when it rises, fine-tuning cost general ability (the alignment tax).",
        "lower",
        "mean",
        "nats",
    ),
)


def measure_answers(answers: Sequence[Answer]) -> list[dict[str, float]]:
    """`measure_answer` of each of one model's answers, and how alike they are: what a fixed answer cannot hide."""
    texts = [words(answer.text) for answer in answers]
    num_answers = Counter(gram for text in texts for gram in set(_ngrams(text, NGRAM_WORDS)))
    return [
        measure_answer(answer) | {"alike": _shared_fraction(text, num_answers)}
        for answer, text in zip(answers, texts, strict=True)
    ]


def _shared_fraction(units: Sequence[Hashable], num_answers: Mapping[tuple[Hashable, ...], int]) -> float:
    grams = _ngrams(units, NGRAM_WORDS)
    return sum(num_answers[gram] > 1 for gram in grams) / len(grams) if grams else 0.0


def measure_answer(answer: Answer) -> dict[str, float]:
    """All measures of one answer by name, each a finite number ≥ 0; a measure that does not apply is left out.

    Raises `DataError` when the prompt carries an instruction check that does not exist.
    """
    text, prompt = answer.text, answer.prompt
    answer_words = words(text)
    loop = longest_loop(answer_words)
    result = {
        "stopped": float(answer.stopped),
        "truncated": float(truncated(text, stopped=answer.stopped)),
        "role_leak": float(leaks_role_token(text)),
        "empty": float(is_empty(text)),
        "loops": float(loop >= LOOP_WORDS),
        "longest_loop": float(loop),
        "repetition": repetition(answer_words),
        "prompt_copy": copied_fraction(answer_words, words(prompt_text(prompt))),
    }
    # A prompt that asks for a dialogue or a quiz has a reference full of "Q:" lines; there the measure means nothing.
    if prompt.reference is None or not goes_on_past_end(prompt.reference):
        result["text_after_end"] = float(goes_on_past_end(text))
    if prompt.reference is not None:
        result["length_fit"] = length_misfit(len(answer_words), len(words(prompt.reference)))
    if prompt.checks:
        result["instructions_strict"] = float(all(check_strict(check, text) for check in prompt.checks))
        result["instructions_loose"] = float(all(check_loose(check, text) for check in prompt.checks))
    return result


def prompt_text(prompt: Prompt) -> str:
    """Everything the model was shown, one message after the other."""
    return "\n".join(message.content for message in prompt.messages)


def repetition(units: Sequence[Hashable], *, size: int = NGRAM_WORDS) -> float:
    """1 − distinct-n over words or token ids, in [0, 1]; 0 when there are fewer than `size` of them.

    distinct-n: Li et al. 2016, https://arxiv.org/abs/1510.03055.
    """
    grams = _ngrams(units, size)
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def longest_loop(units: Sequence[Hashable]) -> int:
    """Length, in units, of the longest stretch that repeats one phrase at least twice in a row; 0 without any.

    "to be to be to be or" has a stretch of 6. A stretch of period p is p units longer than the run of positions that
    equal the position p further on, so one pass for each period finds it.
    """
    codes: dict[Hashable, int] = {}
    ids = np.array([codes.setdefault(unit, len(codes)) for unit in units])
    return max((_loop_of_period(ids, period) for period in range(1, len(ids) // 2 + 1)), default=0)


def _loop_of_period(ids: NDArray[np.int64], period: int) -> int:
    breaks = np.flatnonzero(ids[period:] != ids[:-period])
    edges = np.concatenate(([-1], breaks, [len(ids) - period]))
    longest_run = int(np.diff(edges).max()) - 1
    return longest_run + period if longest_run >= period else 0


def copied_fraction(units: Sequence[Hashable], prompt_units: Sequence[Hashable], *, size: int = NGRAM_WORDS) -> float:
    """Share of the n-grams of `units` that stand in `prompt_units`, in [0, 1]; 0 when there is no n-gram."""
    grams = _ngrams(units, size)
    known = set(_ngrams(prompt_units, size))
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def length_misfit(num_words: int, num_reference_words: int) -> float:
    """|log(num_words / num_reference_words)|, an empty side counted as one word so that the result stays finite."""
    return abs(math.log(max(1, num_words) / max(1, num_reference_words)))


def _ngrams(units: Sequence[Hashable], size: int) -> list[tuple[Hashable, ...]]:
    return [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]
