"""Who beats whom, how far a model moved, and how both are told."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from tiny import tiny_model, tiny_tokenizer

from tutelage.data.render import render_prompt
from tutelage.engine.answer import kl_of_samples
from tutelage.engine.forward import TreeEngine
from tutelage.engine.generate import Sampling
from tutelage.errors import DataError
from tutelage.evaluate.contest import Moved, Standings, hold_contests
from tutelage.evaluate.measures import measure_answers
from tutelage.evaluate.rater import ScriptedRater
from tutelage.evaluate.report import render_report
from tutelage.evaluate.summary import ModelResult, summarise
from tutelage.evaluate.terminal import report_table, standings_table
from tutelage.models.template import end_of_turn_id, ensure_bare_template
from tutelage.stats.intervals import Interval
from tutelage.types import Answer, Message, Prompt

GOOD, BAD = "Soak the pan in hot water, then scrub it with baking soda and rinse.", "pan pan pan pan pan"


def prompt(number: int) -> Prompt:
    return Prompt((Message("user", f"How do you clean a dirty pan of size {number}?"),), id=f"p{number}")


def result(name: str, *texts: str) -> ModelResult:
    answers = [Answer(prompt(number), text, 9, True, name) for number, text in enumerate(texts)]
    return ModelResult(name, "a test", answers)


BASE, SFT, RLHF = result("base", *[BAD] * 10), result("sft", *[GOOD] * 5, *[BAD] * 5), result("rlhf", *[GOOD] * 10)


def test_each_model_meets_each_before_it():
    standings = hold_contests([BASE, SFT, RLHF], ScriptedRater())
    found = {(one.winner, one.loser): (one.rate.wins, one.rate.ties, one.verdict) for one in standings.contests}
    assert found == {
        ("sft", "base"): (5, 5, "undecided"),  # 7.5 of 10: Wilson's interval is [.44, .92]
        ("rlhf", "base"): (10, 0, "better"),
        ("rlhf", "sft"): (5, 5, "undecided"),
    }
    assert hold_contests([RLHF, BASE], ScriptedRater()).contests[0].verdict == "worse"


def test_answers_are_paired_by_prompt_and_not_by_place():
    turned = ModelResult("turned", "a test", RLHF.answers[::-1])
    assert hold_contests([BASE, turned], ScriptedRater()).contests[0].rate.wins == 10
    with pytest.raises(DataError, match="has no answer to prompt"):
        hold_contests([BASE, result("short", GOOD)], ScriptedRater())


def test_the_kl_of_samples_is_zero_for_one_model_and_estimates_the_sum_for_two():
    tokenizer = tiny_tokenizer("llama")
    ensure_bare_template(tokenizer)
    policy, origin = tiny_model("llama").eval(), tiny_model("llama").eval()
    with torch.no_grad():
        for weight in origin.get_output_embeddings().parameters():
            weight.mul_(0.97)
    prompts = [Prompt((Message("user", "How do you clean a pan?"),), id="p")] * 400
    # One token: KL can be summed over the vocabulary.
    ids = torch.tensor([render_prompt(tokenizer, prompts[0].messages, end_of_turn_id(tokenizer))])
    with torch.no_grad():
        log_p, log_q = (model(ids).logits[0, -1].log_softmax(-1) for model in (policy, origin))
    exact = float((log_p.exp() * (log_p - log_q)).sum())
    same = kl_of_samples(TreeEngine(policy), TreeEngine(policy), tokenizer, prompts[:3], Sampling(4, 1.0))
    assert same == [0.0] * 3
    drawn = kl_of_samples(TreeEngine(policy), TreeEngine(origin), tokenizer, prompts, Sampling(1, 1.0))
    spread = float((log_p.exp() * (log_p - log_q).square()).sum()) - exact**2
    assert abs(sum(drawn) / len(drawn) - exact) < 4 * (spread / len(drawn)) ** 0.5
    assert exact > 0


def test_a_fixed_answer_is_seen_to_be_alike():
    fixed = [measured["alike"] for measured in measure_answers(RLHF.answers)]
    assert fixed == [1.0] * 10
    own = result("own", "one two three four five", "six seven eight nine", "two three four five six", "a b")
    # of two four-word sequences in the first and third answer, one stands in both; too short an answer has none
    assert [measured["alike"] for measured in measure_answers(own.answers)] == [0.5, 0.0, 0.5, 0.0]
    assert [measured["alike"] for measured in measure_answers(own.answers[:1])] == [0.0]


MOVED = Moved("rlhf", "sft", Interval(3.14, 2.2, 4.06), 96)


def test_the_terminal_says_who_won_and_how_far_the_model_moved():
    console = Console(file=io.StringIO(), width=120)
    console.print(standings_table(hold_contests([BASE, SFT, RLHF], ScriptedRater(), [MOVED])))
    text = " ".join(console.file.getvalue().split())
    assert "Who wins under the scripted rater" in text
    assert "rlhf beats base on 100 % of 10 prompts [72, 100] (10 wins, 0 ties, 0 losses)" in text
    assert "KL of rlhf from sft: 3.1 nats an answer [2.2, 4.1], 96 prompts" in text


def test_the_page_has_the_contests_only_where_somebody_judged():
    def page(standings: Standings | None) -> str:
        return render_report(
            title="Three", models=[BASE, SFT, RLHF], curves=[], facts={}, first_prompts=(), standings=standings
        )

    judged = page(hold_contests([BASE, SFT, RLHF], ScriptedRater(), [MOVED]))
    for wanted in ("Who wins under the", "scripted rater", "[72, 100]", "not a person", "KL of rlhf from sft: 3.1"):
        assert wanted in judged
    assert "Nobody judged these answers" not in judged
    without = page(None)
    assert "Who wins" not in without
    assert "Nobody judged these answers" in without


def test_names_are_escaped_on_the_page():
    bad = ModelResult("<script>x</script>", "a test", RLHF.answers)
    page = render_report(
        title="T", models=[BASE, bad], curves=[], facts={}, first_prompts=(),
        standings=hold_contests([BASE, bad], ScriptedRater()),
    )  # fmt: skip
    assert "<script>x" not in page


def test_a_narrow_terminal_gets_values_and_verdicts_without_intervals():
    rows = summarise([result("starter-base", BAD, BAD), result("demo-sft", GOOD, BAD), result("demo-rlhf", GOOD, GOOD)])
    wide, narrow = (Console(file=io.StringIO(), width=width) for width in (160, 80))
    wide.print(report_table(rows, wide.width))
    narrow.print(report_table(rows, narrow.width))
    assert "with 95 % intervals" in wide.file.getvalue()
    assert "Difference" in wide.file.getvalue()
    lines = narrow.file.getvalue().splitlines()
    assert "the report has their 95 % intervals" in " ".join(narrow.file.getvalue().split())
    assert not any("[" in line or "…" in line for line in lines)
    assert [sum(row.measure.label in line for line in lines) for row in rows] == [1] * len(rows)
    assert all(line.split()[-1] == "undecided" for line in lines if "Empty answer" in line)
