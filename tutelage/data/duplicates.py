"""Records that say the same thing twice, and prompts that stand in the sealed set.

Exact matches go by a digest of the normalised text. Near duplicates go by MinHash (Broder 1997) with locality-sensitive
hashing to find candidates, and by the exact Jaccard similarity of their word 3-shingles to decide.
Leaves out: duplicates across files, and paraphrases, which share few words.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from tutelage.data.formats import Parsed
from tutelage.data.report import Finding, finding_at, place_of
from tutelage.data.similarity import jaccard, normalise, shingles, snippet
from tutelage.types import Message, Prompt

MIN_SIMILARITY = 0.8
# 25 bands of 5 rows find a pair of similarity .8 with probability 1 - (1 - .8^5)^25 = .99995.
NUM_PERMUTATIONS, NUM_BANDS = 125, 25
# A record with more look-alikes than this is not indexed, so that one template in 100,000 rows stays linear work.
MAX_CANDIDATES = 100
# Only the likeliest candidates are compared exactly; an estimate from 125 permutations is off by .036 at .8, so one
# below .65 is no candidate (four standard deviations).
MAX_COMPARED = 5
MIN_ESTIMATE = 0.65
BATCH_RECORDS = 1000


def find_repeats(records: Sequence[Parsed]) -> Iterator[Finding]:
    """`exact-duplicate`, `same-prompt` and `near-duplicate`; a record is reported once, by the first that applies."""
    repeated: set[int] = set()
    for index, finding in _exact(records):
        repeated.add(index)
        yield finding
    yield from find_near(records, repeated)


def _exact(records: Sequence[Parsed]) -> Iterator[tuple[int, Finding]]:
    wholes: dict[bytes, int] = {}
    prompts: dict[bytes, int] = {}
    for index, parsed in enumerate(records):
        messages = parsed.conversation.messages
        prompt = digest(messages[:-1])
        whole = prompt + digest(messages[-1:])
        twin, namesake = wholes.setdefault(whole, index), prompts.setdefault(prompt, index)
        if twin != index:
            message = f"the same prompt and answer as {place_of(records[twin], parsed)}"
            yield index, finding_at(parsed, "exact-duplicate", message)
        elif namesake != index:
            message = f"the same prompt as {place_of(records[namesake], parsed)}, with a different answer"
            yield index, finding_at(parsed, "same-prompt", message, turn=len(messages) - 2)


def digest(messages: Sequence[Message]) -> bytes:
    """A short key, the same for messages that are equal after normalising."""
    text = "\x1e".join(f"{message.role}\x1f{normalise(message.content)}" for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def find_near(records: Sequence[Parsed], repeated: Set[int]) -> Iterator[Finding]:
    """`near-duplicate`, for every record whose index is not in `repeated`."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=MIN_SIMILARITY, num_perm=NUM_PERMUTATIONS, num_bands=NUM_BANDS)
    indexed: dict[int, Any] = {}
    fresh = (number for number in range(len(records)) if number not in repeated)
    num_crowded = 0
    while batch := list(itertools.islice(fresh, BATCH_RECORDS)):
        runs = [_spoken_shingles(records[number]) for number in batch]
        sketches = RMinHash.from_token_sets([list(run) for run in runs], num_perm=NUM_PERMUTATIONS, seed=0)
        for number, run, sketch in zip(batch, runs, sketches, strict=True):
            candidates = sorted(index.query(sketch)) if run else []
            likely = _likely(sketch, candidates[:MAX_CANDIDATES], indexed)
            match = _first_match(records, number, run, likely)
            if match is not None:
                yield _near_duplicate(records[number], records[match[0]], match[1])
            elif len(candidates) <= MAX_CANDIDATES:
                index.insert(number, sketch)
                indexed[number] = sketch
            num_crowded += match is None and len(candidates) > MAX_CANDIDATES
    if num_crowded:
        detail = f"{num_crowded:,} records look like more than {MAX_CANDIDATES} others each"
        yield Finding("note", "near-duplicate", None, None, f"{detail}; only the first {MAX_CANDIDATES} were compared")


def _likely(sketch: Any, candidates: Sequence[int], indexed: Mapping[int, Any]) -> list[int]:
    """The most similar candidates by their sketches."""
    estimates = sorted(((sketch.jaccard(indexed[number]), -number) for number in candidates), reverse=True)
    return [-number for estimate, number in estimates[:MAX_COMPARED] if estimate >= MIN_ESTIMATE]


def _first_match(
    records: Sequence[Parsed], number: int, run: set[str], candidates: Sequence[int]
) -> tuple[int, float] | None:
    for other in candidates:
        similarity = jaccard(run, _spoken_shingles(records[other]))
        # Judged answers that share a long prompt are alike as a whole, and may still be different answers.
        if similarity >= MIN_SIMILARITY and records[number].num_context:
            similarity = min(similarity, jaccard(*(_answer_shingles(records[at]) for at in (number, other))))
        if similarity >= MIN_SIMILARITY:
            return other, similarity
    return None


def _answer_shingles(parsed: Parsed) -> set[str]:
    return shingles("\n".join(turn.content for turn in parsed.conversation.messages[parsed.num_context :]))


def _near_duplicate(parsed: Parsed, other: Parsed, similarity: float) -> Finding:
    shared = f"{similarity:.0%} of their word triples are shared"
    return finding_at(parsed, "near-duplicate", f"nearly the same as {place_of(other, parsed)}: {shared}")


def _spoken_shingles(parsed: Parsed) -> set[str]:
    """Shingles of the user's and the assistant's turns; a system message shared by all would make all alike."""
    return shingles("\n".join(turn.content for turn in parsed.conversation.messages if turn.role != "system"))


def find_sealed(records: Sequence[Parsed], sealed: Sequence[Prompt]) -> Iterator[Finding]:
    """`sealed-prompt`: an error for every record that asks what the sealed set asks, exactly or nearly."""
    lookup = SealedLookup(sealed)
    for parsed in records:
        asked: list[str] = []
        for turn, message in enumerate(parsed.conversation.messages):
            if message.role != "user":
                continue
            asked.append(message.content)
            if turn < parsed.num_seen:
                continue
            # A follow-up is compared alone and with what came before it, as a sealed prompt may have several turns.
            texts = {message.content, "\n".join(asked)}
            matches = [match for text in sorted(texts) if (match := lookup.find(text))]
            if matches:
                prompt, similarity = max(matches, key=lambda match: match[1])
                yield finding_at(
                    parsed, "sealed-prompt", _sealed_message(prompt, similarity), turn=turn, severity="error"
                )
                break


def _sealed_message(prompt: Prompt, similarity: float) -> str:
    name = f"'{prompt.id}'" if prompt.id else f"“{snippet(prompt.messages[-1].content)}”"
    degree = "is" if similarity == 1 else f"is nearly ({similarity:.0%})"
    return f"this prompt {degree} the sealed prompt {name}; remove it, or the report measures memory"


class SealedLookup:
    """Finds the sealed prompt that a text repeats, through an index from shingle to prompts."""

    def __init__(self, sealed: Sequence[Prompt]) -> None:
        self.prompts = list(sealed)
        texts = ["\n".join(turn.content for turn in prompt.messages if turn.role == "user") for prompt in sealed]
        self.exact = {normalise(text): number for number, text in enumerate(texts) if normalise(text)}
        self.runs = [shingles(text) for text in texts]
        self.by_shingle: dict[str, list[int]] = {}
        for number, run in enumerate(self.runs):
            for shingle in run:
                self.by_shingle.setdefault(shingle, []).append(number)

    def find(self, text: str) -> tuple[Prompt, float] | None:
        """The nearest sealed prompt and its similarity, where that is at least .8."""
        number = self.exact.get(normalise(text))
        if number is not None:
            return self.prompts[number], 1.0
        run = shingles(text)
        common = Counter(number for shingle in run for number in self.by_shingle.get(shingle, ()))
        similar = [(count / (len(run) + len(self.runs[number]) - count), number) for number, count in common.items()]
        similarity, number = max(similar, default=(0.0, -1))
        return (self.prompts[number], similarity) if similarity >= MIN_SIMILARITY else None
