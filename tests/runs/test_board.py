"""The leaderboard: what was measured, the newest of it, and no rank where intervals overlap."""

from __future__ import annotations

from pathlib import Path

from made_models import evaluated, made

from tutelage.runs.board import board, overlap, verdict_of
from tutelage.stats.intervals import Interval, wilson
from tutelage.store.origins import made_ms


def rows(workspace: Path, base: str | None = None, table: int = 0) -> dict[str, tuple[int | None, tuple[str, ...]]]:
    return {row.model: (row.place, row.like) for row in board(workspace, base).tables[table].rows}


def test_without_evaluations_there_is_nothing(tmp_path: Path) -> None:
    found = board(tmp_path)
    assert (found.base, found.bases, found.tables) == ("", (), ())


def test_a_place_is_given_only_where_no_interval_overlaps(tmp_path: Path) -> None:
    # Wilson's intervals of 90, 85 and 55 of 100: [.83, .94], [.77, .91], [.45, .64]
    for name, wins in (("a", 90), ("b", 85), ("c", 55)):
        evaluated(tmp_path, name, ["base", name], {(name, "base"): (wins, 0)})
    assert rows(tmp_path) == {"a": (None, ("b",)), "b": (None, ("a",)), "c": (3, ())}
    found = {row.model: (row.verdict, row.wins, row.losses) for row in board(tmp_path).tables[0].rows}
    assert found == {"a": ("better", 90, 10), "b": ("better", 85, 15), "c": ("undecided", 55, 45)}


def test_the_newest_evaluation_counts_and_it_may_be_seen_from_both_sides(tmp_path: Path) -> None:
    evaluated(tmp_path, "old", ["base", "sft"], {("sft", "base"): (50, 0)}, at_ms=1_000)
    evaluated(tmp_path, "new", ["base", "sft"], {("sft", "base"): (80, 10)}, at_ms=2_000)
    (row,) = board(tmp_path).tables[0].rows
    assert (row.evaluation, row.wins, row.ties, row.losses) == ("new", 80, 10, 10)
    assert row.rate == wilson(85, 100)
    (other,) = board(tmp_path, "sft").tables[0].rows
    assert (other.model, other.wins, other.ties, other.losses, other.verdict) == ("base", 10, 10, 80, "worse")
    assert round(other.rate.low, 9) == round(wilson(15, 100).low, 9)


def test_the_usual_base_is_the_one_that_most_have_met(tmp_path: Path) -> None:
    evaluated(tmp_path, "one", ["base", "sft", "ppo"], {("sft", "base"): (9, 0), ("ppo", "base"): (9, 0)})
    evaluated(tmp_path, "two", ["base", "dpo"], {("dpo", "base"): (9, 0)})
    found = board(tmp_path)
    assert found.base == "base"
    assert {row.model for row in found.tables[0].rows} == {"sft", "ppo", "dpo"}


def test_other_prompts_another_rater_or_limit_stand_apart(tmp_path: Path) -> None:
    evaluated(tmp_path, "a", ["base", "a"], {("a", "base"): (90, 0)})
    evaluated(tmp_path, "b", ["base", "b"], {("b", "base"): (10, 0)}, prompts="ours.jsonl")
    evaluated(tmp_path, "c", ["base", "c"], {("c", "base"): (10, 0)}, rater="another")
    found = board(tmp_path)
    assert sorted([row.model for row in table.rows] for table in found.tables) == [["a"], ["b"], ["c"]]
    assert all(row.like == () for table in found.tables for row in table.rows)


def test_a_model_made_anew_since_does_not_have_its_predecessors_numbers(tmp_path: Path) -> None:
    folder = made(tmp_path, "sft", "sft")
    evaluated(tmp_path, "a", ["base", "sft"], {("sft", "base"): (90, 0)}, made_ms={"sft": made_ms(folder)})
    assert len(board(tmp_path).tables) == 1
    made(tmp_path, "sft", "sft", at=1)
    found = board(tmp_path)
    assert (found.tables, found.num_outdated) == ((), 1)


def test_few_prompts_decide_nothing() -> None:
    assert verdict_of(wilson(5, 5), 5) == "undecided"
    assert verdict_of(wilson(6, 6), 6) == "better"
    assert verdict_of(wilson(0, 6), 6) == "worse"
    assert overlap(Interval(0.5, 0.4, 0.6), Interval(0.7, 0.6, 0.8))
    assert not overlap(Interval(0.5, 0.4, 0.59), Interval(0.7, 0.6, 0.8))


def test_damaged_numbers_are_left_out(tmp_path: Path) -> None:
    evaluated(tmp_path, "good", ["base", "a"], {("a", "base"): (90, 0)})
    for name, text in {
        "list": "[]",
        "cut": '{"contests": [',
        "odd": '{"contests": [1, {"rate": 3}], "models": 7}',
    }.items():
        (tmp_path / "reports" / f"{name}.json").write_text(text)
    assert len(board(tmp_path).tables) == 1
