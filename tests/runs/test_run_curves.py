"""Curves, thinned without losing a spike, and samples by prompt."""

from __future__ import annotations

import math
from pathlib import Path

from made_runs import append, make_run, step

from tutelage.runs.curves import MAX_ANSWERS, MAX_POINTS, Series, read_curves, read_samples, thinned
from tutelage.train.run_folder import RunFolder


def test_every_metric_is_a_curve_over_the_steps_that_have_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=3)
    append(folder / "metrics.jsonl", [step(4, val_loss=1.5), step(5)])
    found = read_curves(folder / "metrics.jsonl")
    assert found.last_step == 5
    assert found.series["loss"] == Series([1, 2, 3, 4, 5], [3.0, 1.5, 1.0, 0.75, 0.6])
    assert found.series["val_loss"] == Series([4], [1.5])
    later = read_curves(folder / "metrics.jsonl", after=4)
    assert later.series["loss"] == Series([5], [0.6])
    assert "val_loss" not in later.series


def test_what_is_no_number_is_a_gap(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.append_metrics({"step": 1, "kl_low": math.nan, "kl": math.inf, "flag": True})
    found = read_curves(tmp_path / "run" / "metrics.jsonl")
    assert {name: one.values for name, one in found.series.items()} == {"kl_low": [None], "kl": [None]}


def test_a_line_that_is_being_written_is_left_out_and_no_file_is_no_curve(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", steps=2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3}')
    assert read_curves(folder / "metrics.jsonl").last_step == 2
    assert read_curves(folder / "nothing.jsonl", after=7).last_step == 7
    assert read_curves(folder / "nothing.jsonl").series == {}


def test_thinning_keeps_ends_and_extremes() -> None:
    values: list[float | None] = [math.sin(number / 700) for number in range(20_000)]
    values[4321], values[7777], values[5] = 9.0, -9.0, None
    found = thinned(Series(list(range(20_000)), values))
    assert 900 <= len(found.steps) <= MAX_POINTS
    assert found.steps == sorted(set(found.steps))
    assert (found.steps[0], found.steps[-1]) == (0, 19_999)
    assert {9.0, -9.0} <= set(found.values)
    gaps = thinned(Series(list(range(3000)), [None] * 3000))
    assert set(gaps.values) == {None}
    assert thinned(Series([1], [2.0])) == Series([1], [2.0])


def test_samples_stand_by_prompt_and_warnings_apart(tmp_path: Path) -> None:
    answers = [{"step": s, "prompt": p, "answer": f"{p}{s}", "stopped": s > 1} for s in (1, 2) for p in ("a", "b")]
    warning = {"step": 2, "warning": "kl-runaway", "message": "KL is 9"}
    folder = make_run(tmp_path, "one", samples=[*answers, warning, {"step": 2, "prompt": 3, "answer": None}])
    found = read_samples(folder / "samples.jsonl")
    assert [each.prompt for each in found.prompts] == ["a", "b"]
    assert found.prompts[0].answers == [
        {"step": 1, "answer": "a1", "stopped": False}, {"step": 2, "answer": "a2", "stopped": True},
    ]  # fmt: skip
    assert found.warnings == [{"step": 2, "name": "kl-runaway", "message": "KL is 9"}]


def test_of_very_many_answers_some_are_shown_with_the_first_and_the_last(tmp_path: Path) -> None:
    lines = [{"step": s, "prompt": "a", "answer": str(s)} for s in range(1, 1001)]
    steps = [each["step"] for each in read_samples_of(tmp_path, lines)]
    assert len(steps) == MAX_ANSWERS
    assert (steps[0], steps[-1]) == (1, 1000)


def read_samples_of(tmp_path: Path, lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return read_samples(make_run(tmp_path, "many", samples=lines) / "samples.jsonl").prompts[0].answers
