"""How many labels each rule of choice needs for the same held-out accuracy, with a rater who always answers alike.

    .venv/bin/python benchmarks/label_efficiency.py                      # the scripted rater on starter-chat's answers
    .venv/bin/python benchmarks/label_efficiency.py --rater linear       # a control: what the head can learn whole
    .venv/bin/python benchmarks/label_efficiency.py --data verdicts.jsonl     # comparisons that people made

A pool of comparisons is labelled batch by batch as the rule chooses; after each batch the Bayesian linear head is
fitted again on all labels so far, and its accuracy on comparisons of held-out prompts is noted. Everything but the
rule is the same for all: the split, the first random batch, the verdict on each pair. A seed draws another split,
first batch and set of errors of the rater; intervals are bootstraps over seeds, so they speak of these prompts and
answers only.

With `--rater linear` the same answers are judged by a made-up θ, drawn anew for each seed, so that the head's model is
true. That tells a rule that does not work from features that do not tell.

The rules choose by the code that `tutelage choose` runs, random share included. Features are a model's hidden states
without any training on verdicts; states and sampled answers are kept in --cache, so more seeds are cheap. Leaves out
reward models trained whole: a better head is not yet a better policy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import machine, markdown_table, versions
from numpy.typing import NDArray

from tutelage.data.load import load_comparisons, load_prompts
from tutelage.engine.answer import answer_prompts
from tutelage.engine.generate import Sampling
from tutelage.evaluate.rater import ScriptedRater
from tutelage.evaluate.run import load_for_answers
from tutelage.feedback.features import Asked, answer_states
from tutelage.feedback.head import Head, Verdicts, fit_head, prior, sigmoid
from tutelage.feedback.reduction import cluster, principal
from tutelage.feedback.selection import RULES, Candidates, Rule, select
from tutelage.stats.intervals import Interval, mean_interval
from tutelage.train.progress import counting
from tutelage.types import Answer, Message

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NUM_RESAMPLES = 2000
FURTHER = 1.5
"""Everyone goes on to so many times the budget, so that it shows when a rule needs more labels than random."""


class Pair(NamedTuple):
    """Two answers to a prompt; `verdict` is 1, 0 or -1 as the first is better, neither, the second."""

    prompt: int
    first: str
    second: str
    verdict: int


class Pool(NamedTuple):
    """All comparisons of the run."""

    pairs: list[Pair]
    rows: Floats
    """`(num_pairs, dim)` the first answer's state less the second's."""
    points: Floats
    """`(num_pairs, dim)` the mean of both, by which prompts are clustered."""

    @property
    def prompts(self) -> Ints:
        return np.array([pair.prompt for pair in self.pairs])

    @property
    def truth(self) -> Ints:
        return np.array([pair.verdict for pair in self.pairs])


class Split(NamedTuple):
    """One seed's world, the same for every rule."""

    train: Floats
    clusters: Ints
    targets: Floats
    """What the rater will say of each pair of the pool: 1, ½ or 0."""
    held_out: Floats
    truth: Ints
    first_batch: Ints


# --- the data ---------------------------------------------------------------------------------------------------------


def scripted_pool(options: argparse.Namespace) -> tuple[list[Pair], list[Asked]]:
    """All pairs of several answers to each comparison prompt, judged by the scripted rater without its errors."""
    answers = sampled(options)
    rater, pairs, asked = ScriptedRater(noise=0.0), [], []
    size = options.num_samples
    for number in range(len(answers) // size):
        group = {name_of(one): one for one in answers[number * size : (number + 1) * size]}
        prompt = answers[number * size].prompt
        asked.append(Asked(prompt.messages, {name: (Message("assistant", a.text),) for name, a in group.items()}))
        pairs += [
            Pair(number, one, other, rater.prefers(group[one], group[other])) for one, other in combinations(group, 2)
        ]
    return pairs, asked


def name_of(answer: Answer) -> str:
    """A name for prompt and text, under which features are kept."""
    return digest([answer.prompt.id, answer.text, answer.model])


def digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def sampled(options: argparse.Namespace) -> list[Answer]:
    """`num_samples` answers to each prompt, from the cache where they are there."""
    prompts = load_prompts("compare")
    how = Sampling(options.max_new_tokens, temperature=1.0, seed=0)
    setting = [options.model, options.num_samples, options.max_new_tokens, len(prompts)]
    file = options.cache / f"answers-{digest(setting)[:12]}.jsonl"
    if not file.exists():
        loaded = load_for_answers(options.model, None)
        with counting("sampling", len(prompts) * options.num_samples) as advance:
            answers = answer_prompts(
                loaded.model, loaded.tokenizer, prompts, how, num_samples=options.num_samples, name=options.model,
                batch_size=64, progress=lambda _: advance(1),
            )  # fmt: skip
        lines = [json.dumps([answer.text, answer.num_tokens, answer.stopped]) for answer in answers]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stored = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    asked = [prompt for prompt in prompts for _ in range(options.num_samples)]
    return [Answer(prompt, *values, options.model) for prompt, values in zip(asked, stored, strict=True)]


def given_pool(file: str) -> tuple[list[Pair], list[Asked]]:
    """The comparisons of a file, which keep their verdicts; comparisons of one prompt are split together."""
    comparisons, numbers = load_comparisons(file, on_bad="drop"), dict[tuple[Message, ...], int]()
    pairs: list[Pair] = []
    asked: list[Asked] = []
    for one in comparisons:
        opening = one.messages[:1] if one.messages[0].role == "user" else one.messages[:2]
        number = numbers.setdefault(opening, len(numbers))
        texts = [[turn.role, turn.content] for turn in one.messages]
        names = [digest([texts, [[turn.role, turn.content] for turn in answer]]) for answer in one.answers]
        asked.append(Asked(one.messages, dict(zip(names, one.answers, strict=True))))
        for first, second in combinations(range(len(names)), 2):
            better = int(np.sign(one.ranks[second] - one.ranks[first]))
            pairs.append(Pair(number, names[first], names[second], better))
    return pairs, asked


def read_pool(options: argparse.Namespace) -> Pool:
    options.cache.mkdir(parents=True, exist_ok=True)
    pairs, asked = given_pool(options.data) if options.data else scripted_pool(options)
    states = answer_states(
        options.model, asked, workspace=options.cache, pooling=options.pooling, max_tokens=options.max_tokens
    )
    kept = [pair for pair in pairs if pair.first in states and pair.second in states]
    if len(kept) < len(pairs):
        print(f"left out: {len(pairs) - len(kept)} comparisons the model cannot read", file=sys.stderr)
    # Files put the better answer first; the sign of half of the rows is turned so that the order says nothing.
    turned = np.random.default_rng(0).random(len(kept)) < 0.5
    kept = [Pair(p.prompt, p.second, p.first, -p.verdict) if turn else p for p, turn in zip(kept, turned, strict=True)]
    first = np.stack([states[pair.first] for pair in kept]).astype(np.float64)
    second = np.stack([states[pair.second] for pair in kept]).astype(np.float64)
    return Pool(kept, first - second, (first + second) / 2)


# --- one run ----------------------------------------------------------------------------------------------------------


def split(pool: Pool, seed: int, options: argparse.Namespace) -> Split:
    """A quarter of the prompts held out, the first batch, and what the rater will say."""
    generator = np.random.default_rng(seed)
    names = generator.permutation(np.unique(pool.prompts))
    is_held_out = np.isin(pool.prompts, names[: round(options.held_out_frac * len(names))])
    train = np.flatnonzero(~is_held_out)
    # The reduction sees no verdicts and no held-out pairs.
    reduction = principal(pool.rows[train], num_dims=options.dims, whiten=options.whiten)
    rows, truth, chances = reduction(pool.rows), pool.truth, np.full(len(pool.pairs), options.noise)
    if options.rater == "linear":
        truth, chances = linear_rater(rows, options.noise, generator)
    said = truth * np.where(generator.random(len(truth)) < chances, -1, 1)
    tested = np.flatnonzero(is_held_out & (truth != 0))
    return Split(
        train=rows[train],
        clusters=cluster(pool.points[train], options.clusters, seed=seed),
        targets=(said[train] + 1) / 2,
        held_out=rows[tested],
        truth=truth[tested],
        first_batch=generator.choice(len(train), size=options.batch, replace=False),
    )


def linear_rater(rows: Floats, noise: float, generator: np.random.Generator) -> tuple[Ints, Floats]:
    """Verdicts by a θ from N(0, I), and each one's chance to be turned round: σ(−abs(gap)), on average `noise`."""
    gaps = rows @ generator.normal(size=rows.shape[1])
    low, high = 1e-3, 1e5
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if sigmoid(-np.abs(middle * gaps)).mean() > noise else (low, middle)
    return np.sign(gaps).astype(np.int64), sigmoid(-np.abs(low * gaps))


def curve(world: Split, rule: Rule, seed: int, options: argparse.Namespace) -> list[float]:
    """Held-out accuracy after each batch."""
    labelled = list(map(int, world.first_batch))
    found = []
    while True:
        head = fitted(world, labelled)
        found.append(accuracy(head, world))
        if len(labelled) >= FURTHER * options.budget:
            return found
        open_ = np.setdiff1d(np.arange(len(world.train)), labelled)
        pool = Candidates(
            world.train[open_], np.arange(len(open_)), np.ones(len(open_)),
            np.unique(world.clusters[open_], return_inverse=True)[1],
        )  # fmt: skip
        batch_seed = seed * 100_003 + len(labelled)
        chosen = select(pool, head, options.batch, rule, random_frac=options.random_frac, seed=batch_seed)
        labelled += [int(open_[one.place]) for one in chosen]


def fitted(world: Split, labelled: Sequence[int]) -> Head:
    index = np.array(labelled)
    if not len(index):
        return prior(world.train.shape[1])
    return fit_head(Verdicts(world.train[index], world.targets[index], np.ones(len(index))))


def accuracy(head: Head, world: Split) -> float:
    gaps = head.gaps(world.held_out) * world.truth
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


# --- what the curves say ----------------------------------------------------------------------------------------------


def rising(values: Floats) -> Floats:
    """The nearest curve that never falls (pool adjacent violators): more labels do not make a mean curve worse."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, weight), (other, more) = blocks.pop(-2), blocks.pop()
            blocks.append([(one * weight + other * more) / (weight + more), weight + more])
    return np.array([level for level, weight in blocks for _ in range(int(weight))])


def labels_needed(mean_curve: Floats, numbers: Ints, target: float) -> float:
    """Where the rising curve first reaches `target`, by straight lines between batches; infinite where it does not."""
    levels = rising(mean_curve)
    above = np.flatnonzero(levels >= target - 1e-12)
    if not len(above):
        return np.inf
    place = int(above[0])
    if place == 0:
        return float(numbers[0])
    low, high = levels[place - 1], levels[place]
    return float(numbers[place - 1] + (target - low) / (high - low) * (numbers[place] - numbers[place - 1]))


def label_ratio(curves: Floats, random: Floats, numbers: Ints, budget: int) -> float:
    """Labels the rule needs ÷ labels random needs, to the accuracy that random has after `budget`; of mean curves."""
    target = float(rising(random.mean(0))[place_of(numbers, budget)])
    return labels_needed(curves.mean(0), numbers, target) / labels_needed(random.mean(0), numbers, target)


def place_of(numbers: Ints, budget: int) -> int:
    """The first batch with which the budget is spent."""
    return int(np.flatnonzero(numbers >= budget)[0])


def ratio_interval(curves: Floats, random: Floats, numbers: Ints, budget: int) -> Interval:
    """The ratio with its bootstrap interval over seeds; a resample that never gets there counts as infinite."""
    generator = np.random.default_rng(0)
    draws = generator.integers(len(curves), size=(NUM_RESAMPLES, len(curves)))
    ratios = np.sort([label_ratio(curves[draw], random[draw], numbers, budget) for draw in draws])
    low, high = ratios[int(0.025 * NUM_RESAMPLES)], ratios[int(0.975 * NUM_RESAMPLES) - 1]
    return Interval(label_ratio(curves, random, numbers, budget), float(low), float(high))


def summary(curves: dict[Rule, Floats], numbers: Ints, budget: int) -> dict[Rule, dict[str, Any]]:
    """Accuracy after each batch; differences from random up to and at the budget; the ratio of labels."""
    random, last = curves["random"], place_of(numbers, budget)
    upto = slice(0, last + 1)
    return {
        rule: {
            "accuracy": [mean_interval(column.tolist()) for column in found.T],
            "mean_difference": mean_interval((found[:, upto].mean(1) - random[:, upto].mean(1)).tolist()),
            "final_difference": mean_interval((found[:, last] - random[:, last]).tolist()),
            "label_ratio": ratio_interval(found, random, numbers, budget),  # null in the file: not reached
        }
        for rule, found in curves.items()
    }


def table(found: dict[Rule, dict[str, Any]], numbers: Ints, budget: int) -> str:
    shown = sorted({place_of(numbers, round(budget * share)) for share in (0.25, 0.5, 1.0)})
    accuracies = [f"accuracy at {numbers[place]}, %" for place in shown]
    header = ["rule", *accuracies, "less random's, mean up to the budget", "at the budget", "labels ÷ random's"]
    rows = []
    for rule, one in found.items():
        others = ["", "", "1"] if rule == "random" else [
            points(one["mean_difference"]), points(one["final_difference"]), times(one["label_ratio"])
        ]  # fmt: skip
        rows.append([rule, *(percent(one["accuracy"][place]) for place in shown), *others])
    return markdown_table(header, rows)


def percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def points(interval: Interval) -> str:
    return f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def times(interval: Interval) -> str:
    shown = ["not reached" if np.isinf(value) else f"{value:.2f}" for value in interval]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def strict(value: Any) -> Any:
    """As JSON knows it, which has no infinity."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(each) for each in value]
    return None if isinstance(value, float) and np.isinf(value) else value


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter-chat", help="whose hidden states are the features, and who answers")
    parser.add_argument("--data", help="file of comparisons, instead of sampled answers and the scripted rater")
    parser.add_argument(
        "--rater", choices=("scripted", "linear"), default="scripted", help="who judges sampled answers"
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--budget", type=int, default=320, help="labels of the comparison; all go on to 1.5 times it")
    parser.add_argument("--batch", type=int, default=20, help="labels between two fits, and in the first random batch")
    parser.add_argument("--random-frac", type=float, default=0.25)
    parser.add_argument("--noise", type=float, default=None, help="verdicts turned round: .16, and 0 with --data")
    parser.add_argument("--held-out-frac", type=float, default=0.25)
    parser.add_argument("--pooling", choices=("last", "mean"), default="last")
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--whiten", action="store_true")
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--num-samples", type=int, default=4, help="answers to each prompt")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=1024, help="longest comparison that is read")
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--cache", type=Path, default=Path("workspace/label-efficiency"))
    parser.add_argument("--out", type=Path, help="JSON file for settings and every curve")
    options = parser.parse_args()
    if options.noise is None:
        options.noise = 0.0 if options.data else 0.16
    return options


def main() -> None:
    options = parsed()
    facts = machine()
    pool = read_pool(options)
    rules = [rule for rule in RULES if rule in options.rules.split(",") or rule == "random"]
    found: dict[Rule, list[list[float]]] = {rule: [] for rule in rules}
    with counting("seeds", options.seeds) as advance:
        for seed in range(options.seeds):
            world = split(pool, seed, options)
            for rule in rules:
                found[rule].append(curve(world, rule, seed, options))
            advance(1)
    curves = {rule: np.array(each) for rule, each in found.items()}
    numbers = np.array([options.batch * (place + 1) for place in range(curves["random"].shape[1])])
    told = summary(curves, numbers, options.budget)
    ties = float((pool.truth == 0).mean())
    print(f"{len(pool.pairs)} comparisons of {len(np.unique(pool.prompts))} prompts, {100 * ties:.1f} % ties; "
          f"{options.seeds} seeds, batches of {options.batch}, noise {options.noise:g}")  # fmt: skip
    print(table(told, numbers, options.budget))
    if options.out:
        setting = {name: value for name, value in vars(options).items() if name not in ("cache", "out")}
        setting["data"] = Path(options.data).name if options.data else None
        result = {
            "machine": facts, "versions": versions("numpy", "torch", "transformers"), "setting": setting,
            "num_pairs": len(pool.pairs), "num_labels": numbers.tolist(), "summary": told,
            "curves": {rule: each.tolist() for rule, each in curves.items()},
        }  # fmt: skip
        options.out.write_text(json.dumps(strict(result)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
