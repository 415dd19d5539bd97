"""A report's numbers as JSON: those of the page, and which prompts and models they are of."""

from __future__ import annotations

import json
from pathlib import Path

from made_models import made

from tutelage.engine.generate import Sampling
from tutelage.evaluate.contest import hold_contests
from tutelage.evaluate.numbers import hash_of, numbers_file, numbers_of
from tutelage.evaluate.rater import ScriptedRater
from tutelage.evaluate.summary import ModelResult, summarise
from tutelage.store.origins import made_ms
from tutelage.types import Answer, Message, Prompt

GOOD, BAD = "Soak the pan in hot water, then scrub it with baking soda and rinse.", "pan pan pan pan pan"


def prompt(number: int, text: str = "How do you clean a dirty pan") -> Prompt:
    return Prompt((Message("user", f"{text} of size {number}?"),), id=f"p{number}")


def result(name: str, text: str) -> ModelResult:
    return ModelResult(name, "a test", [Answer(prompt(number), text, 9, True, name) for number in range(10)])


def test_the_numbers_are_those_of_the_page(tmp_path: Path) -> None:
    folder = made(tmp_path, "sft", "sft")
    results = [result("starter-base", BAD), result("sft", GOOD)]
    found = numbers_of(
        results, "/somewhere/pans.jsonl", Sampling(max_new_tokens=9), tmp_path, title="t",
        standings=hold_contests(results, ScriptedRater()), facts={"Date": "today"}, at_ms=7,
    )  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    assert found["prompts"] == {"name": "pans.jsonl", "number": 10, "sha256": hash_of([prompt(n) for n in range(10)])}
    assert found["models"][1] == {"name": "sft", "origin": "a test", "made_ms": made_ms(folder)}
    (contest,) = found["contests"]
    assert (contest["model"], contest["against"], contest["wins"], contest["number"]) == ("sft", "starter-base", 10, 10)
    assert contest["rate"]["low"] > 0.7
    rows = summarise(results)
    assert [each["name"] for each in found["measures"]] == [row.measure.name for row in rows]
    assert found["measures"][0]["estimates"][1] == rows[0].estimates[1]._asdict()  # type: ignore[union-attr]
    assert (found["rater"], found["sampling"]["max_new_tokens"], found["at_ms"]) == ("scripted rater", 9, 7)


def test_other_words_are_other_prompts() -> None:
    assert hash_of([prompt(1)]) == hash_of([prompt(1)])
    assert hash_of([prompt(1)]) != hash_of([prompt(1, "What is")])
    assert hash_of([prompt(1), prompt(2)]) != hash_of([prompt(2), prompt(1)])


def test_the_numbers_stand_beside_the_page() -> None:
    assert numbers_file(Path("a/b.html")) == Path("a/b.json")
