"""What one person said about one task in another tool, put together as one verdict or one pair.

Label Studio and Argilla let people build their own forms: any number of fields to look at and of questions to answer.
A reader sorts what was answered into an order, a side, numbers, words and texts; here these become one record:

    an order of answers                        ranking (of two: comparison)
    a side, or words such as "A", "tie"        comparison; words such as "slightly better" its strength
    numbers about one answer                   rating, an attribute each
    words such as "good" about one answer      thumbs
    a text, and no answer was shown            pair: the person wrote the answer
    a text that rewrites the one answer        comparison: the rewrite is better than the original
    other words and texts                      reasons, the critique, the rewrite of the verdict

Leaves out: numbers about each of several answers, which are kept in `meta` beside another verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.data.foreign import (
    CRITIQUE_KEYS,
    PROMPT_KEYS,
    REWRITE_KEYS,
    Incoming,
    IncomingAnswer,
    IncomingLabel,
    LeftOut,
    Place,
    named_like,
)
from tutelage.data.foreign_plain import BOTH_BAD, plain_verdict, strength_of
from tutelage.data.verdict_shapes import CHOICES
from tutelage.data.verdict_values import STRENGTHS, TIES, verdict_word, word
from tutelage.types import Message

ANSWER_WORDS = (
    "response", "responses", "answer", "answers", "completion", "completions", "output", "generation", "generations",
    "reply", "candidate", "option", "summary", "text", "items", "model",
)  # fmt: skip
PAIRED = (
    *CHOICES, ("answer1", "answer2"), ("text1", "text2"), ("output1", "output2"), ("output_a", "output_b"),
    ("answer_1", "answer_2"), ("completion1", "completion2"), ("completion_a", "completion_b"), ("left", "right"),
    ("option_a", "option_b"), ("summary1", "summary2"), ("model_a", "model_b"), ("chosen", "rejected"),
)  # fmt: skip
CANNOT_JUDGE = ("cannot_judge", "can_t_judge", "cant_judge", "unsure", "not_sure", "skip")
SIDE_WORDS = ("response", "answer", "model", "completion", "text", "option", "assistant")
MAX_REASON_CHARACTERS = 60
_number = re.compile(r"_?(\d+|(?<=_)[a-z])$")


@dataclass(slots=True)
class Judgement:
    """A person's answers to the questions about one task."""

    place: Place
    where: str
    """Where in the record it stands."""
    prompt: Any
    answers: list[tuple[str, str]]
    """Name and text of each answer that was shown, in the order shown."""
    rater: str = ""
    side: str = ""
    """`first`, `second`, `tie` …, where the form has a question for it."""
    ranks: list[int] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def find_prompt(fields: Mapping[str, Any]) -> tuple[str, Any]:
    """The field that holds what was asked, and its value; ("", None) when no field is called like one."""
    for known in PROMPT_KEYS:
        for name, value in fields.items():
            if value and isinstance(value, (str, list)) and named_like(name, (known,)):
                return name, value
    return "", None


def find_answers(fields: Mapping[str, Any], prompt_name: str) -> list[tuple[str, str]]:
    """Name and text of the fields that hold answers."""
    plain = {name.strip().lower().replace("-", "_"): name for name in fields if name != prompt_name}
    texts = {key: fields[name] for key, name in plain.items() if isinstance(fields[name], str)}
    sides = next((names for names in PAIRED if texts.keys() >= set(names)), None)
    if sides:
        stem = _number.sub("", sides[0])
        siblings = [key for key in texts if _number.search(key) and _number.sub("", key) == stem]
        return [(plain[name], texts[name]) for name in (siblings if len(siblings) > 2 else sides)]
    stems = [
        key for key in texts if key.rstrip("0123456789").rstrip("_") in ANSWER_WORDS or named_like(key, ANSWER_WORDS)
    ]
    return [(plain[key], texts[key]) for key in stems if texts[key].strip()]


def turns_of(value: Any) -> Any:
    """A prompt as the loaders take it: dialogues with `author` and `text` become messages."""
    if not isinstance(value, list):
        return value
    return [_turn(item) if isinstance(item, Mapping) else item for item in value]


def _turn(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item.keys() & {"role", "from"}:
        return {key: item[key] for key in ("role", "content", "from", "value") if key in item}
    speaker = next((item[key] for key in ("author", "speaker", "name") if isinstance(item.get(key), str)), "")
    text = next((item[key] for key in ("text", "content", "utterance") if isinstance(item.get(key), str)), None)
    known = {"ai": "assistant", "chatbot": "assistant", "agent": "assistant", "customer": "user", "prompter": "user"}
    role = known.get(speaker.strip().lower(), speaker)
    return {"role": role, "content": text} if text is not None else item


def assembled(said: Judgement) -> Incoming:
    """The one record that a person's answers come to."""
    if said.prompt in (None, "", []):
        known = ", ".join(PROMPT_KEYS)
        return said.place.left_out(
            "no-prompt", f"no field holds what was asked; it is looked for as {known}", said.where
        )
    prompt = said.place.prompt(turns_of(said.prompt))
    if isinstance(prompt, LeftOut):
        return prompt
    _sort_words(said)
    made = _verdict(said, prompt) or _text_alone(said, prompt)
    if made is None:
        problem = "nothing in it says which answer is better, or how good one is"
        return said.place.left_out("no-verdict", problem, said.where)
    return _with_rest(made, said) if isinstance(made, IncomingLabel) else made


def _sort_words(said: Judgement) -> None:
    """Words that choose a side of two answers are the verdict; the others stay words."""
    if len(said.answers) != 2 or said.ranks is not None:
        return
    for each in list(said.words):
        if not said.side and (side := side_of(each, [name for name, _ in said.answers])):
            said.side = side
            said.words.remove(each)


def side_of(text: str, names: Sequence[str]) -> str:
    """`first`, `second`, `tie`, `both_bad` or `cannot_judge` for the words of a form; empty for other words."""
    told = word(text)
    for end in ("_is_better", "_better", "_wins", "_is_preferred", "_preferred"):
        told = told.removesuffix(end)
    if told in CANNOT_JUDGE:
        return "cannot_judge"
    if told in BOTH_BAD:
        return "both_bad"
    if told in TIES or told in ("none", "equally_good", "both_equal"):
        return "tie"
    for at, side in enumerate(("first", "second")):
        number, letter = str(at + 1), "ab"[at]
        stems = {f"{stem}{mark}" for stem in SIDE_WORDS for mark in (number, f"_{number}", f"_{letter}")}
        if told in {number, letter, side, ("left", "right")[at], word(names[at])} | stems:
            return side
    return ""


def _verdict(said: Judgement, prompt: tuple[Message, ...]) -> IncomingLabel | LeftOut | None:
    answers = tuple(IncomingAnswer(text) for _, text in said.answers)
    if said.ranks is not None:
        if len(answers) == 2:
            said.side = "tie" if said.ranks[0] == said.ranks[1] else ("first", "second")[said.ranks[0] > said.ranks[1]]
        else:
            return IncomingLabel("ranking", prompt, answers, {"ranks": said.ranks}, said.place.source)
    if said.side and len(answers) == 2:
        return _comparison(said, prompt, answers)
    if len(answers) == 1 and said.scores:
        return IncomingLabel("rating", prompt, answers, {"scores": dict(said.scores)}, said.place.source)
    if len(answers) == 1 and (good := next((each for each in said.words if verdict_word(each) is not None), None)):
        said.words.remove(good)
        return IncomingLabel("thumbs", prompt, answers, {"good": verdict_word(good)}, said.place.source)
    return None


def _comparison(said: Judgement, prompt: tuple[Message, ...], answers: tuple[IncomingAnswer, ...]) -> IncomingLabel:
    value: dict[str, Any] = {"outcome": said.side}
    if said.side in ("first", "second"):
        strengths = {each: _strength(each) for each in said.words}
        told = next((each for each, strength in strengths.items() if strength is not None), None)
        value["strength"], more = strength_of(strengths[told] if told else None, stated=True)
        said.meta |= more
        if told:
            said.words.remove(told)
    return IncomingLabel("comparison", prompt, answers, value, said.place.source)


def _strength(text: str) -> float | None:
    told = word(text).removesuffix("_better")
    return {"much": 3.0, "hardly": 0.0, "better": 2.0}.get(told, STRENGTHS.get(told) if told else None)


def _text_alone(said: Judgement, prompt: tuple[Message, ...]) -> Incoming | None:
    """The text is the work: an answer that the person wrote, or a better one than was shown."""
    filled = {name: text for name, text in said.texts.items() if text.strip()}
    better = next((name for name in filled if named_like(name, REWRITE_KEYS)), None)
    if not said.answers:
        name = better or next((name for name in filled if not named_like(name, CRITIQUE_KEYS)), None)
        if name is None:
            return None
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt]
        turns.append({"role": "assistant", "content": filled[name]})
        return said.place.conversation(turns, said.meta, said.rater)
    if len(said.answers) == 1 and better:
        values = {"messages": [{"role": t.role, "content": t.content} for t in prompt]}
        text = said.texts.pop(better)
        return plain_verdict(said.place, {**values, "original": said.answers[0][1], "edited": text}, said.rater)
    return None


def _with_rest(made: IncomingLabel, said: Judgement) -> IncomingLabel:
    """The verdict with its words, texts, rater and time."""
    rewrite = [text for name, text in said.texts.items() if text.strip() and named_like(name, REWRITE_KEYS)]
    critique = [text for name, text in said.texts.items() if text.strip() and not named_like(name, REWRITE_KEYS)]
    reasons = [each for each in said.words if len(each) <= MAX_REASON_CHARACTERS]
    critique += [each for each in said.words if len(each) > MAX_REASON_CHARACTERS]
    meta = dict(said.meta)
    if made.kind != "rating" and said.scores:
        meta["scores"] = dict(said.scores)
    return replace(
        made, rater=said.rater, reasons=tuple(dict.fromkeys(reasons)), critique="\n\n".join(critique),
        rewrite="\n\n".join(rewrite), seconds=said.seconds, meta={**made.meta, **meta},
    )  # fmt: skip
