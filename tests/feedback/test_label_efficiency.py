"""The arithmetic of `benchmarks/label_efficiency.py`: curves, ratios of labels, and one whole small run."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "label_efficiency.py"
NUMBERS = np.array([10, 20, 30, 40])


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.insert(0, str(FILE.parent))  # it stands beside its own `common`
    try:
        spec = importlib.util.spec_from_file_location("label_efficiency", FILE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FILE.parent))
    return module


def test_a_rising_curve_pools_what_falls(benchmark: ModuleType) -> None:
    assert benchmark.rising(np.array([1.0, 3.0, 2.0, 4.0])).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert benchmark.rising(np.array([3.0, 2.0, 1.0])).tolist() == [2.0, 2.0, 2.0]


def test_labels_needed_lie_between_batches(benchmark: ModuleType) -> None:
    curve = np.array([0.5, 0.6, 0.7, 0.7])
    assert benchmark.labels_needed(curve, NUMBERS, 0.65) == pytest.approx(25)
    assert benchmark.labels_needed(curve, NUMBERS, 0.7) == pytest.approx(30)
    assert benchmark.labels_needed(curve, NUMBERS, 0.4) == 10
    assert benchmark.labels_needed(curve, NUMBERS, 0.71) == np.inf


def test_the_ratio_is_to_what_random_reaches_with_the_budget(benchmark: ModuleType) -> None:
    random, quick = np.array([[0.5, 0.6, 0.7, 0.8]]), np.array([[0.5, 0.7, 0.8, 0.8]])
    assert benchmark.label_ratio(quick, random, NUMBERS, 30) == pytest.approx(20 / 30)
    assert benchmark.label_ratio(random, random, NUMBERS, 30) == 1
    assert benchmark.label_ratio(random - 0.1, random, NUMBERS, 30) == pytest.approx(40 / 30)
    assert benchmark.label_ratio(random - 0.2, random, NUMBERS, 30) == np.inf
    interval = benchmark.ratio_interval(np.repeat(quick, 3, 0), np.repeat(random, 3, 0), NUMBERS, 30)
    assert interval == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert benchmark.times(interval._replace(high=np.inf)) == "0.67 [0.67, not reached]"


def test_the_linear_rater_errs_as_often_as_asked(benchmark: ModuleType) -> None:
    rows = np.random.default_rng(0).normal(size=(500, 8))
    truth, chances = benchmark.linear_rater(rows, 0.16, np.random.default_rng(1))
    assert chances.mean() == pytest.approx(0.16, abs=1e-3)
    assert set(truth.tolist()) == {-1, 1}
    assert chances.max() <= 0.5


def test_a_small_run_learns_and_is_the_same_twice(benchmark: ModuleType) -> None:
    generator = np.random.default_rng(0)
    pairs = [benchmark.Pair(n // 4, f"a{n}", f"b{n}", 1) for n in range(400)]
    pool = benchmark.Pool(pairs, generator.normal(size=(400, 5)), generator.normal(size=(400, 5)))
    options = argparse.Namespace(
        budget=120, batch=20, random_frac=0.25, noise=0.1, held_out_frac=0.25, dims=64, whiten=False, clusters=3,
        rater="linear",
    )  # fmt: skip
    for rule in ("random", "uncertainty", "gap", "d-optimal"):
        world = benchmark.split(pool, 0, options)
        curve = benchmark.curve(world, rule, 0, options)
        assert len(curve) == 9  # 20, 40 … 180: half as much again as the budget
        assert curve[-1] > 0.8
        assert curve == benchmark.curve(benchmark.split(pool, 0, options), rule, 0, options)
    assert len(world.truth) == 100
    assert len(world.train) == 300
