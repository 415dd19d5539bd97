"""The forms of methods: every option that may be asked for, in words that people understand."""

from __future__ import annotations

import pytest

from tutelage.errors import NotFoundError
from tutelage.runs import words
from tutelage.runs.forms import OFF, SPECIAL, method_classes, method_form, method_names
from tutelage.train.config import build_run

OWN = sorted(name for name, cls in method_classes().items() if cls.__module__.startswith("tutelage."))


def test_every_method_stands_in_a_group_with_plain_words() -> None:
    assert set(method_names()) == set(method_classes())
    assert set(words.METHODS) == set(OWN)
    groups = [group.name for group in words.GROUPS]
    assert [method_form(name).group for name in ("sft", "dpo", "kto", "ppo", "distill")] == [
        "examples", "comparisons", "comparisons", "practice", "teacher",
    ]  # fmt: skip
    assert all(method_form(name).group in groups for name in OWN)
    assert method_names()[0] == "sft"
    assert method_names().index("dpo") < method_names().index("cpo")


@pytest.mark.parametrize("name", OWN)
def test_a_form_has_a_help_text_and_a_kind_for_each_option_and_nothing_that_is_off(name: str) -> None:
    form = method_form(name)
    names = [field.name for field in form.fields]
    assert len(names) == len(set(names))
    assert not set(OFF) & set(names)
    for field in form.fields:
        assert field.label[0].isupper() or field.label[0].isdigit(), field
        assert field.help, field
        assert (field.kind == "choice") is bool(field.choices)
        assert field.kind not in ("text", "name") or field.name in SPECIAL
    basic = [field.name for field in form.fields if field.basic]
    assert basic == names[: len(basic)]
    assert {"model", "out"} <= set(basic)
    assert ("prompts" in basic) is form.online
    assert ("data" in basic) is not form.online


@pytest.mark.parametrize("name", OWN)
def test_what_a_form_says_when_it_is_left_as_it_is_can_be_trained_with(name: str) -> None:
    form = method_form(name)
    filled = {"model": "m", "out": "o", "data": "d", "prompts": "p", "reward": ["r"], "teacher": "t"}
    given = {field.name: filled[field.name] for field in form.fields if field.required}
    defaults = {field.name: field.default for field in form.fields if not field.required and field.default is not None}
    build_run(method_classes()[name], given | defaults)


def test_defaults_are_the_methods_own() -> None:
    fields = {field.name: field for field in method_form("ppo").fields}
    assert fields["learning_rate"].default == 1e-6
    assert fields["epochs"].default == 1
    assert fields["max_new_tokens"].unit == "tokens"
    assert fields["kl_coef"].own
    assert not fields["seed"].own
    assert "kl_estimator" not in fields
    assert {"lora.rank", "lora.alpha"} <= set(fields)


def test_an_unknown_method_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        method_form("nope")
