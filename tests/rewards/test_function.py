"""Rewards of one's own: what a function is given, what it may return, and what is said when it fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asked import answer_to

from tutelage.errors import ConfigError, TrainingError
from tutelage.rewards.function import FunctionReward, load_function, what_it_takes

FILE = '''
import numpy as np

seen = []

def brevity(prompt, answer):
    return -len(answer.split()) / 100

def fields(prompt, answer, **fields):
    seen.append({"prompt": prompt, "answer": answer, **fields})
    return True

def by_level(answer, level, bonus=0.5):
    return level + bonus

def right(prompts, answers, references):
    seen.append(prompts)
    return (r in a for a, r in zip(answers, references))

def many_levels(answers, level, bonus=None):
    seen.append((level, bonus))
    return np.array([1.5] * len(answers))

def some(answer):
    return None if "x" in answer else np.float32(2)

def raises(answer):
    return {}["key"]

def many_raise(answers):
    return 1 / 0

def text(answer):
    return "0.5"

def pair(answer):
    return [1, 2]

def too_few(answers):
    return [1.0]

def a_dict(prompts):
    return {"score": 1}

def a_number(prompts):
    return 1.0

def one_text(answers):
    return [1.0, "good"]

def misspelt(prompt, answer, refernce):
    return 1

def two_kinds(prompt, answers):
    return 1

def positional(answer, /):
    return 1

async def later(answer):
    return 1

number = 5
'''  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "reward.py").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reward.py"


def reward(name: str) -> FunctionReward:
    return FunctionReward(f"reward.py:{name}", load_function(f"./reward.py:{name}"))


def seen(one: FunctionReward) -> list:
    return one.function.__globals__["seen"]


def failure(name: str, *answers) -> str:
    with pytest.raises(TrainingError) as error:
        reward(name).score(answers or [answer_to("a b")])
    return str(error.value)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        what_it_takes(load_function(text), text)
    return str(error.value)


WHERE = "p.jsonl:1, prompt 'What is 6 times 7?'"


@pytest.mark.usefixtures("file")
def test_a_function_is_called_for_each_answer():
    assert reward("brevity").score([answer_to("a b"), answer_to("a b c")]) == [-0.02, -0.03]
    assert reward("brevity").score([]) == []


@pytest.mark.usefixtures("file")
def test_it_is_given_everything_where_it_takes_everything():
    one = reward("fields")
    checks = ({"check": "json", "value": True},)
    assert one.score([answer_to("yes", reference="42", checks=checks, meta={"level": 3, "answer": "meta's"})]) == [1.0]
    assert seen(one) == [
        {
            "prompt": "What is 6 times 7?", "answer": "yes", "reference": "42", "num_tokens": 5, "stopped": True,
            "messages": [{"role": "user", "content": "What is 6 times 7?"}], "level": 3,
            "checks": [{"check": "json", "value": True}], "meta": {"level": 3, "answer": "meta's"},
        }
    ]  # fmt: skip


@pytest.mark.usefixtures("file")
def test_fields_of_the_prompt_file_go_by_their_names():
    answers = [answer_to("a", meta={"level": 3}), answer_to("b", meta={"level": 4, "bonus": 0})]
    assert reward("by_level").score(answers) == [3.5, 4.0]
    assert failure("by_level", answer_to("a")) == (
        f"reward reward.py:by_level takes 'level', and {WHERE} has no such field; "
        "give the argument a default, or add the field to the prompt file"
    )


@pytest.mark.usefixtures("file")
def test_a_function_of_lists_is_called_once():
    one = reward("right")
    assert one.score([answer_to("it is 42", reference="42"), answer_to("41", reference="42")]) == [1.0, 0.0]
    assert seen(one) == [["What is 6 times 7?"] * 2]
    assert one.score([]) == []
    assert len(seen(one)) == 1


@pytest.mark.usefixtures("file")
def test_lists_hold_none_where_a_prompt_lacks_an_optional_field():
    one = reward("many_levels")
    answers = [answer_to("a", meta={"level": 3}), answer_to("b", meta={"level": 4, "bonus": 1})]
    assert one.score(answers) == [1.5, 1.5]
    assert seen(one) == [([3, 4], [None, 1])]


@pytest.mark.usefixtures("file")
def test_none_means_no_score_and_numbers_of_any_kind_are_numbers():
    scores = reward("some").score([answer_to("x"), answer_to("y")])
    assert scores == [None, 2.0]
    assert type(scores[1]) is float


@pytest.mark.usefixtures("file")
def test_a_function_that_raises_stops_with_what_and_where():
    message = failure("raises")
    line = 1 + FILE[: FILE.index('{}["key"]')].count("\n")
    assert re.fullmatch(
        rf"reward reward\.py:raises raised KeyError: 'key' at .*/reward\.py:{line}, on "
        rf"{re.escape(WHERE)}; mend it",
        message,
    )
    assert failure("many_raise", answer_to("a"), answer_to("b")).endswith(
        f", on 2 answers, the first to {WHERE}; mend it"
    )


@pytest.mark.parametrize(
    ("name", "got"), [("text", "'0.5', a str"), ("pair", "[1, 2], a list")],
)  # fmt: skip
@pytest.mark.usefixtures("file")
def test_what_is_no_number_is_refused(name, got):
    assert failure(name) == f"reward reward.py:{name} returned {got}, for {WHERE}; it must return a number or None"


@pytest.mark.parametrize(
    ("name", "got"), [("too_few", "1 scores"), ("a_dict", "a dict"), ("a_number", "a float")],
)  # fmt: skip
@pytest.mark.usefixtures("file")
def test_a_list_of_the_wrong_length_is_refused(name, got):
    assert failure(name, answer_to("a"), answer_to("b")) == (
        f"reward reward.py:{name} was given 2 answers, the first to {WHERE}, and returned {got}; "
        "it must return a list with a number or None for each"
    )


@pytest.mark.usefixtures("file")
def test_a_wrong_item_of_a_list_names_its_own_prompt():
    message = failure("one_text", answer_to("a"), answer_to("b", asks="And 6 times 8?", line=2))
    assert message.startswith(
        "reward reward.py:one_text returned 'good', a str, for p.jsonl:2, prompt 'And 6 times 8?'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reward.py:misspelt", "takes 'refernce'; did you mean 'reference'? Known are prompt, answer, reference, "),
        ("reward.py:two_kinds", "takes 'prompt'; did you mean 'prompts'? Known are prompts, answers, references, "),
        ("reward.py:positional", "takes 'answer' by position alone; take the / out of it"),
        ("reward.py:later", "is an async function; write a plain one around it"),
        ("reward.py:number", "has no function 'number'; it has: brevity, fields, by_level, "),
        ("reward.py:nothing", "has no function 'nothing'"),
        ("reward.py", "name the function after a colon, e.g. reward.py:reward"),
        ("none.py:f", "there is no file none.py; check the path"),
        ("syntax.py:f", "syntax.py:2: "),
        ("loud.py:f", "loud.py cannot be loaded: ValueError: at import"),
    ],
)
def test_mistakes_are_found_before_a_run(file, text, message):
    file.with_name("syntax.py").write_text("def f(answer):\nreturn 1\n", encoding="utf-8")
    file.with_name("loud.py").write_text("raise ValueError('at import')\n", encoding="utf-8")
    assert message in refused(text)
