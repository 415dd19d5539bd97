"""From answers to rows: pairing by prompt, verdicts, and what is refused."""

import pytest

from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.summary import ModelResult, aligned_answers, half_width_points, summarise
from tutelage.types import Answer, Message, Prompt


def prompt(i, **fields):
    return Prompt((Message("user", f"Question {i}?"),), id=f"p{i}", **fields)


def model(name, num=8, *, stopped=True, text="An answer.", reference=None, **fields):
    answers = [Answer(prompt(i, reference=reference), text, 3, stopped) for i in range(num)]
    return ModelResult(name, "made here", answers, **fields)


def row_of(rows, name):
    return next(row for row in rows if row.measure.name == name)


def test_a_clean_sweep_over_eight_prompts_is_better():
    row = row_of(summarise([model("a", stopped=False), model("b")]), "stopped")
    assert [estimate.estimate for estimate in row.estimates] == [0.0, 1.0]
    assert row.difference.estimate == 1.0
    assert row.verdict == "better"
    assert row.num_cases == 8


def test_lower_is_better_for_loops():
    loop = "scrub the pan " * 6
    rows = summarise([model("a", text=loop), model("b")])
    assert row_of(rows, "loops").verdict == "better"
    assert row_of(rows, "longest_loop").difference.estimate == -18.0
    assert row_of(summarise([model("a"), model("b", text=loop)]), "loops").verdict == "worse"


def test_no_change_is_undecided():
    row = row_of(summarise([model("a"), model("b")]), "stopped")
    assert row.difference.contains(0.0)
    assert row.verdict == "undecided"


def test_five_prompts_are_too_few_for_a_verdict_and_six_are_enough():
    assert row_of(summarise([model("a", 5, stopped=False), model("b", 5)]), "stopped").verdict == "undecided"
    assert row_of(summarise([model("a", 6, stopped=False), model("b", 6)]), "stopped").verdict == "better"


def test_one_model_has_no_difference():
    rows = summarise([model("a")])
    assert {row.verdict for row in rows} == {""}
    assert {row.difference for row in rows} == {None}


def test_measures_that_apply_to_no_prompt_have_no_row():
    names = {row.measure.name for row in summarise([model("a")])}
    assert "length_fit" not in names
    assert "instructions_strict" not in names
    assert "nll_general" not in names
    assert "length_fit" in {row.measure.name for row in summarise([model("a", reference="Two words")])}


def test_answers_are_paired_by_prompt_whatever_their_order():
    first = model("a", 3)
    shuffled = ModelResult("b", "", list(reversed(first.answers)))
    assert aligned_answers([first, shuffled])[1] == first.answers


def test_the_last_model_is_compared_with_the_first():
    rows = summarise([model("a", stopped=False), model("middle", stopped=False), model("c")])
    row = row_of(rows, "stopped")
    assert row.models == ("a", "middle", "c")
    assert row.difference.estimate == 1.0


def test_likelihoods_are_weighted_by_tokens_and_paired():
    before = [(4.0 * n, n) for n in (10, 20, 30, 40, 50, 60)]
    after = [(3.0 * n, n) for n in (10, 20, 30, 40, 50, 60)]
    rows = summarise([model("a", nll_general=before), model("b", nll_general=after)])
    row = row_of(rows, "nll_general")
    assert row.num_cases == 6
    assert row.difference.estimate == pytest.approx(-1.0)
    assert row.verdict == "better"


def test_likelihoods_of_different_tokenisers_are_not_compared():
    rows = summarise([model("a", nll_general=[(4.0, 2)]), model("b", nll_general=[(4.0, 3)])])
    row = row_of(rows, "nll_general")
    assert row.difference is None
    assert row.verdict == ""
    assert row.remark == "not compared: the models cut the texts into different tokens"


def test_a_likelihood_that_only_one_model_has_still_has_its_row():
    row = row_of(summarise([model("a"), model("b", nll_reference=[(4.0, 2)])]), "nll_reference")
    assert row.estimates[0] is None
    assert row.estimates[1].estimate == 2.0
    assert row.difference is None


def test_half_widths_of_one_hundred_and_five_hundred_prompts():
    assert half_width_points(100) == pytest.approx(9.8)
    assert round(half_width_points(500), 1) == 4.4


def twice(name):
    once = model(name, 1)
    return ModelResult(name, "", once.answers * 2)


@pytest.mark.parametrize(
    ("models", "kind", "message"),
    [
        ([], ConfigError, "a report compares 1 to 4 models, and 0 were given"),
        ([model(str(i)) for i in range(5)], ConfigError, "a report compares 1 to 4 models, and 5 were given"),
        ([model("a", 0)], DataError, "model 'a' has no answers; a report needs at least one prompt"),
        ([twice("a")], DataError, "model 'a' answers prompt 'p0' twice; keep one answer a prompt"),
        (
            [model("a", 3), model("b", 2)],
            DataError,
            "model 'b' has no answer to prompt 'p2'; every model in a report answers the same prompts",
        ),
        (
            [model("a", 2), model("b", 3)],
            DataError,
            "model 'a' has no answer to prompt 'p2'; every model in a report answers the same prompts",
        ),
        (
            [model("a", nll_general=[(1.0, 1)]), model("b", nll_general=[(1.0, 1)] * 2)],
            DataError,
            "the models have nll_general for different numbers of texts; use the same texts for all",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(models, kind, message):
    with pytest.raises(kind) as raised:
        summarise(models)
    assert str(raised.value) == message
