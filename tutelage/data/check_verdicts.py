"""What is suspicious about verdicts as such: repeats, contradictions, ties, and a taste for length.

Leaves out: the texts that were judged, which are checked as all texts are (`tutelage.data.check`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from tutelage.data.duplicates import digest, find_near
from tutelage.data.formats import Parsed
from tutelage.data.lengths import CHARACTERS_PER_TOKEN
from tutelage.data.report import Finding, finding_at, place_of
from tutelage.data.verdicts import Judged
from tutelage.types import Comparison, Message, Rating

MAX_LONGER_FRAC, MIN_LONGER_FRAC = 0.6, 0.4
MAX_RANKED = 20  # in a longer ranking only neighbours are looked up, so that it stays linear work


def find_verdicts(records: Sequence[Judged]) -> Iterator[Finding]:
    """Every finding that needs the verdicts: see docs/check.md."""
    comparisons = [each.verdict for each in records if isinstance(each.verdict, Comparison)]
    ratings = [each.verdict for each in records if isinstance(each.verdict, Rating)]
    yield from _find_repeats(records)
    yield from _find_ties(comparisons)
    yield from _find_length_imbalance(comparisons)
    yield from _find_one_sided(ratings)


def _find_repeats(records: Sequence[Judged]) -> Iterator[Finding]:
    """`exact-duplicate`, `judged-both-ways` and `near-duplicate`; the same verdict of another rater is none of them."""
    wholes = [judged.whole() for judged in records]
    same_verdict: dict[tuple[object, ...], int] = {}
    same_answers: dict[tuple[object, ...], int] = {}
    orders: dict[tuple[bytes, bytes, bytes], int] = {}
    repeated: set[int] = set()
    for index, judged in enumerate(records):
        prompt, answers = digest(judged.verdict.messages), [digest(answer) for answer in judged.answers]
        ordered = [(prompt, better, worse) for better, worse in _orders(judged, answers)]
        opposite = next((orders[a, c, b] for a, b, c in ordered if (a, c, b) in orders), None)
        twin = same_verdict.setdefault(
            (prompt, *sorted(zip(answers, _values(judged), strict=True)), judged.rater), index
        )
        if same_answers.setdefault((prompt, *sorted(answers)), index) != index:
            repeated.add(index)
        for order in ordered:
            orders.setdefault(order, index)
        if opposite is not None:
            yield _both_ways(records, wholes, index, opposite)
        elif twin != index:
            message = f"the same prompt, answers and verdict as {place_of(wholes[twin], wholes[index])}"
            yield finding_at(wholes[index], "exact-duplicate", message)
    yield from find_near(wholes, repeated)


def _values(judged: Judged) -> tuple[float, ...]:
    return judged.verdict.ranks if isinstance(judged.verdict, Comparison) else (judged.verdict.value,)


def _orders(judged: Judged, answers: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(better, worse) for every two answers of which one won; a good answer counts as better than none."""
    if isinstance(judged.verdict, Rating):
        if isinstance(judged.verdict.value, bool):
            yield (answers[0], b"") if judged.verdict.value else (b"", answers[0])
        return
    ranked = sorted(zip(judged.verdict.ranks, answers, strict=True))
    pairs = itertools.combinations(ranked, 2) if len(ranked) <= MAX_RANKED else itertools.pairwise(ranked)
    yield from ((better, worse) for (rank, better), (other, worse) in pairs if rank != other)


def _both_ways(records: Sequence[Judged], wholes: Sequence[Parsed], index: int, other: int) -> Finding:
    raters = records[index].rater, records[other].rater
    by = "" if "" in raters else " by the same rater" if raters[0] == raters[1] else " by another rater"
    answers = "answer" if isinstance(records[index].verdict, Rating) else "answers"
    place = place_of(wholes[other], wholes[index])
    message = f"the same {answers} as {place}, judged the other way round{by}; the two cancel out"
    return finding_at(wholes[index], "judged-both-ways", message)


def _find_ties(comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    """`ties`: an error where nothing else is there."""
    num_ties, total = sum(not any(each.ranks) for each in comparisons), len(comparisons)
    if num_ties and num_ties == total:
        message = f"every comparison is a tie ({total:,} of {total:,}), so nothing says which answer is better"
        yield Finding("error", "ties", None, None, f"{message}; add comparisons with a winner")
    elif num_ties:
        message = f"{num_ties:,} of {total:,} comparisons are ties, which prefer neither answer"
        yield Finding("note", "ties", None, None, message)


def _find_length_imbalance(comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    """`length-imbalance`: how often the longer answer won, over the best and the worst answer of each comparison."""
    lengths = [pair for each in comparisons if (pair := _best_and_worst(each))]
    unequal = [(best, worst) for best, worst in lengths if best != worst]
    if not unequal:
        return
    from tutelage.stats.intervals import wilson

    won = wilson(sum(best > worst for best, worst in unequal), len(unequal))
    ratio = median(best / worst for best, worst in lengths)
    is_lopsided = not won.contains(0.5) and not MIN_LONGER_FRAC <= won.estimate <= MAX_LONGER_FRAC
    share = f"{won.estimate:.0%} of {len(unequal):,} pairs (95% interval {won.low:.0%} to {won.high:.0%})"
    message = f"the longer answer won {share}; the chosen answer is {ratio:.2f} times as long (median)"
    if is_lopsided:
        message += ": a model may learn the length instead of what is good"
    yield Finding("warning" if is_lopsided else "note", "length-imbalance", None, None, message)


def _best_and_worst(comparison: Comparison) -> tuple[int, int] | None:
    """Characters of the best and of the worst answer, or None for a tie."""
    ranks = comparison.ranks
    if not any(ranks):
        return None
    best, worst = (comparison.answers[ranks.index(rank)] for rank in (0, max(ranks)))
    return characters(best), characters(worst)


def characters(answer: Sequence[Message]) -> int:
    """The length of what the assistant says in an answer."""
    return sum(len(message.content) for message in answer if message.role == "assistant")


def _find_one_sided(ratings: Sequence[Rating]) -> Iterator[Finding]:
    """`one-sided-labels`: every answer has the same rating."""
    values = {each.value for each in ratings}
    if len(values) != 1:
        return
    (value,) = values
    told = ("good" if value else "bad") if isinstance(value, bool) else f"{value:g}"
    message = f"every answer ({len(ratings):,}) is rated {told}, and one side alone teaches no difference"
    yield Finding("warning", "one-sided-labels", None, None, f"{message}; add answers that were rated otherwise")


def verdict_stats(records: Sequence[Judged]) -> dict[str, int | float]:
    """Sizes for a table: names carry their units."""
    if not records:
        return {}
    verdicts = [each.verdict for each in records]
    prompts = [sum(len(message.content) for message in each.messages) for each in verdicts]
    answers = [len(message.content) for each in records for answer in each.answers for message in answer]
    comparisons = [each for each in verdicts if isinstance(each, Comparison)]
    own = (
        _comparison_stats(comparisons) if comparisons else _rating_stats([v for v in verdicts if isinstance(v, Rating)])
    )
    return {
        **own,
        "raters": len({each.rater for each in verdicts if each.rater}),
        "median_prompt_characters": median(prompts),
        "max_prompt_characters": max(prompts),
        "estimated_tokens": (sum(prompts) + sum(answers)) // CHARACTERS_PER_TOKEN,
    }


def _comparison_stats(comparisons: Sequence[Comparison]) -> dict[str, int | float]:
    counts = [len(each.answers) for each in comparisons]
    lengths = [pair for each in comparisons if (pair := _best_and_worst(each))]
    sizes = {}
    if lengths:
        sizes["median_chosen_characters"] = median(best for best, _ in lengths)
        sizes["median_rejected_characters"] = median(worst for _, worst in lengths)
    return {
        "comparisons": len(comparisons),
        "median_answers": median(counts),
        "max_answers": max(counts),
        "ties": len(comparisons) - len(lengths),
        "with_strength": sum(each.strength is not None for each in comparisons),
        **sizes,
    }


def _rating_stats(ratings: Sequence[Rating]) -> dict[str, int | float]:
    stats: dict[str, int | float] = {"ratings": len(ratings)}
    verdicts = Counter(each.value for each in ratings if isinstance(each.value, bool))
    numbers = [each.value for each in ratings if not isinstance(each.value, bool)]
    if verdicts:
        stats |= {"good": verdicts[True], "bad": verdicts[False]}
    if numbers:
        stats |= {"min_rating": min(numbers), "median_rating": median(numbers), "max_rating": max(numbers)}
    return {**stats, "median_answer_characters": median(characters(each.answer) for each in ratings)}
