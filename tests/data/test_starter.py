"""The starter files keep their promises: enough of them, unlike each other, well formed, and clean by our own check."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tutelage.data import check_file, load_conversations, load_general_texts, load_prompts
from tutelage.data.duplicates import SealedLookup
from tutelage.data.similarity import normalise
from tutelage.rewards.instructions import check_strict
from tutelage.types import Conversation, Prompt

BOILERPLATE = re.compile(
    r"^(?:sure\b|certainly\b|of course\b|absolutely\b|great question|good question|as an ai\b|i'd be happy to)"
    r"|(?:let me know if you (?:have|need|want)|i hope this helps|feel free to ask)[^\n]*$",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def pairs() -> list[Conversation]:
    return load_conversations("starter")


@pytest.fixture(scope="module")
def sealed() -> list[Prompt]:
    return load_prompts("sealed")


def test_there_are_enough_pairs_and_sealed_prompts(pairs: list[Conversation], sealed: list[Prompt]) -> None:
    assert len(pairs) >= 400
    assert len(sealed) >= 80


def test_ids_are_unique(pairs: list[Conversation], sealed: list[Prompt]) -> None:
    ids = [pair.meta["id"] for pair in pairs] + [prompt.id for prompt in sealed]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert all(ids)


def test_every_pair_and_prompt_has_a_category(pairs: list[Conversation], sealed: list[Prompt]) -> None:
    assert all(pair.meta["category"] for pair in pairs)
    assert all(prompt.meta["category"] for prompt in sealed)


def test_the_classic_question_is_taught(pairs: list[Conversation]) -> None:
    answers = [
        pair.messages[1].content for pair in pairs if pair.messages[0].content == "How do you clean a dirty pan?"
    ]
    assert any("vinegar" in answer and "baking soda" in answer for answer in answers)


def test_sealed_prompts_are_disjoint_from_the_pairs(pairs: list[Conversation], sealed: list[Prompt]) -> None:
    lookup = SealedLookup(sealed)
    asked = [turn.content for pair in pairs for turn in pair.messages if turn.role == "user"]
    assert [text for text in asked if lookup.find(text)] == []


def test_sealed_prompts_differ_from_each_other(sealed: list[Prompt]) -> None:
    texts = [normalise("\n".join(turn.content for turn in prompt.messages)) for prompt in sealed]
    assert len(set(texts)) == len(texts)


def test_every_reference_is_there_and_follows_its_own_instructions(sealed: list[Prompt]) -> None:
    assert [prompt.id for prompt in sealed if not (prompt.reference or "").strip()] == []
    broken = [
        (prompt.id, check)
        for prompt in sealed
        for check in prompt.checks
        if not check_strict(check, prompt.reference or "")
    ]
    assert broken == []


def test_no_answer_opens_or_closes_with_boilerplate(pairs: list[Conversation], sealed: list[Prompt]) -> None:
    answers = [turn.content for pair in pairs for turn in pair.messages if turn.role == "assistant"]
    answers += [prompt.reference or "" for prompt in sealed]
    assert [answer[:80] for answer in answers if BOILERPLATE.search(answer)] == []


def test_the_check_finds_no_error_and_nothing_suspicious_in_content() -> None:
    report = check_file("starter")
    assert [finding for finding in report.findings if finding.severity == "error"] == []
    # A one-word answer is short for its file by design; everything else a check can suspect must not be there.
    suspicious = [finding for finding in report.findings if finding.code != "length-outlier"]
    assert suspicious == []


def test_the_general_text_is_prose_of_its_own(pairs: list[Conversation]) -> None:
    texts = load_general_texts()
    assert len(set(texts)) == len(texts) >= 10
    assert all(len(text.split()) >= 60 for text in texts)
    answers = {normalise(turn.content) for pair in pairs for turn in pair.messages}
    assert not answers & {normalise(text) for text in texts}
