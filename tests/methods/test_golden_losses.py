"""Each loss on one pair, the arithmetic written out: chosen −10 against −12 (4 tokens), rejected −9 against −8 (3)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tutelage.errors import ConfigError, DataError, TrainingError
from tutelage.methods.ranking import plackett_luce
from tutelage.methods.registry import Loss, LossBatch, Reading, all_methods, find_method

CHOSEN, REJECTED = (-10.0, -12.0, 4), (-9.0, -8.0, 3)
"""(log π, log π_ref, tokens): log ratios of 2 and −1, so Δ = 3; averages of −2.5 and −3."""


def logistic(h: float) -> float:
    """−log σ(h)"""
    return math.log1p(math.exp(-h))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def batch_of(*answers: tuple[float, float, int], ranks: tuple[float, ...] = (0, 1), **values: list[float]) -> LossBatch:
    """One tree of these answers; each answer's sums are spread over its tokens."""
    logprobs = [total / count for total, _, count in answers for _ in range(count)]
    reference = [total / count for _, total, count in answers for _ in range(count)]
    index = [number for number, (_, _, count) in enumerate(answers) for _ in range(count)]
    known = {"rank": list(ranks), "strength": [1.0] * len(answers)} | values
    return LossBatch(
        torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        torch.tensor(index),
        torch.zeros(len(answers), dtype=torch.long),
        torch.tensor(reference, dtype=torch.float64),
        values={name: torch.tensor(numbers, dtype=torch.float64) for name, numbers in known.items()},
    )


def loss_of(name: str, batch: LossBatch, **options: Any) -> Loss:
    return find_method(name)(**options).loss(batch)


LOG_ODDS = -2.5 - math.log(1 - math.exp(-2.5)) - (-3.0 - math.log(1 - math.exp(-3.0)))
GOLDEN = [
    ("dpo", {}, 0.5543552444685271),  # −log σ(.1 · 3) = ln(1 + e^−.3)
    ("dpo", {"beta": 1.0}, math.log(1 + math.exp(-3))),
    ("dpo", {"length_normalised": True}, logistic(0.1 * (2 / 4 + 1 / 3))),
    ("dpo", {"sft_coef": 0.5}, 0.5543552444685271 + 0.5 * 10 / 4),
    ("cdpo", {"label_smoothing": 0.1}, 0.9 * 0.5543552444685271 + 0.1 * 0.8543552444685271),
    ("cdpo", {"label_smoothing": 0.0}, 0.5543552444685271),
    ("robust-dpo", {"label_smoothing": 0.1}, (0.9 * 0.5543552444685271 - 0.1 * 0.8543552444685271) / 0.8),
    ("ipo", {}, (3 - 5) ** 2),
    ("ipo", {"average_logprobs": True}, (2 / 4 + 1 / 3 - 5) ** 2),
    ("simpo", {"beta": 2.0, "gamma": 1.0}, math.log(2)),  # 2 · (−2.5 + 3) − 1 = 0
    ("simpo", {"beta": 2.0, "gamma": 0.0}, logistic(1.0)),
    ("cpo", {}, logistic(-0.1) + 2.5),  # .1 · (−10 + 9) and the chosen answer's NLL per token
    ("cpo", {"alpha": 0.0}, logistic(-0.1)),
    ("orpo", {}, 2.5 + 0.1 * logistic(LOG_ODDS)),
    ("orpo", {"odds_coef": 0.0}, 2.5),
    ("hinge", {}, 1 - 0.3),
    ("hinge", {"beta": 1.0}, 0.0),
    ("apo-zero", {}, (1 - sigma(0.2)) + sigma(-0.1)),
    ("apo-down", {}, sigma(0.2) + (1 - sigma(0.3))),
    ("exo", {}, sigma(0.3) * math.log(sigma(0.3) / 0.999) + sigma(-0.3) * math.log(sigma(-0.3) / 0.001)),
    ("nca", {}, logistic(0.2) + 0.5 * logistic(-0.2) + 0.5 * logistic(0.1)),
    ("sppo", {}, (2 - 5) ** 2 + (-1 + 5) ** 2),
    ("discopop", {}, (1 - sigma(6)) * logistic(0.3) + sigma(6) * math.exp(-0.3)),
    ("dpop", {}, 0.5543552444685271),  # the chosen answer has gained, so nothing is added
    ("r-dpo", {}, logistic(0.3 - 0.01 * (4 - 3))),
]


@pytest.mark.parametrize(("name", "options", "expected"), GOLDEN)
def test_the_loss_of_one_pair(name: str, options: dict[str, Any], expected: float) -> None:
    loss = loss_of(name, batch_of(CHOSEN, REJECTED), **options)
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-9)
    assert loss.weight == 1.0


def test_every_method_has_a_golden_number() -> None:
    shown = {name for name, _, _ in GOLDEN} | {"sft", "kto", "reward"}
    offline = {name: cls for name, cls in all_methods().items() if not cls.online}  # the others: test_golden_policy.py
    assert {name for name, cls in offline.items() if cls.__module__.startswith("tutelage.")} == shown


def test_dpop_adds_what_the_chosen_answer_has_lost() -> None:
    """Chosen −12.5 against −12, so r_w = −.5, r_l = −1 and Δ = .5: h = .1 · (.5 − 50 · .5) = −2.45."""
    loss = loss_of("dpop", batch_of((-12.5, -12.0, 4), REJECTED))
    assert float(loss.total.detach()) == pytest.approx(logistic(-2.45))


GRADIENTS = [
    # d/dr_w of −log σ(βΔ) is −β · σ(−βΔ); each chosen token gets it whole, each rejected one its opposite.
    ("dpo", {}, -0.1 * sigma(-0.3), 0.1 * sigma(-0.3)),
    ("ipo", {}, 2 * (3 - 5), -2 * (3 - 5)),
    ("cdpo", {}, -0.1 * (0.9 * sigma(-0.3) - 0.1 * sigma(0.3)), 0.1 * (0.9 * sigma(-0.3) - 0.1 * sigma(0.3))),
    ("hinge", {}, -0.1, 0.1),
    ("cpo", {}, -0.1 * sigma(0.1) - 1 / 4, 0.1 * sigma(0.1)),
    ("simpo", {}, -2 * 0.5 / 4, 2 * 0.5 / 3),
]


@pytest.mark.parametrize(("name", "options", "chosen", "rejected"), GRADIENTS)
def test_the_gradient_of_each_token(name: str, options: dict[str, Any], chosen: float, rejected: float) -> None:
    batch = batch_of(CHOSEN, REJECTED)
    loss_of(name, batch, **options).total.backward()
    assert batch.logprobs.grad is not None
    assert batch.logprobs.grad.tolist() == pytest.approx([chosen] * 4 + [rejected] * 3)


def test_conservative_dpo_rests_where_the_labels_are() -> None:
    """h = ln((1 − ε)/ε) = ln 9 at ε = .1: there the gradient vanishes."""
    batch = batch_of((math.log(9) / 0.1 - 12, -12.0, 4), (-8.0, -8.0, 3))
    loss_of("cdpo", batch).total.backward()
    assert batch.logprobs.grad is not None
    assert float(batch.logprobs.grad.abs().max()) < 1e-12


def test_robust_dpo_is_unbiased_under_flips() -> None:
    """(1 − ε) · loss(w, l) + ε · loss(l, w) is the clean loss, whatever ε."""
    for noise in (0.05, 0.25, 0.4):
        right = loss_of("robust-dpo", batch_of(CHOSEN, REJECTED), label_smoothing=noise).total.detach()
        wrong = loss_of("robust-dpo", batch_of(REJECTED, CHOSEN), label_smoothing=noise).total.detach()
        clean = loss_of("dpo", batch_of(CHOSEN, REJECTED)).total
        assert float((1 - noise) * right + noise * wrong) == pytest.approx(float(clean.detach()))


@pytest.mark.parametrize("name", [name for name, _, _ in GOLDEN if name not in ("discopop",)])
@pytest.mark.parametrize("size", [-500.0, 500.0])
def test_clear_cases_stay_finite(name: str, size: float) -> None:
    batch = batch_of((-1000.0 + size, -1000.0, 4), (-1000.0, -1000.0, 3))
    loss = loss_of(name, batch).total
    loss.backward()
    assert batch.logprobs.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(batch.logprobs.grad).all()


def test_the_odds_of_a_certain_answer_stay_finite() -> None:
    batch = batch_of((0.0, 0.0, 2), (-1e-9, 0.0, 2))
    loss = loss_of("orpo", batch).total
    loss.backward()
    assert torch.isfinite(loss)
    assert batch.logprobs.grad is not None
    assert torch.isfinite(batch.logprobs.grad).all()


@pytest.mark.parametrize("name", [name for name, cls in all_methods().items() if hasattr(cls, "losses")])
def test_swapping_the_sides_negates_the_margin(name: str) -> None:
    one = loss_of(name, batch_of(CHOSEN, REJECTED)).metrics
    other = loss_of(name, batch_of(REJECTED, CHOSEN)).metrics
    assert one["margin"][0] == pytest.approx(-other["margin"][0])
    assert one["accuracy"][0] == 1 - other["accuracy"][0]
    assert one["chosen_reward"] == other["rejected_reward"]


# Rankings, strength and ties


def scores_batch(scores: list[float], ranks: list[float], strength: float = 1.0) -> LossBatch:
    number = len(scores)
    values = {"rank": ranks, "strength": [strength] * number}
    return LossBatch(
        torch.empty(0),
        torch.empty(0, dtype=torch.long),
        torch.zeros(number, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float64, requires_grad=True),
        values={name: torch.tensor(numbers, dtype=torch.float64) for name, numbers in values.items()},
    )


RANKING = [2.0, 1.0, 0.5, -1.0]


def test_a_ranking_by_all_pairs() -> None:
    """Differences 1, 1.5, 3, .5, 2, 1.5: the mean of six logistic losses is .2276."""
    expected = sum(map(logistic, (1.0, 1.5, 3.0, 0.5, 2.0, 1.5))) / 6
    loss = loss_of("reward", scores_batch(RANKING, [0, 1, 2, 3]))
    assert float(loss.total.detach()) == pytest.approx(expected)
    assert float(loss.total.detach()) == pytest.approx(0.2276, abs=5e-5)
    assert loss.weight == pytest.approx(1.0)  # a comparison counts once


def test_a_ranking_by_plackett_luce() -> None:
    """ln(e² + e + e^.5 + e^−1) − 2 + ln(e + e^.5 + e^−1) − 1 + ln(e^.5 + e^−1) − .5 = 1.2516."""
    exps = [math.exp(score) for score in RANKING]
    expected = sum(math.log(sum(exps[place:])) - RANKING[place] for place in range(3))
    loss = loss_of("reward", scores_batch(RANKING, [0, 1, 2, 3]), ranking="plackett-luce")
    assert float(loss.total.detach()) == pytest.approx(expected)
    assert float(loss.total.detach()) == pytest.approx(1.2516, abs=5e-5)
    # The order in which the answers stand is not the order of their ranks.
    mixed = loss_of("reward", scores_batch([0.5, 2.0, -1.0, 1.0], [2, 0, 3, 1]), ranking="plackett-luce")
    assert float(mixed.total.detach()) == pytest.approx(expected)


def test_two_answers_are_the_same_by_both_ways() -> None:
    both = [
        loss_of("reward", scores_batch([1.5, 0.5], [0, 1]), ranking=way).total for way in ("all-pairs", "plackett-luce")
    ]
    assert [float(loss.detach()) for loss in both] == pytest.approx([logistic(1.0)] * 2)


def test_plackett_luce_has_no_ties() -> None:
    with pytest.raises(TrainingError, match="Plackett–Luce cannot rank ties; give --ranking all-pairs"):
        plackett_luce(torch.zeros(2), torch.zeros(2), torch.zeros(2, dtype=torch.long))


def test_dpo_on_a_ranking() -> None:
    """Log ratios 2, −1, 0 ranked so: Plackett–Luce on .2, −.1, 0 and the mean of the three pairs."""
    answers = [(-10.0, -12.0, 4), (-5.0, -5.0, 2), (-9.0, -8.0, 3)]
    pairs = loss_of("dpo", batch_of(*answers, ranks=(0, 1, 2)))
    assert float(pairs.total.detach()) == pytest.approx((logistic(0.2) + logistic(0.3) + logistic(0.1)) / 3)
    whole = loss_of("dpo", batch_of(*answers, ranks=(0, 1, 2)), ranking="plackett-luce")
    exps = [math.exp(0.2), math.exp(0.0), math.exp(-0.1)]
    expected = math.log(sum(exps)) - 0.2 + math.log(exps[1] + exps[2]) - 0.0
    assert float(whole.total.detach()) == pytest.approx(expected)


def test_strength_as_weight_and_as_margin() -> None:
    """Scores 1.5 and .5, strength 3, scale .5: a weight of 1.5, or a margin of 1.5."""
    weighted = loss_of("reward", scores_batch([1.5, 0.5], [0, 1], 1.5), strength="weight")
    assert (float(weighted.total.detach()), weighted.weight) == pytest.approx((1.5 * logistic(1.0), 1.5))
    margin = loss_of("reward", scores_batch([1.5, 0.5], [0, 1], 1.5), strength="margin")
    assert (float(margin.total.detach()), margin.weight) == pytest.approx((logistic(1.0 - 1.5), 1.0))


def test_centring_pulls_the_sum_of_a_pair_to_zero() -> None:
    loss = loss_of("reward", scores_batch([1.5, 0.5], [0, 1]), centre=0.01)
    assert float(loss.total.detach()) == pytest.approx(logistic(1.0) + 0.01 * 2.0**2)


def test_bradley_terry_does_not_see_a_shift() -> None:
    here, there = (loss_of("reward", scores_batch([1.5 + s, 0.5 + s], [0, 1])).total for s in (0.0, 7.0))
    assert float(here.detach()) == pytest.approx(float(there.detach()))


def test_the_gradient_of_a_score() -> None:
    """d/dr_w of −log σ(r_w − r_l) is −σ(−1)."""
    batch = scores_batch([1.5, 0.5], [0, 1])
    loss_of("reward", batch).total.backward()
    assert batch.scores is not None
    assert batch.scores.grad is not None
    assert batch.scores.grad.tolist() == pytest.approx([-sigma(-1.0), sigma(-1.0)])


def test_a_tie_counts_half_each_way_round() -> None:
    loss = loss_of("reward", scores_batch([1.5, 0.5], [0, 0]), ties="both")
    assert float(loss.total.detach()) == pytest.approx(0.5 * logistic(1.0) + 0.5 * logistic(-1.0))
    assert (loss.weight, loss.metrics) == (1.0, {})  # nobody was right or wrong


def test_a_batch_of_ties_says_so() -> None:
    with pytest.raises(TrainingError, match="every comparison of the batch is a tie: there is no pair to learn from"):
        loss_of("dpo", batch_of(CHOSEN, REJECTED, ranks=(0, 0)))


def test_data_of_ties_says_so() -> None:
    ties = [{"prompt": "Which?", "chosen": "This.", "rejected": "That.", "tie": True}]
    with pytest.raises(DataError, match="every comparison is a tie, so there is nothing to learn; give --ties both"):
        find_method("dpo")().read(ties, Reading())
    assert len(find_method("dpo")(ties="both").read(ties, Reading())) == 1


def test_trees_side_by_side_do_not_meet() -> None:
    """Two comparisons in one row cost what each costs alone, and count two."""
    one, two = batch_of(CHOSEN, REJECTED), batch_of(REJECTED, CHOSEN)
    both = LossBatch(
        torch.cat([one.logprobs, two.logprobs]),
        torch.cat([one.sequence_index, two.sequence_index + 2]),
        torch.tensor([0, 0, 1, 1]),
        torch.cat([one.ref_logprobs, two.ref_logprobs]),  # type: ignore[list-item]
        values={name: torch.cat([one.values[name], two.values[name]]) for name in one.values},
    )
    together = loss_of("dpo", both)
    assert float(together.total.detach()) == pytest.approx(logistic(0.3) + logistic(-0.3))
    assert together.weight == 2.0


# KTO


def kto_batch(context: float) -> LossBatch:
    batch = batch_of(CHOSEN, REJECTED, good=[1.0, 0.0])
    return LossBatch(
        batch.logprobs,
        batch.sequence_index,
        torch.tensor([0, 1]),
        batch.ref_logprobs,
        values=batch.values,
        context=context,
    )


def test_kto_written_out() -> None:
    """z = 1: good 1 − σ(.1 · (2 − 1)), bad 1 − σ(.1 · (1 + 1))."""
    loss = loss_of("kto", kto_batch(1.0))
    assert float(loss.total.detach()) == pytest.approx((1 - sigma(0.1)) + (1 - sigma(0.2)))
    assert loss.weight == 2.0
    weighted = loss_of("kto", kto_batch(1.0), desirable_weight=1.5, undesirable_weight=0.5)
    assert float(weighted.total.detach()) == pytest.approx(1.5 * (1 - sigma(0.1)) + 0.5 * (1 - sigma(0.2)))


def test_a_negative_reference_point_counts_as_zero() -> None:
    loss = loss_of("kto", kto_batch(-3.0))
    assert float(loss.total.detach()) == pytest.approx((1 - sigma(0.2)) + (1 - sigma(0.1)))


def test_the_reference_point_is_the_mean_log_ratio() -> None:
    """(2 − 1) / 2"""
    part = find_method("kto")().context(kto_batch(0.0))
    assert (float(part.total.detach()), part.weight) == (1.0, 2.0)


def test_ktos_gradient() -> None:
    """d/dr of 1 − σ(β(r − z)) is −β σ(1 − σ) at .1; of 1 − σ(β(z − r)) it is β σ(1 − σ) at .2."""
    batch = kto_batch(1.0)
    loss_of("kto", batch).total.backward()
    assert batch.logprobs.grad is not None
    good, bad = -0.1 * sigma(0.1) * (1 - sigma(0.1)), 0.1 * sigma(0.2) * (1 - sigma(0.2))
    assert batch.logprobs.grad.tolist() == pytest.approx([good] * 4 + [bad] * 3)


def test_numbers_need_a_threshold() -> None:
    stars = [{"prompt": f"Q{n}", "completion": "A", "rating": n} for n in (1, 3, 5)]
    with pytest.raises(DataError, match=r"the rating is the number 1; say which are good: --threshold 3"):
        find_method("kto")().read(stars, Reading())
    said: list[str] = []
    kept = find_method("kto")(threshold=3.0).read(stars, Reading(say=said.append))
    assert [record.value for record in kept] == [1.0, 5.0]
    assert said == ["1 of 3 ratings equal --threshold 3; left out"]


# Options that cannot be


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("dpo", {"beta": 0.0}, "--beta is 0.0; it must be a number above 0"),
        ("cdpo", {"label_smoothing": 0.5}, "--label-smoothing is 0.5; it must be at least 0 and below 0.5"),
        ("exo", {"label_smoothing": 0.0}, "--label-smoothing is 0; exo needs it above 0"),
        ("ipo", {"strength": "margin"}, "--strength margin: the loss of ipo has no margin; give weight"),
        ("dpo", {"ranking": "plackett-luce", "ties": "both"}, "--ranking plackett-luce has no ties and no strength"),
        (
            "dpo",
            {"reference": "adapter-off", "ref_model": "x"},
            "--reference adapter-off: the reference is the starting",
        ),
        ("reward", {"ensemble": 0}, "--ensemble is 0; it must be at least 1"),
        ("dpo", {"min_strength": float("nan")}, "--min-strength is nan; it must be at least 0"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_method(name)(**options)
    assert str(caught.value).startswith(text)


def test_strength_has_to_be_there_when_it_is_used() -> None:
    data = [{"prompt": "Which?", "chosen": "This.", "rejected": "That."}]
    with pytest.raises(DataError, match="field 'strength': says nothing of strength, which --strength weight needs"):
        find_method("dpo")(strength="weight").read(data, Reading())
    with pytest.raises(DataError, match="no comparison is of strength 2 or more; lower --min-strength"):
        find_method("dpo")(min_strength=2.0).read(data, Reading())
