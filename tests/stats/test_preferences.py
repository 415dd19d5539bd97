"""Preference accuracy, its parts and its calibration, and raters' agreement, with the arithmetic written out."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence

import pytest

from tutelage.errors import DataError
from tutelage.stats.calibration import NUM_BINS, Bin, calibrate
from tutelage.stats.intervals import Interval, weighted_share, wilson
from tutelage.stats.preference_table import preference_lines, preference_table
from tutelage.stats.preferences import Agreement, Judged, preference_report, rater_agreement
from tutelage.types import Comparison, Message


def judged(
    scores: Sequence[float],
    ranks: Sequence[int] = (0, 1),
    *,
    strength: float | None = None,
    lengths: Sequence[int] | None = None,
    rater: str = "",
    key: str = "",
) -> Judged:
    return Judged(tuple(scores), tuple(ranks), strength, tuple(lengths or [10] * len(scores)), rater, key)


RIGHT, WRONG, EQUAL = judged([1.0, 0.0]), judged([0.0, 1.0]), judged([0.5, 0.5])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Accuracy


def test_pairs_have_wilsons_interval():
    report = preference_report([RIGHT] * 3 + [WRONG])
    assert report.accuracy == wilson(3, 4)
    # 3 of 4, z = 1.96: centre (.75 + .480) / 1.960 = .6275, half .3269 (Wilson 1927).
    assert report.accuracy.low == pytest.approx(0.3006, abs=1e-4)
    assert report.accuracy.high == pytest.approx(0.9544, abs=1e-4)
    assert (report.num_comparisons, report.num_pairs, report.num_ties, report.num_equal_scores) == (4, 4, 0, 0)


def test_the_order_of_the_answers_is_nothing():
    # Ranks (1, 0): the second answer is the preferred one.
    assert preference_report([judged([0.0, 1.0], (1, 0))]).accuracy.estimate == 1.0
    assert preference_report([judged([1.0, 0.0], (1, 0))]).accuracy.estimate == 0.0


def test_equal_scores_are_half_a_success():
    report = preference_report([RIGHT, RIGHT, EQUAL, WRONG])
    assert report.accuracy == wilson(2.5, 4)
    assert report.accuracy.estimate == 2.5 / 4
    assert report.num_equal_scores == 1


def test_half_successes_make_the_interval_too_wide_and_never_too_narrow():
    # Ten cases of one half have no spread at all; Wilson treats them as five heads in ten throws.
    interval = preference_report([EQUAL] * 10).accuracy
    assert interval == wilson(5, 10)
    assert interval.high - interval.low > 0.5


def test_the_pairs_of_a_ranking_share_one_vote():
    # Ranks 0, 1, 2 and scores 3, 1, 2: pairs (a, b) and (a, c) are right, (b, c) is wrong: 2/3.
    ranking = judged([3.0, 1.0, 2.0], (0, 1, 2))
    # The ranking counts 2/3, the pair 0: together (2/3 + 0) / 2 = 1/3, and not 2 pairs of 4.
    report = preference_report([ranking, WRONG])
    assert report.accuracy.estimate == pytest.approx(1 / 3)
    assert (report.num_comparisons, report.num_pairs) == (2, 4)
    # Margins 2, 1, −1 at weight 1/3 and −1 at weight 1: (2/3 − 1) / 2.
    assert report.mean_margin == pytest.approx((2 / 3 - 1) / 2)
    # Resampling two comparisons reaches from both the worse one to both the better one.
    assert report.accuracy == Interval(pytest.approx(1 / 3), 0.0, pytest.approx(2 / 3))


def test_ties_are_left_out_and_counted():
    # Ranks 0, 0, 1: the tied pair is left out; of the two others (a, c) is right and (b, c) wrong.
    report = preference_report([judged([2.0, 0.0, 1.0], (0, 0, 1)), judged([5.0, 4.0], (0, 0)), RIGHT])
    assert (report.num_comparisons, report.num_pairs, report.num_ties) == (2, 3, 2)
    assert report.accuracy.estimate == pytest.approx((0.5 + 1) / 2)


def test_what_was_judged_twice_is_resampled_together():
    # Two answers judged by 20 raters, all right, and two by 20, all wrong: two items, not 40 cases.
    many = [judged([1.0, 0.0], key="a")] * 20 + [judged([0.0, 1.0], key="b")] * 20
    assert preference_report(many).accuracy == Interval(0.5, 0.0, 1.0)
    apart = [judged([1.0, 0.0], key=f"a{n}") for n in range(20)] + [judged([0.0, 1.0], key=f"b{n}") for n in range(20)]
    assert preference_report(apart).accuracy == wilson(20, 40)


def test_rankings_that_are_all_right_still_have_an_interval_with_a_width():
    ranking = judged([3.0, 2.0, 1.0], (0, 1, 2))
    assert preference_report([ranking] * 5).accuracy == wilson(5, 5)


# Parts


def test_accuracy_by_strength():
    report = preference_report(
        [
            judged([1.0, 0.0], strength=3),
            judged([1.0, 0.0], strength=3),
            judged([1.0, 0.0], strength=1),
            judged([0.0, 1.0], strength=1),
            RIGHT,  # nobody said how much better
        ]
    )
    assert [(group.label, group.accuracy, group.num_comparisons) for group in report.by_strength] == [
        ("strength 1", wilson(1, 2), 2),
        ("strength 3", wilson(2, 2), 2),
    ]
    assert preference_report([RIGHT]).by_strength == ()


def test_many_strengths_are_shown_by_quartile():
    report = preference_report([judged([1.0, 0.0], strength=value) for value in range(1, 9)])
    assert [(group.label, group.num_pairs) for group in report.by_strength] == [
        ("strength 1 to 2", 2),
        ("strength 3 to 4", 2),
        ("strength 5 to 6", 2),
        ("strength 7 to 8", 2),
    ]


def test_accuracy_by_length_and_the_rule_that_longer_is_better():
    comparisons = [
        judged([1.0, 0.0], lengths=[30, 10]),  # longer, right
        judged([1.0, 0.0], lengths=[20, 10]),  # longer, right
        judged([0.0, 1.0], lengths=[10, 15]),  # shorter, wrong
        judged([1.0, 0.0], lengths=[10, 10]),  # the same, right
    ]
    report = preference_report(comparisons)
    # Longer is better in 2, undecided in 1, wrong in 1.
    assert report.length_baseline == wilson(2.5, 4)
    assert [(group.label, group.accuracy) for group in report.by_longer] == [
        ("preferred answer longer", wilson(2, 2)),
        ("same length", wilson(1, 1)),
        ("preferred answer shorter", wilson(0, 1)),
    ]
    # |differences| 20, 10, 5, 0: their terciles are 5 and 10.
    assert [(group.label, group.num_pairs, group.accuracy.estimate) for group in report.by_length_gap] == [
        ("lengths 0 to 5 tokens apart", 2, 0.5),
        ("lengths 10 tokens apart", 1, 1.0),
        ("lengths 20 tokens apart", 1, 1.0),
    ]


def test_a_part_of_rankings_is_weighted_by_its_pairs():
    # Lengths 3, 2, 1: all three pairs prefer the longer answer. One of the ranking's three pairs is wrong.
    ranking = judged([3.0, 1.0, 2.0], (0, 1, 2), lengths=[3, 2, 1])
    report = preference_report([ranking, judged([0.0, 1.0], lengths=[2, 1])])
    (longer,) = report.by_longer
    assert (longer.accuracy.estimate, longer.num_comparisons, longer.num_pairs) == (pytest.approx(1 / 3), 2, 4)


# Calibration


def test_scores_that_mean_what_they_say_are_calibrated():
    # σ(log 3) = 3/4 and three of four are right; σ(log 9) = 9/10 and nine of ten are.
    margins = [math.log(3)] * 3 + [-math.log(3)] + [math.log(9)] * 9 + [-math.log(9)]
    found = calibrate(margins, [1.0] * 14)
    assert found.bins == (
        Bin(pytest.approx(0.75), pytest.approx(0.75), 4),
        Bin(pytest.approx(0.9), pytest.approx(0.9), 10),
    )
    assert found.expected_error == pytest.approx(0.0, abs=1e-12)
    assert found.confidence == pytest.approx((4 * 0.75 + 10 * 0.9) / 14)
    entropy = -(3 * math.log(0.75) + math.log(0.25)) - (9 * math.log(0.9) + math.log(0.1))
    assert found.log_loss == pytest.approx(entropy / 14)


def test_overconfident_scores():
    # 90 % sure and right half the time: off by .4; −(log .9 + log .1) / 2 = 1.204 nats.
    found = calibrate([math.log(9), -math.log(9)], [1.0, 1.0])
    assert found.bins == (Bin(pytest.approx(0.9), 0.5, 2),)
    assert found.expected_error == pytest.approx(0.4)
    assert found.log_loss == pytest.approx(1.2040, abs=1e-4)


def test_a_model_that_is_always_wrong_is_as_confident_as_one_that_is_always_right():
    right, wrong = calibrate([2.0, 2.0], [1.0, 1.0]), calibrate([-2.0, -2.0], [1.0, 1.0])
    assert right.confidence == wrong.confidence == pytest.approx(sigmoid(2.0))
    assert right.expected_error == pytest.approx(1 - sigmoid(2.0))
    assert wrong.expected_error == pytest.approx(sigmoid(2.0))


def test_equal_scores_are_a_coin():
    found = calibrate([0.0, 0.0], [1.0, 1.0])
    assert found.bins == (Bin(0.5, 0.5, 2),)
    assert (found.expected_error, found.log_loss) == (0.0, pytest.approx(math.log(2)))


def test_bins_have_equal_counts():
    found = calibrate([0.01 * number for number in range(1, 51)], [1.0] * 50)
    assert [one.num_pairs for one in found.bins] == [5] * NUM_BINS
    assert [one.confidence for one in found.bins] == sorted(one.confidence for one in found.bins)
    assert [one.num_pairs for one in calibrate([1.0, 2.0, 3.0], [1.0] * 3).bins] == [1, 1, 1]


def test_weights_count_in_calibration():
    # Weight 3 on a right pair and 1 on a wrong one, all at σ(log 3) = 3/4.
    found = calibrate([math.log(3), -math.log(3)], [3.0, 1.0])
    assert found.bins[0].accuracy == pytest.approx(0.75)
    assert found.expected_error == pytest.approx(0.0, abs=1e-12)


def test_huge_margins_stay_finite():
    assert calibrate([1e4, -1e4], [1.0, 1.0]).log_loss == pytest.approx(5e3)


# Mistakes


@pytest.mark.parametrize(
    ("comparisons", "message"),
    [
        ([], "there are no comparisons to judge; give at least one"),
        (
            [judged([1.0, 2.0], (0, 0))] * 2,
            "all 2 comparisons are ties; accuracy needs answers that somebody preferred",
        ),
        (
            [RIGHT, judged([1.0, 2.0], (0, 1, 2))],
            "comparison 2 has 3 ranks, 2 scores and 2 lengths; give one of each for every answer",
        ),
        ([RIGHT, judged([math.nan, 2.0])], "comparison 2 has the score nan; scores are finite numbers"),
    ],
)
def test_what_cannot_be_judged(comparisons, message):
    with pytest.raises(DataError) as error:
        preference_report(comparisons)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "an interval needs at least one value, and there are none"),
        ([(1.0, 1.0), (0.0, 0.0)], "group 2 weighs 0.0; a weight is above 0"),
    ],
)
def test_shares_that_cannot_be_had(groups, message):
    with pytest.raises(DataError) as error:
        weighted_share(groups)
    assert str(error.value) == message


def test_a_share_of_many_groups_agrees_with_wilson():
    groups = [(1.0, 1.0)] * 60 + [(0.0, 1.0)] * 40
    found, expected = weighted_share(groups), wilson(60, 100)
    assert found.estimate == 0.6
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


# Raters


def verdict(rater: str, ranks: Sequence[int], *, prompt: str = "q", answers: Sequence[str] = ("a", "b")) -> Comparison:
    turns = tuple((Message("assistant", answer),) for answer in answers)
    return Comparison((Message("user", prompt),), turns, tuple(ranks), rater=rater)


def test_agreement_of_raters_by_hand():
    found = rater_agreement(
        [
            verdict("ann", (0, 1), prompt="1"),
            verdict("ben", (1, 0), prompt="1", answers=("b", "a")),  # the same verdict, seen from the other side
            verdict("cai", (1, 0), prompt="1"),
            verdict("ann", (0, 1), prompt="2"),
            verdict("ben", (0, 1), prompt="2"),
            verdict("cai", (0, 0), prompt="2"),
            verdict("ann", (0, 1), prompt="3"),
            verdict("", (0, 1), prompt="3"),
        ]
    )
    # Prompt 1: ann–ben agree, ann–cai and ben–cai do not. Prompt 2: ann–ben agree, two pairs hold a tie.
    assert found is not None
    assert found.share.estimate == pytest.approx(2 / 4)
    assert (found.num_items, found.num_rater_pairs, found.num_ties, found.num_raters) == (2, 4, 2, 3)
    # Two prompts with shares 1/3 and 1/1: the bootstrap reaches from the one to the other.
    assert (found.share.low, found.share.high) == (pytest.approx(1 / 3), 1.0)


def test_raters_of_rankings_agree_pair_by_pair():
    found = rater_agreement(
        [
            verdict("ann", (0, 1, 2), answers=("a", "b", "c")),
            verdict("ben", (0, 2, 1), answers=("a", "b", "c")),
        ]
    )
    # a over b and a over c: the same; b and c: not.
    assert found is not None
    assert found.share.estimate == pytest.approx(2 / 3)
    assert (found.num_items, found.num_rater_pairs) == (3, 3)


def test_a_second_verdict_of_a_rater_is_no_second_rater():
    assert rater_agreement([verdict("ann", (0, 1)), verdict("ann", (0, 1))]) is None
    found = rater_agreement([verdict("ann", (0, 1)), verdict("ann", (1, 0)), verdict("ben", (0, 1))])
    assert found is not None
    assert (found.share.estimate, found.num_rater_pairs) == (1.0, 1)


@pytest.mark.parametrize(
    "comparisons",
    [
        [],
        [verdict("", (0, 1)), verdict("", (0, 1))],
        [verdict("ann", (0, 1)), verdict("ben", (0, 1), prompt="another")],
        [verdict("ann", (0, 1)), verdict("ben", (0, 1), answers=("a", "c"))],
        [verdict("ann", (0, 1)), verdict("ben", (0, 0))],
        [verdict("ann", (0, 1), answers=("a", "a")), verdict("ben", (0, 1), answers=("a", "a"))],
    ],
)
def test_data_that_does_not_say_how_raters_agree(comparisons):
    assert rater_agreement(comparisons) is None


@pytest.mark.parametrize(("slip", "share"), [(0.16, 0.7312), (0.25, 0.625)])
def test_what_a_perfect_model_would_reach(slip, share):
    # (1 − e)² + e²: .84² + .16² = .7312, .75² + .25² = .625; the model is right with each rater at 1 − e.
    agreement = Agreement(Interval(share, 0.0, 1.0), 10, 10, 0, 2)
    assert agreement.best_accuracy() == pytest.approx(1 - slip)


def test_raters_who_agree_like_coins_say_nothing_of_a_perfect_model():
    assert Agreement(Interval(0.5, 0.4, 0.6), 10, 10, 0, 2).best_accuracy() is None


# Words


def test_the_report_in_plain_words():
    comparisons = [judged([1.0, 0.0], lengths=[20, 10])] * 3 + [judged([0.0, 1.0], lengths=[10, 20], rater="ann")]
    report = preference_report([*comparisons, judged([1.0, 1.0], (0, 0))])
    # σ(1) = .731 each; three of four right: off by 1.9 points. (3 · .3133 + 1.3133) / 4 = .563 nats.
    assert preference_lines(report) == [
        "held-out accuracy 75.0 % [30.1, 95.4] on 4 comparisons",
        "always the longer answer: 75.0 % [30.1, 95.4]",
        "raters' own agreement: unknown, no two raters judged the same answers",
        "confidence: 73.1 % on average, off by 1.9 points (calibration error); log loss 0.563 nats, a coin has 0.693",
        "mean margin +0.500",
        "left out: 1 tie in the data",
    ]


def test_the_raters_own_agreement_stands_beside_the_accuracy():
    agreement = Agreement(Interval(0.7312, 0.68, 0.78), 300, 320, 4, 5)
    lines = preference_lines(preference_report([judged([2.0, 1.0, 1.0], (0, 1, 2))], agreement=agreement))
    assert lines[0].endswith("on 1 comparison (3 pairs)")
    assert lines[2:4] == [
        "raters agree with each other: 73.1 % [68.0, 78.0] on 300 pairs",
        "if raters slip at random, a model that is always right would be at 84.0 %",
    ]
    assert lines[-1] == "counted one half: 1 pair with equal scores"
    unknown = preference_lines(preference_report([RIGHT]))
    assert unknown[2] == "raters' own agreement: unknown, the data does not say who judged"


def test_the_table_shows_the_lines_and_the_parts():
    from rich.console import Console

    out = io.StringIO()
    report = preference_report([judged([1.0, 0.0], strength=2, lengths=[20, 10])] * 4)
    Console(file=out, width=120).print(preference_table(report))
    shown = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert shown[0] == "held-out accuracy 100.0 % [51.0, 100.0] on 4 comparisons"
    assert "accuracy where comparisons right" in shown
    assert "strength 2 4 100.0 % [51.0, 100.0]" in shown
    assert "preferred answer longer 4 100.0 % [51.0, 100.0]" in shown
    assert "lengths 10 tokens apart 4 100.0 % [51.0, 100.0]" in shown


def test_the_report_as_json():
    agreement = Agreement(Interval(0.75, 0.5, 0.9), 4, 4, 0, 2)
    report = preference_report([judged([1.0, 0.0], strength=2), judged([0.0, 1.0], strength=2)], agreement=agreement)
    found = json.loads(json.dumps(report.to_dict()))
    assert found["accuracy"] == {
        "estimate": 0.5,
        "low": pytest.approx(0.0945, abs=1e-4),
        "high": pytest.approx(0.9055, abs=1e-4),
    }
    assert found["by_strength"][0]["label"] == "strength 2"
    assert found["calibration"]["bins"] == [
        {"confidence": pytest.approx(sigmoid(1.0)), "accuracy": 0.5, "num_pairs": 2}
    ]
    assert found["agreement"]["share"]["estimate"] == 0.75
    assert preference_report([RIGHT]).to_dict()["agreement"] is None
