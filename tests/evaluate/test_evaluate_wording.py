"""Numbers in plain words, and the terminal table."""

import io

import pytest

from tutelage.evaluate.measures import MEASURES
from tutelage.evaluate.summary import ModelResult, Row, summarise
from tutelage.evaluate.terminal import report_table
from tutelage.evaluate.wording import (
    finding,
    format_difference,
    format_range,
    format_value,
    headline,
    overview,
    sample_size_note,
    undecided_labels,
)
from tutelage.stats.intervals import Interval
from tutelage.types import Answer, Message, Prompt

BY_NAME = {measure.name: measure for measure in MEASURES}


def row(name, verdict="better", models=("base", "assistant"), estimates=None, difference=None):
    estimates = estimates or tuple(Interval(0.04, 0.01, 0.2) for _ in models)
    return Row(BY_NAME[name], models, estimates, 25, difference, verdict)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("stopped", 0.96, "96\u00a0%"),
        ("stopped", 0.0, "0\u00a0%"),
        ("stopped", 0.004, "0.4\u00a0%"),
        ("longest_loop", 12.25, "12.2\u00a0words"),
        ("nll_general", 3.0, "3.00\u00a0nats"),
        ("length_fit", 0.516, "0.52"),
    ],
)
def test_values_carry_their_unit(name, value, words):
    assert format_value(BY_NAME[name], value) == words


def test_differences_are_signed_and_shares_differ_in_points():
    assert format_difference(BY_NAME["stopped"], Interval(0.92, 0.78, 0.98)) == "+92\u00a0points"
    assert format_difference(BY_NAME["loops"], Interval(-0.3, -0.4, -0.1)) == "−30\u00a0points"
    assert format_difference(BY_NAME["length_fit"], Interval(-0.001, 0, 0)) == "0.00"
    assert format_range(BY_NAME["loops"], Interval(-0.3, -0.4, 0.1), signed=True) == "[−40, +10]"


def test_a_finding_is_one_plain_line():
    estimates = (Interval(0.04, 0.01, 0.2), Interval(0.96, 0.89, 0.99))
    assert finding(row("stopped", estimates=estimates)) == "Stops by itself: 4\u00a0% → 96\u00a0% [89, 99]"
    single = row("stopped", "", ("assistant",), estimates[1:])
    assert finding(single) == "Stops by itself: 96\u00a0% [89, 99]"


def test_the_overview_counts_verdicts():
    rows = [row("stopped"), row("loops"), row("empty", "undecided"), row("nll_general", "worse")]
    assert overview(rows) == ("Of 4 measures, assistant is better than base on 2, worse on 1, and 1 is undecided.")
    assert overview([row("stopped", "", ("assistant",))]) == ""


def test_the_headline_never_hides_what_got_worse():
    rows = [row("stopped"), row("repetition"), row("empty", "undecided"), row("prompt_copy", "worse")]
    assert [item.measure.name for item in headline(rows)] == ["stopped", "prompt_copy"]
    assert undecided_labels(rows) == "empty answer"


def test_the_note_states_the_half_width():
    assert sample_size_note(25) == (
        "With 25 prompts, a proportion near one half is known to ± 19.6 points (95 % interval); "
        "100 prompts would give ± 9.8."
    )
    assert sample_size_note(400) == (
        "With 400 prompts, a proportion near one half is known to ± 4.9 points (95 % interval)."
    )


def printed(rows):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=160, color_system=None).print(report_table(rows))
    return out.getvalue()


def model(name, stopped):
    answers = [Answer(Prompt((Message("user", f"{i}?"),), id=str(i)), "Yes.", 2, stopped) for i in range(8)]
    return ModelResult(name, "", answers)


def test_the_terminal_table_holds_every_measure_and_verdict():
    rows = summarise([model("base", False), model("tuned", True)])
    lines = printed(rows).splitlines()
    stop_line = next(line for line in lines if "Stops by itself" in line)
    for part in ("0\u00a0% [0, 32]", "100\u00a0% [68, 100]", "+100\u00a0points", "better"):
        assert part in stop_line
    assert all(any(row.measure.label in line for line in lines) for row in rows)


def test_the_terminal_table_is_safe_from_names():
    text = printed(summarise([model("[red]a\x1b[2J", True)]))
    assert "\x1b" not in text
    assert "[red]a⟨U+001B⟩[2J" in text


def test_the_terminal_table_of_nothing_is_empty():
    assert "Measure" in printed([])
