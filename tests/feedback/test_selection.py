"""The rules of choice: what each takes, the random share, quotas, and numbers that are what they say."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.feedback.head import Head, prior, sigmoid
from tutelage.feedback.reduction import cluster, principal
from tutelage.feedback.selection import RULES, Candidates, Rule, _Beliefs, blind, check_options, quotas, select


def candidates(rows: Any, clusters: list[int] | None = None) -> Candidates:
    """One row each."""
    rows = np.array(rows, dtype=float)
    return Candidates(
        rows, np.arange(len(rows)), np.ones(len(rows)), np.array(clusters or [0] * len(rows), dtype=np.int64)
    )


def picks(pool: Candidates, head: Head, number: int, rule: Rule, **options: Any) -> list[int]:
    """What the rule alone takes, in its order."""
    return [one.place for one in select(pool, head, number, rule, **{"random_frac": 0.0} | options)]


def cloud(num: int = 200, dim: int = 6, seed: int = 0) -> Candidates:
    return candidates(np.random.default_rng(seed).normal(size=(num, dim)) * [3, 2, 1, 1, 0.5, 0.3])


def log_determinant(head: Head, pool: Candidates, chosen: list[int]) -> float:
    p = sigmoid(pool.rows @ head.mean)
    rows = pool.rows[chosen] * np.sqrt((p * (1 - p))[chosen])[:, None]
    return float(np.linalg.slogdet(np.linalg.inv(head.covariance) + rows.T @ rows)[1])


# --- each rule --------------------------------------------------------------------------------------------------------


def test_d_optimal_takes_the_axis_that_is_not_covered() -> None:
    pool = candidates([[10, 0, 0], [10.1, 0, 0], [0, 9, 0], [0, 0, 8]])
    # Once the second is taken, the first is worth ¼·100/(1 + ¼·102) = .94, the others ¼·81 and ¼·64 as before.
    assert picks(pool, prior(3), 3, "d-optimal") == [1, 2, 3]
    known = Head(np.zeros(3), np.diag([0.01, 0.01, 1.0]), 1.0)
    assert picks(pool, known, 1, "d-optimal") == [3]


def test_d_optimal_leaves_a_verdict_that_is_foregone() -> None:
    head = Head(np.array([10.0, 0.0]), np.eye(2), 1.0)  # p(1 − p) = 4.5e-5 for the first
    assert picks(candidates([[1.0, 0.0], [0.0, 0.1]]), head, 1, "d-optimal") == [1]


def test_uncertainty_takes_what_is_nearest_to_a_half() -> None:
    head = Head(np.array([1.0, 0.0]), np.eye(2) * 1e-9, 1.0)
    assert picks(candidates([[2.0, 0], [-0.1, 0], [0.5, 0], [-3, 0]]), head, 3, "uncertainty") == [1, 2, 0]
    # The same gap, one direction better known than the other: the less known is the more uncertain.
    vague = Head(np.array([1.0, 1.0]), np.diag([0.01, 4.0]), 1.0)
    assert picks(candidates([[1.0, 0.0], [0.0, 1.0]]), vague, 1, "uncertainty") == [1]


def test_gap_takes_the_largest_that_is_plausible() -> None:
    head = Head(np.array([1.0, 0.0]), np.diag([0.0001, 1.0]), 1.0)
    # |gap| + spread: 2 + .02, 1 + .01, 0 + 3, 0 + .5.
    pool = candidates([[-2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 0.5]])
    # After the third was taken its direction is known better: 3 becomes 3/√(1 + 9/4) = 1.66, .5 becomes .28.
    assert picks(pool, head, 4, "gap") == [2, 0, 1, 3]


def test_a_ranking_is_judged_by_all_its_pairs() -> None:
    rows = np.array([[1.0, 0], [0, 1.0], [1, -1.0], [1.5, 0]])
    pool = Candidates(rows, np.array([0, 0, 0, 1]), np.array([2 / 3, 2 / 3, 2 / 3, 1.0]), np.zeros(2, dtype=np.int64))
    beliefs = _Beliefs(prior(2), pool)
    # ¼·⅔·(1 + 1 + 2) = ⅔ against ¼·2.25 = .5625
    assert beliefs.per_candidate(beliefs.information * beliefs.variances) == pytest.approx([2 / 3, 0.5625])
    assert picks(pool, prior(2), 1, "d-optimal") == [0]
    assert picks(pool, prior(2), 1, "gap") == [1]
    beliefs.take(0)
    exact = np.linalg.inv(np.eye(2) + 0.25 * 2 / 3 * rows[:3].T @ rows[:3])
    assert np.allclose(beliefs.covariance, exact)


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_a_hundred_updates_of_rank_one_are_the_inverse() -> None:
    pool, theta = cloud(), np.linspace(-1, 1, 6)
    head = Head(theta, np.eye(6) / 0.3, 0.3)
    beliefs = _Beliefs(head, pool)
    for place in range(100):
        beliefs.take(place)
    p = sigmoid(pool.rows @ theta)
    weighted = pool.rows[:100] * (p * (1 - p))[:100, None]
    exact = np.linalg.inv(0.3 * np.eye(6) + weighted.T @ pool.rows[:100])
    assert np.allclose(beliefs.covariance, exact, atol=1e-10)
    assert np.allclose(beliefs.variances, np.einsum("nd,de,ne->n", pool.rows, exact, pool.rows), atol=1e-9)


def test_each_pick_is_the_one_that_adds_most_to_the_determinant() -> None:
    pool, head = cloud(num=40), Head(np.full(6, 0.4), np.eye(6), 1.0)
    chosen = picks(pool, head, 8, "d-optimal")
    for step in range(8):
        before = chosen[:step]
        gains = {place: log_determinant(head, pool, [*before, place]) for place in range(40) if place not in before}
        assert max(gains, key=lambda place: gains[place]) == chosen[step]


def test_the_determinant_grows_more_than_by_chance() -> None:
    pool, head = cloud(), prior(6)
    by_rule = log_determinant(head, pool, picks(pool, head, 20, "d-optimal"))
    with_share = log_determinant(head, pool, picks(pool, head, 20, "d-optimal", random_frac=0.25))
    by_chance = [log_determinant(head, pool, picks(pool, head, 20, "random", seed=seed)) for seed in range(50)]
    assert by_rule > with_share > max(by_chance)


# --- the random share -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_is_what_was_asked_for_and_the_same_for_the_same_seed(rule: Rule) -> None:
    pool, head = cloud(num=80), Head(np.ones(6), np.eye(6), 1.0)
    chosen = select(pool, head, 20, rule, seed=7)
    assert chosen == select(pool, head, 20, rule, seed=7)
    assert chosen != select(pool, head, 20, rule, seed=8)
    assert len({one.place for one in chosen}) == 20
    assert Counter(one.rule for one in chosen) == ({"random": 20} if rule == "random" else {"random": 5, rule: 15})
    assert {one.probability for one in chosen if one.rule == "random"} == {(20 if rule == "random" else 5) / 80}
    assert {one.probability for one in chosen if one.rule != "random"} <= {1.0}


def test_the_random_share_does_not_depend_on_rule_or_head() -> None:
    pool = cloud(num=80)
    shares = [
        [one.place for one in select(pool, head, 20, rule, seed=3) if one.rule == "random"]
        for rule in ("uncertainty", "gap", "d-optimal")
        for head in (prior(6), Head(np.ones(6), np.eye(6) / 9, 1.0))
    ]
    assert all(share == shares[0] for share in shares)


def test_every_candidate_is_drawn_as_often_as_its_probability_says_and_the_share_is_unbiased() -> None:
    pool, worth = cloud(num=40), np.arange(40.0)
    drawn, means, batch_means = np.zeros(40), [], []
    for seed in range(1000):
        chosen = select(pool, prior(6), 8, "d-optimal", random_frac=0.5, seed=seed)
        share = [one.place for one in chosen if one.rule == "random"]
        drawn[share] += 1
        means.append(worth[share].mean())
        batch_means.append(np.linalg.norm(pool.rows[[one.place for one in chosen]], axis=1).mean())
    # 1000 draws with a chance of 4/40: 100 ± 9.5 each; the largest of 40 deviations stays under four of those.
    assert np.abs(drawn - 100).max() < 38
    assert np.mean(means) == pytest.approx(19.5, abs=0.6)  # standard error .17
    # The whole batch is no sample of the pool: it holds longer rows than the pool does.
    assert np.mean(batch_means) > 1.15 * np.linalg.norm(pool.rows, axis=1).mean()


def test_whoever_stops_early_has_a_random_share_of_the_right_size() -> None:
    chosen = select(cloud(), prior(6), 40, "d-optimal", random_frac=0.25)
    for stop in range(4, 41):
        share = sum(one.rule == "random" for one in chosen[:stop])
        assert abs(share - stop / 4) <= 1


def test_edges() -> None:
    pool = cloud(num=5)
    assert {one.place for one in select(pool, prior(6), 9, "gap")} == set(range(5))
    assert select(blind(0), prior(1), 3, "random") == []
    assert [one.rule for one in select(pool, prior(6), 1, "gap")] == ["random"]
    assert [one.rule for one in select(pool, prior(6), 3, "gap", random_frac=1.0)] == ["random"] * 3
    for number, frac, rule in ((0, 0.2, "gap"), (1, -0.1, "gap"), (1, 1.1, "gap"), (1, math.nan, "gap"), (1, 0.2, "x")):
        with pytest.raises(ConfigError):
            select(pool, prior(6), number, rule, random_frac=frac)  # type: ignore[arg-type]


# --- quotas and clusters ----------------------------------------------------------------------------------------------


def test_no_cluster_gives_more_than_twice_its_share() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(100, 8))
    rows[:20] *= 10  # a fifth of the pool would win every place
    pool = candidates(rows, [0] * 20 + [1] * 80)
    assert quotas(pool.clusters, 10).tolist() == [4, 16]
    assert Counter(place < 20 for place in picks(pool, prior(8), 10, "d-optimal")) == {True: 4, False: 6}
    assert all(place < 20 for place in picks(candidates(rows), prior(8), 10, "d-optimal"))


def test_quotas_never_keep_a_batch_from_being_filled() -> None:
    generator = np.random.default_rng(1)
    for number in (1, 7, 29, 30):
        for seed in range(5):
            pool = candidates(generator.normal(size=(30, 3)), generator.integers(0, 6, 30).tolist())
            assert len(picks(pool, prior(3), number, "gap", random_frac=0.3, seed=seed)) == number


def test_clusters_are_found_and_do_not_depend_on_anything_but_the_seed() -> None:
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(30, 4)) + centre for centre in (0, 20, 40)])
    found = cluster(points, 3)
    assert [len(set(found[start : start + 30])) for start in (0, 30, 60)] == [1, 1, 1]
    assert sorted(set(found.tolist())) == [0, 1, 2]
    assert np.array_equal(found, cluster(points, 3))
    assert cluster(points, 1).tolist() == [0] * 90
    assert cluster(np.ones((5, 2)), 3).tolist() == [0] * 5
    assert sorted(cluster(points[:2], 8).tolist()) == [0, 1]
    with pytest.raises(ConfigError, match="--clusters is 0"):
        check_options("gap", 1, 0.25, 0)


# --- fewer numbers ----------------------------------------------------------------------------------------------------


def test_reduction_keeps_lengths_in_proportion_and_whitening_does_not() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 5)) * [5, 3, 1, 0, 0]
    plain, white = principal(rows)(rows), principal(rows, whiten=True)(rows)
    assert plain.shape == white.shape == (500, 3)  # two directions are empty
    assert (plain**2).sum(1).mean() == pytest.approx(1)
    assert (white**2).sum(1).mean() == pytest.approx(1)
    assert np.allclose((plain**2).sum(1), (rows**2).sum(1) / (rows**2).sum(1).mean())
    assert np.allclose((white**2).mean(0), 1 / 3)
    assert principal(rows, num_dims=2)(rows).shape == (500, 2)


def test_reduction_does_not_depend_on_which_answer_is_the_first() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    turned = rows * np.where(np.arange(50) % 2, 1, -1)[:, None]
    one, other = principal(rows), principal(turned)
    assert np.allclose(one.matrix @ one.matrix.T, other.matrix @ other.matrix.T)


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.zeros((4, 3)), np.full((2, 2), np.nan)])
def test_rows_that_say_nothing_are_refused(rows: Any) -> None:
    with pytest.raises(ConfigError):
        principal(rows)
