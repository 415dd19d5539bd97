"""The comparison prompts keep their promises: enough, mixed like the sealed ones, unlike all pairs."""

from __future__ import annotations

from collections import Counter

import pytest

from tutelage.data import check_file, load_comparisons, load_conversations, load_prompts
from tutelage.data.duplicates import MIN_SIMILARITY, SealedLookup
from tutelage.data.similarity import jaccard, normalise, shingles
from tutelage.errors import DataError
from tutelage.rewards.instructions import CHECKS, check_strict, describe_check
from tutelage.types import Prompt


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return load_prompts("compare")


@pytest.fixture(scope="module")
def sealed() -> list[Prompt]:
    return load_prompts("sealed")


def text_of(prompt: Prompt) -> str:
    return "\n".join(turn.content for turn in prompt.messages)


def test_there_are_240_single_questions_without_answers(prompts: list[Prompt]) -> None:
    assert len(prompts) == 240
    assert {tuple(turn.role for turn in prompt.messages) for prompt in prompts} == {("user",)}
    assert [prompt.id for prompt in prompts if prompt.reference is not None] == []


def test_ids_are_unique_and_name_the_category(prompts: list[Prompt]) -> None:
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert all(prompt.id.startswith(f"compare-{prompt.meta['category']}-") for prompt in prompts)


def test_the_categories_are_mixed_like_the_sealed_prompts(prompts: list[Prompt], sealed: list[Prompt]) -> None:
    ours, theirs = (Counter(prompt.meta["category"] for prompt in group) for group in (prompts, sealed))
    assert ours.keys() == theirs.keys()
    # 240 / 96 = 2.5 prompts for each sealed one, rounded to a whole prompt.
    assert [name for name in theirs if abs(ours[name] - 2.5 * theirs[name]) > 0.5] == []


def test_about_half_state_a_verifiable_instruction(prompts: list[Prompt]) -> None:
    num_checked = sum(bool(prompt.checks) for prompt in prompts)
    assert 0.4 <= num_checked / len(prompts) <= 0.6
    assert max(len(prompt.checks) for prompt in prompts) == 2


def test_every_check_is_one_that_exists(prompts: list[Prompt]) -> None:
    checks = [check for prompt in prompts for check in prompt.checks]
    assert {check["check"] for check in checks} <= CHECKS.keys()
    assert all(describe_check(check) for check in checks)


def test_the_prompt_itself_does_not_follow_its_instructions(prompts: list[Prompt]) -> None:
    # A handful cannot help it: a prompt that is a single short sentence has one sentence.
    echoes = [p.id for p in prompts if p.checks and all(check_strict(check, text_of(p)) for check in p.checks)]
    assert len(echoes) <= 0.2 * len(prompts)


def test_no_prompt_repeats_a_sealed_prompt_or_a_starter_prompt(prompts: list[Prompt], sealed: list[Prompt]) -> None:
    asked = [turn.content for pair in load_conversations("starter") for turn in pair.messages if turn.role == "user"]
    others = [shingles(text) for text in [*map(text_of, sealed), *asked]]
    nearest = {p.id: max(jaccard(shingles(text_of(p)), other) for other in others) for p in prompts}
    assert {name: value for name, value in nearest.items() if value >= MIN_SIMILARITY} == {}
    # Well below the threshold of `tutelage check`, so that not even the sentence around the topic is the same.
    assert max(nearest.values()) < 0.5


def test_the_lookup_of_the_data_check_finds_none_in_the_sealed_set(prompts: list[Prompt], sealed: list[Prompt]) -> None:
    lookup = SealedLookup(sealed)
    assert [prompt.id for prompt in prompts if lookup.find(text_of(prompt))] == []


def test_the_prompts_differ_from_each_other(prompts: list[Prompt]) -> None:
    assert len({normalise(text_of(prompt)) for prompt in prompts}) == len(prompts)
    runs = [shingles(text_of(prompt)) for prompt in prompts]
    assert max(jaccard(run, other) for i, run in enumerate(runs) for other in runs[:i]) < 0.5


@pytest.mark.parametrize("load", [load_conversations, check_file])
def test_they_hold_nothing_to_imitate(load: object) -> None:
    with pytest.raises(DataError, match="'compare' names prompts that nobody has answered; 'starter' names the pairs"):
        load("compare")  # type: ignore[operator]


def test_they_hold_no_verdicts() -> None:
    with pytest.raises(DataError, match="'compare' names shipped prompts, which hold no verdicts"):
        load_comparisons("compare")
